// What user code receives: the ctx of a workflow function and the call object of a step. Types only; src/engine/ runs them.

import type { BlobRef } from './blob-ref.ts'
import type { AnyWorkflow, WorkflowInput, WorkflowOutput } from './define.ts'
import type { Duration } from './duration.ts'
import type { Schema, SchemaOutput } from './schema.ts'

/** Where a call may run. Without it, anywhere. */
export type At = 'edge' | 'browser' | 'any'

/** What each host lends to steps, as types: nothing is imported, so a bundle of the other host holds no byte of it. */
export interface Services {
  edge?: object
  browser?: object
  any?: object
}

export type ServicesOf<S extends Services, A extends At> =
  (S extends { any: infer X } ? X : {}) &
  (A extends 'edge' ? (S extends { edge: infer X } ? X : {}) : {}) &
  (A extends 'browser' ? (S extends { browser: infer X } ? X : {}) : {})

/** How a failed attempt is tried again. Attempts and the next attempt's time are journaled, so a restart continues them. */
export interface RetryPolicy {
  /** Attempts after the first. Default 5. 0: never again. */
  readonly limit?: number
  /** Before the second attempt. Default '1 second'. */
  readonly delay?: Duration
  /** How the delay grows: the same each time, by `delay` each time, or doubled each time. Default 'exponential'. */
  readonly backoff?: 'constant' | 'linear' | 'exponential'
  /** The longest delay. Default '5 minutes'. */
  readonly maxDelay?: Duration
  /** The share of the delay that is drawn at random, 0 to 1, so that many runs don't return together. Default 0.25. */
  readonly jitter?: number
}

export interface StepOptions<A extends At, I, R = any, S extends Services = any> {
  /** Where it may run. A call reached elsewhere throws `wrong_host` before anything is written. */
  readonly at?: A
  /** Declared input: part of the fingerprint and of the idempotency key, and what the function gets as `input`. */
  readonly input?: I
  /** The caller's own key, for calls of one name in a loop: keeps identity when the loop is permuted. */
  readonly key?: string
  /** Of one attempt. Default '10 minutes'. At its end `abortSignal` aborts and the attempt counts as failed (`step_timeout`). */
  readonly timeout?: Duration
  readonly retry?: RetryPolicy
  /**
   * Takes back what this call did, once it has completed: when the run fails, or is cancelled with `undo: true`. Undos run one
   * after the other, in reverse order of completion, each retried by the call's `retry` and bounded by its `timeout`; each is
   * journaled, so a crash repeats at most the one that was running, with the same `idempotencyKey`, as its next attempt. One that
   * fails for good stops the line and blocks the run (`undo_failed`).
   */
  readonly undo?: (outcome: R, call: Call<S, A, I>) => unknown
}

/** What a memo is found by: any value of the codec, compared by content. The order of an object's keys is no difference. */
export type MemoKey = string | number | bigint | boolean | null | object

/**
 * What one step keeps over its attempts, so that a retry does not pay again for what an earlier attempt has done. A cache: a memo
 * may be there for an attempt that never settled, and one that is missing only means that the work is done again. It belongs to
 * this step of this run and generation; nobody else reads it, and it goes with the run.
 *
 * All of it rejects with `attempt_over` once the attempt is over (it settled, timed out or was aborted) and then writes nothing,
 * with `stale_epoch` when another host drives the run now, and with `not_serializable`, `invalid_argument`. A store that fails
 * (`store_unavailable`, `quota_exceeded`, `commit_unknown`, …) fails the attempt in a way that is tried again.
 */
export interface Memo {
  /**
   * The value kept under `key`, or what `make` gives. Stored before the promise resolves, with the decoded copy of what was
   * stored (G26). A crash while `make` runs keeps nothing: it is called again. Equal keys of one attempt wait for each other, so
   * `make` must not ask for its own key. Rejects with what `make` throws, which keeps nothing; `limit_exceeded` (`memoBytes`).
   */
  <V>(key: MemoKey, make: () => V | Promise<V>): Promise<V>
  /** A copy of what is kept under `key`; undefined when nothing is, or when that is `undefined` (see `has`). */
  get<V = unknown>(key: MemoKey): Promise<V | undefined>
  /** Whether anything is kept under `key`, be it `undefined`. */
  has(key: MemoKey): Promise<boolean>
  /** Keeps `value` as it is now. Durable when it resolves; the last write of a key holds. `limit_exceeded` (`memoBytes`). */
  put(key: MemoKey, value: unknown): Promise<void>
  /** Durable when it resolves; a key under which nothing is kept is no error. */
  delete(key: MemoKey): Promise<void>
}

