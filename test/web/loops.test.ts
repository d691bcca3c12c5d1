import { expect, test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import { checkManyLoops } from '../contract/loops.contract.ts'
import { freshName, openShelf } from './support.ts'

const RUNS = 10
const SEED = 53_000

test(`G15, Z-042: ${RUNS} runs from seed ${SEED} over lists that change: one key for each item, and its own outcome (IndexedDB, Chromium)`, async () => {
  const shelf = await openShelf(freshName())
  const sum = await checkManyLoops(() => ({
    quiesce: createBrowserHost().quiesce,
    open: async (id) => {
      await shelf.open(id).destroy()
      return shelf.open(id)
    },
  }), SEED, RUNS)
  console.log(`${RUNS} seeds from ${SEED}: ${JSON.stringify(sum)}`)
  expect(sum.crashes).toBeGreaterThan(0)
  expect(sum.items).toBeGreaterThan(RUNS * 3)
}, 60_000)
