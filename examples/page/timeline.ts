// From a run's journal and what is live of it to the rows of a timeline. Pure: no page, no clock.

import type { EntryView, RunSummary } from 'stepwell'

/** `unknown`: an effect of which nobody knows whether it happened, until that is decided. */
export type RowState = 'done' | 'failed' | 'running' | 'retrying' | 'waiting' | 'unknown' | 'stopped'

export interface Failure {
  readonly attempt: number
  readonly at: number
  readonly error: unknown
}

/** One step or sleep. */
export interface Row {
  readonly key: string
  /** The last part of the key, without its ordinal. */
  readonly name: string
  /** The parts before it. */
  readonly scope: string
  state: RowState
  attempt: number
  /** Undefined when it cannot be told: it ran beside others and nobody watched. */
  startedAt: number | undefined
  endedAt: number | undefined
  /** When it goes on by itself. */
  dueAt: number | undefined
  progress: { readonly done: number; readonly of?: number } | undefined
  readonly failures: Failure[]
  error: unknown
}

/** Something that happened to the run as a whole. */
export interface Note {
  readonly kind: 'generation_started' | 'cancel_requested' | 'deadline_passed'
  readonly at: number
  /** Of the rows, how many came before it. */
  readonly after: number
  readonly payload: unknown
}

export interface Timeline {
  readonly rows: readonly Row[]
  readonly notes: readonly Note[]
}

/** When attempts were seen to start, by key and number: the journal does not say, so who watches remembers. */
export type Seen = ReadonlyMap<string, number>

export const seenKey = (key: string, attempt: number): string => `${attempt} ${key}`

const ended: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled'])

/** Rows in the order in which they first appear. What the journal says wins over what the summary says: it is newer or final. */
export function timeline(entries: readonly EntryView[], summary: RunSummary | undefined, seen: Seen): Timeline {
  const rows = new Map<string, Row>()
  let notes: Note[] = []
  const rowOf = (key: string): Row => {
    let row = rows.get(key)
    if (row === undefined) {
      row = {
        key, ...partsOf(key), state: 'running', attempt: 1, startedAt: undefined, endedAt: undefined, dueAt: undefined,
        progress: undefined, failures: [], error: undefined,
      }
      rows.set(key, row)
    }
    return row
  }
  // Exactly one call outstanding at a delivery: it was made at the delivery before, so that is when it started.
  let deliveredAt = 0
  let delivered = 0
  const outcome = (row: Row, entry: EntryView): void => {
    const first = row.failures.length === 0 && row.startedAt === undefined && entry.calls - delivered === 1 ? deliveredAt : undefined
    row.startedAt = seen.get(seenKey(row.key, row.attempt)) ?? row.startedAt ?? (row.failures.length > 0 ? row.dueAt : first)
    row.endedAt = entry.at
    row.dueAt = undefined
    deliveredAt = entry.at
    delivered++
  }
  for (const entry of entries) {
    switch (entry.kind) {
      case 'run_started':
        deliveredAt = entry.at
        break
      case 'generation_started':
        rows.clear()
        notes = [{ kind: entry.kind, at: entry.at, after: 0, payload: entry.payload }]
        deliveredAt = entry.at
        delivered = 0
        break
      case 'cancel_requested':
      case 'deadline_passed':
        notes.push({ kind: entry.kind, at: entry.at, after: rows.size, payload: entry.payload })
        // Everything outstanding was rejected at once.
        for (const row of rows.values()) if (row.endedAt === undefined) stop(row, entry.at)
        delivered = entry.calls
        deliveredAt = entry.at
        break
      case 'attempt_failed':
      case 'effect_attempt_failed': {
        const row = rowOf(entry.key ?? '')
        row.failures.push({ attempt: entry.attempt ?? row.attempt, at: entry.at, error: entry.payload })
        row.state = 'retrying'
        row.attempt = (entry.attempt ?? row.attempt) + 1
        row.dueAt = entry.dueAt
        break
      }
      case 'effect_intended': {
        const row = rowOf(entry.key ?? '')
        row.state = 'running'
        row.attempt = entry.attempt ?? row.attempt
        // The function is called right behind its intent.
        row.startedAt = entry.at
        row.dueAt = undefined
        break
      }
      case 'effect_ambiguous': {
        const row = rowOf(entry.key ?? '')
        row.failures.push({ attempt: entry.attempt ?? row.attempt, at: entry.at, error: (entry.payload as { readonly error?: unknown } | undefined)?.error })
        row.state = 'unknown'
        row.dueAt = entry.dueAt
        break
      }
      case 'undo_intended': {
        const row = rowOf(undoKey(entry.key ?? ''))
        row.startedAt ??= entry.at
        row.attempt = entry.attempt ?? row.attempt
        row.state = 'running'
        row.dueAt = undefined
        break
      }
      case 'undo_attempt_failed': {
        const row = rowOf(undoKey(entry.key ?? ''))
        row.failures.push({ attempt: entry.attempt ?? row.attempt, at: entry.at, error: entry.payload })
        row.state = 'retrying'
        row.attempt = (entry.attempt ?? row.attempt) + 1
        row.dueAt = entry.dueAt
        break
      }
      case 'undo_completed': {
        const row = rowOf(undoKey(entry.key ?? ''))
        row.state = 'done'
        row.endedAt = entry.at
        row.dueAt = undefined
        break
      }
      case 'timer_set': {
        const row = rowOf(entry.key ?? '')
        row.state = 'waiting'
        row.startedAt = entry.at
        row.dueAt = entry.dueAt
        break
      }
      case 'step_completed':
      case 'step_failed':
      case 'timer_fired':
      case 'signal_received':
      case 'effect_completed':
      case 'effect_failed': {
        const row = rowOf(entry.key ?? '')
        // An effect that was found, or is a fallback, was called by no attempt of this call.
        row.attempt = entry.attempt === undefined || entry.attempt === 0 ? row.attempt : entry.attempt
        const isFailure = entry.kind === 'step_failed' || entry.kind === 'effect_failed'
        row.state = isFailure ? 'failed' : 'done'
        outcome(row, entry)
        if (isFailure) row.error = entry.payload
        break
      }
      default:
    }
  }
  if (summary !== undefined) overlay(rowOf, summary, seen)
  if (summary !== undefined && ended.has(summary.status)) {
    for (const row of rows.values()) if (row.endedAt === undefined) stop(row, summary.endedAt)
  }
  return { rows: [...rows.values()], notes }
}