/**
 * Values of the run, by key, for all of its steps. What an attempt sets or deletes is committed together with the step's outcome:
 * applied exactly once for each committed outcome, and dropped when the attempt throws, times out, or is aborted. A crash before
 * that commit loses both, after it neither. A new generation begins with nothing, as its steps run anew.
 *
 * Keys are not blank, have at most `nameLength` characters, and don't begin with "stepwell." (`reserved_name`). All of it throws
 * `attempt_over` once the attempt is over.
 */
export interface StepState {
  /** A copy of the value: what this attempt has staged, else what is committed, by whatever step. Undefined when there is none. */
  get<V = unknown>(key: string): Promise<V | undefined>
  /**
   * Stages `value` as it is now; nothing is written yet. Throws `limit_exceeded` (`stateBytes`, and `stagedBytes` for all of the
   * attempt), `not_serializable`, `state_conflict` when this attempt deletes the key.
   */
  set(key: string, value: unknown): void
  /** Stages the removal; of what is not there, too. Throws `state_conflict` when this attempt sets the key. */
  delete(key: string): void
}

/** What a step's function gets. With parallel steps only this object knows whose it is; `ctx` does not. */
export interface Call<S extends Services, A extends At, I> {
  readonly input: I
  readonly services: ServicesOf<S, A>
  /** 1 for the first. Goes on after a restart. */
  readonly attempt: number
  /** For the outside world to deduplicate by: equal over attempts, replays, generations; differs between runs (G15). */
  readonly idempotencyKey: string
  /** Aborts at the attempt's timeout, at cancel, and when the run ends without waiting for this step. */
  readonly abortSignal: AbortSignal
  /** The call's structural key, as in the journal. */
  readonly key: string
  readonly runId: string
  /** Kept over the attempts of this step. */
  readonly memo: Memo
  /** The run's own values, changed together with this step's outcome. */
  readonly state: StepState
  /**
   * A token that settles `deferred`: 32 random bytes, as hex. Its hash is durable before this resolves, and the token itself is kept nowhere:
   * give it to whoever may settle, and not back to the workflow. An attempt that is repeated gets another one, and all stay good.
   */
  token(deferred: Deferred<unknown>): Promise<string>
  /** Shown to whoever watches the run. In memory only. */
  progress(done: number, of?: number): void
  /**
   * As `ctx.emit`, but at least once: each attempt emits anew, and its event names it. Stored while the function runs, and before its
   * outcome. Silent once the attempt is over (it settled, timed out or was aborted); what was emitted just before may be lost then.
   */
  emit(type: string, data?: unknown): void
  log(message: string, data?: unknown): void
  /** Bytes of a blob, verified by hash. Without a range, all of it. */
  readBlob(ref: BlobRef, range?: { readonly offset: number; readonly length: number }): Promise<Uint8Array<ArrayBuffer>>
}

export type Probe<R> = { happened: R } | 'did-not-happen' | 'unknown'

export interface EffectCommon<S extends Services, A extends At, I, R> extends StepOptions<A, I, R, S> {
  /** Of one attempt. Default '1 minute'. At its end the effect is ambiguous; a successor waits as long before it decides (G12). */
  readonly timeout?: Duration
}

export type AmbiguityPolicy<S extends Services, A extends At, I, R> =
  | { readonly onAmbiguous: 'fail' | 'rerun' | 'ask' }
  | { readonly onAmbiguous: 'skip'; readonly fallback: R }
  | {
      readonly onAmbiguous: 'probe'
      readonly probe: (call: Call<S, A, I>) => Probe<R> | Promise<Probe<R>>
      readonly otherwise?: 'fail' | 'ask'
    }

export type GuardedKind = 'money' | 'destructive' | 'security' | 'custom'

export type EffectOptions<S extends Services, A extends At, I, R> = EffectCommon<S, A, I, R> &
  (
    | ({ readonly kind: GuardedKind; readonly input: I } & AmbiguityPolicy<S, A, I, R>)
    | { readonly kind: 'idempotent'; readonly onAmbiguous?: 'rerun' }
    | { readonly kind: 'cost'; readonly onAmbiguous: 'skip'; readonly fallback: R }
    | ({ readonly kind: 'cost' } & AmbiguityPolicy<S, A, I, R>)
  )

/** As an effect of kind `custom`; what to do when nobody knows whether it happened is asked of a person unless it says otherwise. */
export type OnceOptions<S extends Services, A extends At, R> = Omit<EffectCommon<S, A, undefined, R>, 'input' | 'key'> &
  (AmbiguityPolicy<S, A, undefined, R> | { readonly onAmbiguous?: never })

export interface Once<R> {
  readonly value: R
  /** False for the one call whose function ran, true for every other that asked for the same key. */
  readonly replayed: boolean
}

export interface EffectRecord {
  readonly status: string
  /** As they were given, or what they were: `{ truncated: true, bytes, blake3, type }` above the limit `detailsBytes`. */
  readonly details: unknown
  /** ms since 1970. */
  readonly at: number
}

