// The one client interface for local, edge and remote runs, typed from the definitions.

import type { BlobRef } from './blob-ref.ts'
import type { AnyWorkflow, WorkflowInput, WorkflowOutput, WorkflowSignals } from './define.ts'
import type { Duration } from './duration.ts'
import type { EntryView } from './journal/view.ts'
import type { RunSummary } from './journal/summary.ts'
import type { SchemaInput } from './schema.ts'

export interface StartOptions {
  /** 1 to 128 of letters, digits, `.` `_` `-` `~` `:`. Default: random, or derived from workflow and token. */
  readonly id?: string
  /** Makes the start idempotent (G23): the same token, workflow and input find the same run, over any number of retries. */
  readonly token?: string
  readonly tags?: readonly string[]
  readonly metadata?: Readonly<Record<string, string>>
  /** Before the first step. */
  readonly delay?: Duration
  /** Edge only, and only the first start of an id counts: where the object is created (Cloudflare's location hints). */
  readonly locationHint?: string
  /** Edge only: the same id in another jurisdiction is another run, so give it to `get` as well. */
  readonly jurisdiction?: string
}

export interface GetOptions {
  readonly jurisdiction?: string
}

export interface ResultOptions {
  /** Give up after this long with `run_timeout`… of the wait, not of the run: the code is `wait_timeout`. Default: never. */
  readonly timeout?: Duration
  readonly abortSignal?: AbortSignal
}

export interface CancelOptions {
  readonly reason?: string
  /** Take back what was done, where `undo` is declared, before the run ends as cancelled. Default false. */
  readonly undo?: boolean
}

/** What can be asked of a run besides a cancel. */
export type ControlRequest =
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  | ({ readonly kind: 'restart' } & RestartOptions)
  | { readonly kind: 'retry'; readonly id?: string }
  | ({ readonly kind: 'resolve'; readonly seq: number } & Resolution)

export interface RestartOptions {
  /** The key of a call, as the journal shows it: everything before its first entry is kept. Default: from the beginning. */
  readonly from?: string
  /** The same id again is the same restart. */
  readonly id?: string
}

/** What a person has found out about an effect, or about an undo that failed. */
export type Resolution =
  /** It happened, with this value. */
  | { readonly decision: 'happened'; readonly value?: unknown }
  /** It is to be called again, with the same idempotency key. */
  | { readonly decision: 'rerun' }
  /** The run goes on with `value`, or with the declared fallback; about an undo: without it, and what was done stays done. */
  | { readonly decision: 'skip'; readonly value?: unknown }
  /** It rejects with `effect_ambiguous`. */
  | { readonly decision: 'fail' }

/** What became of a request. It is durable; the run acts on it when it is driven, which is at once where it is at home. */
export interface ControlOutcome {
  readonly outcome: 'requested' | 'already_requested' | 'not_paused' | 'ended'
  readonly status: RunSummary['status']
}

/** What became of a cancel. `ended`: the run had already ended, with that status. */
export type CancelOutcome =
  | { readonly outcome: 'cancelled' | 'requested' | 'already_requested'; readonly status: RunSummary['status'] }
  | { readonly outcome: 'ended'; readonly status: RunSummary['status'] }

/** What a deferred is settled with: a value that fits its schema, or an error, with which whoever waits is rejected (`rejected`). */
export type Settlement =
  | { readonly value: unknown }
  | { readonly error: string | { readonly message: string; readonly details?: object } }

/** A message that is stored. */
export interface SignalOutcome {
  /** Its number among all messages to this run: they only grow. */
  readonly seq: number
  /** It had been sent before, and nothing was stored now. */
  readonly duplicate: boolean
}

