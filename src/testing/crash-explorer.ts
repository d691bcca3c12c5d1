// Runs a workflow once, and then again with a crash at each of its commits: before it, after it, and with its answer lost; then with
// two of them. After every schedule the same must hold: the journal only grew, what was committed stayed as it was, nothing was
// called outside after its outcome was committed or more often than at-least-once allows, and the run ended as without a crash.

import type { CancelOptions } from '../client.ts'
import { canonicalBytes } from '../codec.ts'
import type { Ctx } from '../context.ts'
import type { AnyWorkflow, WorkflowInput } from '../define.ts'
import { requestCancel } from '../engine/cancel.ts'
import { type DriveEnd, Driver } from '../engine/drive.ts'
import { startRun } from '../engine/start.ts'
import { registry } from '../define.ts'
import { isStepwellError, StepwellError } from '../errors.ts'
import { hex } from '../hash.ts'
import { decodeEntry, type Entry, GENESIS, isTerminal } from '../journal/entry.ts'
import { type RunSummary, summary } from '../journal/summary.ts'
import { type Limits, limits as limitsOf } from '../limits.ts'
import { type Batch, isPromise, type MaybePromise, type RunStore } from '../store/store.ts'
import { FaultStore } from './fault-store.ts'
import { TestHost } from './test-host.ts'

/** What happens at the how many-th commit of a schedule, counted over all of its processes; 1 is the start of the run. */
export interface Strike {
  readonly commit: number
  /** The process dies before the commit, or after it; or it lives on and never gets the answer. */
  readonly when: 'before' | 'after' | 'lost'
}

export type Schedule = readonly Strike[]

export interface ExploreOptions<D extends AnyWorkflow, O> {
  /** A fresh, empty store; one for each schedule. Its handle outlives the crashes. */
  readonly open: (runId: string) => MaybePromise<RunStore>
  readonly quiesce: () => Promise<void>
  readonly workflow: D
  /** The input, or what makes it: called again after a crash until the run is started, as a caller does who got no answer. */
  readonly input: WorkflowInput<D> | ((store: RunStore) => MaybePromise<WorkflowInput<D>>)
  /** The world outside: made for each schedule, survives its crashes. Effects are counted in it. */
  readonly outside?: () => O
  /** What a process lends to steps. */
  readonly services?: (outside: O, host: TestHost) => object
  /** Holds after every schedule; throws when it does not. */
  readonly check?: (outside: O, end: Explored) => void
  /** Asks for a cancel once the journal has this many entries; asked again when a crash took the answer. */
  readonly cancelAt?: number
  readonly cancelOptions?: CancelOptions
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
  /** Only this schedule: what a failure has printed. */
  readonly only?: Schedule
}

/** How one schedule ended. */
export interface Explored {
  readonly summary: RunSummary
  readonly end: DriveEnd
  readonly entries: readonly Entry[]
  readonly executions: readonly Execution[]
  readonly processes: number
}

/** One call of a step's function. */
export interface Execution {
  readonly key: string
  readonly attempt: number
  readonly idempotencyKey: string
  readonly generation: number
  readonly process: number
}

export interface ExploreCounts {
  /** Commits of the run without a crash. */
  readonly commits: number
  /** Schedules that were run, the first one without a crash among them. */
  readonly schedules: number
  readonly singles: number
  readonly pairs: number
  /** Processes that died. */
  readonly crashes: number
  /** Answers that were lost. */
  readonly lost: number
  /** Calls of step functions, over all schedules. */
  readonly executions: number
}

const RUN_ID = 'explored'
const kinds = ['before', 'after', 'lost'] as const
/** More than any run in a test needs: a schedule that needs more never ends. */
const MAX_ROUNDS = 2000

/**
 * Explores. Throws at the first schedule after which something does not hold, fewest strikes and earliest commits first, with the
 * schedule in the message: give it as `only` to see it again.
 */
