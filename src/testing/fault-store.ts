// A store that fails on demand: wraps any `RunStore` and breaks what a plan says, before or after it happened. What a test learns
// with it holds for every store, because the engine sees nothing else of the world than the port.

import { StepwellError } from '../errors.ts'
import { givenFunction, needed } from '../given.ts'
import type { CommitLog } from './commit-log.ts'
import {
  type Batch,
  checkStore,
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
  /** Commits only: it throws `quota_exceeded`, and nothing was written. */
  | { readonly do: 'quota' }
  /**
   * Reads only: what is stored is answered damaged. `damage` gets each value of the answer (the record of the run row, the bytes of an entry,
   * the value of a side row); default: the bits of its middle byte are turned over.
   */
  | { readonly do: 'damage'; readonly damage?: (bytes: Uint8Array) => Uint8Array }
  /** Reads only: the answer is what it was so many commits ago, as of a replica that lags or of an old epoch. Needs `FaultPlan.log`. */
  | { readonly do: 'old'; readonly commits: number }

export interface FaultPlan {
  /** Asked before each call, never twice for one. */
  readonly fault?: (call: StoreCall) => Fault | undefined
  /** Told what was really committed, also when the answer is lost. */
  readonly committed?: (batch: Batch) => void
  /** Told once, when the handle dies. */
  readonly crashed?: () => void
  /** Keeps what is committed, for faults of kind `old`: one for all handles of a test. */
  readonly log?: CommitLog
}

export class FaultStore implements RunStore {
  readonly runId: string
  readonly #inner: RunStore
  readonly #plan: FaultPlan
  readonly #calls = new Map<StoreMethod, number>()
  #isDead = false
  #hung = 0

  /** Throws `invalid_argument` for what is no store, or no plan. */
  constructor(inner: RunStore, plan: FaultPlan) {
    checkStore(inner)
    needed(plan, 'the plan of faults')
    for (const hook of ['fault', 'committed', 'crashed'] as const) givenFunction(plan[hook], hook)
    this.runId = inner.runId
    this.#inner = inner
    this.#plan = plan
  }

  get isDead(): boolean {
    return this.#isDead
  }

  /** How many calls were made to hang: no answer of theirs comes. */
  get hung(): number {
    return this.#hung
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
    return this.#call('read', (store) => store.read(), undefined, (row, damage) => (row === undefined ? undefined : { ...row, record: damage(row.record) }))
  }

  entries(after: number, limit: number): ReturnType<RunStore['entries']> {
    return this.#call('entries', (store) => store.entries(after, limit), undefined, (page, damage) => page.map(({ seq, bytes }) => ({ seq, bytes: damage(bytes) })))
  }

  last(): ReturnType<RunStore['last']> {
    return this.#call('last', (store) => store.last(), undefined, (entry, damage) => (entry === undefined ? undefined : { seq: entry.seq, bytes: damage(entry.bytes) }))
  }

  row(...args: Parameters<RunStore['row']>): ReturnType<RunStore['row']> {
    return this.#call('row', (store) => store.row(...args), undefined, (value, damage) => (value === undefined ? undefined : damage(value)))
  }

  rows(...args: Parameters<RunStore['rows']>): ReturnType<RunStore['rows']> {
    return this.#call('rows', (store) => store.rows(...args), undefined, (page, damage) => page.map(({ key, value }) => ({ key, value: damage(value) })))
  }

  keys(...args: Parameters<RunStore['keys']>): ReturnType<RunStore['keys']> {
    return this.#call('keys', (store) => store.keys(...args))
  }

  flush(): MaybePromise<void> {
    return this.#call('flush', (store) => store.flush?.())
  }

  destroy(): MaybePromise<void> {
    return this.#call('destroy', (store) => store.destroy())
  }

  commit(batch: Batch): MaybePromise<CommitAnswer> {
    return this.#call(
      'commit',
      (store) => {
        const told = (answer: CommitAnswer): CommitAnswer => {
          if (answer.kind === 'committed') {
            this.#plan.log?.add(this.runId, batch)
            this.#plan.committed?.(batch)
          }
          return answer
        }
        const answer = store.commit(batch)
        return isPromise(answer) ? answer.then(told) : told(answer)
      },
      batch,
    )
  }

  #call<T>(
    method: StoreMethod, ask: (store: RunStore) => MaybePromise<T>, batch?: Batch, damaged?: (answer: T, damage: (bytes: Uint8Array) => Uint8Array) => T,
  ): MaybePromise<T> {
    const run = (): MaybePromise<T> => ask(this.#inner)
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
      case 'quota':
        if (method !== 'commit') throw new StepwellError('invalid_argument', `${method} writes nothing, so it needs no room`)
        throw new StepwellError('quota_exceeded', 'the store is full, as the test wanted')
      case 'damage': {
        if (damaged === undefined) throw new StepwellError('invalid_argument', `${method} answers no stored bytes`)
        return then(run(), (answer) => damaged(answer, fault.damage ?? turnOver))
      }
      case 'old': {
        const { log } = this.#plan
        if (log === undefined || method === 'commit' || method === 'flush' || method === 'destroy') {
          throw new StepwellError('invalid_argument', log === undefined ? 'an old answer needs the `log` of the plan' : `${method} is no read`)
        }
        return ask(log.before(this.runId, fault.commits))
      }
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
        this.#hung++
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

function turnOver(bytes: Uint8Array): Uint8Array {
  const at = bytes.length >> 1
  return bytes.map((byte, i) => (i === at ? byte ^ 255 : byte))
}