/** What has become of an effect, for a person: no value of it. */
export interface EffectView {
  /** Of its last intent: what `resolve` takes. */
  readonly seq: number
  /** The call's structural key, in the generation that called it last. */
  readonly key: string
  readonly kind: string
  /**
   * `in_progress`: intended, and no outcome is known. `ambiguous`: the same, and nobody is at it any more. `done`. `skipped`: taken for
   * happened by its policy or a person. `failed`: it did not happen. `undone`.
   */
  readonly status: 'in_progress' | 'ambiguous' | 'done' | 'skipped' | 'failed' | 'undone'
  readonly generation: number
  readonly attempt: number | undefined
  /** When the intent was committed, ms since 1970. */
  readonly intendedAt: number | undefined
  /** Its function is not called after this, and nobody else decides about it before `until`. */
  readonly startBy: number | undefined
  readonly until: number | undefined
  /** The entry with its value, or with its failure. */
  readonly outcome: number | undefined
  readonly hasUndo: boolean
  /** How often it was undone. */
  readonly undos: number
  /** How an ambiguity was decided, and by whom. */
  readonly decision?: { readonly word: string; readonly by: string; readonly principal?: string }
  readonly updatedAt: number
}

export interface PageOptions {
  readonly after?: number
  readonly limit?: number
}

/** A message out of a run. */
export interface RunEvent {
  /** 1, 2, 3, … over the whole run, in all its generations. */
  readonly number: number
  readonly type: string
  readonly data: unknown
  /** When it was committed, ms since 1970; never less than the one before. */
  readonly at: number
  /** Of one that the function of a step or effect has emitted: the key of the call. */
  readonly key?: string
  /** The attempt that has. The next one emits again. */
  readonly attempt?: number
}

export interface EventPage {
  readonly items: readonly RunEvent[]
  /** Give it as `after` for the next page: the number of the last event here, or what `after` was. */
  readonly next: number
  /** The run has ended, and there is nothing behind this page. */
  readonly isOver: boolean
}

export interface EventsOptions {
  /** The number of the last event that is known; its own is not given again. Default 0: from the beginning. */
  readonly after?: number
  readonly abortSignal?: AbortSignal
}

export interface EffectPage {
  readonly items: readonly EffectView[]
  /** Give it as `after` for the next page; undefined on the last. An effect that is intended anew meanwhile comes again, later. */
  readonly next: number | undefined
}

export interface JournalPage {
  readonly items: readonly EntryView[]
  /** Give it as `after` for the next page; undefined on the last. */
  readonly next: number | undefined
}

