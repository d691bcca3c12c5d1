// Values to bytes: one walk that reads every property once and writes JSON as UTF-8, with markers for what JSON
// cannot say (docs/codec.md). It never calls `toJSON` and refuses what it cannot write, with the path of the field
// (G26).

import { base64Length, hostBase64, writeBase64 } from '../base64.ts'
import { BlobRef, isBlobRef } from '../blob-ref.ts'
import { toErrorData } from '../error/data.ts'
import { type ErrorDetails, isStepwellError, type JsonValue, StepwellError } from '../error/stepwell-error.ts'
import { constructorName, intrinsicName } from './intrinsic.ts'
import { type PathPart, pathText } from './path.ts'

/** The first byte of a payload: JSON alone, or JSON with markers. */
export const PLAIN = 1
export const MARKED = 2
/** Objects inside objects. */
export const MAX_DEPTH = 200

export interface WriteOptions {
  readonly maxBytes: number
  /** What the path of a refused field begins with. */
  readonly at: string
  /** Object keys in the order of their code units, so that equal values give equal bytes. */
  readonly isSorted: boolean
}

const QUOTE = 34
const COMMA = 44
const MINUS = 45
const ZERO = 48
const COLON = 58
const OPEN_ARRAY = 91
const BACKSLASH = 92
const CLOSE_ARRAY = 93
const OPEN_OBJECT = 123
const CLOSE_OBJECT = 125

/** A longer text is left to JSON.stringify and TextEncoder (measured), in pieces that bound the memory it takes. */
const SHORT = 160
const PIECE = 32 * 1024
const KEEP_BYTES = 64 * 1024
const encoder = new TextEncoder()
const own: (value: object) => Record<string, unknown> = (value) => value as Record<string, unknown>