function overlay(rowOf: (key: string) => Row, summary: RunSummary, seen: Seen): void {
  for (const { kind, key, dueAt, attempt } of summary.waitingFor) {
    const row = rowOf(key)
    if (row.endedAt !== undefined) continue
    if (kind === 'timer' || kind === 'signal' || kind === 'deferred') row.state = 'waiting'
    else if (kind === 'retry') row.state = 'retrying'
    // What an effect waits for its own entries say best: its next attempt, or a decision.
    else if (row.state === 'running' && dueAt !== undefined) row.state = 'unknown'
    row.attempt = Math.max(row.attempt, attempt ?? 1)
    row.dueAt = dueAt ?? row.dueAt
  }
  for (const { key, attempt, startedAt, progress } of summary.steps ?? []) {
    // To ask what became of an effect is no step of its own.
    if (key.startsWith('probe of ')) continue
    const row = rowOf(key)
    if (row.endedAt !== undefined || attempt < row.attempt) continue
    row.state = 'running'
    row.attempt = attempt
    row.startedAt = seen.get(seenKey(key, attempt)) ?? startedAt
    row.dueAt = undefined
    row.progress = progress
  }
}

function stop(row: Row, at: number | undefined): void {
  row.state = 'stopped'
  row.endedAt = at
  row.dueAt = undefined
  row.progress = undefined
}

/** As the attempt at it is called while it is under way. */
const undoKey = (key: string): string => `undo of ${key}`

/** `files[0]/chunks[3]/hash#1` is the step `hash` in the scope `files[0]/chunks[3]/`. */
function partsOf(key: string): { name: string; scope: string } {
  const cut = key.lastIndexOf('/') + 1
  return { scope: key.slice(0, cut), name: plain(key.slice(cut).replace(/#\d+$/, '').replace(/\[[^\]]*\]$/, '')) }
}

/** A name as the workflow gave it: what separates the parts of a key is escaped in it. */
function plain(escaped: string): string {
  return escaped.replace(/%(2f|23|5b|5d|25)/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
}
