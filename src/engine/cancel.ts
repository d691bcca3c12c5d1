// Asking a run to stop: a durable message in its inbox. Only the driver that owns the run moves it to its end (G21, B-002).

import type { CancelOptions, CancelOutcome } from '../client.ts'
import { decode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { decodeRecord, isEnded, type Message } from '../journal/record.ts'
import type { Bound } from '../store/bounded.ts'
import type { RunStore } from '../store/store.ts'
import { notFound, post } from './post.ts'

/**
 * Posts the request; durable when it resolves. The caller then pokes the driver, and reads the outcome with `cancelOutcome`.
 * Throws `run_not_found`, `run_swept`.
 */
export async function requestCancel(store: RunStore, now: number, options: CancelOptions & { principal?: string } = {}, bound?: Bound): Promise<CancelOutcome> {
  if (options.reason !== undefined && (typeof options.reason !== 'string' || options.reason.length > 1024)) {
    throw new StepwellError('invalid_argument', 'the reason of a cancel is a string of at most 1024 characters')
  }
  const before = await cancelOutcome(store)
  if (before.outcome === 'ended' || before.status === 'cancelling') {
    return before.outcome === 'ended' ? before : { outcome: 'already_requested', status: before.status }
  }
  const pending = await store.rows('inbox', { limit: 256 })
  // One with undo may have to wait for code that can undo; one without then ends the run.
  const isAsked = pending.some(({ value }) => {
    const message = decode(value) as Message
    return message.kind === 'cancel' && (message.undo !== true || options.undo === true)
  })
  if (isAsked) return { outcome: 'already_requested', status: before.status }
  const message: Message = {
    kind: 'cancel', at: now,
    ...(options.reason === undefined ? undefined : { reason: options.reason }),
    ...(options.principal === undefined ? undefined : { principal: options.principal }),
    ...(options.undo === true ? { undo: true } : undefined),
  }
  await post(store, now, message, bound)
  return { outcome: 'requested', status: before.status }
}

/** What has become of the run after a request. */
export async function cancelOutcome(store: RunStore): Promise<CancelOutcome> {
  const row = await store.read()
  if (row === undefined) throw notFound(store)
  const { status } = decodeRecord(row)
  return isEnded(status) ? { outcome: 'ended', status } : { outcome: 'requested', status }
}
