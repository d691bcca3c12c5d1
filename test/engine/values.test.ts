import { expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { checkValues } from '../contract/values.contract.ts'
import { quiesce } from '../support/node.ts'

test('G26: live values equal replayed values (memory)', async () => {
  expect(await checkValues(quiesce, (id) => createMemoryShelf().open(id))).toBeGreaterThan(15)
})
