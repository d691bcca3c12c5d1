// The codec's wire form (docs/codec.md) for a client that has to be small: the same JSON, by the host's own base64 and without the
// codec's care for other realms. What it sends, the host checks again. test/client/wire.test.ts holds both to the same table.

import { BlobRef, isBlobRef } from '../blob-ref.ts'
import { isErrorCode } from '../error/kind.ts'
import { StepwellError } from '../error/stepwell-error.ts'
import type { ErrorData } from '../error/data.ts'

type Json = { readonly [key: string]: unknown }

const MAX_DEPTH = 200
const host = globalThis as unknown as { btoa(binary: string): string; atob(text: string): string }
/** Built-in classes by name; asked only for names that were checked. */
const classes = globalThis as unknown as { readonly [name: string]: new (first: unknown) => Error }

/** The value as JSON with markers. Throws `not_serializable` with the path of the first field that can't be sent. */
export function toWireText(value: unknown): string {
  return JSON.stringify(marked(value, '$', 0))
}

/** The value of JSON with markers. Throws `format_too_new` for a marker that is not known here. */
export function fromWireText(text: string): unknown {
  return revived(JSON.parse(text))
}

function marked(value: unknown, path: string, depth: number): unknown {
  const mark = (...$: unknown[]): object => ({ $ })
  const inner = (item: unknown, at: string): unknown => marked(item, path + at, depth + 1)
  switch (typeof value) {
    case 'string': case 'boolean': return value
    case 'undefined': return mark('undefined')
    case 'bigint': return mark('bigint', String(value))
    case 'number': return Object.is(value, -0) ? mark('number', '-0') : Number.isFinite(value) ? value : mark('number', String(value))
  }
  if (value === null) return null
  if (depth < MAX_DEPTH) {
    if (Array.isArray(value)) return Array.from(value, (item, i) => i in value ? inner(item, `[${i}]`) : refuse(`${path}[${i}]`))
    if (value instanceof Date) return mark('date', Number.isNaN(+value) ? null : +value)
    if (value instanceof Map) return mark('map', [...value].map((pair, i) => inner(pair, `<${i}>`)))
    if (value instanceof Set) return mark('set', [...value].map((item, i) => inner(item, `<${i}>`)))
    if (value instanceof Error) return mark('error', errorData(value, 0))
    if (value instanceof Uint8Array) return mark('bytes', toBase64(value))
    if (value instanceof ArrayBuffer) return mark('buffer', toBase64(new Uint8Array(value)))
    if (ArrayBuffer.isView(value)) return mark('view', value.constructor.name, toBase64(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)))
    if (isBlobRef(value)) return mark('blob', value.hash, value.size, value.chunkSize)
    const prototype: unknown = typeof value === 'object' && Object.getOwnPropertySymbols(value).length === 0 ? Object.getPrototypeOf(value) : value
    if (prototype === Object.prototype || prototype === null) {
      const json = mapped(value as Json, (item, key) => inner(item, `.${key}`))
      return Object.hasOwn(json, '$') ? mark('obj', json) : json
    }
  }
  return refuse(path)
}

function revived(json: unknown): unknown {
  if (typeof json !== 'object' || json === null) return json
  if (Array.isArray(json)) return json.map(revived)
  if (!Object.hasOwn(json, '$')) return mapped(json as Json, revived)
  const [tag, a, b, c] = (json as { readonly $: readonly never[] }).$
  switch (tag as string | undefined) {
    case 'undefined': return undefined
    case 'number': return Number(a)
    case 'bigint': return BigInt(a as never)
    case 'date': return new Date(a ?? Number.NaN)
    case 'map': return new Map((a as unknown as never[]).map(revived) as [unknown, unknown][])
    case 'set': return new Set((a as unknown as never[]).map(revived))
    case 'error': return errorOf(a as never)
    case 'bytes': return fromBase64(a as never)
    case 'buffer': return fromBase64(a as never).buffer
    case 'view':
      if (/^((Big)?(Ui|I)nt\d+(Clamped)?|Float\d\d)Array$|^DataView$/.test(a as never)) return new classes[a as never]!(fromBase64(b as never).buffer)
      break
    case 'blob': return new BlobRef(a as never, b as never, c as never)
    case 'obj': return mapped(a as never, revived)
  }
  throw new StepwellError('format_too_new', `the host sent a value of a kind that is not known here: ${String(tag).slice(0, 40)}`)
}

function errorData(error: unknown, depth: number): Partial<ErrorData> {
  const { name, message, code, kind, retryable, exitClass, retryAfterMs, details, cause, errors } = (error instanceof Error ? error : { name: 'Error', message: String(error) }) as ErrorData
  const nested = (each: unknown): Partial<ErrorData> => errorData(each, depth + 1)
  const isDeep = depth === 8
  return {
    version: 1, name, message, code: code!, kind: kind!, retryable: retryable!, exitClass: exitClass!, retryAfterMs: retryAfterMs!, details: details!,
    ...(cause !== undefined && !isDeep && { cause: nested(cause) as ErrorData }),
    ...(Array.isArray(errors) && !isDeep && { errors: errors.map(nested) as ErrorData[] }),
  }
}

function errorOf({ name, message, cause: inner, errors, version: _, ...rest }: ErrorData): Error {
  const cause = inner && errorOf(inner)
  const error = rest.kind && isErrorCode(rest.code) ? new StepwellError(rest.code, message)
    : errors ? new AggregateError(errors.map(errorOf), message)
    : new (/^(Type|Range|Syntax|Reference|Eval|URI)Error$/.test(name) ? classes[name]! : Error)(message as never)
  const hide = (key: string, value: unknown): unknown => Object.defineProperty(error, key, { value, writable: true, configurable: true })
  if (error.name !== name) hide('name', name)
  if (cause) hide('cause', cause)
  hide('stack', `${name}: ${message}`)
  return Object.assign(error, rest)
}

function mapped(json: Json, change: (item: unknown, key: string) => unknown): Json {
  // Own properties, whatever their names: a field named __proto__ stays a field.
  return Object.fromEntries(Object.entries(json).map(([key, item]) => [key, change(item, key)]))
}

function refuse(path: string): never {
  throw new StepwellError('not_serializable', `${path} can't be sent, or is nested too deeply`, { details: { path } })
}

function toBase64(bytes: Uint8Array): string {
  let binary = ''
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return host.btoa(binary)
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(host.atob(text), (char) => char.charCodeAt(0))
}
