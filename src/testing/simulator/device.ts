// A device with a browser: tabs that share one database and its locks, and that come and go. The adapter itself (web/) runs in
// Chromium in its own tests.

import { knowsVersion } from '../../define.ts'
import { cancelOutcome, requestCancel } from '../../engine/cancel.ts'
import { requestControl } from '../../engine/control.ts'
import { Driver } from '../../engine/drive.ts'
import { startRun } from '../../engine/start.ts'
import { StepwellError } from '../../errors.ts'
import { isEnded, isMidDrive } from '../../journal/record.ts'
import type { Batch, CommitAnswer, Page, RunStore, Table } from '../../store/store.ts'
import { Disk } from './disk.ts'
import type { Endpoint } from './network.ts'
import { type Ask, look, sendNote, settle } from './object.ts'
import type { Schedule } from './schedule.ts'
import { Actor, type Clock } from './world.ts'

const TABS = 2
/** A holder that has shown no sign of life for so long loses its lock. */
const STALE_MS = 60_000
const LOOK_MS = 120_000

interface Lock {
  holder: Tab
  readonly waiting: { readonly tab: Tab; readonly grant: () => void }[]
}

export class Device implements Endpoint {
  readonly schedule: Schedule
  readonly clock: Clock
  readonly disk: Disk
  readonly locks: Map<string, Lock> = new Map()
  tabs: Tab[] = []
  #opened = 0

  constructor(schedule: Schedule, clock: Clock) {
    this.schedule = schedule
    this.clock = clock
    this.disk = new Disk(schedule)
    for (let i = 0; i < TABS; i++) this.#open()
  }

  /** Whoever uses the page: any tab that is there and answers. */
  receive(request: unknown): Promise<unknown> {
    const { runId, ask } = request as { runId: string; ask: Ask }
    const live = this.tabs.filter((tab) => !tab.isFrozen)
    if (live.length === 0) return new Promise(() => {})
    return this.schedule.world.dice.pick(live).answer(runId, ask)
  }

