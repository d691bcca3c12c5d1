// Fuzzing of the codec: a value comes back as it was; bytes and JSON that somebody damaged or made up give a typed error, or a value
// that is carried like any other.

import { canonicalBytes, decode, encode, fromWire, toWire } from '../../src/codec.ts'
import { isStepwellError } from '../../src/errors.ts'
import { hex } from '../../src/hash.ts'
import { draw } from './draw.ts'
import { mutated, mutatedJson } from './mutation.ts'
import { randomBytes, randomValue, randomWire } from './values.ts'

export interface CodecCounts {
  readonly inputs: number
  readonly refused: number
  readonly accepted: number
  readonly whole: number
}

const ofBytes = new Set(['corrupt_payload', 'format_too_new', 'payload_too_large'])
const ofWire = new Set(['invalid_argument'])
const twins = new TextEncoder().encode('\x02{"$":["view","Float64Array","')

/** Throws with the seed in its message. */
export function fuzzCodec(from: number, count: number): CodecCounts {
  const counts = { inputs: 0, refused: 0, accepted: 0, whole: 0 }
  let other: Uint8Array = twins
  for (let seed = from; seed < from + count; seed++) {
    try {
      const d = draw(seed)
      const value = randomValue(d)
      const bytes = encode(value)
      const canonical = hex(canonicalBytes(value))
      if (hex(canonicalBytes(decode(bytes))) !== canonical) throw new Error('it came back otherwise')
      if (hex(canonicalBytes(fromWire(JSON.parse(JSON.stringify(toWire(value)))))) !== canonical) throw new Error('it came back otherwise over the wire')
      counts.whole++
      const damaged = d.oneIn(6) ? randomBytes(d, d(60)) : mutated(d, bytes, other)
      if (d.oneIn(3) && damaged.length > 0) damaged[0] = 1 + d(2)
      take(counts, ofBytes, () => decode(damaged))
      const json = d.oneIn(2) ? randomWire(d) : mutatedJson(d, toWire(value))
      take(counts, ofWire, () => fromWire(json))
      other = bytes
    } catch (error) {
      throw new Error(`codec, seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }
  return counts
}

/** A typed error, or a value that can be written, and is then read as the same. */
function take(counts: { inputs: number; refused: number; accepted: number }, codes: ReadonlySet<string>, read: () => unknown): void {
  counts.inputs++
  let value: unknown
  try {
    value = read()
  } catch (error) {
    if (!isStepwellError(error) || !codes.has(error.code)) throw error
    counts.refused++
    return
  }
  counts.accepted++
  const canonical = canonicalBytes(value)
  if (hex(canonicalBytes(decode(canonical))) !== hex(canonical)) throw new Error('what was accepted is not carried as it is')
}
