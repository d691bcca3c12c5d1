// Errors as plain data and back: what is journaled, sent and stored. JSON-safe whatever was thrown; whatever is cut
// is marked.

import { isStepwellError, StepwellError, type ErrorDetails, type JsonValue } from './stepwell-error.ts'
import { isErrorCode, type ErrorKind } from './kind.ts'

/**
 * What an error says of being tried again. `terminal`: never. `retry`, `rateLimited`, `unknown`: as the policy allows, and each attempt
 * counts; a `rateLimited` one names the time in `retryAfterMs`.
 */
export type ExitClass = 'retry' | 'terminal' | 'rateLimited' | 'unknown'

/** An error as JSON, version 1. A field that is missing was not there. */
export interface ErrorData {
  readonly version: 1
  readonly name: string
  readonly message: string
  readonly code?: string | number
  /** Only for errors of stepwell. */
  readonly kind?: ErrorKind
  readonly retryable?: boolean
  /** Comes before `retryable`. Only where the error has one. */
  readonly exitClass?: ExitClass
  readonly retryAfterMs?: number
  readonly details?: ErrorDetails
  readonly cause?: ErrorData
  readonly errors?: readonly ErrorData[]
  readonly stack?: string
  /** Something of this error (not of its causes) was cut to fit a limit. */
  readonly truncated?: true
}

export interface ErrorDataOptions {
  /** Masks secrets in every text before it is cut; `key` is the name of the field, as in `message` or in details. */
  readonly redact?: ((text: string, key: string) => string) | undefined
  /** For each text (message, stack, name), UTF-8; all details together may hold four times as much. Default 8 KiB. */
  readonly maxBytes?: number | undefined
  /** Keep the stack. Default false: stacks differ between hosts and bundles. */
  readonly stack?: boolean | undefined
}

/** What an error may offer in a method `toStructuredError()`; looked up through `cause`. */
export interface StructuredError {
  readonly name?: string
  readonly message?: string
  readonly code?: string | number
  readonly retryable?: boolean
  readonly exitClass?: ExitClass
  readonly retryAfterMs?: number
  readonly details?: { readonly [key: string]: unknown }
}

const MAX_TEXT_BYTES = 8 * 1024
/** Causes below an error. A chain that was read may be longer than one that we write, but not endless. */
const MAX_DEPTH = 8
const MAX_READ_DEPTH = 64
/** Errors in one tree of causes and aggregates. */
const MAX_ERRORS = 64
const MAX_DETAIL_DEPTH = 16

type Fields = Record<string, unknown>
type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** What one call of `toErrorData` may still use. */
interface Budget {
  readonly redact: (text: string, key: string) => string
  readonly maxBytes: number
  readonly stack: boolean
  errors: number
  detailBytes: number
}

/** Reads a field whatever it does: a getter that throws is a field that is not there. */
export function readField(from: unknown, key: string): unknown {
  if ((typeof from !== 'object' && typeof from !== 'function') || from === null) return undefined
  try {
    return (from as Fields)[key]
  } catch {
    return undefined
  }
}

/** What the error's own `toStructuredError()` gives, or nothing: one that throws is one that is not there. */
export function structuredBy(error: unknown): Fields | undefined {
  const method = readField(error, 'toStructuredError')
  if (typeof method !== 'function') return undefined
  try {
    const data: unknown = Reflect.apply(method, error, [])
    return typeof data === 'object' && data !== null ? (data as Fields) : undefined
  } catch {
    return undefined
  }
}

/** The error and its causes, nearest first: at most 8 causes, each object once. */
export function chainOf(error: unknown): readonly unknown[] {
  const chain: unknown[] = []
  let at = error
  while (at !== undefined && chain.length <= MAX_DEPTH && !chain.includes(at)) {
    chain.push(at)
    at = readField(at, 'cause')
  }
  return chain
}

/** Any thrown value as `ErrorData`. Never throws. */
export function toErrorData(error: unknown, options: ErrorDataOptions = {}): ErrorData {
  const maxBytes = options.maxBytes ?? MAX_TEXT_BYTES
  const hook = options.redact
  const redact = (text: string, key: string): string => {
    if (hook === undefined) return text
    try {
      return String(hook(text, key))
    } catch {
      return '[redaction failed]' // the text itself may be what must not be seen
    }
  }
  const stack = options.stack === true
  return dataOf(error, { redact, maxBytes, stack, errors: MAX_ERRORS, detailBytes: 4 * maxBytes }, [])
}

