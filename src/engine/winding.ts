// Winding a run up (G21): a cancel, or the run's own deadline, is one delivery like any other. After it only cleanup may call, and the
// run can only end as its cause says.

import { encode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import type { Entry } from '../journal/entry.ts'
import type { CancelPayload } from '../journal/record.ts'
import type { Draft } from '../journal/writer.ts'
import type { Live } from './live.ts'
import type { Pass, PassEnd } from './pass.ts'

/** How a run is wound up: it can only end as its cause says, and until `graceUntil` only cleanup may call. */
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

/**
 * A cancel that comes now decides how the run ends: one that is acknowledged before `deadline_passed` is in the journal outranks it,
 * also where the function was told of the deadline already (G21).
 */
export function isCancellable({ winding }: Pass): boolean {
  return winding === undefined || (winding.cause === 'deadline_passed' && !winding.isCommitted)
}

/** Why the run is to be wound up now, if it is. */
export function causeToWind(pass: Pass, { inbox, state }: Live, now: number): Winding['cause'] | undefined {
  if (pass.winding !== undefined) return undefined
  if (inbox.cancel !== undefined) return 'cancel_requested'
  const { deadline } = state.record
  return deadline !== undefined && now >= deadline ? 'deadline_passed' : undefined
}

/** Delivers a cancel or a passed deadline that the journal does not hold yet. */
export function announce(pass: Pass, live: Live, cause: Winding['cause'], now: number): void {
  const { state, inbox } = live
  const at = Math.max(now, state.writer.lastAt)
  const payload: CancelPayload = {
    ...(cause === 'cancel_requested' ? inbox.cancel : undefined),
    graceUntil: now + state.definition.graceMs,
  }
  const draft: Draft = { kind: cause, calls: pass.calls, at, due: payload.graceUntil, payload: encode(payload) }
  wind(pass, live, { kind: cause, at }, payload, draft)
}

/** Delivers a cancel or a passed deadline, from the journal or about to be committed. */
export function wind(pass: Pass, live: Live, entry: { readonly kind: Entry['kind']; readonly at: number }, payload: CancelPayload, draft: Draft | undefined): void {
  const cause = entry.kind === 'cancel_requested' ? 'cancel_requested' : 'deadline_passed'
  const error = cause === 'cancel_requested'
    ? new StepwellError('cancelled', payload.reason === undefined ? 'the run was cancelled' : `the run was cancelled: ${payload.reason}`)
    : new StepwellError('run_timeout', 'the run took longer than its timeout', { details: { deadline: live.state.record.deadline ?? 0 } })
  pass.winding = { cause, error, payload, isCommitted: draft === undefined, draft, take: draft === undefined ? [] : live.inbox.cancels }
  live.collector.wind(pass)
  live.attempts.abandon(error, ({ key, role }) => role !== 'effect' && role !== 'probe' && pass.outstanding.get(key)?.isCleanup !== true)
  live.attempts.abortEffects(error)
  pass.rejectOutstanding(entry.at, error)
  pass.effects.releaseUnwanted()
}

/**
 * A cancel or deadline that was delivered, as a commit of its own: more follows it than the end. The commit of a deadline requires that
 * no message came since the inbox was read. Answers with the end of the pass when a cancel did: the next one tells the function of that.
 */
export async function commitWinding(pass: Pass, live: Live): Promise<PassEnd | undefined> {
  const { winding } = pass
  if (winding?.isCommitted !== false) return undefined
  const { state, inbox } = live
  while (inbox.cancel === undefined || !isCancellable(pass)) {
    const answer = await state.commit([winding.draft as Draft], {
      durability: 'strict', take: [...state.decided, ...winding.take],
      ...(isCancellable(pass) ? { inbox: state.inboxSeen } : undefined),
      change: { record: { status: 'cancelling', waitingFor: [], paused: undefined }, wakeAt: live.recovery(), mark: true },
    })
    if (answer.kind === 'committed') {
      pass.winding = { ...winding, isCommitted: true }
      return undefined
    }
    if (pass.isDead) return { kind: 'stopped' }
    await inbox.read(pass)
  }
  return { kind: 'again' }
}
