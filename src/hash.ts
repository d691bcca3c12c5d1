// BLAKE3 for every host, synchronous: 32-byte digests, the same whichever way they are computed (G4, G9, G15).

import { open, openFast } from '#blake3'
import { StepwellError } from './error/stepwell-error.ts'
import type { Blake3, Hasher } from './hash/blake3-noble.ts'
import { utf8Room, writeUtf8 } from './utf8.ts'

export type { Hasher } from './hash/blake3-noble.ts'

// The one way this program hashes; opened at the first hash, replaced at most once, by `loadFast`.
let engine: Blake3 | undefined

function use(): Blake3 {
  return (engine ??= open())
}

/** The digest of `data`: 32 bytes. Throws `invalid_argument` for anything but a Uint8Array. */
export function blake3(data: Uint8Array): Uint8Array<ArrayBuffer> {
  return use().hash(data)
}

/** The same, written to `out` from `offset`. */
export function blake3Into(data: Uint8Array, out: Uint8Array, offset: number): void {
  if (!(offset >= 0 && offset + 32 <= out.length)) {
    throw new StepwellError('invalid_argument', 'a digest needs 32 bytes of room')
  }
  use().hashInto(data, out, offset)
}

/** For input that comes in pieces. Take its digest or close it: until then it holds memory. */
export function createHasher(): Hasher {
  return use().createHasher()
}

/** How hashes are computed now. */
export function backend(): 'wasm' | 'js' {
  return use().name
}

/**
 * Switches to WebAssembly where it has to be loaded first (pages); true when hashes are computed by it now. Never
 * throws.
 */
export async function loadFast(): Promise<boolean> {
  if (use().name === 'js') engine = (await openFast()) ?? engine
  return use().name === 'wasm'
}

const digits: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Lower-case hex. Throws `invalid_argument`. */
export function hex(bytes: Uint8Array): string {
  if (!ArrayBuffer.isView(bytes)) throw new StepwellError('invalid_argument', 'hex takes bytes')
  let text = ''
  for (let i = 0; i < bytes.length; i++) text += digits[bytes[i]!]!
  return text
}

/** The bytes of hex, either case. Throws `invalid_argument`. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (typeof text !== 'string' || text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new StepwellError('invalid_argument', 'hex is an even number of the digits 0-9, a-f')
  }
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(i * 2, i * 2 + 2), 16)
  return bytes
}

/** Whether both hold the same bytes, in a time that depends on their lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!
  return difference === 0
}

const STRING = 1
const BYTES = 2
const NUMBER = 3
/** A part's kind and its length. */
const HEAD_BYTES = 5

// Scratch space of hashParts, used from start to end of one synchronous call.
let scratch = new Uint8Array(1024)
let view = new DataView(scratch.buffer)
const MAX_SCRATCH_BYTES = 64 * 1024

/**
 * The digest of a domain and parts, each with its kind and length before it: ("ab", "c") and ("a", "bc") differ, and
 * so do "1", 1 and a byte 1. A part of a kind: 1 byte (1 string, 2 bytes, 3 number); 4 bytes length, little-endian;
 * then UTF-8, the bytes, or a float64. Throws `invalid_argument` for anything else.
 */
export function hashParts(domain: string, ...parts: (string | Uint8Array | number)[]): Uint8Array<ArrayBuffer> {
  let room = roomOf(domain)
  for (const part of parts) room += roomOf(part)
  const kept = scratch
  if (room > scratch.length) {
    scratch = new Uint8Array(room)
    view = new DataView(scratch.buffer)
  }
  let at = writePart(domain, 0)
  for (const part of parts) at = writePart(part, at)
  const digest = use().hash(scratch.subarray(0, at))
  if (scratch.length > MAX_SCRATCH_BYTES) {
    scratch = kept
    view = new DataView(scratch.buffer)
  }
  return digest
}

function roomOf(part: string | Uint8Array | number): number {
  if (typeof part === 'string') return HEAD_BYTES + utf8Room(part.length)
  if (typeof part === 'number' && Number.isFinite(part)) return HEAD_BYTES + 8
  if (part instanceof Uint8Array) return HEAD_BYTES + part.length
  throw new StepwellError('invalid_argument', 'hashParts takes strings, bytes and finite numbers')
}

function writePart(part: string | Uint8Array | number, at: number): number {
  const from = at + HEAD_BYTES
  let end = from
  if (typeof part === 'string') {
    scratch[at] = STRING
    end = writeUtf8(part, scratch, from)
  } else if (typeof part === 'number') {
    scratch[at] = NUMBER
    view.setFloat64(from, part + 0, true)
    end = from + 8
  } else {
    scratch[at] = BYTES
    scratch.set(part, from)
    end = from + part.length
  }
  view.setUint32(at + 1, end - from, true)
  return end
}
