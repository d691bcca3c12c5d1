import { expect, test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import pinned from '../differential/digests.json'
import { digestsOf } from '../differential/stores.ts'
import { freshName, openShelf } from './support.ts'

test('G1: every workload gives the journal that Node has pinned (IndexedDB, Chromium)', async () => {
  const shelf = await openShelf(freshName())
  const { digests } = await digestsOf({ quiesce: createBrowserHost().quiesce, open: (id) => shelf.open(id) })
  expect(digests).toEqual(pinned)
}, 300_000)
