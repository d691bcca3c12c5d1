// Drivers and stores of runs under a test host, on any store: what the kit is made of, and what tests of the engine steer by hand.

import type { ControlOutcome, ControlRequest, Settlement, SignalOutcome, StartOptions } from '../client.ts'
import { type AnyWorkflow, registry, type WorkflowInput } from '../define.ts'
import { type DriveEnd, Driver, type Liveness } from '../engine/drive.ts'
import { requestControl } from '../engine/control.ts'
import { settleDeferred } from '../engine/deferred.ts'
import type { OnEnd } from '../engine/notice.ts'
import { clearSignals, sendSignal, type SignalRequest } from '../engine/send.ts'
import { startId, startRun } from '../engine/start.ts'
import { requestCancel } from '../engine/cancel.ts'
import { type Redact, StepwellError } from '../errors.ts'
import { type RunSummary, summary } from '../journal/summary.ts'
import { limits, type Limits } from '../limits.ts'
import { isPromise, type MaybePromise, type RunStore } from '../store/store.ts'
import type { TestHost } from './test-host.ts'

export interface TestRunsOptions {
  readonly host: TestHost
  /** A handle on the run's store; called again after a crash. */
  readonly open: (runId: string) => MaybePromise<RunStore>
  readonly workflows: readonly AnyWorkflow[]
  readonly services?: object
  readonly limits?: Partial<Limits>
  /** As a browser does: each drive takes the next epoch. Default true. */
  readonly takesEpoch?: boolean
  /** Default: `maskSecrets`, as on every host. */
  readonly redact?: Redact
  /** Told of the end of every run at least once, as on every host. */
  readonly onEnd?: OnEnd
  /** Let virtual time move on also while steps run: for steps that wait for nothing but this host's timers. */
  readonly stepsUseHostTime?: boolean
  /** Virtual time stands still while the store works: for a real one that answers later, where every commit would time out. */
  readonly storeUsesRealTime?: boolean
}

export class TestRuns {
  readonly host: TestHost
  #options: TestRunsOptions
  #limits: Limits
  #drivers = new Map<string, Driver>()
  #stores = new Map<string, RunStore>()
  #working = 0

  constructor(options: TestRunsOptions) {
    this.host = options.host
    this.#options = options
    this.#limits = limits(options.limits)
  }

