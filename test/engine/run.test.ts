import { expect, test } from 'vitest'
import { z } from 'zod'
import { workflow } from '../../src/index.ts'
import { journalPage } from '../../src/journal/view.ts'
import { nodeRuns } from '../support/node.ts'

const any = z.any()

test('G2: a sequential run completes, and each step is one entry', async () => {
  const seen: string[] = []
  const order = workflow({ name: 'order', input: z.object({ n: z.number() }) }, async (ctx, input) => {
    const a = await ctx.step('a', () => { seen.push('a'); return input.n + 1 })
    const b = await ctx.step('b', async () => { seen.push('b'); return a * 2 })
    await ctx.sleep('1 hour')
    const c = await ctx.step('c', async () => { await new Promise((r) => setImmediate(r)); seen.push('c'); return { b } })
    return { a, b, c }
  })
  const runs = nodeRuns({ workflows: [order] })
  const { id } = await runs.start(order, { n: 1 }, { id: 'r1' })
  const end = await runs.settle(id)
  expect(end).toEqual({ kind: 'ended', status: 'completed' })
  expect((await runs.summary(id)).output).toEqual({ a: 2, b: 4, c: { b: 4 } })
  expect(seen).toEqual(['a', 'b', 'c'])
  const page = await journalPage(await runs.store(id), { reveal: true })
  expect(page.items.map((e) => [e.kind, e.key, e.calls])).toEqual([
    ['run_started', undefined, 0], ['step_completed', 'a', 1], ['step_completed', 'b', 2], ['timer_set', 'ctx.sleep', 3],
    ['timer_fired', 'ctx.sleep', 3], ['step_completed', 'c', 4], ['run_completed', undefined, 4],
  ])
})

test('G8: all, race, any, settled and map', async () => {
  const many = workflow({ name: 'many', input: any }, async (ctx) => {
    const all = await ctx.all({ x: (c) => c.step('s', () => 'x'), y: (c) => c.step('s', async () => 'y') })
    const race = await ctx.race({ slow: (c) => c.sleep('2 hours'), fast: (c) => c.sleep('1 hour') })
    const first = await ctx.any({ bad: (c) => c.step('bad', () => { throw new Error('no') }, { retry: { limit: 0 } }), good: (c) => c.step('good', () => 7) })
    const settled = await ctx.settled({ bad: (c) => c.step('bad', () => { throw new Error('no') }, { retry: { limit: 0 } }), good: (c) => c.step('good', () => 8) })
    const map = await ctx.map('m', [1, 2, 3, 4, 5, 6, 7, 8], { concurrency: 3 }, (c, n) => c.step('double', async () => n * 2))
    return { all, race: race.winner, first: first.winner, settled: settled.bad.status, map }
  })
  const runs = nodeRuns({ workflows: [many] })
  const done = await runs.run(many, {})
  expect(done.error).toBeUndefined()
  expect(done.output).toEqual({ all: { x: 'x', y: 'y' }, race: 'fast', first: 'good', settled: 'rejected', map: [2, 4, 6, 8, 10, 12, 14, 16] })
})
