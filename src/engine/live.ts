// The live end of a pass: the one loop that decides what comes next. Called at quiescence, when everything that the journal holds was
// delivered. Its parts: inbox.ts, collect.ts, winding.ts, park.ts, patches.ts, effects.ts, finish.ts.

import { StepwellError } from '../errors.ts'
import { isDelivered } from '../journal/entry.ts'
import type { Attempt, Attempts } from './attempt.ts'
import type { Pending } from './call.ts'
import { Collector } from './collect.ts'
import { Effects } from './effects.ts'
import { Events, recountEvents } from './events.ts'
import { bugOf, finish } from './finish.ts'
import { emptyGroup } from './group.ts'
import { Inbox } from './inbox.ts'
import { nextTime, park, stall } from './park.ts'
import type { Next, Pass } from './pass.ts'
import { Patches } from './patches.ts'
import type { RunState } from './state.ts'
import { announce, causeToWind, commitWinding } from './winding.ts'

export class Live {
  readonly state: RunState
  readonly attempts: Attempts
  readonly incarnation: string
  readonly inbox: Inbox
  readonly collector: Collector
  readonly patches: Patches
  readonly events: Events
  /** Calls that wait for a time: sleeps, and steps and effects between two attempts. */
  readonly timed: Set<Pending> = new Set()
  #effects: Effects | undefined

  constructor(state: RunState, attempts: Attempts) {
    this.state = state
    this.attempts = attempts
    this.incarnation = state.record.incarnation
    this.inbox = new Inbox(this)
    this.collector = new Collector(this)
    this.patches = new Patches(state)
    this.events = new Events(this)
  }

