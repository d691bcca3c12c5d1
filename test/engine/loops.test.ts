import { expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { checkManyLoops } from '../contract/loops.contract.ts'
import { quiesce } from '../support/node.ts'

const RUNS = 200
const SEED = 51_000

test(`G15, Z-042: ${RUNS} runs from seed ${SEED} over lists that change: one key for each item, and its own outcome (memory, Node)`, async () => {
  const sum = await checkManyLoops(() => ({ quiesce, open: (id) => createMemoryShelf().open(id) }), SEED, RUNS)
  console.log(`${RUNS} seeds from ${SEED}: ${JSON.stringify(sum)}`)
  expect(sum.items).toBeGreaterThan(RUNS * 5)
  for (const name of ['crashes', 'probes', 'overtaken'] as const) expect(sum[name], name).toBeGreaterThan(RUNS / 10)
}, 120_000)
