// The store in memory: the reference for the port, for tests and for runs that need not outlive their process. Nothing here
// waits: every answer is there at once.

import { StepwellError } from '../errors.ts'
import { given } from '../given.ts'
import { runId as legalRunId } from '../ids.ts'
import { checkBatch, checkLimit, checkPage, hotEntry, numbersTaken, staleReason } from './batch.ts'
import type { Batch, CommitAnswer, Page, RunRow, RunStore, Shelf, SideRow, StoredEntry, Table } from './store.ts'
import { earlier, inboxKey } from './store.ts'

export interface MemoryShelfOptions {
  /** Bytes of values that the shelf holds at most; a commit beyond it throws `quota_exceeded`. Default: no limit. */
  readonly quotaBytes?: number
}

/** A `RunStore` whose answers are never promises. */
export interface MemoryRunStore extends RunStore {
  read(): RunRow | undefined
  entries(after: number, limit: number): readonly StoredEntry[]
  last(): StoredEntry | undefined
  row(table: Table, key: string): Uint8Array | undefined
  rows(table: Table, page: Page): readonly SideRow[]
  keys(table: Table, page: Page): readonly string[]
  commit(batch: Batch): CommitAnswer
  destroy(): void
}

/** A `Shelf` whose answers are never promises. */
export interface MemoryShelf extends Shelf {
  open(runId: string): MemoryRunStore
  due(limit: number): readonly { readonly runId: string; readonly wakeAt: number }[]
  runs(page: Page): readonly string[]
}

/** An empty shelf. Its runs live as long as it does; handles opened on the same id share one run. */
export function createMemoryShelf(options?: MemoryShelfOptions): MemoryShelf {
  const runs = new Map<string, Run>()
  const { quotaBytes = Infinity }: MemoryShelfOptions = given(options)
  if (!(typeof quotaBytes === 'number' && quotaBytes >= 0)) throw new StepwellError('invalid_argument', 'quotaBytes is a number from 0')
  const quota = { used: 0, allowed: quotaBytes }
  return {
    open: (runId) => new MemoryStore(legalRunId(runId), runs, quota),
    due: (limit) =>
      [...runs.values()]
        .flatMap(({ row }) => (row === undefined || row.wakeAt === null ? [] : [{ runId: row.runId, wakeAt: row.wakeAt }]))
        .sort((a, b) => a.wakeAt - b.wakeAt || compare(a.runId, b.runId))
        .slice(0, checkLimit(limit)),
    runs: (page) => {
      const { after, limit } = checkPage(page)
      return [...runs.values()]
        .flatMap(({ row }) => (row !== undefined && row.runId > after ? [row.runId] : []))
        .sort(compare)
        .slice(0, limit)
    },
  }
}

interface Quota {
  used: number
  readonly allowed: number
}

/** A run's records. Bytes in it are its own copies. */
class Run {
  row: RunRow | undefined
  /** Without a gap; the first is 1 until some were cut. */
  readonly entries: StoredEntry[] = []
  readonly side: { readonly [table in Table]: SideTable } = {
    inbox: new SideTable(), outbox: new SideTable(), chunk: new SideTable(), manifest: new SideTable(), memo: new SideTable(),
    state: new SideTable(), effect: new SideTable(), event: new SideTable(), signal: new SideTable(), receipt: new SideTable(), token: new SideTable(),
  }
}

class SideTable {
  readonly values = new Map<string, Uint8Array>()
  #sorted: readonly string[] | undefined

  set(key: string, value: Uint8Array): void {
    if (!this.values.has(key)) this.#sorted = undefined
    this.values.set(key, value)
  }

  delete(key: string): void {
    if (this.values.delete(key)) this.#sorted = undefined
  }

  page(page: Page): readonly string[] {
    const { after, limit } = checkPage(page)
    const keys = (this.#sorted ??= [...this.values.keys()].sort(compare))
    const from = firstAbove(keys, after)
    return keys.slice(from, from + limit)
  }
}

class MemoryStore implements MemoryRunStore {
  readonly runId: string
  #runs: Map<string, Run>
  #quota: Quota

  constructor(runId: string, runs: Map<string, Run>, quota: Quota) {
    this.runId = runId
    this.#runs = runs
    this.#quota = quota
  }

  read(): RunRow | undefined {
    const row = this.#runs.get(this.runId)?.row
    return row && { ...row, record: row.record.slice() }
  }

  entries(after: number, limit: number): readonly StoredEntry[] {
    const count = checkLimit(limit)
    const entries = this.#runs.get(this.runId)?.entries ?? []
    const from = Math.max(0, after + 1 - (entries[0]?.seq ?? 1))
    return entries.slice(from, from + count).map(copy)
  }

  last(): StoredEntry | undefined {
    const entry = this.#runs.get(this.runId)?.entries.at(-1)
    return entry && copy(entry)
  }

  row(table: Table, key: string): Uint8Array | undefined {
    return this.#runs.get(this.runId)?.side[table].values.get(key)?.slice()
  }

