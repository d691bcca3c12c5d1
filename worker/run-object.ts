// The Durable Object of one run: its single authority, its driver, and the alarm that is its timer (G29).

import { DurableObject } from 'cloudflare:workers'
import type { CancelOutcome, ControlOutcome, ControlRequest, PageOptions, SignalOutcome, StartOptions } from '../src/client.ts'
import { decode, encode } from '../src/codec.ts'
import type { Registry } from '../src/define.ts'
import { cancelOutcome, requestCancel } from '../src/engine/cancel.ts'
import { requestControl } from '../src/engine/control.ts'
import { settleDeferred } from '../src/engine/deferred.ts'
import { type DriveEnd, Driver, type Liveness } from '../src/engine/drive.ts'
import { eventPage } from '../src/engine/event-page.ts'
import { effectPage } from '../src/engine/ledger.ts'
import { clearSignals, sendSignal, type SignalRequest } from '../src/engine/send.ts'
import type { RunEnd } from '../src/engine/notice.ts'
import { startRun } from '../src/engine/start.ts'
import { isStepwellError, type Redact, StepwellError } from '../src/errors.ts'
import { exportRun } from '../src/journal/export.ts'
import { decodeRecord, isEnded, isMidDrive, type RunRecord } from '../src/journal/record.ts'
import { type LiveStepView, outcome, summary } from '../src/journal/summary.ts'
import { tombstoneOf } from '../src/journal/tombstone.ts'
import { journalPage } from '../src/journal/view.ts'
import type { Limits } from '../src/limits.ts'
import type { Bound } from '../src/store/bounded.ts'
import type { RowWrite, RunRow } from '../src/store/store.ts'
import { createHost, type EdgeHost } from './host.ts'
import {
  type Answer, type CancelRequest, failure, fromTransfer, PROTOCOL, type ResultAnswer, type RunRpc, type SettleRequest, type StartAnswer, toTransfer,
  type Transfer,
} from './rpc.ts'
import { createSqliteStore, type SqliteStore } from './sqlite-store.ts'

export interface RunConfig<Env> {
  readonly registry: Registry
  /** Called once for each object that drives. */
  readonly services: (env: Env) => object
  readonly limits: Limits
  readonly redact: Redact | undefined
  readonly onEnd: ((end: RunEnd, env: Env) => void | Promise<void>) | undefined
}

/** Blobs that no start refers to go when nothing was added for so long. */
const DAY_MS = 24 * 3_600_000
/** A cancel waits so long for the run's end before it answers. */
const CANCEL_WAIT_MS = 1000
const BACKOFF_MS = 1000
const MAX_BACKOFF_MS = 5 * 60_000

/**
 * One run. It keeps nothing in memory that its database does not hold, so it may be dropped at any instant. Every entry, request or
 * alarm, looks at the stored row, drives a run that should be driven and sets an alarm that got lost (platform fact 34).
 * Reading an unknown id writes nothing.
 */
export class RunObject<Env> extends DurableObject<Env> implements RunRpc {
  readonly #config: RunConfig<Env>
  readonly #host: EdgeHost = createHost()
  #store: SqliteStore | undefined
  #driver: Driver | undefined
  /** Whoever waits for the run's end. Told when a drive is over and not at every commit, which a step should not pay for. */
  readonly #watchers = new Set<() => void>()
  /** Whoever waits for events, or for the end that says that there will be none. */
  readonly #listeners = new Set<() => void>()
  /** How often they were told. */
  #told = 0
  /** Drives in a row that the store or the configuration has stopped. */
  #failures = 0
  /** Alarms since the drive that is under way began. */
  #alarms = 0
  #wasUnblocked = false
  #wasAlarmChecked = false

  constructor(ctx: DurableObjectState, env: Env, config: RunConfig<Env>) {
    super(ctx, env)
    this.#config = config
  }

