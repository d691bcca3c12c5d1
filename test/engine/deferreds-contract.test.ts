import { test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { deferredCases } from '../contract/deferreds.contract.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { quiesce } from '../support/node.ts'

for (const { title, run } of deferredCases) {
  test(`${title} (memory)`, async () => {
    const shelf = createMemoryShelf()
    await run({ quiesce, open: (id) => shelf.open(id) })
  })

  test(`${title} (memory that answers later)`, async () => {
    const shelf = createMemoryShelf()
    await run({ quiesce, open: (id) => answeringLater(shelf.open(id)) })
  })
}
