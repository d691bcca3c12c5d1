import { expect, test } from 'vitest'
import { z } from 'zod'
import { workflow } from '../../src/index.ts'
import { nodeRuns } from '../support/node.ts'

const turns = async (n: number): Promise<void> => { for (let i = 0; i < n; i++) await undefined }

test.each([0, 1, 2, 5, 11, 20, 60, 3000])('G30: a ctx call from inside a step after %i turns is caught live and nothing of it is written', async (n) => {
  const bad = workflow({ name: 'bad', input: z.any() }, async (ctx) => {
    await ctx.step('first', () => 1)
    return ctx.step('outer', async () => {
      await turns(n)
      return ctx.step('inner', () => 2)
    })
  })
  const runs = nodeRuns({ workflows: [bad] })
  const { id } = await runs.start(bad, 0)
  const end = await runs.settle(id)
  expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
  expect(JSON.stringify(end)).toContain('inner')
  expect((await runs.summary(id)).counts.entries).toBe(2)
})

test.each([0, 5, 12, 13, 18, 23, 24, 30, 200])('G30: a plain chain of %i links that ends in a ctx call is not mistaken for it', async (n) => {
  const executed: string[] = []
  const fine = workflow({ name: 'fine', input: z.any() }, async (ctx) => {
    await ctx.step('first', () => 1)
    return Promise.all([
      ctx.step('a', async () => { executed.push('a'); await turns(3); return 'a' }),
      turns(n).then(() => ctx.step('b', async () => { executed.push('b'); return 'b' })),
      turns(n).then(() => ctx.random()),
    ])
  })
  const runs = nodeRuns({ workflows: [fine] })
  const done = await runs.run(fine, 0)
  expect(done.status).toBe('completed')
  expect(executed.sort()).toEqual(['a', 'b'])
})