/** What `ctx.deferred` gives. */
export interface Deferred<T> {
  /** What settles it, besides a token: its name, behind the path of its branch. */
  readonly id: string
  /** What it was settled with. Rejects with `rejected` when that was an error, `cancelled`. With `timeout`: undefined when nobody has by then. Asked for once: the second call gets the same promise. */
  value(): Promise<T>
  value(options: { readonly timeout: Duration }): Promise<T | undefined>
}

/** Of a wait for a signal. */
export interface SignalOptions {
  readonly timeout?: Duration
}

export type SignalMap = Record<string, Schema<any, any>>

export type Branches<S extends Services, Sig extends SignalMap, Def extends SignalMap> = Record<string, (ctx: Ctx<S, Sig, Def>) => unknown>
type Value<B, K extends keyof B> = B[K] extends (...args: never[]) => infer R ? Awaited<R> : never
export type Winner<B> = { [K in keyof B]: { readonly winner: K; readonly value: Value<B, K> } }[keyof B]
export type Settled<T> =
  | { readonly status: 'fulfilled'; readonly value: T }
  | { readonly status: 'rejected'; readonly reason: unknown }

export interface RunInfo {
  readonly runId: string
  readonly workflow: string
  readonly version: number
  readonly generation: number
  readonly createdAt: number
  /** By then it has ended or is wound up; of this generation: a restart or retry gives the whole timeout again. */
  readonly deadline: number | undefined
  readonly tags: readonly string[]
  readonly metadata: Readonly<Record<string, string>>
  /** Where this pass runs. Deciding by it makes the function's path depend on the host: use `at` and `moveTo` instead. */
  readonly host: 'edge' | 'browser' | 'test'
}

/**
 * The workflow function's only door to the world. Await ctx calls and plain promises, nothing else (G30): a ctx call made
 * after awaiting a timer or `fetch`, or from inside a step, throws `foreign_await` and blocks the run.
 */
