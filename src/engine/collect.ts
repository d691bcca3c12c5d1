// The calls of a live pass that were begun and wait: for a time, for an attempt, for an answer of the ledger. And what of them can be
// committed now.

import { encode } from '../codec.ts'
import { redactError, redactText, StepwellError } from '../errors.ts'
import type { Draft } from '../journal/writer.ts'
import type { Attempt } from './attempt.ts'
import type { Pending, StepPart } from './call.ts'
import type { Effects } from './effects.ts'
import { addOutcome, emptyGroup, type Group, hasRoom } from './group.ts'
import type { Live } from './live.ts'
import { answerNote } from './once.ts'
import { describe, encodeInline, lendInline, offload } from './outcome.ts'
import type { Pass } from './pass.ts'
import { Signals } from './signal.ts'
import { drawn, nextDelay } from './retry.ts'

export interface PromptOutcome {
  readonly call: Pending
  readonly attempt: number
  /** Lent: it holds until anything else is encoded. */
  readonly payload: Uint8Array
  /** What replay will give. */
  readonly value: unknown
}

const noCalls: ReadonlySet<Pending> = new Set()

export class Collector {
  readonly #live: Live
  /** Sleeps whose due time is not in the journal yet. */
  #unstored: Pending[] = []
  /** Questions to the ledger of effects. */
  #notes: Pending[] = []
  readonly #signals: Signals
  /** The last group was one of signals. */
  #hasTaken = false
  /** Signals were not looked at for the last group: nothing is parked before they are. */
  hasSkipped = false

  constructor(live: Live) {
    this.#live = live
    this.#signals = new Signals(live.state)
  }

  /** A call that nobody has started yet. `effects`: of the pass, if it has asked for any. */
  begin(call: Pending, effects: Effects | undefined): void {
    if (call.effect !== undefined) {
      effects?.begin(call)
      return
    }
    if (call.note !== undefined) {
      this.#notes.push(call)
      return
    }
    const { state, attempts, timed } = this.#live
    const now = state.host.now()
    if (call.signal !== undefined) {
      this.#signals.wait(call)
      if (call.until === undefined && !call.isDueStored) return
    }
    if (call.step === undefined) {
      if (!call.isDueStored) {
        call.due = call.until?.(now)
        this.#unstored.push(call)
      }
      timed.add(call)
      return
    }
    const live = attempts.live.get(call.key)
    if (live !== undefined) {
      if (live.number >= call.step.attempt) return
      // Its failure is in the journal already; only the answer of that commit was lost.
      attempts.abandon(undefined, (attempt) => attempt.key === call.key)
    }
    if (call.due !== undefined && call.due > now) timed.add(call)
    else this.#launch(call, call.step, now)
  }

  #start(call: Pending, now: number): void {
    const { step } = call
    if (step === undefined || this.#live.attempts.live.has(call.key)) return
    this.#launch(call, step, now)
  }