export async function exploreCrashes<D extends AnyWorkflow, O = undefined>(
  options: ExploreOptions<D, O>,
): Promise<ExploreCounts> {
  const counts = { commits: 0, schedules: 0, singles: 0, pairs: 0, crashes: 0, lost: 0, executions: 0 }
  const resultOf =
    options.result ?? (({ summary: { status, output, error } }: Explored) => ({ status, output, error: plain(error) }))
  let expected: string | undefined
  const explore = async (schedule: Schedule): Promise<number> => {
    const trial = new Trial(options, schedule)
    try {
      const end = await trial.run()
      const result = hex(canonicalBytes(resultOf(end)))
      expected ??= result
      if (result !== expected) violated(`it ended otherwise than without a crash: ${JSON.stringify(resultOf(end))}`)
      counts.executions += end.executions.length
    } catch (error) {
      const seed = JSON.stringify(schedule)
      throw new Error(
        `crash explorer: ${error instanceof Error ? error.message : String(error)}\n  schedule: ${seed}  (repeat it with \`only: ${seed}\`)\n  ${trial.story()}`,
        { cause: error },
      )
    }
    counts.schedules++
    counts.crashes += trial.crashes
    counts.lost += trial.lost
    return trial.commits
  }
  counts.commits = await explore([])
  if (options.only !== undefined) {
    await explore(options.only)
    return counts
  }
  for (let commit = 1; commit <= counts.commits; commit++) {
    for (const when of kinds) {
      await explore([{ commit, when }])
      counts.singles++
    }
  }
  for (const pair of pairsOf(counts.commits, options.maxPairs ?? 150)) {
    await explore(pair)
    counts.pairs++
  }
  return counts
}

