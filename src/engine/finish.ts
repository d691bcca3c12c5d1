// How a run ends: one commit of the terminal entry, the row's status and no wake time (G21, G22).

import { encode } from '../codec.ts'
import { isStepwellError, redactError, StepwellError } from '../errors.ts'
import type { Draft } from '../journal/writer.ts'
import { validate } from '../schema.ts'
import type { Live } from './live.ts'
import { ending, type RunEnd } from './notice.ts'
import { describe, toPayload } from './outcome.ts'
import type { Pass, PassEnd } from './pass.ts'
import { announce, commitWinding, isCancellable } from './winding.ts'

/**
 * Ends the run, or says why it is blocked instead. Steps still open are aborted. The commit requires that no message came since
 * the inbox was read. A cancel that did is not too late: it was acknowledged, so it outranks the end that was about to be committed
 * (G21). All else is decided by the end and goes with it.
 */
export async function finish(pass: Pass, live: Live): Promise<PassEnd> {
  const { state, attempts, inbox } = live
  for (let isNews = false; ; isNews = true) {
    if (pass.isDead) return { kind: 'stopped' }
    if (inbox.cancel !== undefined && isCancellable(pass)) {
      if (pass.winding !== undefined) return { kind: 'again' }
      announce(pass, live, 'cancel_requested', state.host.now())
    }
    const bug = bugOf(pass)
    if (bug !== undefined) return { kind: 'blocked', error: bug }
    const { undo } = live.effectsOf(pass)
    if (undo.isWanted) {
      const end = await commitWinding(pass, live) ?? await undo.run()
      if (end !== undefined) return end
    }
    const { winding } = pass
    attempts.abandon(winding?.error ?? new StepwellError('cancelled', 'the run ended without waiting for this step'))
    const terminal = await terminalOf(pass, live)
    if ((isNews || state.inboxSeen > 0) && await decideAll(pass, live)) {
      await inbox.read(pass)
      continue
    }
    const isAlone = winding?.isCommitted !== false
    const drafts = isAlone ? [terminal.draft] : [winding.draft as Draft, terminal.draft]
    const end = ending(state, {
      status: terminal.status, seq: state.writer.head.seq + drafts.length,
      principal: winding?.cause === 'cancel_requested' ? winding.payload.principal : undefined,
    })
    const answer = await state.commit(drafts, {
      durability: 'strict', inbox: state.inboxSeen, take: state.decided, rows: end.rows, change: end.change,
      ...(terminal.require === undefined ? undefined : { require: terminal.require }),
    })
    if (answer.kind === 'committed') {
      end.committed()
      return { kind: 'ended' }
    }
  }
}

/**
 * Whatever was asked of this generation is decided by its end. A restart is asked of the run, and the first cancel is decided by no end
 * but its own: whether one waits.
 */
async function decideAll(pass: Pass, { state }: Live): Promise<boolean> {
  let isCancelled = false
  for (const { number, message } of await state.messages()) {
    if (message.kind === 'restart') continue
    if (message.kind === 'cancel' && isCancellable(pass)) isCancelled = true
    else state.decided.push(number)
  }
  return isCancelled
}

async function terminalOf(pass: Pass, live: Live): Promise<{ draft: Draft; status: RunEnd['status']; require?: Awaited<ReturnType<typeof toPayload>>['require'] }> {
  const { state } = live
  const { winding, ended } = pass
  const failed = (error: unknown): { draft: Draft; status: RunEnd['status'] } => ({
    draft: { kind: 'run_failed', calls: pass.calls, payload: encode(redactError(asError(error), state.redact)) }, status: 'failed',
  })
  if (winding?.cause === 'cancel_requested') {
    return { draft: { kind: 'run_cancelled', calls: pass.calls, payload: encode(winding.error) }, status: 'cancelled' }
  }
  if (winding !== undefined) return failed(winding.error)
  if (ended === undefined || !ended.ok) return failed(ended?.error)
  try {
    const output = await validate(state.definition.output, ended.value, 'output_invalid', `the output of ${state.definition.name}`)
    const { payload, blob, require } = await toPayload(state.blobs, state.limits, state.host.now(), output, `output of ${state.definition.name}`)
    return { draft: { kind: 'run_completed', calls: pass.calls, payload, blob }, status: 'completed', require }
  } catch (error) {
    if (isStepwellError(error) && (error.kind === 'permanent' || error.kind === 'usage' || error.code === 'output_invalid')) return failed(error)
    throw error
  }
}

/** The error to block the run with, if its function ended by a bug of its own. */
export function bugOf(pass: Pass): StepwellError | undefined {
  const { winding, ended } = pass
  if (winding !== undefined || ended?.ok !== false || !isBug(ended.error) || pass.isDelivered(ended.error)) return undefined
  return bug(ended.error)
}

/** G22: a typo must never fail a run (and later undo what it did); a fixed deploy goes on. */
function isBug(error: unknown): boolean {
  if (isStepwellError(error)) return error.kind === 'usage'
  return error instanceof TypeError || error instanceof ReferenceError
}

function bug(error: unknown): StepwellError {
  if (isStepwellError(error)) return error
  return new StepwellError('workflow_bug', `the workflow function has a bug: ${error instanceof TypeError ? 'TypeError' : 'ReferenceError'}: ${describe(error)}`, { cause: error })
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new StepwellError('failed', `the workflow function threw something that is no Error: ${describe(error)}`)
}
