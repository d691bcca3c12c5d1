// One worker of simulate.ts: answers each block of seeds with what became of its schedules.

import { parentPort } from 'node:worker_threads'
import { addCoverage, emptyCoverage } from '../../src/testing/simulator/coverage.ts'
import { simulate } from '../../src/testing/simulator/simulate.ts'

export interface Block {
  readonly figures: Readonly<Record<string, number>>
  readonly coverage: readonly (readonly [string, number])[]
  readonly violations: readonly string[]
}

// Nobody reads the stacks of errors that simulated hosts throw, and to make them is a tenth of the work.
Error.stackTraceLimit = 0

parentPort?.on('message', (block: { readonly firstSeed: number; readonly seeds: number }) => { void run(block) })

async function run({ firstSeed, seeds }: { readonly firstSeed: number; readonly seeds: number }): Promise<void> {
  const figures = { schedules: 0, uncounted: 0, commits: 0, faults: 0, tasks: 0, violations: 0 }
  const coverage = emptyCoverage()
  const violations: string[] = []
  for (let seed = firstSeed; seed < firstSeed + seeds;) {
    let left = firstSeed + seeds - seed
    const simulated = await simulate({
      quiesce: () => new Promise((resolve) => setImmediate(resolve)), firstSeed: seed, schedules: Infinity, isOver: () => left-- === 0,
    })
    for (const name of ['schedules', 'uncounted', 'commits', 'faults', 'tasks'] as const) figures[name] += simulated[name]
    addCoverage(coverage, [...simulated.coverage])
    violations.push(...simulated.violations.map(({ violation }) => String(violation)))
    seed = simulated.nextSeed
  }
  figures.violations = violations.length
  const block: Block = { figures, coverage: [...coverage], violations }
  parentPort?.postMessage(block)
}
