// The one place that appends to a journal: proposes sequence numbers, chains hashes, and turns the store's three answers into
// two (G3, G5, G6).

import { StepwellError } from '../errors.ts'
import type { HostName } from '../host.ts'
import type { Limits } from '../limits.ts'
import { within } from '../limits.ts'
import { bounded } from '../store/bounded.ts'
import { type Batch, type CommitAnswer, isPromise, type MaybePromise, type RowUpdate, type RunStore } from '../store/store.ts'
import type { Mark } from './cursor.ts'
import { claim, encodeEntry, type Entry, type EntryDraft, same } from './entry.ts'

/** What the writer adds to a draft by itself. */
export type Draft = Omit<EntryDraft, 'generation' | 'host' | 'at'> & {
  /** When it was decided, if that was before the commit; default: the time of the commit. */
  readonly at?: number
}

/** A value that a step gave, to be committed by itself. */
export interface OutcomeDraft {
  readonly key: string
  readonly fingerprint: Uint8Array
  readonly calls: number
  readonly attempt: number
  readonly payload: Uint8Array
  readonly prompt: boolean
}

export interface AppendOptions {
  /** The run row is rewritten in the same commit. Called after the entries are encoded, with the head as it will be. */
  readonly row?: (head: Mark) => RowUpdate
  /** Inbox rows consumed by these entries. */
  readonly take?: readonly number[]
  /** The commit also requires that no message came after this one (parking, ending). */
  readonly inbox?: number
  readonly require?: Batch['require']
  /** Side rows that these entries bring. */
  readonly rows?: Batch['rows']
  readonly durability?: Batch['durability']
}

export type AppendResult =
  | { readonly kind: 'committed'; readonly entries: readonly Entry[] }
  /** A message arrived: read the inbox and decide again. Nothing was written. */
  | { readonly kind: 'inbox' }

/** Thrown when someone else holds the run now: this driver must stop. Never shown to users. */
export class Superseded extends Error {
  readonly reason: string

  constructor(reason: string) {
    super(`the run has another driver (${reason})`)
    this.reason = reason
  }
}

export interface WriterOptions {
  readonly store: RunStore
  readonly host: HostName
  readonly limits: Limits
  readonly now: () => number
  /** A one-shot timer for the commit deadline. */
  readonly timer: (ms: number, run: () => void) => { cancel(): void }
}

export class Writer {
  epoch: number
  generation: number
  head: Mark
  /** The time of the last entry: times never decrease, whatever the wall clock does (G11). */
  lastAt: number
  #options: WriterOptions

  constructor(options: WriterOptions, epoch: number, generation: number, head: Mark, lastAt: number) {
    this.#options = options
    this.epoch = epoch
    this.generation = generation
    this.head = head
    this.lastAt = lastAt
  }

  /**
   * Appends all drafts in one commit. Memory changes only after it: until the answer is `committed`, `head` is the old one.
   * Throws `Superseded` when the epoch or the head is no longer ours, and the store's typed error when nothing could be written.
   */
  append(drafts: readonly Draft[], options: AppendOptions = {}): MaybePromise<AppendResult> {
    const { store, host, limits } = this.#options
    within(limits, 'entries', this.head.seq + drafts.length, `journal of run ${store.runId}`)
    const now = this.#options.now()
    // A cancel that was delivered has its time already, and the clock may have been set back since.
    let at = this.lastAt
    const entries: Entry[] = []
    const stored: { seq: number; bytes: Uint8Array }[] = []
    let { seq, hash } = this.head
    for (const draft of drafts) {
      seq++
      at = Math.max(at, draft.at ?? now)
      const whole: EntryDraft = { ...draft, generation: this.generation, host, at }
      const encoded = encodeEntry(seq, whole, hash)
      hash = encoded.hash
      stored.push({ seq, bytes: encoded.bytes })
      entries.push(committedEntry(seq, whole, hash))
    }
    const head: Mark = drafts.length === 0 ? this.head : { seq, hash }
    const row = options.row?.(head)
    const batch: Batch = {
      expect: {
        kind: 'head', epoch: this.epoch, seq: this.head.seq,
        ...(options.inbox === undefined ? undefined : { inbox: options.inbox }),
      },
      ...(stored.length === 0 ? undefined : { entries: stored }),
      ...(row === undefined ? undefined : { row }),
      ...(options.take === undefined || options.take.length === 0 ? undefined : { take: options.take }),
      ...(options.require === undefined || options.require.length === 0 ? undefined : { require: options.require }),
      ...(options.rows === undefined || options.rows.length === 0 ? undefined : { rows: options.rows }),
      ...(options.durability === undefined ? undefined : { durability: options.durability }),
    }
    return this.#commit({ batch, head, row, lastAt: at, entries })
  }