  /** Of the pass that this belongs to. */
  effectsOf(pass: Pass): Effects {
    return (this.#effects ??= new Effects(pass, this))
  }

  /** A call that nobody has started yet. */
  begin(call: Pending): void {
    this.collector.begin(call, this.#effects)
  }

  /** Decides and commits until something can be delivered, or the pass is over. */
  async step(pass: Pass): Promise<Next> {
    const { state, attempts, inbox, patches, events } = this
    const effects = this.effectsOf(pass)
    for (;;) {
      if (pass.isDead) return { kind: 'stopped' }
      if (pass.isPoked) await inbox.read(pass)
      if (inbox.isRestart && inbox.cancel === undefined && pass.winding === undefined) return { kind: 'again' }
      if (pass.foreign !== undefined) return { kind: 'blocked', error: pass.foreign }
      if (patches.isUnstored) {
        // Asked behind a cancel that is not committed yet: the journal keeps that order.
        const end = await commitWinding(pass, this)
        if (end !== undefined) return end
        await patches.commit(pass)
      }
      if (events.isUnchecked) await events.check()
      if (events.isUnstored) {
        const end = await commitWinding(pass, this)
        if (end !== undefined) return end
        await events.commit(pass)
      }
      const now = state.host.now()
      const isOver = this.isOver(pass, now)
      if (isOver) {
        const bug = bugOf(pass)
        if (bug !== undefined) return { kind: 'blocked', error: bug }
        effects.close()
        // With nothing to settle and nothing to undo, a cancel and the end share one commit.
        if (!effects.isOpen && !effects.isBusy && attempts.late.length === 0) return finish(pass, this)
        attempts.abandon(pass.winding?.error ?? new StepwellError('cancelled', 'the run ended without waiting for this step'), ({ role }) => role === 'step')
        attempts.abortEffects(pass.winding?.error ?? new StepwellError('cancelled', 'the run ended without waiting for this effect'))
      }
      const outranked = pass.winding?.isCommitted === false ? await commitWinding(pass, this) : undefined
      if (outranked !== undefined) return outranked
      const cause = isOver ? undefined : causeToWind(pass, this, now)
      if (cause === undefined && inbox.isPausing) await inbox.pause(pass)
      const isHeld = this.isHeld(pass, now)
      // What was committed while the run was paused comes before all else, as it does in the journal: a call that has its outcome
      // must not begin again, and whatever is committed next is counted and delivered behind it.
      if (!isOver && (!isHeld || cause !== undefined) && pass.init.cursor.peek() !== undefined) return pass.nextDelivery()
      if (cause !== undefined) return () => announce(pass, this, cause, now)
      // Only now: a run that was cancelled before it began starts nothing.
      if (!isOver && !isHeld) pass.startFresh()
      if (pass.foreign !== undefined) return { kind: 'blocked', error: pass.foreign }

      const group = await this.collector.collect(pass, now, isOver, isHeld)
      if (group.drafts.length > 0 || group.take.length > 0) {
        const answer = await state.commit(group.drafts, {
          ...(group.require.length > 0 ? { require: group.require } : undefined),
          ...(group.rows.length > 0 ? { rows: group.rows } : undefined),
          ...(group.take.length > 0 ? { take: [...state.decided, ...group.take] } : undefined),
          ...(group.isStrict ? { durability: 'strict' as const } : undefined),
          ...(group.inbox === undefined ? undefined : { inbox: group.inbox }),
        })
        if (answer.kind !== 'committed') {
          // A message has come meanwhile.
          pass.isPoked = true
          continue
        }
        for (const run of group.after) run()
        attempts.collected(group.collected)
        attempts.late.splice(0, group.late)
        if (group.launch.length > 0) await effects.intents.launch(group.launch)
        const outcomes = answer.entries.filter((entry) => isDelivered(entry.kind))
        pass.init.cursor.push(outcomes)
        if (pass.init.cursor.peek() === undefined || isHeld) continue
        return pass.nextDelivery()
      }
      // What came while the lines above awaited has rung no bell: nothing may be waited for before it is looked at.
      if (attempts.settled.length > 0 || attempts.late.length > 0 || events.isUnstored || this.collector.hasSkipped || pass.isPoked || pass.foreign !== undefined || pass.isDead) continue
      if (effects.isBusy && !isHeld) continue
      // An effect that was to be settled first turned out to be settled.
      if (isOver && !effects.isOpen && !effects.isBusy) continue
      const running = attempts.live.size > 0
      if (isHeld && !running) {
        const parked = await park(pass, this, state.record.paused === undefined ? state.record.notBefore ?? null : null)
        if (parked !== undefined) return parked
        continue
      }
      if (pass.outstanding.size === 0 && !isOver) {
        const stalled = await stall(pass, this)
        if (stalled !== undefined) return stalled
        continue
      }
      const wakeAt = nextTime(pass, this, isOver)
      if (!running && (wakeAt === null || wakeAt - now > state.limits.stayAwakeMs)) {
        const parked = await park(pass, this, wakeAt)
        if (parked !== undefined) return parked
        continue
      }
      // Whoever watches hears of steps that take their time; one that was done at once is heard of by its entry.
      if (attempts.armTimeouts()) pass.init.changed()
      await pass.event(wakeAt === null || isHeld ? undefined : wakeAt - now)
    }
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
    // Of this history, perhaps only a part was read.
    if (attempts.live.size > 0 || attempts.emitted.length > 0) await recountEvents(state, state.record.generationSeq)
    while ([...attempts.live.values()].some(({ role }) => role === 'effect')) {
      if (attempts.emitted.length > 0) {
        await this.events.commitOfAttempts(pass)
        continue
      }
      if (attempts.settled.length === 0) {
        await new Promise<void>((resolve) => {
          attempts.onSettled = resolve
          attempts.armTimeouts()
        })
        continue
      }
      const group = emptyGroup()
      await effects.outcomes.settled(group, attempts.settled[0] as Attempt, state.host.now())
      if (group.drafts.length > 0) await state.commit(group.drafts, { rows: group.rows, require: group.require, durability: 'strict' })
      for (const run of group.after) run()
      attempts.collected(1)
    }
    attempts.onSettled = () => {}
  }

  /** The function has ended, or its time to clean up has. */
  isOver(pass: Pass, now: number): boolean {
    return pass.ended !== undefined || (pass.winding !== undefined && now >= pass.winding.payload.graceUntil)
  }

  /** Paused, or looked at before the time at which it begins: nothing of it goes on unless it is wound up. */
  isHeld(pass: Pass, now: number): boolean {
    const { paused, notBefore } = this.state.record
    return pass.winding === undefined && (paused !== undefined || (notBefore !== undefined && now < notBefore))
  }

  /** It may not begin any more: the run is to be stopped, or is wound up, where only cleanup may. */
  isStopping(pass: Pass, call: Pending, now: number): boolean {
    if (pass.winding !== undefined) return !call.isCleanup || this.isOver(pass, now)
    return pass.ended !== undefined || this.inbox.isPausing || causeToWind(pass, this, now) !== undefined
  }

  /** By then the run is woken if whoever drives it now is gone. */
  recovery(): number {
    return this.state.host.now() + this.state.limits.recoveryMs
  }
}
