// The live end of a pass: starts steps, decides what is committed next, winds a run up, parks it and ends it. Called at
// quiescence, when everything that the journal holds was delivered.

import { encode } from '../codec.ts'
import { redactError, redactText, StepwellError } from '../errors.ts'
import { type Entry, isDelivered } from '../journal/entry.ts'
import type { Blocked, CancelPayload, Message, Waiting } from '../journal/record.ts'
import type { Draft } from '../journal/writer.ts'
import { type Limits, within } from '../limits.ts'
import type { Batch, RowWrite } from '../store/store.ts'
import type { Attempt, Attempts } from './attempt.ts'
import type { Pending, StepPart } from './call.ts'
import { Effects } from './effects.ts'
import { bugOf, finish } from './finish.ts'
import { answerNote } from './once.ts'
import { describe, encodeInline, lendInline, offload } from './outcome.ts'
import type { Next, Pass, PassEnd } from './pass.ts'
import { nextDelay } from './retry.ts'
import type { RunState } from './state.ts'

/** How a run is wound up: it can only end as its cause says, and until `graceUntil` only cleanup may call (G21). */
export interface Winding {
  readonly cause: 'cancel_requested' | 'deadline_passed'
  readonly error: StepwellError
  readonly payload: CancelPayload
  /** False while it was delivered and is not committed: with nothing to clean up it shares one commit with the end. */
  readonly isCommitted: boolean
  readonly draft: Draft | undefined
  /** The messages that asked for it: they go in the commit of its entry, never before. */
  readonly take: readonly number[]
}

export interface PromptOutcome {
  readonly call: Pending
  readonly attempt: number
  /** Lent: it holds until anything else is encoded. */
  readonly payload: Uint8Array
  /** What replay will give. */
  readonly value: unknown
}

/** What goes into one commit. */
export interface Group {
  readonly drafts: Draft[]
  /** How many of the drafts will be delivered. */
  outcomes: number
  readonly require: NonNullable<Batch['require']>[number][]
  /** Settled attempts that the drafts hold. */
  collected: number
  /** Late outcomes that they hold. */
  late: number
  readonly after: (() => void)[]
  bytes: number
  /** Of the effect ledger, and what the settled attempts have staged of the run's state. */
  readonly rows: RowWrite[]
  /** Messages that the drafts decide. */
  readonly take: number[]
  /** Effects to be called when their intents, which are among the drafts, are committed. */
  readonly launch: Pending[]
  /** On the disk before the answer: whatever tells of an effect. */
  isStrict: boolean
}

export function hasRoom(group: Group, limits: Limits): boolean {
  return group.drafts.length < limits.batchEntries && group.bytes < limits.batchBytes
}

export function addOutcome(group: Group, draft: Draft): void {
  group.drafts.push(group.outcomes++ > 0 ? { ...draft, grouped: true } : draft)
}

export class Live {
  readonly state: RunState
  readonly attempts: Attempts
  readonly incarnation: string
  /** Calls that wait for a time: sleeps, and steps between two attempts. */
  readonly timed: Set<Pending> = new Set()
  #unstored: Pending[] = []
  /** Questions to the ledger of effects. */
  #notes: Pending[] = []
  #effects: Effects | undefined
  #pausing: { readonly number: number; readonly message: Message } | undefined
  #resolved = new Set<number>()
  #restart = false
  #patches: string[] = []
  readonly #unpatched = new Set<string>()
  #cancel: { reason?: string; principal?: string; undo?: boolean } | undefined
  #cancels: number[] = []

  constructor(state: RunState, attempts: Attempts) {
    this.state = state
    this.attempts = attempts
    this.incarnation = state.record.incarnation
  }

  /** Of the pass that this belongs to. */
  effectsOf(pass: Pass): Effects {
    return (this.#effects ??= new Effects(pass, this))
  }

  /** A call that nobody has started yet. */
  begin(call: Pending): void {
    if (call.effect !== undefined) {
      this.#effects?.begin(call)
      return
    }
    if (call.note !== undefined) {
      this.#notes.push(call)
      return
    }
    const now = this.state.host.now()
    if (call.step === undefined) {
      if (!call.isDueStored) {
        call.due = call.until?.(now)
        this.#unstored.push(call)
      }
      this.timed.add(call)
      return
    }
    const live = this.attempts.live.get(call.key)
    if (live !== undefined) {
      if (live.number >= call.step.attempt) return
      // Its failure is in the journal already; only the answer of that commit was lost.
      this.attempts.abandon(undefined, (attempt) => attempt.key === call.key)
    }
    if (call.due !== undefined && call.due > now) this.timed.add(call)
    else this.#launch(call, call.step, now)
  }

  #start(call: Pending, now: number): void {
    const { step } = call
    if (step === undefined || this.attempts.live.has(call.key)) return
    this.#launch(call, step, now)
  }