/** Whether something of one error was cut. */
interface Cut {
  is: boolean
}

function dataOf(error: unknown, budget: Budget, above: readonly unknown[]): ErrorData {
  budget.errors--
  const cut: Cut = { is: readField(error, 'truncated') === true }
  const data: Writable<ErrorData> = { version: 1, name: 'Error', message: '' }
  try {
    if (isErrorLike(error)) addError(data, error, budget, cut, [...above, error])
    else addThrown(data, error, budget, cut)
  } catch {
    return { version: 1, name: 'Error', message: 'an error that throws when it is read' } // a proxy can do that
  }
  if (cut.is) data.truncated = true
  return data
}

function addThrown(data: Writable<ErrorData>, thrown: unknown, budget: Budget, cut: Cut): void {
  data.message = textOf(describeThrown(thrown), 'message', budget, cut) ?? ''
  if (typeof thrown !== 'object' || thrown === null) return
  data.details = { thrown: toJson(thrown, 'thrown', budget, cut, []) }
}

function addError(data: Writable<ErrorData>, error: unknown, budget: Budget, cut: Cut, path: readonly unknown[]): void {
  const own = structuredBy(error)
  const field = (key: string): unknown => own?.[key] ?? readField(error, key)
  data.name = textOf(field('name'), 'name', budget, cut) || 'Error'
  data.message = textOf(field('message'), 'message', budget, cut) ?? ''
  addFacts(data, error, field, budget, cut)
  addNested(data, error, budget, cut, path)
  const stack = budget.stack ? textOf(readField(error, 'stack'), 'stack', budget, cut) : undefined
  if (stack !== undefined) data.stack = stack
}

/** A text without secrets and not too long; undefined for what is no text. */
function textOf(value: unknown, key: string, budget: Budget, cut: Cut): string | undefined {
  return typeof value === 'string' ? capUtf8(budget.redact(value, key), budget.maxBytes, cut) : undefined
}

/** Code, kind, details and retry marks: the error's own, else those that a cause offers by `toStructuredError()`. */
function addFacts(
  data: Writable<ErrorData>, error: unknown, field: (key: string) => unknown, budget: Budget, cut: Cut,
): void {
  const hasCode = usableCode(field('code'), error) !== undefined
  const lent = hasCode ? undefined : chainOf(error).slice(1).map(structuredBy).find((offer) => offer !== undefined)
  const get = (key: string): unknown => field(key) ?? lent?.[key]
  const code = usableCode(get('code'), error)
  if (code !== undefined) data.code = textOf(code, 'code', budget, cut) ?? code
  const kind = field('kind')
  if ((isStepwellError(error) || data.name === 'StepwellError') && isKind(kind)) data.kind = kind
  const retryable = get('retryable')
  if (typeof retryable === 'boolean') data.retryable = retryable
  const exitClass = get('exitClass')
  if (isExitClass(exitClass)) data.exitClass = exitClass
  const retryAfterMs = get('retryAfterMs')
  if (isDelay(retryAfterMs)) data.retryAfterMs = retryAfterMs
  const details = get('details')
  if (typeof details !== 'object' || details === null) return
  const json = toJson(details, 'details', budget, cut, [])
  if (isFields(json)) data.details = json
}

function addNested(
  data: Writable<ErrorData>, error: unknown, budget: Budget, cut: Cut, path: readonly unknown[],
): void {
  const nested = (x: unknown): ErrorData | undefined => {
    if (path.length <= MAX_DEPTH && budget.errors > 0 && !path.includes(x)) return dataOf(x, budget, path)
    cut.is = true
    return undefined
  }
  const cause = readField(error, 'cause')
  const causeData = cause === undefined ? undefined : nested(cause)
  if (causeData !== undefined) data.cause = causeData
  const errors = readField(error, 'errors')
  // Validation errors keep plain issues under the same name; those are no errors.
  if (!Array.isArray(errors) || !(error instanceof AggregateError || errors.every(isErrorLike))) return
  const list: ErrorData[] = []
  for (const each of errors as unknown[]) {
    const one = nested(each)
    if (one !== undefined) list.push(one)
    else if (budget.errors <= 0) break
  }
  data.errors = list
}

