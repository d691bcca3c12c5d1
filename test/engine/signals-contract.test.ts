import { test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { signalCases } from '../contract/signals.contract.ts'
import { quiesce } from '../support/node.ts'

for (const { title, run } of signalCases) {
  test(`${title} (memory)`, async () => {
    const shelf = createMemoryShelf()
    await run({ quiesce, open: (id) => shelf.open(id) })
  })

  test(`${title} (memory that answers later)`, async () => {
    const shelf = createMemoryShelf()
    await run({ quiesce, open: (id) => answeringLater(shelf.open(id)) })
  })
}
