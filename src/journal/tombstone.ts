// What a swept run leaves: its row, with this in place of the record. It stays for good, so that a later start with the id
// or its token is told (G23).

import { isStepwellError } from '../errors.ts'
import type { MaybePromise, RunRow, RunStore } from '../store/store.ts'
import { decodeRecord, type RunRecord, type Status, seal, TOMBSTONE_FORMAT, unseal } from './record.ts'

export interface Tombstone extends Pick<RunRecord, 'incarnation' | 'workflow' | 'inputHash' | 'generation' | 'createdAt'> {
  readonly format: typeof TOMBSTONE_FORMAT
  /** How it had ended, and when. */
  readonly status: Status
  readonly endedAt: number
  /** When its sweep began. */
  readonly sweptAt: number
  /** Rows of the run are still there: the sweep goes on at the row's `wakeAt`. */
  readonly isUnderWay: boolean
}

export function encodeTombstone(tombstone: Tombstone): Uint8Array {
  return seal(tombstone)
}

/** The tombstone in the row, or undefined when the row has something else. Throws `corrupt_run`. */
export function tombstoneOf(row: RunRow): Tombstone | undefined {
  const value = unseal(row) as { readonly format?: unknown } | null
  return value?.format === TOMBSTONE_FORMAT ? value as Tombstone : undefined
}

/**
 * What was read of the run with this record, if it was not swept meanwhile: then what was read is not whole, or looks damaged. Throws
 * `run_swept`. A run that is kept for good costs no second read of its row.
 */
export async function unswept<T>(store: Pick<RunStore, 'read'>, record: RunRecord | undefined, read: () => MaybePromise<T>): Promise<T> {
  if (record?.expiresAt === undefined) return read()
  try {
    return await read()
  } finally {
    await refuseSwept(store)
  }
}

/** Throws `run_swept` when the run is not there any more. */
export async function refuseSwept(store: Pick<RunStore, 'read'>): Promise<void> {
  const row = await store.read()
  if (row !== undefined) readable(row)
}

/** The run's record; undefined when it is damaged, for those who show what can still be read. Throws `run_swept`. */
export function readable(row: RunRow): RunRecord | undefined {
  try {
    return decodeRecord(row)
  } catch (error) {
    if (isStepwellError(error, 'run_swept')) throw error
    return undefined
  }
}
