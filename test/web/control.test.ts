// What can be asked of a run besides a cancel, in a page; and ends that are told (G24, G29).

import { describe, expect, test } from 'vitest'
import { ambiguous, permanent, type RunEnd, workflow } from '../../src/index.ts'
import { requestControl } from '../../src/engine/control.ts'
import { any, freshName, Ledger, open, openShelf, sleep, until } from './support.ts'

const limits = { stayAwakeMs: 10 }

describe('control in a page', () => {
  test('a run is paused and goes on, a failed one is retried, an ended one restarted, an effect resolved', async () => {
    const ledger = new Ledger()
    const sleepy = workflow({ name: 'sleepy', input: any<null>() }, async (ctx) => { await ctx.sleep(100); return 'slept' })
    const flaky = workflow({ name: 'flaky', input: any<null>() }, async (ctx) => ctx.step('s', () => {
      ledger.note('s')
      if (ledger.count('s') === 1) throw permanent(new Error('not the first time'))
      return ledger.count('s')
    }))
    const paying = workflow({ name: 'paying', input: any<null>() }, async (ctx) => ctx.effect('pay', () => { throw ambiguous(new Error('dead line')) }, {
      kind: 'money', input: { cents: 5 }, onAmbiguous: 'ask',
    }))
    const well = await open({ name: freshName(), workflows: [sleepy, flaky, paying], limits, principal: 'ada' })

    const one = await well.start(sleepy, null)
    expect((await one.pause()).outcome).toBe('requested')
    await until(async () => (await one.status()).status === 'paused')
    await sleep(150)
    expect((await one.status()).status).toBe('paused')
    expect((await one.resume()).outcome).toBe('requested')
    expect(await one.result()).toBe('slept')

    const two = await well.start(flaky, null)
    await until(async () => (await two.status()).status === 'failed')
    expect((await two.retry()).outcome).toBe('requested')
    await until(async () => (await two.status()).status === 'completed')
    expect((await two.restart()).outcome).toBe('requested')
    await until(async () => (await two.status()).generation === 3 && (await two.status()).status === 'completed')
    expect(await two.result()).toBe(3)

    const three = await well.start(paying, null)
    await until(async () => (await three.status()).status === 'blocked')
    const { items: [effect], next } = await three.effects()
    expect(next).toBe(undefined)
    expect(effect).toMatchObject({ key: 'pay', kind: 'money', status: 'ambiguous', attempt: 1 })
    expect((await three.resolve(effect!.seq!, { decision: 'happened', value: 'in the books' })).outcome).toBe('requested')
    await expect(three.resolve(effect!.seq!, { decision: 'fail' })).rejects.toMatchObject({ code: 'already_resolved' })
    expect(await three.result()).toBe('in the books')
    expect(await three.effects()).toMatchObject({ items: [{ status: 'done', key: 'pay', decision: { word: 'happened', by: 'person', principal: 'ada' } }] })
    expect((await three.journal({ reveal: true })).items.find(({ kind }) => kind === 'effect_decided')?.payload).toMatchObject({ by: 'person', decision: 'happened', principal: 'ada' })
    await expect(well.get(sleepy, 'nobody').effects()).rejects.toMatchObject({ code: 'run_not_found' })

    const four = await well.start(sleepy, null, { delay: '1 day' })
    expect(await four.cancel({ undo: true })).toMatchObject({ status: 'cancelled' })
    expect((await four.journal({ reveal: true })).items.find(({ kind }) => kind === 'cancel_requested')?.payload).toMatchObject({ principal: 'ada' })
    await expect(open({ name: freshName(), workflows: [sleepy], principal: '' })).rejects.toMatchObject({ code: 'invalid_argument' })
  })

  test('G29: a restart of an ended run that was stored before the page died is carried out by the next one', async () => {
    const ledger = new Ledger()
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', () => { ledger.note('s') }))
    const name = freshName()
    const first = await open({ name, workflows: [flow] })
    const run = await first.start(flow, null)
    await run.result()
    await first.close()
    const shelf = await openShelf(name)
    await requestControl(shelf.open(run.id), Date.now(), { kind: 'restart' })
    expect((await shelf.due(9)).map(({ runId }) => runId)).toEqual([run.id])
    const second = await open({ name, workflows: [flow] })
    await until(() => ledger.count('s') === 2)
    await until(async () => (await second.get(flow, run.id).status()).status === 'completed')
    await until(async () => (await shelf.due(9)).length === 0)
  })
})

describe('G24: ends are told', () => {
  const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', () => 'done'))

  test('of every run, once; nothing is left that wakes it', async () => {
    const ends: RunEnd[] = []
    const name = freshName()
    const well = await open({ name, workflows: [flow], onEnd: (end) => void ends.push(end) })
    const run = await well.start(flow, null, { tags: ['t'] })
    expect(await run.result()).toBe('done')
    await until(() => ends.length === 1)
    expect(ends).toMatchObject([{ id: run.id, status: 'completed', output: 'done', attempt: 1, tags: ['t'] }])
    const shelf = await openShelf(name)
    await until(async () => (await shelf.due(9)).length === 0)
    expect(await shelf.open(run.id).keys('outbox', { limit: 9 })).toEqual([])
  })

  test('a result does not wait for a listener that takes its time; a page that is closed meanwhile leaves it to the next', async () => {
    const ends: RunEnd[] = []
    const name = freshName()
    const first = await open({ name, workflows: [flow], onEnd: (end) => { ends.push(end); return new Promise(() => {}) } })
    const run = await first.start(flow, null)
    expect(await run.result()).toBe('done')
    await until(() => ends.length === 1)
    await first.close()
    const shelf = await openShelf(name)
    expect((await shelf.due(9)).map(({ runId }) => runId)).toEqual([run.id])
    await open({ name, workflows: [flow], onEnd: (end) => void ends.push(end) })
    await until(() => ends.length === 2, 15_000)
    expect(ends.map(({ attempt }) => attempt)).toEqual([1, 2])
    await until(async () => (await shelf.due(9)).length === 0)
  }, 30_000)
})
