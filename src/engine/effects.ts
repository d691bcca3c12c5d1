// The live side of effects, for one pass: how one is begun, called and settled (G12, G15), and that none is open when the run ends
// (G16). What the journal says of each is in effect-history.ts, who decides when nobody knows in ambiguity.ts. All at quiescence.

import { encode } from '../codec.ts'
import { redactError, StepwellError } from '../errors.ts'
import { readField } from '../error/data.ts'
import { entryAt } from '../journal/cursor.ts'
import { FINGERPRINT_BYTES } from '../journal/entry.ts'
import { Superseded, type Draft } from '../journal/writer.ts'
import { isPromise } from '../store/store.ts'
import { Ambiguities, type Ambiguity, ambiguityOf } from './ambiguity.ts'
import type { Attempt, Outcome } from './attempt.ts'
import { nothing, type Pending, type StepPart } from './call.ts'
import type { EffectPart } from './effect.ts'
import { EffectHistory, type IntentPayload, type Standing } from './effect-history.ts'
import { addOutcome, type Group, hasRoom } from './group.ts'
import { idempotencyKey } from './key.ts'
import { type EffectStatus, type Intent, isFree, ledgerWrite, type LedgerRow, readLedger } from './ledger.ts'
import type { Live } from './live.ts'
import { describe, encodeInline, offload } from './outcome.ts'
import type { Pass } from './pass.ts'
import { drawn, nextDelay } from './retry.ts'
import { Undo } from './undo.ts'

/** An effect that was intended and whose end is not in the journal. */
export interface OpenEffect {
  readonly call: Pending
  readonly intent: Intent
  ledger: LedgerRow
  /** `waiting`: for the time at which a successor may decide, or at which it is run or asked for again. */
  phase: 'running' | 'waiting' | 'ambiguous' | 'probing' | 'asking'
  why: Ambiguity
  error: unknown
  probes: number
  /** How it is being decided: set with the audit entry, for the row in the same commit. */
  decision?: LedgerRow['decision']
  /** What an attempt that had timed out reported while another one, or the word of its timeout, was under way. */
  late?: { readonly attempt: Attempt; readonly outcome: Outcome }
}

export class Effects {
  readonly undo: Undo
  readonly history: EffectHistory
  readonly ambiguities: Ambiguities
  /** By ledger key: intended, and their end is not in the journal. */
  readonly open: Map<string, OpenEffect> = new Map()
  #pass: Pass
  #live: Live
  #queue: Pending[] = []
  /** Of calls with one ledger key (`ctx.once`): the one that acts, and those that wait for what it gives. */
  #holders = new Map<string, Pending>()
  #joined = new Map<string, Pending[]>()
  /** What those get that had joined a call that was rejected. */
  #refusals = new Map<Pending, Uint8Array>()

  constructor(pass: Pass, live: Live) {
    this.#pass = pass
    this.#live = live
    this.undo = new Undo(pass, live)
    this.history = new EffectHistory(pass, this.undo)
    this.ambiguities = new Ambiguities(pass, live, this)
  }

  begin(call: Pending): void {
    this.#queue.push(call)
  }

  /** It is known already: nothing is to be begun. */
  withdraw(call: Pending): void {
    this.#queue = this.#queue.filter((queued) => queued !== call)
  }

  /** Something can be done at once. */
  get isBusy(): boolean {
    return this.#queue.length > 0 || this.ambiguities.isBusy
  }