/** Pairs of strikes, spread evenly over all there are: a restart adds commits, so the second may come behind the last. */
function pairsOf(commits: number, most: number): Schedule[] {
  const all: Schedule[] = []
  for (let first = 1; first <= commits; first++) {
    for (let second = first + 1; second <= commits + 3; second++) {
      for (const a of kinds)
        for (const b of kinds)
          all.push([
            { commit: first, when: a },
            { commit: second, when: b },
          ])
    }
  }
  if (all.length <= most) return all
  // A stride that is prime to the length visits all commits and all kinds, and none of them twice.
  let stride = Math.max(1, Math.floor(all.length / most)) | 1
  while (gcd(stride, all.length) !== 1) stride += 2
  return Array.from({ length: most }, (_, i) => all[(i * stride) % all.length] as Schedule)
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

/** One schedule, from an empty store to the end of the run. */
class Trial<D extends AnyWorkflow, O> {
  commits = 0
  crashes = 0
  lost = 0
  readonly #options: ExploreOptions<D, O>
  readonly #schedule: Schedule
  readonly #limits: Limits
  /** What was really committed, whatever anybody was told. */
  readonly #entries: Entry[] = []
  readonly #bytes: Uint8Array[] = []
  /** Outcomes, by generation and key. */
  readonly #outcomes = new Set<string>()
  readonly #failed = new Set<string>()
  readonly #executions: Execution[] = []
  readonly #keys = new Map<string, string>()
  #violation: Error | undefined
  #isCancelled = false
  #now: number | undefined

  constructor(options: ExploreOptions<D, O>, schedule: Schedule) {
    this.#options = options
    this.#schedule = schedule
    this.#limits = limitsOf(options.limits)
  }

  story(): string {
    const log = this.#entries
      .map(({ seq, kind, key }) => `${seq} ${kind}${key === undefined ? '' : ` ${key}`}`)
      .join(', ')
    const calls = this.#executions
      .map(({ key, attempt, process }) => `${key} (attempt ${attempt}, process ${process})`)
      .join(', ')
    return `journal: ${log}\n  calls: ${calls}`
  }

  async run(): Promise<Explored> {
    const { open, outside, services } = this.#options
    const store = await open(RUN_ID)
    const world = outside?.() as O
    for (let number = 1; number <= this.#schedule.length + 1; number++) {
      const process = this.#boot(store, number, (host) => services?.(world, host) ?? {})
      const end = await process.live()
      this.#now = process.host.now() + (this.#options.deadMs ?? 0)
      if (this.#violation !== undefined) throw this.#violation
      if (end === undefined) continue
      await this.#checkStore(store)
      this.#checkCalls()
      const explored: Explored = {
        summary: await summary(store),
        end,
        entries: this.#entries,
        executions: this.#executions,
        processes: number,
      }
      this.#options.check?.(world, explored)
      return explored
    }
    throw new StepwellError('internal', 'more processes died than were struck')
  }

  #boot(store: RunStore, number: number, services: (host: TestHost) => object): Process<D> {
    const { workflow, input, quiesce, takesEpoch, stepsUseHostTime, cancelAt, cancelOptions } = this.#options
    const host = new TestHost({
      quiesce,
      seed: number,
      ...(this.#now === undefined ? undefined : { startAt: this.#now }),
    })
    const handle = new FaultStore(store, {
      fault: ({ method }) => {
        if (method !== 'commit') return undefined
        const commit = ++this.commits
        const strike = this.#schedule.find((each) => each.commit === commit)
        if (strike === undefined) return undefined
        if (strike.when === 'lost') {
          this.lost++
          return { do: 'unknown', when: 'after' }
        }
        this.crashes++
        return { do: 'crash', when: strike.when }
      },
      committed: (batch) => {
        this.#committed(batch)
      },
    })
    const watched = watch(workflow, {
      isDead: () => handle.isDead,
      execute: (call, generation) => {
        this.#executed({ ...call, generation, process: number })
      },
    })
    return new Process({
      host,
      handle,
      workflow: watched as D,
      input,
      limits: this.#limits,
      services: services(host),
      takesEpoch: takesEpoch ?? true,
      stepsUseHostTime: stepsUseHostTime ?? true,
      cancelOptions: { reason: 'explored', ...cancelOptions },
      isCancelDue: () => cancelAt !== undefined && !this.#isCancelled && this.#entries.length >= cancelAt,
      cancelled: () => {
        this.#isCancelled = true
      },
    })
  }

  #fail(what: string): void {
    this.#violation ??= new Error(what)
  }

  #committed(batch: Batch): void {
    for (const { seq, bytes } of batch.entries ?? []) {
      const last = this.#entries.at(-1)
      if (seq !== (last?.seq ?? 0) + 1) this.#fail(`entry ${seq} was committed after entry ${last?.seq ?? 0}`)
      const entry = decodeEntry(seq, bytes, last?.hash ?? GENESIS)
      if (last !== undefined && isTerminal(last.kind)) this.#fail(`${entry.kind} was committed after ${last.kind}`)
      if (last !== undefined && entry.at < last.at) this.#fail(`entry ${seq} is older than the one before it`)
      this.#entries.push(entry)
      this.#bytes.push(bytes.slice())
      if (entry.key === undefined) continue
      const call = `${entry.generation} ${entry.key}`
      if (entry.kind === 'attempt_failed') {
        const attempt = `${call} ${entry.attempt}`
        if (this.#failed.has(attempt)) this.#fail(`attempt ${entry.attempt} of ${entry.key} was recorded twice`)
        this.#failed.add(attempt)
      }
      if (entry.kind !== 'step_completed' && entry.kind !== 'step_failed' && entry.kind !== 'timer_fired') continue
      if (this.#outcomes.has(call)) this.#fail(`${entry.key} has two outcomes`)
      this.#outcomes.add(call)
    }
  }

  #executed(execution: Execution): void {
    const { key, attempt, generation, idempotencyKey } = execution
    if (this.#outcomes.has(`${generation} ${key}`)) this.#fail(`${key} was called after its outcome was committed`)
    if (this.#failed.has(`${generation} ${key} ${attempt}`))
      this.#fail(`attempt ${attempt} of ${key} was called after its failure was committed`)
    const known = this.#keys.get(`${generation} ${key}`)
    if (known !== undefined && known !== idempotencyKey) this.#fail(`${key} has two idempotency keys`)
    this.#keys.set(`${generation} ${key}`, idempotencyKey)
    this.#executions.push(execution)
  }

  async #checkStore(store: RunStore): Promise<void> {
    const stored = await store.entries(0, 1000)
    const whole = stored.length === Math.min(1000, this.#bytes.length)
    if (!whole) violated(`${this.#bytes.length} entries were committed, ${stored.length} are stored`)
    for (const [i, { seq, bytes }] of stored.entries()) {
      if (hex(bytes) !== hex(this.#bytes[i] as Uint8Array)) violated(`entry ${seq} is not what was committed`)
    }
  }

  /** At least once: each attempt may be called once more for each process that died, and never by one process twice. */
  #checkCalls(): void {
    const byAttempt = new Map<string, Execution[]>()
    for (const execution of this.#executions) {
      const id = `${execution.generation} ${execution.key} ${execution.attempt}`
      byAttempt.set(id, [...(byAttempt.get(id) ?? []), execution])
    }
    for (const calls of byAttempt.values()) {
      const [{ key, attempt }] = calls as [Execution]
      if (calls.length > 1 + this.crashes)
        violated(`attempt ${attempt} of ${key} was called ${calls.length} times with ${this.crashes} crashes`)
      if (new Set(calls.map(({ process }) => process)).size < calls.length)
        violated(`attempt ${attempt} of ${key} was called twice by one process`)
    }
    for (let generation = 1; ; generation++) {
      const keys = [...this.#keys].filter(([call]) => call.startsWith(`${generation} `)).map(([, key]) => key)
      if (keys.length === 0) break
      if (new Set(keys).size < keys.length) violated('two steps have one idempotency key')
    }
  }
}

interface ProcessInit<D extends AnyWorkflow> {
  readonly host: TestHost
  readonly handle: FaultStore
  readonly workflow: D
  readonly input: ExploreOptions<D, unknown>['input']
  readonly limits: Limits
  readonly services: object
  readonly takesEpoch: boolean
  readonly stepsUseHostTime: boolean
  readonly cancelOptions: CancelOptions
  readonly isCancelDue: () => boolean
  readonly cancelled: () => void
}

/** From boot to death or to the end of the run. Nothing of it is waited for after its store is dead. */
class Process<D extends AnyWorkflow> {
  readonly host: TestHost
  readonly #init: ProcessInit<D>

  constructor(init: ProcessInit<D>) {
    this.host = init.host
    this.#init = init
  }

  /** How the run ended; undefined when the process died before. */
  async live(): Promise<DriveEnd | undefined> {
    const { handle, host, workflow, limits, services, takesEpoch } = this.#init
    const started = await this.#settle(this.#start())
    if (started === undefined) return undefined
    const driver = new Driver({ store: handle, host, registry: registry([workflow]), services, limits, takesEpoch })
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (!(await this.#cancelIfDue(driver))) return undefined
      const end = await this.#settle(driver.drive(), driver)
      if (end === undefined) return undefined
      switch (end.kind) {
        case 'parked':
          if (end.wakeAt === null) return end
          host.advanceTo(end.wakeAt)
          break
        // A lost answer can make a driver give up; whoever drives next finds what is there.
        case 'superseded':
        case 'unavailable':
          break
        default:
          return end
      }
    }
    throw new StepwellError('internal', 'the run does not end')
  }

  async #start(): Promise<true> {
    const { handle, host, workflow, limits, input } = this.#init
    for (let tries = 1; ; tries++) {
      try {
        const given =
          typeof input === 'function'
            ? await (input as (store: RunStore) => MaybePromise<WorkflowInput<D>>)(handle)
            : input
        await startRun(handle, host, limits, workflow, given, { id: RUN_ID })
        return true
      } catch (error) {
        // The caller's own retry: a start is idempotent.
        if (tries >= 3 || !isStepwellError(error) || !error.retryable) throw error
      }
    }
  }

  async #cancelIfDue(driver: Driver): Promise<boolean> {
    const { handle, host, isCancelDue, cancelled, cancelOptions } = this.#init
    if (!isCancelDue()) return true
    const answer = await this.#settle(requestCancel(handle, host.now(), cancelOptions))
    if (answer === undefined) return false
    cancelled()
    driver.poke().catch(() => {})
    return true
  }

  /** Waits, and lets virtual time pass while nothing else happens; undefined when the process died meanwhile. */
  async #settle<T>(promise: Promise<T>, driver?: Driver): Promise<T | undefined> {
    const { host, handle, stepsUseHostTime } = this.#init
    let result: { readonly value: T } | { readonly error: unknown } | undefined
    promise.then(
      (value) => {
        result = { value }
      },
      (error: unknown) => {
        result = { error }
      },
    )
    for (let idle = 0, turns = 0; ;) {
      await host.quiesce()
      if (handle.isDead) return undefined
      if (result !== undefined) {
        if ('error' in result) throw result.error
        return result.value
      }
      if (driver !== undefined && this.#init.isCancelDue() && !(await this.#cancelIfDue(driver))) return undefined
      if (++turns > 100_000) throw new StepwellError('internal', 'nothing happens any more')
      if (!stepsUseHostTime && driver !== undefined && driver.liveness().steps.length > 0) {
        idle = 0
        continue
      }
      const next = host.nextTimer
      if (++idle > 2 && next !== undefined) {
        host.advanceTo(next)
        idle = 0
      }
    }
  }
}

interface Watcher {
  readonly isDead: () => boolean
  readonly execute: (
    call: { readonly key: string; readonly attempt: number; readonly idempotencyKey: string },
    generation: number,
  ) => void
}

type AnyFunction = (...args: never[]) => unknown
interface AnyCall {
  readonly key: string
  readonly attempt: number
  readonly idempotencyKey: string
}

/** The same workflow, whose step functions are counted, and neither begin nor go on in a process that is dead. */
function watch(workflow: AnyWorkflow, watcher: Watcher): AnyWorkflow {
  const run = workflow.run as (ctx: Ctx, input: unknown) => unknown
  return {
    ...workflow,
    run: ((ctx: Ctx, input: unknown) => run(watched(ctx, watcher), input)) as unknown as AnyWorkflow['run'],
  }
}

function watched(ctx: Ctx, watcher: Watcher): Ctx {
  const branch = (fn: unknown): unknown =>
    typeof fn === 'function'
      ? (inner: Ctx, ...rest: never[]) => (fn as AnyFunction)(watched(inner, watcher) as never, ...rest)
      : fn
  const branches = (fns: unknown): unknown =>
    typeof fns === 'object' && fns !== null
      ? Object.fromEntries(Object.entries(fns).map(([label, fn]) => [label, branch(fn)]))
      : fns
  return new Proxy(ctx, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = value.bind(target) as (...args: unknown[]) => unknown
      switch (name) {
        case 'step':
          return (step: unknown, fn: unknown, options: unknown) =>
            method(step, typeof fn === 'function' ? counted(fn as AnyFunction, target, watcher) : fn, options)
        case 'all':
        case 'race':
        case 'any':
        case 'settled':
          return (fns: unknown) => method(branches(fns))
        case 'map':
          return (label: unknown, items: unknown, options: unknown, fn: unknown) =>
            method(label, items, options, branch(fn))
        case 'scope':
          return (label: unknown, fn: unknown) => method(label, branch(fn))
        case 'cleanup':
          return (fn: unknown) => method(branch(fn))
        default:
          return method
      }
    },
  })
}

function counted(fn: AnyFunction, ctx: Ctx, { isDead, execute }: Watcher): (call: AnyCall) => unknown {
  return (call) => {
    if (isDead()) return new Promise(() => {})
    execute({ key: call.key, attempt: call.attempt, idempotencyKey: call.idempotencyKey }, ctx.info.generation)
    const result = fn(call as never) as MaybePromise<unknown>
    if (!isPromise(result)) return result
    return result.then(
      (value) => (isDead() ? new Promise(() => {}) : value),
      (error: unknown) => (isDead() ? new Promise(() => {}) : Promise.reject(error)),
    )
  }
}

function violated(what: string): never {
  throw new Error(what)
}

/** What of an error is the same in every schedule. */
function plain(error: unknown): unknown {
  return error instanceof Error ? { name: error.name, message: error.message } : error
}
