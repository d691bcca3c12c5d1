// Live attempts of steps. They belong to the run, not to the pass: a new pass adopts a live one by its key.

import type { BlobRef } from '../blob-ref.ts'
import { readBlob } from '../blob.ts'
import type { Memo, StepState } from '../context.ts'
import { isStepwellError, StepwellError } from '../errors.ts'
import type { HostTimer } from '../host.ts'
import { type FreshEvent, freshEvent } from './events.ts'
import type { KeepHost, KeepPlace } from './kept.ts'
import { issueToken } from './deferred.ts'
import { idempotencyKey } from './key.ts'
import { createMemo } from './memo.ts'
import { StagedState } from './step-state.ts'

export type Outcome =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: unknown }

/** Whose attempt it is. Outcomes of `effect`s are wanted also when nobody waits for them any more. */
export type Role = 'step' | 'effect' | 'probe' | 'undo'

/** Of a step, what its attempts need. */
export interface AttemptInit {
  readonly name: string
  readonly own: string | undefined
  readonly labels: string
  readonly input: unknown
  readonly inputBytes: Uint8Array | undefined
  /** The n-th use among equal calls, for the idempotency key. */
  readonly nth: number
  readonly timeoutMs: number
  readonly run: (call: StepCall) => unknown
  /** The number of the attempt. */
  readonly attempt: number
  /** How often it was undone, for the idempotency key. Default 0. */
  readonly undos?: number
}

export interface Progress {
  readonly done: number
  readonly of: number | undefined
}

/** What the host lends to every attempt of a run. */
export interface AttemptHost extends KeepHost {
  readonly services: object
  /** Of the run now. Only effects see it change: the other attempts of a generation before are abandoned first. */
  readonly generation: () => number
  /** Something changed that a watcher may want to see. */
  readonly changed: () => void
}

/** What an attempt has emitted, and is not committed yet. */
export interface Emitted extends FreshEvent {
  readonly key: string
  readonly attempt: number
}

export class Attempt {
  key: string
  readonly role: Role
  readonly base: string | undefined
  readonly number: number
  readonly timeoutMs: number
  readonly startedAt: number
  outcome: Outcome | undefined
  progress: Progress | undefined
  controller: AbortController | undefined
  timer: HostTimer | undefined
  /** Nobody wants it any more: its outcome is dropped. */
  isAbandoned = false
  /** It has timed out, and its function may still give an outcome. */
  isLate = false
  /** Why it was abandoned. */
  reason: unknown
  /** What it wants to change of the run's state, together with its outcome; made when it is asked for. */
  staged: StagedState | undefined

  constructor(key: string, init: AttemptInit, startedAt: number, role: Role, base: string | undefined) {
    this.key = key
    this.role = role
    this.base = base
    this.number = init.attempt
    this.timeoutMs = init.timeoutMs
    this.startedAt = startedAt
  }

  /** Why memo and state take nothing more from it, once that is so. */
  over(): StepwellError | undefined {
    if (!this.isAbandoned && this.outcome === undefined) return undefined
    if (isStepwellError(this.reason, 'stale_epoch')) return this.reason
    const cause = this.reason ?? (this.outcome?.ok === false ? this.outcome.error : undefined)
    return new StepwellError('attempt_over', `step ${this.key}: attempt ${this.number} is over, so memo and state take nothing more from it`, {
      cause, details: { key: this.key, attempt: this.number },
    })
  }
}

/** The call object: made for every attempt, so its costly parts are made when they are asked for. */
export class StepCall {
  readonly input: unknown
  readonly attempt: number
  readonly key: string
  #live: Attempt
  #host: AttemptHost
  #init: AttemptInit
  #incarnation: string
  #idempotencyKey: string | undefined
  #memo: Memo | undefined
  #state: StepState | undefined
  #attempts: Attempts

  constructor(live: Attempt, init: AttemptInit, incarnation: string, host: AttemptHost, attempts: Attempts) {
    this.input = init.input
    this.attempt = live.number
    this.key = live.key
    this.#live = live
    this.#host = host
    this.#init = init
    this.#incarnation = incarnation
    this.#attempts = attempts
  }

  get services(): object {
    return this.#host.services
  }

