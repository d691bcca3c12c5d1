// The record inside a run's row: identity, and the projections that make status cheap (docs/records.md).

import { decode, encode } from '../codec.ts'
import { type ErrorData, StepwellError } from '../errors.ts'
import { blake3 } from '../hash.ts'
import type { RunRow } from '../store/store.ts'
import { same } from './entry.ts'

export type Status =
  | 'queued' | 'running' | 'waiting' | 'paused' | 'cancelling' | 'undoing' | 'blocked'
  | 'completed' | 'failed' | 'cancelled'

export function isEnded(status: Status): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

export interface Waiting {
  readonly kind: 'step' | 'timer' | 'retry' | 'effect'
  readonly key: string
  /** When it will go on by itself, ms since 1970. */
  readonly dueAt?: number
  /** The attempt that comes next or is under way. */
  readonly attempt?: number
}

export interface Blocked {
  /** Why: the code of an error in the catalogue. */
  readonly code: string
  readonly message: string
  readonly details?: unknown
  /** A new deploy may cure it: it is tried again when a host starts. */
  readonly curable: boolean
  /** How often it was tried and blocked for this same reason. */
  readonly tries: number
}

export interface RunRecord {
  readonly format: 1
  readonly incarnation: string
  readonly workflow: string
  readonly version: number
  readonly status: Status
  readonly generation: number
  readonly generationSeq: number
  readonly head: { readonly seq: number; readonly hash: Uint8Array }
  readonly createdAt: number
  readonly updatedAt: number
  readonly endedAt: number | undefined
  /** Once it has ended: it may be removed from then on; undefined: it is kept. */
  readonly expiresAt: number | undefined
  /** As its workflow said at the start: for an end where nobody knows the workflow any more. Missing: for good. */
  readonly retention?: { readonly completedMs: number | undefined; readonly failedMs: number | undefined }
  readonly deadline: number | undefined
  /** Its first step does not begin before: a start with a delay. */
  readonly notBefore: number | undefined
  /** Wakes in a row that added no entry, and the journal's length at the last wake: the durable cap of G29. */
  readonly wakes: number
  readonly wokenSeq: number
  /** The number of the last message at the last wake: a new one is a reason to be woken, once. */
  readonly wokenInbox: number
  readonly waitingFor: readonly Waiting[]
  readonly blocked: Blocked | undefined
  readonly inputHash: string
  readonly token: string | undefined
  readonly tags: readonly string[]
  readonly metadata: Readonly<Record<string, string>>
  readonly lastSeq: number | undefined
  /** What stopped it, as long as it is paused. */
  readonly paused: { readonly at: number; readonly principal?: string } | undefined
  /** New generations because of a divergence: they are bounded. */
  readonly divergences: number
  /** Of the last restart that was asked for, if it had one. */
  readonly restartId: string | undefined
  /** Steps that were undone, ever: part of the idempotency keys of later ones. */
  readonly undos: number
  /** Names that `ctx.patched` has answered with true in this generation. */
  readonly patches: readonly string[]
  /** Entries of earlier generations that this one replays before its own: ranges of seq, both ends included. */
  readonly inherited: readonly { readonly from: number; readonly to: number }[]
}

/** Behind the payload: the start of its hash. What the record says is believed, so a changed byte must not pass for another record. */
const CHECK_BYTES = 8

export function encodeRecord(record: RunRecord): Uint8Array {
  const payload = encode(record)
  const bytes = new Uint8Array(payload.length + CHECK_BYTES)
  bytes.set(payload)
  bytes.set(blake3(payload).subarray(0, CHECK_BYTES), payload.length)
  return bytes
}

/** Throws `corrupt_run` when the row's record is damaged, `format_too_new`. That run only: others go on. */
export function decodeRecord(row: RunRow): RunRecord {
  let value: unknown
  try {
    const payload = row.record.subarray(0, -CHECK_BYTES)
    const isWhole = same(blake3(payload).subarray(0, CHECK_BYTES), row.record.subarray(-CHECK_BYTES))
    if (!isWhole) throw new StepwellError('corrupt_payload', 'its bytes do not have the hash that is stored with them')
    value = decode(payload)
  } catch (cause) {
    throw new StepwellError('corrupt_run', `the row of run ${row.runId} is damaged`, { cause, details: { runId: row.runId } })
  }
  const record = value as Partial<RunRecord> | null
  if (typeof record !== 'object' || record === null || typeof record.workflow !== 'string' || typeof record.format !== 'number') {
    throw new StepwellError('corrupt_run', `the row of run ${row.runId} is no run record`, { details: { runId: row.runId } })
  }
  if (record.format > 1) {
    throw new StepwellError('format_too_new', `the row of run ${row.runId} has format ${record.format}; this version reads 1`)
  }
  return record as RunRecord
}

/** The payload of `run_started`: everything that a replay needs and that must never change. */
export interface StartPayload {
  readonly workflow: string
  readonly version: number
  readonly incarnation: string
  /** 32 bytes, hex: what `random` and `uuid` are derived from. */
  readonly seed: string
  readonly raw: unknown
  readonly parsed: unknown
  readonly tags: readonly string[]
  readonly metadata: Readonly<Record<string, string>>
  readonly deadline: number | undefined
}

/** The payload of `generation_started`. */
export interface GenerationPayload {
  readonly generation: number
  readonly because: 'divergence' | 'restart' | 'retry'
  readonly report?: unknown
  readonly principal?: string
  /** The call from which on it runs again. */
  readonly from?: string
  readonly inherited?: RunRecord['inherited']
}

export interface CancelPayload {
  readonly reason?: string
  readonly principal?: string
  readonly undo?: boolean
  readonly graceUntil: number
}

/** An inbox message, encoded with the codec. */
export type Message = { readonly at: number; readonly principal?: string } & (
  | { readonly kind: 'cancel'; readonly reason?: string; readonly undo?: boolean }
  | { readonly kind: 'pause' }
  | { readonly kind: 'resume' }
  /** A new generation: from the beginning, or with the entries in `inherited` as its past. */
  | { readonly kind: 'restart'; readonly because: 'restart' | 'retry'; readonly generation: number; readonly id?: string; readonly from?: string; readonly inherited: RunRecord['inherited'] }
  | { readonly kind: 'resolve'; readonly seq: number; readonly decision: 'happened' | 'rerun' | 'skip' | 'fail'; readonly value?: unknown }
)

/** An effect of which nobody knows whether it happened, for the person who has to find out. */
export interface AskedEffect {
  /** Of its intent: what `resolve` takes. */
  readonly seq: number
  readonly key: string
  readonly kind: string
  readonly why: string
  readonly intendedAt: number
  readonly attempt: number
  readonly idempotencyKey: string
  readonly input: unknown
}

export type { ErrorData }
