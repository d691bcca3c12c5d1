// The codec (G26): values to bytes and back, the same on every host. Its wire form is in docs/codec.md, version 1.

import { readBase64 } from './base64.ts'
import { type Refuse, revive } from './codec/read.ts'
import { MARKED, PLAIN, Writer, type WriteOptions } from './codec/write.ts'
import { isStepwellError, StepwellError } from './error/stepwell-error.ts'

export interface EncodeOptions {
  /** The largest payload. Default 64 MiB. */
  readonly maxBytes?: number
  /** What the path in an error begins with. Default `$`. */
  readonly at?: string
}

export type DecodeOptions = EncodeOptions

/** The default of `maxBytes`, for writing and reading. */
export const MAX_PAYLOAD_BYTES: number = 64 * 1024 * 1024

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

// Encoding allocates nothing but its result: one writer is kept. A getter that encodes in turn takes another.
let spare: Writer | undefined

function write(value: unknown, options: WriteOptions): Uint8Array<ArrayBuffer> {
  return lent(value, options).slice()
}

function lent(value: unknown, options: WriteOptions): Uint8Array<ArrayBuffer> {
  const writer = spare ?? new Writer()
  spare = undefined
  const bytes = writer.encode(value, options)
  spare = writer
  return bytes
}

const defaults: WriteOptions = { maxBytes: MAX_PAYLOAD_BYTES, at: '$', isSorted: false }
const sortedDefaults: WriteOptions = { ...defaults, isSorted: true }

/**
 * The payload of a value. Throws `not_serializable` with the path of the first field that can't be carried,
 * `limit_exceeded` when it is nested too deeply, `payload_too_large`.
 */
export function encode(value: unknown, options?: EncodeOptions): Uint8Array<ArrayBuffer> {
  if (options === undefined) return write(value, defaults)
  return write(value, { maxBytes: options.maxBytes ?? MAX_PAYLOAD_BYTES, at: options.at ?? '$', isSorted: false })
}

/**
 * A payload that is equal for equal values: object keys sorted by code unit, Maps and Sets in their own order. For
 * fingerprints and comparisons; `decode` reads it too. Throws as `encode`.
 */
export function canonicalBytes(value: unknown, options?: EncodeOptions): Uint8Array<ArrayBuffer> {
  if (options === undefined) return write(value, sortedDefaults)
  return write(value, { maxBytes: options.maxBytes ?? MAX_PAYLOAD_BYTES, at: options.at ?? '$', isSorted: true })
}

/**
 * The value of a payload. The length is checked before anything is read. Throws `payload_too_large`, `format_too_new`
 * (another first byte), `corrupt_payload`.
 */
export function decode(bytes: Uint8Array, options?: DecodeOptions): unknown {
  const at = options?.at ?? '$'
  const maxBytes = options?.maxBytes ?? MAX_PAYLOAD_BYTES
  if (bytes.length > maxBytes) {
    const measured = bytes.length
    const details = { limit: 'maxBytes', measured, allowed: maxBytes, path: at }
    const text = `${at} is a payload of ${measured} bytes, over the limit of ${maxBytes}`
    throw new StepwellError('payload_too_large', text, { details })
  }
  switch (bytes[0]) {
    case PLAIN: return parse(bytes, at)
    case MARKED: return bytesAlone(bytes) ?? revive(parse(bytes, at), at, corrupt)
    case undefined: throw corrupt(at, 'the payload is empty')
    case 0: throw corrupt(at, 'the payload begins with a zero byte')
    default: throw tooNew(bytes[0], at)
  }
}

function tooNew(form: number, at: string): StepwellError {
  return new StepwellError('format_too_new', `${at} is a payload of form ${form}, which is not known here`, {
    details: { path: at, form },
  })
}

const bytesHead = new TextEncoder().encode('\x02{"$":["bytes","')
const bytesTail = new TextEncoder().encode('"]}')

/** A payload that is one Uint8Array alone is read without JSON; undefined for every other, also a damaged one. */
function bytesAlone(payload: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const end = payload.length - bytesTail.length
  if (end < bytesHead.length) return undefined
  for (let i = 0; i < bytesHead.length; i++) if (payload[i] !== bytesHead[i]) return undefined
  for (let i = 0; i < bytesTail.length; i++) if (payload[end + i] !== bytesTail[i]) return undefined
  return readBase64(payload, bytesHead.length, end)
}

function parse(bytes: Uint8Array, at: string): unknown {
  try {
    // Cutting the text is cheap, a view on the bytes is not.
    return JSON.parse(decoder.decode(bytes).slice(1))
  } catch {
    // The parser's message quotes the text, which may be secret.
    throw corrupt(at, 'the payload is not valid UTF-8 JSON')
  }
}

const corrupt: Refuse = (path, why, cause) =>
  new StepwellError('corrupt_payload', `${path}: ${why}`, { details: { path, why }, cause })

/** What `copy` answers. */
export interface Copy<T> {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly value: T
}

/** The payload, and the value that `decode` gives for it: what the live run sees, as replay will. Throws as `encode`. */
export function copy<T>(value: T, options?: EncodeOptions): Copy<T> {
  const bytes = encode(value, options)
  if (typeof value !== 'object' || value === null) return { bytes, value }
  if (value instanceof Uint8Array) return { bytes, value: new Uint8Array(value) as Uint8Array & T }
  // What was just written is what was given, so its type is too (but for class names of errors, and Buffer).
  return { bytes, value: decode(bytes, options) as T }
}

/**
 * As `copy`, but the bytes are lent: they hold until anything else is encoded. For what is copied at once, since an array over 64
 * bytes costs 2 µs to make and to collect.
 */
export function lend(value: unknown): Copy<unknown> {
  const bytes = lent(value, defaults)
  return { bytes, value: typeof value === 'object' && value !== null ? decode(bytes) : value }
}

/** The value as JSON with markers, for `application/vnd.stepwell.v1+json`. Throws as `encode`. */
export function toWire(value: unknown, options?: EncodeOptions): unknown {
  return parse(encode(value, options), '$')
}

/** The value of JSON with markers that somebody sent. Throws `invalid_argument` with the path of what does not fit. */
export function fromWire(json: unknown, options?: { readonly at?: string }): unknown {
  return revive(json, options?.at ?? '$', wrongWire)
}

const wrongWire: Refuse = (path, why, cause) => {
  const text = isStepwellError(cause) ? cause.message : why
  return new StepwellError('invalid_argument', `${path}: ${text}`, { details: { path, why } })
}
