// The test host as a user has it: runs workflows on the real engine in virtual time, with fakes, mocks and faults, in any runtime.

import type { StartOptions } from '../client.ts'
import { type AnyWorkflow, registry, type WorkflowInput } from '../define.ts'
import { type Duration, toMs } from '../duration.ts'
import type { OnEnd } from '../engine/notice.ts'
import { type Redact, StepwellError } from '../errors.ts'
import { given, givenFunction, needed } from '../given.ts'
import { hashParts } from '../hash.ts'
import type { HostName, LogRecord } from '../host.ts'
import { limits, type Limits } from '../limits.ts'
import { createMemoryShelf } from '../store/memory.ts'
import type { MaybePromise, RunStore } from '../store/store.ts'
import type { FakeServices } from './fake-services.ts'
import { type FaultPlan, FaultStore, type StoreMethod } from './fault-store.ts'
import { type ForcedTimeouts, type Mocks, MockTable } from './mocks.ts'
import { createQuiesce } from './quiesce.ts'
import { standingIn } from './stand-ins.ts'
import { TestHost } from './test-host.ts'
import { TestRun } from './test-run.ts'
import { TestRuns } from './test-runs.ts'
import type { AskedCall, FunctionCall, Role } from './watch.ts'

export interface TestHostInit<W extends AnyWorkflow> {
  readonly workflows: readonly W[]
  /** Fakes of what a host lends to steps, all of them; may be missing where every call that uses them is mocked. */
  readonly services?: FakeServices<W>
  /** Answers in place of functions of calls, by kind and name. */
  readonly mocks?: Mocks
  /** Calls whose answers don't come until their timeout has passed, in virtual time; for an effect it is ambiguous then. */
  readonly timeouts?: ForcedTimeouts
  /**
   * Of the run's randomness, and of the order in which answers that are there at the same time are taken: another seed, another order; the
   * same seed, the same journal. Timers keep their exact order. Default: randomness of seed 1, and answers in the order in which they come.
   */
  readonly seed?: number
  /** ms since 1970. Default: 2026-01-01T00:00:00Z. */
  readonly startAt?: number
  /** 'edge' and 'browser' refuse calls of the other one, as those hosts do. Default 'test': all may run. */
  readonly name?: HostName
  readonly limits?: Partial<Limits>
  /** A handle on a run's store; called again after a crash. Default: memory. */
  readonly open?: (runId: string) => MaybePromise<RunStore>
  /** What goes wrong with the store; `nth` counts over all processes. After a `crash` the next process begins by itself. */
  readonly faults?: FaultPlan
  readonly redact?: Redact
  readonly onEnd?: OnEnd
  readonly log?: (record: LogRecord) => void
  /**
   * Whether a run that has settled is replayed with the process' clock, randomness, timers and network watched, and effects are watched
   * for whether they read their idempotency key: whatever no replay could repeat is an error that names the line. Default true.
   */
  readonly guard?: boolean
  readonly quiesce?: () => Promise<void>
}

/** So many quiet turns in a row: nothing goes on without time. */
const QUIET_TURNS = 3
/** More than any test needs: what goes on after so many steps never ends. */
const MAX_ROUNDS = 100_000

/**
 * A host for tests. Nothing is real but the engine: no time passes unless the test lets it, so a sleep of 30 days takes none.
 *
 * Throws `invalid_argument` for options that are none.
 */
export function testHost<const W extends AnyWorkflow>(init: TestHostInit<W>): TestKit<W> {
  registry(needed(init, 'the options of a test host').workflows)
  for (const hook of ['open', 'redact', 'onEnd', 'log', 'quiesce'] as const) givenFunction(init[hook], hook)
  for (const group of ['services', 'mocks', 'faults'] as const) given(init[group] as object | undefined, group)
  limits(init.limits)
  return new TestKit(init)
}

export class TestKit<W extends AnyWorkflow> {
  /** The host port that the engine has: clock, timers, logs. */
  readonly host: TestHost
  readonly #init: TestHostInit<W>
  readonly #open: (runId: string) => MaybePromise<RunStore>
  readonly #mocks: MockTable
  readonly #faults: FaultPlan
  readonly #runs = new Map<string, TestRun<AnyWorkflow>>()
  readonly #quiesce: () => Promise<void>
  /** How often a driver has waited for quiescence: as long as they do, something goes on. */
  #turns = 0
  readonly #withheld = new Set<string>()
  /** Functions that wait for `delay`. */
  #delays = 0
  /** Answers that are there and not yet taken, with a seed. */
  #held: (() => void)[] = []
  #draws = 0

