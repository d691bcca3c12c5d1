// What one drive of a run knows and shares: the store, the writer, and the run row's record as it was last committed.

import { decode } from '../codec.ts'
import type { AnyWorkflow } from '../define.ts'
import type { Redact } from '../errors.ts'
import type { Host } from '../host.ts'
import { claim, type Entry, GENESIS } from '../journal/entry.ts'
import { type Blocked, encodeRecord, type Message, type RunRecord } from '../journal/record.ts'
import type { BlobStore } from './outcome.ts'
import { type AppendOptions, type AppendResult, type Draft, Writer } from '../journal/writer.ts'
import type { Limits } from '../limits.ts'
import { earlier, isPromise, type MaybePromise, type RunRow, type RunStore, type StoredEntry } from '../store/store.ts'

export interface RowChange {
  readonly record: Partial<RunRecord>
  readonly wakeAt: number | null
  readonly epoch?: number
  /** Mark the head (G4): only when everything up to it was verified or written by us. */
  readonly mark: boolean
}

export interface CommitOptions extends Omit<AppendOptions, 'row'> {
  readonly change?: RowChange
}

/** Messages of one look at the inbox. */
const PAGE = 256

export interface StateInit {
  readonly store: RunStore
  readonly host: Host
  readonly limits: Limits
  readonly definition: AnyWorkflow
  readonly redact: Redact
  readonly isNoticed: boolean
  /** Told after each commit. */
  readonly committed: (entries: readonly Entry[]) => void
  readonly emitted: () => void
}

export class RunState {
  readonly store: RunStore
  readonly host: Host
  readonly limits: Limits
  readonly writer: Writer
  readonly definition: AnyWorkflow
  /** What every error goes through before anything of it is stored. */
  readonly redact: Redact
  /** Why the run was blocked when this drive began. */
  readonly blockedBefore: Blocked | undefined
  record: RunRecord
  wakeAt: number | null
  /** How many effects the ledger has rows of: goes with every write of the row. */
  effects: number
  /** They were counted, and none is missing. */
  isLedgerWhole = false
  /** How many events were emitted, ever: goes with every write of the row. */
  events: number
  /** The number of the last message that we know of. */
  inboxSeen: number
  /** Messages that were read and decided: deleted with the next commit. */
  decided: number[] = []
  /** Somebody listens for the ends of runs (`onEnd`). */
  readonly isNoticed: boolean
  /** The key of the notice that this drive has written with the end of the run: nobody else tells it before its time. */
  owed: string | undefined
  /** When an undelivered notice is due: the run is woken then, whatever else it waits for (G29). */
  outboxAt: number | undefined
  /** Told when events were committed: somebody may wait for them. */
  readonly emitted: () => void
  #committed: (entries: readonly Entry[]) => void

  constructor(init: StateInit, writer: Writer, record: RunRecord, { wakeAt, inbox }: Pick<RunRow, 'wakeAt' | 'inbox'>) {
    this.store = init.store
    this.host = init.host
    this.limits = init.limits
    this.writer = writer
    this.definition = init.definition
    this.redact = init.redact
    this.record = record
    this.effects = record.effects
    this.events = record.events
    this.blockedBefore = record.blocked
    this.wakeAt = wakeAt
    this.inboxSeen = inbox
    this.isNoticed = init.isNoticed
    this.emitted = init.emitted
    this.#committed = init.committed
  }

  /** Where blobs are written: a chunk's commit has the same deadline as one of entries. */
  get blobs(): BlobStore {
    const { store, writer } = this
    return { runId: store.runId, commit: (batch) => writer.within(store.commit(batch)) }
  }

  /** Appends, and rewrites the run row when `change` is given. The record in memory changes only after the commit. */
  commit(drafts: readonly Draft[], options: CommitOptions = {}): MaybePromise<AppendResult> {
    const { change, ...rest } = options
    let next: RunRecord | undefined
    const wakeAt = earlier(change?.wakeAt ?? null, this.outboxAt)
    const take = options.take ?? (this.decided.length > 0 ? this.decided : undefined)
    const answer = this.writer.append(drafts, {
      ...rest,
      ...(take === undefined ? undefined : { take }),
      ...(change === undefined ? undefined : {
        row: (head) => {
          next = { ...this.record, ...change.record, effects: this.effects, events: this.events, updatedAt: this.host.now(), ...(change.mark ? { head } : undefined) }
          return { epoch: change.epoch ?? this.writer.epoch, wakeAt, record: encodeRecord(next) }
        },
      }),
    })
    const done = (result: AppendResult): AppendResult => {
      if (result.kind === 'committed') {
        if (next !== undefined) {
          this.record = next
          this.wakeAt = wakeAt
        }
        if (take !== undefined) this.decided = this.decided.filter((n) => !take.includes(n))
        this.#committed(result.entries)
      }
      return result
    }
    return isPromise(answer) ? answer.then(done) : done(answer)
  }

  /** The messages in the inbox that were not decided yet, in order. */
  async messages(): Promise<readonly { readonly number: number; readonly message: Message }[]> {
    // The row first: all that was sent up to its number is in the tables that are read behind it, be it a message here or a signal.
    const row = await this.store.read()
    const rows = await this.store.rows('inbox', { limit: PAGE })
    const last = rows.length < PAGE ? row?.inbox : Number(rows.at(-1)?.key)
    this.inboxSeen = Math.max(this.inboxSeen, last ?? 0)
    const found: { number: number; message: Message }[] = []
    for (const { key, value } of rows) {
      const number = Number(key)
      if (!this.decided.includes(number)) found.push({ number, message: decode(value) as Message })
    }
    return found
  }
}

/** The state of a run as it is stored, with a writer that goes on behind the last entry. */
export function openState(init: StateInit, row: RunRow, record: RunRecord, last: StoredEntry | undefined): RunState {
  const { store, host, limits } = init
  const { hash, at } = last === undefined ? { hash: GENESIS, at: 0 } : claimOf(last.bytes)
  const writer = new Writer({
    store, host: host.name, limits, now: () => host.now(), timer: (ms, run) => host.timer(ms, run),
  }, row.epoch, record.generation, { seq: last?.seq ?? 0, hash }, at)
  return new RunState(init, writer, record, row)
}

/** Of an entry that was not verified yet. One that cannot even be parsed is named when the pass reads it; nothing is appended before. */
function claimOf(bytes: Uint8Array): { hash: Uint8Array; at: number } {
  try {
    return claim(bytes)
  } catch {
    return { hash: GENESIS, at: 0 }
  }
}
