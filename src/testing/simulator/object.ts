// A Durable Object as the edge host uses it: one instance at a time over synchronous storage, an output gate, an alarm, and a platform
// that may replace the instance at any moment. The adapter itself (worker/) runs in workerd in its own tests.

import type { ControlRequest, Settlement, SignalOutcome, StartOptions } from '../../client.ts'
import { cancelOutcome, requestCancel } from '../../engine/cancel.ts'
import { requestControl } from '../../engine/control.ts'
import { settleDeferred } from '../../engine/deferred.ts'
import { type DriveEnd, Driver } from '../../engine/drive.ts'
import { sendSignal } from '../../engine/send.ts'
import { startRun } from '../../engine/start.ts'
import { StepwellError } from '../../errors.ts'
import { isMidDrive, type RunRecord } from '../../journal/record.ts'
import type { Batch, CommitAnswer, MaybePromise, Page, RunStore, Table } from '../../store/store.ts'
import { Disk } from './disk.ts'
import type { Endpoint } from './network.ts'
import { SIGNAL } from './program.ts'
import type { Schedule } from './schedule.ts'
import { Actor, type Clock } from './world.ts'

/** What anyone may ask of a run. */
export type Ask =
  | { readonly ask: 'start'; readonly workflow: string; readonly input: unknown; readonly options: StartOptions }
  | { readonly ask: 'look' }
  | { readonly ask: 'cancel'; readonly undo: boolean }
  | { readonly ask: 'control'; readonly request: ControlRequest }
  | { readonly ask: 'signal'; readonly note: number }
  | { readonly ask: 'settle'; readonly id: string; readonly token: string; readonly settlement: Settlement }

/** What somebody sees who looks at a run. */
export type Look = Pick<RunRecord, 'status' | 'blocked' | 'waitingFor'>

export function look(record: RunRecord | undefined): Look {
  if (record === undefined) throw new StepwellError('run_not_found', 'there is no such run')
  return { status: record.status, blocked: record.blocked, waitingFor: record.waitingFor }
}

/** Sends it, under one id however often it is sent. */
export function sendNote(schedule: Schedule, store: RunStore, actor: Actor, version: 1 | 2, note: number): Promise<SignalOutcome> {
  return sendSignal({ store, host: actor, limits: schedule.limits, principal: 'person' }, schedule.workflows(version), { name: SIGNAL, payload: { note }, id: `note ${note}` })
}

export function settle(schedule: Schedule, store: RunStore, actor: Actor, version: 1 | 2, { id, token, settlement }: Extract<Ask, { ask: 'settle' }>): Promise<SignalOutcome> {
  return settleDeferred({ store, host: actor, limits: schedule.limits, principal: 'person' }, schedule.workflows(version), id, token, settlement)
}

export class SimulatedObject implements Endpoint {
  readonly runId: string
  readonly disk: Disk
  readonly clock: Clock
  readonly schedule: Schedule
  #instance: Instance | undefined
  #alarm: number | undefined
  #failures = 0

  constructor(schedule: Schedule, runId: string, clock: Clock) {
    this.schedule = schedule
    this.runId = runId
    this.clock = clock
    this.disk = new Disk(schedule)
  }

  receive(request: unknown): Promise<unknown> {
    const instance = this.#live()
    return instance.answer(request as Ask).then(
      (value) => this.disk.flushed().then(() => value),
      (error: unknown) => this.disk.flushed().then(() => Promise.reject(error)),
    ).then((value) => instance.actor.isDead ? new Promise(() => {}) : value)
  }

  /** The platform replaces it: its code was updated, its machine goes down. */
  replace(): void {
    this.#instance?.actor.kill()
    this.#instance = undefined
  }

  losePower(): void {
    const { dice } = this.schedule.world
    this.replace()
    this.disk.losePower((n) => dice.below(n + 1))
    const wakeAt = this.disk.open(this.runId).read()?.wakeAt
    this.#alarm = undefined
    if (wakeAt != null) this.arm(wakeAt)
  }

