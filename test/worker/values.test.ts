import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { checkValues } from '../contract/values.contract.ts'

test('G26: live values equal replayed values (Durable Object SQLite)', async () => {
  const compared = await runInDurableObject(exports.Scratch.getByName('values'), (_, state) =>
    checkValues(createHost().quiesce, (id) => createSqliteStore(state.storage, id)))
  expect(compared).toBeGreaterThan(15)
})
