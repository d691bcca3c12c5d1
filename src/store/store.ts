// The store port: where one run's records live. A write is a value (`Batch`) with its preconditions inside; the store
// answers what became of it. No store method knows what a workflow is. In words: docs/store.md; as tests:
// src/testing/store-contract.ts; what makes a batch legal: batch.ts.

import { StepwellError } from '../error/stepwell-error.ts'
import { needed, neededFunction } from '../given.ts'

export type MaybePromise<T> = T | Promise<T>

/** One stored journal record. `bytes` is the whole encoded entry (src/journal/entry.ts); a store never looks inside. */
export interface StoredEntry {
  readonly seq: number
  readonly bytes: Uint8Array
}

/**
 * The one mutable row of a run. A store reads and compares `epoch` and `inbox`, hands `wakeAt` to its host's timer, and
 * keeps `record` (an encoded `RunRecord`, src/journal/record.ts) as opaque bytes.
 */
export interface RunRow {
  readonly runId: string
  /** The authority's number. Only grows. */
  readonly epoch: number
  /** The number of the last inbox row that was ever posted. Only grows; 0 before the first. */
  readonly inbox: number
  /** When the host must wake the run (ms since 1970), or null: no timer wakes it. */
  readonly wakeAt: number | null
  readonly record: Uint8Array
}

/** Side rows, by table. `inbox` keys are given by the store; all other keys by the writer: 1 to 512 printable ASCII
 *  characters, so that every store sorts them alike. */
export type Table = 'inbox' | 'outbox' | 'chunk' | 'manifest' | 'memo' | 'state' | 'effect' | 'event' | 'signal' | 'receipt' | 'token'

export interface SideRow {
  readonly key: string
  readonly value: Uint8Array
}

export interface RowWrite {
  readonly table: Exclude<Table, 'inbox'>
  readonly key: string
  /** null deletes; deleting what is not there is no error. */
  readonly value: Uint8Array | null
}

export type Expect =
  /** No row of this run exists (a start). The batch brings the row. */
  | { readonly kind: 'absent' }
  /** The driver's own write: the row has this epoch and the journal ends with exactly this seq (0: it is empty). With
   *  `inbox`, also: no message has been posted since that number was read. */
  | { readonly kind: 'head'; readonly epoch: number; readonly seq: number; readonly inbox?: number }
  /** A write of a step that the driver of this epoch runs: the row has the epoch, wherever the journal stands. */
  | { readonly kind: 'epoch'; readonly epoch: number }
  /** The run exists (a message from anyone). */
  | { readonly kind: 'exists' }
  /** The run exists, and no message came after number `inbox`. The commit itself is the next message: it takes number `inbox` + 1, which its
   *  writer therefore knows beforehand, and keeps what it says in rows of its own (a signal and the receipt for it). */
  | { readonly kind: 'next'; readonly inbox: number }
  /** Nothing is expected, the run need not exist (chunks of a blob that is written before its run starts). */
  | { readonly kind: 'none' }

/** What a new run row holds. With `expect.kind: 'head'` the store keeps `inbox` as it is, so that a message posted
 *  meanwhile is never forgotten. */
export interface RowUpdate {
  /** Not below `expect.epoch`. */
  readonly epoch: number
  readonly wakeAt: number | null
  readonly record: Uint8Array
  /** Only with `expect.kind: 'absent'`: the number of the last message that the run was ever sent, for a run that comes from
   *  another host, so that numbers go on and are never given twice. Default 0. */
  readonly inbox?: number
}

/**
 * One atomic write: all of it or nothing.
 *
 * Order of checks: the batch itself (`checkBatch`, batch.ts: throws and touches nothing), then `expect`, then `require`, both
 * against what is stored before this batch. Nothing is written unless all hold.
 *
 * | part | `absent` | `head` | `epoch` | `exists` | `next` | `none` |
 * | --- | --- | --- | --- | --- | --- | --- |
 * | `row` | required | allowed | – | – | – | – |
 * | `entries` | from seq 1 | from `expect.seq` + 1 | – | – | – | – |
 * | `post` | allowed | allowed | – | allowed | – | – |
 * | `wakeBy`, with a message | – | – | – | allowed | allowed | – |
 * | `take`, `cut` | – | allowed | – | – | – | – |
 * | `rows`, `require` | allowed | allowed | allowed | allowed | allowed | allowed |
 */
