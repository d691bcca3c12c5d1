// Fuzzing of the journal's decoder: damaged entries, entries in another place, and entries whose hash was made anew by whoever changed
// them. The answer is a typed error or an entry with fields as the format allows them, and never memory for a length that is only claimed.

import { encode } from '../../src/codec.ts'
import { isStepwellError } from '../../src/errors.ts'
import { blake3, hex } from '../../src/hash.ts'
import { claim, decodeEntry, encodeEntry, type EntryDraft, type EntryKind, GENESIS, HASH_BYTES, kindCodes } from '../../src/journal/entry.ts'
import { decodeRecord } from '../../src/journal/record.ts'
import { type Draw, draw } from './draw.ts'
import { joined, mutated } from './mutation.ts'
import { randomBytes, randomValue } from './values.ts'

export interface JournalCounts {
  readonly inputs: number
  readonly refused: number
  readonly accepted: number
  /** Damaged, and with a chain hash that fits. */
  readonly forged: number
}

const codes = new Set(['corrupt_entry', 'format_too_new', 'unsupported_entry'])
const entryKinds = Object.keys(kindCodes) as EntryKind[]

function randomDraft(d: Draw): EntryDraft {
  const payload = d.oneIn(3) ? undefined : encode(randomValue(d, 2))
  return {
    kind: d.pick(entryKinds), generation: 1 + d(3), host: d.pick(['edge', 'browser', 'test'] as const), at: 1e12 + d(1e6), calls: d(500), attempt: d(4),
    ...(d.oneIn(3) ? undefined : { key: d.pick(['a', 'scope/b#2', 'ключ', 'k'.repeat(200)]), fingerprint: randomBytes(d, 16) }),
    ...(d.oneIn(4) ? { due: 1e12 + d(1e6) } : undefined), ...(d.oneIn(4) ? { prompt: true } : undefined), ...(d.oneIn(4) ? { grouped: true } : undefined),
    ...(payload === undefined ? undefined : { payload, ...(d.oneIn(5) ? { blob: true } : undefined) }),
  }
}

/** Throws with the seed in its message. */
export function fuzzJournal(from: number, count: number): JournalCounts {
  const counts = { inputs: 0, refused: 0, accepted: 0, forged: 0 }
  for (let seed = from; seed < from + count; seed++) {
    try {
      const d = draw(seed)
      const chain: { bytes: Uint8Array; hash: Uint8Array }[] = []
      for (let seq = 1; seq <= 3; seq++) chain.push(encodeEntry(seq, randomDraft(d), chain.at(-1)?.hash ?? GENESIS))
      const at = d(3)
      const previous = chain[at - 1]?.hash ?? GENESIS
      const { bytes } = chain[at] as { bytes: Uint8Array }
      const other = (chain[(at + 1) % 3] as { bytes: Uint8Array }).bytes
      if (hex(decodeEntry(at + 1, bytes, previous).hash) !== hex((chain[at] as { hash: Uint8Array }).hash)) throw new Error('an entry came back otherwise')
      let damaged: Uint8Array = d.oneIn(8) ? other.slice() : d.oneIn(8) ? randomBytes(d, d(200)) : mutated(d, bytes, other)
      const isChanged = hex(damaged) !== hex(bytes)
      const isForged = d.oneIn(2)
      if (isForged) damaged = forged(damaged, previous)
      if (isForged) counts.forged++
      counts.inputs++
      try {
        claim(damaged)
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
      }
      try {
        const entry = decodeEntry(at + 1, damaged, previous)
        counts.accepted++
        if (isChanged && !isForged) throw new Error('a changed entry was taken for whole')
        if (entry.seq !== at + 1) throw new Error(`it says it is entry ${entry.seq}`)
        for (const n of [entry.generation, entry.calls, entry.attempt]) if (!Number.isSafeInteger(n)) throw new Error(`a count of ${n} was taken`)
        for (const n of [entry.at, entry.due ?? 0]) if (!Number.isFinite(n)) throw new Error(`a time of ${n} was taken`)
        if (entry.payload.length > damaged.length) throw new Error('a payload longer than its entry')
      } catch (error) {
        if (!isStepwellError(error) || !codes.has(error.code)) throw error
        counts.refused++
      }
      const record = joined(Uint8Array.of(1), randomBytes(d, d(40)))
      try {
        decodeRecord({ runId: 'r', epoch: 0, wakeAt: null, inbox: 0, record: d.oneIn(2) ? record : joined(record, blake3(record).subarray(0, 8)) })
        throw new Error('a random record was taken')
      } catch (error) {
        if (!isStepwellError(error) || !['corrupt_run', 'format_too_new'].includes(error.code)) throw error
      }
    } catch (error) {
      throw new Error(`journal, seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }
  return counts
}

/** The bytes with hashes that fit, where their header can be read at all: only the parser stands before such an entry. */
function forged(bytes: Uint8Array, previous: Uint8Array): Uint8Array {
  let at = 4
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0
      value += (byte & 127) * scale
      if (byte < 128 || scale > 2 ** 50) return value
    }
  }
  for (let i = 0; i < 4; i++) varint()
  at += ((bytes[2] ?? 0) & 32) === 0 ? 8 : 16
  if (((bytes[2] ?? 0) & 1) !== 0) at += varint() + 16
  const payload = varint()
  const header = payload > 0 ? at + HASH_BYTES : at
  if (!(header + HASH_BYTES <= bytes.length)) return bytes
  const rest = bytes.subarray(header + HASH_BYTES)
  const front = bytes.slice(0, header)
  if (payload > 0 && rest.length > 0) front.set(blake3(rest), at)
  return joined(front, blake3(joined(previous, front)), rest)
}
