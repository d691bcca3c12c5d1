// A slice of what the simulator does for as long as `npm run campaign` tells it. In two files, so that two processors share it.

import { expect } from 'vitest'
import { coverageTable, missedCells } from '../../src/testing/simulator/coverage.ts'
import { LEAST_COMMITS, LEAST_FAULTS, simulate } from '../../src/testing/simulator/simulate.ts'
import { quiesce } from '../support/node.ts'

export const SCHEDULES: number = Number(process.env['SIMULATE_SCHEDULES'] ?? 10_000)

/** Every guarantee holds, and every fault has hit every kind of entry on both hosts. */
export async function runSlice(firstSeed: number): Promise<void> {
  const simulated = await simulate({ quiesce, firstSeed, schedules: SCHEDULES })
  const { schedules, uncounted, commits, faults, tasks, coverage, violations, nextSeed } = simulated
  console.log(`simulator: ${schedules} schedules (and ${uncounted} with fewer than ${LEAST_COMMITS} commits or ${LEAST_FAULTS} fault) from seed ${firstSeed} to ${nextSeed - 1}: `
    + `${commits} commits, ${faults} faults, ${tasks} tasks; ${JSON.stringify(simulated.ended)}`)
  console.log(coverageTable(coverage))
  expect(violations.map(({ violation }) => violation)).toEqual([])
  expect(schedules).toBe(SCHEDULES)
  expect(Object.keys(simulated.ended).sort()).toEqual(['cancelled', 'completed', 'failed'])
  expect(missedCells(coverage)).toEqual([])
}