  kill(tab: Tab): void {
    tab.kill()
    this.tabs = this.tabs.filter((other) => other !== tab)
    for (const [runId, lock] of this.locks) {
      const waiting = lock.waiting.filter((each) => each.tab !== tab)
      lock.waiting.splice(0, lock.waiting.length, ...waiting)
      if (lock.holder === tab) this.#pass(runId, lock)
    }
    const { world } = this.schedule
    world.post(world.platform, world.dice.between(10, 60_000), () => { if (this.tabs.length < TABS) this.#open() })
  }

  killAll(): void {
    for (const tab of this.tabs) this.kill(tab)
  }

  release(runId: string, tab: Tab): void {
    const lock = this.locks.get(runId)
    if (lock?.holder === tab) this.#pass(runId, lock)
  }

  acquire(runId: string, tab: Tab): Promise<void> {
    const lock = this.locks.get(runId)
    if (lock === undefined) {
      this.locks.set(runId, { holder: tab, waiting: [] })
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      lock.waiting.push({ tab, grant: resolve })
      tab.timer(STALE_MS, () => { this.#steal(runId, tab) })
    })
  }

  #steal(runId: string, tab: Tab): void {
    const lock = this.locks.get(runId)
    const at = lock?.waiting.findIndex((each) => each.tab === tab) ?? -1
    if (lock === undefined || at === -1) return
    if (!lock.holder.isFrozen) {
      tab.timer(STALE_MS, () => { this.#steal(runId, tab) })
      return
    }
    const [next] = lock.waiting.splice(at, 1)
    const old = lock.holder
    lock.holder = tab
    this.schedule.world.post(old, 0, () => { old.stolen(runId) })
    next?.grant()
  }

  #pass(runId: string, lock: Lock): void {
    const next = lock.waiting.shift()
    if (next === undefined) {
      this.locks.delete(runId)
      return
    }
    lock.holder = next.tab
    this.schedule.world.post(next.tab, 0, next.grant)
  }

  #open(): void {
    const tab = new Tab(this, this.#opened++)
    this.tabs.push(tab)
    for (const runId of this.disk.runs()) tab.keep(runId)
  }
}

class Tab extends Actor {
  readonly device: Device
  readonly #version: 1 | 2
  readonly #drivers = new Map<string, Driver>()
  readonly #kept = new Set<string>()
  readonly #inboxSeen = new Map<string, number>()
  readonly #pokes = new Map<string, () => void>()

  constructor(device: Device, number: number) {
    super(device.schedule.world, `tab ${number}`, 'browser', device.clock)
    this.device = device
    this.#version = device.schedule.version
  }

  async answer(runId: string, ask: Ask): Promise<unknown> {
    const { schedule } = this.device
    const store = new TabStore(this, runId)
    switch (ask.ask) {
      case 'start': {
        const definition = this.device.schedule.workflows(this.#version).get(ask.workflow)
        if (definition === undefined) throw new StepwellError('not_registered', 'unknown')
        await startRun(store, this, schedule.limits, definition, ask.input, { ...ask.options, id: runId })
        break
      }
      case 'look': {
        await store.read()
        const view = look(this.device.disk.record(runId))
        this.keep(runId)
        return view
      }
      case 'cancel': {
        const asked = await requestCancel(store, this.now(), { undo: ask.undo })
        if (asked.outcome === 'ended') return asked
        this.#poke(runId)
        // It may have ended while the message was on its way.
        return cancelOutcome(store)
      }
      case 'control': {
        const outcome = await requestControl(store, this.now(), ask.request, 'person')
        this.#poke(runId)
        return outcome
      }
      case 'signal': {
        const outcome = await sendNote(schedule, store, this, this.#version, ask.note)
        this.#poke(runId)
        return outcome
      }
      case 'settle': {
        const outcome = await settle(schedule, store, this, this.#version, ask)
        this.#poke(runId)
        return outcome
      }
    }
    this.keep(runId)
    return undefined
  }

  stolen(runId: string): void {
    void this.#drivers.get(runId)?.stop()
    this.#drivers.delete(runId)
  }

  /** Takes care of the run as long as this tab is there, together with the others. */
  keep(runId: string): void {
    if (this.#kept.has(runId)) return
    this.#kept.add(runId)
    void this.#keep(runId).finally(() => { this.#kept.delete(runId) })
  }

  #poke(runId: string): void {
    const driver = this.#drivers.get(runId)
    if (driver?.isDriving === true) void driver.poke()
    this.#pokes.get(runId)?.()
    this.keep(runId)
  }

  async #keep(runId: string): Promise<void> {
    const store = new TabStore(this, runId)
    for (let isFresh = true; ; isFresh = false) {
      try {
        const wait = await this.#look(store, isFresh)
        if (wait === undefined) return
        if (wait > 0) {
          await this.#idle(runId, wait)
          continue
        }
        await this.device.acquire(runId, this)
        // Another tab may have done it meanwhile.
        if ((await this.#look(store, isFresh)) !== 0) {
          this.device.release(runId, this)
          continue
        }
        this.#inboxSeen.set(runId, (await store.read())?.inbox ?? 0)
        const end = await this.#driver(runId, store).drive()
        this.device.release(runId, this)
        if (end.kind !== 'parked' && end.kind !== 'ended') await this.#idle(runId, end.kind === 'blocked' ? LOOK_MS : 1000)
      } catch {
        this.device.release(runId, this)
        await this.#idle(runId, 1000)
      }
    }
  }

  /** For how long there is nothing to do; undefined: for good. */
  async #look(store: RunStore, isFresh: boolean): Promise<number | undefined> {
    const row = await store.read()
    if (row === undefined) return undefined
    const record = this.device.disk.record(store.runId)
    if (record === undefined) return undefined
    // One that was there when it was driven last waits for something: a pause, for the end of what is being undone.
    const isNews = isFresh || row.inbox > (this.#inboxSeen.get(store.runId) ?? 0)
    const hasMessage = row.inbox > 0 && isNews && (await store.keys('inbox', { limit: 1 })).length > 0
    if (isEnded(record.status) && row.wakeAt === null && !hasMessage) return undefined
    const definition = this.device.schedule.workflows(this.#version).get(record.workflow)
    if (definition === undefined || !knowsVersion(definition, record.version)) return LOOK_MS
    if (hasMessage || isMidDrive(record)) return 0
    if (isFresh && record.blocked?.curable === true) return 0
    if (row.wakeAt === null) return LOOK_MS
    return Math.min(LOOK_MS * 30, Math.max(0, row.wakeAt - this.now()))
  }

  #driver(runId: string, store: RunStore): Driver {
    let driver = this.#drivers.get(runId)
    if (driver === undefined) {
      const { schedule, disk } = this.device
      driver = new Driver({
        store, host: this, registry: this.device.schedule.workflows(this.#version), limits: schedule.limits, takesEpoch: true,
        services: schedule.services(this, runId, disk), onEnd: (end) => schedule.tell(this, end),
      })
      this.#drivers.set(runId, driver)
    }
    return driver
  }

  #idle(runId: string, ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#pokes.set(runId, resolve)
      this.timer(ms, resolve)
    })
  }
}

const never = <T>(): Promise<T> => new Promise(() => {})

/** IndexedDB: every answer comes later, in order. */
class TabStore implements RunStore {
  readonly runId: string
  readonly #tab: Tab

  constructor(tab: Tab, runId: string) {
    this.#tab = tab
    this.runId = runId
  }

  read(): Promise<ReturnType<ReturnType<Disk['open']>['read']>> {
    return this.#later((store) => store.read())
  }
  entries(after: number, limit: number): Promise<ReturnType<ReturnType<Disk['open']>['entries']>> {
    return this.#later((store) => store.entries(after, limit))
  }
  last(): Promise<ReturnType<ReturnType<Disk['open']>['last']>> {
    return this.#later((store) => store.last())
  }
  row(table: Table, key: string): Promise<Uint8Array | undefined> {
    return this.#later((store) => store.row(table, key))
  }
  rows(table: Table, page: Page): Promise<ReturnType<ReturnType<Disk['open']>['rows']>> {
    return this.#later((store) => store.rows(table, page))
  }
  keys(table: Table, page: Page): Promise<readonly string[]> {
    return this.#later((store) => store.keys(table, page))
  }
  destroy(): Promise<void> {
    return this.#later((store) => { store.destroy() })
  }

  commit(batch: Batch): Promise<CommitAnswer> {
    const tab = this.#tab
    const { device } = tab
    const { disk, schedule } = device
    const { world } = schedule
    const write = (): CommitAnswer => {
      const answer = disk.commit(this.runId, batch, tab)
      if (batch.durability === 'strict') disk.flush()
      else disk.flushSoon(world, world.dice.between(100, 5000))
      return answer
    }
    return new Promise((resolve, reject) => {
      world.post(tab, world.dice.below(3), () => {
        const fault = schedule.plan.strike(tab, 'browser', batch)
        switch (fault) {
          case 'crash before':
            device.kill(tab)
            return
          case 'crash after': case 'deploy': case 'roll back':
            write()
            device.kill(tab)
            return
          case 'power loss':
            write()
            device.killAll()
            disk.losePower((n) => world.dice.below(n + 1))
            return
          case 'storage lost':
            device.killAll()
            disk.wipe()
            return
          case 'store fails': return reject(new StepwellError('store_unavailable', 'the store fails'))
          case 'quota': return reject(new StepwellError('quota_exceeded', 'the store is full'))
          case 'not written': return resolve({ kind: 'unknown', error: new Error('not written') })
          case 'answer lost':
            write()
            return resolve({ kind: 'unknown', error: new Error('the answer was lost') })
          case 'hang':
            if (world.dice.chance(0.5)) write()
            return
          case 'freeze before':
            schedule.freeze(tab)
            // Still the first of those that wait for the database: IndexedDB keeps the order in which transactions were made.
            world.post(tab, 0, () => { resolve(write()) }, 'database')
            return
          case 'freeze after': {
            const answer = write()
            schedule.freeze(tab)
            world.post(tab, 0, () => { resolve(answer) })
            return
          }
          default: return resolve(write())
        }
      }, 'database')
    })
  }

  #later<T>(run: (store: ReturnType<Disk['open']>) => T): Promise<T> {
    const tab = this.#tab
    if (tab.isDead) return never<T>()
    return new Promise((resolve, reject) => {
      tab.world.post(tab, tab.world.dice.below(2), () => {
        try {
          resolve(run(tab.device.disk.open(this.runId)))
        } catch (error) {
          reject(error as Error)
        }
      }, 'database')
    })
  }
}
