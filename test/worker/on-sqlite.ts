import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import type { RunCase } from '../contract/run-case.ts'

/** A test of each case on SQLite in a Durable Object of its own. */
export function onSqlite(contract: string, cases: readonly RunCase[]): void {
  for (const [i, { title, run }] of cases.entries()) {
    test(`${title} (Durable Object SQLite)`, () =>
      runInDurableObject(exports.Scratch.getByName(`${contract} ${i}`), (_, state) =>
        run({ quiesce: createHost().quiesce, hasManyRuns: false, open: (id) => createSqliteStore(state.storage, id) })))
  }
}
