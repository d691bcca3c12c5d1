// One schedule of the crash explorer, from an empty store to the end of the run: processes that die where the schedule says, and a
// next one that finds what is stored.

import { type AnyWorkflow, registry, type WorkflowInput } from '../define.ts'
import { type DriveEnd, Driver } from '../engine/drive.ts'
import { startRun } from '../engine/start.ts'
import { isStepwellError, StepwellError } from '../errors.ts'
import { hex } from '../hash.ts'
import { decodeEntry, type Entry, GENESIS } from '../journal/entry.ts'
import { type RunSummary, summary } from '../journal/summary.ts'
import type { Limits } from '../limits.ts'
import { type Batch, isPromise, type MaybePromise, type RunStore } from '../store/store.ts'
import { CallRules, type Execution } from './call-rules.ts'
import { FaultStore } from './fault-store.ts'
import { KeyReads } from './key-reads.ts'
import { printSchedule, type Schedule, type Strike } from './schedule.ts'
import { TestHost } from './test-host.ts'
import { type AskedCall, type FunctionCall, type Role, Watch } from './watch.ts'

/** How one schedule ended. */
export interface Explored {
  readonly summary: RunSummary
  readonly end: DriveEnd
  readonly entries: readonly Entry[]
  readonly executions: readonly Execution[]
  readonly processes: number
}

/** What all schedules of an exploration have in common. */
export interface TrialInit {
  readonly workflow: AnyWorkflow
  readonly input: unknown
  readonly open: (runId: string) => MaybePromise<RunStore>
  readonly quiesce: () => Promise<void>
  readonly outside: () => unknown
  readonly services: (outside: unknown, host: TestHost) => object
  readonly check: ((outside: unknown, end: Explored) => void) | undefined
  readonly visits: readonly Visit[]
  readonly limits: Limits
  readonly takesEpoch: boolean
  readonly stepsUseHostTime: boolean
  readonly deadMs: number
}

const RUN_ID = 'explored'
/** More than any run in a test needs: a schedule that needs more never ends. */
const MAX_ROUNDS = 2000
const MAX_TURNS = 100_000

export class Trial {
  /** How many there were, over all processes. */
  commits = 0
  points = 0
  crashes = 0
  lost = 0
  readonly rules: CallRules = new CallRules()
  readonly keys: KeyReads = new KeyReads()
  store: RunStore | undefined
  /** Of the process that lived last. */
  watch: Watch | undefined
  readonly #init: TrialInit
  readonly #schedule: Schedule
  /** What was really committed, whatever anybody was told. */
  readonly #bytes: Uint8Array[] = []
  /** What each strike has cut: in words, with the line. */
  readonly #struck: string[] = []
  readonly #visited = new Set<Visit>()
  #now: number | undefined

  constructor(init: TrialInit, schedule: Schedule) {
    this.#init = init
    this.#schedule = schedule
  }

  /** What happened, for whoever must understand a failure. */
  story(): string {
    const entries = this.rules.entries.map(({ seq, kind, key }) => `${seq} ${kind}${key === undefined ? '' : ` ${key}`}`)
    const calls = this.rules.executions.map(({ role, key, attempt, process }) => `${role === 'step' ? '' : `${role} `}${key} (attempt ${attempt}, process ${process})`)
    return [...this.#struck, `journal: ${entries.join(', ')}`, `calls: ${calls.join(', ')}`].map((line) => `\n  ${line}`).join('')
  }

  async run(): Promise<Explored> {
    const { open, outside, services, check, deadMs } = this.#init
    const store = await open(RUN_ID)
    this.store = store
    const world = outside()
    for (let number = 1; number <= this.#schedule.length + 1; number++) {
      const process = this.#boot(store, number, (host) => services(world, host))
      const end = await process.live()
      this.#now = process.host.now() + deadMs
      this.#throwViolation()
      if (end === undefined) continue
      await this.#checkStore(store)
      this.rules.ended(this.crashes)
      this.#throwViolation()
      const { entries, executions } = this.rules
      const explored: Explored = { summary: await summary(store), end, entries, executions, processes: number }
      check?.(world, explored)
      return explored
    }
    throw new StepwellError('internal', 'more processes died than were struck')
  }

  #throwViolation(): void {
    if (this.rules.violation !== undefined) throw this.rules.violation
  }

