import { describe, expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { createBrowserHost } from '../../web/host.ts'
import { checkProgram, type DeliveryHarness, namedPrograms, randomProgram } from '../contract/delivery.contract.ts'
import { freshName, openShelf } from './support.ts'

const PROGRAMS = 15
const { quiesce } = createBrowserHost()
const memory = (id: string) => createMemoryShelf().open(id)
const withLast = (program: (typeof namedPrograms)[string]) => ({ do: 'seq', of: [program, { do: 'step', name: 'last', takes: 'no time', n: 0 }] } as const)

/** One database; each run is removed before the next begins. */
async function idb(): Promise<DeliveryHarness> {
  const shelf = await openShelf(freshName())
  return {
    quiesce,
    openOther: memory,
    open: async (id) => {
      await shelf.open(id).destroy()
      return shelf.open(id)
    },
  }
}

describe('G8: deliveries are the same on every replay (Chromium)', () => {
  for (const [name, program] of Object.entries(namedPrograms)) {
    test(`G8: ${name}, on IndexedDB and then in memory`, async () => {
      const { replays } = await checkProgram(await idb(), withLast(program), 1)
      expect(replays).toBeGreaterThan(1)
    })
  }
  test(`G8: ${PROGRAMS} random programs from seed 30001, in memory`, async () => {
    let entries = 0
    for (let seed = 30001; seed < 30001 + PROGRAMS; seed++) {
      entries += (await checkProgram({ quiesce, open: memory }, randomProgram(seed, 4 + (seed % 20)), seed)).entries
    }
    expect(entries).toBeGreaterThan(PROGRAMS * 4)
  }, 180_000)
  test(`G8: ${PROGRAMS} random programs from seed 40001, on IndexedDB and then in memory`, async () => {
    const harness = await idb()
    let entries = 0
    for (let seed = 40001; seed < 40001 + PROGRAMS; seed++) {
      entries += (await checkProgram(harness, randomProgram(seed, 4 + (seed % 20)), seed)).entries
    }
    expect(entries).toBeGreaterThan(PROGRAMS * 4)
  }, 180_000)
})
