// Runs a workload on a store under the test host, and gives its journal in a form that is equal wherever it was written. With one
// virtual clock and one seed nearly nothing has to be left out.

import { toBase64 } from '../../src/base64.ts'
import { canonicalBytes } from '../../src/codec.ts'
import { blake3, hex } from '../../src/hash.ts'
import { decodeEntry, type Entry, GENESIS } from '../../src/journal/entry.ts'
import { decodeRecord } from '../../src/journal/record.ts'
import type { DriveEnd } from '../../src/engine/drive.ts'
import { isPromise, type MaybePromise, type RunStore } from '../../src/store/store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { workload } from './workload.ts'

/** What is left out of an entry, each with its reason. Everything else is equal, byte for byte. */
export const excluded: Readonly<Partial<Record<keyof Entry, string>>> = {
  hash: 'it covers the field below',
  prompt: 'a store that answers at once lets a lone outcome be delivered at the fixed turn; one that answers later has it delivered at quiescence',
}

export interface Ran {
  readonly status: string
  readonly entries: readonly Entry[]
  /** BLAKE3 of the canonical journal, of the rows beside it, and of how the run ended. */
  readonly digest: string
}

export interface DifferentialHarness {
  readonly quiesce: () => Promise<void>
  /** A fresh, empty store. */
  readonly open: (runId: string) => RunStore | Promise<RunStore>
}

export async function runWorkload(harness: DifferentialHarness, seed: number): Promise<Ran> {
  const { definition, input } = workload(seed)
  const id = `differential-${seed}`
  const activity = new Activity()
  const inner = await harness.open(id)
  const store = activity.watched(inner)
  const host: TestHost = new TestHost({ quiesce: () => activity.during(harness.quiesce()), seed })
  const runs = new TestRuns({
    host, workflows: [definition], open: () => store,
    services: { wait: (ms: number) => new Promise<void>((resolve) => { host.timer(ms, resolve) }) },
  })
  await runs.start(definition, input as never, { id })
  const driver = await runs.driver(id)
  let end: DriveEnd
  for (;;) {
    end = await inVirtualTime(driver.drive(), host, activity, harness.quiesce)
    if ((end.kind !== 'parked' && end.kind !== 'ended') || (end.wakeAt ?? null) === null) break
    host.advanceTo(end.wakeAt as number)
  }
  const entries = await entriesOf(inner)
  const row = await inner.read()
  if (row === undefined) throw new Error(`seed ${seed}: the run is gone`)
  const { status } = decodeRecord(row)
  const sides: unknown[] = []
  for (const table of ['state', 'effect', 'manifest', 'memo', 'inbox'] as const) {
    for (const { key, value } of await inner.rows(table, { limit: 1000 })) sides.push([table, key, toBase64(value)])
  }
  const digest = hex(blake3(canonicalBytes([end.kind, status, canonicalJournal(entries), sides]))).slice(0, 32)
  return { status, entries, digest }
}

/** What the engine has under way besides steps: time may pass only when that is nothing, on whatever runtime. */
class Activity {
  open = 0
  /** Grows with everything that begins or ends. */
  count = 0

  async during<T>(promise: Promise<T>): Promise<T> {
    this.open++
    this.count++
    try {
      return await promise
    } finally {
      this.open--
      this.count++
    }
  }

  watched(store: RunStore): RunStore {
    const call = <A extends unknown[], R>(make: (...args: A) => MaybePromise<R>) => (...args: A): MaybePromise<R> => {
      const answer = make(...args)
      this.count++
      return isPromise(answer) ? this.during(answer) : answer
    }
    return {
      runId: store.runId, read: call(() => store.read()), entries: call((after, limit) => store.entries(after, limit)), last: call(() => store.last()),
      row: call((table, key) => store.row(table, key)), rows: call((table, page) => store.rows(table, page)), keys: call((table, page) => store.keys(table, page)),
      commit: call((batch) => store.commit(batch)), destroy: call(() => store.destroy()), ...(store.flush === undefined ? undefined : { flush: call(() => store.flush?.()) }),
    }
  }
}

async function inVirtualTime<T>(promise: Promise<T>, host: TestHost, activity: Activity, quiesce: () => Promise<void>): Promise<T> {
  let isOver = false
  promise.then(() => { isOver = true }, () => { isOver = true })
  for (let idle = 0, last = -1; !isOver;) {
    await quiesce()
    idle = activity.open === 0 && activity.count === last ? idle + 1 : 0
    last = activity.count
    const next = host.nextTimer
    if (idle < 3 || next === undefined) continue
    host.advanceTo(next)
    idle = 0
  }
  return promise
}

/** Verified, from the first to the last. */
export async function entriesOf(store: RunStore): Promise<readonly Entry[]> {
  const entries: Entry[] = []
  for (;;) {
    const page = await store.entries(entries.length, 500)
    for (const { seq, bytes } of page) entries.push(decodeEntry(seq, bytes, entries.at(-1)?.hash ?? GENESIS))
    if (page.length < 500) return entries
  }
}

export function canonicalJournal(entries: readonly Entry[], without: Readonly<Record<string, unknown>> = excluded): readonly object[] {
  return entries.map((entry) => Object.fromEntries(Object.entries(entry)
    .filter(([field, value]) => value !== undefined && !Object.hasOwn(without, field))
    .map(([field, value]) => [field, value instanceof Uint8Array ? toBase64(value) : value as unknown])))
}
