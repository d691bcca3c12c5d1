import { expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { longJournal, Residency } from './long-journal.ts'
import { anything, ID, quiesce } from './support.ts'

test('G10: a journal of 200,000 entries replays in pages, and resident entries are bounded', async () => {
  const length = 200_000
  const { store, pages } = longJournal(length, 'prompt')
  const residency = new Residency()
  let executed = 0
  const sizes = new Set<number | undefined>()
  const w = workflow({ name: 'w', input: anything }, async (ctx, n: number) => {
    for (let i = 0; i < n; i++) {
      const value = await ctx.step('s', (): string | undefined => {
        executed++
        return ''
      })
      sizes.add(value?.length)
      if (i % 5003 === 5002) residency.count()
    }
    return 'done'
  })
  const host = new TestHost({ quiesce })
  const runs = new TestRuns({ host, open: () => residency.watch(store), workflows: [w] })
  expect(await runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
  expect(executed).toBe(0)
  expect([...sizes]).toEqual([undefined])
  const replayed = pages.filter((limit) => limit === 512)
  expect(replayed.length).toBeGreaterThan(length / 512 - 1)
  expect(replayed.length).toBeLessThan(length / 512 + 3)
  expect(Math.max(...pages)).toBe(512)
  expect(residency.max).toBeGreaterThan(0)
  expect(residency.max).toBeLessThan(4 * 512)
}, 300_000)