  rows(table: Table, page: Page): readonly SideRow[] {
    const side = this.#runs.get(this.runId)?.side[table] ?? new SideTable()
    return side.page(page).map((key) => ({ key, value: (side.values.get(key) as Uint8Array).slice() }))
  }

  keys(table: Table, page: Page): readonly string[] {
    return (this.#runs.get(this.runId)?.side[table] ?? new SideTable()).page(page)
  }

  /** All or nothing: every check and every copy comes before the first change, and no change can throw. */
  commit(batch: Batch): CommitAnswer {
    const run = this.#runs.get(this.runId)
    const hot = hotEntry(batch)
    if (hot === undefined) checkBatch(batch)
    const { expect } = batch
    const standing = run?.row && { epoch: run.row.epoch, inbox: run.row.inbox, head: run.entries.at(-1)?.seq ?? 0 }
    const reason = staleReason(expect, standing)
    if (reason !== undefined) return { kind: 'stale', reason }
    if (run !== undefined && hot !== undefined) {
      this.#reserve(hot.bytes.byteLength)
      run.entries.push(copy(hot))
      return { kind: 'committed' }
    }
    for (const { table, key } of batch.require ?? []) {
      if (run?.side[table].values.has(key) !== true) return { kind: 'stale', reason: 'missing' }
    }

    const target = run ?? new Run()
    const first = (standing?.inbox ?? batch.row?.inbox ?? 0) + 1
    const entries = (batch.entries ?? []).map(copy)
    const record = batch.row?.record.slice()
    const changes: [SideTable, string, Uint8Array | null][] = []
    for (const n of batch.take ?? []) changes.push([target.side.inbox, inboxKey(n), null])
    const posted = (batch.post ?? []).map((message, i) => {
      changes.push([target.side.inbox, inboxKey(first + i), message.slice()])
      return first + i
    })
    for (const { table, key, value } of batch.rows ?? []) changes.push([target.side[table], key, value && value.slice()])
    const cut = target.entries.findLastIndex(({ seq }) => seq <= (batch.cut ?? 0)) + 1
    this.#reserve(growth(target, entries, record, changes) - target.entries.slice(0, cut).reduce((sum, { bytes }) => sum + bytes.byteLength, 0))

    if (run === undefined) this.#runs.set(this.runId, target)
    target.entries.splice(0, cut)
    for (const entry of entries) target.entries.push(entry)
    for (const [table, key, value] of changes) {
      if (value === null) table.delete(key)
      else table.set(key, value)
    }
    const inbox = first - 1 + numbersTaken(batch)
    if (batch.row !== undefined && record !== undefined) {
      target.row = { runId: this.runId, epoch: batch.row.epoch, inbox, wakeAt: batch.row.wakeAt, record }
    } else if (target.row !== undefined) {
      target.row = { ...target.row, inbox, wakeAt: earlier(target.row.wakeAt, batch.wakeBy) }
    }
    return posted.length === 0 ? { kind: 'committed' } : { kind: 'committed', posted }
  }

  destroy(): void {
    const run = this.#runs.get(this.runId)
    if (run === undefined) return
    this.#runs.delete(this.runId)
    const sizes = Object.values(run.side).flatMap((table) => [...table.values.values()].map(({ byteLength }) => byteLength))
    for (const { bytes } of run.entries) sizes.push(bytes.byteLength)
    this.#quota.used -= sizes.reduce((sum, size) => sum + size, run.row?.record.byteLength ?? 0)
  }

  #reserve(bytes: number): void {
    const { used, allowed } = this.#quota
    if (bytes > 0 && used + bytes > allowed) {
      throw new StepwellError('quota_exceeded', `the store holds ${used} of ${allowed} bytes and ${bytes} more do not fit`, {
        details: { used, allowed, wanted: bytes },
      })
    }
    this.#quota.used += bytes
  }
}

/** By how many bytes a write grows what the run holds. */
function growth(
  run: Run, entries: readonly StoredEntry[], record: Uint8Array | undefined,
  changes: readonly (readonly [SideTable, string, Uint8Array | null])[],
): number {
  let bytes = record === undefined ? 0 : record.byteLength - (run.row?.record.byteLength ?? 0)
  for (const entry of entries) bytes += entry.bytes.byteLength
  // The last change of a key holds; what it replaces is what is stored, not an earlier change.
  const last = new Map<SideTable, Map<string, Uint8Array | null>>()
  for (const [table, key, value] of changes) {
    const ofTable = last.get(table) ?? new Map<string, Uint8Array | null>()
    last.set(table, ofTable.set(key, value))
  }
  for (const [table, ofTable] of last) {
    for (const [key, value] of ofTable) bytes += (value?.byteLength ?? 0) - (table.values.get(key)?.byteLength ?? 0)
  }
  return bytes
}

function copy(entry: StoredEntry): StoredEntry {
  return { seq: entry.seq, bytes: entry.bytes.slice() }
}

/** By code unit, as IndexedDB sorts strings and SQLite sorts ASCII; never by locale. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function firstAbove(keys: readonly string[], after: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as string) > after) high = middle
    else low = middle + 1
  }
  return low
}
