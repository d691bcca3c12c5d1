// One record of a run's journal: its kinds, its encoded form (docs/journal.md, format 1) and its place in the chain.

import { StepwellError } from '../errors.ts'
import { blake3Into } from '../hash.ts'
import type { HostName } from '../host.ts'

/** Stored words: a code is never reused. */
export const kindCodes = {
  run_started: 1,
  generation_started: 2,
  step_completed: 10,
  step_failed: 11,
  attempt_failed: 12,
  timer_set: 20,
  timer_fired: 21,
  cancel_requested: 30,
  deadline_passed: 31,
  run_completed: 40,
  run_failed: 41,
  run_cancelled: 42,
  effect_intended: 50,
  effect_not_called: 51,
  effect_attempt_failed: 52,
  effect_ambiguous: 53,
  effect_decided: 54,
  effect_completed: 55,
  effect_failed: 56,
  effect_recorded: 57,
  effect_looked_up: 58,
  effect_noted: 59,
  undo_started: 60,
  undo_intended: 61,
  undo_attempt_failed: 62,
  undo_completed: 63,
  patch_applied: 70,
  event_emitted: 75,
  signal_received: 80,
} as const

export type EntryKind = keyof typeof kindCodes

const kindNames: readonly (EntryKind | undefined)[] = (() => {
  const names: (EntryKind | undefined)[] = []
  for (const [name, code] of Object.entries(kindCodes)) names[code] = name as EntryKind
  return names
})()

/** Kinds that hand something to the waiting function, each one at its own moment (G8). */
export function isDelivered(kind: EntryKind): boolean {
  switch (kind) {
    case 'step_completed': case 'step_failed': case 'timer_fired': case 'cancel_requested': case 'deadline_passed':
    case 'effect_completed': case 'effect_failed': case 'effect_looked_up': case 'effect_noted':
    case 'signal_received':
      return true
    default:
      return false
  }
}

/** Notes about an effect or its undo. They are kept beside the effect, whether its call was made yet or not. */
export function isEffectNote(kind: EntryKind): boolean {
  return kindCodes[kind] >= 50 && kindCodes[kind] < 70 && !isDelivered(kind)
}

export function isTerminal(kind: EntryKind): boolean {
  return kind === 'run_completed' || kind === 'run_failed' || kind === 'run_cancelled'
}

const hostCodes: Readonly<Record<HostName, number>> = { edge: 1, browser: 2, test: 3 }
const hostNames: readonly (HostName | undefined)[] = [undefined, 'edge', 'browser', 'test']

const FORMAT = 1
const KEYED = 1
const PROMPT = 2
const GROUPED = 4
const BLOB = 8
const TRIMMED = 16
const DUE = 32
const KNOWN_FLAGS = 63

export const HASH_BYTES = 32
export const FINGERPRINT_BYTES = 16
/** What the chain begins with. */
export const GENESIS: Uint8Array = new Uint8Array(HASH_BYTES)
const noBytes: Uint8Array = new Uint8Array(0)

export interface EntryDraft {
  readonly kind: EntryKind
  readonly generation: number
  readonly host: HostName
  /** ms since 1970; never less than the entry before. */
  readonly at: number
  /** How many ctx calls had been made when it was decided (docs/journal.md, Delivery). */
  readonly calls: number
  readonly attempt?: number
  readonly key?: string
  readonly fingerprint?: Uint8Array
  readonly due?: number
  /** Delivered at the fixed turn, not at quiescence. */
  readonly prompt?: boolean
  /** Committed together with an earlier outcome that was delivered before it. */
  readonly grouped?: boolean
  /** `payload` is an encoded reference to a blob. */
  readonly blob?: boolean
  readonly payload?: Uint8Array
}

export interface Entry extends EntryDraft {
  readonly seq: number
  readonly attempt: number
  readonly prompt: boolean
  readonly grouped: boolean
  readonly blob: boolean
  readonly payload: Uint8Array
  /** The payload was removed after its retention; `payloadHash` still says what it was. */
  readonly trimmed: boolean
  /** Of a trimmed payload. */
  readonly payloadHash: Uint8Array | undefined
  readonly hash: Uint8Array
}

