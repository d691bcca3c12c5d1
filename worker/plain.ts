// Values as plain JSON, for whoever does not speak the codec's form. What JSON can't say is shown as the nearest that it can, and
// named, so that nobody takes the one for the other (docs/http.md).

import { toBase64 } from '../src/base64.ts'
import { isBlobRef } from '../src/blob-ref.ts'
import { pathText, type PathPart } from '../src/codec/path.ts'
import { type ErrorData, toErrorData } from '../src/errors.ts'

export interface Plain {
  readonly json: unknown
  /** Where something is shown that JSON can't carry; at most 20 places. */
  readonly approximated: readonly string[]
}

const MAX_PLACES = 20

/** A value that the codec has carried. */
export function toPlain(value: unknown): Plain {
  const approximated: string[] = []
  const path: PathPart[] = []
  const note = <T>(json: T): T => {
    if (approximated.length < MAX_PLACES) approximated.push(pathText('', path, path.length).replace(/^\./, ''))
    return json
  }
  const within = (part: PathPart, item: unknown): unknown => {
    path.push(part)
    const json = walk(item)
    path.pop()
    return json
  }
  const walk = (item: unknown): unknown => {
    if (typeof item === 'bigint') return note(String(item))
    if (item === undefined) return note(null)
    if (typeof item === 'number') return Number.isFinite(item) && !Object.is(item, -0) ? item : note(Object.is(item, -0) ? 0 : null)
    if (typeof item !== 'object' || item === null) return item
    if (Array.isArray(item)) return item.map((each, i) => within(i, each))
    if (item instanceof Date) return note(Number.isNaN(item.getTime()) ? null : item.toISOString())
    if (item instanceof Map) return note([...item].map(([key, each], i) => [within({ part: `key ${i}` }, key), within({ part: `value ${i}` }, each)]))
    if (item instanceof Set) return note([...item].map((each, i) => within({ part: `item ${i}` }, each)))
    if (item instanceof ArrayBuffer) return note(toBase64(new Uint8Array(item)))
    if (ArrayBuffer.isView(item)) return note(toBase64(new Uint8Array(item.buffer, item.byteOffset, item.byteLength)))
    // The error of a run is an object in every form; an error inside a value is not what it was.
    if (item instanceof Error) return path.length === 1 && path[0] === 'error' ? errorJson(toErrorData(item)) : note(errorJson(toErrorData(item)))
    if (isBlobRef(item)) return note({ hash: item.hash, size: item.size, chunkSize: item.chunkSize })
    const json: Record<string, unknown> = {}
    for (const [key, each] of Object.entries(item)) {
      // A field that is undefined is left out, as everywhere in JSON: whoever looks for it finds what it was.
      if (each !== undefined) Object.defineProperty(json, key, { value: within(key, each), enumerable: true, writable: true, configurable: true })
    }
    return json
  }
  return { json: walk(value), approximated }
}

/** An error for people and other programs: its name, its text, its code. No stack. */
function errorJson({ name, message, code, kind, retryable, exitClass, details, cause, errors }: ErrorData): object {
  return {
    name, message, code, kind, retryable, exitClass, details,
    cause: cause === undefined ? undefined : errorJson(cause),
    errors: errors?.map(errorJson),
  }
}
