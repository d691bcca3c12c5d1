// Reads a journal in segments, verifying the chain, so that a run of any length replays in bounded memory (G10).

import { StepwellError } from '../errors.ts'
import type { MaybePromise, RunStore, StoredEntry } from '../store/store.ts'
import { isPromise } from '../store/store.ts'
import { claim, decodeEntry, type Entry, GENESIS, isDelivered, same } from './entry.ts'

export interface Mark {
  readonly seq: number
  readonly hash: Uint8Array
}

/** Entries of a run, both ends included. */
export interface Range {
  readonly from: number
  readonly to: number
}

/** The last entry, with its time: the next one is not older. */
export interface Head extends Mark {
  readonly at: number
}

/**
 * The entries of `ranges`, one by one: what a generation inherits from earlier ones, then its own, which has no end yet. `mark` is the head that the run row stores: a journal that ends before it, or has
 * another hash there, lost entries (`corrupt_entry` naming the seq).
 */
export class Cursor {
  /** The last entry that was read and verified. */
  seq: number
  hash: Uint8Array
  at = 0
  #store: RunStore
  #mark: Mark
  #head: Head | undefined
  #limit: number
  #buffer: Entry[] = []
  #first = 0
  #ended = false
  /** Delivered entries in the buffer that are not prompt: the places where reading may take an event-loop turn. */
  #pauses = 0

  #ranges: Range[]
  /** Where the range that is being read ends. */
  #end = 0

  /** `head`: what the next entry will be chained to, read by itself: it must be the end of what is read here. */
  constructor(store: RunStore, ranges: readonly Range[], mark: Mark, pageEntries: number, head?: Head) {
    this.#store = store
    this.seq = 0
    this.hash = GENESIS
    this.#ranges = [...ranges]
    this.#mark = mark
    this.#head = head
    this.#limit = pageEntries
  }

  /** Nothing is buffered and nothing is left to read. */
  get exhausted(): boolean {
    return this.#ended && this.#first === this.#buffer.length
  }

  peek(): Entry | undefined {
    return this.#buffer[this.#first]
  }

  shift(): void {
    const entry = this.#buffer[this.#first]
    if (entry === undefined) return
    if (isDelivered(entry.kind) && !entry.prompt) this.#pauses--
    this.#first++
    if (this.#first === this.#buffer.length) {
      this.#buffer = []
      this.#first = 0
    }
  }

  /** Entries just committed by this driver: they continue the journal behind what was read. */
  push(entries: readonly Entry[]): void {
    for (const entry of entries) this.#add(entry)
  }

  /**
   * Reads until the buffer reaches past the next place where the engine may read again, or to the end. A prompt entry is
   * delivered at a fixed microtask turn, and awaiting a read in front of it would let plain promises run on; so whole runs of
   * prompt entries are in memory before the first of them is delivered. They are at most 512 long (docs/journal.md).
   */
  fill(): MaybePromise<void> {
    while (!this.#ended && this.#pauses < 2) {
      const range = this.seq === this.#end ? this.#ranges.shift() : undefined
      if (range !== undefined) {
        this.#end = range.to
        const at = before(this.#store, range.from)
        if (isPromise(at)) return at.then((mark) => {
          this.#enter(mark)
          return this.fill()
        })
        this.#enter(at)
      }
      const limit = Math.min(this.#limit, this.#end - this.seq)
      const page = this.#store.entries(this.seq, limit)
      if (isPromise(page)) return page.then((entries) => {
        this.#take(entries, limit)
        return this.fill()
      })
      this.#take(page, limit)
    }
  }

  #enter(mark: Mark): void {
    this.seq = mark.seq
    this.hash = mark.hash
  }

  #take(page: readonly StoredEntry[], limit: number): void {
    // Reading begins before the last entry is shifted, so the buffer is never empty in between: what was shifted goes here.
    this.#buffer.splice(0, this.#first)
    this.#first = 0
    for (const { seq, bytes } of page) {
      if (seq !== this.seq + 1) throw missing(this.seq + 1)
      const entry = decodeEntry(seq, bytes, this.hash)
      this.seq = seq
      this.hash = entry.hash
      this.at = entry.at
      if (seq === this.#mark.seq && !same(entry.hash, this.#mark.hash)) {
        throw new StepwellError('corrupt_entry', `entry ${seq} is not the one that the run row marked as head`, { details: { seq } })
      }
      this.#add(entry)
    }
    if (page.length < limit) {
      if (this.seq < this.#mark.seq || this.#end !== Infinity) throw missing(this.seq + 1)
      const head = this.#head
      if (head !== undefined && this.seq === head.seq && !(same(this.hash, head.hash) && this.at === head.at)) {
        // A read that went wrong once: what would be appended behind it could never be verified again.
        throw new StepwellError('corrupt_entry', `entry ${this.seq} was read twice and is not the same`, { details: { seq: this.seq } })
      }
      this.#ended = true
    }
  }

  #add(entry: Entry): void {
    if (isDelivered(entry.kind) && !entry.prompt) this.#pauses++
    this.#buffer.push(entry)
  }
}

/** Where a cursor begins that first reads entry `seq`: the hash of the entry before it. */
export function before(store: RunStore, seq: number): MaybePromise<Mark> {
  if (seq <= 1) return { seq: 0, hash: GENESIS }
  const from = Math.max(0, seq - 3)
  const read = store.entries(from, seq - 1 - from)
  return isPromise(read) ? read.then((page) => markOf(page, seq)) : markOf(read, seq)
}

/** One entry, verified against the one before it. Throws `corrupt_entry`. */
export async function entryAt(store: RunStore, seq: number): Promise<Entry> {
  const { hash } = await before(store, seq)
  const [stored] = await store.entries(seq - 1, 1)
  if (stored === undefined || stored.seq !== seq) throw missing(seq)
  return decodeEntry(seq, stored.bytes, hash)
}

function markOf(page: readonly StoredEntry[], seq: number): Mark {
  const last = page.at(-1)
  if (last === undefined || last.seq !== seq - 1) throw missing(seq - 1)
  // Verified against its own predecessor where there is one, so that a damaged boundary is named here and not as its neighbour.
  const previous = page.length > 1 ? claimed(page[0] as StoredEntry) : GENESIS
  return { seq: seq - 1, hash: decodeEntry(last.seq, last.bytes, previous).hash }
}

function claimed(entry: StoredEntry): Uint8Array {
  try {
    return claim(entry.bytes).hash
  } catch {
    throw new StepwellError('corrupt_entry', `entry ${entry.seq} of the journal is damaged: it cannot be parsed`, { details: { seq: entry.seq } })
  }
}

function missing(seq: number): StepwellError {
  return new StepwellError('corrupt_entry', `entry ${seq} of the journal is missing`, { details: { seq, why: 'missing' } })
}