// Scratch space of the encoder: used from start to end of one synchronous call, holds nothing between two.
let scratch = new Uint8Array(4096)
let view = new DataView(scratch.buffer)
// Its first n bytes, by n: making a view costs about as much as hashing a block, and headers are of few different lengths.
let fronts: Uint8Array[] = []
let backs: Uint8Array[] = []
const MAX_FRONTS = 1024
// Where encoded entries lie, one behind the other, each as a view of its own. An array over 64 bytes that has its memory to
// itself costs 2 µs to make and to collect, a view 0.15. Nothing in it is ever written twice.
let slab = new Uint8Array(0)
let slabUsed = 0
const SLAB_BYTES = 16 * 1024
const utf8 = new TextEncoder()
// A name may begin with U+FEFF, which a decoder takes for a byte order mark and drops.
const fromUtf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * The encoded entry and its chain hash. `previous` is the chain hash of seq - 1 (`GENESIS` for seq 1). `bytes` may be a part of a
 * larger buffer.
 */
export function encodeEntry(seq: number, draft: EntryDraft, previous: Uint8Array): { bytes: Uint8Array; hash: Uint8Array } {
  const { key, fingerprint } = draft
  const payload = draft.payload ?? noBytes
  reserve(256 + (key === undefined ? 0 : key.length * 3))
  const out = scratch
  out.set(previous, 0)
  let at = HASH_BYTES
  out[at++] = FORMAT
  out[at++] = kindCodes[draft.kind]
  out[at++] = (key === undefined ? 0 : KEYED) | (draft.prompt === true ? PROMPT : 0) | (draft.grouped === true ? GROUPED : 0) |
    (draft.blob === true ? BLOB : 0) | (draft.due === undefined ? 0 : DUE)
  out[at++] = hostCodes[draft.host]
  at = varint(out, at, seq)
  at = varint(out, at, draft.generation)
  at = varint(out, at, draft.calls)
  at = varint(out, at, draft.attempt ?? 0)
  view.setFloat64(at, draft.at, true)
  at += 8
  if (draft.due !== undefined) {
    view.setFloat64(at, draft.due, true)
    at += 8
  }
  if (key !== undefined) {
    at = text(out, at, key)
    out.set(fingerprint ?? GENESIS.subarray(0, FINGERPRINT_BYTES), at)
    at += FINGERPRINT_BYTES
  }
  at = varint(out, at, payload.length)
  if (payload.length > 0) {
    blake3Into(payload, out, at)
    at += HASH_BYTES
  }
  blake3Into(front(at), out, at)
  const end = at + HASH_BYTES
  const bytes = room(end - HASH_BYTES + payload.length)
  bytes.set(back(end))
  if (payload.length > 0) bytes.set(payload, end - HASH_BYTES)
  return { bytes, hash: part(bytes, at - HASH_BYTES, HASH_BYTES) }
}

/** An array for an entry that nobody else has. */
function room(length: number): Uint8Array {
  if (length > MAX_FRONTS) return new Uint8Array(length)
  if (slabUsed + length > slab.length) {
    slab = new Uint8Array(SLAB_BYTES)
    slabUsed = 0
  }
  const bytes = new Uint8Array(slab.buffer, slabUsed, length)
  slabUsed += length
  return bytes
}

/**
 * The entry stored as `bytes` under `seq`, verified against the chain (G4). Throws `corrupt_entry` naming the seq when a byte was
 * changed or the entry is not the one that belongs here, `format_too_new`, `unsupported_entry`. Nothing is parsed before its length
 * is known to be there.
 */
export function decodeEntry(seq: number, bytes: Uint8Array, previous: Uint8Array): Entry {
  try {
    return decode(seq, bytes, previous)
  } catch (error) {
    if (error instanceof StepwellError) throw error
    throw corrupt(seq, 'it cannot be parsed')
  }
}

