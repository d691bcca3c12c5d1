// Which runs this tab drives: takes the run's lock, makes sure that the run is due and known here, drives it, gives the lock
// back.

import { knowsVersion, type Registry } from '../src/define.ts'
import { type DriveEnd, Driver, type Liveness } from '../src/engine/drive.ts'
import type { OnEnd } from '../src/engine/notice.ts'
import { isExpired, isOwing } from '../src/engine/sweep.ts'
import { isStepwellError, type Redact } from '../src/errors.ts'
import { loadFast } from '../src/hash.ts'
import type { Host } from '../src/host.ts'
import { decodeRecord, isEnded, isMidDrive, type RunRecord } from '../src/journal/record.ts'
import { type Tombstone, tombstoneOf } from '../src/journal/tombstone.ts'
import type { Limits } from '../src/limits.ts'
import { earlier, type RunRow, type RunStore, type Shelf } from '../src/store/store.ts'
import { Heartbeat } from './heartbeat.ts'
import type { Hints } from './hints.ts'
import type { RunLock, RunLocks } from './locks.ts'
import { type Look, type Visit, type VisitOptions, Wake } from './wake.ts'

export interface DrivesInit {
  readonly database: string
  readonly shelf: Shelf
  readonly host: Host
  readonly registry: Registry
  readonly services: object
  readonly limits: Limits
  readonly redact: Redact | undefined
  readonly onEnd: OnEnd | undefined
  readonly locks: RunLocks
  readonly hints: Hints
  readonly maxDrives: number
}

/** Locks that this tab waits for at most. Runs beyond are looked at from time to time. */
const MAX_WAITS = 512
const CROWDED_MS = 5_000
/** Another tab told that it changed a run. If it still drives it after this long, this tab stands in line to take over. */
const STAND_IN_MS = 1_000

/**
 * So many commits in this page, and the faster hash is loaded: it saves a tenth of a step and more, and costs 20 kB and, where the
 * page's policy forbids WebAssembly, one report of a violation. A page that drives little never asks.
 */
const FAST_HASH_AFTER = 100

/** What a run's row says: due now if its lock is free, at a time, ended or gone, or not for this tab. */
type Seen =
  | { readonly kind: 'due'; readonly isTimer: boolean; readonly inbox: number }
  | { readonly kind: 'at'; readonly at: number | null }
  | { readonly kind: 'over' }
  | { readonly kind: 'foreign' }

interface Wait extends AbortController {
  /** The page that had the lock when this one got in line. */
  holder?: string | undefined
}

export class Drives {
  readonly wake: Wake
  readonly #heartbeat: Heartbeat
  readonly #init: DrivesInit
  readonly #held = new Map<string, RunLock>()
  readonly #driving = new Map<string, Driver>()
  /** Whose store failed. Their steps may still be running, and the next drive here adopts them. */
  readonly #kept = new Map<string, Driver>()
  readonly #waits = new Map<string, Wait>()
  /** Granted by waiting, not yet used. */
  readonly #granted = new Map<string, RunLock>()
  /** The inbox number when this tab last began to drive a run: what is still there is no reason to drive it once more. */
  readonly #inboxSeen = new Map<string, number>()
  readonly #reported = new Set<string>()
  readonly #standIn = new Map<string, ReturnType<typeof setTimeout>>()
  readonly #unlisten: () => void
  #changes = 0

