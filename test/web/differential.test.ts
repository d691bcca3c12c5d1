import { expect, test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import pinned from '../differential/digests.json'
import { digestOf, HOST_SEEDS } from '../differential/hosts.ts'
import pinnedHosts from '../differential/hosts.json'
import { digestsOf } from '../differential/stores.ts'
import { hostWorkload } from '../differential/workload.ts'
import { freshName, open, openShelf } from './support.ts'

test('G1: every workload gives the journal that Node has pinned (IndexedDB, Chromium)', async () => {
  const shelf = await openShelf(freshName())
  const { digests } = await digestsOf({ quiesce: createBrowserHost().quiesce, open: (id) => shelf.open(id) })
  expect(digests).toEqual(pinned)
}, 300_000)

test('G8: the real host gives the journal that Node has pinned (browser)', async () => {
  const well = await open({ name: freshName(), workflows: [hostWorkload] })
  const digests: Record<string, string> = {}
  for (const seed of HOST_SEEDS) {
    const run = await well.start(hostWorkload, seed as never)
    await run.result({ timeout: '1 minute' }).catch(() => {})
    digests[seed] = await digestOf(run.export())
  }
  expect(digests).toEqual(pinnedHosts)
}, 300_000)