function decode(seq: number, bytes: Uint8Array, previous: Uint8Array): Entry {
  if (bytes.length < 4 + 4 + 8 + 1 + HASH_BYTES) throw corrupt(seq, 'it is too short')
  if (bytes[0] !== FORMAT) {
    if ((bytes[0] as number) > FORMAT) {
      throw new StepwellError('format_too_new', `entry ${seq} has format ${bytes[0]}; this version reads ${FORMAT}`, { details: { seq } })
    }
    throw corrupt(seq, 'its format byte is wrong')
  }
  const flags = bytes[2] as number
  reader = 4
  const storedSeq = readVarint(bytes)
  const generation = readVarint(bytes)
  const calls = readVarint(bytes)
  const attempt = readVarint(bytes)
  const at = readFloat(bytes)
  const due = (flags & DUE) === 0 ? undefined : readFloat(bytes)
  let key: string | undefined
  let fingerprint: Uint8Array | undefined
  if ((flags & KEYED) !== 0) {
    key = readText(bytes)
    fingerprint = take(bytes, FINGERPRINT_BYTES)
  }
  const payloadLength = readVarint(bytes)
  const payloadHashAt = reader
  if (payloadLength > 0) skip(bytes, HASH_BYTES)
  const headerLength = reader
  skip(bytes, HASH_BYTES)
  const payloadAt = reader

  reserve(headerLength + 2 * HASH_BYTES)
  scratch.set(previous, 0)
  // As a whole, behind which there is room: to copy a small array at once is faster than byte by byte, or than a view of a part.
  if (bytes.length < scratch.length - HASH_BYTES) scratch.set(bytes, HASH_BYTES)
  else for (let i = 0; i < headerLength; i++) scratch[HASH_BYTES + i] = bytes[i] as number
  const end = headerLength + HASH_BYTES
  blake3Into(front(end), scratch, end)
  if (!isAt(bytes, headerLength, end)) throw corrupt(seq, 'its hash does not continue the chain')
  if (storedSeq !== seq) throw corrupt(seq, `it says it is entry ${storedSeq}`)
  if (!Number.isFinite(at) || (due !== undefined && !Number.isFinite(due))) throw corrupt(seq, 'its time is no number')

  const trimmed = (flags & TRIMMED) !== 0
  const rest = bytes.length - payloadAt
  if (rest !== (trimmed ? 0 : payloadLength)) throw corrupt(seq, 'its payload has another length')
  const payload = rest > 0 ? part(bytes, payloadAt, rest) : noBytes
  if (rest > 0) {
    blake3Into(payload, scratch, 0)
    if (!isAt(bytes, payloadHashAt, 0)) throw corrupt(seq, 'its payload was changed')
  }
  const hash = part(bytes, headerLength, HASH_BYTES)
  const payloadHash = trimmed && payloadLength > 0 ? bytes.subarray(payloadHashAt, payloadHashAt + HASH_BYTES) : undefined

  const kind = kindNames[bytes[1] as number]
  const host = hostNames[bytes[3] as number]
  if (kind === undefined || host === undefined || (flags & ~KNOWN_FLAGS) !== 0) {
    throw new StepwellError('unsupported_entry', `entry ${seq} is of a kind (${bytes[1]}) that this version does not know`, {
      details: { seq, kind: bytes[1] as number },
    })
  }
  const prompt = (flags & PROMPT) !== 0
  const grouped = (flags & GROUPED) !== 0
  const blob = (flags & BLOB) !== 0
  // One literal for each of the two usual shapes: to spread what is optional into one costs 7 % of a whole replay.
  if (key === undefined) {
    const entry: Entry = { seq, kind, host, generation, calls, attempt, at, payload, payloadHash, trimmed, hash, prompt, grouped, blob }
    return due === undefined ? entry : { ...entry, due }
  }
  const entry: Entry = {
    seq, kind, host, generation, calls, attempt, at, payload, payloadHash, trimmed, hash, prompt, grouped, blob,
    key, fingerprint: fingerprint as Uint8Array,
  }
  return due === undefined ? entry : { ...entry, due }
}

function reserve(bytes: number): void {
  if (scratch.length >= bytes) return
  scratch = new Uint8Array(bytes * 2)
  view = new DataView(scratch.buffer)
  fronts = []
  backs = []
}

/** The first `length` bytes of the scratch space. */
function front(length: number): Uint8Array {
  return length < MAX_FRONTS ? (fronts[length] ??= scratch.subarray(0, length)) : scratch.subarray(0, length)
}

