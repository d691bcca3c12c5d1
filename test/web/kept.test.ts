import { expect, test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import { keptCases } from '../contract/kept.contract.ts'
import { onIndexedDb } from './on-indexeddb.ts'
import { freshName, openShelf } from './support.ts'

onIndexedDb(keptCases)

test('T-011: equal run ids in two databases share nothing', async () => {
  const cases = keptCases.filter(({ title }) => title.startsWith('T-005'))
  expect(cases).toHaveLength(2)
  // Each case expects to find nothing at first, and leaves what it has kept.
  for (const { run } of cases) {
    const shelves = [await openShelf(freshName()), await openShelf(freshName())]
    for (const shelf of shelves) await run({ quiesce: createBrowserHost().quiesce, hasManyRuns: true, open: (id) => shelf.open(id) })
  }
})
