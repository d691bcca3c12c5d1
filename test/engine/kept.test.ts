import { test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { keptCases } from '../contract/kept.contract.ts'
import { quiesce } from '../support/node.ts'

for (const { title, run } of keptCases) {
  test(`${title} (memory)`, async () => {
    const shelf = createMemoryShelf()
    await run({ quiesce, hasManyRuns: true, open: (id) => shelf.open(id) })
  })

  test(`${title} (memory that answers later)`, async () => {
    const shelf = createMemoryShelf()
    await run({ quiesce, hasManyRuns: true, open: (id) => answeringLater(shelf.open(id)) })
  })
}
