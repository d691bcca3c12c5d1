import { test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import { keptCases } from '../contract/kept.contract.ts'
import { freshName, openShelf } from './support.ts'

for (const { title, run } of keptCases) {
  test(`${title} (IndexedDB)`, async () => {
    const shelf = await openShelf(freshName())
    await run({ quiesce: createBrowserHost().quiesce, hasManyRuns: true, open: (id) => shelf.open(id) })
  })
}
