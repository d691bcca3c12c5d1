// A run that cannot go on until a person or a deploy acts: why, what may cure it, and the one thing that can still be done with it
// meanwhile, which is to cancel it.

import { encode } from '../codec.ts'
import { FINGERPRINT_BYTES } from '../journal/entry.ts'
import type { Draft } from '../journal/writer.ts'
import type { Decided } from './ambiguity.ts'
import { type Intent, type LedgerRow, ledgerRows, ledgerWrite } from './ledger.ts'
import { type Redact, redactDetails, redactText, StepwellError } from '../errors.ts'
import type { Blocked, CancelPayload } from '../journal/record.ts'
import { ending } from './notice.ts'
import type { RunState } from './state.ts'

/**
 * Writes that the run is blocked, and why. `cancelled`: somebody had asked for that, and it has ended instead. `again`: somebody has
 * asked for a restart.
 */
export async function block(state: RunState, error: StepwellError): Promise<{ readonly kind: 'blocked'; readonly blocked: Blocked; readonly wakeAt: number | null } | 'cancelled' | 'again'> {
  const { host, store } = state
  // What the pass had read and not committed is still to be decided.
  state.decided = []
  const canCancel = error.kind !== 'integrity' || error.code === 'divergence'
  if (canCancel && await cancelBlocked(state)) return 'cancelled'
  const tries = state.blockedBefore?.code === error.code ? state.blockedBefore.tries + 1 : 1
  const blocked = blockedBy(error, tries, state.redact)
  // A deploy may cure it, and a run that nobody touches must notice the deploy: it is looked at again, ever more rarely.
  const wakeAt = blocked.curable ? host.now() + Math.min(24 * 3_600_000, 60_000 * 4 ** Math.min(tries - 1, 8)) : null
  host.log({ level: 'error', runId: store.runId, message: `blocked (${blocked.code}): ${blocked.message}` })
  const answer = await state.commit([], {
    inbox: state.inboxSeen,
    change: { record: { status: 'blocked', blocked, waitingFor: [] }, wakeAt, mark: false },
  })
  if (answer.kind === 'committed') return { kind: 'blocked', blocked, wakeAt: state.wakeAt }
  // Somebody has asked for something. What a run that can't go on does not answer waits until it can.
  return (await state.messages()).some(({ message }) => message.kind === 'restart') ? 'again' : block(state, error)
}

/**
 * A cancel of a blocked run: its function can't be reached, so there is nothing to clean up with; it ends in one commit. Not if all that
 * was asked for is a cancel with undo (G21): what it has to take back can't be reached either, and the message waits until it can.
 * Whoever cancels it without undo has decided about effects of which nobody knows whether they happened (G16): that is in the journal.
 */
async function cancelBlocked(state: RunState): Promise<boolean> {
  const messages = (await state.messages()).filter(({ message }) => message.kind === 'cancel')
  const isBegun = state.writer.head.seq > state.record.generationSeq || state.record.generation > 1
  const first = messages.find(({ message }) => message.kind === 'cancel' && (message.undo !== true || !isBegun))?.message
  if (first?.kind !== 'cancel') return false
  const { reason, principal } = first
  const now = state.host.now()
  const open: { readonly base: string; readonly row: LedgerRow }[] = []
  for await (const each of ledgerRows(state.store)) {
    const { kind, status, decision, intent } = each.row
    if (kind !== 'step' && intent !== undefined && (status === 'in_progress' || (status === 'ambiguous' && decision === undefined))) open.push(each)
  }
  const payload: CancelPayload = {
    ...(reason === undefined ? undefined : { reason }), ...(principal === undefined ? undefined : { principal }), graceUntil: now,
  }
  const error = new StepwellError('cancelled', reason === undefined ? 'the run was cancelled' : `the run was cancelled: ${reason}`)
  const end = ending(state, { status: 'cancelled', seq: state.writer.head.seq + open.length + 2, principal })
  const answer = await state.commit([
    // Nobody counted the calls: as in a group, there may have been more.
    { kind: 'cancel_requested', calls: 0, grouped: true, due: now, payload: encode(payload) },
    ...open.map(({ row }): Draft => ({
      kind: 'effect_decided', key: row.key, fingerprint: new Uint8Array(FINGERPRINT_BYTES), calls: 0,
      payload: encode({
        intent: (row.intent as Intent).seq, why: 'lost', policy: 'cancel', by: 'person', decision: 'fail', ...(principal === undefined ? undefined : { principal }),
      } satisfies Decided),
    })),
    { kind: 'run_cancelled', calls: 0, payload: encode(error) },
  ], {
    take: messages.map(({ number }) => number), durability: 'strict', inbox: state.inboxSeen, change: { ...end.change, mark: false },
    rows: [...end.rows, ...open.map(({ base, row }) => ledgerWrite(base, row, {
      ...row, status: 'ambiguous', updatedAt: now, decision: { word: 'fail', by: 'person', ...(principal === undefined ? undefined : { principal }) },
    }))],
  })
  if (answer.kind !== 'committed') return cancelBlocked(state)
  end.committed()
  return true
}

const curable: ReadonlySet<string> = new Set(['not_registered', 'unknown_version', 'workflow_bug', 'divergence', 'foreign_await', 'format_too_new', 'unsupported_entry'])

export function blockedBy(error: StepwellError, tries: number, redact: Redact): Blocked {
  const details = redactDetails(error, redact)
  return {
    code: error.code, tries, message: redactText(error.message, redact), curable: curable.has(error.code) || error.kind === 'usage',
    ...(details === undefined ? undefined : { details }),
  }
}