export interface Ctx<S extends Services = {}, Sig extends SignalMap = {}, Def extends SignalMap = {}> {
  /**
   * Runs `run` and journals its outcome before the returned promise settles (G2): after a crash at any instant a committed
   * step never runs again; one that was running runs again with the same `idempotencyKey`. The value is the decoded copy of
   * what was stored (G26). Rejects with `step_failed` (the last error as `cause`), `step_timeout`, `cancelled`.
   */
  step<R, I = undefined, A extends At = 'any'>(
    name: string,
    run: (call: Call<S, NoInfer<A>, NoInfer<I>>) => R | Promise<R>,
    options?: StepOptions<A, I, NoInfer<R>, S>,
  ): Promise<R>
  /**
   * A step that must not happen twice. Its intent is committed and durable before `run` is called, and `run` is never called
   * without one (G12); its outcome is committed before the promise settles. When nobody can know whether it happened (a crash
   * in between, a timeout, an abort, a broken connection, an error marked `ambiguous`), `onAmbiguous` decides and the decision
   * is an entry of the journal (G13): `fail` rejects with `effect_ambiguous`, `rerun` calls again with the same
   * `idempotencyKey` (after a crash at once, else as `retry` says; every attempt counts, and in the end it rejects like `fail`), `skip` gives `fallback` and does not call, `probe` asks the outside world, `ask` blocks the run until a
   * person decides. In every later generation it is found by its idempotency key and does not happen again (G15). Any other
   * throw is a failure that is known, retried by `retry`; the last rejects with `effect_failed`.
   */
  effect<R, I = undefined, A extends At = 'any'>(
    name: string,
    run: (call: Call<S, NoInfer<A>, NoInfer<I>>) => R | Promise<R>,
    options: EffectOptions<S, A, I, NoInfer<R>>,
  ): Promise<R>
  /**
   * An effect that is named by a key of the caller's own and happens once in the whole run: wherever the key is asked for, in
   * whatever scope, iteration or generation, it is the same effect, and whoever asks gets its value. Calls that ask while it is
   * under way wait for it. It fails only when its function does (`effect_failed`; whoever asks later tries again), or when it was
   * decided so (`effect_ambiguous`). Exactly once is what the journal can promise: the outside world must be given
   * `idempotencyKey` to keep it. The key is trimmed; rejects a blank one, before anything is written.
   */
  once<R, A extends At = 'any'>(
    key: string,
    run: (call: Call<S, NoInfer<A>, undefined>) => R | Promise<R>,
    options?: OnceOptions<S, A, NoInfer<R>>,
  ): Promise<Once<R>>
  /** Whether `once(key)` has happened and was not undone, or `recordEffect(key)` was called, in any generation. Journaled. */
  hasEffect(key: string): Promise<boolean>
  /**
   * Notes that something happened which is not done here. The first record of a key is kept, and given to whoever comes later
   * (`replayed`). All of `details` is in the journal.
   */
  recordEffect(key: string, status: string, details?: unknown): Promise<{ readonly replayed: boolean; readonly record: EffectRecord }>
  /** Runs named branches, each with its own ctx. Rejects with the first rejection, in journal order. */
  all<B extends Branches<S, Sig, Def>>(branches: B): Promise<{ [K in keyof B]: Value<B, K> }>
  /** The first branch to settle, in journal order: the same on every replay (G8). The others go on until the function ends. */
  race<B extends Branches<S, Sig, Def>>(branches: B): Promise<Winner<B>>
  /** The first branch to fulfil. Rejects with an AggregateError when none does. */
  any<B extends Branches<S, Sig, Def>>(branches: B): Promise<Winner<B>>
  settled<B extends Branches<S, Sig, Def>>(branches: B): Promise<{ [K in keyof B]: Settled<Value<B, K>> }>
  /** `fn` over `items`, at most `concurrency` (default 6) at once, each in a scope named by its key (default: its index). */
  map<E, R>(
    name: string,
    items: readonly E[],
    options: { readonly key?: (item: E, index: number) => string; readonly concurrency?: number },
    fn: (ctx: Ctx<S, Sig, Def>, item: E, index: number) => R | Promise<R>,
  ): Promise<R[]>
  /** A named scope: keys inside it count for themselves. */
  scope<R>(label: string, fn: (ctx: Ctx<S, Sig, Def>) => R | Promise<R>): Promise<R>
  /** Parks without costing anything. The stored due time wins over a recomputed one (G19). */
  sleep(duration: Duration): Promise<void>
  sleepUntil(time: number | Date): Promise<void>
  /**
   * The next signal of this name, in the order in which they were sent (FIFO): also one that was sent before anybody waited, or while the run
   * was nowhere open. It is taken in the commit that delivers it, and replays; whoever sent it was answered when it was stored (G17). Calls
   * that wait for one name get one each, in call order; so does a branch that has lost its `race`: wait with a `timeout` instead.
   * With `timeout`: undefined when none came by then. One that was committed before the timeout's entry is preferred to it. A new
   * generation gets what an earlier one has taken behind the point from which it begins anew.
   */
  signal<N extends keyof Sig & string>(name: N): Promise<SchemaOutput<Sig[N]>>
  signal<N extends keyof Sig & string>(name: N, options: { readonly timeout: Duration }): Promise<SchemaOutput<Sig[N]> | undefined>
  /** One signal after the other; with `timeout`, until none comes for so long. Asks for the next one only when it is wanted. */
  signals<N extends keyof Sig & string>(name: N, options?: SignalOptions): AsyncIterable<SchemaOutput<Sig[N]>>
  /**
   * A value that somebody outside settles, once, with a token that a step was given for it (`call.token`): for a link in a mail, or a callback of
   * another service. Of the tokens of all its attempts the first that is used decides (G20); wrong ones are refused and learn nothing. `value()`
   * waits; what was settled before anybody waits is there then.
   */
  deferred<N extends keyof Def & string>(name: N): Deferred<SchemaOutput<Def[N]>>
  child<D extends AnyWorkflow>(definition: D, input: WorkflowInput<D>): Promise<WorkflowOutput<D>>
  /** Moves the run's authority. Where the run already is: nothing happens. */
  moveTo(at: 'edge'): Promise<void>
  /** The recorded time of the last delivery, ms since 1970. */
  now(): number
  /** In [0, 1), from the run's seed. */
  random(): number
  /** A version 4 UUID, from the run's seed. */
  uuid(): string
  /**
   * Whether the code behind a change named `name` runs: true where this run's history had not yet passed this line when the change
   * came, false where it had; the same on every replay. Keep the name until no run can have passed the line without it.
   */
  patched(name: string): boolean
  /**
   * A message to whoever follows the run (`run.events()`): numbered, in order, stored before anything that follows from it, exactly once;
   * silent on replay. What a new generation does again, it emits again. `data` as it is now. Throws `invalid_argument` for a blank
   * type or one with control characters, `reserved_name` ("stepwell."), `not_serializable`, `limit_exceeded` (`eventBytes`).
   */
  emit(type: string, data?: unknown): void
  /** Silent on replay. At least once. */
  log(message: string, data?: unknown): void
  /** Ends the run `failed` with this message. */
  fail(message: string, details?: object): never
  /**
   * Runs `fn` now, in its own scope whose calls work also after a cancel: until the grace deadline they are the only ones
   * that do. For `finally` and `catch` blocks.
   */
  cleanup<R>(fn: (ctx: Ctx<S, Sig, Def>) => R | Promise<R>): Promise<R>
  /** Aborts when the run is cancelled or its own timeout passes. */
  readonly abortSignal: AbortSignal
  readonly info: RunInfo
}
