// The summary of a run: a projection of its row, its first and its last entry. Never an authority (G1).

import { fromPayload } from '../engine/outcome.ts'
import { StepwellError } from '../errors.ts'
import type { HostName } from '../host.ts'
import type { RunRow, RunStore } from '../store/store.ts'
import { entryAt } from './cursor.ts'
import { decodeEntry, GENESIS } from './entry.ts'
import { type Blocked, decodeRecord, isEnded, type RunRecord, type StartPayload, type Status, type Waiting } from './record.ts'
import { unswept } from './tombstone.ts'

export interface RunSummary {
  readonly id: string
  readonly workflow: string
  readonly version: number
  readonly status: Status
  readonly generation: number
  /** The host that has appended the first entry and its epoch. */
  readonly authority: { readonly host: HostName; readonly epoch: number }
  readonly createdAt: number
  readonly updatedAt: number
  readonly endedAt?: number
  /** Once it has ended: when it is removed. Missing: never. */
  readonly expiresAt?: number
  readonly deadline?: number
  readonly tags: readonly string[]
  readonly metadata: Readonly<Record<string, string>>
  /** What was given to `start`. */
  readonly input?: unknown
  readonly output?: unknown
  readonly error?: unknown
  readonly blocked?: Blocked
  readonly counts: { readonly entries: number; readonly messages: number }
  readonly waitingFor: readonly Waiting[]
  /** Steps that run right now, when the one who answers drives the run. */
  readonly steps?: readonly LiveStepView[]
}

export interface LiveStepView {
  readonly key: string
  readonly attempt: number
  readonly startedAt: number
  readonly progress?: { readonly done: number; readonly of?: number }
}

/** Throws `run_not_found`, `run_swept`, `corrupt_run`. Writes nothing, also for an unknown id. */
export async function summary(store: RunStore, options: { readonly values?: boolean } = {}): Promise<RunSummary> {
  const row = await store.read()
  if (row === undefined) throw new StepwellError('run_not_found', `there is no run ${store.runId}`, { details: { runId: store.runId } })
  const record = decodeRecord(row)
  return unswept(store, record, () => summarize(store, row, record, options.values !== false))
}

async function summarize(store: RunStore, row: RunRow, record: RunRecord, withValues: boolean): Promise<RunSummary> {
  const last = await store.last()
  const [first] = await store.entries(0, 1)
  const start = first === undefined ? undefined : safely(() => decodeEntry(first.seq, first.bytes, GENESIS))
  return {
    id: store.runId, workflow: record.workflow, version: record.version, status: record.status, generation: record.generation,
    authority: { host: start?.host ?? 'test', epoch: row.epoch }, createdAt: record.createdAt, updatedAt: record.updatedAt,
    ...(record.endedAt === undefined ? undefined : { endedAt: record.endedAt }),
    ...(record.expiresAt === undefined ? undefined : { expiresAt: record.expiresAt }),
    ...(record.deadline === undefined ? undefined : { deadline: record.deadline }),
    tags: record.tags, metadata: record.metadata,
    ...(record.blocked === undefined ? undefined : { blocked: record.blocked }),
    counts: { entries: last?.seq ?? 0, messages: row.inbox },
    waitingFor: record.waitingFor,
    ...(withValues && start !== undefined ? { input: (await fromPayload(store, start) as StartPayload).raw } : undefined),
    ...(withValues && isEnded(record.status) ? await outcome(store, record) : undefined),
  }
}

/**
 * The output or error of an ended run, from its terminal entry. Throws `run_swept` when it is removed meanwhile, or what is wrong with
 * that entry, naming it.
 */
export function outcome(store: RunStore, record: RunRecord): Promise<{ output: unknown } | { error: unknown }> {
  return unswept(store, record, async () => {
    const entry = await entryAt(store, record.lastSeq ?? 0)
    const value = await fromPayload(store, entry)
    return entry.kind === 'run_completed' ? { output: value } : { error: value }
  })
}

function safely<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    // A damaged first entry is named by whoever replays; a summary still says what the row knows.
    return undefined
  }
}
