import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { answeringLater, checkProgram, type DeliveryHarness, namedPrograms, randomProgram } from '../contract/delivery.contract.ts'

const PROGRAMS = 25
const memory = (id: string) => createMemoryShelf().open(id)
const withLast = (program: (typeof namedPrograms)[string]) => ({ do: 'seq', of: [program, { do: 'step', name: 'last', takes: 'no time', n: 0 }] } as const)

/** Runs `body` inside a new Durable Object: its SQLite is emptied between two runs, so that each finds a fresh store. */
function inObject<T>(body: (harness: DeliveryHarness) => Promise<T>): Promise<T> {
  const stub = exports.Scratch.getByName(`delivery ${crypto.randomUUID()}`)
  return runInDurableObject(stub, (_, state) => {
    const quiesce = createHost().quiesce
    return body({
      quiesce,
      open: async (id) => {
        await createSqliteStore(state.storage, id).destroy()
        return createSqliteStore(state.storage, id)
      },
      openOther: memory,
    })
  })
}

describe('G8: deliveries are the same on every replay (workerd)', () => {
  const { quiesce } = createHost()
  for (const [name, program] of Object.entries(namedPrograms)) {
    test(`G8: ${name}, on SQLite and then in memory`, async () => {
      const { replays } = await inObject((harness) => checkProgram(harness, withLast(program), 1))
      expect(replays).toBeGreaterThan(1)
    })
  }
  test(`G8: ${PROGRAMS} random programs from seed 10001, in memory`, async () => {
    let entries = 0
    for (let seed = 10001; seed < 10001 + PROGRAMS; seed++) {
      entries += (await checkProgram({ quiesce, open: memory, openOther: (id) => answeringLater(memory(id)) }, randomProgram(seed, 4 + (seed % 20)), seed)).entries
    }
    expect(entries).toBeGreaterThan(PROGRAMS * 4)
  }, 180_000)
  test(`G8: ${PROGRAMS} random programs from seed 20001, on SQLite and then in memory`, async () => {
    let entries = 0
    for (let seed = 20001; seed < 20001 + PROGRAMS; seed++) {
      entries += (await inObject((harness) => checkProgram(harness, randomProgram(seed, 4 + (seed % 20)), seed))).entries
    }
    expect(entries).toBeGreaterThan(PROGRAMS * 4)
  }, 180_000)
})