  constructor(init: DrivesInit) {
    this.#init = init
    this.wake = new Wake({
      shelf: init.shelf, host: init.host, maxDrives: init.maxDrives,
      visit: (runId, options) => this.#visit(runId, options),
      look: async (runId) => this.#lookOf(await this.#see(runId, { isOpening: true })),
      onLook: () => {
        // A message whose hint was lost is found here.
        for (const driver of this.#driving.values()) void driver.poke()
      },
    })
    this.#heartbeat = new Heartbeat({
      database: init.database, host: init.host, patienceMs: init.limits.recoveryMs,
      holds: (runId) => this.#held.has(runId) || this.#granted.has(runId),
      onSilence: (runId) => void this.#abandoned(runId).catch((error: unknown) => this.#watch(runId, 'its lock could not be taken', error)),
    })
    this.#unlisten = init.hints.listen((hint, isLocal) => {
      if (!isLocal) for (const runId of hint.runIds) this.#told(hint.kind, runId)
    })
  }

  /** Live steps of a run that this tab drives. */
  liveness(runId: string): Liveness | undefined {
    return this.#driving.get(runId)?.liveness()
  }

  /** A message was posted: whoever drives the run reads it now; if nobody does, this tab does. */
  poke(runId: string): void {
    const driver = this.#driving.get(runId)
    if (driver !== undefined) void driver.poke()
    else {
      this.#init.hints.tell('posted', runId)
      this.wake.want(runId, { isPoked: true })
    }
  }

  /** Takes in every run that is not ended, and goes on until `stop`. Resolves when they are known. */
  open(): Promise<void> {
    this.#heartbeat.open()
    return this.wake.open()
  }

  /** Stops all drives as a crash would, and gives all locks back before it returns; resolves when nothing runs any more. */
  async stop(): Promise<void> {
    this.wake.close()
    this.#heartbeat.close()
    for (const timer of this.#standIn.values()) clearTimeout(timer)
    this.#standIn.clear()
    for (const wait of this.#waits.values()) wait.abort()
    this.#waits.clear()
    for (const lock of this.#granted.values()) lock.release()
    this.#granted.clear()
    const stopped = [...this.#driving.values(), ...this.#kept.values()].map((driver) => driver.stop())
    this.#driving.clear()
    this.#kept.clear()
    for (const lock of this.#held.values()) lock.release()
    this.#held.clear()
    await Promise.all(stopped)
  }

  /** Never to be used again. */
  async close(): Promise<void> {
    this.#unlisten()
    await this.stop()
  }

  #changed(runId: string): void {
    this.#init.hints.changed(runId)
    // JavaScript goes on hashing if it cannot be loaded; the digests are the same.
    if (++this.#changes === FAST_HASH_AFTER) void loadFast()
  }

  #told(kind: 'changed' | 'posted' | 'ended', runId: string): void {
    if (kind === 'posted') {
      void this.#driving.get(runId)?.poke()
      return
    }
    if (kind === 'ended') {
      clearTimeout(this.#standIn.get(runId))
      this.#standIn.delete(runId)
      return
    }
    const isMinded = this.#reported.has(runId) || this.#standIn.has(runId) || this.#waits.has(runId) || this.#held.has(runId)
    if (isMinded || !this.wake.isOpen) return
    this.#standIn.set(runId, setTimeout(() => {
      this.#standIn.delete(runId)
      this.wake.want(runId, {}, 2)
    }, STAND_IN_MS))
  }

  async #visit(runId: string, options: VisitOptions): Promise<Visit> {
    let lock = this.#granted.get(runId)
    this.#granted.delete(runId)
    try {
      // A run that this tab must not or need not drive is never locked: not even its epoch changes (G6).
      if (lock === undefined && options.isNew !== true && options.isSeen !== true) {
        const seen = await this.#see(runId, options)
        if (seen.kind !== 'due') return this.#notDue(runId, seen)
      }
      lock ??= await this.#init.locks.take(runId, () => this.#stolen(runId))
      if (lock === undefined) return this.#standInLine(runId)
      if (!this.wake.isOpen) return { kind: 'left' }
      this.#held.set(runId, lock)
      if (options.isNew !== true) {
        // Another tab may have driven it since it was read.
        const seen = await this.#see(runId, options)
        if (seen.kind !== 'due') return this.#notDue(runId, seen)
        if (seen.inbox > 0) this.#inboxSeen.set(runId, seen.inbox)
      }
      // Given back or stolen meanwhile.
      if (this.#held.get(runId) !== lock) return this.wake.isOpen ? this.#standInLine(runId) : { kind: 'left' }
      return await this.#drive(runId, lock)
    } catch (error) {
      this.#log(runId, 'the store could not be reached; it is tried again', error)
      return { kind: 'retry' }
    } finally {
      lock?.release()
      if (lock !== undefined && this.#held.get(runId) === lock) this.#held.delete(runId)
    }
  }

  async #drive(runId: string, lock: RunLock): Promise<Visit> {
    const { shelf, host, registry, services, limits, redact, onEnd, hints } = this.#init
    const store = shelf.open(runId)
    const driver = this.#kept.get(runId) ?? new Driver({
      store, host, registry, services, limits, redact, onEnd, takesEpoch: true, changed: () => this.#changed(runId), ended: () => hints.tell('ended', runId),
    })
    this.#kept.delete(runId)
    this.#driving.set(runId, driver)
    let end: DriveEnd
    // A message that came in the very moment in which a drive ended has begun another one.
    do end = await driver.drive()
    while (driver.isDriving)
    // From here on a poke asks for another visit, because the lock is about to be given back.
    const isOurs = this.#held.get(runId) === lock
    if (this.#driving.get(runId) === driver) this.#driving.delete(runId)
    switch (end.kind) {
      case 'ended':
        this.#inboxSeen.delete(runId)
        hints.tell('ended', runId)
        return { kind: 'at', at: earlier(end.expiresAt ?? null, end.wakeAt) }
      case 'absent':
        this.#inboxSeen.delete(runId)
        hints.tell('ended', runId)
        return { kind: 'at', at: null }
      case 'parked':
      case 'blocked':
        return { kind: 'at', at: end.wakeAt }
      case 'superseded':
        this.#log(runId, 'another tab drives it now')
        return { kind: 'retry', at: await this.#wakeAt(store) }
      case 'stopped':
        // Closed, or the lock was stolen: then the thief's lock is the one to wait for.
        return isOurs || !this.wake.isOpen ? { kind: 'left' } : this.#standInLine(runId)
      case 'unavailable':
        this.#log(runId, 'the store failed while it was driven; it is tried again', end.error)
        if (isOurs) this.#kept.set(runId, driver)
        return { kind: 'retry' }
    }
  }

  #stolen(runId: string): void {
    this.#log(runId, 'its lock was taken by another tab')
    this.#held.delete(runId)
    this.#granted.delete(runId)
    void this.#driving.get(runId)?.stop()
  }

  /** Another tab has the lock: it is waited for, so that this tab goes on when the other one dies. */
  #standInLine(runId: string): Visit {
    // The store failed here and another tab has gone on: what still runs here of it is abandoned.
    void this.#kept.get(runId)?.stop()
    this.#kept.delete(runId)
    if (this.#waits.has(runId)) return { kind: 'left' }
    if (this.#waits.size >= MAX_WAITS) return { kind: 'retry', at: this.#init.host.now() + CROWDED_MS }
    const wait: Wait = new AbortController()
    this.#waits.set(runId, wait)
    this.#watch(runId)
    void this.#init.locks.wait(runId, () => this.#stolen(runId), wait.signal).then((lock) => {
      if (this.#waits.get(runId) === wait) this.#leaveLine(runId)
      if (lock === undefined) return
      if (wait.signal.aborted || !this.wake.hasRoom) lock.release()
      else this.#granted.set(runId, lock)
      this.wake.want(runId)
    }, (error: unknown) => {
      this.#leaveLine(runId)
      this.#log(runId, 'its lock could not be waited for', error)
      this.wake.arm(this.#init.host.now() + CROWDED_MS)
    })
    return { kind: 'left' }
  }

  #leaveLine(runId: string): void {
    this.#waits.delete(runId)
    this.#heartbeat.forget(runId)
  }

  /** From here on the page that has the run's lock now must answer for it. */
  #watch(runId: string, message?: string, error?: unknown): void {
    if (message !== undefined) this.#log(runId, message, error)
    const wait = this.#waits.get(runId)
    if (wait === undefined) return
    wait.holder = undefined
    void this.#init.locks.holder(runId).then((holder) => {
      wait.holder = holder
      if (this.#waits.get(runId) === wait) this.#heartbeat.watch(runId)
    }, (failed: unknown) => this.#log(runId, 'nobody can say who has its lock', failed))
  }

  /** Who has its lock does not answer: frozen, most likely. Its lock is taken if there is something to do. */
  async #abandoned(runId: string): Promise<void> {
    const wait = this.#waits.get(runId)
    if (wait === undefined) return
    const seen = await this.#see(runId, {})
    // Another one in line may have been quicker. It answers for itself.
    const isSame = wait.holder !== undefined && wait.holder === await this.#init.locks.holder(runId)
    if (this.#waits.get(runId) !== wait) return
    if (seen.kind === 'foreign' || seen.kind === 'over') {
      this.#leaveLine(runId)
      wait.abort()
      return
    }
    if (seen.kind !== 'due' || !isSame || !this.wake.hasRoom) return this.#watch(runId)
    this.#log(runId, 'the tab that drives it does not answer: its lock is taken from it')
    this.#leaveLine(runId)
    wait.abort()
    const lock = await this.#init.locks.steal(runId, () => this.#stolen(runId))
    if (lock === undefined) return
    if (this.wake.isOpen) this.#granted.set(runId, lock)
    else lock.release()
    this.wake.want(runId)
  }

  #notDue(runId: string, seen: Exclude<Seen, { kind: 'due' }>): Visit {
    if (seen.kind === 'foreign') return { kind: 'left' }
    if (seen.kind === 'over') this.#inboxSeen.delete(runId)
    return { kind: 'at', at: seen.kind === 'at' ? seen.at : null }
  }

  #lookOf(seen: Seen): Look {
    if (seen.kind === 'due') return seen.isTimer ? 'timer' : 'due'
    return seen.kind === 'foreign' ? 'left' : 'later'
  }

  async #see(runId: string, options: VisitOptions): Promise<Seen> {
    const store = this.#init.shelf.open(runId)
    const row = await store.read()
    if (row === undefined) return { kind: 'over' }
    let record: RunRecord
    try {
      const tombstone = tombstoneOf(row)
      if (tombstone !== undefined) return this.#seeGrave(row, tombstone)
      record = decodeRecord(row)
    } catch (error) {
      return this.#foreign(runId, 'its row cannot be read here, so it is left alone', error)
    }
    // Ended, told, and nobody asks for more.
    if (isEnded(record.status) && row.wakeAt === null && !(await this.#hasMessage(store, row, options))) return { kind: 'over' }
    // Nothing but its sweep is left to do, for which nobody needs to know the workflow. Those that go on are driven before.
    if (isEnded(record.status) && row.wakeAt !== null && row.wakeAt === record.expiresAt && !await this.#hasMessage(store, row, options)) {
      if (!isExpired(record, this.#init.host.now())) return { kind: 'at', at: row.wakeAt }
      if (!await isOwing(store)) return { kind: 'due', isTimer: false, inbox: row.inbox }
    }
    const definition = this.#init.registry.get(record.workflow)
    if (definition === undefined || !knowsVersion(definition, record.version)) {
      const what = `version ${record.version} of ${record.workflow}`
      return this.#foreign(runId, `this page does not know ${what}, so it is left to one that does`)
    }
    const due = (isTimer: boolean): Seen => ({ kind: 'due', isTimer, inbox: row.inbox })
    if (row.wakeAt !== null && row.wakeAt <= this.#init.host.now()) return due(record.status === 'waiting' || isEnded(record.status))
    if (this.#init.locks.areReal && isMidDrive(record)) return due(false)
    if (options.isOpening === true && record.blocked?.curable === true) return due(false)
    if (await this.#hasMessage(store, row, options)) return due(false)
    return { kind: 'at', at: row.wakeAt }
  }

  /** A sweep that was cut off goes on: at once where the lock tells that nobody is at it. */
  #seeGrave(row: RunRow, { isUnderWay }: Tombstone): Seen {
    if (row.wakeAt === null) return { kind: 'over' }
    const isDue = row.wakeAt <= this.#init.host.now() || (isUnderWay && this.#init.locks.areReal)
    return isDue ? { kind: 'due', isTimer: false, inbox: row.inbox } : { kind: 'at', at: row.wakeAt }
  }

  async #hasMessage(store: RunStore, row: RunRow, options: VisitOptions): Promise<boolean> {
    if (row.inbox === 0) return false
    const isAsked = options.isPoked === true || options.isOpening === true
    if (!isAsked && row.inbox <= (this.#inboxSeen.get(row.runId) ?? 0)) return false
    return (await store.rows('inbox', { limit: 1 })).length > 0
  }

  async #wakeAt(store: RunStore): Promise<number> {
    return (await store.read())?.wakeAt ?? 0
  }

  #foreign(runId: string, why: string, error?: unknown): Seen {
    if (!this.#reported.has(runId)) {
      this.#reported.add(runId)
      this.#log(runId, why, error)
    }
    return { kind: 'foreign' }
  }

  #log(runId: string, message: string, error?: unknown): void {
    // What fails because everything was closed is no news.
    if (!this.wake.isOpen) return
    this.#init.host.log({
      level: 'warn', runId, message: isStepwellError(error) ? `${message} (${error.code}: ${error.message})` : message,
      ...(error === undefined ? undefined : { data: error }),
    })
  }
}
