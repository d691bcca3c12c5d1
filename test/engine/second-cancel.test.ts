// Found by fuzzing the HTTP API: a run whose cancel waits for a person's decision was driven for ever by a second cancel, which no
// commit took out of the inbox; at the edge each look at the run drove it once more.

import { expect, test } from 'vitest'
import { ambiguous, workflow } from '../../src/index.ts'
import { nodeRuns } from '../support/node.ts'
import { anything } from './support.ts'

test('G21: a second cancel of a run that is wound up is taken, and changes nothing', async () => {
  const paying = workflow({ name: 'paying', input: anything }, async (ctx) => {
    await ctx.effect('pay', () => { throw ambiguous(new Error('the line went dead')) }, { kind: 'money', input: { cents: 5 }, onAmbiguous: 'ask' })
  })
  const runs = nodeRuns({ workflows: [paying] })
  const { id } = await runs.start(paying, 0)
  expect(await runs.drive(id)).toMatchObject({ kind: 'blocked' })
  await runs.cancel(id, 'first')
  expect(await runs.drive(id)).toMatchObject({ kind: 'blocked' })
  const { counts } = await runs.summary(id)
  await runs.cancel(id, 'second')
  expect(await runs.drive(id)).toMatchObject({ kind: 'blocked' })
  const store = await runs.store(id)
  expect(await store.rows('inbox', { limit: 9 })).toEqual([])
  expect((await runs.summary(id)).counts.entries).toBe(counts.entries)
  const before = await store.read()
  expect(await runs.drive(id)).toMatchObject({ kind: 'blocked' })
  expect(await store.read()).toEqual(before)
  await runs.control(id, { kind: 'resolve', seq: 2, decision: 'fail' })
  expect(await runs.drive(id)).toMatchObject({ kind: 'ended', status: 'cancelled' })
  expect((await runs.summary(id)).error).toMatchObject({ message: expect.stringContaining('first') as string })
})