  constructor(init: TestHostInit<W>) {
    this.#init = init
    this.#mocks = new MockTable(init.mocks ?? {}, init.timeouts ?? [])
    const shelf = createMemoryShelf()
    this.#open = init.open ?? ((id) => shelf.open(id))
    const { seed, startAt, name, log } = init
    this.#quiesce = init.quiesce ?? createQuiesce()
    this.#faults = countedOverAll(init.faults ?? {})
    this.host = new TestHost({
      ...(seed === undefined ? undefined : { seed }), ...(startAt === undefined ? undefined : { startAt }), ...(name === undefined ? undefined : { name }),
      ...(log === undefined ? undefined : { log }),
      quiesce: () => {
        this.#turns++
        return this.#quiesce()
      },
      called: (kind, key) => { for (const { watch } of this.#runs.values()) watch.called(kind, key) },
    })
  }

  now(): number {
    return this.host.now()
  }

  /** Starts a run and lets happen what needs no time. Rejects as every client's `start` does. */
  async start<const D extends W>(workflow: D, input: WorkflowInput<D>, options?: StartOptions): Promise<TestRun<D>> {
    if (!this.#init.workflows.includes(workflow)) throw new StepwellError('not_registered', 'this workflow is not one of this test host\'s: give its definition, and list it in `workflows`')
    const { id, created } = await this.#started(workflow, input, given(options))
    const known = this.#runs.get(id)
    if (known !== undefined) return known as TestRun<AnyWorkflow> as TestRun<D>
    const run: TestRun<D> = new TestRun({
      id, created, workflow: standingIn(workflow, this.#mocks), host: this.host, limits: this.#init.limits ?? {}, isGuarded: this.#init.guard !== false,
      boot: (watched) => this.#boot(watched),
      observe: () => this.#open(id),
      call: (asked, role, call, own) => this.#call(asked, role, call, own),
      isWithheld: (key, attempt) => this.#withheld.has(`${id} ${key} ${attempt}`),
      still: () => this.still(),
      elapse: (isOver) => this.#elapse(isOver),
    })
    this.#runs.set(id, run as unknown as TestRun<AnyWorkflow>)
    run.wake()
    await this.still()
    return run
  }

  /** As a caller does whose process dies: asks again until it is answered. */
  async #started<const D extends W>(workflow: D, input: WorkflowInput<D>, options: StartOptions): Promise<{ readonly id: string; readonly created: boolean }> {
    for (;;) {
      const { runs, handle } = this.#boot(workflow)
      let end: { readonly value: { readonly id: string; readonly created: boolean } } | { readonly error: unknown } | undefined
      runs.start(workflow, input, options).then((value) => { end = { value } }, (error: unknown) => { end = { error } })
      while (end === undefined && handle()?.isDead !== true) {
        await this.#quiesce()
        // Nothing but time ends a call that hangs.
        if ((handle()?.hung ?? 0) > 0) this.host.fireNext()
      }
      if (end === undefined) continue
      if ('error' in end) throw end.error
      return end.value
    }
  }

  #boot(workflow: AnyWorkflow): { readonly runs: TestRuns; readonly handle: () => FaultStore | undefined } {
    let handle: FaultStore | undefined
    const { services, limits, redact, onEnd } = this.#init
    const runs = new TestRuns({
      host: this.host, workflows: [workflow],
      open: async (id) => (handle = new FaultStore(await this.#open(id), this.#faults)),
      ...(services === undefined ? undefined : { services: services as object }), ...(limits === undefined ? undefined : { limits }),
      ...(redact === undefined ? undefined : { redact }), ...(onEnd === undefined ? undefined : { onEnd }),
    })
    return { runs, handle: () => handle }
  }

  /** Moves the clock: every timer on the way fires at its own time, in order, with all that follows from it. */
  async advance(duration: Duration): Promise<void> {
    await this.advanceTo(this.host.now() + toMs(duration, 'advance'))
  }

  /** As `advance`, to a time. A time that has passed is no move. */
  async advanceTo(time: number | Date): Promise<void> {
    const until = typeof time === 'number' || time instanceof Date ? Number(time) : Number.NaN
    if (Number.isNaN(until)) throw new StepwellError('invalid_argument', 'a time is ms since 1970, or a Date')
    await this.still()
    for (let round = 0; this.host.fireNext(until); round++) {
      if (round > MAX_ROUNDS) throw new StepwellError('internal', 'time does not get there: timers fire without end')
      await this.still()
    }
    this.host.advanceTo(until)
  }

  /** For fakes: resolves when virtual time has come so far. */
  async delay(duration: Duration): Promise<void> {
    this.#delays++
    try {
      await new Promise<void>((resolve) => { this.host.timer(toMs(duration, 'delay'), resolve) })
    } finally {
      this.#delays--
    }
  }

  /** The process that drives the runs dies, here and now, and the next one begins: what is in memory is gone, what is stored goes on. */
  async crash(): Promise<void> {
    this.#reboot([...this.#runs.values()])
    await this.still()
  }

  #reboot(runs: readonly TestRun<AnyWorkflow>[]): void {
    this.host.forgetTimers()
    this.#held = []
    this.#delays = 0
    for (const run of runs) run.reboot()
  }

  /** Throws when a mock or a forced timeout was never used: a name is spelled otherwise, or the call was not made. */
  done(): void {
    const { unused } = this.#mocks
    if (unused.length > 0) throw new Error(`never used: ${unused.join(', ')}`)
  }

  /** Lets everything happen that needs no time: until every run waits for time, for a message, or for an answer that never comes. */
  async still(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS;) {
      const turns = this.#turns
      await this.#quiesce()
      const runs = [...this.#runs.values()]
      if (runs.some((run) => run.isDead)) {
        // One process drives them all.
        this.#reboot(runs)
        quiet = 0
        continue
      }
      if (this.#held.length > 0) {
        this.#release()
        quiet = 0
        continue
      }
      const answering = runs.reduce((sum, run) => sum + run.answering, 0)
      quiet = turns !== this.#turns || answering > this.#delays || runs.some((run) => run.isStoreBusy) ? 0 : quiet + 1
    }
  }

  async #elapse(isOver: () => boolean): Promise<void> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      await this.still()
      if (isOver() || !this.host.fireNext()) return
    }
    throw new StepwellError('internal', 'the run does not settle')
  }

  #call(asked: AskedCall, role: Role, call: FunctionCall, own: () => unknown): unknown {
    const key = asked.key ?? call.key
    const run = this.#mocks.body(role, asked.name, key, call, own)
    const forced = this.#mocks.timeout(role, asked.name, key, call.attempt)
    if (forced !== undefined) {
      this.#withheld.add(`${call.runId} ${call.key} ${call.attempt}`)
      if (forced.called === true) Promise.resolve().then(run).catch(() => {})
      return new Promise(() => {})
    }
    if (this.#init.seed === undefined) return run()
    let answer: unknown
    try {
      answer = run()
    } catch (error) {
      answer = Promise.reject(error as Error)
    }
    return new Promise((resolve, reject) => {
      Promise.resolve(answer).then(
        (value) => { this.#held.push(() => { resolve(value) }) },
        (error: unknown) => { this.#held.push(() => { reject(error as Error) }) },
      )
    })
  }

  /** One of the answers that are there, by the seed. */
  #release(): void {
    const [a, b] = hashParts('stepwell.test.order', this.#init.seed ?? 1, this.#draws++) as unknown as [number, number]
    const [release] = this.#held.splice((a * 256 + b) % this.#held.length, 1)
    release?.()
  }
}

/** A handle counts its own calls, and each process has handles of its own: the same fault would strike each of them. */
function countedOverAll(plan: FaultPlan): FaultPlan {
  const { fault } = plan
  if (fault === undefined) return plan
  const counts = new Map<StoreMethod, number>()
  return {
    ...plan,
    fault: (call) => {
      const nth = (counts.get(call.method) ?? 0) + 1
      counts.set(call.method, nth)
      return fault({ ...call, nth })
    },
  }
}
