// Starting a run: one commit of the run row, the first entry and the wake time; idempotent by id or token (G23).

import { canonicalBytes, copy, encode } from '../codec.ts'
import type { StartOptions } from '../client.ts'
import type { AnyWorkflow } from '../define.ts'
import { toMs } from '../duration.ts'
import { StepwellError } from '../errors.ts'
import { hashParts, hex } from '../hash.ts'
import type { Host } from '../host.ts'
import { idFromToken, randomId, runId } from '../ids.ts'
import { decodeEntry, encodeEntry, GENESIS } from '../journal/entry.ts'
import { decodeRecord, encodeRecord, type RunRecord, type StartPayload, swept } from '../journal/record.ts'
import { tombstoneOf } from '../journal/tombstone.ts'
import { type Limits, within } from '../limits.ts'
import { validate } from '../schema.ts'
import { bounded } from '../store/bounded.ts'
import type { RunStore } from '../store/store.ts'
import { fromPayload, toPayload } from './outcome.ts'

/** The id that this start uses. Throws `invalid_id`, `invalid_token`. */
export function startId(workflow: string, options: Pick<StartOptions, 'id' | 'token'>, random: (bytes: number) => Uint8Array): string {
  if (options.id !== undefined) return runId(options.id)
  if (options.token !== undefined) return idFromToken(workflow, options.token)
  return randomId(random)
}

export interface Started {
  readonly id: string
  readonly created: boolean
  readonly status: RunRecord['status']
}

/**
 * Starts a run in `store`, or finds the equal one. Durable when it resolves. A crash before the commit leaves nothing, after it a
 * run that its timer wakes. Throws `input_invalid`, `input_mismatch`, `run_swept` (it was this one's, and is over), `not_serializable`, `limit_exceeded`, `invalid_argument`: nothing written.
 */
export async function startRun(
  store: RunStore, host: Host, limits: Limits, definition: AnyWorkflow, input: unknown, options: StartOptions = {},
): Promise<Started> {
  const { tags, metadata } = checkOptions(limits, options)
  const delay = options.delay === undefined ? 0 : toMs(options.delay, 'delay')
  const { value: raw } = copy(input)
  const inputHash = hex(hashParts('stepwell.input', definition.name, canonicalBytes(raw)))
  const found = await existing(store, definition, inputHash)
  if (found !== undefined) return found

  const parsed = copy(await validate(definition.input, raw, 'input_invalid', `the input of ${definition.name}`)).value
  const now = host.now()
  const deadline = definition.timeoutMs === undefined ? undefined : now + definition.timeoutMs
  const incarnation = hex(host.random(16))
  const start: StartPayload = {
    workflow: definition.name, version: definition.version, incarnation, seed: hex(host.random(32)), raw, parsed, tags, metadata, deadline,
  }
  const { payload, blob, require } = await toPayload(store, limits, now, start, `the input of ${definition.name}`)
  const entry = encodeEntry(1, { kind: 'run_started', generation: 1, host: host.name, at: now, calls: 0, payload, blob }, GENESIS)
  const record: RunRecord = {
    format: 1, incarnation, workflow: definition.name, version: definition.version, status: 'queued',
    generation: 1, generationSeq: 1, head: { seq: 1, hash: entry.hash }, createdAt: now, updatedAt: now, endedAt: undefined,
    expiresAt: undefined, deadline, notBefore: delay === 0 ? undefined : now + delay, wakes: 0, wokenSeq: 0, wokenInbox: 0, waitingFor: [], blocked: undefined, inputHash,
    token: options.token === undefined ? undefined : hex(hashParts('stepwell.token', options.token)),
    ...(isKept(definition) ? undefined : { retention: definition.retention }),
    tags, metadata, lastSeq: undefined, paused: undefined, divergences: 0, restartId: undefined, undos: 0, effects: 0, events: 0, patches: [], inherited: [],
  }
  const answer = await bounded(store.commit({
    expect: { kind: 'absent' },
    entries: [{ seq: 1, bytes: entry.bytes }],
    row: { epoch: 1, wakeAt: now + delay, record: encodeRecord(record) },
    ...(require === undefined ? undefined : { require }),
    durability: 'strict',
  }), { ms: limits.commitMs, timer: (ms, run) => host.timer(ms, run) })
  if (answer.kind === 'committed') return { id: store.runId, created: true, status: 'queued' }
  if (answer.kind === 'stale' && answer.reason === 'missing') {
    throw new StepwellError('blob_missing', `run ${store.runId}: the blob that holds its input was removed`)
  }
  // Someone else was first, or the answer was lost: what is there now tells which, by its incarnation.
  const row = await store.read()
  if (row !== undefined && decodeRecord(row).incarnation === incarnation) return { id: store.runId, created: true, status: 'queued' }
  const other = await existing(store, definition, inputHash)
  if (other !== undefined) return other
  throw new StepwellError('store_unavailable', `run ${store.runId} could not be started`, {
    cause: answer.kind === 'unknown' ? answer.error : undefined,
  })
}

async function existing(store: RunStore, definition: AnyWorkflow, inputHash: string): Promise<Started | undefined> {
  const row = await store.read()
  if (row === undefined) return undefined
  const tombstone = tombstoneOf(row)
  const found = tombstone ?? decodeRecord(row)
  if (found.workflow !== definition.name) {
    throw new StepwellError('input_mismatch', `run ${store.runId} exists and is a run of ${found.workflow}: use another id or token`)
  }
  if (found.inputHash !== inputHash) {
    throw new StepwellError('input_mismatch', `run ${store.runId} exists and was started with another input: use another id or token`)
  }
  if (tombstone !== undefined) throw swept(store.runId)
  return { id: store.runId, created: false, status: found.status }
}

/** For good, however it ends. */
function isKept({ retention }: AnyWorkflow): boolean {
  return retention.completedMs === undefined && retention.failedMs === undefined
}

function checkOptions(limits: Limits, options: StartOptions): { tags: readonly string[]; metadata: Readonly<Record<string, string>> } {
  const tags = options.tags ?? []
  if (!Array.isArray(tags)) throw new StepwellError('invalid_argument', 'tags are a list of strings')
  within(limits, 'tags', tags.length, 'tags')
  for (const tag of tags) {
    if (typeof tag !== 'string' || tag.length === 0) throw new StepwellError('invalid_argument', 'a tag is a string that is not empty')
    within(limits, 'tagLength', tag.length, 'a tag')
  }
  const metadata = options.metadata ?? {}
  if (typeof metadata !== 'object' || Array.isArray(metadata)) throw new StepwellError('invalid_argument', 'metadata is an object of strings')
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw new StepwellError('invalid_argument', `metadata ${JSON.stringify(key)} is not a string`)
    if (key.startsWith('stepwell.')) throw new StepwellError('reserved_name', `metadata ${JSON.stringify(key)}: names that begin with "stepwell." are reserved`)
  }
  within(limits, 'metadataBytes', encode(metadata).length, 'metadata')
  return { tags: [...tags], metadata: { ...metadata } }
}

/** What a run was started with. Throws `corrupt_entry`. */
export async function startOf(store: RunStore): Promise<StartPayload> {
  const [first] = await store.entries(0, 1)
  if (first === undefined || first.seq !== 1) throw new StepwellError('corrupt_entry', 'entry 1 of the journal is missing', { details: { seq: 1 } })
  return await fromPayload(store, decodeEntry(1, first.bytes, GENESIS)) as StartPayload
}
