import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import pinned from '../differential/digests.json'
import { digestOf, HOST_SEEDS } from '../differential/hosts.ts'
import pinnedHosts from '../differential/hosts.json'
import { digestsOf } from '../differential/stores.ts'
import { hostWorkload } from '../differential/workload.ts'
import { well } from './worker.ts'

test('G1: every workload gives the journal that Node has pinned (SQLite, workerd)', () =>
  runInDurableObject(exports.Scratch.getByName('differential'), async (_, state) => {
    let last: string | undefined
    const { digests } = await digestsOf({
      quiesce: createHost().quiesce,
      open: async (id) => {
        if (last !== undefined) await createSqliteStore(state.storage, last).destroy()
        last = id
        return createSqliteStore(state.storage, id)
      },
    })
    expect(digests).toEqual(pinned)
  }), 300_000)

test('G8: the real host gives the journal that Node has pinned (Durable Objects, workerd)', async () => {
  const client = well.client({})
  const digests: Record<string, string> = {}
  for (const seed of HOST_SEEDS) {
    const run = await client.start(hostWorkload.name as 'echo', seed)
    await run.result({ timeout: '1 minute' }).catch(() => {})
    digests[seed] = await digestOf(run.export())
  }
  expect(digests).toEqual(pinnedHosts)
}, 300_000)