  #boot(store: RunStore, number: number, services: (host: TestHost) => object): Process {
    const { workflow, quiesce, visits } = this.#init
    const handle: FaultStore = new FaultStore(store, {
      fault: ({ method, batch }) => {
        if (method !== 'commit') return undefined
        const nth = ++this.commits
        const strike = this.#schedule.find((each) => each.when !== 'quiet' && each.nth === nth)
        if (strike === undefined || strike.when === 'quiet') return undefined
        this.#struck.push(this.#tellCommit(strike, batch as Batch))
        if (strike.when === 'lost') {
          this.lost++
          return { do: 'unknown', when: 'after' }
        }
        this.crashes++
        return { do: 'crash', when: strike.when }
      },
      committed: (batch) => { this.#committed(batch) },
    })
    const watch = new Watch({ run: (asked, role, call, run) => this.#call(handle, number, asked, role, call, run) })
    this.watch = watch
    const isStruck = (): boolean => {
      const nth = ++this.points
      if (!this.#schedule.some((each) => each.when === 'quiet' && each.nth === nth)) return false
      this.crashes++
      this.#struck.push(`quiet:${nth} is a crash while nothing went on by itself, after entry ${this.rules.entries.length}`)
      handle.kill()
      return true
    }
    const host = new TestHost({
      seed: number, called: watch.called, ...(this.#now === undefined ? undefined : { startAt: this.#now }),
      quiesce: async () => {
        await quiesce()
        if (!handle.isDead && isStruck()) await new Promise(() => {})
      },
    })
    return new Process({
      ...this.#init, host, handle, isStruck, workflow: watch.of(workflow), services: services(host),
      nextVisit: () => visits.find((visit) => !this.#visited.has(visit) && this.rules.entries.length >= visit.at),
      visited: (visit) => { this.#visited.add(visit) },
    })
  }

  /** A function neither begins nor goes on in a process that is dead. */
  #call(handle: FaultStore, process: number, asked: AskedCall, role: Role, call: FunctionCall, run: () => unknown): unknown {
    if (handle.isDead) return new Promise(() => {})
    const { attempt, idempotencyKey } = call
    this.rules.executed({ role, key: asked.key ?? call.key, attempt, idempotencyKey, generation: asked.generation, process })
    const result = this.keys.watch(asked, role, call, run) as MaybePromise<unknown>
    if (!isPromise(result)) return result
    return result.then(
      (value) => (handle.isDead ? new Promise(() => {}) : value),
      (error: unknown) => (handle.isDead ? new Promise(() => {}) : Promise.reject(error)),
    )
  }

  #committed(batch: Batch): void {
    for (const { seq, bytes } of batch.entries ?? []) {
      const last = this.rules.entries.at(-1)
      if (seq !== (last?.seq ?? 0) + 1) this.rules.violation ??= new Error(`entry ${seq} was committed after entry ${last?.seq ?? 0}`)
      this.rules.committed(decodeEntry(seq, bytes, last?.hash ?? GENESIS))
      this.#bytes.push(bytes.slice())
    }
  }

  #tellCommit({ when, nth }: Strike, { entries = [] }: Batch): string {
    const word = `${when}:${nth}`
    let previous = this.rules.entries.at(-1)?.hash ?? GENESIS
    const steps: string[] = []
    for (const { seq, bytes } of entries) {
      const entry = decodeEntry(seq, bytes, previous)
      previous = entry.hash
      if (entry.kind === 'step_completed') steps.push(`step "${this.watch?.byKey.get(entry.key ?? '')?.name ?? entry.key}"${this.watch?.place(entry.key)}`)
    }
    if (steps.length === 0) return `${word} is a ${when === 'lost' ? 'lost answer' : 'crash'} ${when === 'before' ? 'before' : 'after'} a commit of ${entries.length} entries`
    return when === 'before'
      ? `${word} is a crash before the outcome of ${steps.join(', ')} was committed: its function was called again by the next process, ` +
        'and a value that it changes outside of itself was changed twice: return it instead'
      : `${word} is a ${when === 'lost' ? 'lost answer' : 'crash'} after the outcome of ${steps.join(', ')} was committed: its function was not run again in the replay, ` +
        'and a value that it changes outside of itself is lost: return it instead'
  }

  async #checkStore(store: RunStore): Promise<void> {
    const stored = await store.entries(0, 1000)
    if (stored.length !== Math.min(1000, this.#bytes.length)) throw new Error(`${this.#bytes.length} entries were committed, ${stored.length} are stored`)
    for (const [i, { seq, bytes }] of stored.entries()) {
      if (hex(bytes) !== hex(this.#bytes[i] as Uint8Array)) throw new Error(`entry ${seq} is not what was committed`)
    }
  }

  get seed(): string {
    return printSchedule(this.#schedule)
  }
}

/** What somebody outside does once the journal has `at` entries. Done again, with the same id, when the answer got lost. */
export interface Visit {
  readonly at: number
  act(process: { readonly handle: RunStore; readonly host: TestHost; readonly workflow: AnyWorkflow; readonly limits: Limits }): Promise<unknown>
}

interface ProcessInit extends Pick<TrialInit, 'workflow' | 'input' | 'quiesce' | 'limits' | 'takesEpoch' | 'stepsUseHostTime'> {
  readonly host: TestHost
  readonly handle: FaultStore
  readonly services: object
  /** Whether the schedule kills the process at this quiescent point. */
  readonly isStruck: () => boolean
  readonly nextVisit: () => Visit | undefined
  readonly visited: (visit: Visit) => void
}

/** From boot to death or to the end of the run. Nothing of it is waited for after its store is dead. */
class Process {
  readonly host: TestHost
  readonly #init: ProcessInit

  constructor(init: ProcessInit) {
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
      if (!(await this.#visit(driver))) return undefined
      const end = await this.#settle(driver.drive(), driver)
      if (end === undefined) return undefined
      switch (end.kind) {
        case 'parked':
          if (this.#init.nextVisit() !== undefined) break
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
        const given = typeof input === 'function' ? await (input as (store: RunStore) => MaybePromise<WorkflowInput<AnyWorkflow>>)(handle) : input
        await startRun(handle, host, limits, workflow, given, { id: RUN_ID })
        return true
      } catch (error) {
        // The caller's own retry: a start is idempotent.
        if (tries >= 3 || !isStepwellError(error) || !error.retryable) throw error
      }
    }
  }

  /** Somebody from outside does what is due; once more, whoever comes after a crash that took the answer. False: the process died. */
  async #visit(driver: Driver): Promise<boolean> {
    const { nextVisit, visited } = this.#init
    for (let visit = nextVisit(); visit !== undefined; visit = nextVisit()) {
      const answer = await this.#settle(visit.act(this.#init).then(() => true))
      if (answer === undefined) return false
      visited(visit)
      driver.poke().catch(() => {})
    }
    return true
  }

  /** Waits, and lets virtual time pass while nothing else happens; undefined when the process died meanwhile. */
  async #settle<T>(promise: Promise<T>, driver?: Driver): Promise<T | undefined> {
    const { host, handle, quiesce, stepsUseHostTime, isStruck } = this.#init
    let result: { readonly value: T } | { readonly error: unknown } | undefined
    promise.then((value) => { result = { value } }, (error: unknown) => { result = { error } })
    for (let idle = 0, turns = 0; ;) {
      await quiesce()
      if (handle.isDead) return undefined
      if (result !== undefined) {
        if ('error' in result) throw result.error
        return result.value
      }
      if (driver !== undefined && this.#init.nextVisit() !== undefined && !(await this.#visit(driver))) return undefined
      if (++turns > MAX_TURNS) throw new StepwellError('internal', 'nothing happens any more')
      if (host.isTurning || (!stepsUseHostTime && driver !== undefined && driver.liveness().steps.length > 0)) {
        idle = 0
        continue
      }
      const next = host.nextTimer
      if (++idle > 2 && next !== undefined) {
        if (isStruck()) return undefined
        host.advanceTo(next)
        idle = 0
      }
    }
  }
}