  arm(at: number): void {
    this.#alarm = at
    const { world } = this.schedule
    world.post(world.platform, Math.max(0, at - this.#now()), () => { this.#ring(at) })
  }

  #now(): number {
    return new Actor(this.schedule.world, '', 'edge', this.clock).now()
  }

  #ring(at: number): void {
    if (this.#alarm !== at) return
    // The clock was set back meanwhile.
    if (this.#now() < at) return this.arm(at)
    this.#alarm = undefined
    const instance = this.#live()
    try {
      instance.alarm()
    } catch {
      this.arm(this.#now() + this.#backoff())
    }
  }

  #backoff(): number {
    return Math.min(300_000, 1000 * 2 ** Math.min(16, this.#failures++))
  }

  /** One that does not answer is replaced: what it still tries is refused. */
  #live(): Instance {
    if (this.#instance?.actor.isFrozen === true) {
      this.#instance.isFenced = true
      this.#instance = undefined
    }
    return (this.#instance ??= new Instance(this))
  }

  ended(end: DriveEnd): void {
    if (end.kind === 'unavailable') this.arm(this.#now() + this.#backoff())
    else this.#failures = 0
  }
}

class Instance {
  readonly actor: Actor
  readonly object: SimulatedObject
  readonly store: ObjectStore
  isFenced = false
  #driver: Driver
  #wasUnblocked = false

  constructor(object: SimulatedObject) {
    const { schedule, runId, clock } = object
    this.object = object
    this.actor = new Actor(schedule.world, `object ${runId}`, 'edge', clock)
    this.store = new ObjectStore(this)
    this.#driver = new Driver({
      store: this.store, host: this.actor, registry: schedule.workflows(schedule.version), limits: schedule.limits, takesEpoch: false,
      services: schedule.services(this.actor, runId, object.disk, object.disk), onEnd: (end) => schedule.tell(this.actor, end, object.disk),
    })
  }

  async answer(request: Ask): Promise<unknown> {
    const { schedule, runId } = this.object
    switch (request.ask) {
      case 'start': {
        const definition = schedule.workflows(schedule.version).get(request.workflow)
        if (definition === undefined) throw new StepwellError('not_registered', 'unknown')
        await startRun(this.store, this.actor, schedule.limits, definition, request.input, { ...request.options, id: runId })
        this.#touch()
        return undefined
      }
      case 'look': {
        this.#touch()
        return look(this.object.disk.record(this.object.runId))
      }
      case 'cancel': {
        const asked = await requestCancel(this.store, this.actor.now(), { undo: request.undo })
        if (asked.outcome === 'ended') return asked
        this.#poke()
        // It may have ended while the message was on its way.
        return cancelOutcome(this.store)
      }
      case 'control': {
        const outcome = await requestControl(this.store, this.actor.now(), request.request, 'person')
        this.#poke()
        return outcome
      }
      case 'signal': {
        const outcome = await sendNote(schedule, this.store, this.actor, schedule.version, request.note)
        this.#poke()
        return outcome
      }
      case 'settle': {
        const outcome = await settle(schedule, this.store, this.actor, schedule.version, request)
        this.#poke()
        return outcome
      }
    }
  }

  alarm(): void {
    const row = this.store.read()
    if (row === undefined || row instanceof Promise) return
    const isDriving = this.#driver.isDriving
    if (!isDriving && !this.#isDue()) {
      if (row.wakeAt !== null) this.object.arm(row.wakeAt)
      return
    }
    this.object.arm(this.actor.now() + this.object.schedule.limits.recoveryMs)
    if (!isDriving) this.#poke()
  }

  #touch(): void {
    if (!this.#driver.isDriving && this.#isDue()) this.#poke()
  }

  #isDue(): boolean {
    const row = this.store.read()
    if (row === undefined || row instanceof Promise) return false
    const record = this.object.disk.record(this.object.runId) as RunRecord
    if (isMidDrive(record)) return true
    if (row.wakeAt !== null && row.wakeAt <= this.actor.now()) return true
    if (record.blocked?.curable === true && !this.#wasUnblocked) {
      this.#wasUnblocked = true
      return true
    }
    return this.object.disk.open(this.object.runId).keys('inbox', { limit: 1 }).length > 0
  }

  #poke(): void {
    void this.#driver.poke().then((end) => { if (!this.actor.isDead && !this.isFenced) this.object.ended(end) })
  }
}

const never = <T>(): Promise<T> => new Promise(() => {})

class ObjectStore implements RunStore {
  readonly runId: string
  readonly #instance: Instance

  constructor(instance: Instance) {
    this.runId = instance.object.runId
    this.#instance = instance
  }

  read(): MaybePromise<ReturnType<ReturnType<Disk['open']>['read']>> {
    return this.#do((store) => store.read())
  }
  entries(after: number, limit: number): ReturnType<RunStore['entries']> {
    return this.#do((store) => store.entries(after, limit))
  }
  last(): ReturnType<RunStore['last']> {
    return this.#do((store) => store.last())
  }
  row(table: Table, key: string): ReturnType<RunStore['row']> {
    return this.#do((store) => store.row(table, key))
  }
  rows(table: Table, page: Page): ReturnType<RunStore['rows']> {
    return this.#do((store) => store.rows(table, page))
  }
  keys(table: Table, page: Page): ReturnType<RunStore['keys']> {
    return this.#do((store) => store.keys(table, page))
  }
  destroy(): MaybePromise<void> {
    return this.#do((store) => { store.destroy() })
  }

  flush(): Promise<void> {
    const { actor, object } = this.#instance
    return object.disk.flushed().then(() => actor.isDead ? never() : undefined)
  }

  commit(batch: Batch): MaybePromise<CommitAnswer> {
    const { actor, object, isFenced } = this.#instance
    const { disk, schedule } = object
    if (actor.isDead) return never()
    if (isFenced) throw new StepwellError('store_unavailable', 'this object was replaced')
    const fault = schedule.plan.strike(actor, 'edge', batch)
    const write = (): CommitAnswer => {
      const answer = disk.commit(this.runId, batch, actor)
      if (answer.kind !== 'committed') return answer
      const wakeAt = disk.open(this.runId).read()?.wakeAt
      if ((batch.row !== undefined || batch.wakeBy !== undefined) && wakeAt != null) object.arm(wakeAt)
      disk.flushSoon(schedule.world, schedule.world.dice.below(10))
      return answer
    }
    switch (fault) {
      case 'crash before': case 'hang': case 'storage lost': case 'freeze before':
        object.replace()
        return never()
      case 'crash after': case 'deploy': case 'roll back':
        write()
        disk.flush()
        object.replace()
        return never()
      case 'power loss':
        write()
        object.losePower()
        return never()
      case 'store fails': throw new StepwellError('store_unavailable', 'the store fails')
      case 'quota': throw new StepwellError('quota_exceeded', 'the store is full')
      case 'not written': return { kind: 'unknown', error: new Error('not written') }
      case 'answer lost':
        write()
        return { kind: 'unknown', error: new Error('the answer was lost') }
      case 'freeze after': {
        const answer = write()
        schedule.freeze(actor)
        return answer
      }
      default: return write()
    }
  }

  #do<T>(run: (store: ReturnType<Disk['open']>) => T): MaybePromise<T> {
    const { actor, object, isFenced } = this.#instance
    if (actor.isDead) return never<T>()
    if (isFenced) throw new StepwellError('store_unavailable', 'this object was replaced')
    return run(object.disk.open(this.runId))
  }
}