/** Encodes one value after the other into one buffer of its own; for one encoding at a time. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1024)
  #length = 1
  #isMarked = false
  #options: WriteOptions = { maxBytes: 0, at: '$', isSorted: false }
  // The objects that are open now, and the part of each that is being written.
  #depth = 0
  readonly #open: (object | undefined)[] = []
  readonly #path: (PathPart | undefined)[] = []

  /**
   * The payload of `value`: a view of the buffer, which holds until the next one is encoded. Throws `not_serializable`,
   * `payload_too_large`, `limit_exceeded` (depth).
   */
  encode(value: unknown, options: WriteOptions): Uint8Array<ArrayBuffer> {
    this.#options = options
    this.#length = 1
    this.#depth = 0
    this.#isMarked = false
    try {
      this.#value(value)
      if (this.#length > options.maxBytes) throw this.#tooLarge(this.#length)
      this.#bytes[0] = this.#isMarked ? MARKED : PLAIN
      return this.#bytes.subarray(0, this.#length)
    } catch (error) {
      if (isStepwellError(error)) throw error
      throw this.#refused('something that throws when it is read', error)
    } finally {
      // Nothing of the caller's stays reachable, and no buffer stays large.
      if (this.#depth > 0) this.#open.length = 0
      if (this.#bytes.length > KEEP_BYTES) this.#bytes = new Uint8Array(1024)
    }
  }

  #value(value: unknown): void {
    switch (typeof value) {
      case 'string': return this.#string(value)
      case 'number': return this.#number(value)
      case 'boolean': return this.#ascii(value ? 'true' : 'false')
      case 'undefined': return this.#marker('["undefined"]')
      case 'bigint': return this.#marker(`["bigint","${value}"]`)
      case 'object': return value === null ? this.#ascii('null') : this.#object(value)
      case 'function': throw this.#refused('a function')
      case 'symbol': throw this.#refused('a symbol')
      default: throw this.#refused(`a value of type ${typeof value}`)
    }
  }

  #object(value: object): void {
    const depth = this.#depth
    if (depth === MAX_DEPTH) throw this.#tooDeep()
    for (let i = 0; i < depth; i++) {
      if (this.#open[i] === value) throw this.#cycle(i)
    }
    const prototype = Object.getPrototypeOf(value) as object | null
    if (prototype === Object.prototype) return this.#plain(value)
    const name = intrinsicName(value, prototype)
    switch (name) {
      case 'Object': return this.#plain(value)
      case 'Array': return this.#array(value as unknown[])
      case 'Uint8Array': return this.#bytesOf('["bytes","', value as Uint8Array)
      case 'Date': return this.#marker(`["date",${jsonTime(value)}]`)
      case 'Map': return this.#map(value)
      case 'Set': return this.#set(value)
      case 'Error': return this.#error(value)
      case 'ArrayBuffer': return this.#buffer('["buffer","', value as ArrayBuffer, 0, byteLengthOf(value))
      case undefined: return this.#instance(value, prototype)
      default: return this.#bytesOf(`["view","${name}","`, value as ArrayBufferView)
    }
  }

  #plain(value: object): void {
    if (Object.getOwnPropertySymbols(value).length > 0) throw this.#refused('an object with a symbol as key')
    const keys = Object.keys(value)
    if (this.#options.isSorted) keys.sort()
    // An object with our marker's key is wrapped, so that it never looks like a marker.
    const isEscaped = keys.includes('$')
    if (isEscaped) this.#startMarker('["obj",')
    const depth = this.#enter(value)
    this.#byte(OPEN_OBJECT)
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!
      if (i > 0) this.#byte(COMMA)
      this.#path[depth] = key
      this.#string(key)
      this.#byte(COLON)
      this.#value(own(value)[key])
    }
    this.#byte(CLOSE_OBJECT)
    this.#leave(depth)
    if (isEscaped) this.#ascii(']}')
  }

  #array(value: readonly unknown[]): void {
    const depth = this.#enter(value)
    this.#byte(OPEN_ARRAY)
    for (let i = 0; i < value.length; i++) {
      if (i > 0) this.#byte(COMMA)
      this.#path[depth] = i
      const item = value[i]
      if (item === undefined && !(i in value)) throw this.#refused('a hole in an array')
      this.#value(item)
    }
    this.#byte(CLOSE_ARRAY)
    this.#leave(depth)
  }

  #map(value: object): void {
    const entries = [...Map.prototype.entries.call(value)] as [unknown, unknown][]
    this.#startMarker('["map",[')
    const depth = this.#enter(value)
    entries.forEach(([key, item], i) => {
      this.#ascii(i > 0 ? ',[' : '[')
      this.#path[depth] = { part: `key ${i}` }
      this.#value(key)
      this.#byte(COMMA)
      this.#path[depth] = { part: `value ${i}` }
      this.#value(item)
      this.#byte(CLOSE_ARRAY)
    })
    this.#leave(depth)
    this.#ascii(']]}')
  }

  #set(value: object): void {
    const items = [...Set.prototype.values.call(value)] as unknown[]
    this.#startMarker('["set",[')
    const depth = this.#enter(value)
    items.forEach((item, i) => {
      if (i > 0) this.#byte(COMMA)
      this.#path[depth] = { part: `item ${i}` }
      this.#value(item)
    })
    this.#leave(depth)
    this.#ascii(']]}')
  }

  #error(value: object): void {
    const data = toErrorData(value)
    this.#startMarker('["error",')
    this.#long(JSON.stringify(this.#options.isSorted ? sorted(data as unknown as ErrorDetails) : data))
    this.#ascii(']}')
  }

  #instance(value: object, prototype: object | null): void {
    if (isBlobRef(value)) return this.#blob(value)
    throw this.#refused(describe(value, prototype))
  }

  #blob(value: BlobRef): void {
    let ref: BlobRef
    try {
      ref = new BlobRef(value.hash, value.size, value.chunkSize)
    } catch (error) {
      throw this.#refused('an invalid blob reference', error)
    }
    this.#marker(`["blob","${ref.hash}",${ref.size},${ref.chunkSize}]`)
  }

  #bytesOf(head: string, view: ArrayBufferView): void {
    this.#buffer(head, view.buffer, view.byteOffset, view.byteLength)
  }

  #buffer(head: string, buffer: ArrayBufferLike, from: number, length: number): void {
    // A detached buffer looks empty.
    const isDetached = length === 0 && (buffer as { readonly detached?: boolean }).detached === true
    if (isDetached) throw this.#refused('a detached ArrayBuffer')
    this.#startMarker(head)
    const room = base64Length(length)
    if (this.#length + room > this.#options.maxBytes) throw this.#tooLarge(this.#length + room)
    const data = new Uint8Array(buffer, from, length)
    const text = hostBase64(data)
    if (text !== undefined) this.#long(text)
    else {
      this.#reserve(room)
      writeBase64(data, this.#bytes, this.#length)
      this.#length += room
    }
    this.#ascii('"]}')
  }

  #number(value: number): void {
    if ((value | 0) === value && value !== -0x80000000 && (value !== 0 || 1 / value > 0)) return this.#integer(value)
    if (value !== 0 && Number.isFinite(value)) return this.#ascii(String(value))
    this.#marker(`["number","${value === 0 ? '-0' : value}"]`)
  }

  /** An int32 other than the least, whose opposite is none. */
  #integer(value: number): void {
    this.#reserve(11)
    const bytes = this.#bytes
    let rest = value
    let end = this.#length + 1
    if (rest < 0) {
      bytes[end++ - 1] = MINUS
      rest = -rest
    }
    for (let more = rest; more >= 10; more = (more / 10) | 0) end++
    this.#length = end
    do {
      const next = (rest / 10) | 0
      bytes[--end] = ZERO + rest - next * 10
      rest = next
    } while (rest > 0)
  }

  #string(text: string): void {
    const length = text.length
    if (length > SHORT) return this.#long(JSON.stringify(text))
    this.#reserve(length + 2)
    const bytes = this.#bytes
    let at = this.#length
    bytes[at++] = QUOTE
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i)
      // Anything but printable ASCII is left to the host.
      if (code < 32 || code > 126 || code === QUOTE || code === BACKSLASH) return this.#long(JSON.stringify(text))
      bytes[at++] = code
    }
    bytes[at++] = QUOTE
    this.#length = at
  }

  /** JSON text of any length. It holds no lone surrogate: JSON.stringify escapes those. */
  #long(json: string): void {
    if (this.#length + json.length > this.#options.maxBytes) throw this.#tooLarge(this.#length + json.length)
    for (let at = 0; at < json.length;) {
      let end = Math.min(at + PIECE, json.length)
      if (end < json.length && isHighSurrogate(json.charCodeAt(end - 1))) end--
      const piece = encoder.encode(at === 0 && end === json.length ? json : json.slice(at, end))
      this.#reserve(piece.length)
      this.#bytes.set(piece, this.#length)
      this.#length += piece.length
      at = end
    }
  }

  #marker(json: string): void {
    this.#startMarker(json)
    this.#byte(CLOSE_OBJECT)
  }

  #startMarker(json: string): void {
    this.#isMarked = true
    this.#ascii('{"$":')
    this.#ascii(json)
  }

  #ascii(text: string): void {
    this.#reserve(text.length)
    const bytes = this.#bytes
    const from = this.#length
    for (let i = 0; i < text.length; i++) bytes[from + i] = text.charCodeAt(i)
    this.#length = from + text.length
  }

  #byte(code: number): void {
    if (this.#length === this.#bytes.length) this.#reserve(1)
    this.#bytes[this.#length++] = code
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return
    if (this.#length > this.#options.maxBytes) throw this.#tooLarge(this.#length)
    const larger = new Uint8Array(Math.max(this.#length + bytes, this.#bytes.length * 2))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }

  #enter(value: object): number {
    const depth = this.#depth
    this.#open[depth] = value
    this.#path[depth] = undefined
    this.#depth = depth + 1
    return depth
  }

  #leave(depth: number): void {
    this.#open[depth] = undefined
    this.#depth = depth
  }

  #where(): string {
    return pathText(this.#options.at, this.#path, this.#depth)
  }

  #cycle(depth: number): StepwellError {
    return this.#refused(`a cycle: the object that is also at ${pathText(this.#options.at, this.#path, depth)}`)
  }

  #refused(what: string, cause?: unknown): StepwellError {
    const path = this.#where()
    return new StepwellError('not_serializable', `${path} is ${what}, which can't be stored`, {
      details: { path, what }, cause,
    })
  }

  #tooDeep(): StepwellError {
    const path = this.#where()
    return new StepwellError('limit_exceeded', `${path} is nested deeper than the limit depth of ${MAX_DEPTH}`, {
      details: { limit: 'depth', measured: MAX_DEPTH + 1, allowed: MAX_DEPTH, path },
    })
  }

  /** `measured` is what was written or would have been next: the whole value may be larger still. */
  #tooLarge(measured: number): StepwellError {
    const { maxBytes, at } = this.#options
    const details = { limit: 'maxBytes', measured, allowed: maxBytes, path: at }
    const text = `${at} has at least ${measured} bytes when encoded, over the limit of ${maxBytes}`
    return new StepwellError('payload_too_large', text, { details })
  }
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff
}

/** Milliseconds since 1970, or null for an invalid Date. Throws for what only looks like a Date. */
function jsonTime(value: object): string {
  const time = Date.prototype.getTime.call(value)
  return Number.isNaN(time) ? 'null' : String(time)
}

const byteLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength')?.get

/** Throws for what only looks like an ArrayBuffer. */
function byteLengthOf(value: object): number {
  return byteLength?.call(value) as number
}

function sorted(value: JsonValue): JsonValue {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(sorted)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]))
}

function describe(value: object, prototype: object | null): string {
  if (typeof (value as { readonly then?: unknown }).then === 'function') return 'a promise (await it first)'
  const name = constructorName(prototype)
  return name === '' ? 'an object of an unknown class' : `an instance of ${name}`
}
