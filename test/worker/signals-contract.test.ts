import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { signalCases } from '../contract/signals.contract.ts'

for (const [i, { title, run }] of signalCases.entries()) {
  test(`${title} (Durable Object SQLite)`, () =>
    runInDurableObject(exports.Scratch.getByName(`signals ${i}`), (_, state) => run({ quiesce: createHost().quiesce, open: (id) => createSqliteStore(state.storage, id) })))
}
