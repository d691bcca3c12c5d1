// Signals in a page (G17): from the page that drives the run, from another tab, and while no page is open.

import { expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import { any, freshName, open, until } from './support.ts'

const flow = workflow({ name: 'flow', input: any<null>(), signals: { go: any<unknown>() } }, async (ctx) => [await ctx.signal('go'), await ctx.signal('go')])

test('G17: a signal is taken by the page that drives the run, whichever tab has sent it', async () => {
  const name = freshName()
  const one = await open({ name, workflows: [flow], principal: 'ada' })
  const other = await open({ name, workflows: [flow] })
  const run = await one.start(flow, null)
  await until(async () => (await run.status()).status === 'waiting')
  expect((await run.status()).waitingFor).toEqual([{ kind: 'signal', key: 'signal:go' }])
  expect(await other.get(flow, run.id).signal('go', { n: 1 }, { id: 'x' })).toEqual({ seq: 1, duplicate: false })
  expect(await run.signal('go', { n: 1 }, { id: 'x' })).toEqual({ seq: 1, duplicate: true })
  await expect(run.signal('go', { n: 2 }, { id: 'x' })).rejects.toMatchObject({ code: 'input_mismatch' })
  await run.signal('go', 'second')
  expect(await run.result()).toEqual([{ n: 1 }, 'second'])
  const sent = (await run.journal({ reveal: true })).items.filter(({ kind }) => kind === 'signal_received').map(({ payload }) => (payload as { principal?: string }).principal)
  expect(sent).toEqual([undefined, 'ada'])
  await expect(run.signal('go', 3)).rejects.toMatchObject({ code: 'already_ended' })
})

test('G17: what was sent and not taken when the page went is taken by the page that opens the run next', async () => {
  const name = freshName()
  const one = await open({ name, workflows: [flow] })
  const run = await one.start(flow, null)
  await run.pause()
  await until(async () => (await run.status()).status === 'paused')
  await run.signal('go', 1)
  await one.close()
  const two = await open({ name, workflows: [flow] })
  const again = two.get(flow, run.id)
  await again.signal('go', 2)
  expect((await again.status()).status).toBe('paused')
  await again.resume()
  expect(await again.result()).toEqual([1, 2])
})

test('G20: a deferred is settled from another tab, with the token that a step was given', async () => {
  const mails: string[] = []
  const approving = workflow({ name: 'approving', input: any<null>(), deferreds: { approval: any<string>() } }, async (ctx) => {
    const approval = ctx.deferred('approval')
    await ctx.step('mail', async ({ token }) => { mails.push(await token(approval)) })
    return approval.value()
  })
  const name = freshName()
  const [one, other] = [await open({ name, workflows: [approving] }), await open({ name, workflows: [approving] })]
  const run = await one.start(approving, null)
  await until(async () => (await run.status()).status === 'waiting')
  await expect(other.get(approving, run.id).settle('approval', 'wrong', { value: 'eve' })).rejects.toMatchObject({ code: 'invalid_token' })
  expect(await other.get(approving, run.id).settle('approval', mails[0]!, { value: 'ada' })).toEqual({ seq: 1, duplicate: false })
  expect(await run.result()).toBe('ada')
})