export interface Batch {
  readonly expect: Expect
  /** Appended; seqs must be contiguous and follow `expect.seq` (or start at 1 for `absent`), else `invalid_argument` is thrown. */
  readonly entries?: readonly StoredEntry[]
  readonly row?: RowUpdate
  /** Messages for the inbox. The store numbers them inside the commit: row.inbox + 1, + 2, … */
  readonly post?: readonly Uint8Array[]
  /**
   * With a message from anyone: the run is woken then at the latest, so that a message that was acknowledged is read whatever becomes
   * of the poster. `wakeAt` becomes the earlier of what it is and this.
   */
  readonly wakeBy?: number
  /** Inbox rows to delete (they were consumed by the entries of this batch). A number that is not there is no error. */
  readonly take?: readonly number[]
  /**
   * The entries up to this seq are deleted, of a run whose journal is being removed: at most `expect.seq`, and never together with
   * `entries`. What is left keeps its numbers; once nothing is left, the journal ends with seq 0.
   */
  readonly cut?: number
  /** Applied in order: the last write of a key holds. */
  readonly rows?: readonly RowWrite[]
  /** Side rows that must exist in this same transaction (a blob's manifest for the reference in an entry). */
  readonly require?: readonly { readonly table: Table; readonly key: string }[]
  /** `strict` flushes to the disk before the answer where the host can choose. Default `relaxed`. */
  readonly durability?: 'relaxed' | 'strict'
}

export type StaleReason = 'exists' | 'absent' | 'epoch' | 'seq' | 'inbox' | 'missing'

/** G5: the three answers of a commit. `unknown`: it may or may not have happened; read the head again to learn it. */
export type CommitAnswer =
  /** `posted`: the numbers of the messages, when the batch posted any. */
  | { readonly kind: 'committed'; readonly posted?: readonly number[] }
  | { readonly kind: 'stale'; readonly reason: StaleReason }
  | { readonly kind: 'unknown'; readonly error: unknown }

export interface Page {
  /** Exclusive: rows with a greater key (or seq). */
  readonly after?: string
  /** 1 to `maxPageRows` (batch.ts), else `invalid_argument` or `limit_exceeded`; never clamped. */
  readonly limit: number
}

/**
 * One run's records. All methods of one store may answer at once (SQLite, memory) or with a promise (IndexedDB); the
 * engine awaits only what is a promise. A method that cannot answer throws a typed error (`store_unavailable`,
 * `quota_exceeded`, `store_blocked`, `payload_too_large`, `format_too_new`); only `commit` may also answer `unknown`. A
 * `commit` that throws has written nothing. Bytes are copied on the way in and on the way out.
 */
export interface RunStore {
  readonly runId: string
  /** The run row, or undefined when there is no such run. Writes nothing, also for an unknown id. */
  read(): MaybePromise<RunRow | undefined>
  /** At most `limit` entries with seq > after, ascending. `limit` as in `Page`. */
  entries(after: number, limit: number): MaybePromise<readonly StoredEntry[]>
  /** The last entry, or undefined. */
  last(): MaybePromise<StoredEntry | undefined>
  row(table: Table, key: string): MaybePromise<Uint8Array | undefined>
  /** Rows of a table in key order (inbox: in number order, keys are 16-digit decimal numbers). */
  rows(table: Table, page: Page): MaybePromise<readonly SideRow[]>
  /** The keys alone, for a sweep that must not load bytes. */
  keys(table: Table, page: Page): MaybePromise<readonly string[]>
  commit(batch: Batch): MaybePromise<CommitAnswer>
  /** Where a committed batch becomes durable later than it is answered: resolves when all are that were answered. Else missing. */
  flush?(): MaybePromise<void>
  /** Removes every record of this run: journal, row, side rows, timer. A driver of it then gets `absent`. */
  destroy(): MaybePromise<void>
}

/** Throws `invalid_argument` for what is no store. */
export function checkStore(store: RunStore): void {
  for (const method of ['read', 'entries', 'last', 'row', 'rows', 'keys', 'commit', 'destroy'] as const) neededFunction(needed(store, 'the store')[method], `the store's ${method}`)
}

/** A store of many runs (browser, memory). A Durable Object holds one run and needs none. */
export interface Shelf {
  /** A handle; two handles of one run see each other. Reads and writes nothing. Throws `invalid_id`. */
  open(runId: string): RunStore
  /** Runs whose `wakeAt` is not null, soonest first; at most `limit`. */
  due(limit: number): MaybePromise<readonly { readonly runId: string; readonly wakeAt: number }[]>
  /** Ids of the runs that have a row, in order, exclusive cursor. */
  runs(page: Page): MaybePromise<readonly string[]>
}

/** The key of an inbox row: fixed width, so that key order is number order. */
export function inboxKey(n: number): string {
  if (typeof n !== 'number') throw new StepwellError('invalid_argument', 'an inbox row is named by a number')
  return String(n).padStart(16, '0')
}

/** The wake time of a row after a message that came with `wakeBy`. */
export function earlier(wakeAt: number | null, wakeBy: number | undefined): number | null {
  return wakeBy === undefined || (wakeAt !== null && wakeAt <= wakeBy) ? wakeAt : wakeBy
}

export function isPromise<T>(x: MaybePromise<T>): x is Promise<T> {
  return typeof x === 'object' && x !== null && typeof (x as { then?: unknown }).then === 'function'
}
