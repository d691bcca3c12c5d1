// Runs a workflow once, and then again with a crash at each of its commits (before it, after it, and with its answer lost) and at each
// moment at which nothing goes on by itself; then with two of them. After every schedule the same must hold: the journal only grew, what
// was committed stayed as it was, nothing was called more often than what is committed allows, and the run ended as without a crash.

import type { CancelOptions } from '../client.ts'
import { canonicalBytes } from '../codec.ts'
import { type AnyWorkflow, registry, type WorkflowInput } from '../define.ts'
import { requestCancel } from '../engine/cancel.ts'
import { sendSignal } from '../engine/send.ts'
import { isStepwellError, StepwellError } from '../errors.ts'
import { given, givenFunction, needed } from '../given.ts'
import { hex } from '../hash.ts'
import { type Limits, limits as limitsOf } from '../limits.ts'
import { createMemoryShelf } from '../store/memory.ts'
import type { MaybePromise, RunStore } from '../store/store.ts'
import { type Mocks, MockTable } from './mocks.ts'
import { createQuiesce } from './quiesce.ts'
import { replayWatched, sayWhere } from './replay-watch.ts'
import { atCommits, atQuiescence, pairs, parseSchedule, printSchedule, type Schedule, smallest } from './schedule.ts'
import type { FakeServices } from './fake-services.ts'
import { standingIn } from './stand-ins.ts'
import type { TestHost } from './test-host.ts'
import { type Explored, Trial, type TrialInit, type Visit } from './trial.ts'
import type { StandInRole, Watch } from './watch.ts'

export interface ExploreOptions<D extends AnyWorkflow, O> {
  /** A fresh, empty store; one for each schedule. Its handle outlives the crashes. Default: memory. */
  readonly open?: (runId: string) => MaybePromise<RunStore>
  /** Default: what has proved to empty the microtask queue of this runtime. */
  readonly quiesce?: () => Promise<void>
  /** The world outside: made for each schedule, survives its crashes. Effects are counted in it. */
  readonly outside?: () => O
  /** What a process lends to steps, or what makes it for each process. */
  readonly services?: FakeServices<D> | ((outside: O, host: TestHost) => object)
  /** Answers of signals and children that are not to be waited for, by name. */
  readonly mocks?: Pick<Mocks, StandInRole>
  /** Holds after every schedule; throws when it does not. */
  readonly check?: (outside: O, end: Explored) => void
  /** Asks for a cancel once the journal has this many entries; asked again when a crash took the answer. */
  readonly cancelAt?: number
  readonly cancelOptions?: CancelOptions
  /** Sends each signal once the journal has `at` entries (default 1: when it has started), in this order; sent again, with one id, when a crash took the answer. */
  readonly signals?: readonly { readonly name: string; readonly payload?: unknown; readonly at?: number }[]
  readonly limits?: Partial<Limits>
  readonly takesEpoch?: boolean
  /** Steps wait for nothing but the host's timers, so virtual time may pass while they run. Default true. */
  readonly stepsUseHostTime?: boolean
  /** How long a process stays dead. Default 0. */
  readonly deadMs?: number
  /** Schedules with two strikes, at most. Default 150. 0: none. */
  readonly maxPairs?: number
  /** The end may be another one after a crash: what of it must be equal. Default: status, output and error. */
  readonly result?: (end: Explored) => unknown
  /** Only this schedule: the seed that a failure has printed. '' is the run without a crash. */
  readonly only?: string
  /**
   * Whether the run without a crash is replayed with the process' clock, randomness, timers and network watched, and effects are
   * watched for whether they read their idempotency key. Default true.
   */
  readonly guard?: boolean
}

export interface ExploreCounts {
  /** Commits of the run without a crash. */
  readonly commits: number
  /** Its quiescent points. */
  readonly points: number
  /** Schedules that were run, the first one without a crash among them. */
  readonly schedules: number
  /** With one strike at a commit. */
  readonly singles: number
  /** With a crash at a quiescent point. */
  readonly quiets: number
  readonly pairs: number
  /** Processes that died. */
  readonly crashes: number
  /** Answers that were lost. */
  readonly lost: number
  /** Calls of functions, over all schedules. */
  readonly executions: number
}

