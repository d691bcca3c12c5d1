// The same workload on the real hosts, compared with what Node has pinned (hosts.json). Here time, seeds and ids are real, so more is left
// out than between stores; the calls, their names, order, values and errors are not.

import { fromBase64 } from '../../src/base64.ts'
import { canonicalBytes } from '../../src/codec.ts'
import { blake3, hex } from '../../src/hash.ts'
import { decodeEntry, type Entry, GENESIS } from '../../src/journal/entry.ts'
import { canonicalJournal, excluded as betweenStores } from './journal.ts'

export const HOST_SEEDS: readonly number[] = Array.from({ length: 24 }, (_, i) => 7001 + i)

/** What is left out of entries, each with its reason. */
export const excluded: Readonly<Partial<Record<keyof Entry, string>>> = {
  ...betweenStores,
  host: 'it says which host wrote the entry',
  at: 'the clock is real',
  due: 'the clock is real, and the delay of a retry is drawn',
}

/** Entries whose payload is left out, each with its reason. */
export const withoutPayload: Readonly<Partial<Record<Entry['kind'], string>>> = {
  run_started: 'the incarnation and the seed are drawn for each run',
  effect_noted: 'it holds the time of the first record',
  effect_intended: 'it holds times, and the idempotency key holds the incarnation',
}

/** The digest of an exported run, with its length, so that a difference says at once of what kind it is. */
export async function digestOf(lines: AsyncIterable<string>): Promise<string> {
  const entries: Entry[] = []
  for await (const line of lines) {
    const { seq, entry } = JSON.parse(line) as { seq?: number; entry?: string }
    if (seq === undefined || entry === undefined) continue
    entries.push(decodeEntry(seq, fromBase64(entry) as Uint8Array, entries.at(-1)?.hash ?? GENESIS))
  }
  const plain = canonicalJournal(entries, excluded).map((entry) => (Object.hasOwn(withoutPayload, (entry as Entry).kind) ? { ...entry, payload: '' } : entry))
  return `${hex(blake3(canonicalBytes(plain))).slice(0, 32)} ${entries.length} ${entries.at(-1)?.kind}`
}
