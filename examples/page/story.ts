// What a timeline shows for the workflows of this page: words for their steps, the steps that are still to come, and one
// line for all the chunks of a file. Pure.

import type { BlobRef, RunSummary } from 'stepwell'
import { reason } from './explain.ts'
import { count, size } from './format.ts'
import { labels } from './labels.ts'
import type { Row, RowState, Timeline } from './timeline.ts'

export type LineState = RowState | 'planned' | 'note'

export interface Line {
  /** Stable while the run is shown. */
  readonly id: string
  readonly label: string
  readonly state: LineState
  /** Shown when it is not the first. */
  readonly attempt: number
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  /** Counted down to. */
  readonly dueAt: number | undefined
  /** From 0 to 1; `null` for a step that runs and does not say how far it is. */
  readonly progress: number | null | undefined
  readonly detail: string | undefined
  /** A word beside the label. */
  readonly tag: string | undefined
  /** What went wrong so far, newest last. */
  readonly failures: readonly string[]
}

export interface OrderFacts {
  readonly orderId: string
  readonly email: string
  readonly items: readonly { readonly sku: string; readonly quantity: number; readonly unitPriceCents: number }[]
}

export interface DigestFacts {
  readonly files: readonly { readonly name: string; readonly blob: BlobRef }[]
  readonly chunkBytes: number
}

/** The input of a run, as far as this page knows it: undefined before it was read. */
export function orderFacts(summary: RunSummary | undefined): OrderFacts | undefined {
  return summary?.input as OrderFacts | undefined
}

export function digestFacts(summary: RunSummary | undefined): DigestFacts | undefined {
  const input = summary?.input as (Omit<DigestFacts, 'chunkBytes'> & { readonly chunkBytes?: number }) | undefined
  return input === undefined ? undefined : { ...input, chunkBytes: input.chunkBytes ?? 1024 * 1024 }
}

export interface ApprovalFacts {
  readonly what: string
  readonly cents: number
}

export function approvalFacts(summary: RunSummary | undefined): ApprovalFacts | undefined {
  return summary?.input as ApprovalFacts | undefined
}

const approvalSteps = ['signal:decide', 'letters'] as const
const orderSteps = ['price', 'reserve', 'charge', 'ctx.sleep', 'ship'] as const
const isOver = (summary: RunSummary | undefined): boolean => summary?.endedAt !== undefined

export function story(workflow: string, { rows, notes }: Timeline, summary: RunSummary | undefined): Line[] {
  let lines = workflow === 'digest' ? digestLines(rows, summary) : rows.map(lineOf)
  if (workflow !== 'digest') {
    const isOnItsWay = !isOver(summary) && summary?.status !== 'blocked' && notes.length === 0 && !rows.some(({ state }) => state === 'failed')
    const known: readonly string[] = workflow === 'order' ? orderSteps : approvalSteps
    const steps = known.flatMap((key) => lines.find(({ id }) => id === key) ?? (isOnItsWay ? planned(key, labels[key] ?? key) : []))
    lines = [...steps, ...lines.filter((line) => !steps.includes(line))]
  }
  // In a browser the charge is the page's own: it says so before it is made.
  if (workflow === 'order' && summary?.authority.host === 'browser') {
    lines = lines.map((line) => (line.id === 'charge' ? { ...line, tag: 'mock' } : line))
  }
  for (const { kind, at, after, payload } of [...notes].reverse()) {
    const before = workflow === 'digest' ? lines.length : after
    lines.splice(before, 0, {
      ...planned(`note ${at}`, kind === 'cancel_requested' ? 'Cancel requested' : kind === 'deadline_passed' ? 'The run took too long' : 'Begun again'),
      state: 'note', endedAt: at, detail: (payload as { reason?: string } | undefined)?.reason,
    })
  }
  return lines
}

function planned(id: string, label: string): Line {
  return { id, label, state: 'planned', attempt: 1, startedAt: undefined, endedAt: undefined, dueAt: undefined, progress: undefined, detail: undefined, tag: undefined, failures: [] }
}

