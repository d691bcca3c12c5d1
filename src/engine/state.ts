// What one drive of a run knows and shares: the store, the writer, and the run row's record as it was last committed.

import { decode } from '../codec.ts'
import type { AnyWorkflow } from '../define.ts'
import type { Redact } from '../errors.ts'
import type { Host } from '../host.ts'
import type { Entry } from '../journal/entry.ts'
import { type Blocked, encodeRecord, type Message, type RunRecord } from '../journal/record.ts'
import type { BlobStore } from './outcome.ts'
import type { AppendOptions, AppendResult, Draft, Writer } from '../journal/writer.ts'
import type { Limits } from '../limits.ts'
import { earlier, isPromise, type MaybePromise, type RunStore } from '../store/store.ts'

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

  constructor(init: {
    store: RunStore; host: Host; limits: Limits; writer: Writer; definition: AnyWorkflow; redact: Redact
    record: RunRecord; wakeAt: number | null; inbox: number; isNoticed: boolean; committed: (entries: readonly Entry[]) => void; emitted: () => void
  }) {
    this.store = init.store
    this.host = init.host
    this.limits = init.limits
    this.writer = init.writer
    this.definition = init.definition
    this.redact = init.redact
    this.record = init.record
    this.effects = init.record.effects
    this.events = init.record.events
    this.blockedBefore = init.record.blocked
    this.wakeAt = init.wakeAt
    this.inboxSeen = init.inbox
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