/** The same without the previous hash that the chain hash begins with: what is stored. */
function back(end: number): Uint8Array {
  return end < MAX_FRONTS ? (backs[end] ??= scratch.subarray(HASH_BYTES, end)) : scratch.subarray(HASH_BYTES, end)
}

/** Whether the hash in `bytes` is the one in the scratch space. */
function isAt(bytes: Uint8Array, at: number, scratchAt: number): boolean {
  for (let i = 0; i < HASH_BYTES; i++) if (bytes[at + i] !== scratch[scratchAt + i]) return false
  return true
}

/** A view of a part that is there: in a fifth less time than `subarray`. */
function part(bytes: Uint8Array, at: number, length: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + at, length)
}

/** What an encoded entry claims, unverified: for comparing heads, and for what continues it. Throws `RangeError`. */
export function claim(bytes: Uint8Array): {
  readonly kind: EntryKind | undefined; readonly generation: number; readonly at: number; readonly hash: Uint8Array
} {
  const flags = bytes[2] as number
  reader = 4
  readVarint(bytes)
  const generation = readVarint(bytes)
  for (let i = 0; i < 2; i++) readVarint(bytes)
  const at = readFloat(bytes)
  if ((flags & DUE) !== 0) skip(bytes, 8)
  if ((flags & KEYED) !== 0) skip(bytes, readVarint(bytes) + FINGERPRINT_BYTES)
  if (readVarint(bytes) > 0) skip(bytes, HASH_BYTES)
  return { kind: kindNames[bytes[1] as number], generation, at, hash: take(bytes, HASH_BYTES) }
}

function corrupt(seq: number, why: string): StepwellError {
  return new StepwellError('corrupt_entry', `entry ${seq} of the journal is damaged: ${why}`, { details: { seq, why } })
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

function varint(out: Uint8Array, at: number, value: number): number {
  // Numbers go up to 2^53: divide instead of shifting, which would cut at 32 bits.
  while (value >= 128) {
    out[at++] = (value % 128) | 128
    value = Math.floor(value / 128)
  }
  out[at++] = value
  return at
}

function text(out: Uint8Array, at: number, value: string): number {
  const { length } = value
  if (length < 128) {
    let i = 0
    for (; i < length; i++) {
      const code = value.charCodeAt(i)
      if (code > 127) break
      out[at + 1 + i] = code
    }
    if (i === length) {
      out[at] = length
      return at + 1 + length
    }
  }
  const encoded = utf8.encode(value)
  at = varint(out, at, encoded.length)
  out.set(encoded, at)
  return at + encoded.length
}

// Where the next field of the entry that is being decoded begins.
let reader = 0

function readVarint(bytes: Uint8Array): number {
  let value = 0
  let scale = 1
  for (let i = 0; i < 8; i++) {
    const byte = bytes[reader++]
    if (byte === undefined) throw new RangeError('end of entry')
    value += (byte & 127) * scale
    if (byte < 128) {
      if (value > Number.MAX_SAFE_INTEGER) break
      return value
    }
    scale *= 128
  }
  throw new RangeError('number too long')
}

const floatView = new DataView(new ArrayBuffer(8))
function readFloat(bytes: Uint8Array): number {
  const at = reader
  skip(bytes, 8)
  for (let i = 0; i < 8; i++) floatView.setUint8(i, bytes[at + i] as number)
  return floatView.getFloat64(0, true)
}

function skip(bytes: Uint8Array, length: number): void {
  reader += length
  if (reader > bytes.length) throw new RangeError('end of entry')
}

function take(bytes: Uint8Array, length: number): Uint8Array {
  const from = reader
  skip(bytes, length)
  return part(bytes, from, length)
}

// Character codes of a short text: one call that makes a flat string. Adding up characters makes a rope, which the first use as a
// key of a Map flattens again: 10 % of a whole replay.
const codes: number[] = []

function readText(bytes: Uint8Array): string {
  const length = readVarint(bytes)
  const from = reader
  skip(bytes, length)
  if (length < 64) {
    codes.length = length
    let i = 0
    for (; i < length; i++) {
      const code = bytes[from + i] as number
      if (code > 127) break
      codes[i] = code
    }
    if (i === length) return String.fromCharCode.apply(undefined, codes)
  }
  return fromUtf8.decode(bytes.subarray(from, reader))
}
