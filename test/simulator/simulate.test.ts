// The simulator, a slice of it: `npm run campaign` runs it for as long as it is told.

import { describe, expect, test } from 'vitest'
import { coverageTable, missedCells } from '../../src/testing/simulator/coverage.ts'
import { LEAST_COMMITS, LEAST_FAULTS, simulate, simulateOne } from '../../src/testing/simulator/simulate.ts'
import { quiesce } from '../support/node.ts'
import { found } from './found.ts'

const SCHEDULES = Number(process.env['SIMULATE_SCHEDULES'] ?? 20_000)
const FIRST_SEED = Number(process.env['SIMULATE_SEED'] ?? 1)

test(`${SCHEDULES} schedules from seed ${FIRST_SEED}: every guarantee holds, and every fault has hit every kind of entry on both hosts`, async () => {
  const simulated = await simulate({ quiesce, firstSeed: FIRST_SEED, schedules: SCHEDULES })
  const { schedules, uncounted, commits, faults, tasks, coverage, violations, nextSeed } = simulated
  console.log(`simulator: ${schedules} schedules (and ${uncounted} with fewer than ${LEAST_COMMITS} commits or ${LEAST_FAULTS} fault) from seed ${FIRST_SEED} to ${nextSeed - 1}: `
    + `${commits} commits, ${faults} faults, ${tasks} tasks; ${JSON.stringify(simulated.ended)}`)
  console.log(coverageTable(coverage))
  expect(violations.map(({ violation }) => violation)).toEqual([])
  expect(schedules).toBe(SCHEDULES)
  expect(Object.keys(simulated.ended).sort()).toEqual(['cancelled', 'completed', 'failed'])
  expect(missedCells(coverage)).toEqual([])
}, 900_000)

describe('a schedule', () => {
  test('is the same for the same seed, task by task', async () => {
    let entries = 0
    for (let seed = 7000; seed < 7040; seed++) {
      const [first, second] = [await simulateOne(seed, quiesce), await simulateOne(seed, quiesce)]
      expect(second).toEqual(first)
      entries += first.commits
    }
    expect(entries).toBeGreaterThan(300)
  })

  test.each(found)('seed %d, which has found something: %s', async (seed) => {
    const { violation, commits } = await simulateOne(seed, quiesce)
    expect(violation).toBe(undefined)
    expect(commits).toBeGreaterThan(0)
  })
})
