// Looks into run objects, and waits for what they do.

import { exports } from 'cloudflare:workers'
import { runInDurableObject } from 'cloudflare:test'
import type { Run } from '../../src/client.ts'
import type { Status } from '../../src/journal/record.ts'
import type { RunObject } from '../../worker/index.ts'
import { createSqliteStore, type SqliteStore } from '../../worker/sqlite-store.ts'

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

export async function until<T>(what: string, look: () => Promise<T | undefined | false>, ms = 10_000): Promise<T> {
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
