import { test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import { deferredCases } from '../contract/deferreds.contract.ts'
import { freshName, openShelf } from './support.ts'

for (const { title, run } of deferredCases) {
  test(`${title} (IndexedDB)`, async () => {
    const shelf = await openShelf(freshName())
    await run({ quiesce: createBrowserHost().quiesce, open: (id) => shelf.open(id) })
  })
}
