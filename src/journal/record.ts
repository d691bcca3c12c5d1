// The record inside a run's row: identity, and the projections that make status cheap (docs/records.md).

import { decode, encode } from '../codec.ts'
import { type ErrorData, StepwellError } from '../errors.ts'
import { blake3 } from '../hash.ts'
import type { RunRow } from '../store/store.ts'
import { HASH_BYTES, same } from './entry.ts'

export type Status =
  | 'queued' | 'running' | 'waiting' | 'paused' | 'cancelling' | 'undoing' | 'blocked'
  | 'completed' | 'failed' | 'cancelled'

export function isEnded(status: Status): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

/** It was taken up and neither parked nor ended: somebody drives it now, or whoever drove it is dead. */
export function isMidDrive({ status, waitingFor }: RunRecord): boolean {
  return status === 'running' || ((status === 'cancelling' || status === 'undoing') && waitingFor.length === 0)
}

export interface Waiting {
  readonly kind: 'step' | 'timer' | 'retry' | 'effect' | 'signal' | 'deferred'
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
  /** Once it has ended: it is removed then (engine/sweep.ts); undefined: it is kept. */
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
  /** How many effects the ledger has rows of, as of the last write of this row: a row that is lost is noticed (engine/ledger.ts). */
  readonly effects: number
  /** How many events were emitted, ever, as of the last write of this row: the next one has the number behind it. */
  readonly events: number
  /** Names that `ctx.patched` has answered with true in this generation. */
  readonly patches: readonly string[]
  /** Entries of earlier generations that this one replays before its own: ranges of seq, both ends included. */
  readonly inherited: readonly { readonly from: number; readonly to: number }[]
}

/** The format of what a swept run leaves in its row (tombstone.ts). A version that knows no tombstones takes it for a newer record. */
export const TOMBSTONE_FORMAT = 2

/** Behind the payload: the start of its hash. What the record says is believed, so a changed byte must not pass for another record. */
const CHECK_BYTES = 8

export function encodeRecord(record: RunRecord): Uint8Array {
  return seal(record)
}

/** What a row stores for `value`. */
export function seal(value: object): Uint8Array {
  const payload = encode(value)
  const bytes = new Uint8Array(payload.length + CHECK_BYTES)
  bytes.set(payload)
  bytes.set(blake3(payload).subarray(0, CHECK_BYTES), payload.length)
  return bytes
}

/**
 * Throws `run_swept` when the run was removed, or half of it was; `corrupt_run` when the row's record is damaged, `format_too_new`.
 * That run only: others go on.
 */
export function decodeRecord(row: RunRow): RunRecord {
  return recordOf(unseal(row), row.runId)
}

/** What was sealed. Throws `corrupt_run`. */
export function unseal(row: RunRow): unknown {
  try {
    const payload = row.record.subarray(0, -CHECK_BYTES)
    const isWhole = same(blake3(payload).subarray(0, CHECK_BYTES), row.record.subarray(-CHECK_BYTES))
    if (!isWhole) throw new StepwellError('corrupt_payload', 'its bytes do not have the hash that is stored with them')
    return decode(payload)
  } catch (cause) {
    throw new StepwellError('corrupt_run', `the row of run ${row.runId} is damaged`, { cause, details: { runId: row.runId } })
  }
}

export function swept(runId: string): StepwellError {
  return new StepwellError('run_swept', `run ${runId} ended and was removed when its retention was over`, { details: { runId } })
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
const isText = (value: unknown): boolean => typeof value === 'string'
const isMissingOr = (fits: (value: unknown) => boolean) => (value: unknown): boolean => value === undefined || fits(value)
const isListOf = (fits: (value: unknown) => boolean) => (value: unknown): boolean => Array.isArray(value) && value.every(fits)
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null
const isRange = (value: unknown): boolean => isObject(value) && isCount(value['from']) && isCount(value['to'])

/** What the fields of a record look like, of those by which anything is decided. */
const fields: { readonly [field in keyof RunRecord]?: (value: unknown) => boolean } = {
  incarnation: isText, workflow: isText, version: isCount, status: isText, generation: isCount, generationSeq: isCount,
  head: (value) => isObject(value) && isCount(value['seq']) && value['hash'] instanceof Uint8Array && value['hash'].length === HASH_BYTES,
  createdAt: Number.isFinite, updatedAt: Number.isFinite, endedAt: isMissingOr(Number.isFinite), deadline: isMissingOr(Number.isFinite),
  notBefore: isMissingOr(Number.isFinite), wakes: isCount, wokenSeq: isCount, wokenInbox: isCount, waitingFor: isListOf(isObject),
  tags: isListOf(isText), metadata: isObject, divergences: isCount, undos: isCount, effects: isCount, events: isCount, patches: isListOf(isText), inherited: isListOf(isRange),
}

/** The record that `value` is. Throws `run_swept`, `corrupt_run` when it is none, naming the field; `format_too_new`. */
export function recordOf(value: unknown, runId: string): RunRecord {
  const wrong = (why: string): StepwellError => new StepwellError('corrupt_run', `the row of run ${runId} is no run record: ${why}`, { details: { runId } })
  if (!isObject(value) || typeof value['format'] !== 'number') throw wrong('it has no format')
  if (value['format'] === TOMBSTONE_FORMAT) throw swept(runId)
  if (value['format'] > 1) {
    throw new StepwellError('format_too_new', `the row of run ${runId} has format ${value['format']}; this version reads 1`)
  }
  for (const [field, fits] of Object.entries(fields)) if (!fits(value[field])) throw wrong(`its field ${field} does not fit`)
  return value as unknown as RunRecord
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
  /** It has its whole timeout again; null: there is none. Missing: the run's deadline stays, as after a divergence. */
  readonly deadline?: number | null
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
  /** Of an effect, named by its intent; `undo`: of the undo of what entry `seq` tells of. */
  | { readonly kind: 'resolve'; readonly seq: number; readonly decision: 'happened' | 'rerun' | 'skip' | 'fail'; readonly value?: unknown; readonly undo?: true }
)

export type Resolution = Extract<Message, { kind: 'resolve' }>

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