export interface Run<D> {
  readonly id: string
  /** For runs that this client just started: false when an equal start had created it before. Undefined from `get`. */
  readonly created: boolean | undefined
  /** Throws `run_not_found`; `run_swept` once it was removed, as every method of a run. Writes nothing. */
  status(): Promise<RunSummary>
  /** The output, when the run completes. Throws the run's error when it fails, `cancelled` when it was cancelled. */
  result(options?: ResultOptions): Promise<WorkflowOutput<D>>
  /**
   * Durable when it returns; repeats are harmless. The run ends as `cancelled`, whoever dies, unless its end or `deadline_passed` was in the
   * journal before.
   */
  cancel(options?: CancelOptions): Promise<CancelOutcome>
  /** Stops at the next delivery, until `resume`; survives restarts. What steps have under way is still recorded. */
  pause(): Promise<ControlOutcome>
  /** A cancelled run does not go on. A blocked one is looked at again: what has blocked it may be repaired. */
  resume(): Promise<ControlOutcome>
  /**
   * Begins the next generation: from the beginning, or from a call on. Effects that have happened are found and do not happen
   * again; steps run again; it has its whole timeout again. Throws `already_ended` for a cancelled run.
   */
  restart(options?: RestartOptions): Promise<ControlOutcome>
  /** The next generation of a failed run, from the failure, or the deadline, that ended it on, with its whole timeout. Throws `not_ended` when it has not failed. */
  retry(options?: { readonly id?: string }): Promise<ControlOutcome>
  /**
   * Decides about an effect of which nobody knows whether it happened (status `blocked`, code `ambiguous_effect`), or an undo that
   * failed. `seq` is in the run's `blocked.details`. Throws `already_resolved` when another decision was made, `nothing_to_resolve`.
   */
  resolve(seq: number, resolution: Resolution): Promise<ControlOutcome>
  /**
   * Effects of this run whose last intent has a seq > after, in the order of these intents, at most `limit` (default 100, at most 1000).
   * Throws `run_not_found`. Writes nothing.
   */
  effects(options?: PageOptions): Promise<EffectPage>
  /**
   * Events with a number > `after`, in order, each once; then waits for more, and is over when the run has ended and all were given. After
   * a break, or in another process, go on with the number of the last one. Throws `event_gap` when the next one is not kept any more
   * (limit `events`), `run_not_found`, and the signal's reason.
   */
  events(options?: EventsOptions): AsyncIterable<RunEvent>
  /**
   * Sends a signal. Durable when it resolves, whether the run waits for one or not: it takes them in the order in which they were sent, by
   * name. `id`: the same id again is the same signal (`duplicate`), also when the run has taken it or has ended; without one, each call is a
   * signal of its own, however often it has to be repeated on its way. Throws `input_invalid`, `input_mismatch` (the id was used for another),
   * `already_ended`, `invalid_argument` for a signal that is not declared, `limit_exceeded` (`signals`, `signalBytes`): nothing stored.
   */
  signal<K extends keyof WorkflowSignals<D> & string>(
    name: K, payload: SchemaInput<WorkflowSignals<D>[K]>, options?: { readonly id?: string },
  ): Promise<SignalOutcome>
  /** Takes back the signals of this name that the run has not taken yet. Durable when it resolves. Their ids stay used. */
  clearSignals<K extends keyof WorkflowSignals<D> & string>(name: K): Promise<{ readonly cleared: number }>
  /**
   * Settles a deferred of the run, for whoever holds a token of it. Durable when it resolves; the first settles it for good, and the same again
   * is `duplicate`. Throws `invalid_token`, `already_resolved` when it was settled otherwise, `input_invalid`, `already_ended`: nothing stored.
   */
  settle(id: string, token: string, settlement: Settlement): Promise<SignalOutcome>
  /** Entries with seq > after, at most `limit` (default 100, at most 1000), payloads hidden unless `reveal`. */
  journal(options?: PageOptions & { readonly reveal?: boolean }): Promise<JournalPage>
  /**
   * The whole run as NDJSON lines, one record a line, the first one the header: what the test kit can replay, and the way to keep a run
   * that has a retention. Throws `run_swept` also in the middle, when it is removed meanwhile: what has no last line is not whole.
   */
  export(): AsyncIterable<string>
}

/** The definition that is meant: itself, or the one of that name. */
export type Named<W extends AnyWorkflow, T> = T extends AnyWorkflow ? T : Extract<W, { name: T }>

export interface Client<W extends AnyWorkflow> {
  /**
   * Durable when it resolves: run row, first entry and wake time are one commit. Throws `input_invalid`, `input_mismatch` (the
   * id or token was used with another input or workflow), `run_swept` (it was this one's, which is over and removed), `not_registered`, `invalid_id`, `limit_exceeded`.
   */
  start<const T extends W | W['name']>(
    target: T, input: WorkflowInput<Named<W, T>>, options?: StartOptions,
  ): Promise<Run<Named<W, T>>>
  /** A handle; nothing is asked until one of its methods is called. */
  get<const T extends W | W['name']>(target: T, id: string, options?: GetOptions): Run<Named<W, T>>
  /**
   * Stores bytes beside the run `runId` before it starts: pass the reference in its input. In chunks, each durable before the
   * next is read; the same bytes again cost nothing. A blob that no start refers to within a day is swept.
   */
  putBlob(runId: string, data: Uint8Array | ReadableBytes, options?: PutBlobOptions): Promise<BlobRef>
}

/** A browser's `Blob` or `File` (never read as a whole), or any async iterable of bytes. */
export type ReadableBytes =
  | { readonly size: number; slice(start: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> } }
  | AsyncIterable<Uint8Array>

export interface PutBlobOptions extends GetOptions {
  readonly progress?: (bytes: number, of: number | undefined) => void
}
