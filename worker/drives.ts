// Keeps the run of one object driven: on every entry, request or alarm, looks at the stored row, drives a run that should be driven and
// sets an alarm that got lost (G29, platform fact 34). It keeps nothing in memory that the database does not hold.

import type { Registry } from '../src/define.ts'
import { type DriveEnd, Driver, type Liveness } from '../src/engine/drive.ts'
import type { RunEnd } from '../src/engine/notice.ts'
import { isStepwellError, type Redact, StepwellError } from '../src/errors.ts'
import { decodeRecord, isMidDrive } from '../src/journal/record.ts'
import { tombstoneOf } from '../src/journal/tombstone.ts'
import type { Limits } from '../src/limits.ts'
import type { RunRow } from '../src/store/store.ts'
import { Bell } from './bell.ts'
import type { EdgeHost } from './host.ts'
import type { SqliteStore } from './sqlite-store.ts'

export interface RunConfig<Env> {
  readonly registry: Registry
  /** Called once for each object that drives. */
  readonly services: (env: Env) => object
  readonly limits: Limits
  readonly redact: Redact | undefined
  readonly onEnd: ((end: RunEnd, env: Env) => void | Promise<void>) | undefined
}

/** A row of a newer version is looked at so often: it takes a deploy. */
const UNREADABLE_MS = 24 * 3_600_000
const BACKOFF_MS = 1000
const MAX_BACKOFF_MS = 5 * 60_000

export interface DrivesInit<Env> {
  readonly ctx: DurableObjectState
  readonly env: Env
  readonly host: EdgeHost
  readonly config: RunConfig<Env>
}

export class Drives<Env> {
  readonly #init: DrivesInit<Env>
  /** Rung when a drive is over and not at every commit, which a step should not pay for. */
  readonly ends: Bell
  /** Rung when there are events, or an end that says that there will be none. */
  readonly events: Bell
  #driver: Driver | undefined
  /** Drives in a row that the store or the configuration has stopped. */
  #failures = 0
  /** Alarms of the drive that is under way. */
  #alarms = 0
  #wasUnblocked = false
  #wasAlarmChecked = false

  constructor(init: DrivesInit<Env>) {
    this.#init = init
    this.ends = new Bell(init.host)
    this.events = new Bell(init.host)
  }

  /** What is under way in this object, if anything is. */
  liveness(): Liveness | undefined {
    return this.#driver?.liveness()
  }

