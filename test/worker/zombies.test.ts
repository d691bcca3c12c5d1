import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { zombieCases } from '../contract/zombies.contract.ts'

for (const [i, { title, run }] of zombieCases.entries()) {
  test(`${title} (SQLite, workerd)`, () =>
    runInDurableObject(exports.Scratch.getByName(`zombies ${i}`), (_, state) =>
      run({ quiesce: createHost().quiesce, open: (id) => createSqliteStore(state.storage, id) })), 30_000)
}