  #launch(call: Pending, step: StepPart, now: number): void {
    const { state, attempts, incarnation } = this.#live
    if (state.record.undos > 0) step.undos = state.record.undos
    attempts.start(call.key, step, incarnation, now)
  }

  /** The run is wound up: only what cleans up still waits, and effects until they are settled. */
  wind(pass: Pass): void {
    const { timed } = this.#live
    this.#unstored = this.#unstored.filter((call) => call.isCleanup)
    for (const call of timed) if (!call.isCleanup && !pass.effects.isOpenAt(call)) timed.delete(call)
  }

  /** The one outstanding call's outcome, if it is there and may be delivered at the fixed turn. */
  promptOutcome(pass: Pass): PromptOutcome | undefined {
    const { attempts: { settled }, patches, events, timed, state } = this.#live
    const attempt = settled[0]
    if (attempt === undefined || settled.length !== 1 || this.#unstored.length > 0 || this.#notes.length > 0 || patches.isUnstored || events.isUnstored || timed.size > 0) return undefined
    const call = pass.outstanding.get(attempt.key)
    if (call?.step === undefined || call.effect !== undefined || attempt.role !== 'step' || attempt.outcome?.ok !== true) return undefined
    // What it staged is committed with its outcome, which the other way of delivery does.
    if (attempt.staged !== undefined && attempt.staged.rows.length > 0) return undefined
    try {
      const lent = lendInline(state.limits, attempt.outcome.value)
      return lent && { call, attempt: attempt.number, payload: lent.bytes, value: lent.value }
    } catch {
      // What cannot be encoded becomes a failed step, which the other way of delivery handles.
      return undefined
    }
  }

  /** What can be committed now: due times to store, timers that are due, attempts that settled, answers of the ledger. */
  async collect(pass: Pass, now: number, isOver: boolean, isHeld: boolean): Promise<Group> {
    const { state, attempts, timed } = this.#live
    const { limits } = state
    const { effects } = pass
    const group = emptyGroup()
    if (isHeld && pass.init.cursor.peek() !== undefined) group.outcomes = 1
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
    // In turns with everything else that waits to be committed: neither a flood of signals nor one of steps keeps the other from the function.
    const isTurn = !this.#hasTaken || (attempts.settled.length === 0 && attempts.late.length === 0 && this.#notes.length === 0 && !effects.isBusy)
    // Without a wait where nobody waits: what settles meanwhile would be of another group.
    const answered = isOver || isHeld || !isTurn || !this.#signals.isWaitedFor ? noCalls : await this.#signals.take(pass, group)
    this.#hasTaken = answered.size > 0
    this.hasSkipped = !isTurn
    if (answered.size > 0) group.after.push(() => { for (const call of answered) timed.delete(call) })
    const due = isHeld ? [] : [...timed].filter((call) => (call.due as number) <= now).sort((a, b) => (a.due as number) - (b.due as number))
    for (const call of due) {
      if (!hasRoom(group, limits)) break
      if (call.effect !== undefined) {
        timed.delete(call)
        effects.due(call)
        continue
      }
      if (isOver || answered.has(call) || (call.signal !== undefined && !isTurn)) continue
      if (call.step !== undefined) {
        timed.delete(call)
        this.#start(call, now)
        continue
      }
      // Nothing was sent until now: what is committed before this is preferred to the timeout.
      if (call.signal !== undefined) group.inbox = state.inboxSeen
      // `at`: a clock that is set back before the commit must not show the function a time before the one it has waited for.
      addOutcome(group, { kind: 'timer_fired', key: call.key, fingerprint: call.fingerprint, calls: pass.calls, due: call.due as number, at: now })
      group.after.push(() => timed.delete(call))
    }
    // This commit can be refused because of a message, and is then put together anew. What follows is not: an effect that is in a group that
    // is not committed would be in none.
    if (group.inbox !== undefined) return group
    // First: what is known needs no decision and no further attempt.
    while (hasRoom(group, limits)) {
      const late = attempts.late[group.late]
      if (late === undefined || effects.ambiguities.isDecided(late.attempt)) break
      group.late++
      await effects.ambiguities.late(group, late.attempt, late.outcome)
    }
    if (!isHeld) await effects.collect(group, now)
    while (hasRoom(group, limits)) {
      const attempt = attempts.settled[group.collected]
      // What it has emitted comes before its outcome.
      if (attempt === undefined || attempts.emitted.length > 0) break
      group.collected++
      if (attempt.role !== 'step') {
        await effects.outcomes.settled(group, attempt, now)
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
    let looked = 0
    while (!isOver && !isHeld && hasRoom(group, limits)) {
      const call = this.#notes[looked]
      if (call === undefined) break
      looked++
      if (pass.outstanding.get(call.key) !== call) continue
      const draft = await answerNote(state, group, call, pass.calls)
      addOutcome(group, draft)
      group.bytes += draft.payload?.length ?? 0
    }
    if (looked > 0) group.after.push(() => this.#notes.splice(0, looked))
    if (group.drafts.length === 0 && group.take.length === 0) {
      attempts.collected(group.collected)
      attempts.late.splice(0, group.late)
      group.collected = 0
    }
    return group
  }

  async #outcomeOf(pass: Pass, call: Pending, attempt: Attempt, group: Group, now: number): Promise<Draft> {
    const { state, timed } = this.#live
    const { limits, host, redact } = state
    const common = { key: call.key, fingerprint: call.fingerprint, calls: pass.calls, attempt: attempt.number }
    const settled = attempt.outcome
    let error: unknown
    if (settled?.ok === true) {
      try {
        const inline = encodeInline(limits, settled.value, `value of step ${call.key}`)
        if (inline instanceof Uint8Array) return { ...common, kind: 'step_completed', payload: inline }
        const { payload, blob, require } = await offload(state.blobs, limits, now, inline.large)
        group.require.push(...(require ?? []))
        return { ...common, kind: 'step_completed', payload, blob }
      } catch (failure) {
        error = failure
      }
    } else error = settled?.error
    const step = call.step as NonNullable<Pending['step']>
    const delay = nextDelay(step.retry, attempt.number, error, drawn(host))
    if (delay !== undefined) {
      const due = now + delay
      group.after.push(() => {
        step.attempt = attempt.number + 1
        call.due = due
        call.isDueStored = true
        timed.add(call)
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
}