  /** Throws `host_misconfigured` when the services can't be made. */
  ready(store: SqliteStore): Driver {
    if (this.#driver !== undefined) return this.#driver
    let services: object
    try {
      services = this.#init.config.services(this.#init.env)
    } catch (cause) {
      this.log('error', '`services` threw', cause)
      throw new StepwellError('host_misconfigured', '`services(env)` threw: correct it, or the environment that it reads', { cause })
    }
    const { onEnd } = this.#init.config
    return (this.#driver = new Driver({
      store, host: this.#init.host, registry: this.#init.config.registry, services, limits: this.#init.config.limits, takesEpoch: false,
      redact: this.#init.config.redact, ended: () => this.#ended(), emitted: () => this.events.ring(),
      ...(onEnd === undefined ? undefined : { onEnd: (end) => onEnd(end, this.#init.env) }),
    }))
  }

  /** On every entry: drives what should be driven, and sets an alarm that should be there. */
  touch(store: SqliteStore): void {
    if (this.#driver?.isDriving === true) return
    try {
      const row = store.read()
      if (row === undefined) return
      if (this.#isDue(store, row)) this.poke(store)
      else if (row.wakeAt !== null && !this.#wasAlarmChecked) this.#init.ctx.waitUntil(this.#checkAlarm(store, row.wakeAt))
    } catch {
      // Damaged: named by whoever reads it.
    }
  }

  /** Begins a drive, or tells the one that is under way to look at the inbox. Never throws, never waits. */
  poke(store: SqliteStore): void {
    try {
      const driver = this.ready(store)
      if (driver.isDriving) {
        void driver.poke()
        return
      }
      this.#init.ctx.waitUntil(driver.poke().finally(() => { this.#alarms = 0 }).then((end) => this.#after(store, end)).catch((error: unknown) => this.log('error', 'a drive failed', error)))
    } catch (error) {
      this.#init.ctx.waitUntil(this.#retry(store, error))
    }
  }

  /**
   * Sets its successor first, starts the drive and returns (G29). It throws only when no successor could be set: then the platform
   * repeats it. A wake that the row does not call for (platform fact 30) sets the alarm that it does call for.
   */
  async alarm(store: SqliteStore): Promise<void> {
    const isDriving = this.#driver?.isDriving === true
    let row: RunRow | undefined
    let isDue = isDriving
    try {
      row = store.read()
      if (row !== undefined && !isDriving) isDue = this.#isDue(store, row)
    } catch (error) {
      this.log('error', 'the run can\'t be read', error)
      // A damaged row needs a person; one of a newer version needs a deploy; a store that does not answer needs time.
      if (!isStepwellError(error) || error.kind !== 'integrity') await store.arm(this.#init.host.now() + this.#backoff())
      else if (error.code === 'format_too_new') await store.arm(this.#init.host.now() + UNREADABLE_MS)
      return
    }
    if (row === undefined) return this.#clear(store)
    if (!isDue) {
      if (row.wakeAt !== null) await store.arm(row.wakeAt)
      return
    }
    // While a drive goes on, ever more rarely: at the worst, a crash costs as much time again as the drive has already taken.
    await store.arm(this.#init.host.now() + this.#init.config.limits.recoveryMs * 2 ** Math.min(3, this.#alarms++))
    if (!isDriving) this.poke(store)
  }

  /** Whether somebody should drive this run now, or go on to remove it. Throws what is wrong with its row. */
  #isDue(store: SqliteStore, row: RunRow): boolean {
    const isTime = row.wakeAt !== null && row.wakeAt <= this.#init.host.now()
    if (tombstoneOf(row) !== undefined) return isTime
    const record = decodeRecord(row)
    if (isMidDrive(record) || isTime) return true
    if (record.blocked?.curable === true && !this.#wasUnblocked) {
      // This instance may be the deploy that cures it.
      this.#wasUnblocked = true
      return true
    }
    return store.keys('inbox', { limit: 1 }).length > 0
  }

  async #checkAlarm(store: SqliteStore, wakeAt: number): Promise<void> {
    this.#wasAlarmChecked = true
    try {
      const alarm = await this.#init.ctx.storage.getAlarm()
      if (alarm === null || alarm > wakeAt) await store.arm(wakeAt)
    } catch (error) {
      this.log('warn', 'the alarm could not be checked', error)
    }
  }

  async #after(store: SqliteStore, end: DriveEnd): Promise<void> {
    this.#ended()
    if (end.kind === 'unavailable') return this.#retry(store, end.error)
    this.#failures = 0
    if (end.kind === 'blocked') this.#wasUnblocked = true
    if (end.kind === 'superseded') this.log('warn', 'another authority drives this run', undefined)
  }

  #ended(): void {
    this.ends.ring()
    this.events.ring()
  }

  /** Our own back-off. When not even the alarm can be set, the one of the last commit still stands. */
  async #retry(store: SqliteStore, error: unknown): Promise<void> {
    this.log('error', 'the run could not be driven and will be tried again', error)
    try {
      await store.arm(this.#init.host.now() + this.#backoff())
    } catch (failed) {
      this.log('error', 'the alarm could not be set', failed)
    }
  }

  /** Nothing ever started here: what there is are blobs that no start referred to in time. */
  async #clear(store: SqliteStore): Promise<void> {
    try {
      await store.destroy()
    } catch (error) {
      this.log('error', 'blobs of a run that was never started can\'t be removed', error)
      await store.arm(this.#init.host.now() + this.#backoff())
    }
  }

  #backoff(): number {
    return Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** Math.min(16, this.#failures++))
  }

  log(level: 'warn' | 'error', message: string, error: unknown): void {
    const said = isStepwellError(error) ? { code: error.code, message: error.message } : error instanceof Error ? { name: error.name, message: error.message } : undefined
    this.#init.host.log({ level, runId: this.#init.ctx.id.name ?? '', message, ...(said === undefined ? undefined : { data: said }) })
  }
}
