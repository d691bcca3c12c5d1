import { expect, test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import { checkValues } from '../contract/values.contract.ts'
import { freshName, openShelf } from './support.ts'

test('G26: live values equal replayed values (IndexedDB)', async () => {
  const shelf = await openShelf(freshName())
  expect(await checkValues(createBrowserHost().quiesce, (id) => shelf.open(id))).toBeGreaterThan(15)
})