  /** G16: some effect was intended and its end is not known. */
  get isOpen(): boolean {
    return this.open.size > 0 || [...this.#live.attempts.live.values()].some((attempt) => attempt.role === 'effect')
  }

  isOpenAt(call: Pending): boolean {
    return call.effect !== undefined && this.open.has(call.effect.base)
  }

  /** The function has ended, or may not go on: what was not intended yet never will be; the rest is settled or decided. */
  close(): void {
    this.releaseUnwanted()
    this.#queue = this.#queue.filter(({ key }) => this.history.standings.get(key)?.phase === 'intended' || this.history.standings.get(key)?.phase === 'ambiguous')
    // Intended in an earlier pass, and asked for by a function that did not wait for it.
    for (const [key, { phase }] of this.history.standings) {
      if (phase !== 'intended' && phase !== 'ambiguous') continue
      const call = this.history.calls.get(key)
      if (call !== undefined && !this.open.has(baseOf(call)) && !this.#queue.includes(call)) this.#queue.push(call)
    }
  }

  /** Who had joined a call that nobody answers any more is free to act. */
  releaseUnwanted(): void {
    for (const [base, holder] of this.#holders) if (!this.isWanted(holder) && !this.open.has(base)) this.#release(base)
  }

  /** Its time has come: the next attempt, or the end of the wait for a predecessor. */
  due(call: Pending): void {
    const open = this.open.get(baseOf(call))
    if (open === undefined) this.#queue.push(call)
    else open.phase = 'ambiguous'
  }

  /** Adds to `group` what can be committed of effects now. */
  async collect(group: Group, now: number): Promise<void> {
    const { limits } = this.#live.state
    const queue = this.#queue
    this.#queue = []
    for (const [i, call] of queue.entries()) {
      if (!hasRoom(group, limits)) {
        this.#queue.push(...queue.slice(i))
        break
      }
      await this.#enter(group, call, now)
    }
    await this.ambiguities.collect(group, now)
  }

  /** An attempt at an effect, or a probe, has settled. */
  async settled(group: Group, attempt: Attempt, now: number): Promise<void> {
    if (attempt.role === 'probe') return this.ambiguities.probed(group, attempt, now)
    const open = this.open.get(attempt.base as string) ?? await this.#orphan(attempt)
    if (open === undefined) return
    const outcome = attempt.outcome as Outcome
    if (outcome.ok) {
      if (attempt.staged !== undefined) group.rows.push(...attempt.staged.rows)
      return this.happened(group, open, outcome.value, attempt.number)
    }
    if (open.late !== undefined) {
      const { attempt: { number }, outcome: known } = open.late
      this.ambiguities.audit(group, open, { by: 'late', decision: known.ok ? 'happened' : 'did_not_happen' })
      return known.ok ? this.happened(group, open, known.value, number) : this.failed(group, open, known.error, number, now)
    }
    const { error } = outcome
    const why = ambiguityOf(error)
    if (why === undefined) return this.failed(group, open, error, attempt.number, now)
    const { call } = open
    // Called again at once it would fail again, and the journal would grow as fast as the disk can write.
    const delay = (call.effect as EffectPart).policy === 'rerun' && this.isWanted(call)
      ? nextDelay((call.step as StepPart).retry, attempt.number, error, drawn(this.#live.state.host)) : undefined
    const due = delay === undefined ? undefined : now + delay
    this.write(group, open, 'ambiguous', undefined)
    group.drafts.push({
      ...named(call), kind: 'effect_ambiguous', calls: this.#pass.calls, attempt: attempt.number, payload: encode({ why, error: this.safe(error) }),
      ...(due === undefined ? undefined : { due }),
    })
    group.isStrict = true
    group.after.push(() => {
      Object.assign(open, { phase: 'ambiguous', why, error })
      if (due !== undefined && due > now) this.#wait(open, due)
    })
  }

  /** Calls the functions whose intents were just committed, after one more look at everything that forbids it (G12). */
  async launch(calls: readonly Pending[]): Promise<void> {
    const { state, attempts } = this.#live
    const flushed = state.store.flush?.()
    if (flushed !== undefined && isPromise(flushed)) await flushed
    const read = state.store.read()
    const row = isPromise(read) ? await read : read
    if (row === undefined) throw new Superseded('absent')
    if (row.epoch !== state.writer.epoch) throw new Superseded('epoch')
    if (row.inbox !== state.inboxSeen || this.#pass.isPoked) await this.#live.inbox.read(this.#pass)
    const now = state.host.now()
    const missed: Pending[] = []
    for (const call of calls) {
      const open = this.open.get(baseOf(call)) as OpenEffect
      if (this.#live.isStopping(this.#pass, call, now) || now > open.intent.startBy) {
        missed.push(call)
        continue
      }
      const step = call.step as StepPart
      attempts.start(call.key, { ...step, attempt: open.intent.attempt, undos: open.ledger.undos }, this.#live.incarnation, now, 'effect', baseOf(call))
    }
    if (missed.length === 0) return
    await state.commit(missed.map((call) => ({ ...named(call), kind: 'effect_not_called', calls: this.#pass.calls })), {
      rows: missed.map((call) => {
        const open = this.open.get(baseOf(call)) as OpenEffect
        return ledgerWrite((call.effect as EffectPart).base, open.ledger, { ...open.ledger, status: 'failed', updatedAt: now })
      }),
    })
    for (const call of missed) {
      const { intent } = this.open.get(baseOf(call)) as OpenEffect
      this.open.delete(baseOf(call))
      this.history.standings.set(call.key, { fingerprint: call.fingerprint, seq: intent.seq, phase: 'free', attempt: intent.attempt, due: undefined, intent })
      if (this.isWanted(call)) this.#queue.push(call)
      else this.#release(baseOf(call))
    }
  }

  /** Somebody waits for it, and may still be answered. */
  isWanted(call: Pending): boolean {
    const { ended, outstanding } = this.#pass
    return ended === undefined && outstanding.get(call.key) === call && !this.#live.isOver(this.#pass, this.#live.state.host.now())
  }

  // --- one effect

  /** One call for each ledger key; the others wait for its outcome, which is theirs too. */
  async #enter(group: Group, call: Pending, now: number): Promise<void> {
    if (call.kind !== 'once') return this.#begin(group, call, now)
    const refusal = this.#refusals.get(call)
    if (refusal !== undefined) {
      this.#refusals.delete(call)
      if (this.isWanted(call)) addOutcome(group, { ...named(call), kind: 'effect_failed', calls: this.#pass.calls, payload: refusal })
      group.bytes += refusal.length
      return
    }
    const base = baseOf(call)
    const holder = this.#holders.get(base)
    if (holder !== undefined && holder !== call) {
      this.#joined.set(base, [...this.#joined.get(base) ?? [], call])
      return
    }
    this.#holders.set(base, call)
    await this.#begin(group, call, now)
    if (!this.isWanted(call) && !this.open.has(base)) this.#release(base)
  }

  /** Nobody acts under this key any more. `refusal`: the error that those get who had joined. */
  #release(base: string, refusal?: Uint8Array): void {
    this.#holders.delete(base)
    for (const call of this.#joined.get(base) ?? []) {
      if (refusal !== undefined) this.#refusals.set(call, refusal)
      this.#queue.push(call)
    }
    this.#joined.delete(base)
  }

  /** G15: journal, then ledger, then a live attempt, and only then an intent. */
  async #begin(group: Group, call: Pending, now: number): Promise<void> {
    const { attempts, state } = this.#live
    const effect = call.effect as EffectPart
    const isWanted = this.isWanted(call)
    const standing = this.history.standings.get(call.key)
    const isIntended = standing?.phase === 'intended' || standing?.phase === 'ambiguous'
    // What the ledger says is newer than notes that a generation inherits: its past may have been cut between intent and outcome.
    const ledger = await readLedger(state.store, effect.base) ?? (isIntended ? this.#unlisted(call, standing) : undefined)
    if (ledger?.status === 'done' || ledger?.status === 'skipped') {
      if (isWanted) await this.#found(group, call, ledger)
      else this.history.standings.delete(call.key)
      return
    }
    if (ledger === undefined || isFree(ledger)) {
      if (!isWanted) {
        this.history.standings.delete(call.key)
        return
      }
      if (standing?.phase === 'failed' && standing.due !== undefined && standing.due > now) {
        if (call.step !== undefined) call.step.attempt = standing.attempt
        call.due = standing.due
        call.isDueStored = true
        this.#live.timed.add(call)
        return
      }
      return this.intend(group, call, standing?.phase === 'failed' || standing?.phase === 'free' ? standing.attempt : 1, ledger, now)
    }
    // Intended, in this pass' history or in an earlier generation.
    const intent = ledger.intent as Intent
    const attempt = attempts.ofEffect(effect.base)
    if (attempt !== undefined && attempt.key !== call.key) attempts.adopt(attempt, call.key)
    const known = isIntended && standing.intent?.seq === intent.seq ? standing : undefined
    const isAmbiguous = ledger.status === 'ambiguous' || known?.phase === 'ambiguous'
    const open = this.#opened(call, intent, ledger, attempt !== undefined ? 'running' : 'ambiguous', known?.why, known?.error)
    if (attempt !== undefined) return
    const due = isAmbiguous ? known?.due : intent.until
    if (due !== undefined && due > now) this.#wait(open, due)
  }

  /** G1: the journal tells of an intent for which the ledger has no row. */
  #unlisted(call: Pending, { intent }: Standing): LedgerRow | undefined {
    if (intent === undefined) return undefined
    const { kind } = call.effect as EffectPart
    return {
      status: 'in_progress', key: call.key, kind, generation: this.#live.state.record.generation, intent, outcome: undefined,
      hasUndo: call.step?.undo !== undefined, undos: 0, updatedAt: intent.at,
    }
  }

  #opened(call: Pending, intent: Intent, ledger: LedgerRow, phase: OpenEffect['phase'], why: Ambiguity = 'lost', error?: unknown): OpenEffect {
    const open: OpenEffect = { call, intent, ledger, phase, why, error, probes: 0 }
    this.open.set(baseOf(call), open)
    return open
  }

  /** Nothing is decided about it before `due`. */
  #wait(open: OpenEffect, due: number): void {
    const { call } = open
    open.phase = 'waiting'
    call.due = due
    call.isDueStored = true
    this.#live.timed.add(call)
  }

  intend(group: Group, call: Pending, attempt: number, ledger: LedgerRow | undefined, now: number): void {
    const { state } = this.#live
    const effect = call.effect as EffectPart
    const step = call.step as StepPart
    const at = Math.max(now, state.writer.lastAt)
    const startBy = at + state.limits.startByMs
    const until = startBy + step.timeoutMs
    const undos = ledger?.undos ?? 0
    const intent: Intent = { seq: this.seq(group), attempt, at, startBy, until }
    const payload: IntentPayload = { startBy, timeoutMs: step.timeoutMs, idempotencyKey: this.idempotencyKey(call, undos), policy: effect.policy }
    const row: LedgerRow = {
      status: 'in_progress', key: call.key, kind: effect.kind, generation: state.record.generation, intent, outcome: undefined,
      hasUndo: step.undo !== undefined, undos, updatedAt: at,
    }
    group.rows.push(ledgerWrite(effect.base, ledger, row))
    group.drafts.push({ ...named(call), kind: 'effect_intended', calls: this.#pass.calls, attempt, due: until, payload: encode(payload) })
    group.isStrict = true
    group.after.push(() => {
      step.attempt = attempt
      this.open.set(effect.base, { call, intent, ledger: row, phase: 'running', why: 'lost', error: undefined, probes: 0 })
      this.history.standings.set(call.key, { fingerprint: call.fingerprint, seq: intent.seq, phase: 'intended', attempt, due: undefined, intent })
    })
    group.launch.push(call)
  }

  /** It happened in an earlier generation: the same outcome, under this generation's key. Attempt 0: nothing was called. */
  async #found(group: Group, call: Pending, row: LedgerRow): Promise<void> {
    const entry = await entryAt(this.#live.state.store, row.outcome as number)
    const isFailure = entry.kind === 'effect_failed'
    if (row.status === 'skipped') {
      this.ambiguities.audit(group, { call, intent: row.intent as Intent, ledger: row, phase: 'ambiguous', why: 'lost', error: undefined, probes: 0 }, { by: 'policy', decision: 'skip' })
      this.history.skipped.add(call.key)
    }
    addOutcome(group, {
      ...named(call), kind: isFailure ? 'effect_failed' : 'effect_completed', calls: this.#pass.calls, attempt: 0, payload: entry.payload, blob: entry.blob,
    })
    group.bytes += entry.payload.length
    group.after.push(() => this.#release(baseOf(call)))
  }

  async happened(group: Group, open: OpenEffect, value: unknown, attempt: number): Promise<void> {
    if (!this.isWanted(open.call)) return this.record(group, open, value, attempt)
    const { call } = open
    const draft = await this.valueOf(group, call, value)
    if (draft instanceof StepwellError) {
      // It did happen, so it must not happen again, also if its value is lost.
      this.write(group, open, 'done', this.seq(group))
      addOutcome(group, { ...named(call), kind: 'effect_failed', calls: this.#pass.calls, attempt, payload: encode(this.safe(draft)) })
    } else {
      this.write(group, open, 'done', this.seq(group))
      addOutcome(group, { ...named(call), kind: 'effect_completed', calls: this.#pass.calls, attempt, ...draft })
    }
    group.isStrict = true
    this.end(group, open)
  }

  /** Its value for the record alone: nobody waits for it any more. */
  async record(group: Group, open: OpenEffect, value: unknown, attempt: number): Promise<void> {
    const { call } = open
    const draft = await this.valueOf(group, call, value)
    const seq = this.seq(group)
    this.write(group, open, 'done', seq)
    group.drafts.push({
      ...named(call), kind: 'effect_recorded', calls: this.#pass.calls, attempt,
      ...(draft instanceof StepwellError ? { payload: encode(undefined) } : draft),
    })
    group.isStrict = true
    group.after.push(() => this.undo.add(call, seq))
    this.end(group, open)
  }

  failed(group: Group, open: OpenEffect, error: unknown, attempt: number, now: number): void {
    const { call } = open
    const step = call.step as StepPart
    const isWanted = this.isWanted(call)
    const delay = isWanted ? nextDelay(step.retry, attempt, error, drawn(this.#live.state.host)) : undefined
    group.isStrict = true
    if (isWanted && delay === undefined) {
      const attempts = attempt === 1 ? '' : ` after ${attempt} attempts`
      this.write(group, open, 'failed', this.seq(group))
      const payload = encode(this.safe(new StepwellError('effect_failed',
        `effect "${call.key}" failed${attempts}: ${describe(error)}`, { cause: error, details: { key: call.key, attempts: attempt } })))
      addOutcome(group, { ...named(call), kind: 'effect_failed', calls: this.#pass.calls, attempt, payload })
      this.end(group, open, payload)
      return
    }
    const due = delay === undefined ? undefined : now + delay
    this.write(group, open, 'failed', undefined)
    const seq = this.seq(group)
    group.drafts.push({
      ...named(call), kind: 'effect_attempt_failed', calls: this.#pass.calls, attempt, payload: encode(this.safe(error)),
      ...(due === undefined ? undefined : { due }),
    })
    group.after.push(() => {
      if (call.step !== undefined) this.history.standings.set(call.key, { fingerprint: call.fingerprint, seq, phase: 'failed', attempt: attempt + 1, due, intent: open.intent })
      this.open.delete(baseOf(call))
      if (due === undefined) {
        this.#release(baseOf(call))
        return
      }
      step.attempt = attempt + 1
      call.due = due
      call.isDueStored = true
      this.#live.timed.add(call)
    })
  }

  // --- parts

  /** The number that the next draft of `group` gets. */
  seq(group: Group): number {
    return this.#live.state.writer.head.seq + group.drafts.length + 1
  }

  write(group: Group, open: OpenEffect, status: EffectStatus, outcome: number | undefined): void {
    const row: LedgerRow = {
      ...open.ledger, status, outcome, generation: this.#live.state.record.generation, updatedAt: this.#live.state.host.now(),
      ...(open.decision === undefined ? undefined : { decision: open.decision }),
    }
    group.rows.push(ledgerWrite((open.call.effect as EffectPart).base, open.ledger, row))
    group.after.push(() => { open.ledger = row })
  }

  /** `refusal`: the error that it ends with. */
  end(group: Group, open: OpenEffect, refusal?: Uint8Array): void {
    group.after.push(() => {
      this.open.delete(baseOf(open.call))
      this.history.standings.delete(open.call.key)
      this.#live.timed.delete(open.call)
      this.#release(baseOf(open.call), refusal)
    })
  }

  async valueOf(group: Group, call: Pending, value: unknown): Promise<Pick<Draft, 'payload' | 'blob'> | StepwellError> {
    const { state } = this.#live
    try {
      const inline = encodeInline(state.limits, value, `value of effect ${call.key}`)
      if (inline instanceof Uint8Array) {
        group.bytes += inline.length
        return { payload: inline }
      }
      const { payload, blob, require } = await offload(state.blobs, state.limits, state.host.now(), inline.large)
      group.require.push(...(require ?? []))
      return { payload, blob }
    } catch (error) {
      const code = readField(error, 'code')
      if (code !== 'not_serializable' && code !== 'limit_exceeded') throw error
      return new StepwellError(code, `effect "${call.key}" happened, and its value cannot be kept: ${describe(error)}`, { cause: error, details: { key: call.key } })
    }
  }

  /** A live attempt of an earlier generation, for which this one has not asked: known all the same, and delivered to nobody. */
  async #orphan(attempt: Attempt): Promise<OpenEffect | undefined> {
    const base = attempt.base as string
    const ledger = await readLedger(this.#live.state.store, base)
    if (ledger?.intent === undefined || ledger.kind === 'step') return undefined
    const open: OpenEffect = { call: strange(ledger, base), intent: ledger.intent, ledger, phase: 'running', why: 'lost', error: undefined, probes: 0 }
    this.open.set(base, open)
    return open
  }

  /** An error as it may be stored. */
  safe(error: unknown): Error {
    return redactError(asError(error), this.#live.state.redact)
  }

  idempotencyKey(call: Pending, undos: number): string {
    const { labels, name, own, inputBytes, nth } = call.step as StepPart
    return idempotencyKey({ incarnation: this.#live.incarnation, labels, name, own, input: inputBytes, nth, undos })
  }
}

/** An effect that this pass has not asked for, as the ledger knows it. */
export function strange(ledger: LedgerRow, base: string): Pending {
  const kind = ledger.kind as EffectPart['kind']
  return {
    kind, key: ledger.key, fingerprint: new Uint8Array(FINGERPRINT_BYTES), isCleanup: false,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, until: undefined, step: undefined,
    effect: { kind, policy: 'fail', otherwise: 'fail', fallback: undefined, probe: undefined, base },
  }
}

export const baseOf = (call: Pending): string => (call.effect as EffectPart).base

export function named(call: Pending): Pick<Draft, 'key' | 'fingerprint'> {
  return { key: call.key, fingerprint: call.fingerprint }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new StepwellError('failed', `something that is no Error was thrown: ${describe(error)}`)
}
