// The live side of effects, for one pass: what the journal says of each, when its function may be called (G12), who decides when
// nobody knows whether it happened (G13), and that none is open when the run ends (G16). All at quiescence.

import { decode, encode } from '../codec.ts'
import { redactError, StepwellError } from '../errors.ts'
import { readField } from '../error/data.ts'
import { entryAt } from '../journal/cursor.ts'
import { type Entry, type EntryKind, FINGERPRINT_BYTES, same } from '../journal/entry.ts'
import type { AskedEffect, Message } from '../journal/record.ts'
import { Superseded, type Draft } from '../journal/writer.ts'
import { isPromise } from '../store/store.ts'
import type { Attempt, Outcome } from './attempt.ts'
import { nothing, type Pending, type StepPart } from './call.ts'
import { divergence } from './divergence.ts'
import { type Ambiguity, ambiguityOf, type EffectPart } from './effect.ts'
import { idempotencyKey } from './key.ts'
import { type EffectStatus, type Intent, isFree, ledgerWrite, type LedgerRow, readLedger } from './ledger.ts'
import { addOutcome, type Group, hasRoom, type Live } from './live.ts'
import { describe, encodeInline, offload } from './outcome.ts'
import type { Pass } from './pass.ts'
import { nextDelay } from './retry.ts'
import { Undo } from './undo.ts'

/** What the notes of this generation say of an effect. */
interface Standing {
  readonly fingerprint: Uint8Array
  readonly seq: number
  readonly phase: 'intended' | 'free' | 'failed' | 'ambiguous' | 'recorded'
  /** Of the next attempt. */
  readonly attempt: number
  readonly due: number | undefined
  readonly intent: Intent | undefined
  /** Why nobody knows, where that is known. */
  readonly why?: Ambiguity
  readonly error?: unknown
}

/** The payload of `effect_intended`. */
interface IntentPayload { readonly startBy: number; readonly timeoutMs: number; readonly idempotencyKey: string; readonly policy: string }

/** The payload of `effect_decided`: the audit of how an ambiguity ended. */
export interface Decided {
  /** The intent that it is about. */
  readonly intent: number
  readonly why: Ambiguity
  readonly policy: string
  readonly by: 'policy' | 'probe' | 'person' | 'late'
  readonly decision: 'happened' | 'did_not_happen' | 'rerun' | 'skip' | 'fail'
  readonly principal?: string
  /** Why the probe could not tell. */
  readonly error?: unknown
}

/** An effect that was intended and whose end is not in the journal. */
interface Open {
  readonly call: Pending
  readonly intent: Intent
  ledger: LedgerRow
  /** `waiting`: for the time at which a successor may decide. */
  phase: 'running' | 'waiting' | 'ambiguous' | 'probing' | 'asking'
  why: Ambiguity
  error: unknown
  probes: number
  /** What an attempt that had timed out reported while another one, or the word of its timeout, was under way. */
  late?: { readonly attempt: Attempt; readonly outcome: Outcome }
}

type Resolution = Extract<Message, { kind: 'resolve' }>

const MAX_PROBES = 5

export class Effects {
  readonly undo: Undo
  #pass: Pass
  #live: Live
  /** Every effect that this pass asked for and that may still matter. */
  #asked = new Map<string, Pending>()
  #everAsked = new Set<string>()
  #standings = new Map<string, Standing>()
  #skipped = new Set<string>()
  #queue: Pending[] = []
  /** By ledger key. */
  #open = new Map<string, Open>()
  #resolutions: { readonly number: number; readonly message: Resolution }[] = []

  constructor(pass: Pass, live: Live) {
    this.#pass = pass
    this.#live = live
    this.undo = new Undo(pass, live)
  }

  // --- replay

  /** A call was made. Its function is not called yet. */
  asked(call: Pending): void {
    this.#everAsked.add(call.key)
    this.#asked.set(call.key, call)
  }