  get runId(): string {
    return this.#host.store.runId
  }

  get idempotencyKey(): string {
    if (this.#idempotencyKey === undefined) {
      const { labels, name, own, inputBytes, nth, undos = 0 } = this.#init
      this.#idempotencyKey = idempotencyKey({ incarnation: this.#incarnation, labels, name, own, input: inputBytes, nth, undos })
    }
    return this.#idempotencyKey
  }

  get abortSignal(): AbortSignal {
    const live = this.#live
    if (live.controller === undefined) {
      live.controller = new AbortController()
      if (live.isAbandoned || live.outcome !== undefined) live.controller.abort(live.outcome?.ok === false ? live.outcome.error : undefined)
    }
    return live.controller.signal
  }

  get memo(): Memo {
    const live = this.#live
    return (this.#memo ??= createMemo(this.#host, this.#keep(), () => live.over()))
  }

  get state(): StepState {
    const live = this.#live
    return (this.#state ??= (live.staged = new StagedState(this.#host, () => this.#keep(), () => live.over())).view)
  }

  #keep(): KeepPlace {
    return { incarnation: this.#incarnation, generation: this.#host.generation(), step: this.key }
  }

  // Functions made when asked for, and not methods: a step's function takes its call apart, `({ progress }) => …`.

  get emit(): (type: string, data?: unknown) => void {
    return (type, data) => this.#attempts.emit(this.#live, this.key, freshEvent(this.#host.limits, type, data))
  }

  get progress(): (done: number, of?: number) => void {
    return (done, of) => {
      if (typeof done !== 'number' || !(done >= 0) || (of !== undefined && !(of >= 0))) {
        throw new StepwellError('invalid_argument', 'progress takes numbers from 0')
      }
      this.#live.progress = { done, of }
      this.#host.changed()
    }
  }

  get log(): (message: string, data?: unknown) => void {
    const { host, store } = this.#host
    return (message, data) => {
      host.log({ level: 'info', runId: store.runId, key: this.key, message, ...(data === undefined ? undefined : { data }) })
    }
  }

  get token(): (deferred: unknown) => Promise<string> {
    const live = this.#live
    return (deferred) => issueToken(this.#host, deferred, () => live.over(), this.key)
  }

  get readBlob(): (ref: BlobRef, range?: { readonly offset: number; readonly length: number }) => Promise<Uint8Array<ArrayBuffer>> {
    const { store, host } = this.#host
    return async (ref, range) => {
      const bytes = await readBlob(store, ref, range)
      // A store that answers at once gives the event loop no turn, and whoever watches a long step waits until it is over.
      await host.quiesce()
      return bytes
    }
  }
}

export class Attempts {
  /** Running, or settled and not yet collected. */
  readonly live: Map<string, Attempt> = new Map()
  /** In the order in which they settled. */
  settled: Attempt[] = []
  /** In the order in which they were emitted. Dropped with their attempt. */
  emitted: (Emitted & { readonly by: Attempt })[] = []
  /** The synchronous part of a step's function is on the stack. */
  isInFunction = false
  /** Outcomes of effects that came after their attempt had timed out. */
  late: { readonly attempt: Attempt; readonly outcome: Outcome }[] = []
  /** An attempt has settled, or emitted. */
  onSettled: () => void = () => {}
  /** An outcome came late, and nobody may be driving. */
  onLate: () => void = () => {}
  /** How many were started, ever. */
  started = 0
  #host: AttemptHost

  constructor(host: AttemptHost) {
    this.#host = host
  }

  /** `base`: of an effect, its name in the ledger. */
  start(key: string, init: AttemptInit, incarnation: string, now: number, role: Role = 'step', base?: string): void {
    const attempt = new Attempt(key, init, now, role, base)
    this.live.set(key, attempt)
    this.started++
    const call = new StepCall(attempt, init, incarnation, this.#host, this)
    let result: unknown
    this.isInFunction = true
    try {
      result = init.run(call)
    } catch (error) {
      this.isInFunction = false
      this.#settle(attempt, { ok: false, error })
      return
    }
    this.isInFunction = false
    if (typeof result === 'object' && result !== null && typeof (result as { then?: unknown }).then === 'function') {
      // Also for thenables that are no promises: an RPC result on Workers is one.
      (result as PromiseLike<unknown>).then(
        (value) => this.#settle(attempt, { ok: true, value }),
        (error: unknown) => this.#settle(attempt, { ok: false, error }),
      )
    } else this.#settle(attempt, { ok: true, value: result })
  }

  /**
   * Arms the time-outs of attempts that still run, and answers whether there were any without. Called at quiescence, so that a
   * step that is done at once costs no timer.
   */
  armTimeouts(): boolean {
    let isAny = false
    for (const attempt of this.live.values()) {
      if (attempt.timer !== undefined || attempt.outcome !== undefined) continue
      isAny = true
      const left = attempt.startedAt + attempt.timeoutMs - this.#host.host.now()
      attempt.timer = this.#host.host.timer(Math.max(0, left), () => {
        if (attempt.outcome !== undefined) return
        attempt.isLate = attempt.role === 'effect'
        const error = new StepwellError('step_timeout', `step ${attempt.key}: attempt ${attempt.number} took longer than ${attempt.timeoutMs} ms`, {
          details: { key: attempt.key, attempt: attempt.number, timeoutMs: attempt.timeoutMs },
        })
        this.#settle(attempt, { ok: false, error })
        attempt.controller?.abort(error)
      })
    }
    return isAny
  }

  /** Forgets the first `count` settled attempts: their outcomes are committed. */
  collected(count: number): void {
    const done = count === this.settled.length ? this.settled : this.settled.slice(0, count)
    this.settled = count === this.settled.length ? [] : this.settled.slice(count)
    for (const attempt of done) if (this.live.get(attempt.key) === attempt) this.live.delete(attempt.key)
  }

  /** Silent once the attempt is over: its outcome stands, and nothing is stored behind it. */
  emit(attempt: Attempt, key: string, event: FreshEvent): void {
    if (attempt.isAbandoned || attempt.outcome !== undefined) return
    this.emitted.push({ ...event, key, attempt: attempt.number, by: attempt })
    this.onSettled()
  }

  /** Forgets events: they are committed. */
  told(events: readonly unknown[]): void {
    if (this.emitted.length === 0) return
    const gone = new Set(events)
    this.emitted = this.emitted.filter((event) => !gone.has(event))
  }

  /** Aborts attempts and forgets them: their late outcomes are dropped. */
  abandon(reason: unknown, which?: (attempt: Attempt) => boolean): void {
    for (const [key, attempt] of this.live) {
      if (which !== undefined && !which(attempt)) continue
      attempt.isAbandoned = true
      attempt.reason = reason
      attempt.timer?.cancel()
      attempt.controller?.abort(reason)
      this.live.delete(key)
    }
    this.settled = this.settled.filter((attempt) => !attempt.isAbandoned)
    if (this.emitted.length > 0) this.emitted = this.emitted.filter(({ by }) => !by.isAbandoned)
  }

  /** Tells the functions of effects to stop. What becomes of them is still wanted. */
  abortEffects(reason: unknown): void {
    for (const attempt of this.live.values()) if (attempt.role === 'effect') attempt.controller?.abort(reason)
  }

  /** The attempt at an effect, whatever call of whatever generation it was made for. */
  ofEffect(base: string): Attempt | undefined {
    for (const attempt of this.live.values()) if (attempt.base === base && attempt.role === 'effect') return attempt
    return undefined
  }

  /** A new call takes it over. */
  adopt(attempt: Attempt, key: string): void {
    this.live.delete(attempt.key)
    attempt.key = key
    this.live.set(key, attempt)
  }

  #settle(attempt: Attempt, outcome: Outcome): void {
    if (attempt.isLate && attempt.outcome !== undefined && !attempt.isAbandoned) {
      attempt.isLate = false
      this.late.push({ attempt, outcome })
      this.onSettled()
      this.onLate()
      return
    }
    // A late outcome of a step that timed out, or of anything that was abandoned, is fenced off here (B-080).
    if (attempt.outcome !== undefined || attempt.isAbandoned) return
    attempt.outcome = outcome
    attempt.timer?.cancel()
    this.settled.push(attempt)
    this.onSettled()
  }
}
