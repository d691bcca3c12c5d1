import { describe, expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { answeringLater, checkProgram, namedPrograms, randomProgram } from '../contract/delivery.contract.ts'
import { quiesce } from '../support/node.ts'

const memory = (id: string) => createMemoryShelf().open(id)
const later = (id: string) => answeringLater(createMemoryShelf().open(id))
const harness = { quiesce, open: memory }
const FIRST_SEED = Number(process.env['DELIVERY_SEED'] ?? 1)
const PROGRAMS = Number(process.env['DELIVERY_PROGRAMS'] ?? 60)

describe('G8: deliveries are the same on every replay (Node, memory)', () => {
  for (const [name, program] of Object.entries(namedPrograms)) {
    test(`G8: ${name}`, async () => {
      const { replays } = await checkProgram(harness, { do: 'seq', of: [program, { do: 'step', name: 'last', takes: 'no time', n: 0 }] }, 1)
      expect(replays).toBeGreaterThan(2)
    })
  }

  const pairs = {
    'on one store': harness,
    'on a store that answers later': { quiesce, open: later },
    'from a store that answers at once to one that answers later': { quiesce, open: memory, openOther: later },
    'from a store that answers later to one that answers at once': { quiesce, open: later, openOther: memory },
  }
  for (const [where, pair] of Object.entries(pairs)) {
    test(`G8: ${PROGRAMS} random programs from seed ${FIRST_SEED}, ${where}`, async () => {
      let entries = 0
      for (let seed = FIRST_SEED; seed < FIRST_SEED + PROGRAMS; seed++) {
        entries += (await checkProgram(pair, randomProgram(seed, 4 + (seed % 20)), seed)).entries
      }
      expect(entries).toBeGreaterThan(PROGRAMS * 4)
    }, 180_000 + PROGRAMS * 500)
  }
  for (const seed of [199]) {
    test(`G8: seed ${seed}, which once failed`, async () => {
      expect((await checkProgram(harness, randomProgram(seed, 4 + (seed % 20)), seed)).replays).toBeGreaterThan(4)
    })
  }
})