  /** What an entry says that is not delivered. */
  note(entry: Entry): void {
    const key = entry.key as string
    if (entry.kind.startsWith('undo_')) {
      this.undo.note(entry)
      return
    }
    const before = this.#standings.get(key)
    const common = { fingerprint: entry.fingerprint as Uint8Array, seq: entry.seq, attempt: before?.attempt ?? 1, due: undefined, intent: before?.intent }
    switch (entry.kind) {
      case 'effect_intended': {
        const { startBy, timeoutMs } = decode(entry.payload) as IntentPayload
        const intent: Intent = { seq: entry.seq, attempt: entry.attempt, at: entry.at, startBy, until: startBy + timeoutMs }
        this.#standings.set(key, { ...common, phase: 'intended', attempt: entry.attempt, intent })
        break
      }
      case 'effect_not_called':
        this.#standings.set(key, { ...common, phase: 'free' })
        break
      case 'effect_attempt_failed':
        // A new generation has a budget of its own.
        if (entry.generation !== this.#pass.init.generation) this.#standings.set(key, { ...common, phase: 'free', attempt: 1 })
        else this.#standings.set(key, { ...common, phase: 'failed', attempt: entry.attempt + 1, due: entry.due })
        break
      case 'effect_ambiguous':
        this.#standings.set(key, { ...common, phase: 'ambiguous', ...(decode(entry.payload) as { why: Ambiguity; error: unknown }) })
        break
      case 'effect_decided': {
        const { decision } = decode(entry.payload) as Decided
        if (decision === 'rerun' || decision === 'did_not_happen') this.#standings.set(key, { ...common, phase: 'free', attempt: common.attempt + 1 })
        else this.#standings.delete(key)
        if (decision === 'skip') this.#skipped.add(key)
        break
      }
      case 'effect_recorded': {
        const call = this.#asked.get(key)
        // Of another act that had this key in the generation before: nothing that this call did.
        if (call !== undefined && !same(call.fingerprint, common.fingerprint)) break
        this.#standings.set(key, { ...common, phase: 'recorded' })
        if (call !== undefined) this.undo.add(call, entry.seq)
        break
      }
      default:
        break
    }
  }

  /** An outcome was delivered to whoever waits. */
  delivered(call: Pending, kind: EntryKind, seq: number): void {
    this.#standings.delete(call.key)
    if (call.step?.undo === undefined) this.#asked.delete(call.key)
    // What was skipped has no outcome that could be taken back.
    else if ((kind === 'effect_completed' || kind === 'step_completed') && !this.#skipped.has(call.key)) this.undo.add(call, seq)
  }

  /** G9: notes about effects that the code does not ask for now, or not as they were. At the end of history. */
  check(): void {
    const { calls, outstanding } = this.#pass
    for (const [key, { fingerprint, phase, seq }] of this.#standings) {
      if (phase === 'recorded') continue
      const recorded = { seq, kind: 'effect_intended' as const, key, calls, fingerprint }
      if (!this.#everAsked.has(key)) throw divergence(recorded, 'it was never asked for', calls, outstanding.values())
      const call = this.#asked.get(key)
      if (call !== undefined && !same(call.fingerprint, fingerprint)) {
        throw divergence(recorded, 'its kind, key or declared input is another one now', calls, outstanding.values())
      }
    }
  }

  // --- live

  begin(call: Pending): void {
    this.#queue.push(call)
  }

  /** Something can be done at once. */
  get isBusy(): boolean {
    return this.#queue.length > 0 || this.#resolutions.length > 0 || [...this.#open.values()].some(({ phase }) => phase === 'ambiguous')
  }

  /** G16: some effect was intended and its end is not known. */
  get isOpen(): boolean {
    return this.#open.size > 0 || [...this.#live.attempts.live.values()].some((attempt) => attempt.role === 'effect')
  }

  isOpenAt(call: Pending): boolean {
    return call.effect !== undefined && this.#open.has(call.effect.base)
  }

  /** The function has ended, or may not go on: what was not intended yet never will be; the rest is settled or decided. */
  close(): void {
    this.#queue = this.#queue.filter(({ key }) => this.#standings.get(key)?.phase === 'intended' || this.#standings.get(key)?.phase === 'ambiguous')
    // Intended in an earlier pass, and asked for by a function that did not wait for it.
    for (const [key, { phase }] of this.#standings) {
      if (phase !== 'intended' && phase !== 'ambiguous') continue
      const call = this.#asked.get(key)
      if (call !== undefined && !this.#open.has(baseOf(call)) && !this.#queue.includes(call)) this.#queue.push(call)
    }
  }

  /** Its time has come: the next attempt, or the end of the wait for a predecessor. */
  due(call: Pending): void {
    const open = this.#open.get(baseOf(call))
    if (open === undefined) this.#queue.push(call)
    else open.phase = 'ambiguous'
  }

  resolve(number: number, message: Resolution): void {
    // About an undo that failed: the message waits for it in the inbox.
    if (!this.undo.isAbout(message.seq)) this.#resolutions.push({ number, message })
  }

  /** What waits for a person. */
  asking(): readonly AskedEffect[] {
    return [...this.#open.values()].filter(({ phase }) => phase === 'asking').map(({ call, intent, why, ledger }) => ({
      seq: intent.seq, key: call.key, kind: call.kind, why, intendedAt: intent.at, attempt: intent.attempt,
      idempotencyKey: this.#idempotencyKey(call, ledger.undos), input: shown(call.step?.input),
    }))
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
    for (const open of this.#open.values()) {
      if (!hasRoom(group, limits)) break
      if (open.phase === 'ambiguous') await this.#decide(group, open, now)
    }
    for (const { number, message } of this.#resolutions.splice(0)) await this.#byPerson(group, number, message, now)
  }

  /** An attempt at an effect, or a probe, has settled. */
  async settled(group: Group, attempt: Attempt, now: number): Promise<void> {
    if (attempt.role === 'probe') return this.#probed(group, attempt, now)
    const open = this.#open.get(attempt.base as string) ?? await this.#orphan(attempt)
    if (open === undefined) return
    const outcome = attempt.outcome as Outcome
    if (outcome.ok) {
      if (attempt.staged !== undefined) group.rows.push(...attempt.staged.rows)
      return this.#happened(group, open, outcome.value, attempt.number)
    }
    if (open.late !== undefined) {
      const { attempt: { number }, outcome: known } = open.late
      this.#audit(group, open, { by: 'late', decision: known.ok ? 'happened' : 'did_not_happen' })
      return known.ok ? this.#happened(group, open, known.value, number) : this.#failed(group, open, known.error, number, now)
    }
    const { error } = outcome
    const why = ambiguityOf(error)
    if (why === undefined) return this.#failed(group, open, error, attempt.number, now)
    const { call } = open
    this.#write(group, open, 'ambiguous', undefined)
    group.drafts.push({
      ...named(call), kind: 'effect_ambiguous', calls: this.#pass.calls, attempt: attempt.number, payload: encode({ why, error: this.#safe(error) }),
    })
    group.isStrict = true
    group.after.push(() => Object.assign(open, { phase: 'ambiguous', why, error }))
  }

  /** G13: an outcome after the attempt's timeout, under the same authority. It is recorded, and delivered only if nothing was decided yet. */
  async late(group: Group, attempt: Attempt, outcome: Outcome): Promise<void> {
    const base = attempt.base as string
    const open = this.#open.get(base)
    if (!outcome.ok && ambiguityOf(outcome.error) !== undefined) return
    if (open !== undefined) {
      const isLast = open.intent.attempt === attempt.number
      if (open.phase === 'running') {
        // Another attempt is under way, or this one's timeout was not written yet: known when that settles, whatever it says.
        if (outcome.ok || isLast) open.late = { attempt, outcome }
      } else if (isLast || outcome.ok) {
        this.#dropProbe(open)
        // Nobody decides it any more in this group.
        open.phase = 'running'
        this.#audit(group, open, { by: 'late', decision: outcome.ok ? 'happened' : 'did_not_happen' })
        if (outcome.ok) await this.#happened(group, open, outcome.value, attempt.number)
        else this.#failed(group, open, outcome.error, attempt.number, this.#live.state.host.now())
      }
      return
    }
    if (!outcome.ok) return
    const ledger = await readLedger(this.#live.state.store, base)
    if (ledger?.intent === undefined || ledger.status === 'done' || ledger.status === 'undone') return
    const asked = this.#asked.get(attempt.key)
    const call = asked !== undefined && baseOf(asked) === base ? asked : strange(ledger, base)
    const known: Open = { call, intent: ledger.intent, ledger, phase: 'ambiguous', why: 'timeout', error: undefined, probes: 0 }
    if (this.#isWanted(call)) {
      // It waits for its next attempt, which is not needed any more.
      this.#queue = this.#queue.filter((queued) => queued !== call)
      this.#audit(group, known, { by: 'late', decision: 'happened' })
      return this.#happened(group, known, outcome.value, attempt.number)
    }
    // It was decided without it: known from now on, and undone with the rest.
    await this.#record(group, known, outcome.value, attempt.number)
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
    if (row.inbox !== state.inboxSeen || this.#pass.isPoked) await this.#live.readInbox(this.#pass)
    const now = state.host.now()
    const isForbidden = this.#live.isStopping(this.#pass, now)
    const missed: Pending[] = []
    for (const call of calls) {
      const open = this.#open.get(baseOf(call)) as Open
      if (isForbidden || now > open.intent.startBy) {
        missed.push(call)
        continue
      }
      const step = call.step as StepPart
      attempts.start(call.key, { ...step, attempt: open.intent.attempt, undos: open.ledger.undos }, this.#live.incarnation, now, 'effect', baseOf(call))
    }
    if (missed.length === 0) return
    await state.commit(missed.map((call) => ({ ...named(call), kind: 'effect_not_called', calls: this.#pass.calls })), {
      rows: missed.map((call) => {
        const open = this.#open.get(baseOf(call)) as Open
        return ledgerWrite((call.effect as EffectPart).base, open.ledger, { ...open.ledger, status: 'failed', updatedAt: now })
      }),
    })
    for (const call of missed) {
      const { intent } = this.#open.get(baseOf(call)) as Open
      this.#open.delete(baseOf(call))
      this.#standings.set(call.key, { fingerprint: call.fingerprint, seq: intent.seq, phase: 'free', attempt: intent.attempt, due: undefined, intent })
      if (this.#isWanted(call)) this.#queue.push(call)
    }
  }

  /** Somebody waits for it, and may still be answered. */
  #isWanted(call: Pending): boolean {
    const { ended, outstanding } = this.#pass
    return ended === undefined && outstanding.get(call.key) === call && !this.#live.isOver(this.#pass, this.#live.state.host.now())
  }

  // --- one effect

  /** G15: journal, then ledger, then a live attempt, and only then an intent. */
  async #enter(group: Group, call: Pending, now: number): Promise<void> {
    const { attempts, state } = this.#live
    const effect = call.effect as EffectPart
    const isWanted = this.#isWanted(call)
    const standing = this.#standings.get(call.key)
    const ledger = await readLedger(state.store, effect.base)
    if (standing !== undefined && standing.phase !== 'recorded') {
      const { intent } = standing
      if ((standing.phase === 'intended' || standing.phase === 'ambiguous') && intent !== undefined && ledger !== undefined) {
        const isLive = attempts.live.get(call.key)?.role === 'effect'
        this.#opened(call, intent, ledger, isLive ? 'running' : standing.phase === 'ambiguous' ? 'ambiguous' : 'waiting', now, standing.why, standing.error)
        return
      }
      if (!isWanted) return
      if (standing.phase === 'failed' && standing.due !== undefined && standing.due > now) {
        call.due = standing.due
        call.isDueStored = true
        this.#live.timed.add(call)
        return
      }
      return this.#intend(group, call, standing.attempt, ledger, now)
    }
    if (isFree(ledger)) {
      if (isWanted) this.#intend(group, call, 1, ledger, now)
      return
    }
    const row = ledger as LedgerRow
    if (row.status === 'done' || row.status === 'skipped') {
      if (isWanted) await this.#found(group, call, row)
      return
    }
    // Intended in an earlier generation.
    const attempt = attempts.ofEffect(effect.base)
    if (attempt !== undefined && attempt.key !== call.key) attempts.adopt(attempt, call.key)
    this.#opened(call, row.intent as Intent, row, attempt !== undefined ? 'running' : row.status === 'ambiguous' ? 'ambiguous' : 'waiting', now)
  }

  #opened(call: Pending, intent: Intent, ledger: LedgerRow, phase: Open['phase'], now: number, why: Ambiguity = 'lost', error?: unknown): void {
    const open: Open = { call, intent, ledger, phase, why, error, probes: 0 }
    this.#open.set(baseOf(call), open)
    if (phase !== 'waiting') return
    if (intent.until <= now) {
      open.phase = 'ambiguous'
      return
    }
    call.due = intent.until
    call.isDueStored = true
    this.#live.timed.add(call)
  }

  #intend(group: Group, call: Pending, attempt: number, ledger: LedgerRow | undefined, now: number): void {
    const { state } = this.#live
    const effect = call.effect as EffectPart
    const step = call.step as StepPart
    const at = Math.max(now, state.writer.lastAt)
    const startBy = at + state.limits.startByMs
    const until = startBy + step.timeoutMs
    const undos = ledger?.undos ?? 0
    const intent: Intent = { seq: this.#seq(group), attempt, at, startBy, until }
    const payload: IntentPayload = { startBy, timeoutMs: step.timeoutMs, idempotencyKey: this.#idempotencyKey(call, undos), policy: effect.policy }
    const row: LedgerRow = {
      status: 'in_progress', key: call.key, kind: effect.kind, generation: state.record.generation, intent, outcome: undefined,
      hasUndo: step.undo !== undefined, undos, updatedAt: at,
    }
    group.rows.push(ledgerWrite(effect.base, ledger, row))
    group.drafts.push({ ...named(call), kind: 'effect_intended', calls: this.#pass.calls, attempt, due: until, payload: encode(payload) })
    group.isStrict = true
    group.after.push(() => {
      step.attempt = attempt
      this.#open.set(effect.base, { call, intent, ledger: row, phase: 'running', why: 'lost', error: undefined, probes: 0 })
      this.#standings.set(call.key, { fingerprint: call.fingerprint, seq: intent.seq, phase: 'intended', attempt, due: undefined, intent })
    })
    group.launch.push(call)
  }

  /** It happened in an earlier generation: the same outcome, under this generation's key. Attempt 0: nothing was called. */
  async #found(group: Group, call: Pending, row: LedgerRow): Promise<void> {
    const entry = await entryAt(this.#live.state.store, row.outcome as number)
    const isFailure = entry.kind === 'effect_failed'
    if (row.status === 'skipped') {
      this.#audit(group, { call, intent: row.intent as Intent, ledger: row, phase: 'ambiguous', why: 'lost', error: undefined, probes: 0 }, { by: 'policy', decision: 'skip' })
      this.#skipped.add(call.key)
    }
    addOutcome(group, {
      ...named(call), kind: isFailure ? 'effect_failed' : 'effect_completed', calls: this.#pass.calls, attempt: 0, payload: entry.payload, blob: entry.blob,
    })
    group.bytes += entry.payload.length
  }

  async #happened(group: Group, open: Open, value: unknown, attempt: number): Promise<void> {
    if (!this.#isWanted(open.call)) return this.#record(group, open, value, attempt)
    const { call } = open
    const draft = await this.#valueOf(group, call, value)
    if (draft instanceof StepwellError) {
      // It did happen, so it must not happen again, also if its value is lost.
      this.#write(group, open, 'done', this.#seq(group))
      addOutcome(group, { ...named(call), kind: 'effect_failed', calls: this.#pass.calls, attempt, payload: encode(this.#safe(draft)) })
    } else {
      this.#write(group, open, 'done', this.#seq(group))
      addOutcome(group, { ...named(call), kind: 'effect_completed', calls: this.#pass.calls, attempt, ...draft })
    }
    group.isStrict = true
    this.#end(group, open)
  }

  /** Its value for the record alone: nobody waits for it any more. */
  async #record(group: Group, open: Open, value: unknown, attempt: number): Promise<void> {
    const { call } = open
    const draft = await this.#valueOf(group, call, value)
    const seq = this.#seq(group)
    this.#write(group, open, 'done', seq)
    group.drafts.push({
      ...named(call), kind: 'effect_recorded', calls: this.#pass.calls, attempt,
      ...(draft instanceof StepwellError ? { payload: encode(undefined) } : draft),
    })
    group.isStrict = true
    group.after.push(() => this.undo.add(call, seq))
    this.#end(group, open)
  }

  #failed(group: Group, open: Open, error: unknown, attempt: number, now: number): void {
    const { call } = open
    const { host } = this.#live.state
    const step = call.step as StepPart
    const isWanted = this.#isWanted(call)
    const bytes = host.random(4)
    const draw = ((bytes[0] as number) + (bytes[1] as number) * 256 + (bytes[2] as number) * 65536) / 16777216
    const delay = isWanted ? nextDelay(step.retry, attempt, error, draw) : undefined
    group.isStrict = true
    if (isWanted && delay === undefined) {
      const attempts = attempt === 1 ? '' : ` after ${attempt} attempts`
      this.#write(group, open, 'failed', this.#seq(group))
      addOutcome(group, {
        ...named(call), kind: 'effect_failed', calls: this.#pass.calls, attempt, payload: encode(this.#safe(new StepwellError('effect_failed',
          `effect "${call.key}" failed${attempts}: ${describe(error)}`, { cause: error, details: { key: call.key, attempts: attempt } }))),
      })
      this.#end(group, open)
      return
    }
    const due = delay === undefined ? undefined : now + delay
    this.#write(group, open, 'failed', undefined)
    const seq = this.#seq(group)
    group.drafts.push({
      ...named(call), kind: 'effect_attempt_failed', calls: this.#pass.calls, attempt, payload: encode(this.#safe(error)),
      ...(due === undefined ? undefined : { due }),
    })
    group.after.push(() => {
      this.#standings.set(call.key, { fingerprint: call.fingerprint, seq, phase: 'failed', attempt: attempt + 1, due, intent: open.intent })
      this.#open.delete(baseOf(call))
      if (due === undefined) return
      call.due = due
      call.isDueStored = true
      this.#live.timed.add(call)
    })
  }

  // --- ambiguity

  async #decide(group: Group, open: Open, now: number): Promise<void> {
    const effect = open.call.effect as EffectPart
    switch (effect.policy) {
      case 'rerun':
        // Nobody waits: to call it again would do what nobody wants any more.
        if (!this.#isWanted(open.call)) return this.#giveUp(group, open, 'policy')
        this.#audit(group, open, { by: 'policy', decision: 'rerun' })
        return this.#intend(group, open.call, open.intent.attempt + 1, open.ledger, now)
      case 'skip': return this.#skip(group, open, 'policy', effect.fallback)
      case 'fail': return this.#giveUp(group, open, 'policy')
      case 'ask':
        open.phase = 'asking'
        return
      case 'probe': return this.#probe(open, now)
    }
  }

  #probe(open: Open, now: number): void {
    const { call } = open
    const step = call.step as StepPart
    open.phase = 'probing'
    open.probes++
    const run = (call.effect as EffectPart).probe as StepPart['run']
    this.#live.attempts.start(probeKey(call.key), { ...step, run, attempt: open.probes, undos: open.ledger.undos }, this.#live.incarnation, now, 'probe')
  }

  async #probed(group: Group, attempt: Attempt, now: number): Promise<void> {
    const open = [...this.#open.values()].find(({ call, phase }) => phase === 'probing' && probeKey(call.key) === attempt.key)
    if (open === undefined) return
    const { call, intent } = open
    const outcome = attempt.outcome as Outcome
    const answer = outcome.ok ? outcome.value : undefined
    if (typeof answer === 'object' && answer !== null && 'happened' in answer) {
      this.#audit(group, open, { by: 'probe', decision: 'happened' })
      return this.#happened(group, open, (answer as { happened: unknown }).happened, intent.attempt)
    }
    if (answer === 'did-not-happen') {
      this.#audit(group, open, { by: 'probe', decision: 'did_not_happen' })
      if (this.#isWanted(call)) return this.#intend(group, call, intent.attempt + 1, open.ledger, now)
      this.#write(group, open, 'failed', undefined)
      this.#end(group, open)
      return
    }
    const error = outcome.ok
      ? answer === 'unknown' ? undefined : new StepwellError('invalid_argument', `the probe of effect ${call.key} answers { happened }, "did-not-happen" or "unknown"`)
      : outcome.error
    if (!outcome.ok && open.probes < MAX_PROBES) {
      // It only reads, so it may be repeated without a word in the journal.
      open.phase = 'waiting'
      call.due = now + 1000 * 2 ** (open.probes - 1)
      this.#live.timed.add(call)
      return
    }
    open.error = error
    if ((call.effect as EffectPart).otherwise === 'fail') this.#giveUp(group, open, 'probe')
    else open.phase = 'asking'
  }

  /** Rejects, if somebody waits: nobody knows whether it happened, and it stays so in the ledger. */
  #giveUp(group: Group, open: Open, by: Decided['by'], principal?: string, reason?: string): void {
    const { call, why, error } = open
    this.#audit(group, open, { by, decision: 'fail', ...(principal === undefined ? undefined : { principal }) })
    this.#write(group, open, 'ambiguous', undefined, { word: 'fail', by, ...(principal === undefined ? undefined : { principal }) })
    if (this.#isWanted(call)) {
      addOutcome(group, {
        ...named(call), kind: 'effect_failed', calls: this.#pass.calls, attempt: open.intent.attempt, payload: encode(this.#safe(new StepwellError('effect_ambiguous',
          `effect "${call.key}": ${reason ?? `nobody knows whether it happened (${why})`}`, { cause: error, details: { key: call.key, why, seq: open.intent.seq } }))),
      })
    }
    group.isStrict = true
    this.#end(group, open)
  }

  async #skip(group: Group, open: Open, by: Decided['by'], value: unknown, principal?: string): Promise<void> {
    const { call } = open
    const decision = { word: 'skip', by, ...(principal === undefined ? undefined : { principal }) }
    this.#skipped.add(call.key)
    this.#audit(group, open, { by, decision: 'skip', ...(principal === undefined ? undefined : { principal }) })
    if (this.#isWanted(call)) {
      const draft = await this.#valueOf(group, call, value)
      if (draft instanceof StepwellError) throw draft
      this.#write(group, open, 'skipped', this.#seq(group), decision)
      addOutcome(group, { ...named(call), kind: 'effect_completed', calls: this.#pass.calls, attempt: 0, ...draft })
    } else this.#write(group, open, 'ambiguous', undefined, decision)
    group.isStrict = true
    this.#end(group, open)
  }

  async #byPerson(group: Group, number: number, message: Resolution, now: number): Promise<void> {
    const { principal } = message
    group.take.push(number)
    const open = [...this.#open.values()].find(({ intent, phase }) => intent.seq === message.seq && phase !== 'running')
    if (open === undefined) {
      this.#live.state.host.log({ level: 'warn', runId: this.#live.state.store.runId, message: `a decision about entry ${message.seq} came when none was asked for` })
      return
    }
    this.#dropProbe(open)
    const who = principal === undefined ? {} : { principal }
    switch (message.decision) {
      case 'happened':
        this.#audit(group, open, { by: 'person', decision: 'happened', ...who })
        return this.#happened(group, open, message.value, open.intent.attempt)
      case 'skip': return this.#skip(group, open, 'person', 'value' in message ? message.value : (open.call.effect as EffectPart).fallback, principal)
      case 'fail': return this.#giveUp(group, open, 'person', principal, 'a person decided that it failed')
      case 'rerun':
        if (!this.#isWanted(open.call)) return this.#giveUp(group, open, 'person', principal)
        this.#audit(group, open, { by: 'person', decision: 'rerun', ...who })
        return this.#intend(group, open.call, open.intent.attempt + 1, open.ledger, now)
    }
  }

  #dropProbe({ call }: Open): void {
    this.#live.attempts.abandon(undefined, ({ role, key }) => role === 'probe' && key === probeKey(call.key))
  }

  #audit(group: Group, open: Open, how: Pick<Decided, 'by' | 'decision' | 'principal'>): void {
    const { call, intent, why, error } = open
    const payload: Decided = {
      intent: intent.seq, why, policy: (call.effect as EffectPart).policy, ...how, ...(error === undefined ? undefined : { error: this.#safe(error) }),
    }
    group.drafts.push({ ...named(call), kind: 'effect_decided', calls: this.#pass.calls, attempt: intent.attempt, payload: encode(payload) })
    group.isStrict = true
  }

  // --- parts

  /** The number that the next draft of `group` gets. */
  #seq(group: Group): number {
    return this.#live.state.writer.head.seq + group.drafts.length + 1
  }

  #write(group: Group, open: Open, status: EffectStatus, outcome: number | undefined, decision?: LedgerRow['decision']): void {
    const row: LedgerRow = {
      ...open.ledger, status, outcome, generation: this.#live.state.record.generation, updatedAt: this.#live.state.host.now(),
      ...(decision === undefined ? undefined : { decision }),
    }
    group.rows.push(ledgerWrite((open.call.effect as EffectPart).base, open.ledger, row))
    group.after.push(() => { open.ledger = row })
  }

  #end(group: Group, open: Open): void {
    group.after.push(() => {
      this.#open.delete(baseOf(open.call))
      this.#standings.delete(open.call.key)
      this.#live.timed.delete(open.call)
    })
  }

  async #valueOf(group: Group, call: Pending, value: unknown): Promise<Pick<Draft, 'payload' | 'blob'> | StepwellError> {
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
  async #orphan(attempt: Attempt): Promise<Open | undefined> {
    const base = attempt.base as string
    const ledger = await readLedger(this.#live.state.store, base)
    if (ledger?.intent === undefined || ledger.kind === 'step') return undefined
    const open: Open = { call: strange(ledger, base), intent: ledger.intent, ledger, phase: 'running', why: 'lost', error: undefined, probes: 0 }
    this.#open.set(base, open)
    return open
  }

  /** An error as it may be stored. */
  #safe(error: unknown): Error {
    return redactError(asError(error), this.#live.state.redact)
  }

  #idempotencyKey(call: Pending, undos: number): string {
    const { labels, name, own, inputBytes, nth } = call.step as StepPart
    return idempotencyKey({ incarnation: this.#live.incarnation, labels, name, own, input: inputBytes, nth, undos })
  }
}

/** An effect that this pass has not asked for, as the ledger knows it. */
function strange(ledger: LedgerRow, base: string): Pending {
  const kind = ledger.kind as EffectPart['kind']
  return {
    kind, key: ledger.key, fingerprint: new Uint8Array(FINGERPRINT_BYTES), isCleanup: false,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, until: undefined, step: undefined,
    effect: { kind, policy: 'fail', otherwise: 'fail', fallback: undefined, probe: undefined, base },
  }
}

const baseOf = (call: Pending): string => (call.effect as EffectPart).base

function named(call: Pending): Pick<Draft, 'key' | 'fingerprint'> {
  return { key: call.key, fingerprint: call.fingerprint }
}

const probeKey = (key: string): string => `probe of ${key}`

function asError(error: unknown): Error {
  return error instanceof Error ? error : new StepwellError('failed', `something that is no Error was thrown: ${describe(error)}`)
}

/** What a person needs to decide, and not a megabyte of it. */
function shown(input: unknown): unknown {
  if (input === undefined) return undefined
  try {
    return encode(input).length <= 4096 ? input : '(larger than 4 KiB)'
  } catch {
    return undefined
  }
}