function isFields(json: JsonValue): json is ErrorDetails {
  return typeof json === 'object' && json !== null && !Array.isArray(json)
}

/** Node's legacy numbers and DOMException's (inherited) say nothing; a string or an own number does. */
function usableCode(code: unknown, error: unknown): string | number | undefined {
  if (typeof code === 'string') return code
  if (typeof code !== 'number' || !Number.isFinite(code)) return undefined
  return error instanceof Error && !Object.hasOwn(error, 'code') ? undefined : code
}

const KINDS: ReadonlySet<unknown> = new Set<ErrorKind>([
  'usage', 'conflict', 'transient', 'permanent', 'integrity', 'operator',
])

function isKind(x: unknown): x is ErrorKind {
  return KINDS.has(x)
}

export function isExitClass(x: unknown): x is ExitClass {
  return x === 'retry' || x === 'terminal' || x === 'rateLimited' || x === 'unknown'
}

export function isDelay(x: unknown): x is number {
  return typeof x === 'number' && Number.isFinite(x) && x >= 0
}

/** An error, also from another realm, or the plain object that a border made of one. */
function isErrorLike(x: unknown): boolean {
  if (x instanceof Error) return true
  if (typeof x !== 'object' || x === null) return false
  return typeof readField(x, 'message') === 'string' && typeof readField(x, 'name') === 'string'
}

function describeThrown(x: unknown): string {
  if (typeof x === 'string') return x
  if (typeof x === 'object' && x !== null) return 'an object that is not an Error was thrown'
  if (typeof x === 'function') return 'a function was thrown'
  return `${String(x)} was thrown`
}

/** Plain JSON of anything: what JSON cannot say becomes a text in brackets. */
function toJson(value: unknown, key: string, budget: Budget, cut: Cut, above: readonly object[]): JsonValue {
  const spend = (bytes: number): boolean => {
    budget.detailBytes -= bytes
    if (budget.detailBytes < 0) cut.is = true
    return budget.detailBytes >= 0
  }
  if (!spend(8)) return '[truncated]'
  switch (typeof value) {
    case 'string': {
      const text = capUtf8(budget.redact(value, key), Math.min(budget.maxBytes, budget.detailBytes), cut)
      return spend(text.length) ? text : '[truncated]'
    }
    case 'number': return Number.isFinite(value) ? value + 0 : `[${value}]`
    case 'boolean': return value
    case 'bigint': return `[bigint ${String(value).slice(0, 40)}]`
    case 'object': return value === null ? null : objectToJson(value, key, budget, cut, above)
    default: return `[${typeof value}]`
  }
}

function objectToJson(value: object, key: string, budget: Budget, cut: Cut, above: readonly object[]): JsonValue {
  if (above.includes(value)) return '[circular]'
  if (above.length >= MAX_DETAIL_DEPTH) {
    cut.is = true
    return '[truncated]'
  }
  const path = [...above, value]
  try {
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? '[invalid Date]' : value.toISOString()
    if (value instanceof Error) return `[${value.name}: ${capUtf8(budget.redact(value.message, key), 256, cut)}]`
    if (Array.isArray(value)) {
      // Array.from also visits holes.
      return Array.from(whileBudget(value, budget, cut), (each: unknown) => toJson(each, key, budget, cut, path))
    }
    const proto: unknown = Object.getPrototypeOf(value)
    if (proto !== null && proto !== Object.prototype) return `[${Object.prototype.toString.call(value).slice(8, -1)}]`
    const entries = whileBudget(Object.keys(value), budget, cut).filter((name) => spendKey(name, budget, cut))
    // fromEntries defines each property, so a field named __proto__ stays a field.
    return Object.fromEntries(entries.map((name) => [name, toJson(readField(value, name), name, budget, cut, path)]))
  } catch {
    return '[unreadable]' // a revoked proxy, or a trap that throws
  }
}

