// One record of a run's journal: its kinds, its encoded form (docs/journal.md, format 1) and its place in the chain.

import { StepwellError } from '../errors.ts'
import { blake3 } from '../hash.ts'
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
      return true
    default:
      return false
  }
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
  readonly payloadHash: Uint8Array | undefined
  readonly hash: Uint8Array
}

// Scratch space of the encoder: used from start to end of one synchronous call, holds nothing between two.
let scratch = new Uint8Array(4096)
let view = new DataView(scratch.buffer)
const utf8 = new TextEncoder()
// A name may begin with U+FEFF, which a decoder takes for a byte order mark and drops.
const fromUtf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * The encoded entry and its chain hash. `previous` is the chain hash of seq - 1 (`GENESIS` for seq 1).
 */
export function encodeEntry(seq: number, draft: EntryDraft, previous: Uint8Array): { bytes: Uint8Array; hash: Uint8Array } {
  const { key, fingerprint } = draft
  const payload = draft.payload ?? noBytes
  const needed = 256 + (key === undefined ? 0 : key.length * 3)
  if (scratch.length < needed) {
    scratch = new Uint8Array(needed * 2)
    view = new DataView(scratch.buffer)
  }
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
    out.set(blake3(payload), at)
    at += HASH_BYTES
  }
  const hash = blake3(out.subarray(0, at))
  const headerLength = at - HASH_BYTES
  const bytes = new Uint8Array(headerLength + HASH_BYTES + payload.length)
  bytes.set(out.subarray(HASH_BYTES, at), 0)
  bytes.set(hash, headerLength)
  if (payload.length > 0) bytes.set(payload, headerLength + HASH_BYTES)
  return { bytes, hash }
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
  const reader: Reader = { bytes, at: 4 }
  const storedSeq = readVarint(reader)
  const generation = readVarint(reader)
  const calls = readVarint(reader)
  const attempt = readVarint(reader)
  const at = readFloat(reader)
  const due = (flags & DUE) === 0 ? undefined : readFloat(reader)
  let key: string | undefined
  let fingerprint: Uint8Array | undefined
  if ((flags & KEYED) !== 0) {
    key = readText(reader)
    fingerprint = take(reader, FINGERPRINT_BYTES)
  }
  const payloadLength = readVarint(reader)
  const payloadHash = payloadLength > 0 ? take(reader, HASH_BYTES) : undefined
  const headerLength = reader.at
  const hash = take(reader, HASH_BYTES)

  if (scratch.length < headerLength + HASH_BYTES) {
    scratch = new Uint8Array((headerLength + HASH_BYTES) * 2)
    view = new DataView(scratch.buffer)
  }
  scratch.set(previous, 0)
  scratch.set(bytes.subarray(0, headerLength), HASH_BYTES)
  if (!same(blake3(scratch.subarray(0, headerLength + HASH_BYTES)), hash)) {
    throw corrupt(seq, 'its hash does not continue the chain')
  }
  if (storedSeq !== seq) throw corrupt(seq, `it says it is entry ${storedSeq}`)

  const trimmed = (flags & TRIMMED) !== 0
  const rest = bytes.length - reader.at
  if (rest !== (trimmed ? 0 : payloadLength)) throw corrupt(seq, 'its payload has another length')
  const payload = rest > 0 ? bytes.subarray(reader.at) : noBytes
  if (rest > 0 && !same(blake3(payload), payloadHash as Uint8Array)) throw corrupt(seq, 'its payload was changed')

  const kind = kindNames[bytes[1] as number]
  const host = hostNames[bytes[3] as number]
  if (kind === undefined || host === undefined || (flags & ~KNOWN_FLAGS) !== 0) {
    throw new StepwellError('unsupported_entry', `entry ${seq} is of a kind (${bytes[1]}) that this version does not know`, {
      details: { seq, kind: bytes[1] as number },
    })
  }
  return {
    seq, kind, host, generation, calls, attempt, at, payload, payloadHash, trimmed, hash,
    prompt: (flags & PROMPT) !== 0, grouped: (flags & GROUPED) !== 0, blob: (flags & BLOB) !== 0,
    ...(due === undefined ? undefined : { due }),
    ...(key === undefined ? undefined : { key, fingerprint: fingerprint as Uint8Array }),
  }
}

/** The chain hash and the time that an encoded entry claims, unverified: for comparing heads, and for what continues it. */
export function claim(bytes: Uint8Array): { readonly hash: Uint8Array; readonly at: number } {
  const flags = bytes[2] as number
  const reader: Reader = { bytes, at: 4 }
  for (let i = 0; i < 4; i++) readVarint(reader)
  const at = readFloat(reader)
  if ((flags & DUE) !== 0) reader.at += 8
  if ((flags & KEYED) !== 0) {
    const length = readVarint(reader)
    reader.at += length + FINGERPRINT_BYTES
  }
  if (readVarint(reader) > 0) reader.at += HASH_BYTES
  return { at, hash: take(reader, HASH_BYTES) }
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

interface Reader {
  readonly bytes: Uint8Array
  at: number
}

function readVarint(reader: Reader): number {
  let value = 0
  let scale = 1
  for (let i = 0; i < 8; i++) {
    const byte = reader.bytes[reader.at++]
    if (byte === undefined) throw new RangeError('end of entry')
    value += (byte & 127) * scale
    if (byte < 128) return value
    scale *= 128
  }
  throw new RangeError('number too long')
}

const floatView = new DataView(new ArrayBuffer(8))
function readFloat(reader: Reader): number {
  for (let i = 0; i < 8; i++) floatView.setUint8(i, reader.bytes[reader.at + i] as number)
  if (reader.at + 8 > reader.bytes.length) throw new RangeError('end of entry')
  reader.at += 8
  return floatView.getFloat64(0, true)
}

function take(reader: Reader, length: number): Uint8Array {
  const end = reader.at + length
  if (end > reader.bytes.length) throw new RangeError('end of entry')
  const part = reader.bytes.subarray(reader.at, end)
  reader.at = end
  return part
}

function readText(reader: Reader): string {
  const length = readVarint(reader)
  const end = reader.at + length
  if (end > reader.bytes.length) throw new RangeError('end of entry')
  if (length < 64) {
    let value = ''
    let i = reader.at
    for (; i < end; i++) {
      const code = reader.bytes[i] as number
      if (code > 127) break
      value += String.fromCharCode(code)
    }
    if (i === end) {
      reader.at = end
      return value
    }
  }
  return fromUtf8.decode(take(reader, length))
}
