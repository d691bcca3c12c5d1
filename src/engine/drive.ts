// The one loop over a run: takes authority, runs passes until the run parks, ends or is blocked, and writes which it was.

import { type AnyWorkflow, knowsVersion, type Registry } from '../define.ts'
import { isStepwellError, maskSecrets, type Redact, redactDetails, redactText, StepwellError } from '../errors.ts'
import type { Host } from '../host.ts'
import { Cursor, type Mark } from '../journal/cursor.ts'
import { claim, decodeEntry, type Entry, GENESIS } from '../journal/entry.ts'
import { type Blocked, type CancelPayload, decodeRecord, type GenerationPayload, isEnded, type Message, type RunRecord, type StartPayload } from '../journal/record.ts'
import { Superseded, Writer } from '../journal/writer.ts'
import { decode, encode } from '../codec.ts'
import type { Limits } from '../limits.ts'
import { isPromise, type MaybePromise, type RunRow, type RunStore } from '../store/store.ts'
import { Attempts, type Progress } from './attempt.ts'
import { Live } from './live.ts'
import { fromPayload } from './outcome.ts'
import { Pass, type PassEnd } from './pass.ts'
import { rebuild } from './rebuild.ts'
import { RunState } from './state.ts'

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
}

export type DriveEnd =
  | { readonly kind: 'absent' }
  | { readonly kind: 'ended'; readonly status: RunRecord['status'] }
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
  /** With the epoch that this driver took last; a promise while it takes the next. */
  #writer: MaybePromise<Writer | undefined>
  #generation = 1
  #driving: Promise<DriveEnd> | undefined
  #pass: Pass | undefined
  #mustAsk: ReadonlySet<string> = none
  #isStopped = false
  /** A message came while no pass was there to be poked. */
  #isPoked = false

  constructor(init: DriverInit) {
    this.#init = init
    this.#redact = init.redact ?? maskSecrets
    this.#attempts = new Attempts({
      store: init.store, host: init.host, limits: init.limits, services: init.services, changed: () => this.#changed(),
      // An attempt begins in a pass, and a pass after the first epoch was taken.
      authority: () => this.#writer as MaybePromise<Writer>,
      generation: () => this.#generation,
    })
    // Nobody may be driving: an effect that was given up may still come to its end.
    this.#attempts.onLate = () => { if (!this.isDriving && !this.#isStopped) void this.drive() }
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

  #changed(): void {
    this.#init.changed?.()
  }

  async #drive(): Promise<DriveEnd> {
    try {
      for (;;) {
        const end = await this.#once()
        if (end !== 'again') {
          // A message that came after the pass read the inbox and before it was over.
          if (this.#isPoked && (end.kind === 'parked' || end.kind === 'blocked') && !this.#isStopped) continue
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
    let record: RunRecord
    try {
      record = decodeRecord(row)
    } catch (error) {
      if (!isStepwellError(error)) throw error
      // The row itself can't be trusted, so nothing is written to it: it is reported, kept, and never driven.
      return { kind: 'blocked', blocked: blockedBy(error, 1, this.#redact), wakeAt: null }
    }
    // The number of the last message only grows: whether one waits, the inbox itself says.
    const messages = row.inbox > 0 ? (await store.rows('inbox', { limit: 256 })).map(({ value }) => decode(value) as Message) : []
    const hasMessage = messages.length > 0
    const isCancelled = record.status === 'cancelled' || (!isEnded(record.status) && messages.some(({ kind }) => kind === 'cancel'))
    if (!isCancelled && messages.some(({ kind }) => kind === 'restart')) return this.#restart(row, record)
    if (isEnded(record.status)) return { kind: 'ended', status: record.status }
    const now = host.now()
    const isDue = hasMessage || this.#attempts.late.length > 0 || (row.wakeAt !== null && row.wakeAt <= now)
    if (record.status === 'blocked' && record.blocked?.curable === false && !isDue) {
      return { kind: 'blocked', blocked: record.blocked, wakeAt: row.wakeAt }
    }
    if (record.paused !== undefined && !hasMessage && this.#attempts.live.size === 0) return { kind: 'parked', wakeAt: null }
    if (record.status === 'queued' && row.wakeAt !== null && row.wakeAt > now && !hasMessage) return { kind: 'parked', wakeAt: row.wakeAt }

    const definition = registry.get(record.workflow)
    const last = await store.last()
    const state = this.#state(row, record, definition, last)
    try {
      const status = await rebuild(state, last)
      if (status !== undefined) return { kind: 'ended', status }
    } catch (error) {
      if (isStepwellError(error) && error.kind === 'integrity') return this.#block(state, error)
      throw error
    }
    const wrong = misfit(definition, record, store.runId)
    if (definition === undefined || wrong !== undefined) return this.#block(state, wrong as StepwellError)
    const seq = last?.seq ?? 0
    // Looked at before its time, a parked run has nothing to do, and that is no lack of progress.
    const isEarly = record.status === 'waiting' && row.wakeAt !== null && row.wakeAt > now
    const wakes = seq > record.wokenSeq || record.status === 'blocked' ? 1 : isEarly ? record.wakes : record.wakes + 1
    if (wakes > this.#init.limits.wakes) {
      return this.#block(state, new StepwellError('no_progress', `run ${store.runId} was woken ${wakes - 1} times and added no entry`, {
        details: { limit: 'wakes', measured: wakes, allowed: this.#init.limits.wakes },
      }))
    }
    const before = this.#writer
    const taken = state.commit([], {
      change: {
        record: { status: record.paused !== undefined ? 'paused' : record.status === 'cancelling' || record.status === 'undoing' ? record.status : 'running', wakes, wokenSeq: seq, blocked: undefined, waitingFor: [] },
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
    this.#generation = state.writer.generation
    this.#changed()
    return this.#runPass(state, definition, isSynchronous)
  }

  async #runPass(state: RunState, definition: AnyWorkflow, isSynchronous: boolean): Promise<DriveEnd | 'again'> {
    const { store, host, limits } = this.#init
    let end: PassEnd
    try {
      const start = await startOf(store)
      const { record } = state
      const cursor = new Cursor(store, [...record.inherited, { from: record.generationSeq, to: Infinity }], record.head, limits.pageEntries)
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
      if (end.kind === 'blocked' || (end.kind === 'diverged' && !this.#mayRestart(state, definition))) await live.settleEffects(pass)
    } catch (error) {
      if (isStepwellError(error) && error.kind === 'integrity') return this.#block(state, error)
      if (isStepwellError(error, 'limit_exceeded')) return this.#block(state, error)
      throw error
    }
    switch (end.kind) {
      case 'ended': return { kind: 'ended', status: state.record.status }
      case 'parked': return state.record.status === 'blocked' && state.record.blocked !== undefined
        ? { kind: 'blocked', blocked: state.record.blocked, wakeAt: end.wakeAt }
        : { kind: 'parked', wakeAt: end.wakeAt }
      case 'blocked': return this.#block(state, end.error)
      case 'diverged': return this.#diverged(state, definition, end.error)
      case 'again':
        this.#mustAsk = end.mustAsk ?? none
        return 'again'
      case 'stopped': return { kind: 'stopped' }
    }
  }

  /** G9: blocked by default; under `restart` the next generation begins, a bounded number of times. */
  async #diverged(state: RunState, definition: AnyWorkflow, error: StepwellError): Promise<DriveEnd | 'again'> {
    const { record } = state
    if (!this.#mayRestart(state, definition)) return this.#block(state, error)
    const generation = record.generation + 1
    this.#init.host.log({ level: 'warn', runId: state.store.runId, message: `generation ${generation} begins: ${error.message}` })
    this.#leaveBehind(error)
    state.writer.generation = generation
    await state.commit([{
      kind: 'generation_started', calls: 0,
      payload: encode({ generation, because: 'divergence', report: error.details }),
    }], {
      change: { record: { generation, generationSeq: state.writer.head.seq + 1, inherited: [], patches: [], divergences: record.divergences + 1 }, wakeAt: state.wakeAt, mark: false },
    })
    return 'again'
  }

  #mayRestart({ record }: RunState, definition: AnyWorkflow): boolean {
    return definition.onDivergence === 'restart' && record.divergences < this.#init.limits.restarts
  }

  /** A key may mean another call in a new generation: of the old one's attempts only effects go on, found by their ledger's key. */
  #leaveBehind(error: unknown): void {
    this.#attempts.abandon(error, ({ role }) => role !== 'effect')
    for (const attempt of [...this.#attempts.live.values()]) this.#attempts.adopt(attempt, `generation before: ${attempt.base}`)
  }

  /** Somebody has asked for the next generation: of a run that goes on, is blocked or has ended. */
  async #restart(row: RunRow, record: RunRecord): Promise<DriveEnd | 'again'> {
    const { store, host, registry, limits } = this.#init
    const state = this.#state(row, record, registry.get(record.workflow), await store.last())
    const asked = (await state.messages()).filter(({ message }) => message.kind === 'restart')
    const take = asked.map(({ number }) => number)
    const message = asked.find((each) => each.message.kind === 'restart' && each.message.generation === record.generation)?.message
    const epoch = this.#init.takesEpoch ? row.epoch + 1 : row.epoch
    if (message?.kind !== 'restart') {
      // Of a generation that is over.
      await state.commit([], { take, change: { record: {}, wakeAt: row.wakeAt, epoch, mark: false } })
      return 'again'
    }
    this.#leaveBehind(new StepwellError('cancelled', 'the run begins again'))
    const generation = record.generation + 1
    state.writer.generation = generation
    const payload: GenerationPayload = {
      generation, because: message.because, inherited: message.inherited,
      ...(message.from === undefined ? undefined : { from: message.from }), ...(message.principal === undefined ? undefined : { principal: message.principal }),
    }
    await state.commit([{ kind: 'generation_started', calls: 0, payload: encode(payload) }], {
      take, durability: 'strict',
      change: {
        record: {
          generation, generationSeq: state.writer.head.seq + 1, inherited: message.inherited, patches: message.inherited.length === 0 ? [] : record.patches,
          status: 'running', blocked: undefined, paused: undefined, endedAt: undefined, lastSeq: undefined, waitingFor: [], wakes: 0,
          restartId: message.id ?? record.restartId,
        },
        wakeAt: host.now() + limits.recoveryMs, epoch, mark: false,
      },
    })
    this.#changed()
    return 'again'
  }

  async #block(state: RunState, error: StepwellError): Promise<DriveEnd> {
    const { host, store } = this.#init
    this.#attempts.abandon(error, ({ role }) => role !== 'effect')
    // What the pass had read and not committed is still to be decided.
    state.decided = []
    const canCancel = error.kind !== 'integrity' || error.code === 'divergence'
    if (canCancel && await cancelBlocked(state)) return { kind: 'ended', status: 'cancelled' }
    const tries = state.blockedBefore?.code === error.code ? state.blockedBefore.tries + 1 : 1
    const blocked = blockedBy(error, tries, this.#redact)
    // A deploy may cure it, and a run that nobody touches must notice the deploy: it is looked at again, ever more rarely.
    const wakeAt = blocked.curable ? host.now() + Math.min(24 * 3_600_000, 60_000 * 4 ** Math.min(tries - 1, 8)) : null
    host.log({ level: 'error', runId: store.runId, message: `blocked (${blocked.code}): ${blocked.message}` })
    const answer = await state.commit([], {
      ...(canCancel ? { inbox: state.inboxSeen } : undefined),
      change: { record: { status: 'blocked', blocked, waitingFor: [] }, wakeAt, mark: false },
    })
    return answer.kind === 'committed' ? { kind: 'blocked', blocked, wakeAt } : this.#block(state, error)
  }

  #recoveryMs(wakes: number): number {
    // Back-off is ours and persisted (G29): a run that keeps dying without progress is woken ever more rarely.
    return this.#init.limits.recoveryMs * Math.min(32, 2 ** Math.max(0, wakes - 4))
  }

  #state(row: RunRow, record: RunRecord, definition: AnyWorkflow | undefined, last: { seq: number; bytes: Uint8Array } | undefined): RunState {
    const { store, host, limits } = this.#init
    const claimed = last === undefined ? { hash: GENESIS, at: 0 } : claimOf(last.bytes)
    const head: Mark = { seq: last?.seq ?? 0, hash: claimed.hash }
    const writer = new Writer({
      store, host: host.name, limits, now: () => host.now(), timer: (ms, run) => host.timer(ms, run),
    }, row.epoch, record.generation, head, claimed.at)
    return new RunState({
      store, host, limits, writer, definition: definition as AnyWorkflow, redact: this.#redact, record, wakeAt: row.wakeAt, inbox: row.inbox,
      committed: (entries: readonly Entry[]) => { if (entries.length > 0) this.#changed() },
    })
  }
}

/** What a run was started with. Throws `corrupt_entry`. */
export async function startOf(store: RunStore): Promise<StartPayload> {
  const [first] = await store.entries(0, 1)
  if (first === undefined || first.seq !== 1) throw new StepwellError('corrupt_entry', 'entry 1 of the journal is missing', { details: { seq: 1 } })
  return await fromPayload(store, decodeEntry(1, first.bytes, GENESIS)) as StartPayload
}

/** Why this definition may not drive this run, or undefined. */
export function misfit(definition: AnyWorkflow | undefined, record: RunRecord, runId: string): StepwellError | undefined {
  const { workflow, version } = record
  if (definition === undefined || definition.name !== workflow) return new StepwellError('not_registered', `this host knows no workflow named ${workflow}`)
  if (knowsVersion(definition, version)) return undefined
  return new StepwellError('unknown_version',
    `run ${runId} was started at version ${version} of ${workflow}; this host has version ${definition.version} and replays ${definition.replays.join(', ') || 'no other'}`)
}

/** Of an entry that was not verified yet. One that cannot even be parsed is named when the pass reads it; nothing is appended before. */
function claimOf(bytes: Uint8Array): { hash: Uint8Array; at: number } {
  try {
    return claim(bytes)
  } catch {
    return { hash: GENESIS, at: 0 }
  }
}

/** A cancel of a blocked run: its function can't be reached, so there is nothing to clean up with; it ends in one commit. */
async function cancelBlocked(state: RunState): Promise<boolean> {
  const messages = (await state.messages()).filter(({ message }) => message.kind === 'cancel')
  const first = messages[0]?.message
  if (first?.kind !== 'cancel') return false
  const { reason, principal } = first
  const now = state.host.now()
  const payload: CancelPayload = {
    ...(reason === undefined ? undefined : { reason }), ...(principal === undefined ? undefined : { principal }), graceUntil: now,
  }
  const error = new StepwellError('cancelled', reason === undefined ? 'the run was cancelled' : `the run was cancelled: ${reason}`)
  const answer = await state.commit([
    { kind: 'cancel_requested', calls: 0, due: now, payload: encode(payload) },
    { kind: 'run_cancelled', calls: 0, payload: encode(error) },
  ], {
    take: messages.map(({ number }) => number), durability: 'strict',
    change: { record: { status: 'cancelled', endedAt: now, waitingFor: [], blocked: undefined, lastSeq: state.writer.head.seq + 2 }, wakeAt: null, mark: false },
  })
  return answer.kind === 'committed'
}

const curable: ReadonlySet<string> = new Set(['not_registered', 'unknown_version', 'workflow_bug', 'divergence', 'foreign_await', 'format_too_new', 'unsupported_entry'])

function blockedBy(error: StepwellError, tries: number, redact: Redact): Blocked {
  const details = redactDetails(error, redact)
  return {
    code: error.code, tries, message: redactText(error.message, redact), curable: curable.has(error.code) || error.kind === 'usage',
    ...(details === undefined ? undefined : { details }),
  }
}