/** Not more parts than the budget can still pay for, so that a huge list costs nothing. */
function whileBudget<T>(parts: readonly T[], budget: Budget, cut: Cut): readonly T[] {
  const most = Math.ceil(Math.max(budget.detailBytes, 0) / 8)
  if (parts.length > most) cut.is = true
  return parts.slice(0, most)
}

function spendKey(name: string, budget: Budget, cut: Cut): boolean {
  const allowed = name.length <= budget.detailBytes
  if (allowed) budget.detailBytes -= name.length
  else cut.is = true
  return allowed
}

/** The longest start of `text` that is at most `maxBytes` long as UTF-8 and ends on a character. */
function capUtf8(text: string, maxBytes: number, cut: Cut): string {
  if (text.length * 3 <= maxBytes) return text
  let bytes = 0
  for (let i = 0; i < text.length;) {
    const point = text.codePointAt(i) ?? 0
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4
    if (bytes > maxBytes) {
      cut.is = true
      return text.slice(0, i)
    }
    i += point < 0x10000 ? 1 : 2
  }
  return text
}

const builtins: ReadonlyMap<string, new (message: string) => Error> = new Map<string, new (message: string) => Error>([
  ['TypeError', TypeError], ['RangeError', RangeError], ['SyntaxError', SyntaxError],
  ['ReferenceError', ReferenceError], ['EvalError', EvalError], ['URIError', URIError],
])

/**
 * The error that `data` describes: a `StepwellError` when it was one and its code is known here, else an instance of
 * the built-in class of its name, else an `Error` with that name. Without a stored stack it has none but its own
 * first line, so that live and replay agree. Throws `invalid_argument` when `data` is not `ErrorData`.
 */
export function fromErrorData(data: unknown): Error {
  return errorOf(data, 0)
}

function errorOf(data: unknown, depth: number): Error {
  const d = checked(data, depth)
  const cause = d.cause === undefined ? undefined : errorOf(d.cause, depth + 1)
  const errors = d.errors?.map((each) => errorOf(each, depth + 1))
  const error = instanceOf(d, cause, errors)
  const set = (key: string, value: unknown, enumerable: boolean): void => {
    Object.defineProperty(error, key, { value, enumerable, writable: true, configurable: true })
  }
  if (error.name !== d.name) set('name', d.name, false)
  set('stack', d.stack ?? `${d.name}: ${d.message}`, false)
  if (cause !== undefined) set('cause', cause, false)
  for (const key of ['code', 'kind', 'retryable', 'exitClass', 'retryAfterMs', 'details', 'truncated'] as const) {
    if (d[key] !== undefined && readField(error, key) !== d[key]) set(key, d[key], true)
  }
  return error
}

function instanceOf(d: ErrorData, cause: Error | undefined, errors: readonly Error[] | undefined): Error {
  if (d.kind !== undefined && isErrorCode(d.code)) {
    return new StepwellError(d.code, d.message, { details: d.details, cause, retryable: d.retryable })
  }
  if (errors !== undefined || d.name === 'AggregateError') return new AggregateError(errors ?? [], d.message)
  return new (builtins.get(d.name) ?? Error)(d.message)
}

function checked(data: unknown, depth: number): ErrorData {
  const d = data as Writable<ErrorData> | null
  const optional = (value: unknown, ...types: readonly string[]): boolean =>
    value === undefined || types.includes(typeof value)
  const ok = depth <= MAX_READ_DEPTH && typeof d === 'object' && d !== null && d.version === 1
    && typeof d.name === 'string' && typeof d.message === 'string' && optional(d.code, 'string', 'number')
    && (d.kind === undefined || isKind(d.kind)) && optional(d.retryable, 'boolean')
    && (d.exitClass === undefined || isExitClass(d.exitClass)) && (d.retryAfterMs === undefined || isDelay(d.retryAfterMs)) && optional(d.stack, 'string')
    && (d.details === undefined || (typeof d.details === 'object' && d.details !== null && !Array.isArray(d.details)))
    && (d.errors === undefined || Array.isArray(d.errors)) && (d.truncated === undefined || d.truncated === true)
  if (!ok) throw new StepwellError('invalid_argument', 'this is not the data of an error (version 1)')
  return d
}
