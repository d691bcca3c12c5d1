// A store that fails on demand: wraps any `RunStore` and breaks what a plan says, before or after it happened. What a test learns
// with it holds for every store, because the engine sees nothing else of the world than the port.

import { StepwellError } from '../errors.ts'
import {
  type Batch,
  type CommitAnswer,
  isPromise,
  type MaybePromise,
  type RunStore,
  type StaleReason,
} from '../store/store.ts'

export type StoreMethod = 'read' | 'entries' | 'last' | 'row' | 'rows' | 'keys' | 'commit' | 'flush' | 'destroy'

/** A call that is about to be made. */
export interface StoreCall {
  readonly method: StoreMethod
  /** The how many-th call of this method of this handle; 1 for the first. */
  readonly nth: number
  /** Of a commit. */
  readonly batch: Batch | undefined
}

/** What goes wrong with one call. `before`: nothing was done; `after`: all of it was, and only the answer is concerned. */
export type Fault =
  /** It throws: nothing was done, as the port promises. Default error: `store_unavailable`. */
  | { readonly do: 'fail'; readonly error?: unknown }
  /** It never answers. */
  | { readonly do: 'hang'; readonly when: 'before' | 'after' }
  /** It is done, or answers, only when `until` resolves. */
  | { readonly do: 'delay'; readonly when: 'before' | 'after'; readonly until: Promise<unknown> }
  /** The process dies: this call and all later ones of this handle never answer. */
  | { readonly do: 'crash'; readonly when: 'before' | 'after' }
  /** Commits only: the answer is `unknown`. After: it was committed, and the answer was lost. */
  | { readonly do: 'unknown'; readonly when: 'before' | 'after'; readonly error?: unknown }
  /** Commits only: refused, nothing was written. */
  | { readonly do: 'stale'; readonly reason: StaleReason }

export interface FaultPlan {
  /** Asked before each call, never twice for one. */
  readonly fault?: (call: StoreCall) => Fault | undefined
  /** Told what was really committed, also when the answer is lost. */
  readonly committed?: (batch: Batch) => void
  /** Told once, when the handle dies. */
  readonly crashed?: () => void
}

export class FaultStore implements RunStore {
  readonly runId: string
  readonly #inner: RunStore
  readonly #plan: FaultPlan
  readonly #calls = new Map<StoreMethod, number>()
  #isDead = false

  constructor(inner: RunStore, plan: FaultPlan) {
    this.runId = inner.runId
    this.#inner = inner
    this.#plan = plan
  }

  get isDead(): boolean {
    return this.#isDead
  }

  /** How often a method was called. */
  calls(method: StoreMethod): number {
    return this.#calls.get(method) ?? 0
  }

  /** From here on no call answers and none does anything, as after the end of the process that held this handle. */
  kill(): void {
    if (this.#isDead) return
    this.#isDead = true
    this.#plan.crashed?.()
  }

  read(): ReturnType<RunStore['read']> {
    return this.#call('read', () => this.#inner.read())
  }

  entries(after: number, limit: number): ReturnType<RunStore['entries']> {
    return this.#call('entries', () => this.#inner.entries(after, limit))
  }

  last(): ReturnType<RunStore['last']> {
    return this.#call('last', () => this.#inner.last())
  }

  row(...args: Parameters<RunStore['row']>): ReturnType<RunStore['row']> {
    return this.#call('row', () => this.#inner.row(...args))
  }

  rows(...args: Parameters<RunStore['rows']>): ReturnType<RunStore['rows']> {
    return this.#call('rows', () => this.#inner.rows(...args))
  }

  keys(...args: Parameters<RunStore['keys']>): ReturnType<RunStore['keys']> {
    return this.#call('keys', () => this.#inner.keys(...args))
  }

  flush(): MaybePromise<void> {
    return this.#call('flush', () => this.#inner.flush?.())
  }

  destroy(): MaybePromise<void> {
    return this.#call('destroy', () => this.#inner.destroy())
  }

  commit(batch: Batch): MaybePromise<CommitAnswer> {
    return this.#call(
      'commit',
      () => {
        const told = (answer: CommitAnswer): CommitAnswer => {
          if (answer.kind === 'committed') this.#plan.committed?.(batch)
          return answer
        }
        const answer = this.#inner.commit(batch)
        return isPromise(answer) ? answer.then(told) : told(answer)
      },
      batch,
    )
  }

  #call<T>(method: StoreMethod, run: () => MaybePromise<T>, batch?: Batch): MaybePromise<T> {
    if (this.#isDead) return never()
    const nth = this.calls(method) + 1
    this.#calls.set(method, nth)
    const fault = this.#plan.fault?.({ method, nth, batch })
    if (fault === undefined) {
      const answer = run()
      return isPromise(answer) ? answer.then((value) => (this.#isDead ? never<T>() : value)) : answer
    }
    switch (fault.do) {
      case 'fail':
        throw fault.error ?? new StepwellError('store_unavailable', 'the store failed, as the test wanted')
      case 'stale':
        return commitOnly<T>(method, { kind: 'stale', reason: fault.reason })
      case 'unknown': {
        const lost = commitOnly<T>(method, {
          kind: 'unknown',
          error: fault.error ?? new Error('the answer was lost, as the test wanted'),
        })
        return fault.when === 'before' ? lost : then(run(), () => lost)
      }
      case 'delay':
        return fault.when === 'before'
          ? fault.until.then(() => (this.#isDead ? never<T>() : run()))
          : then(run(), (value) => fault.until.then(() => value))
      case 'hang':
        return fault.when === 'before' ? never() : then(run(), () => never<T>())
      case 'crash':
        if (fault.when === 'before') {
          this.kill()
          return never()
        }
        return then(run(), () => {
          this.kill()
          return never<T>()
        })
    }
  }
}

function commitOnly<T>(method: StoreMethod, answer: CommitAnswer): T {
  if (method !== 'commit') throw new StepwellError('invalid_argument', `${answer.kind} is no answer of ${method}`)
  return answer as T
}

function then<T, R>(value: MaybePromise<T>, next: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return isPromise(value) ? value.then(next) : next(value)
}

function never<T>(): Promise<T> {
  return new Promise(() => {})
}
