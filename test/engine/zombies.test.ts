import { test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { zombieCases } from '../contract/zombies.contract.ts'
import { quiesce } from '../support/node.ts'

for (const { title, run } of zombieCases) {
  test(`${title} (memory, Node)`, () => {
    const shelf = createMemoryShelf()
    return run({ quiesce, open: (id) => shelf.open(id) })
  }, 30_000)
}
