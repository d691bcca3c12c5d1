// The one loop over a run: takes authority, runs passes until the run parks, ends or is blocked, and writes which it was.

import { type AnyWorkflow, knowsVersion, type Registry } from '../define.ts'
import { isStepwellError, maskSecrets, type Redact, StepwellError } from '../errors.ts'
import type { Host } from '../host.ts'
import { Cursor } from '../journal/cursor.ts'
import type { Entry } from '../journal/entry.ts'
import { type Blocked, decodeRecord, isEnded, isMidDrive, type Message, type RunRecord } from '../journal/record.ts'
import { Superseded, type Writer } from '../journal/writer.ts'
import { decode } from '../codec.ts'
import type { Limits } from '../limits.ts'
import { earlier, isPromise, type MaybePromise, type RunRow, type RunStore } from '../store/store.ts'
import { Attempts, type Progress } from './attempt.ts'
import { block, blockedBy } from './block.ts'
import { Ended, endedUntil } from './ended.ts'
import { countEvents } from './events.ts'
import { holds, mayRestart, restartAsked, restartDiverged } from './generation.ts'
import { recountLedger } from './ledger.ts'
import { Live } from './live.ts'
import type { OnEnd } from './notice.ts'
import { Pass, type PassEnd } from './pass.ts'
import { rebuild } from './rebuild.ts'
import { startOf } from './start.ts'
import { openState, type RunState } from './state.ts'

export interface DriverInit {
  readonly store: RunStore
  readonly host: Host
  readonly registry: Registry
  /** What this host lends to steps. */
  readonly services: object
  readonly limits: Limits
  /** Raise the epoch at each drive, so that whoever drove before is refused (G6). Where the platform gives authority: false. */
  readonly takesEpoch: boolean
  /** Masks secrets in the texts of errors before they are stored. Default: `maskSecrets`. */
  readonly redact?: Redact | undefined
  /** Something that a watcher may want to see has changed: entries were committed, progress was made, the drive is over. */
  readonly changed?: () => void
  /** Events were committed. A step that emits none does not pay for it. */
  readonly emitted?: () => void
  /** Told of the end of every run at least once, after it was committed (G24). */
  readonly onEnd?: OnEnd | undefined
  /** The run has ended, and whoever waits for that need not wait until its end was told as well. */
  readonly ended?: () => void
}

export type DriveEnd =
  /** There is no such run, or it was swept. */
  | { readonly kind: 'absent' }
  /** `wakeAt`: when its end is told again, if it was not heard. `expiresAt`: when it is removed, once there is nothing more to tell. */
  | { readonly kind: 'ended'; readonly status: RunRecord['status']; readonly wakeAt?: number; readonly expiresAt?: number }
  /** Nothing to do before `wakeAt` (null: before a message comes). */
  | { readonly kind: 'parked'; readonly wakeAt: number | null }
  | { readonly kind: 'blocked'; readonly blocked: Blocked; readonly wakeAt: number | null }
  /** Someone else drives it. */
  | { readonly kind: 'superseded' }
  | { readonly kind: 'stopped' }
  /** The store failed; nothing was lost. Try again later. */
  | { readonly kind: 'unavailable'; readonly error: unknown }

/** What is live of a run, for watchers. In memory only. */
export interface Liveness {
  readonly isDriving: boolean
  readonly steps: readonly { readonly key: string; readonly attempt: number; readonly startedAt: number; readonly progress: Progress | undefined }[]
}

const none: ReadonlySet<string> = new Set()

/** Drives one run. One instance per run and host; `drive` may be called by anyone at any time. */
export class Driver {
  readonly #init: DriverInit
  readonly #redact: Redact
  readonly #attempts: Attempts
  readonly #ended: Ended
  /** With the epoch that this driver took last; a promise while it takes the next. */
  #writer: MaybePromise<Writer | undefined>
  /** That this driver took last. */
  #epoch: number | undefined
  #generation = 1
  #driving: Promise<DriveEnd> | undefined
  #pass: Pass | undefined
  #mustAsk: ReadonlySet<string> = none
  #isStopped = false
  /** A message came while no pass was there to be poked. */
  #isPoked = false
  #stopped: () => void = () => {}

