// Structural keys (G7), fingerprints (G9) and idempotency keys (G15): what a call is, wherever and whenever it is made.

import { canonicalBytes } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { blake3Into, hashParts, hex } from '../hash.ts'
import { FINGERPRINT_BYTES } from '../journal/entry.ts'
import { type Limits, within } from '../limits.ts'

const special = /[/#[\]%]/
const specials = /[/#[\]%]/g

/** A name as part of a key: what separates parts is escaped, so two different paths never give one key. */
function escape(name: string): string {
  return special.test(name) ? name.replace(specials, (c) => `%${c.charCodeAt(0).toString(16)}`) : name
}

export interface CallKey {
  readonly key: string
  /** The n-th use among calls equal in scope, name and own key; 0 for the first. */
  readonly nth: number
  /** The same, not counting those that declare an input. */
  readonly plain: number
}

/** How often one name, with one own key or none, was called in a scope. */
interface Counter {
  readonly name: string
  readonly own: string | undefined
  readonly base: string
  calls: number
  /** Those of them that declare an input. */
  withInput: number
}

/**
 * A scope: its place in the tree of ctx, and the counters of the calls made in it. `path` holds the ordinals that make keys
 * unique; `labels` does not, so that inserting a branch elsewhere changes no idempotency key.
 */
export class Scope {
  readonly path: string
  readonly labels: string
  /** Calls in it are allowed after a cancel. */
  readonly isCleanup: boolean
  draws = 0
  #limits: Limits
  // A loop asks for one name again and again, and most scopes have one call: neither needs the map, nor a second look at the name.
  #last: Counter | undefined
  /** By base, once there are two. */
  #counters: Map<string, Counter> | undefined
  #groups: Map<string, number> | undefined

  constructor(limits: Limits, path = '', labels = '', isCleanup = false) {
    this.#limits = limits
    this.path = path
    this.labels = labels
    this.isCleanup = isCleanup
  }

  /** Whether the last call here had this name, so that it is known to be a legal one. */
  wasCalled(name: unknown): boolean {
    return this.#last !== undefined && this.#last.name === name
  }

  /** The key of the next call of this name. Counts synchronously, in call order, never in completion order. */
  next(name: string, own: string | undefined, hasInput = false): CallKey {
    const counter = this.#counterOf(name, own)
    const nth = counter.calls++
    const key = nth === 0 ? this.path + counter.base : `${this.path}${counter.base}#${nth}`
    if (key.length > this.#limits.keyLength) within(this.#limits, 'keyLength', key.length, `the key of ${name}`)
    const plain = nth - counter.withInput
    if (hasInput) counter.withInput++
    return { key, nth, plain }
  }

  #counterOf(name: string, own: string | undefined): Counter {
    const last = this.#last
    if (last !== undefined && last.name === name && last.own === own) return last
    const base = own === undefined ? escape(name) : `${escape(name)}[${escape(own)}]`
    let counter = this.#counters?.get(base)
    if (counter === undefined) {
      counter = { name, own, base, calls: 0, withInput: 0 }
      if (last !== undefined) (this.#counters ??= new Map([[last.base, last]])).set(base, counter)
    }
    this.#last = counter
    return counter
  }

  /** A branch's scope: `group` is the combinator (counted), `label` the branch, `item` a map's item. */
  child(group: string, label: string | undefined, item: string | undefined, isCleanup: boolean = this.isCleanup): Scope {
    return this.branch(group, this.group(group), label, item, isCleanup)
  }

  /** The n-th use of a combinator in this scope: call once, then `branch` for each of its branches. */
  group(name: string): number {
    this.#groups ??= new Map()
    const nth = this.#groups.get(name) ?? 0
    this.#groups.set(name, nth + 1)
    return nth
  }

  branch(group: string, nth: number, label: string | undefined, item: string | undefined, isCleanup: boolean = this.isCleanup): Scope {
    const head = nth === 0 ? escape(group) : `${escape(group)}#${nth}`
    const tail = label !== undefined ? `/${escape(label)}` : item !== undefined ? `[${escape(item)}]` : ''
    const shown = label !== undefined ? escape(label) : item !== undefined ? `${escape(group)}[${escape(item)}]` : escape(group)
    const path = `${this.path}${head}${tail}/`
    if (path.length > this.#limits.keyLength) within(this.#limits, 'keyLength', path.length, `scope ${head}${tail}`)
    return new Scope(this.#limits, path, `${this.labels}${shown}/`, isCleanup)
  }
}

export type CallKind = 'step' | 'sleep' | 'signal' | 'deferred' | EffectKind | 'once' | 'has_effect' | 'record_effect'
/** What kind of act an effect is: part of its fingerprint, so that it can't become another one unnoticed. */
export type EffectKind = 'idempotent' | 'cost' | 'money' | 'destructive' | 'security' | 'custom'
const kindBytes: Readonly<Record<CallKind, number>> = {
  step: 1, sleep: 2, signal: 3, deferred: 4, idempotent: 16, cost: 17, money: 18, destructive: 19, security: 20, custom: 21,
  once: 22, has_effect: 23, record_effect: 24,
}

// Scratch space, used from start to end of one synchronous call.
let scratch = new Uint8Array(1024)
// Its first n bytes, by n: most calls of a workflow take one of few lengths.
let fronts: Uint8Array[] = []
const MAX_FRONTS = 256
const digest = new Uint8Array(32)
const utf8 = new TextEncoder()

/**
 * The first 16 bytes of BLAKE3 over kind, key and declared input, each length-prefixed: ("ab", "c") and ("a", "bc") differ.
 */
export function fingerprint(kind: CallKind, key: string, input: Uint8Array | undefined): Uint8Array {
  const needed = 16 + key.length * 3 + (input?.length ?? 0)
  if (scratch.length < needed) {
    scratch = new Uint8Array(needed * 2)
    fronts = []
  }
  let at = 0
  scratch[at++] = kindBytes[kind]
  const lengthAt = at
  at += 4
  const from = at
  let i = 0
  for (; i < key.length; i++) {
    const code = key.charCodeAt(i)
    if (code > 127) break
    scratch[at++] = code
  }
  if (i < key.length) {
    const encoded = utf8.encode(key)
    scratch.set(encoded, from)
    at = from + encoded.length
  }
  uint32(lengthAt, at - from)
  if (input === undefined) scratch[at++] = 0
  else {
    scratch[at++] = 1
    uint32(at, input.length)
    at += 4
    scratch.set(input, at)
    at += input.length
  }
  blake3Into(at < MAX_FRONTS ? (fronts[at] ??= scratch.subarray(0, at)) : scratch.subarray(0, at), digest, 0)
  // Copied by hand: `slice` takes longer, and a view of so small an array makes its memory move out of the heap.
  const found = new Uint8Array(FINGERPRINT_BYTES)
  for (let i = 0; i < FINGERPRINT_BYTES; i++) found[i] = digest[i] as number
  return found
}

function uint32(at: number, value: number): void {
  scratch[at] = value & 255
  scratch[at + 1] = (value >>> 8) & 255
  scratch[at + 2] = (value >>> 16) & 255
  scratch[at + 3] = value >>> 24
}

/** Declared input in canonical form; `undefined` when none is declared. Throws `not_serializable` with the field's path. */
export function declaredInput(input: unknown): Uint8Array | undefined {
  return input === undefined ? undefined : canonicalBytes(input)
}

export interface IdempotencyParts {
  readonly incarnation: string
  readonly labels: string
  readonly name: string
  readonly own: string | undefined
  readonly input: Uint8Array | undefined
  /** The n-th use among calls equal in all of the above. */
  readonly nth: number
  /** How often it was undone: done again, it is another act to the outside world. */
  readonly undos: number
}

/** G15: holds neither position nor generation, so permuted, extended and concurrent loops and inserted code change no key. */
export function idempotencyKey(parts: IdempotencyParts): string {
  return hex(hashParts(
    'stepwell.idempotency', parts.incarnation, 0, parts.undos, parts.labels, parts.name,
    parts.own === undefined ? 0 : 1, parts.own ?? '', parts.input === undefined ? 0 : 1, parts.input ?? new Uint8Array(0), parts.nth,
  )).slice(0, 40)
}

/** Throws `invalid_argument`, `limit_exceeded`: a name is a string of 1 to `nameLength` characters. */
export function checkName(limits: Limits, name: unknown, what: string): string {
  if (typeof name !== 'string' || name.length === 0 || name.trim() === '') {
    throw new StepwellError('invalid_argument', `${what}: a name is a string that is not blank`)
  }
  // Half a surrogate pair is not the same after it was stored, so the call would never be found again.
  if (!name.isWellFormed()) throw new StepwellError('invalid_argument', `${what}: ${JSON.stringify(name.slice(0, 40))} is no well-formed text`)
  if (name.length > limits.nameLength) within(limits, 'nameLength', name.length, `${what} ${JSON.stringify(name.slice(0, 40))}…`)
  return name
}
