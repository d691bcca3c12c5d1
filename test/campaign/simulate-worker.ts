// One worker of simulate.ts: answers each block of seeds with what became of its schedules.

import { parentPort } from 'node:worker_threads'
import { simulate } from '../../src/testing/simulator/simulate.ts'

export interface Block {
  readonly figures: Readonly<Record<string, number>>
  readonly coverage: readonly (readonly [string, number])[]
  readonly violation: string | undefined
}

parentPort?.on('message', ({ firstSeed, seeds }: { readonly firstSeed: number; readonly seeds: number }) => {
  let left = seeds
  void simulate({
    quiesce: () => new Promise((resolve) => setImmediate(resolve)), firstSeed, schedules: Infinity, isOver: () => left-- === 0,
  }).then(({ schedules, uncounted, commits, faults, tasks, coverage, violations }) => {
    const block: Block = { figures: { schedules, uncounted, commits, faults, tasks }, coverage: [...coverage], violation: violations[0]?.violation }
    parentPort?.postMessage(block)
  })
})