  constructor(init: DriverInit) {
    this.#init = init
    this.#redact = init.redact ?? maskSecrets
    this.#attempts = new Attempts({
      store: init.store, host: init.host, limits: init.limits, services: init.services, changed: () => this.#changed(),
      // An attempt begins in a pass, and a pass after the first epoch was taken.
      authority: () => this.#writer as MaybePromise<Writer>,
      generation: () => this.#generation,
    })
    const { store, host, limits, takesEpoch, onEnd } = init
    this.#ended = new Ended({
      store, host, limits, takesEpoch, onEnd, redact: this.#redact, attempts: this.#attempts,
      ended: () => init.ended?.(), isStopped: () => this.#isStopped,
      stopped: new Promise((resolve) => { this.#stopped = resolve }),
    })
    // Nobody may be driving: an effect that was given up may still come to its end.
    this.#attempts.onLate = () => { if (!this.isDriving && !this.#isStopped) void this.#driveLate() }
  }

  get isDriving(): boolean {
    return this.#driving !== undefined
  }

  /**
   * Drives the run until it parks, ends or is blocked; joins a drive that is under way. Never rejects for what user code or
   * stored data does: those become the run's status. A crash at any instant loses nothing that a commit has confirmed.
   */
  drive(): Promise<DriveEnd> {
    this.#driving ??= this.#drive().finally(() => {
      this.#driving = undefined
      this.#pass = undefined
      this.#changed()
    })
    return this.#driving
  }

  /** A message was posted: whoever drives looks at the inbox; if nobody does, a drive begins. */
  poke(): Promise<DriveEnd> {
    if (this.#pass?.poke() !== true) this.#isPoked = true
    return this.drive()
  }

  /** Stops at once, as a crash would, but without leaving timers behind. Live attempts are aborted. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#stopped()
    this.#pass?.stop()
    this.#attempts.abandon(new StepwellError('cancelled', 'this host was closed; the run goes on when it is opened again'))
    await this.#driving
  }

  liveness(): Liveness {
    return {
      isDriving: this.isDriving,
      steps: [...this.#attempts.live.values()].filter((attempt) => attempt.outcome === undefined).map((attempt) => ({
        key: attempt.key, attempt: attempt.number, startedAt: attempt.startedAt, progress: attempt.progress,
      })),
    }
  }

  /** Only under the authority that called the function: a driver that was superseded must not take the run back for it. */
  async #driveLate(): Promise<void> {
    try {
      const row = await this.#init.store.read()
      if (row !== undefined && row.epoch === this.#epoch) await this.drive()
    } catch {
      // The store is gone, or fails: so is whatever could be written.
    }
  }

  #changed(): void {
    this.#init.changed?.()
  }

  async #drive(): Promise<DriveEnd> {
    try {
      for (;;) {
        const end = await this.#once()
        if (end !== 'again') {
          // A message that came after the pass read the inbox and before it was over.
          if (this.#isPoked && (end.kind === 'parked' || end.kind === 'blocked' || end.kind === 'ended') && !this.#isStopped) continue
          return end
        }
      }
    } catch (error) {
      if (error instanceof Superseded) {
        this.#attempts.abandon(new StepwellError('stale_epoch', 'another host drives this run now'))
        return { kind: 'superseded' }
      }
      return { kind: 'unavailable', error }
    }
  }

  async #once(): Promise<DriveEnd | 'again'> {
    const { store, registry, host } = this.#init
    if (this.#isStopped) return { kind: 'stopped' }
    this.#isPoked = false
    const read = store.read()
    const isSynchronous = !isPromise(read)
    const row = isSynchronous ? read : await read
    if (row === undefined) return { kind: 'absent' }
    if (this.#epoch !== undefined && row.epoch !== this.#epoch) {
      // Somebody else has driven it since: an effect still under way here was theirs to wait for, and is nobody's now.
      this.#attempts.abandon(new StepwellError('stale_epoch', 'another host has driven this run'), ({ role }) => role !== 'step')
      this.#attempts.late = []
      this.#epoch = undefined
    }
    let record: RunRecord
    try {
      record = decodeRecord(row)
    } catch (error) {
      if (!isStepwellError(error)) throw error
      if (error.code === 'run_swept') return this.#ended.sweep()
      // The row itself can't be trusted, so nothing is written to it: it is reported, kept, and never driven.
      return { kind: 'blocked', blocked: blockedBy(error, 1, this.#redact), wakeAt: null }
    }
    // The number of the last message only grows: whether one waits, the inbox itself says.
    const messages = row.inbox > 0 ? (await store.rows('inbox', { limit: 256 })).map(({ value }) => decode(value) as Message) : []
    const hasMessage = messages.length > 0
    if (messages.some(({ kind }) => kind === 'restart') && !await this.#isCancelled(record, messages)) return this.#restart(row, record)
    const now = host.now()
    if (isEnded(record.status)) {
      if (!hasMessage && (row.wakeAt === null || row.wakeAt > now)) return endedUntil(record, row.wakeAt)
      return this.#ended.tell(this.#state(row, record, registry.get(record.workflow), await store.last()))
    }
    if (await this.#ended.isNoticeDue(record, now)) {
      const state = this.#state(row, record, registry.get(record.workflow), await store.last())
      return await this.#ended.tellNotices(state) === 'stopped' ? { kind: 'stopped' } : 'again'
    }
    const isDue = hasMessage || this.#attempts.late.length > 0 || (row.wakeAt !== null && row.wakeAt <= now)
    if (record.status === 'blocked' && record.blocked?.curable === false && !isDue) {
      return { kind: 'blocked', blocked: record.blocked, wakeAt: row.wakeAt }
    }
    const isPaused = record.paused !== undefined && !hasMessage && this.#attempts.live.size === 0
    const isEarlyStart = record.status === 'queued' && !hasMessage && record.notBefore !== undefined && record.notBefore > now
    const definition = registry.get(record.workflow)
    const last = await store.last()
    const state = this.#state(row, record, definition, last)
    if (isPaused || isEarlyStart) {
      const wakeAt = earlier(isPaused ? null : record.notBefore ?? null, await this.#ended.outboxAt(record))
      // Woken for a message that was decided already: never again for the same.
      if (row.wakeAt === wakeAt) return { kind: 'parked', wakeAt }
      const answer = await state.commit([], { inbox: row.inbox, change: { record: {}, wakeAt, mark: false } })
      return answer.kind === 'committed' ? { kind: 'parked', wakeAt } : 'again'
    }
    if (isMidDrive(record)) await countEvents(state)
    state.outboxAt = await this.#ended.outboxAt(record)
    try {
      const status = await rebuild(state, last)
      if (status !== undefined) return this.#ended.tell(state)
    } catch (error) {
      if (isStepwellError(error) && error.kind === 'integrity') return this.#block(state, error)
      throw error
    }
    const wrong = misfit(definition, record, store.runId)
    if (definition === undefined || wrong !== undefined) return this.#block(state, wrong as StepwellError)
    if (isMidDrive(record)) await recountLedger(state)
    const seq = last?.seq ?? 0
    // Looked at before its time, a parked run has nothing to do, and that is no lack of progress.
    const isEarly = !isMidDrive(record) && row.wakeAt !== null && row.wakeAt > now
    // A message is a reason to be woken, once: whoever posts one need not add an entry.
    const isNews = seq > record.wokenSeq || row.inbox > record.wokenInbox
    const wakes = isNews || record.status === 'blocked' ? 1 : isEarly ? record.wakes : record.wakes + 1
    if (wakes > this.#init.limits.wakes) {
      return this.#block(state, new StepwellError('no_progress', `run ${store.runId} was woken ${wakes - 1} times and added no entry`, {
        details: { limit: 'wakes', measured: wakes, allowed: this.#init.limits.wakes },
      }))
    }
    const before = this.#writer
    const taken = state.commit([], {
      change: {
        record: { status: record.paused !== undefined ? 'paused' : record.status === 'cancelling' || record.status === 'undoing' ? record.status : 'running', wakes, wokenSeq: seq, wokenInbox: row.inbox, blocked: undefined, waitingFor: [] },
        wakeAt: now + this.#recoveryMs(wakes),
        epoch: this.#init.takesEpoch ? row.epoch + 1 : row.epoch,
        mark: false,
      },
      durability: this.#init.takesEpoch ? 'strict' : 'relaxed',
    })
    // Until it is taken, the epoch that was read is somebody else's: a step that outlived the last drive must not write with it.
    if (isPromise(taken)) this.#writer = taken.then(() => state.writer, () => before)
    await taken
    this.#writer = state.writer
    this.#epoch = state.writer.epoch
    this.#generation = state.writer.generation
    this.#changed()
    return this.#runPass(state, definition, isSynchronous)
  }

  async #runPass(state: RunState, definition: AnyWorkflow, isSynchronous: boolean): Promise<DriveEnd | 'again'> {
    const { store, host, limits } = this.#init
    let end: PassEnd
    let begins = false
    try {
      const start = await startOf(store)
      const { record } = state
      const cursor = new Cursor(store, [...record.inherited, { from: record.generationSeq, to: Infinity }], record.head, limits.pageEntries, {
        ...state.writer.head, at: state.writer.lastAt,
      })
      const filled = cursor.fill()
      if (isPromise(filled)) await filled
      const first = cursor.peek()
      if (first === undefined) throw new StepwellError('corrupt_entry', `the journal of run ${store.runId} has no entry ${record.generationSeq}`, { details: { seq: record.generationSeq } })
      cursor.shift()
      const live = new Live(state, this.#attempts)
      const pass = new Pass({
        definition, start, runId: store.runId, createdAt: record.createdAt, generation: record.generation, startedAt: first.at,
        store, host, limits, cursor, writer: state.writer, attempts: this.#attempts, isSynchronous,
        live, mustAsk: this.#mustAsk, changed: () => this.#changed(),
      })
      this.#pass = pass
      this.#isPoked = false
      if (this.#isStopped) pass.stop()
      end = await pass.run()
      this.#mustAsk = none
      begins = end.kind === 'diverged' && await mayRestart(state)
      if (end.kind === 'blocked' || (end.kind === 'diverged' && !begins)) await live.settleEffects(pass)
    } catch (error) {
      if (isStepwellError(error) && error.kind === 'integrity') return this.#block(state, error)
      if (isStepwellError(error, 'limit_exceeded')) return this.#block(state, error)
      throw error
    }
    switch (end.kind) {
      case 'ended': return this.#ended.tell(state)
      case 'parked': return state.record.status === 'blocked' && state.record.blocked !== undefined
        ? { kind: 'blocked', blocked: state.record.blocked, wakeAt: end.wakeAt }
        : { kind: 'parked', wakeAt: end.wakeAt }
      case 'blocked': return this.#block(state, end.error)
      // G9: blocked by default; under `restart` the next generation begins.
      case 'diverged':
        if (!begins) return this.#block(state, end.error)
        await restartDiverged(state, this.#attempts, end.error)
        return 'again'
      case 'again':
        this.#mustAsk = end.mustAsk ?? none
        return 'again'
      case 'stopped': return { kind: 'stopped' }
    }
  }

  /** It was cancelled, or is going to be: whoever asked for a restart meanwhile came too late (G21). */
  async #isCancelled(record: RunRecord, messages: readonly Message[]): Promise<boolean> {
    if (isEnded(record.status)) return record.status === 'cancelled'
    return messages.some(({ kind }) => kind === 'cancel') || await holds(this.#init.store, record, ['cancel_requested'])
  }

  /** Somebody has asked for the next generation. */
  async #restart(row: RunRow, record: RunRecord): Promise<'again'> {
    const { store, registry, takesEpoch } = this.#init
    const state = this.#state(row, record, registry.get(record.workflow), await store.last())
    const before = this.#writer
    const restarted = restartAsked(state, this.#attempts, takesEpoch ? row.epoch + 1 : row.epoch)
    // The epoch is ours as the one before was: the effects that are under way here go on in the next generation.
    this.#writer = restarted.then(() => state.writer, () => before)
    if (await restarted) this.#changed()
    this.#writer = state.writer
    this.#epoch = state.writer.epoch
    return 'again'
  }

  async #block(state: RunState, error: StepwellError): Promise<DriveEnd | 'again'> {
    this.#attempts.abandon(error, ({ role }) => role !== 'effect')
    const end = await block(state, error)
    return end === 'cancelled' ? this.#ended.tell(state) : end
  }

  #recoveryMs(wakes: number): number {
    // Back-off is ours and persisted (G29): a run that keeps dying without progress is woken ever more rarely.
    return this.#init.limits.recoveryMs * Math.min(32, 2 ** Math.max(0, wakes - 4))
  }

  #state(row: RunRow, record: RunRecord, definition: AnyWorkflow | undefined, last: { seq: number; bytes: Uint8Array } | undefined): RunState {
    const { store, host, limits } = this.#init
    return openState({
      store, host, limits, definition: definition as AnyWorkflow, redact: this.#redact, isNoticed: this.#init.onEnd !== undefined,
      committed: (entries: readonly Entry[]) => { if (entries.length > 0) this.#changed() },
      emitted: () => this.#init.emitted?.(),
    }, row, record, last)
  }
}

/** Why this definition may not drive this run, or undefined. */
export function misfit(definition: AnyWorkflow | undefined, record: RunRecord, runId: string): StepwellError | undefined {
  const { workflow, version } = record
  if (definition === undefined || definition.name !== workflow) return new StepwellError('not_registered', `this host knows no workflow named ${workflow}`)
  if (knowsVersion(definition, version)) return undefined
  return new StepwellError('unknown_version',
    `run ${runId} was started at version ${version} of ${workflow}; this host has version ${definition.version} and replays ${definition.replays.join(', ') || 'no other'}`)
}
