import { test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import type { RunCase } from '../contract/run-case.ts'
import { quiesce } from '../support/node.ts'

/** A test of each case on the memory store, as it is and answering later, as one that waits for a disk does. */
export function onMemory(cases: readonly RunCase[]): void {
  for (const { title, run } of cases) {
    test(`${title} (memory)`, async () => {
      const shelf = createMemoryShelf()
      await run({ quiesce, hasManyRuns: true, open: (id) => shelf.open(id) })
    })

    test(`${title} (memory that answers later)`, async () => {
      const shelf = createMemoryShelf()
      await run({ quiesce, hasManyRuns: true, open: (id) => answeringLater(shelf.open(id)) })
    })
  }
}