function lineOf(row: Row): Line {
  const { key, name, state, attempt, startedAt, endedAt, dueAt, progress } = row
  const failures = row.failures.map(({ attempt, error }) => `Attempt ${attempt}: ${reason(error) ?? 'failed'}`)
  if (state === 'failed') failures.push(row.failures.length === 0 ? reason(row.error) ?? 'failed' : `Attempt ${attempt}: ${reason(row.error) ?? 'failed'}`)
  return {
    id: key, label: labels[name] ?? name, state, attempt, startedAt, endedAt, dueAt, failures,
    progress: state !== 'running' ? undefined : progress === undefined ? null : share(progress.done, progress.of),
    detail: undefined, tag: undefined,
  }
}

/** One line for each file: its chunks are too many to list. Chunks in trouble get their own. */
function digestLines(rows: readonly Row[], summary: RunSummary | undefined): Line[] {
  const facts = digestFacts(summary)
  const files = new Map<number, Row[]>()
  const rest: Row[] = []
  for (const row of rows) {
    const file = /^files\[(\d+)\]\//.exec(row.key)?.[1]
    if (file === undefined) rest.push(row)
    else files.set(Number(file), [...files.get(Number(file)) ?? [], row])
  }
  const lines: Line[] = []
  for (let i = 0; i < Math.max(facts?.files.length ?? 0, ...[...files.keys()].map((n) => n + 1)); i++) {
    const file = facts?.files[i]
    const own = files.get(i) ?? []
    lines.push(fileLine(i, file, facts?.chunkBytes ?? 0, own, isOver(summary)))
    for (const row of own) if (row.state === 'retrying' || row.state === 'failed') lines.push({ ...lineOf(row), label: chunkLabel(row) })
  }
  return [...lines, ...rest.map(lineOf)]
}

function fileLine(i: number, file: DigestFacts['files'][number] | undefined, chunkBytes: number, rows: readonly Row[], isEnded: boolean): Line {
  const bytes = file?.blob.size ?? 0
  const chunks = chunkBytes === 0 ? 0 : Math.ceil(bytes / chunkBytes)
  const hashes = rows.filter(({ name }) => name === 'hash')
  const combined = rows.find(({ name }) => name === 'combine')
  const done = hashes.filter(({ state }) => state === 'done').length
  const live = hashes.reduce((sum, { state, progress }) => sum + (state === 'running' ? share(progress?.done ?? 0, progress?.of) ?? 0 : 0), 0)
  const state: LineState = combined?.state === 'done' ? 'done'
    : hashes.some((row) => row.state === 'failed') ? 'failed'
    : isEnded ? 'stopped'
    : rows.length === 0 ? 'planned'
    : hashes.some((row) => row.state === 'running') || !hashes.some((row) => row.state === 'retrying') ? 'running' : 'retrying'
  const starts = hashes.flatMap(({ startedAt }) => (startedAt === undefined ? [] : [startedAt]))
  return {
    id: `file ${i}`, label: file?.name ?? `File ${i + 1}`, state, attempt: 1, failures: [], dueAt: undefined, tag: undefined,
    startedAt: starts.length === 0 ? undefined : Math.min(...starts), endedAt: combined?.endedAt,
    progress: state === 'running' || state === 'retrying' ? (chunks === 0 ? null : Math.min(1, (done + live) / chunks)) : undefined,
    detail: state === 'done' ? `${size(bytes)} in ${count(chunks, 'chunk')}` : `${size(bytes)}, ${done} of ${count(chunks, 'chunk')} hashed`,
  }
}

function chunkLabel({ key }: Row): string {
  const chunk = /chunks\[(\d+)\]/.exec(key)?.[1]
  return chunk === undefined ? 'Combine the chunks' : `Chunk ${Number(chunk) + 1}`
}

function share(done: number, of: number | undefined): number | null {
  return of === undefined || of <= 0 ? null : Math.min(1, done / of)
}
