// The simulator, for as long as it is told, on every processor: each worker takes every n-th block of seeds.
//   node test/campaign/simulate.ts --seconds 3600 --seed 1 --json simulate.json

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { cells } from '../../src/testing/simulator/fault.ts'
import { addCoverage, type Coverage, coverageTable, emptyCoverage, missedCells } from '../../src/testing/simulator/coverage.ts'
import { part } from './part.ts'
import type { Block } from './simulate-worker.ts'

/** Of one block: a second's work or a little more. As many as there are cells aim at each of them once. */
const SEEDS = 100
/** A long run does not stop at the first violation, but at so many. */
const ENOUGH = 20
/** What a schedule makes is garbage when it ends: with room for many of them, hardly any of it is ever copied. */
const resourceLimits = { maxYoungGenerationSizeMb: 128 }
const workers = Array.from({ length: availableParallelism() }, () => new Worker(new URL('./simulate-worker.ts', import.meta.url), { resourceLimits }))
const coverage: Coverage = emptyCoverage()
let seeds = 0
let found = 0

await part([{
  name: 'simulate',
  async run(seed, { add, figures }) {
    const blocks = await Promise.all(workers.map((worker, i) => ask(worker, seed + i * SEEDS)))
    for (const block of blocks) {
      for (const [name, n] of Object.entries(block.figures)) add(`simulate.${name}`, n)
      addCoverage(coverage, block.coverage)
    }
    seeds += SEEDS * workers.length
    figures['simulate.cells'] = coverage.size
    figures['simulate.cellsMissed'] = missedCells(coverage).length
    figures['simulate.fewestInACell'] = Math.min(...coverage.values())
    for (const violation of blocks.flatMap((block) => block.violations)) {
      found++
      console.error(`FAILED: simulate: ${violation}`)
    }
    // The others may find something else; as much of this finds it again and again.
    if (found >= ENOUGH) throw new Error(`${found} schedules violate a guarantee`)
    return seed + SEEDS * workers.length
  },
}], async () => {
  await Promise.all(workers.map((worker) => worker.terminate()))
  console.error(coverageTable(coverage))
  if (found > 0) {
    console.error(`FAILED: simulate: ${found} of the schedules above violate a guarantee`)
    process.exit(1)
  }
  // Each cell was aimed at twenty times: one that was never hit can't be reached.
  if (seeds >= 20 * cells.length && missedCells(coverage).length > 0) {
    console.error(`FAILED: simulate: no schedule has reached ${missedCells(coverage).join('; ')}`)
    process.exit(1)
  }
})

function ask(worker: Worker, firstSeed: number): Promise<Block> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject)
    worker.once('message', (block: Block) => {
      worker.off('error', reject)
      resolve(block)
    })
    worker.postMessage({ firstSeed, seeds: SEEDS })
  })
}
