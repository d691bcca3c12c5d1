// How a live pass goes to sleep: until when, what it says it waits for, and the commit that parks it. A function that waits for
// something that is not ours is noticed here too (G30), since nothing would ever wake it.

import { StepwellError } from '../errors.ts'
import type { Blocked, Waiting } from '../journal/record.ts'
import type { Pending } from './call.ts'
import type { Live } from './live.ts'
import type { Pass, PassEnd } from './pass.ts'

/** When something is due by itself; null: nothing before a message comes. */
export function nextTime(pass: Pass, { timed, state }: Live, isOver: boolean): number | null {
  let next = Infinity
  for (const call of timed) if (!isOver || call.effect !== undefined) next = Math.min(next, call.due as number)
  if (isOver) return next === Infinity ? null : next
  if (pass.winding !== undefined) next = Math.min(next, pass.winding.payload.graceUntil)
  else if (state.record.deadline !== undefined) next = Math.min(next, state.record.deadline)
  return next === Infinity ? null : next
}

/** Parks the run until `wakeAt`. Undefined: a message has come meanwhile, and is looked at first (G5). */
export async function park(pass: Pass, live: Live, wakeAt: number | null): Promise<PassEnd | undefined> {
  const { state } = live
  const waitingFor: Waiting[] = []
  // After a cancel the run may wait for effects that its function does not wait for any more.
  for (const call of new Set([...pass.outstanding.values(), ...live.timed])) {
    if (waitingFor.length === 20) break
    waitingFor.push({
      kind: waitOf(call), key: call.key,
      ...(call.due === undefined ? undefined : { dueAt: call.due }),
      ...(call.step === undefined ? undefined : { attempt: call.step.attempt }),
    })
  }
  const asked = live.effectsOf(pass).ambiguities.asking()
  const blocked: Blocked | undefined = asked.length === 0 ? undefined : {
    code: 'ambiguous_effect', curable: false, tries: 1, details: { effects: asked },
    message: `nobody knows whether ${asked.map(({ key }) => `"${key}"`).join(', ')} happened: find out, and decide with resolve(${asked[0]?.seq}, …)`,
  }
  const isHeld = live.isHeld(pass, state.host.now())
  const status = isHeld ? state.record.paused === undefined ? 'queued' : 'paused' : blocked !== undefined ? 'blocked' : pass.winding === undefined ? 'waiting' : 'cancelling'
  const answer = await state.commit([], {
    inbox: state.inboxSeen,
    change: { record: { status, waitingFor, blocked: isHeld ? undefined : blocked }, wakeAt, mark: true },
  })
  if (answer.kind === 'committed') return { kind: 'parked', wakeAt: state.wakeAt }
  pass.isPoked = true
  return undefined
}

function waitOf(call: Pending): Waiting['kind'] {
  if (call.effect !== undefined || call.note !== undefined) return 'effect'
  if (call.kind === 'signal' || call.kind === 'deferred') return call.kind
  return call.step === undefined ? 'timer' : 'retry'
}

/** Nothing is outstanding and the function has not ended: it awaits something that is not ours (G30). */
export async function stall(pass: Pass, { state }: Live): Promise<PassEnd | undefined> {
  // After a cancel it may wait until the grace deadline, which ends the run (G21).
  const until = pass.winding?.payload.graceUntil ?? state.host.now() + state.limits.stallMs
  while (pass.foreign === undefined && !pass.isDead && !pass.isPoked) {
    const left = until - state.host.now()
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
