// What a request says: its body, as long as it is allowed and of a type that is known; its query, with no name that is not.

import { fromWire, toWire } from '../src/codec.ts'
import { StepwellError } from '../src/errors.ts'
import { toPlain } from './plain.ts'

export const JSON_TYPE = 'application/json'
export const WIRE_TYPE = 'application/vnd.stepwell.v1+json'
export const BYTES_TYPE = 'application/octet-stream'

/** The media type alone, in lower case; '' when there is none. */
export function mediaType(value: string | null): string {
  return (value ?? '').split(';')[0]!.trim().toLowerCase()
}

/**
 * The object in the body: of JSON as it is, of our own type decoded. `undefined` for an empty body. Throws
 * `unsupported_media_type`, `body_too_large` while it reads, `malformed_json`, `invalid_argument`.
 */
export async function readObject(request: Request, maxBytes: number): Promise<Readonly<Record<string, unknown>> | undefined> {
  const type = mediaType(request.headers.get('content-type'))
  const bytes = await readBytes(request, maxBytes)
  if (bytes.length === 0 && type === '') return undefined
  if (type !== JSON_TYPE && type !== WIRE_TYPE) {
    throw new StepwellError('unsupported_media_type', type === '' ? 'the request has a body and no content-type' : `content-type ${type.slice(0, 80)} is not known here`)
  }
  if (bytes.length === 0) return undefined
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes))
  } catch {
    // The parser's message quotes the text, which may be secret.
    throw new StepwellError('malformed_json', 'the body is not valid UTF-8 JSON')
  }
  const value = type === WIRE_TYPE ? fromWire(json) : json
  if (typeof value !== 'object' || value === null || Array.isArray(value) || (Object.getPrototypeOf(value) !== Object.prototype)) {
    throw new StepwellError('invalid_argument', 'the body is not an object')
  }
  return value as Readonly<Record<string, unknown>>
}

/** Throws `invalid_argument` for a field that the route does not know. */
export function onlyFields(body: Readonly<Record<string, unknown>>, known: readonly string[]): void {
  const unknown = Object.keys(body).find((key) => !known.includes(key))
  if (unknown !== undefined) {
    throw new StepwellError('invalid_argument', `the body has a field ${JSON.stringify(unknown.slice(0, 80))} that is not known here: ${known.join(', ') || 'none'} are`)
  }
}

/** The query's parameters. Throws `invalid_argument` for one that the route does not know or that is there twice. */
export function readQuery(url: string, known: readonly string[]): ReadonlyMap<string, string> {
  const query = new Map<string, string>()
  for (const [key, value] of new URL(url).searchParams) {
    const shown = JSON.stringify(key.slice(0, 80))
    if (!known.includes(key)) throw new StepwellError('invalid_argument', `query parameter ${shown} is not known here: ${known.join(', ') || 'none'} are`)
    if (query.has(key)) throw new StepwellError('invalid_argument', `query parameter ${shown} is there twice`)
    query.set(key, value)
  }
  return query
}

/** A number from the query, `otherwise` when it is missing. Throws `invalid_argument`, and `limit_exceeded` above `max`. */
export function numberOf(query: ReadonlyMap<string, string>, name: string, otherwise: number, max: number = Infinity): number {
  const text = query.get(name)
  if (text === undefined) return otherwise
  const value = /^\d{1,15}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(value)) throw new StepwellError('invalid_argument', `query parameter ${name}: ${JSON.stringify(text.slice(0, 80))} is not a number from 0`)
  if (value > max) {
    throw new StepwellError('limit_exceeded', `query parameter ${name}: ${value} is over the limit of ${max}`, { details: { limit: name, measured: value, allowed: max } })
  }
  return value
}

/** The body in the form that the request asks for: ours if `accept` names it, or if it says nothing and the request itself was in it. */
export function respond(request: Request, status: number, value: object, headers: Readonly<Record<string, string>> = {}): Response {
  const accept = request.headers.get('accept') ?? '*/*'
  const isWire = accept.includes(WIRE_TYPE) || (accept.trim() === '*/*' && mediaType(request.headers.get('content-type')) === WIRE_TYPE)
  const common = { 'cache-control': 'no-store', vary: 'accept', ...headers }
  if (isWire) return new Response(JSON.stringify(toWire(value)), { status, headers: { 'content-type': WIRE_TYPE, ...common } })
  const { json, approximated } = toPlain(value)
  const body = approximated.length > 0 ? { ...json as object, approximated } : json
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': JSON_TYPE, ...common } })
}

/** The bytes of the body; whatever its headers claim, not one chunk more than allowed is read. */
async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const claimed = Number(request.headers.get('content-length') ?? 0)
  if (claimed > maxBytes) throw tooLarge(claimed, maxBytes)
  if (request.bodyUsed) throw new StepwellError('host_misconfigured', 'something read the body of the request before the API: let it read a clone')
  if (request.body === null) return new Uint8Array(0)
  const parts: Uint8Array[] = []
  let size = 0
  const reader = (request.body as ReadableStream<Uint8Array>).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.length
    if (size > maxBytes) {
      await reader.cancel()
      throw tooLarge(size, maxBytes)
    }
    parts.push(value)
  }
  const bytes = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

function tooLarge(measured: number, allowed: number): StepwellError {
  return new StepwellError('body_too_large', `the body has at least ${measured} bytes, over the limit of ${allowed}`, {
    details: { limit: 'bodyBytes', measured, allowed },
  })
}
