// Pages of a journal for people and tools: headers by default, payloads only when revealed (Z-034).

import { decode } from '../codec.ts'
import type { Decided } from '../engine/ambiguity.ts'
import { fromPayload } from '../engine/outcome.ts'
import { StepwellError } from '../errors.ts'
import { shown } from '../given.ts'
import { hex } from '../hash.ts'
import type { RunStore } from '../store/store.ts'
import type { JournalPage, PageOptions } from '../client.ts'
import { before } from './cursor.ts'
import { decodeEntry, type Entry, type EntryKind } from './entry.ts'
import { readable, unswept } from './tombstone.ts'

export interface EntryView {
  readonly seq: number
  readonly kind: EntryKind
  readonly generation: number
  readonly host: string
  readonly at: number
  readonly calls: number
  readonly key?: string
  readonly attempt?: number
  readonly dueAt?: number
  readonly isBlob: boolean
  readonly payloadBytes: number
  /** The chain hash, hex. */
  readonly hash: string
  /** Of `effect_decided`: the audit of how an ambiguity ended, and who said so. No value and no error of it. */
  readonly decision?: Omit<Decided, 'error'>
  /** Only when revealed. */
  readonly payload?: unknown
}

const MAX_LIMIT = 1000

/** Which entries a page is asked to tell of. Throws `invalid_argument` for a cursor that is none, `limit_exceeded`; never clamped. */
export function pageOf({ after = 0, limit = 100 }: PageOptions): { readonly after: number; readonly limit: number } {
  if (!Number.isSafeInteger(after) || after < 0) throw new StepwellError('invalid_argument', `after: ${shown(after)} is not a sequence number`)
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw new StepwellError('limit_exceeded', `limit: ${shown(limit)} is not between 1 and ${MAX_LIMIT}`, {
      details: { limit: 'journalPage', measured: (typeof limit === 'number' && limit) || 0, allowed: MAX_LIMIT },
    })
  }
  return { after, limit }
}

/** Throws `run_not_found`, `run_swept`, `invalid_argument` for a cursor or limit that is none (never clamped), `corrupt_entry` naming what is damaged. */
export async function journalPage(
  store: RunStore, options: PageOptions & { readonly reveal?: boolean } = {},
): Promise<JournalPage> {
  const { after, limit } = pageOf(options)
  const row = await store.read()
  if (row === undefined) throw new StepwellError('run_not_found', `there is no run ${store.runId}`, { details: { runId: store.runId } })
  return unswept(store, readable(row), () => viewPage(store, after, limit, options.reveal === true))
}

async function viewPage(store: RunStore, after: number, limit: number, isRevealed: boolean): Promise<JournalPage> {
  const page = await store.entries(after, limit)
  if (page.length === 0) return { items: [], next: undefined }
  let { hash } = await before(store, after + 1)
  const items: EntryView[] = []
  let expected = after + 1
  for (const { seq, bytes } of page) {
    if (seq !== expected) throw new StepwellError('corrupt_entry', `entry ${expected} of the journal is missing`, { details: { seq: expected, why: 'missing' } })
    expected++
    const entry = decodeEntry(seq, bytes, hash)
    hash = entry.hash
    items.push({
      seq, kind: entry.kind, generation: entry.generation, host: entry.host, at: entry.at, calls: entry.calls,
      ...(entry.key === undefined ? undefined : { key: entry.key }),
      ...(entry.attempt === 0 ? undefined : { attempt: entry.attempt }),
      ...(entry.due === undefined ? undefined : { dueAt: entry.due }),
      isBlob: entry.blob, payloadBytes: entry.payload.length, hash: hex(entry.hash),
      ...(entry.kind === 'effect_decided' && !entry.trimmed ? { decision: auditOf(entry) } : undefined),
      ...(isRevealed && !entry.trimmed ? { payload: await fromPayload(store, entry) } : undefined),
    })
  }
  return { items, next: page.length < limit ? undefined : expected - 1 }
}

function auditOf(entry: Entry): Omit<Decided, 'error'> {
  const { intent, why, policy, by, decision, principal } = decode(entry.payload) as Decided
  return { intent, why, policy, by, decision, ...(principal === undefined ? undefined : { principal }) }
}
