import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import pinned from '../differential/digests.json'
import { digestsOf } from '../differential/stores.ts'

test('G1: every workload gives the journal that Node has pinned (SQLite, workerd)', () =>
  runInDurableObject(exports.Scratch.getByName('differential'), async (_, state) => {
    const { digests } = await digestsOf({
      quiesce: createHost().quiesce,
      open: async (id) => {
        await createSqliteStore(state.storage, 'differential').destroy()
        state.storage.sql.exec('DROP TABLE IF EXISTS run')
        return createSqliteStore(state.storage, id)
      },
    })
    expect(digests).toEqual(pinned)
  }), 300_000)
