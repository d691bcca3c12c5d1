// JSON with markers to values (docs/codec.md). Accepts exactly what write.ts writes; anything else is a typed error
// that names the path, never a wrong value.

import { fromBase64 } from '../base64.ts'
import { BlobRef } from '../blob-ref.ts'
import { fromErrorData } from '../error/data.ts'
import type { StepwellError } from '../error/stepwell-error.ts'
import { viewClass } from './intrinsic.ts'
import { type PathPart, pathText } from './path.ts'
import { MAX_DEPTH } from './write.ts'

/** Makes the error for a path and what is wrong there. */
export type Refuse = (path: string, why: string, cause?: unknown) => StepwellError

/** The value of parsed JSON. What holds no marker is returned as it is, not copied. */
export function revive(json: unknown, root: string, refuse: Refuse): unknown {
  return new Reader(root, refuse).value(json)
}

type Args = readonly unknown[]

class Reader {
  readonly #root: string
  readonly #refuse: Refuse
  readonly #path: PathPart[] = []

  constructor(root: string, refuse: Refuse) {
    this.#root = root
    this.#refuse = refuse
  }

  value(json: unknown): unknown {
    if (typeof json !== 'object' || json === null) return json
    if (this.#path.length >= MAX_DEPTH) throw this.#bad(`nested deeper than ${MAX_DEPTH}`)
    if (Array.isArray(json)) return this.#items(json, (i) => i)
    if (!Object.hasOwn(json, '$')) return this.#fields(json)
    const marker = (json as { readonly $: unknown }).$
    if (Object.keys(json).length !== 1 || !Array.isArray(marker)) {
      throw this.#bad('an object with the key "$" is no marker')
    }
    return this.#marker(marker)
  }

  #items(json: Args, part: (i: number) => PathPart): Args {
    let copy: unknown[] | undefined
    for (let i = 0; i < json.length; i++) {
      const item = this.#at(part(i), json[i])
      if (!Object.is(item, json[i])) (copy ??= json.slice())[i] = item
    }
    return copy ?? json
  }

  #fields(json: object): object {
    let copy: object | undefined
    for (const key of Object.keys(json)) {
      const before = (json as Readonly<Record<string, unknown>>)[key]
      const value = this.#at(key, before)
      if (Object.is(value, before)) continue
      // Spread and defineProperty make own properties, so a field named __proto__ stays a field.
      copy ??= { ...json }
      Object.defineProperty(copy, key, { value, enumerable: true, writable: true, configurable: true })
    }
    return copy ?? json
  }

  #at(part: PathPart, json: unknown): unknown {
    if (typeof json !== 'object' || json === null) return json
    this.#path.push(part)
    const value = this.value(json)
    this.#path.pop()
    return value
  }

  #marker(marker: Args): unknown {
    const [tag, ...args] = marker
    const [a, b, c] = args
    switch (tag) {
      case 'undefined': return this.#arity(args, 0), undefined
      case 'number': return this.#arity(args, 1), this.#number(a)
      case 'bigint': return this.#arity(args, 1), this.#bigint(a)
      case 'date': return this.#arity(args, 1), this.#date(a)
      case 'bytes': return this.#arity(args, 1), this.#bytes(a)
      case 'buffer': return this.#arity(args, 1), this.#bytes(a).buffer
      case 'view': return this.#arity(args, 2), this.#view(a, b)
      case 'map': return this.#arity(args, 1), this.#map(a)
      case 'set': return this.#arity(args, 1), this.#set(a)
      case 'error': return this.#arity(args, 1), this.#made(() => fromErrorData(a))
      case 'blob': return this.#arity(args, 3), this.#made(() => new BlobRef(a as string, b as number, c as number))
      case 'obj': return this.#arity(args, 1), this.#escaped(a)
      default:
        throw this.#bad(`unknown marker ${JSON.stringify(tag)?.slice(0, 40)}; a newer version may have written it`)
    }
  }

  #arity(args: Args, count: number): void {
    if (args.length !== count) throw this.#bad('a marker has the wrong number of parts')
  }

  #number(text: unknown): number {
    switch (text) {
      case 'NaN': return Number.NaN
      case 'Infinity': return Number.POSITIVE_INFINITY
      case '-Infinity': return Number.NEGATIVE_INFINITY
      case '-0': return -0
      default: throw this.#bad('not a special number')
    }
  }

  #bigint(text: unknown): bigint {
    if (typeof text !== 'string' || !/^(?:0|-?[1-9]\d*)$/.test(text)) throw this.#bad('not a bigint')
    return this.#made(() => BigInt(text))
  }

  #date(time: unknown): Date {
    if (time === null) return new Date(Number.NaN)
    const date = new Date(typeof time === 'number' ? time : Number.NaN)
    if (date.getTime() !== time) throw this.#bad('not a date')
    return date
  }

  #bytes(text: unknown): Uint8Array<ArrayBuffer> {
    const bytes = typeof text === 'string' ? fromBase64(text) : undefined
    if (bytes === undefined) throw this.#bad('not base64')
    return bytes
  }

  #view(name: unknown, text: unknown): ArrayBufferView {
    const View = typeof name === 'string' ? viewClass(name) : undefined
    if (View === undefined) throw this.#bad('a kind of bytes that this host does not have')
    const { buffer } = this.#bytes(text)
    return this.#made(() => new View(buffer)) // throws when the length does not fit
  }

  #map(entries: unknown): Map<unknown, unknown> {
    if (!Array.isArray(entries)) throw this.#bad('not a map')
    const map = new Map<unknown, unknown>()
    entries.forEach((entry: unknown, i) => {
      if (!Array.isArray(entry) || entry.length !== 2) throw this.#bad('not a map')
      const key = this.#at({ part: `key ${i}` }, entry[0])
      map.set(key, this.#at({ part: `value ${i}` }, entry[1]))
    })
    if (map.size !== entries.length) throw this.#bad('a map with a key twice')
    return map
  }

  #set(items: unknown): Set<unknown> {
    if (!Array.isArray(items)) throw this.#bad('not a set')
    const set = new Set(this.#items(items, (i) => ({ part: `item ${i}` })))
    if (set.size !== items.length) throw this.#bad('a set with an item twice')
    return set
  }

  #escaped(json: unknown): object {
    if (typeof json !== 'object' || json === null || !Object.hasOwn(json, '$')) throw this.#bad('not an escaped object')
    return this.#fields(json)
  }

  #made<T>(make: () => T): T {
    try {
      return make()
    } catch (cause) {
      throw this.#bad('a marker whose parts do not fit', cause)
    }
  }

  #bad(why: string, cause?: unknown): StepwellError {
    return this.#refuse(pathText(this.#root, this.#path, this.#path.length), why, cause)
  }
}