  #launch(call: Pending, step: StepPart, now: number): void {
    if (this.state.record.undos > 0) step.undos = this.state.record.undos
    this.attempts.start(call.key, step, this.incarnation, now)
  }

  /** The one outstanding call's outcome, if it is there and may be delivered at the fixed turn. */
  promptOutcome(pass: Pass): PromptOutcome | undefined {
    const { settled } = this.attempts
    const attempt = settled[0]
    if (attempt === undefined || settled.length !== 1 || this.#unstored.length > 0 || this.#notes.length > 0 || this.#patches.length > 0 || this.timed.size > 0) return undefined
    const call = pass.outstanding.get(attempt.key)
    if (call?.step === undefined || call.effect !== undefined || attempt.role !== 'step' || attempt.outcome?.ok !== true) return undefined
    // What it staged is committed with its outcome, which the other way of delivery does.
    if (attempt.staged !== undefined && attempt.staged.rows.length > 0) return undefined
    try {
      const lent = lendInline(this.state.limits, attempt.outcome.value)
      return lent && { call, attempt: attempt.number, payload: lent.bytes, value: lent.value }
    } catch {
      // What cannot be encoded becomes a failed step, which the other way of delivery handles.
      return undefined
    }
  }

  /** Decides and commits until something can be delivered, or the pass is over. */
  async step(pass: Pass): Promise<Next> {
    const { state, attempts } = this
    const effects = this.effectsOf(pass)
    for (;;) {
      if (pass.isDead) return { kind: 'stopped' }
      if (pass.isPoked) await this.readInbox(pass)
      if (this.#restart && this.#cancel === undefined && pass.winding === undefined) return { kind: 'again' }
      if (pass.foreign !== undefined) return { kind: 'blocked', error: pass.foreign }
      if (this.#patches.length > 0) await this.#commitPatches(pass)
      const now = state.host.now()
      const isOver = this.isOver(pass, now)
      if (isOver) {
        const bug = bugOf(pass)
        if (bug !== undefined) return { kind: 'blocked', error: bug }
        effects.close()
        // With nothing to settle and nothing to undo, a cancel and the end share one commit.
        if (!effects.isOpen && !effects.isBusy) return finish(pass, this)
        attempts.abandon(pass.winding?.error ?? new StepwellError('cancelled', 'the run ended without waiting for this step'), ({ role }) => role === 'step')
        attempts.abortEffects(pass.winding?.error ?? new StepwellError('cancelled', 'the run ended without waiting for this effect'))
      }
      if (pass.winding?.isCommitted === false) await this.commitWinding(pass)
      const cause = isOver ? undefined : this.#causeToWind(pass, now)
      if (cause !== undefined) {
        return () => this.#announce(pass, cause, now)
      }
      if (this.#pausing !== undefined) await this.#pause()
      const isHeld = this.#isHeld(pass, now)
      // Only now: a run that was cancelled before it began starts nothing.
      if (!isOver && !isHeld) pass.startFresh()
      if (pass.foreign !== undefined) return { kind: 'blocked', error: pass.foreign }

      const group = await this.#collect(pass, now, isOver, isHeld)
      if (group.drafts.length > 0 || group.take.length > 0) {
        const answer = await state.commit(group.drafts, {
          ...(group.require.length > 0 ? { require: group.require } : undefined),
          ...(group.rows.length > 0 ? { rows: group.rows } : undefined),
          ...(group.take.length > 0 ? { take: [...state.decided, ...group.take] } : undefined),
          ...(group.isStrict ? { durability: 'strict' as const } : undefined),
        })
        if (answer.kind !== 'committed') continue
        for (const run of group.after) run()
        attempts.collected(group.collected)
        attempts.late.splice(0, group.late)
        if (group.launch.length > 0) await effects.launch(group.launch)
        const outcomes = answer.entries.filter((entry) => isDelivered(entry.kind))
        pass.init.cursor.push(outcomes)
        if (pass.init.cursor.peek() === undefined || isHeld) continue
        return pass.nextDelivery()
      }
      // What was committed while the run was paused.
      if (!isHeld && !isOver && pass.init.cursor.peek() !== undefined) return pass.nextDelivery()
      // What came while the lines above awaited has rung no bell: nothing may be waited for before it is looked at.
      if (attempts.settled.length > 0 || attempts.late.length > 0 || pass.isPoked || pass.foreign !== undefined || pass.isDead) continue
      if (effects.isBusy && !isHeld) continue
      // An effect that was to be settled first turned out to be settled.
      if (isOver && !effects.isOpen && !effects.isBusy) continue
      const running = attempts.live.size > 0
      if (isHeld && !running) {
        const parked = await this.#park(pass, state.record.paused === undefined ? state.record.notBefore ?? null : null)
        if (parked !== undefined) return parked
        continue
      }
      if (pass.outstanding.size === 0 && !isOver) {
        const stalled = await this.#stall(pass)
        if (stalled !== undefined) return stalled
        continue
      }
      const wakeAt = this.#nextTime(pass, isOver)
      if (!running && (wakeAt === null || wakeAt - now > state.limits.stayAwakeMs)) {
        const parked = await this.#park(pass, wakeAt)
        if (parked !== undefined) return parked
        continue
      }
      // Whoever watches hears of steps that take their time; one that was done at once is heard of by its entry.
      if (attempts.armTimeouts()) pass.init.changed()
      await pass.event(wakeAt === null || isHeld ? undefined : wakeAt - now)
    }
  }

  /** A cancel or deadline that was delivered, as a commit of its own: more follows it than the end. */
  async commitWinding(pass: Pass): Promise<void> {
    const { winding } = pass
    if (winding?.isCommitted !== false) return
    await this.state.commit([winding.draft as Draft], { durability: 'strict', take: [...this.state.decided, ...winding.take], change: {
      record: { status: 'cancelling', waitingFor: [], paused: undefined }, wakeAt: this.recovery(), mark: true,
    } })
    pass.winding = { ...winding, isCommitted: true }
  }

  /**
   * The pass is over, the run is not, and effects are under way: what becomes of them is recorded, so that nobody has to guess. Their
   * policies decide later, when the code fits again.
   */
  async settleEffects(pass: Pass): Promise<void> {
    const { state, attempts } = this
    const effects = this.effectsOf(pass)
    pass.outstanding.clear()
    attempts.abandon(undefined, ({ role }) => role !== 'effect')
    while ([...attempts.live.values()].some(({ role }) => role === 'effect')) {
      if (attempts.settled.length === 0) {
        await new Promise<void>((resolve) => {
          attempts.onSettled = resolve
          attempts.armTimeouts()
        })
        continue
      }
      const group: Group = { drafts: [], outcomes: 0, require: [], collected: 1, late: 0, after: [], bytes: 0, rows: [], take: [], launch: [], isStrict: true }
      await effects.settled(group, attempts.settled[0] as Attempt, state.host.now())
      if (group.drafts.length > 0) await state.commit(group.drafts, { rows: group.rows, require: group.require, durability: 'strict' })
      for (const run of group.after) run()
      attempts.collected(1)
    }
    attempts.onSettled = () => {}
  }

  /** Whether code behind a patch runs: what this generation has answered once it answers always. Nothing is scanned. */
  patched(pass: Pass, name: string): boolean {
    if (this.state.record.patches.includes(name) || this.#patches.includes(name)) return true
    const known = this.#unpatched.has(name)
    // History was made without it.
    if (known || !pass.isCaughtUp) {
      this.#unpatched.add(name)
      return false
    }
    within(this.state.limits, 'patches', this.state.record.patches.length + this.#patches.length + 1, 'patches of one generation')
    this.#patches.push(name)
    return true
  }

  /** The answers of `patched` that nobody has stored yet: before anything that follows from them. */
  async #commitPatches(pass: Pass): Promise<void> {
    const names = this.#patches
    const { state } = this
    await state.commit(names.map((name) => ({ kind: 'patch_applied', calls: pass.calls, payload: encode({ name }) })), {
      change: { record: { patches: [...state.record.patches, ...names] }, wakeAt: state.wakeAt, mark: false },
    })
    this.#patches = []
  }

  /** The function has ended, or its time to clean up has. */
  isOver(pass: Pass, now: number): boolean {
    return pass.ended !== undefined || (pass.winding !== undefined && now >= pass.winding.payload.graceUntil)
  }

  /** Paused, or looked at before the time at which it begins: nothing of it goes on unless it is wound up. */
  #isHeld(pass: Pass, now: number): boolean {
    const { paused, notBefore } = this.state.record
    return pass.winding === undefined && (paused !== undefined || (notBefore !== undefined && now < notBefore))
  }

  /** It may not begin any more: the run is to be stopped, or is wound up, where only cleanup may. */
  isStopping(pass: Pass, call: Pending, now: number): boolean {
    if (pass.winding !== undefined) return !call.isCleanup || this.isOver(pass, now)
    return pass.ended !== undefined || this.#pausing !== undefined || this.#causeToWind(pass, now) !== undefined
  }

  async #pause(): Promise<void> {
    if (this.#pausing === undefined) return
    const { number, message } = this.#pausing
    const isPause = message.kind === 'pause'
    const paused = isPause ? { at: message.at, ...(message.principal === undefined ? undefined : { principal: message.principal }) } : undefined
    await this.state.commit([], {
      take: [...this.state.decided, number], durability: 'strict',
      change: { record: { paused, status: isPause ? 'paused' : 'running', waitingFor: [] }, wakeAt: this.recovery(), mark: false },
    })
    this.#pausing = undefined
  }

  /** Delivers a cancel or a passed deadline, from the journal or about to be committed. */
  wind(pass: Pass, entry: { readonly kind: Entry['kind']; readonly at: number }, payload: CancelPayload, draft: Draft | undefined): void {
    const cause = entry.kind === 'cancel_requested' ? 'cancel_requested' : 'deadline_passed'
    const error = cause === 'cancel_requested'
      ? new StepwellError('cancelled', payload.reason === undefined ? 'the run was cancelled' : `the run was cancelled: ${payload.reason}`)
      : new StepwellError('run_timeout', 'the run took longer than its timeout', { details: { deadline: this.state.record.deadline ?? 0 } })
    pass.winding = { cause, error, payload, isCommitted: draft === undefined, draft, take: draft === undefined ? [] : this.#cancels }
    this.#unstored = this.#unstored.filter((call) => call.isCleanup)
    for (const call of this.timed) if (!call.isCleanup && this.#effects?.isOpenAt(call) !== true) this.timed.delete(call)
    this.attempts.abandon(error, ({ key, role }) => role !== 'effect' && role !== 'probe' && pass.outstanding.get(key)?.isCleanup !== true)
    this.attempts.abortEffects(error)
    pass.rejectOutstanding(entry.at, error)
    pass.effects.releaseUnwanted()
  }

  #causeToWind(pass: Pass, now: number): Winding['cause'] | undefined {
    if (pass.winding !== undefined) return undefined
    if (this.#cancel !== undefined) return 'cancel_requested'
    const { deadline } = this.state.record
    return deadline !== undefined && now >= deadline ? 'deadline_passed' : undefined
  }

  #announce(pass: Pass, cause: Winding['cause'], now: number): void {
    const at = Math.max(now, this.state.writer.lastAt)
    const payload: CancelPayload = {
      ...(cause === 'cancel_requested' ? this.#cancel : undefined),
      graceUntil: now + this.state.definition.graceMs,
    }
    const draft: Draft = { kind: cause, calls: pass.calls, at, due: payload.graceUntil, payload: encode(payload) }
    this.wind(pass, { kind: cause, at }, payload, draft)
  }

  async readInbox(pass: Pass): Promise<void> {
    pass.isPoked = false
    for (const { number, message } of await this.state.messages()) {
      switch (message.kind) {
        case 'cancel': {
          const { reason, principal, undo } = message
          this.#cancel ??= {
            ...(reason === undefined ? undefined : { reason }), ...(principal === undefined ? undefined : { principal }), ...(undo === true ? { undo } : undefined),
          }
          if (!this.#cancels.includes(number)) this.#cancels.push(number)
          break
        }
        case 'pause': case 'resume':
          // One at a time: the next is read when this one is committed.
          if (this.#pausing === undefined) this.#pausing = { number, message }
          else if (this.#pausing.number !== number) pass.isPoked = true
          break
        case 'resolve':
          if (!this.#resolved.has(number)) this.effectsOf(pass).ambiguities.resolve(number, message)
          this.#resolved.add(number)
          break
        case 'restart':
          // The driver begins the next generation; this pass is over.
          this.#restart = true
          break
        default:
          this.state.host.log({ level: 'warn', runId: this.state.store.runId, message: `a message of an unknown kind waits in the inbox (${number})` })
      }
    }
  }

  /** What can be committed now: due times to store, timers that are due, attempts that settled. */
  async #collect(pass: Pass, now: number, isOver: boolean, isHeld: boolean): Promise<Group> {
    const { limits } = this.state
    const effects = this.effectsOf(pass)
    const group: Group = {
      drafts: [], outcomes: isHeld && pass.init.cursor.peek() !== undefined ? 1 : 0, require: [], collected: 0, late: 0, after: [], bytes: 0,
      rows: [], take: [], launch: [], isStrict: false,
    }
    const stored: Pending[] = []
    while (!isOver && hasRoom(group, limits)) {
      const call = this.#unstored[stored.length]
      if (call === undefined) break
      group.drafts.push({ kind: 'timer_set', key: call.key, fingerprint: call.fingerprint, calls: pass.calls, due: call.due as number })
      stored.push(call)
    }
    if (stored.length > 0) {
      group.after.push(() => {
        for (const call of stored) call.isDueStored = true
        this.#unstored.splice(0, stored.length)
      })
    }
    const due = isHeld ? [] : [...this.timed].filter((call) => (call.due as number) <= now).sort((a, b) => (a.due as number) - (b.due as number))
    for (const call of due) {
      if (!hasRoom(group, limits)) break
      if (call.effect !== undefined) {
        this.timed.delete(call)
        effects.due(call)
        continue
      }
      if (isOver) continue
      if (call.step !== undefined) {
        this.timed.delete(call)
        this.#start(call, now)
        continue
      }
      addOutcome(group, { kind: 'timer_fired', key: call.key, fingerprint: call.fingerprint, calls: pass.calls, due: call.due as number })
      group.after.push(() => this.timed.delete(call))
    }
    // First: what is known needs no decision and no further attempt.
    while (hasRoom(group, limits)) {
      const late = this.attempts.late[group.late]
      if (late === undefined) break
      group.late++
      await effects.ambiguities.late(group, late.attempt, late.outcome)
    }
    if (!isHeld) await effects.collect(group, now)
    while (hasRoom(group, limits)) {
      const attempt = this.attempts.settled[group.collected]
      if (attempt === undefined) break
      group.collected++
      if (attempt.role !== 'step') {
        await effects.settled(group, attempt, now)
        continue
      }
      const call = pass.outstanding.get(attempt.key)
      if (call?.step === undefined) continue
      const draft = await this.#outcomeOf(pass, call, attempt, group, now)
      if (draft.kind === 'attempt_failed') group.drafts.push(draft)
      else addOutcome(group, draft)
      if (draft.kind === 'step_completed' && attempt.staged !== undefined) {
        group.rows.push(...attempt.staged.rows)
        group.bytes += attempt.staged.bytes
      }
      group.bytes += draft.payload?.length ?? 0
    }
    // Last: they are answered from the ledger as it will be then.
    let answered = 0
    while (!isOver && !isHeld && hasRoom(group, limits)) {
      const call = this.#notes[answered]
      if (call === undefined) break
      answered++
      if (pass.outstanding.get(call.key) !== call) continue
      const draft = await answerNote(this.state, group, call, pass.calls)
      addOutcome(group, draft)
      group.bytes += draft.payload?.length ?? 0
    }
    if (answered > 0) group.after.push(() => this.#notes.splice(0, answered))
    if (group.drafts.length === 0 && group.take.length === 0) {
      this.attempts.collected(group.collected)
      this.attempts.late.splice(0, group.late)
      group.collected = 0
    }
    return group
  }

  async #outcomeOf(pass: Pass, call: Pending, attempt: Attempt, group: Group, now: number): Promise<Draft> {
    const { limits, host, redact } = this.state
    const common = { key: call.key, fingerprint: call.fingerprint, calls: pass.calls, attempt: attempt.number }
    const settled = attempt.outcome
    let error: unknown
    if (settled?.ok === true) {
      try {
        const inline = encodeInline(limits, settled.value, `value of step ${call.key}`)
        if (inline instanceof Uint8Array) return { ...common, kind: 'step_completed', payload: inline }
        const { payload, blob, require } = await offload(this.state.blobs, limits, now, inline.large)
        group.require.push(...(require ?? []))
        return { ...common, kind: 'step_completed', payload, blob }
      } catch (failure) {
        error = failure
      }
    } else error = settled?.error
    const step = call.step as NonNullable<Pending['step']>
    const bytes = host.random(4)
    const draw = ((bytes[0] as number) + (bytes[1] as number) * 256 + (bytes[2] as number) * 65536) / 16777216
    const delay = nextDelay(step.retry, attempt.number, error, draw)
    if (delay !== undefined) {
      const due = now + delay
      group.after.push(() => {
        step.attempt = attempt.number + 1
        call.due = due
        call.isDueStored = true
        this.timed.add(call)
      })
      return { ...common, kind: 'attempt_failed', due, payload: encode(error instanceof Error ? redactError(error, redact) : { thrown: redactText(describe(error), redact) }) }
    }
    const code = error instanceof StepwellError && error.code === 'step_timeout' ? 'step_timeout' : 'step_failed'
    const attempts = attempt.number === 1 ? '' : ` after ${attempt.number} attempts`
    const failure = new StepwellError(code, `step "${call.key}" failed${attempts}: ${describe(error)}`, {
      cause: error, details: { key: call.key, attempts: attempt.number },
    })
    return { ...common, kind: 'step_failed', payload: encode(redactError(failure, redact)) }
  }

  #nextTime(pass: Pass, isOver: boolean): number | null {
    let next = Infinity
    for (const call of this.timed) if (!isOver || call.effect !== undefined) next = Math.min(next, call.due as number)
    if (isOver) return next === Infinity ? null : next
    if (pass.winding !== undefined) next = Math.min(next, pass.winding.payload.graceUntil)
    else if (this.state.record.deadline !== undefined) next = Math.min(next, this.state.record.deadline)
    return next === Infinity ? null : next
  }

  recovery(): number {
    return this.state.host.now() + this.state.limits.recoveryMs
  }

  /** Nothing is outstanding and the function has not ended: it awaits something that is not ours (G30). */
  async #stall(pass: Pass): Promise<PassEnd | undefined> {
    // After a cancel it may wait until the grace deadline, which ends the run (G21).
    const until = pass.winding?.payload.graceUntil ?? this.state.host.now() + this.state.limits.stallMs
    while (pass.foreign === undefined && !pass.isDead && !pass.isPoked) {
      const left = until - this.state.host.now()
      if (left <= 0) {
        if (pass.winding !== undefined) return undefined
        return { kind: 'blocked', error: new StepwellError('foreign_await',
          'the workflow function waits for something that is neither a ctx call nor a plain promise, and nothing came of it: put that into a step', {
            details: { call: 'await' },
          }) }
      }
      await pass.event(left)
    }
    return undefined
  }

  async #park(pass: Pass, wakeAt: number | null): Promise<PassEnd | undefined> {
    const waitingFor: Waiting[] = []
    for (const call of pass.outstanding.values()) {
      if (waitingFor.length === 20) break
      waitingFor.push({
        kind: call.effect !== undefined || call.note !== undefined ? 'effect' : call.step === undefined ? 'timer' : 'retry', key: call.key,
        ...(call.due === undefined ? undefined : { dueAt: call.due }),
        ...(call.step === undefined ? undefined : { attempt: call.step.attempt }),
      })
    }
    const asked = this.effectsOf(pass).ambiguities.asking()
    const blocked: Blocked | undefined = asked.length === 0 ? undefined : {
      code: 'ambiguous_effect', curable: false, tries: 1, details: { effects: asked },
      message: `nobody knows whether ${asked.map(({ key }) => `"${key}"`).join(', ')} happened: find out, and decide with resolve(${asked[0]?.seq}, …)`,
    }
    const isHeld = this.#isHeld(pass, this.state.host.now())
    const status = isHeld ? this.state.record.paused === undefined ? 'queued' : 'paused' : blocked !== undefined ? 'blocked' : pass.winding === undefined ? 'waiting' : 'cancelling'
    const answer = await this.state.commit([], {
      inbox: this.state.inboxSeen,
      change: { record: { status, waitingFor, blocked: isHeld ? undefined : blocked }, wakeAt, mark: true },
    })
    if (answer.kind === 'committed') return { kind: 'parked', wakeAt: this.state.wakeAt }
    pass.isPoked = true
    return undefined
  }
}
