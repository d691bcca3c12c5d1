// What bench/browser.ts calls in a page. Both sides write to the same IndexedDB of the same profile and are timed by the same clock.

import { browser, type BrowserClient } from 'stepwell/web'
import { parallel, sequential } from '../workflows.ts'

const NAME = 'bench'
const BARE = 'bare'
let opened: BrowserClient<typeof sequential | typeof parallel> | undefined
let bareDatabase: IDBDatabase | undefined

/** The real host, with default options. */
async function stepwell(kind: 'sequential' | 'parallel', n: number): Promise<number> {
  opened ??= await browser({ name: NAME, workflows: [sequential, parallel] as const })
  const start = performance.now()
  const run = await opened.start(kind, { n })
  await run.result()
  return performance.now() - start
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

/** The average size of the entries that the host has written. */
async function entryBytes(): Promise<number> {
  const db = await open(NAME, () => {})
  const entries = await new Promise<readonly { bytes: Uint8Array }[]>((resolve, reject) => {
    const request = db.transaction('entry').objectStore('entry').getAll(null, 1000)
    request.onsuccess = () => resolve(request.result as { bytes: Uint8Array }[])
    request.onerror = () => reject(request.error)
  })
  db.close()
  return Math.round(entries.reduce((sum, { bytes }) => sum + bytes.length, 0) / entries.length)
}

function open(name: string, upgrade: (db: IDBDatabase) => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name)
    request.onupgradeneeded = () => upgrade(request.result)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

export const bench = { stepwell, bare, entryBytes }
Object.assign(globalThis, { bench })
