import { expect, test } from 'vitest'
import { atCommits, atQuiescence, pairs, parseSchedule, printSchedule, type Schedule, smallest } from '../../src/testing/schedule.ts'

test('a schedule is its seed, both ways', () => {
  const schedule: Schedule = [{ when: 'after', nth: 3 }, { when: 'quiet', nth: 12 }, { when: 'lost', nth: 20 }]
  expect(printSchedule(schedule)).toBe('after:3 quiet:12 lost:20')
  expect(parseSchedule(' after:3  quiet:12 lost:20')).toEqual(schedule)
  expect(parseSchedule('')).toEqual([])
  for (const wrong of ['after', 'after:0', 'before:-1', 'never:3', 'quiet:x']) expect(() => parseSchedule(wrong), wrong).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
})

test('every commit is struck in three ways, every quiescent point in one; pairs are as many as asked, in order, and none twice', () => {
  expect(atCommits(4)).toHaveLength(12)
  expect(atQuiescence(3).map((strike) => printSchedule([strike]))).toEqual(['quiet:1', 'quiet:2', 'quiet:3'])
  const found = pairs(10, 6, 200)
  expect(found).toHaveLength(200)
  expect(new Set(found.map(printSchedule)).size).toBe(200)
  for (const [a, b] of found as [Schedule[0], Schedule[0]][]) if ((a.when === 'quiet') === (b.when === 'quiet')) expect(b.nth).toBeGreaterThan(a.nth)
  expect(new Set(found.map(([a]) => a?.when))).toEqual(new Set(['before', 'after', 'lost', 'quiet']))
  expect(pairs(1, 0, 1000).length).toBeLessThan(50)
  expect(pairs(5, 5, 0)).toEqual([])
})

test('the smallest schedule that fails: strikes are dropped and moved earlier, what is known to hold is not asked', async () => {
  const asked: string[] = []
  const fails = (holds: (schedule: Schedule) => boolean) => async (schedule: Schedule) => {
    asked.push(printSchedule(schedule))
    return holds(schedule)
  }
  const late = parseSchedule('before:9 after:12')
  // It needs an `after` from the fifth commit on, and nothing else.
  expect(printSchedule(await smallest(late, fails((s) => s.some(({ when, nth }) => when === 'after' && nth >= 5)), new Set(), 200))).toBe('after:5')
  // It needs both.
  asked.length = 0
  expect(printSchedule(await smallest(late, fails((s) => s.length === 2 && (s[1]?.nth ?? 0) >= 3), new Set(['before:9', 'after:12']), 200))).toBe('before:1 after:3')
  expect(asked).not.toContain('before:9')
  expect(new Set(asked).size).toBe(asked.length)
  expect(printSchedule(await smallest(late, fails(() => true), new Set(), 1))).toBe('after:12')
})