  /** The id of the started run, and whether it is new. Nothing is driven yet. */
  async start<D extends AnyWorkflow>(definition: D, input: WorkflowInput<D>, options: StartOptions = {}): Promise<{ id: string; created: boolean }> {
    const id = startId(definition.name, options, (n) => this.host.random(n))
    const { created } = await startRun(await this.store(id), this.host, this.#limits, definition, input, options)
    return { id, created }
  }

  async store(id: string): Promise<RunStore> {
    let store = this.#stores.get(id)
    if (store === undefined) {
      store = this.#counted(await this.#options.open(id))
      this.#stores.set(id, store)
    }
    return store
  }

  /** The same store, and how much it has under way. */
  #counted(store: RunStore): RunStore {
    const counted = <A extends unknown[], R>(call: (...args: A) => MaybePromise<R>) => (...args: A): MaybePromise<R> => {
      const answer = call(...args)
      if (!isPromise(answer)) return answer
      this.#working++
      return answer.finally(() => this.#working--)
    }
    return {
      runId: store.runId,
      read: counted(() => store.read()), entries: counted((after, limit) => store.entries(after, limit)), last: counted(() => store.last()),
      row: counted((table, key) => store.row(table, key)), rows: counted((table, page) => store.rows(table, page)),
      keys: counted((table, page) => store.keys(table, page)), commit: counted((batch) => store.commit(batch)),
      ...(store.flush === undefined ? undefined : { flush: counted(() => store.flush?.()) }), destroy: counted(() => store.destroy()),
    }
  }

  /** Calls of stores that have not answered. */
  get working(): number {
    return this.#working
  }

  /** Functions that have not answered, of all runs. */
  get steps(): Liveness['steps'] {
    return [...this.#drivers.values()].flatMap((driver) => driver.liveness().steps)
  }

  async driver(id: string): Promise<Driver> {
    let driver = this.#drivers.get(id)
    if (driver === undefined) {
      driver = new Driver({
        store: await this.store(id), host: this.host, registry: registry(this.#options.workflows), services: this.#options.services ?? {},
        limits: this.#limits, takesEpoch: this.#options.takesEpoch ?? true, redact: this.#options.redact, onEnd: this.#options.onEnd,
      })
      this.#drivers.set(id, driver)
    }
    return driver
  }

  /** One drive. Time moves on by itself while nothing but a timer is waited for. */
  async drive(id: string): Promise<DriveEnd> {
    const driver = await this.driver(id)
    const end = driver.drive()
    let result: DriveEnd | undefined
    end.then((value) => { result = value }, () => {})
    for (let idle = 0; result === undefined;) {
      await this.host.quiesce()
      // The engine has not come to rest, or a live step may wait for the real world: time stands still meanwhile.
      if (result !== undefined || this.host.isTurning || (this.#options.storeUsesRealTime === true && this.#working > 0) || (this.#options.stepsUseHostTime !== true && driver.liveness().steps.length > 0)) {
        idle = 0
        continue
      }
      const next = this.host.nextTimer
      if (++idle > 2 && next !== undefined) this.host.advanceTo(next)
    }
    return end
  }

  /** Drives and lets time pass until the run has ended, and its end was told, or until it is blocked. */
  async settle(id: string): Promise<DriveEnd> {
    for (let i = 0; i < 100_000; i++) {
      const end = await this.drive(id)
      if (end.kind === 'parked') {
        if (end.wakeAt === null) return end
        this.host.advanceTo(end.wakeAt)
        continue
      }
      if (end.kind === 'ended' && end.wakeAt !== undefined) {
        this.host.advanceTo(end.wakeAt)
        continue
      }
      return end
    }
    throw new StepwellError('internal', `run ${id} did not settle`)
  }

  /** Starts and settles: the summary at the end. */
  async run<D extends AnyWorkflow>(definition: D, input: WorkflowInput<D>, options: StartOptions = {}): Promise<RunSummary> {
    const { id } = await this.start(definition, input, options)
    await this.settle(id)
    return this.summary(id)
  }

  async summary(id: string): Promise<RunSummary> {
    return summary(await this.store(id))
  }

  async cancel(id: string, reason?: string, options: { readonly undo?: boolean; readonly principal?: string } = {}): Promise<void> {
    await requestCancel(await this.store(id), this.host.now(), { ...(reason === undefined ? undefined : { reason }), ...options })
    this.#drivers.get(id)?.poke().catch(() => {})
  }

  /** Pauses, resumes, restarts, retries or resolves; whoever drives acts on it. */
  async control(id: string, request: ControlRequest, principal?: string): Promise<ControlOutcome> {
    const outcome = await requestControl(await this.store(id), this.host.now(), request, principal)
    this.#drivers.get(id)?.poke().catch(() => {})
    return outcome
  }

  /** Sends a signal; whoever drives takes it. */
  async signal(id: string, request: SignalRequest, principal?: string): Promise<SignalOutcome> {
    const outcome = await sendSignal({ store: await this.store(id), host: this.host, limits: this.#limits, principal }, registry(this.#options.workflows), request)
    this.#drivers.get(id)?.poke().catch(() => {})
    return outcome
  }

  async clearSignals(id: string, name: string): Promise<{ readonly cleared: number }> {
    return clearSignals({ store: await this.store(id), host: this.host, limits: this.#limits, principal: undefined }, name)
  }

  /** Settles a deferred; whoever drives takes it. */
  async settleDeferred(id: string, deferred: string, token: string, settlement: Settlement, principal?: string): Promise<SignalOutcome> {
    const outcome = await settleDeferred({ store: await this.store(id), host: this.host, limits: this.#limits, principal }, registry(this.#options.workflows), deferred, token, settlement)
    this.#drivers.get(id)?.poke().catch(() => {})
    return outcome
  }

  /** Forgets all that is in memory of a run, as a crash does. What its steps have under way goes on in the void. */
  async crash(id: string): Promise<void> {
    const driver = this.#drivers.get(id)
    this.#drivers.delete(id)
    this.#stores.delete(id)
    await driver?.stop()
  }
}
