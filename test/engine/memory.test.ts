import { describe, expect, test } from 'vitest'
import { Cursor } from '../../src/journal/cursor.ts'
import { workflow } from '../../src/index.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { longJournal, Residency } from './long-journal.ts'
import { anything, ID, quiesce } from './support.ts'

describe('G10: replay memory is O(segment)', () => {
  test.each([
    ['prompt', 20_000],
    ['settled', 10_000],
  ] as const)(
    'G10: a journal of %s entries, %i of them, replays in pages, and resident entries are bounded',
    async (fate, length) => {
      const { store, pages } = longJournal(length, fate)
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
      expect([...sizes]).toEqual([fate === 'prompt' ? undefined : 100])
      const replayed = pages.filter((limit) => limit === 512)
      expect(replayed.length).toBeGreaterThan(length / 512 - 1)
      expect(replayed.length).toBeLessThan(length / 512 + 3)
      expect(Math.max(...pages)).toBe(512)
      expect(residency.max).toBeGreaterThan(0)
      expect(residency.max).toBeLessThan(4 * 512)
    },
    300_000,
  )

  test('G10: with a race\'s loser outstanding all the way, none of it is kept either', async () => {
    const { store } = longJournal(20_000, 'loser')
    const residency = new Residency()
    const w = workflow({ name: 'w', input: anything }, async (ctx, n: number) => {
      void ctx.sleep('30 days')
      for (let i = 0; i < n; i++) {
        await ctx.step('s', () => '')
        if (i % 5003 === 5002) residency.count()
      }
      return 'done'
    })
    const runs = new TestRuns({ host: new TestHost({ quiesce }), open: () => residency.watch(store), workflows: [w] })
    expect(await runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(residency.max).toBeGreaterThan(0)
    expect(residency.max).toBeLessThan(4 * 512)
  }, 300_000)

  test.each([1, 2, 3, 7, 64])(
    'G10: pages of %i entries give the same replay, whatever is split by their borders (Z-018)',
    async (pageEntries) => {
      const trace: string[] = []
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        for (let i = 0; i < 20; i++) {
          trace.push(
            `${await ctx.step(
              's',
              (call) => {
                if (i % 5 === 0 && call.attempt === 1) throw new Error('busy')
                return i
              },
              { retry: { delay: 1 } },
            )} ${ctx.now()}`,
          )
          if (i % 4 === 0) await ctx.all({ x: (c) => c.sleep(3), y: (c) => c.step('y', async () => i) })
        }
        await ctx.sleep('1 hour')
        return trace.length
      })
      const shelf = createMemoryShelf()
      const host = new TestHost({ quiesce })
      const runs = new TestRuns({ host, open: (id) => shelf.open(id), workflows: [w], limits: { pageEntries } })
      await runs.start(w, 0, { id: ID })
      await runs.drive(ID)
      const live = trace.splice(0)
      await runs.crash(ID)
      const entries = shelf.open(ID).last()?.seq
      expect((await runs.drive(ID)).kind).toBe('parked')
      expect(trace).toEqual(live)
      expect(live).toHaveLength(20)
      expect(shelf.open(ID).last()?.seq).toBe(entries)
    },
  )

  test('G10: the cursor never holds more than two places where reading may pause, and a page', async () => {
    const { store, head } = longJournal(20_000, 'prompt')
    const cursor = new Cursor(store, [{ from: 1, to: Infinity }], head, 512)
    let read = 0
    let most = 0
    while (!cursor.exhausted) {
      await cursor.fill()
      const before = cursor.seq
      most = Math.max(most, before - read)
      // As the engine: everything up to and including the next entry that is not prompt.
      for (;;) {
        const entry = cursor.peek()
        if (entry === undefined) break
        cursor.shift()
        read++
        if (!entry.prompt) break
      }
    }
    expect(read).toBe(20_001)
    expect(most).toBeLessThanOrEqual(2 * 512)
  })
})
