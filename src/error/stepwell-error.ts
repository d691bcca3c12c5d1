// The one error class of stepwell and its guard. It survives two copies of the package in one program (a registered
// symbol); what drops prototypes and symbols (RPC, messages, structured clone) carries `ErrorData` instead (data.ts).

import { type ErrorCode, type ErrorKind, kindOf } from './kind.ts'

/** What JSON can say. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue }

/** Small facts beside the message: names, numbers, paths. Never payloads, never secrets. */
export type ErrorDetails = { readonly [key: string]: JsonValue }

const BRAND: unique symbol = Symbol.for('stepwell.error')

export interface StepwellErrorOptions {
  readonly details?: ErrorDetails | undefined
  readonly cause?: unknown
  /** Whether trying again may help. Default: the kind of the code is `transient`. */
  readonly retryable?: boolean | undefined
}

/**
 * Every error that stepwell throws. The code is the contract, the text of the message is not. Making one throws `invalid_argument` for
 * a code that is not in the list, a message that is no text, options that are none.
 */
export class StepwellError extends Error {
  readonly code: ErrorCode
  readonly kind: ErrorKind
  readonly retryable: boolean
  declare readonly details?: ErrorDetails

  static {
    Object.defineProperty(this.prototype, BRAND, { value: true })
    Object.defineProperty(this.prototype, 'name', { value: 'StepwellError', writable: true, configurable: true })
  }

  constructor(code: ErrorCode, message: string, options: StepwellErrorOptions = {}) {
    const kind = kindOf(code)
    if (kind === undefined || typeof message !== 'string' || typeof options !== 'object' || options === null) {
      throw new StepwellError('invalid_argument', 'an error of stepwell is made of a code (see ERRORS), a text, and options such as { cause }')
    }
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.kind = kind
    this.retryable = options.retryable ?? this.kind === 'transient'
    if (options.details !== undefined) this.details = options.details
  }
}

/** Whether `x` is an error of stepwell, from whatever copy of the package; with `code`, whether it is that one. */
export function isStepwellError(x: unknown): x is StepwellError
export function isStepwellError<C extends ErrorCode>(x: unknown, code: C): x is StepwellError & { readonly code: C }
export function isStepwellError(x: unknown, code?: ErrorCode): boolean {
  if (typeof x !== 'object' || x === null || !(BRAND in x)) return false
  return code === undefined || (x as { readonly code?: unknown }).code === code
}
