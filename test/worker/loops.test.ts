import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { checkManyLoops } from '../contract/loops.contract.ts'

const RUNS = 12
const SEED = 52_000

test(`G15, Z-042: ${RUNS} runs from seed ${SEED} over lists that change: one key for each item, and its own outcome (SQLite, workerd)`, () =>
  runInDurableObject(exports.Scratch.getByName('loops'), async (_, state) => {
    const sum = await checkManyLoops(() => ({
      quiesce: createHost().quiesce,
      open: async (id) => {
        await createSqliteStore(state.storage, id).destroy()
        return createSqliteStore(state.storage, id)
      },
    }), SEED, RUNS)
    console.log(`${RUNS} seeds from ${SEED}: ${JSON.stringify(sum)}`)
    expect(sum.crashes).toBeGreaterThan(0)
    expect(sum.items).toBeGreaterThan(RUNS * 3)
  }), 60_000)
