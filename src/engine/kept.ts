// The bytes of what steps keep beside the journal (memos, the run's state), and who may write them. Rows of a step are no entries:
// nothing chains them, so each carries a check of its own.

import { decode } from '../codec.ts'
import { isStepwellError, StepwellError } from '../errors.ts'
import { hashParts } from '../hash.ts'
import type { Host } from '../host.ts'
import { same } from '../journal/entry.ts'
import type { Limits } from '../limits.ts'
import { type CommitAnswer, isPromise, type MaybePromise, type RowWrite, type RunStore } from '../store/store.ts'

/** Whoever drives the run now, as far as this host knows: its epoch, and the deadline of its commits. A `Writer` is one. */
export interface Authority {
  readonly epoch: number
  within(answer: MaybePromise<CommitAnswer>): MaybePromise<CommitAnswer>
}

export interface KeepHost {
  readonly store: RunStore
  readonly host: Host
  readonly limits: Limits
  /** A promise while the next epoch is being taken: what is written in between would be refused though the driver is the same. */
  readonly authority: () => MaybePromise<Authority>
}

/** Whose it is. A reused id, another generation and another step share nothing. */
export interface KeepPlace {
  readonly incarnation: string
  readonly generation: number
  /** The step's structural key. */
  readonly step: string
}

export const CHECK_BYTES = 8

/** A row: the start of the BLAKE3 of its key and its payload, then the payload. */
export function sealValue(row: string, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CHECK_BYTES + payload.length)
  bytes.set(check(row, payload))
  bytes.set(payload, CHECK_BYTES)
  return bytes
}

/** Its value. Throws `corrupt_payload` when the row was changed or is another one's, `format_too_new`. */
export function openValue(row: string, bytes: Uint8Array): unknown {
  const payload = bytes.subarray(CHECK_BYTES)
  if (!same(check(row, payload), bytes.subarray(0, CHECK_BYTES))) {
    throw new StepwellError('corrupt_payload', 'the bytes do not have the hash that is stored with them')
  }
  return decode(payload)
}

function check(row: string, payload: Uint8Array): Uint8Array {
  return hashParts('stepwell.kept', row, payload).subarray(0, CHECK_BYTES)
}

/**
 * Writes one row of a step under the authority of its driver. `over` says why it may not be written any more, once that is so. Throws that,
 * `stale_epoch` when another host drives the run now, `run_not_found`, `commit_unknown`, and what the store throws.
 */
export async function writeKept(
  { store, authority }: KeepHost, write: RowWrite, what: string, over: () => StepwellError | undefined, durability: 'relaxed' | 'strict' = 'relaxed',
): Promise<void> {
  let lost: unknown
  for (let tries = 1; tries <= TRIES; tries++) {
    const asked = authority()
    const who = isPromise(asked) ? await asked : asked
    const { epoch } = who
    // After every wait: nothing is written for an attempt that is over.
    const error = over()
    if (error !== undefined) throw error
    let answer
    try {
      answer = await who.within(store.commit({ expect: { kind: 'epoch', epoch }, rows: [write], ...(durability === 'relaxed' ? undefined : { durability }) }))
    } catch (error) {
      throw storeError(store.runId, error)
    }
    if (answer.kind === 'committed') return
    // The same row once more changes nothing.
    if (answer.kind === 'unknown') lost = answer.error
    else if (answer.reason === 'absent') throw new StepwellError('run_not_found', `${what}: the run ${store.runId} was removed`, { details: { runId: store.runId } })
    // The driver may have taken its next epoch meanwhile; this step is still its own.
    else if ((await authority()).epoch === epoch) {
      throw new StepwellError('stale_epoch', `${what}: another host drives run ${store.runId} now`)
    }
  }
  throw new StepwellError('commit_unknown', `${what}: the store does not say whether it was written`, { cause: lost })
}

const TRIES = 3

/** What a store threw, typed, so that the step is tried again (T-012). */
export function storeError(runId: string, error: unknown): StepwellError {
  if (isStepwellError(error)) return error
  return new StepwellError('store_unavailable', `the store of run ${runId} failed`, { cause: error })
}
