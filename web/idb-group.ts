// How entries lie in the database: what one commit appends is one record, because a record costs about 100 µs whatever is in it.

import type { StoredEntry } from '../src/store/store.ts'

/**
 * Entries without a gap, in order; never none. Their bytes lie one behind the other: an array of buffers would take longer to
 * clone than the rest of the commit.
 */
export interface Group {
  /** Of the first entry. */
  readonly seq: number
  readonly bytes: Uint8Array
  /** Where each entry ends in `bytes`. Without it there is one. */
  readonly ends?: readonly number[]
}

/** Above it Chromium moves a value into a file of its own, which is slow and gets lost by itself (platform fact 83). One entry
 *  may be larger, and is then alone. */
const groupBytes = 48 * 1024

/** A read that begins in the middle of a group loads all of it: this is how much of that is in vain at most. */
export const groupEntries = 512

/** As few groups as the limits allow. Copies all bytes. */
export function pack(entries: readonly StoredEntry[]): Group[] {
  const groups: Group[] = []
  let from = 0
  let size = 0
  for (const [i, { bytes }] of entries.entries()) {
    if (i > from && (size + bytes.byteLength > groupBytes || i - from === groupEntries)) {
      groups.push(packOne(entries.slice(from, i), size))
      from = i
      size = 0
    }
    size += bytes.byteLength
  }
  if (from < entries.length) groups.push(packOne(from === 0 ? entries : entries.slice(from), size))
  return groups
}

function packOne(entries: readonly StoredEntry[], size: number): Group {
  const { seq, bytes: first } = entries[0] as StoredEntry
  if (entries.length === 1) return { seq, bytes: first.slice() }
  const bytes = new Uint8Array(size)
  let at = 0
  const ends = entries.map((entry) => {
    bytes.set(entry.bytes, at)
    return (at += entry.bytes.byteLength)
  })
  return { seq, bytes, ends }
}

/** The entries behind `after`, at most `limit`. A null (a stop) has none. */
export function unpack(groups: readonly (Group | null)[], after: number, limit: number): StoredEntry[] {
  const entries: StoredEntry[] = []
  for (const group of groups) {
    if (group === null) continue
    const { seq, bytes, ends } = group
    if (ends === undefined) {
      if (seq > after && entries.length < limit) entries.push({ seq, bytes })
      continue
    }
    for (let i = Math.max(0, after + 1 - seq); i < ends.length && entries.length < limit; i++) entries.push(at(seq, bytes, ends, i))
  }
  return entries
}

export function lastSeq({ seq, ends }: Group): number {
  return ends === undefined ? seq : seq + ends.length - 1
}

export function lastOf({ seq, bytes, ends }: Group): StoredEntry {
  return ends === undefined ? { seq, bytes } : at(seq, bytes, ends, ends.length - 1)
}

/** A copy: whoever keeps one entry must not keep all of them. */
function at(seq: number, bytes: Uint8Array, ends: readonly number[], i: number): StoredEntry {
  return { seq: seq + i, bytes: bytes.slice(i === 0 ? 0 : ends[i - 1], ends[i]) }
}