  start(protocol: number, request: Transfer): Promise<Answer<StartAnswer>> {
    return this.#answer(protocol, async (store) => {
      const { workflow, input, options } = decode(await fromTransfer(request)) as { workflow: string; input: unknown; options: StartOptions }
      const definition = this.#config.registry.get(workflow)
      if (definition === undefined) throw new StepwellError('not_registered', `this host knows no workflow named ${workflow}`)
      // A run that could not be driven is not started.
      this.#drivers(store)
      const { created, status } = await startRun(store, this.#host, this.#config.limits, definition, input, options)
      this.#touch(store)
      return { created, status }
    })
  }

  summary(protocol: number): Promise<Answer<Transfer>> {
    return this.#answer(protocol, async (store) => {
      const view = await summary(store)
      const live = this.#driver?.liveness()
      this.#touch(store)
      return toTransfer(encode(live?.isDriving === true ? { ...view, steps: live.steps.map(stepView) } : view))
    })
  }

  result(protocol: number, waitMs: number): Promise<Answer<ResultAnswer>> {
    return this.#answer(protocol, async (store) => {
      this.#touch(store)
      const record = await this.#ended(store, waitMs)
      return {
        status: record.status,
        outcome: isEnded(record.status) ? toTransfer(encode(await outcome(store, record))) : undefined,
      }
    })
  }

  cancel(protocol: number, request: CancelRequest): Promise<Answer<CancelOutcome>> {
    return this.#answer(protocol, async (store) => {
      const asked = await requestCancel(store, this.#host.now(), request, this.#bound())
      if (asked.outcome === 'ended') return asked
      // Still the same turn: whoever drives commits its first row, and with it an alarm, together with the message.
      this.#poke(store)
      await this.#ended(store, CANCEL_WAIT_MS)
      const { outcome: now, status } = await cancelOutcome(store)
      if (now !== 'ended') return { outcome: asked.outcome, status }
      return status === 'cancelled' && asked.outcome === 'requested' ? { outcome: 'cancelled', status } : { outcome: 'ended', status }
    })
  }

  journal(
    protocol: number, options: PageOptions & { readonly reveal?: boolean },
  ): Promise<Answer<Transfer>> {
    return this.#answer(protocol, async (store) => {
      const page = await journalPage(store, options)
      this.#touch(store)
      return toTransfer(encode(page))
    })
  }

  exportRun(protocol: number): Promise<Answer<ReadableStream<Uint8Array>>> {
    return this.#answer(protocol, async (store) => {
      const lines = exportRun(store)
      // The first line is made now, so that an unknown id is an answer and no broken stream.
      let next: IteratorResult<string, unknown> | undefined = await lines.next()
      this.#touch(store)
      const encoder = new TextEncoder()
      return new ReadableStream({
        type: 'bytes',
        async pull(controller): Promise<void> {
          next ??= await lines.next()
          if (next.done === true) controller.close()
          else controller.enqueue(encoder.encode(`${next.value}\n`))
          next = undefined
        },
        async cancel(): Promise<void> {
          await lines.return(undefined)
        },
      })
    })
  }

  control(protocol: number, transfer: Transfer): Promise<Answer<ControlOutcome>> {
    return this.#answer(protocol, async (store) => {
      const { request, principal } = decode(await fromTransfer(transfer)) as { readonly request: ControlRequest; readonly principal: string | undefined }
      const answer = await requestControl(store, this.#host.now(), request, principal, this.#bound())
      this.#poke(store)
      return answer
    })
  }

  signal(protocol: number, transfer: Transfer): Promise<Answer<SignalOutcome>> {
    return this.#answer(protocol, async (store) => {
      const { request, principal } = decode(await fromTransfer(transfer)) as { readonly request: SignalRequest; readonly principal: string | undefined }
      const { registry, limits } = this.#config
      const answer = await sendSignal({ store, host: this.#host, limits, principal, bound: this.#bound() }, registry, request)
      this.#poke(store)
      return answer
    })
  }

  clearSignals(protocol: number, name: string): Promise<Answer<{ readonly cleared: number }>> {
    return this.#answer(protocol, (store) => clearSignals({ store, host: this.#host, limits: this.#config.limits, principal: undefined, bound: this.#bound() }, name))
  }

  settle(protocol: number, transfer: Transfer): Promise<Answer<SignalOutcome>> {
    return this.#answer(protocol, async (store) => {
      const { id, token, settlement, principal } = decode(await fromTransfer(transfer)) as SettleRequest
      const { registry, limits } = this.#config
      const answer = await settleDeferred({ store, host: this.#host, limits, principal, bound: this.#bound() }, registry, id, token, settlement)
      this.#poke(store)
      return answer
    })
  }

  effects(protocol: number, options: PageOptions): Promise<Answer<Transfer>> {
    return this.#answer(protocol, async (store) => {
      const page = await effectPage(store, options)
      this.#touch(store)
      return toTransfer(encode(page))
    })
  }

  events(protocol: number, options: PageOptions, waitMs: number): Promise<Answer<Transfer>> {
    return this.#answer(protocol, async (store) => {
      this.#touch(store)
      const until = this.#host.now() + waitMs
      for (;;) {
        const told = this.#told
        const page = await eventPage(store, options)
        const left = until - this.#host.now()
        if (page.items.length > 0 || page.isOver || left <= 0) return toTransfer(encode(page))
        // What came while the page was read has told nobody who waits.
        if (told === this.#told) await this.#rung(this.#listeners, left)
      }
    })
  }

  putBlob(protocol: number, rows: readonly RowWrite[]): Promise<Answer<null>> {
    return this.#answer(protocol, async (store) => {
      const row = store.read()
      if (row !== undefined && isEnded(decodeRecord(row).status)) {
        throw new StepwellError('already_ended', `run ${store.runId} has ended: nothing can be added to it`)
      }
      const missing = rows.filter(({ table, key }) => store.row(table, key) === undefined)
      if (missing.length === 0) return null
      const answer = store.commit({ expect: { kind: 'none' }, rows: missing })
      if (answer.kind !== 'committed') throw new StepwellError('store_unavailable', `run ${store.runId}: a blob could not be stored`)
      // In the turn of the commit, so that there are never chunks that nobody sweeps.
      if (row === undefined) await store.arm(this.#host.now() + DAY_MS)
      this.#touch(store)
      return null
    })
  }

  /**
   * Sets its successor first, starts the drive and returns (G29). It throws only when no successor could be set: then the platform
   * repeats it. A wake that the row does not call for (platform fact 30) sets the alarm that it does call for.
   */
  override async alarm(): Promise<void> {
    this.#host.entered()
    const store = this.#open()
    store.alarmFired()
    const isDriving = this.#driver?.isDriving === true
    let row: RunRow | undefined
    let isDue = isDriving
    try {
      row = store.read()
      if (row !== undefined && !isDriving) isDue = this.#isDue(store, row)
    } catch (error) {
      this.#log('error', 'the run can\'t be read', error)
      // A damaged row needs a person; one of a newer version needs a deploy; a store that does not answer needs time.
      if (!isStepwellError(error) || error.kind !== 'integrity') await store.arm(this.#host.now() + this.#backoff())
      else if (error.code === 'format_too_new') await store.arm(this.#host.now() + DAY_MS)
      return
    }
    if (row === undefined) return this.#clear(store)
    if (!isDue) {
      if (row.wakeAt !== null) await store.arm(row.wakeAt)
      return
    }
    // While a drive goes on, ever more rarely: at the worst, a crash costs as much time again as the drive has already taken.
    if (!isDriving) this.#alarms = 0
    await store.arm(this.#host.now() + this.#config.limits.recoveryMs * 2 ** Math.min(3, this.#alarms++))
    if (!isDriving) this.#poke(store)
  }

  #bound(): Bound {
    return { ms: this.#config.limits.commitMs, timer: (ms, run) => this.#host.timer(ms, run) }
  }

  /** Nothing ever started here: what there is are blobs that no start referred to in time. */
  async #clear(store: SqliteStore): Promise<void> {
    try {
      await store.destroy()
    } catch (error) {
      this.#log('error', 'blobs of a run that was never started can\'t be removed', error)
      await store.arm(this.#host.now() + this.#backoff())
    }
  }

  async #answer<T>(protocol: number, run: (store: SqliteStore) => Promise<T>): Promise<Answer<T>> {
    this.#host.entered()
    try {
      if (protocol !== PROTOCOL) {
        throw new StepwellError('store_unavailable', `this object speaks protocol ${PROTOCOL} and was called with ${protocol}: a deploy is under way`)
      }
      return { ok: true, value: await run(this.#open()) }
    } catch (error) {
      if (!isStepwellError(error)) this.#log('error', 'a call failed', error)
      // Nobody asks a swept run for more than this; a sweep that was cut off must go on all the same.
      else if (error.code === 'run_swept') this.#touch(this.#open())
      return failure(error)
    }
  }

  #open(): SqliteStore {
    if (this.#store !== undefined) return this.#store
    const { name } = this.ctx.id
    if (name === undefined) throw new StepwellError('host_misconfigured', 'a run object is reached by its name, which is the run id')
    const store = createSqliteStore(this.ctx.storage, name)
    try {
      void this.ctx.storage.sql.databaseSize
    } catch (cause) {
      throw new StepwellError('host_misconfigured', 'the class of the runs is not stored in SQLite: in wrangler.toml, '
        + 'give it `storage = "sqlite"` under [exports.…], or list it in `new_sqlite_classes` of a migration', { cause })
    }
    return (this.#store = store)
  }

  /** Throws `host_misconfigured` when the services can't be made. */
  #drivers(store: SqliteStore): Driver {
    if (this.#driver !== undefined) return this.#driver
    let services: object
    try {
      services = this.#config.services(this.env)
    } catch (cause) {
      this.#log('error', '`services` threw', cause)
      throw new StepwellError('host_misconfigured', '`services(env)` threw: correct it, or the environment that it reads', { cause })
    }
    const { onEnd } = this.#config
    return (this.#driver = new Driver({
      store, host: this.#host, registry: this.#config.registry, services, limits: this.#config.limits, takesEpoch: false,
      redact: this.#config.redact, ended: () => this.#tellWatchers(), emitted: () => this.#tellListeners(),
      ...(onEnd === undefined ? undefined : { onEnd: (end) => onEnd(end, this.env) }),
    }))
  }

  /** On every entry: drives what should be driven, and sets an alarm that should be there. */
  #touch(store: SqliteStore): void {
    if (this.#driver?.isDriving === true) return
    try {
      const row = store.read()
      if (row === undefined) return
      if (this.#isDue(store, row)) this.#poke(store)
      else if (row.wakeAt !== null && !this.#wasAlarmChecked) this.ctx.waitUntil(this.#checkAlarm(store, row.wakeAt))
    } catch {
      // Damaged: named by whoever reads it.
    }
  }

  /** Whether somebody should drive this run now, or go on to remove it. Throws what is wrong with its row. */
  #isDue(store: SqliteStore, row: RunRow): boolean {
    const isTime = row.wakeAt !== null && row.wakeAt <= this.#host.now()
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
      const alarm = await this.ctx.storage.getAlarm()
      if (alarm === null || alarm > wakeAt) await store.arm(wakeAt)
    } catch (error) {
      this.#log('warn', 'the alarm could not be checked', error)
    }
  }

  /** Begins a drive, or tells the one that is under way to look at the inbox. Never throws, never waits. */
  #poke(store: SqliteStore): void {
    try {
      const driver = this.#drivers(store)
      if (driver.isDriving) {
        void driver.poke()
        return
      }
      this.ctx.waitUntil(driver.poke().then((end) => this.#after(store, end)).catch((error: unknown) => this.#log('error', 'a drive failed', error)))
    } catch (error) {
      this.ctx.waitUntil(this.#retry(store, error))
    }
  }

  async #after(store: SqliteStore, end: DriveEnd): Promise<void> {
    this.#tellWatchers()
    if (end.kind === 'unavailable') return this.#retry(store, end.error)
    this.#failures = 0
    if (end.kind === 'blocked') this.#wasUnblocked = true
    if (end.kind === 'superseded') this.#log('warn', 'another authority drives this run', undefined)
  }

  #tellWatchers(): void {
    for (const watcher of this.#watchers) watcher()
    this.#tellListeners()
  }

  #tellListeners(): void {
    this.#told++
    for (const listener of this.#listeners) listener()
  }

  /** Our own back-off. When not even the alarm can be set, the one of the last commit still stands. */
  async #retry(store: SqliteStore, error: unknown): Promise<void> {
    this.#log('error', 'the run could not be driven and will be tried again', error)
    try {
      await store.arm(this.#host.now() + this.#backoff())
    } catch (failed) {
      this.#log('error', 'the alarm could not be set', failed)
    }
  }

  #backoff(): number {
    return Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** Math.min(16, this.#failures++))
  }

  /** The record, once the run has ended or `waitMs` have passed. Throws `run_not_found`, `run_swept`. */
  async #ended(store: SqliteStore, waitMs: number): Promise<RunRecord> {
    const until = this.#host.now() + waitMs
    for (;;) {
      const row = store.read()
      if (row === undefined) throw new StepwellError('run_not_found', `there is no run ${store.runId}`, { details: { runId: store.runId } })
      const record = decodeRecord(row)
      const left = until - this.#host.now()
      if (isEnded(record.status) || left <= 0) return record
      await this.#rung(this.#watchers, left)
    }
  }

  /** When those who wait in `bells` are told, or `ms` later. */
  #rung(bells: Set<() => void>, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        bells.delete(done)
        timer.cancel()
        resolve()
      }
      const timer = this.#host.timer(ms, done)
      bells.add(done)
    })
  }

  #log(level: 'warn' | 'error', message: string, error: unknown): void {
    const said = isStepwellError(error) ? { code: error.code, message: error.message } : error instanceof Error ? { name: error.name, message: error.message } : undefined
    this.#host.log({ level, runId: this.ctx.id.name ?? '', message, ...(said === undefined ? undefined : { data: said }) })
  }
}

function stepView({ progress, ...step }: Liveness['steps'][number]): LiveStepView {
  if (progress === undefined) return step
  const { done, of } = progress
  return { ...step, progress: of === undefined ? { done } : { done, of } }
}