/** Schedules that are tried at most to find a smaller one that fails too. */
const MAX_SMALLER = 200

/**
 * Explores what crashes do to `workflow`, started with `input` (or with what a function gives as input: called again after a crash until the
 * run is started, as a caller does who got no answer).
 *
 * Rejects at the first schedule after which something does not hold, fewest strikes and earliest first, with the smallest such schedule,
 * the lines of the calls that it is about, and the seed that repeats it (`only`). Rejects with `invalid_argument` for options that are none.
 */
export async function exploreCrashes<D extends AnyWorkflow, O = undefined>(
  workflow: D, input: WorkflowInput<D> | ((store: RunStore) => MaybePromise<WorkflowInput<D>>), how?: ExploreOptions<D, O>,
): Promise<ExploreCounts> {
  registry([workflow])
  const options: ExploreOptions<D, O> = given(how)
  for (const hook of ['open', 'quiesce', 'outside', 'check', 'result'] as const) givenFunction(options[hook], hook)
  for (const number of ['cancelAt', 'deadMs', 'maxPairs'] as const) {
    if (options[number] !== undefined && !(typeof options[number] === 'number' && options[number] >= 0)) throw new StepwellError('invalid_argument', `${number} is a number from 0`)
  }
  if (options.only !== undefined) parseSchedule(options.only)
  const { services } = options
  if (typeof services !== 'function') given(services as object | undefined, 'services')
  const init: TrialInit = {
    workflow: standingIn(workflow, new MockTable(given(options.mocks, 'mocks'), [])), input,
    open: options.open ?? ((id) => createMemoryShelf().open(id)),
    quiesce: options.quiesce ?? createQuiesce(),
    outside: () => options.outside?.(),
    services: typeof services === 'function'
      ? (outside, host) => (services as (outside: O, host: TestHost) => object)(outside as O, host)
      : () => (services ?? {}) as object,
    check: options.check as TrialInit['check'],
    visits: visitsOf(options as ExploreOptions<D, unknown>),
    limits: limitsOf(options.limits),
    takesEpoch: options.takesEpoch ?? true,
    stepsUseHostTime: options.stepsUseHostTime ?? true,
    deadMs: options.deadMs ?? 0,
  }
  return new Exploration(init, options as ExploreOptions<D, unknown>).explore()
}

/** What people outside do, in the order of the journal's lengths at which they do it. */
function visitsOf({ cancelAt, cancelOptions, signals = [] }: ExploreOptions<AnyWorkflow, unknown>): readonly Visit[] {
  if (!Array.isArray(signals)) throw new StepwellError('invalid_argument', 'signals are a list of { name, payload, at }')
  const how: CancelOptions = { reason: 'explored', ...given(cancelOptions, 'cancelOptions') }
  const visits: Visit[] = cancelAt === undefined ? [] : [{ at: cancelAt, act: ({ handle, host }) => requestCancel(handle, host.now(), how) }]
  for (const [i, each] of (signals as NonNullable<typeof signals>).entries()) {
    const { name, payload, at = 1 } = needed(each, 'a signal')
    if (typeof name !== 'string' || typeof at !== 'number') throw new StepwellError('invalid_argument', 'a signal has a name, and a length of the journal at which it is sent')
    visits.push({ at, act: ({ handle, host, workflow, limits }) =>
      sendSignal({ store: handle, host, limits, principal: undefined }, registry([workflow]), { name, payload, id: `explored ${i}` }).catch(unlessOver) })
  }
  return visits.sort((a, b) => a.at - b.at)
}

/** The run was over before anybody came: that is no failure of it. */
function unlessOver(error: unknown): void {
  if (!isStepwellError(error, 'already_ended')) throw error
}

class Exploration<D extends AnyWorkflow> {
  readonly #init: TrialInit
  readonly #options: ExploreOptions<D, unknown>
  readonly #resultOf: (end: Explored) => unknown
  readonly #passed = new Set<string>()
  readonly #counts = { commits: 0, points: 0, schedules: 0, singles: 0, quiets: 0, pairs: 0, crashes: 0, lost: 0, executions: 0 }
  /** Where the run without a crash made its calls. */
  #first: Watch | undefined
  /** Its result. */
  #expected: { readonly bytes: string; readonly shown: string } | undefined

