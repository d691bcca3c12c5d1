// What a machine has on its disk: the runs' stores, and how much of what was written would survive the loss of power.

import { createMemoryShelf, type MemoryRunStore, type MemoryShelf } from '../../store/memory.ts'
import type { Batch, CommitAnswer } from '../../store/store.ts'
import { decodeRecord, type RunRecord } from '../../journal/record.ts'
import type { Actor, World } from './world.ts'

interface Write {
  readonly runId: string
  readonly batch: Batch
}

export interface DiskWatcher {
  committed(runId: string, batch: Batch, by: Actor): void
  /** Of this run only `entries` entries are left; undefined: nothing at all. */
  lost(runId: string, entries: number | undefined): void
}

export class Disk {
  #shelf: MemoryShelf = createMemoryShelf()
  #writes: Write[] = []
  #durable = 0
  /** How many entries of a run would survive. */
  #entries = new Map<string, number>()
  #waiting: (() => void)[] = []
  /** Run rows, decoded, until they change. */
  #records = new Map<string, RunRecord | undefined>()
  #isFlushDue = false
  #watcher: DiskWatcher

  constructor(watcher: DiskWatcher) {
    this.#watcher = watcher
  }

  open(runId: string): MemoryRunStore {
    return this.#shelf.open(runId)
  }

  runs(): readonly string[] {
    return this.#shelf.runs({ limit: 1000 })
  }

  commit(runId: string, batch: Batch, by: Actor): CommitAnswer {
    const answer = this.open(runId).commit(batch)
    if (answer.kind !== 'committed') return answer
    this.#writes.push({ runId, batch })
    if (batch.row !== undefined || batch.wakeBy !== undefined || batch.post !== undefined) this.#records.delete(runId)
    this.#watcher.committed(runId, batch, by)
    return answer
  }

  /** What the run's row says; undefined: there is none. */
  record(runId: string): RunRecord | undefined {
    if (this.#records.has(runId)) return this.#records.get(runId)
    const row = this.open(runId).read()
    const record = row === undefined ? undefined : decodeRecord(row)
    this.#records.set(runId, record)
    return record
  }

  /** The platform flushes by itself, some time after a write. */
  flushSoon(world: World, ms: number): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    world.post(world.platform, ms, () => {
      this.#isFlushDue = false
      this.flush()
    })
  }

  get isDurable(): boolean {
    return this.#durable === this.#writes.length
  }

  /** Everything that was written would survive now. */
  flush(): void {
    for (const { runId, batch } of this.#writes.slice(this.#durable)) {
      const last = batch.entries?.at(-1)
      if (last !== undefined) this.#entries.set(runId, last.seq)
    }
    this.#durable = this.#writes.length
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  durableEntries(runId: string): number {
    return this.#entries.get(runId) ?? 0
  }

  /** Resolves at the next flush, or at once when there is nothing to flush. */
  flushed(): Promise<void> {
    return this.isDurable ? Promise.resolve() : new Promise((resolve) => { this.#waiting.push(resolve) })
  }

  /** The power goes: what was not flushed is lost, from some write on. `keep` chooses how many of the unflushed writes stay. */
  losePower(keep: (unflushed: number) => number): void {
    const kept = this.#durable + keep(this.#writes.length - this.#durable)
    const lost = new Set(this.#writes.slice(kept).map(({ runId }) => runId))
    this.#rebuild(this.#writes.slice(0, kept))
    for (const runId of lost) {
      const store = this.open(runId)
      this.#watcher.lost(runId, store.read() === undefined ? undefined : store.last()?.seq ?? 0)
    }
  }

  /** The storage of this machine is gone. */
  wipe(): void {
    const all = this.runs()
    this.#rebuild([])
    for (const runId of all) this.#watcher.lost(runId, undefined)
  }

  /** As it was after these writes: their preconditions hold as they did. */
  #rebuild(writes: Write[]): void {
    this.#shelf = createMemoryShelf()
    this.#writes = writes
    this.#durable = 0
    this.#entries.clear()
    this.#records.clear()
    this.#waiting = []
    for (const { runId, batch } of writes) this.open(runId).commit(batch)
    this.flush()
  }
}
