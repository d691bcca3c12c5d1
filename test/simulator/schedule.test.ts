// One schedule of the simulator: the same for the same seed. Many of them: slice.ts.

import { describe, expect, test } from 'vitest'
import { simulateOne } from '../../src/testing/simulator/simulate.ts'
import { quiesce } from '../support/node.ts'
import { found } from './found.ts'

const SEED = process.env['SIMULATE_SEED']

describe('a schedule', () => {
  if (SEED !== undefined) test(`seed ${SEED}, which was asked for`, async () => {
    const { violation, story } = await simulateOne(Number(SEED), quiesce)
    console.log(story.join('\n'))
    expect(violation).toBe(undefined)
  })

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
