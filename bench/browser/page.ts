// What bench/browser.ts calls in a page. Both sides write to the same IndexedDB of the same profile and are timed by the same clock.

import { workflow } from 'stepwell'
import { browser, type BrowserClient } from 'stepwell/web'
import { any, asleep, fiveEffects, RESULT } from '../workflows.ts'

const NAME = 'bench'
const BARE = 'bare'
let opened: Promise<BrowserClient<typeof sequential | typeof parallel | typeof fiveEffects | typeof asleep>> | undefined
let bareDatabase: IDBDatabase | undefined

/** Milliseconds. */
interface Timed {
  /** From the call of the workflow function to its end: every step with its commit and its delivery, and nothing else. */
  readonly steps: number
  /** From before `start` to the answer of `result`: also the start, the take-over and the end, a strict commit each. */
  readonly run: number
}

const input = any<{ n: number }>()
// What a workflow function does besides its steps goes unrecorded. No pass here is ever replayed, so the clock is no harm.
let stepsMs = 0

const sequential = workflow({ name: 'sequential', input }, async (ctx, { n }) => {
  const start = performance.now()
  for (let i = 0; i < n; i++) await ctx.step('step', async () => RESULT)
  stepsMs = performance.now() - start
})

const parallel = workflow({ name: 'parallel', input }, async (ctx, { n }) => {
  const start = performance.now()
  await Promise.all(Array.from({ length: n }, () => ctx.step('step', async () => RESULT)))
  stepsMs = performance.now() - start
})

/**
 * The real host, with default options. The steps are timed inside the function, as Cloudflare Workflows are at the edge: the
 * baseline writes into an open database too, and neither starts nor ends anything.
 */
async function stepwell(kind: 'sequential' | 'parallel', n: number): Promise<Timed> {
  const well = await openWell()
  const start = performance.now()
  const run = await well.start(kind, { n })
  await run.result()
  return { steps: stepsMs, run: performance.now() - start }
}

const openWell = (): Promise<BrowserClient<typeof sequential | typeof parallel | typeof fiveEffects | typeof asleep>> =>
  (opened ??= browser({ name: NAME, workflows: [sequential, parallel, fiveEffects, asleep] as const }))

async function each(what: 'effects' | 'start', n: number): Promise<number[]> {
  const well = await openWell()
  const times: number[] = []
  for (let i = 0; i < n; i++) {
    const start = performance.now()
    if (what === 'start') await well.start(asleep, null)
    else await (await well.start(fiveEffects, null)).result()
    times.push(performance.now() - start)
  }
  return times
}

/** The baseline: one put for each transaction, which is committed explicitly and awaited. Durability is relaxed, as for our steps. */
async function bare(n: number, bytes: number): Promise<number> {
  const db = (bareDatabase ??= await open(BARE, (made) => made.createObjectStore('entry')))
  const value = new Uint8Array(bytes).fill(7)
  await done(db, (store) => store.clear())
  const start = performance.now()
  for (let seq = 1; seq <= n; seq++) await done(db, (store) => store.put(value, seq))
  return performance.now() - start
}

function done(db: IDBDatabase, ask: (store: IDBObjectStore) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const tx = db.transaction('entry', 'readwrite', { durability: 'relaxed' })
    tx.oncomplete = () => resolve()
    tx.onabort = () => reject(tx.error)
    ask(tx.objectStore('entry'))
    tx.commit()
  })
}

/** The average size of the entries that the host has written. A record holds a group of them, or is no group. */
async function entryBytes(): Promise<number> {
  const db = await open(NAME, () => {})
  const groups = await new Promise<readonly ({ bytes: Uint8Array; ends?: readonly number[] } | null)[]>((resolve, reject) => {
    const request = db.transaction('entry').objectStore('entry').getAll(null, 1000)
    request.onsuccess = () => resolve(request.result as { bytes: Uint8Array; ends?: readonly number[] }[])
    request.onerror = () => reject(request.error)
  })
  db.close()
  let entries = 0
  let size = 0
  for (const group of groups) {
    if (group === null) continue
    entries += group.ends?.length ?? 1
    size += group.bytes.length
  }
  return Math.round(size / entries)
}

function open(name: string, upgrade: (db: IDBDatabase) => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name)
    request.onupgradeneeded = () => upgrade(request.result)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

export const bench = { stepwell, bare, entryBytes, each }
Object.assign(globalThis, { bench })
