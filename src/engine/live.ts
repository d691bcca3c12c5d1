// The live end of a pass: starts steps, decides what is committed next, winds a run up, parks it and ends it. Called at
// quiescence, when everything that the journal holds was delivered.

import { encode } from '../codec.ts'
import { redactError, redactText, StepwellError } from '../errors.ts'
import type { Entry } from '../journal/entry.ts'
import type { CancelPayload, Waiting } from '../journal/record.ts'
import type { Draft } from '../journal/writer.ts'
import type { Limits } from '../limits.ts'
import type { Batch, RowWrite } from '../store/store.ts'
import type { Attempt, Attempts } from './attempt.ts'
import type { Pending } from './call.ts'
import { finish } from './finish.ts'
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
}

export interface PromptOutcome {
  readonly call: Pending
  readonly attempt: number
  /** Lent: it holds until anything else is encoded. */
  readonly payload: Uint8Array
  /** What replay will give. */
  readonly value: unknown
}

interface Group {
  readonly drafts: Draft[]
  /** How many of the drafts will be delivered. */
  outcomes: number
  readonly require: NonNullable<Batch['require']>[number][]
  /** What the settled attempts have staged of the run's state. */
  readonly rows: RowWrite[]
  /** Settled attempts that the drafts hold. */
  collected: number
  readonly after: (() => void)[]
  bytes: number
}

function hasRoom(group: Group, limits: Limits): boolean {
  return group.drafts.length < limits.batchEntries && group.bytes < limits.batchBytes
}

function addOutcome(group: Group, draft: Draft): void {
  group.drafts.push(group.outcomes++ > 0 ? { ...draft, grouped: true } : draft)
}

export class Live {
  readonly state: RunState
  readonly attempts: Attempts
  readonly incarnation: string
  /** Calls that wait for a time: sleeps, and steps between two attempts. */
  readonly timed: Set<Pending> = new Set()
  #unstored: Pending[] = []
  #cancel: { reason?: string; principal?: string } | undefined

  constructor(state: RunState, attempts: Attempts) {
    this.state = state
    this.attempts = attempts
    this.incarnation = state.record.incarnation
  }

