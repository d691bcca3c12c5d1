// Looks into run objects, and waits for what they do.

import { exports } from 'cloudflare:workers'
import { runInDurableObject } from 'cloudflare:test'
import type { Run } from '../../src/client.ts'
import type { Status } from '../../src/journal/record.ts'
import type { RunObject } from '../../worker/index.ts'
import { createSqliteStore, type SqliteStore } from '../../worker/sqlite-store.ts'
import { Run as RunClass } from './worker.ts'

export interface Inside {
  readonly object: RunObject<object>
  readonly state: DurableObjectState
  readonly store: SqliteStore
}

export function inRun<T>(id: string, look: (inside: Inside) => T | Promise<T>): Promise<T> {
  return runInDurableObject(exports.Run.getByName(id), (object, state) => look({ object, state, store: createSqliteStore(state.storage, id) }))
}

export interface Stored {
  /** Every row of every table of the object, as text; empty when there are no tables. */
  readonly tables: Readonly<Record<string, readonly string[]>>
  readonly alarm: number | null
}

/** Everything durable that an object has. */
export function stored(id: string): Promise<Stored> {
  return inRun(id, async ({ state }) => {
    const { sql } = state.storage
    const names = sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'").toArray()
    const tables: Record<string, string[]> = {}
    for (const { name } of names) {
      tables[name] = sql.exec(`SELECT * FROM "${name}"`).toArray().map((row) => JSON.stringify(row, (_, value: unknown) => value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value))
    }
    return { tables, alarm: await state.storage.getAlarm() }
  })
}

export const nothing: Stored = { tables: {}, alarm: null }

export async function until<T>(what: string, look: () => Promise<T | undefined | false>, ms = 20_000): Promise<T> {
  const end = Date.now() + ms
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > end) throw new Error(`it did not happen in ${ms} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export async function hasStatus(run: Run<unknown>, status: Status): Promise<void> {
  await until(`run ${run.id} is ${status}`, async () => (await run.status()).status === status)
}

/** What a test does to an object's storage. */
export interface Meddling {
  setAlarm?: () => Promise<void>
  /** Called before each statement. */
  exec?: () => void
  /** Called after each statement. */
  wrote?: (rows: number) => void
}

/**
 * An object of the class whose storage does as the test says: made inside a real object and over its storage. `log` tells of its
 * alarms, in order.
 */
export function withStorage(id: string, meddling: Meddling, run: (object: RunObject<object>, log: readonly string[]) => Promise<void>): Promise<void> {
  return runInDurableObject(exports.Run.getByName(id), async (_, state) => {
    const log: string[] = []
    const sql = changed(state.storage.sql, {
      exec: (query: string, ...bindings: never[]) => {
        meddling.exec?.()
        const cursor = state.storage.sql.exec(query, ...bindings)
        // Rows are counted as they are read, so the count is asked for when whoever reads has had its turn.
        if (meddling.wrote !== undefined) queueMicrotask(() => meddling.wrote?.(cursor.rowsWritten))
        return cursor
      },
    })
    const storage = changed(state.storage, {
      sql,
      setAlarm: (at: number) => {
        log.push(`alarm +${Math.round((at - Date.now()) / 1000)}s`)
        return meddling.setAlarm?.() ?? state.storage.setAlarm(at)
      },
      deleteAlarm: () => {
        log.push('no alarm')
        return state.storage.deleteAlarm()
      },
    })
    const object = new RunClass(state, {})
    // The platform's constructor takes only its own state, so the other one goes in afterwards.
    Object.defineProperty(object, 'ctx', { value: changed(state, { storage }) })
    await run(object, log)
  })
}

/** `target` with some properties replaced. The platform's methods want to be called on the platform's object. */
function changed<T extends object>(target: T, replaced: object): T {
  return new Proxy(target, {
    get(_, key) {
      if (Object.hasOwn(replaced, key)) return Reflect.get(replaced, key) as unknown
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
}
