import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { deferredCases } from '../contract/deferreds.contract.ts'

for (const [i, { title, run }] of deferredCases.entries()) {
  test(`${title} (Durable Object SQLite)`, () =>
    runInDurableObject(exports.Scratch.getByName(`deferreds ${i}`), (_, state) => run({ quiesce: createHost().quiesce, open: (id) => createSqliteStore(state.storage, id) })))
}
