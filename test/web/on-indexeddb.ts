import { test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import type { RunCase } from '../contract/run-case.ts'
import { freshName, openShelf } from './support.ts'

/** A test of each case on IndexedDB, in a database of its own. */
export function onIndexedDb(cases: readonly RunCase[]): void {
  for (const { title, run } of cases) {
    test(`${title} (IndexedDB)`, async () => {
      const shelf = await openShelf(freshName())
      await run({ quiesce: createBrowserHost().quiesce, hasManyRuns: true, open: (id) => shelf.open(id) })
    })
  }
}
