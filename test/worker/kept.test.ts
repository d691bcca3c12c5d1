import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { keptCases } from '../contract/kept.contract.ts'

for (const [i, { title, run }] of keptCases.entries()) {
  test(`${title} (Durable Object SQLite)`, () =>
    runInDurableObject(exports.Scratch.getByName(`kept ${i}`), (_, state) =>
      run({ quiesce: createHost().quiesce, hasManyRuns: false, open: (id) => createSqliteStore(state.storage, id) })))
}