  /**
   * Appends one outcome in a commit of its own; then `head` and `lastAt` are those of its entry. As `append`, for what nearly every
   * commit is: without spreads, closures and a copy of the entry that nobody reads, which took 2 µs of 24. The payload may be lent
   * (`lend`, codec.ts): it is not looked at after the entry is encoded.
   */
  appendOne(draft: OutcomeDraft): MaybePromise<AppendResult> {
    const { limits, host } = this.#options
    const { key, fingerprint, calls, attempt, payload, prompt } = draft
    const seq = this.head.seq + 1
    if (seq > limits.entries) within(limits, 'entries', seq, `journal of run ${this.#options.store.runId}`)
    const at = Math.max(this.#options.now(), this.lastAt)
    const { bytes, hash } = encodeEntry(
      seq, { kind: 'step_completed', generation: this.generation, host, at, calls, attempt, key, fingerprint, prompt, payload }, this.head.hash,
    )
    const batch: Batch = { expect: { kind: 'head', epoch: this.epoch, seq: seq - 1 }, entries: [{ seq, bytes }] }
    return this.#commit({ batch, head: { seq, hash }, row: undefined, lastAt: at, entries: [] })
  }

  #commit(sent: Sent): MaybePromise<AppendResult> {
    const answer = this.#options.store.commit(sent.batch)
    return isPromise(answer) ? this.#bounded(answer).then((late) => this.#answered(late, sent)) : this.#answered(answer, sent)
  }

  #answered(answer: CommitAnswer, sent: Sent): MaybePromise<AppendResult> {
    if (answer.kind === 'committed') {
      this.head = sent.head
      this.lastAt = sent.lastAt
      if (sent.row !== undefined) this.epoch = sent.row.epoch
      return { kind: 'committed', entries: sent.entries }
    }
    if (answer.kind === 'stale') {
      if (answer.reason === 'inbox') return { kind: 'inbox' }
      if (answer.reason === 'missing') {
        const { runId } = this.#options.store
        throw new StepwellError('blob_missing', `run ${runId}: a blob was removed before the entry that refers to it was committed`)
      }
      throw new Superseded(answer.reason)
    }
    return this.#learn(sent.batch, sent.head, sent.row, answer.error).then((known) => this.#answered(known, sent))
  }

  /** G5: the answer was lost. The head tells: equal hash means committed; the old head means it never happened. */
  async #learn(batch: Batch, head: Mark, row: RowUpdate | undefined, error: unknown): Promise<CommitAnswer> {
    const { store } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        const now = await store.read()
        if (now === undefined) return { kind: 'stale', reason: 'absent' }
        const last = await store.last()
        const seq = last?.seq ?? 0
        const hash = last === undefined ? undefined : claim(last.bytes).hash
        const entriesAreIn = seq === head.seq && (hash === undefined || same(hash, head.hash))
        const rowIsIn = row === undefined || (now.epoch === row.epoch && same(now.record, row.record))
        if (entriesAreIn && rowIsIn && (batch.entries !== undefined || row !== undefined)) return { kind: 'committed' }
        if (now.epoch !== this.epoch) return { kind: 'stale', reason: 'epoch' }
        if (seq !== this.head.seq) return { kind: 'stale', reason: 'seq' }
        const again = await this.within(store.commit(batch))
        // Refused: perhaps the first try has landed meanwhile. The head tells whose it is.
        if (again.kind === 'stale' && (again.reason === 'seq' || again.reason === 'epoch') && attempt < 3) continue
        if (again.kind !== 'unknown' || attempt >= 3) {
          if (again.kind !== 'unknown') return again
          throw new StepwellError('commit_unknown', `run ${store.runId}: the store does not say whether a commit happened`, { cause: error })
        }
      } catch (failure) {
        if (attempt >= 3) throw failure
      }
    }
  }

  /** A commit without an answer within the limit counts as unknown: never an endless wait (Z-041). */
  within(answer: MaybePromise<CommitAnswer>): MaybePromise<CommitAnswer> {
    return isPromise(answer) ? this.#bounded(answer) : answer
  }

  #bounded(answer: Promise<CommitAnswer>): Promise<CommitAnswer> {
    const { limits, timer } = this.#options
    return bounded(answer, { ms: limits.commitMs, timer }) as Promise<CommitAnswer>
  }
}

/** What was sent to the store, until its answer is known. */
interface Sent {
  readonly batch: Batch
  readonly head: Mark
  readonly row: RowUpdate | undefined
  /** The time of the last entry, once it is committed. */
  readonly lastAt: number
  readonly entries: readonly Entry[]
}

function committedEntry(seq: number, draft: EntryDraft, hash: Uint8Array): Entry {
  return {
    seq, hash, trimmed: false, payloadHash: undefined,
    kind: draft.kind, generation: draft.generation, host: draft.host, at: draft.at, calls: draft.calls,
    attempt: draft.attempt ?? 0, prompt: draft.prompt === true, grouped: draft.grouped === true, blob: draft.blob === true,
    payload: draft.payload ?? noBytes,
    ...(draft.key === undefined ? undefined : { key: draft.key }),
    ...(draft.fingerprint === undefined ? undefined : { fingerprint: draft.fingerprint }),
    ...(draft.due === undefined ? undefined : { due: draft.due }),
  }
}

const noBytes: Uint8Array = new Uint8Array(0)
