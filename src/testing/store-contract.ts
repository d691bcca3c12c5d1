// The contract of the store port as tests that any runner can run (docs/store.md). Every rule is tried twice: with one run in
// the store, and beside other runs whose ids begin like its own, which must come out of it unchanged.

import { neededFunction } from '../given.ts'
import type { MaybePromise } from '../store/store.ts'
import { equal } from './assert.ts'
import { commitCases } from './store-cases-commit.ts'
import { rowCases } from './store-cases-rows.ts'
import { runCases } from './store-cases-run.ts'
import { fill, type Scene, snapshot, type StoreHarness } from './store-scene.ts'

export type { StoreHarness } from './store-scene.ts'

export interface StoreContractCase {
  /** The guarantee that it proves, such as 'G3'. */
  readonly id: string
  readonly title: string
  run(harness: StoreHarness): Promise<void>
}

/** A run id, and two of which one begins like it and the other is its beginning. */
const runId = 'run-1'
const neighbors = ['run-10', 'run-']

/** All cases: each alone, then each with neighbors. Each wants a harness that nothing was written to. */
export const storeContract: readonly StoreContractCase[] = [...commitCases, ...runCases, ...rowCases].flatMap(({ id, title, run }) => [
  { id, title, run: (harness) => run(scene(harness, [])) },
  {
    id,
    title: `${title} (beside other runs)`,
    run: async (harness) => {
      const before = new Map<string, unknown>()
      for (const neighbor of neighbors) {
        await fill(await harness.open(neighbor))
        before.set(neighbor, await snapshot(await harness.open(neighbor), harness))
      }
      await run(scene(harness, neighbors))
      for (const neighbor of neighbors) {
        equal(await snapshot(await harness.reopen(neighbor), harness), before.get(neighbor), `the neighbor ${neighbor}`)
      }
    },
  },
])

function scene(harness: StoreHarness, others: readonly string[]): Scene {
  return { harness, runId, others, open: () => harness.open(runId) }
}

/** A case makes some hundreds of commits at most; a machine that is busy may take seconds for them. */
const timeoutMs = 60_000

/**
 * Binds the suite to a runner: `bindStoreContract(describe, it, () => harness)`, with a fresh harness for every case. Throws
 * `invalid_argument` for what is no function.
 */
export function bindStoreContract(
  describe: (name: string, body: () => void) => unknown,
  it: (name: string, body: () => Promise<void>, timeoutMs: number) => unknown,
  harness: () => MaybePromise<StoreHarness>,
): void {
  for (const [name, each] of Object.entries({ describe, it, harness })) neededFunction(each, name)
  describe('the store contract', () => {
    for (const { id, title, run } of storeContract) {
      it(`${id}: ${title}`, async () => {
        const fresh = await harness()
        try {
          await run(fresh)
        } finally {
          await fresh.cleanup()
        }
      }, timeoutMs)
    }
  })
}