  /** A call that nobody has started yet. */
  begin(call: Pending): void {
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
      this.attempts.abandon(undefined, (key) => key === call.key)
    }
    if (call.due !== undefined && call.due > now) this.timed.add(call)
    else this.attempts.start(call.key, call.step, this.incarnation, now)
  }

  #start(call: Pending, now: number): void {
    const { step } = call
    if (step === undefined || this.attempts.live.has(call.key)) return
    this.attempts.start(call.key, step, this.incarnation, now)
  }

  /** The one outstanding call's outcome, if it is there and may be delivered at the fixed turn. */
  promptOutcome(pass: Pass): PromptOutcome | undefined {
    const { settled } = this.attempts
    const attempt = settled[0]
    if (attempt === undefined || settled.length !== 1 || this.#unstored.length > 0 || this.timed.size > 0) return undefined
    const call = pass.outstanding.get(attempt.key)
    if (call?.step === undefined || attempt.outcome?.ok !== true) return undefined
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
    if (pass.ended !== undefined) return finish(pass, this)
    if (pass.winding?.isCommitted === false) {
      await state.commit([pass.winding.draft as Draft], { durability: 'strict', change: {
        record: { status: 'cancelling', waitingFor: [] }, wakeAt: this.#recovery(), mark: true,
      } })
      pass.winding = { ...pass.winding, isCommitted: true }
    }
    for (;;) {
      if (pass.isDead) return { kind: 'stopped' }
      if (pass.isPoked) await this.#readInbox(pass)
      if (pass.foreign !== undefined) return { kind: 'blocked', error: pass.foreign }
      const now = state.host.now()
      const cause = this.#causeToWind(pass, now)
      if (cause !== undefined) {
        return () => this.#announce(pass, cause, now)
      }
      if (pass.winding !== undefined && now >= pass.winding.payload.graceUntil) return finish(pass, this)
      // Only now: a run that was cancelled before it began starts nothing.
      pass.startFresh()
      if (pass.foreign !== undefined) return { kind: 'blocked', error: pass.foreign }

      const group = await this.#collect(pass, now)
      if (group.drafts.length > 0) {
        const answer = await state.commit(group.drafts, { require: group.require, rows: group.rows })
        if (answer.kind !== 'committed') continue
        for (const run of group.after) run()
        attempts.collected(group.collected)
        const outcomes = answer.entries.filter((entry) => entry.kind !== 'attempt_failed' && entry.kind !== 'timer_set')
        const first = outcomes[0]
        if (first === undefined) continue
        pass.init.cursor.push(outcomes)
        return pass.nextDelivery()
      }
      // What came while the lines above awaited has rung no bell: nothing may be waited for before it is looked at.
      if (attempts.settled.length > 0 || pass.isPoked || pass.foreign !== undefined || pass.isDead) continue
      if (pass.outstanding.size === 0) {
        const stalled = await this.#stall(pass)
        if (stalled !== undefined) return stalled
        continue
      }
      const wakeAt = this.#nextTime(pass)
      const running = attempts.live.size > 0
      if (!running && (wakeAt === null || wakeAt - now > state.limits.stayAwakeMs)) {
        const parked = await this.#park(pass, wakeAt)
        if (parked !== undefined) return parked
        continue
      }
      // Whoever watches hears of steps that take their time; one that was done at once is heard of by its entry.
      if (attempts.armTimeouts()) pass.init.changed()
      await pass.event(wakeAt === null ? undefined : wakeAt - now)
    }
  }

  /** Delivers a cancel or a passed deadline, from the journal or about to be committed. */
  wind(pass: Pass, entry: { readonly kind: Entry['kind']; readonly at: number }, payload: CancelPayload, draft: Draft | undefined): void {
    const cause = entry.kind === 'cancel_requested' ? 'cancel_requested' : 'deadline_passed'
    const error = cause === 'cancel_requested'
      ? new StepwellError('cancelled', payload.reason === undefined ? 'the run was cancelled' : `the run was cancelled: ${payload.reason}`)
      : new StepwellError('run_timeout', 'the run took longer than its timeout', { details: { deadline: this.state.record.deadline ?? 0 } })
    pass.winding = { cause, error, payload, isCommitted: draft === undefined, draft }
    this.#unstored = this.#unstored.filter((call) => call.isCleanup)
    for (const call of this.timed) if (!call.isCleanup) this.timed.delete(call)
    this.attempts.abandon(error, (key) => pass.outstanding.get(key)?.isCleanup !== true)
    pass.rejectOutstanding(entry.at, error)
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

  async #readInbox(pass: Pass): Promise<void> {
    pass.isPoked = false
    for (const { number, message } of await this.state.messages()) {
      if (message.kind !== 'cancel') {
        this.state.host.log({ level: 'warn', runId: this.state.store.runId, message: `a message of an unknown kind waits in the inbox (${number})` })
        continue
      }
      this.#cancel ??= {
        ...(message.reason === undefined ? undefined : { reason: message.reason }),
        ...(message.principal === undefined ? undefined : { principal: message.principal }),
      }
      this.state.decided.push(number)
    }
  }

  /** What can be committed now: due times to store, timers that are due, attempts that settled. */
  async #collect(pass: Pass, now: number): Promise<Group> {
    const { limits } = this.state
    const group: Group = { drafts: [], outcomes: 0, require: [], rows: [], collected: 0, after: [], bytes: 0 }
    while (hasRoom(group, limits)) {
      const call = this.#unstored[group.after.length]
      if (call === undefined) break
      group.drafts.push({ kind: 'timer_set', key: call.key, fingerprint: call.fingerprint, calls: pass.calls, due: call.due as number })
      group.after.push(() => { call.isDueStored = true })
    }
    const stored = group.after.length
    if (stored > 0) group.after.push(() => { this.#unstored.splice(0, stored) })
    const due = [...this.timed].filter((call) => (call.due as number) <= now).sort((a, b) => (a.due as number) - (b.due as number))
    for (const call of due) {
      if (!hasRoom(group, limits)) break
      if (call.step !== undefined) {
        this.timed.delete(call)
        this.#start(call, now)
        continue
      }
      addOutcome(group, { kind: 'timer_fired', key: call.key, fingerprint: call.fingerprint, calls: pass.calls, due: call.due as number })
      group.after.push(() => this.timed.delete(call))
    }
    while (hasRoom(group, limits)) {
      const attempt = this.attempts.settled[group.collected]
      if (attempt === undefined) break
      group.collected++
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
    if (group.drafts.length === 0 && group.collected > 0) {
      this.attempts.collected(group.collected)
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

  #nextTime(pass: Pass): number | null {
    let next = Infinity
    for (const call of this.timed) next = Math.min(next, call.due as number)
    if (pass.winding !== undefined) next = Math.min(next, pass.winding.payload.graceUntil)
    else if (this.state.record.deadline !== undefined) next = Math.min(next, this.state.record.deadline)
    return next === Infinity ? null : next
  }

  #recovery(): number {
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
        kind: call.step === undefined ? 'timer' : 'retry', key: call.key,
        ...(call.due === undefined ? undefined : { dueAt: call.due }),
        ...(call.step === undefined ? undefined : { attempt: call.step.attempt }),
      })
    }
    const answer = await this.state.commit([], {
      inbox: this.state.inboxSeen,
      change: { record: { status: pass.winding === undefined ? 'waiting' : 'cancelling', waitingFor }, wakeAt, mark: true },
    })
    if (answer.kind === 'committed') return { kind: 'parked', wakeAt }
    pass.isPoked = true
    return undefined
  }
}