  constructor(init: TrialInit, options: ExploreOptions<D, unknown>) {
    this.#init = init
    this.#options = options
    this.#resultOf = options.result ?? (({ summary: { status, output, error } }) => ({ status, output, error: plain(error) }))
  }

  async explore(): Promise<ExploreCounts> {
    const counts = this.#counts
    const first = await this.#explore([])
    Object.assign(counts, { commits: first.commits, points: first.points })
    if (this.#options.only !== undefined) {
      await this.#explore(parseSchedule(this.#options.only))
      return counts
    }
    for (const strike of atCommits(counts.commits)) {
      await this.#explore([strike])
      counts.singles++
    }
    for (const strike of atQuiescence(counts.points)) {
      await this.#explore([strike])
      counts.quiets++
    }
    for (const pair of pairs(counts.commits, counts.points, this.#options.maxPairs ?? 150)) {
      await this.#explore(pair)
      counts.pairs++
    }
    return counts
  }

  async #explore(schedule: Schedule): Promise<Trial> {
    const trial = new Trial(this.#init, schedule)
    const failure = await this.#try(trial)
    // A start that is refused is no find of the explorer's.
    if (trial.commits === 0 && isStepwellError(failure) && failure.kind !== 'integrity') throw failure
    if (failure !== undefined) throw await this.#smallest(schedule, trial, failure)
    this.#passed.add(trial.seed)
    this.#counts.schedules++
    this.#counts.crashes += trial.crashes
    this.#counts.lost += trial.lost
    this.#counts.executions += trial.rules.executions.length
    return trial
  }

  /** What does not hold after it; undefined when all does. */
  async #try(trial: Trial): Promise<Error | undefined> {
    try {
      const explored = await trial.run()
      const isFirst = this.#expected === undefined
      const result = this.#resultOf(explored)
      const bytes = hex(canonicalBytes(result))
      if (isFirst) this.#first = trial.watch
      const shown = JSON.stringify(result) + this.#sayBlocked(explored, trial)
      this.#expected ??= { bytes, shown }
      if (this.#options.guard !== false) await this.#guard(trial, isFirst)
      if (bytes !== this.#expected.bytes) return new Error(`it ended otherwise than without a crash: ${shown}\n  without a crash: ${this.#expected.shown}`)
      return undefined
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  #sayBlocked({ summary: { blocked } }: Explored, { watch }: Trial): string {
    if (blocked === undefined) return ''
    const where = this.#first === undefined ? '' : sayWhere(blocked, this.#first, watch)
    return `\n  blocked by ${blocked.code}: ${blocked.message}${where}`
  }

  async #guard(trial: Trial, isFirst: boolean): Promise<void> {
    const said = trial.keys.unread()
    if (isFirst && trial.store !== undefined && trial.watch !== undefined) {
      const { checked, used, watch } = await replayWatched(trial.store, this.#init.workflow, this.#options.limits ?? {})
      said.unshift(...used)
      if (!checked.ok) said.push(`its journal can't be replayed: ${checked.error.message}${sayWhere(checked.error, trial.watch, watch)}`)
    }
    if (said.length > 0) throw new Error(said.join('\n  '))
  }

  async #smallest(schedule: Schedule, trial: Trial, failure: Error): Promise<Error> {
    let found = { trial, failure }
    const best = await smallest(schedule, async (candidate) => {
      const smaller = new Trial(this.#init, candidate)
      const error = await this.#try(smaller)
      if (error === undefined) return false
      found = { trial: smaller, failure: error }
      return true
    }, this.#passed, MAX_SMALLER)
    const seed = printSchedule(best)
    const crash = best.length === 0 ? 'without a crash' : `with the schedule ${seed}  (repeat it with \`only: '${seed}'\`)`
    return new Error(`crash explorer: ${found.failure.message}\n  ${crash}${found.trial.story()}`, { cause: found.failure })
  }
}

/** What of an error is the same in every schedule. */
function plain(error: unknown): unknown {
  return error instanceof Error ? { name: error.name, message: error.message } : error
}
