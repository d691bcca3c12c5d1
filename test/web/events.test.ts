// G18: events in browsers: from IndexedDB, in the tab that drives the run and in others.

import { expect, test } from 'vitest'
import type { RunEvent } from '../../src/client.ts'
import { workflow } from '../../src/index.ts'
import { eventCases } from '../contract/events.contract.ts'
import { onIndexedDb } from './on-indexeddb.ts'
import { any, freshName, Gate, open } from './support.ts'

onIndexedDb(eventCases)

async function listOf(events: AsyncIterable<RunEvent>): Promise<readonly string[]> {
  const found: string[] = []
  for await (const { number, type } of events) found.push(`${number} ${type}`)
  return found
}

test('G18: who follows in another tab gets what is emitted in this one, as it comes, and goes on when that one is closed', async () => {
  let gate = new Gate()
  const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
    ctx.emit('begun')
    await ctx.step('s', async ({ emit }) => {
      emit('in the step')
      await gate.pass()
    })
    ctx.emit('behind it')
  })
  const name = freshName()
  const first = await open({ name, workflows: [flow] })
  const second = await open({ name, workflows: [flow] })
  const run = await first.start(flow, null)
  const there = second.get(flow, run.id)
  const following = listOf(there.events())
  for await (const { number, key } of there.events({ after: 1 })) {
    // The step that has emitted it waits.
    expect([number, key]).toEqual([2, 's'])
    break
  }
  await gate.reached()
  const old = gate
  gate = new Gate()
  const cut = listOf(run.events({ after: 2 }))
  await Promise.all([expect(cut).rejects.toMatchObject({ code: 'store_unavailable' }), first.close()])
  old.open()
  await gate.reached()
  gate.open()
  expect(await following).toEqual(['1 begun', '2 in the step', '3 in the step', '4 behind it'])
  expect(await listOf(there.events({ after: 3 }))).toEqual(['4 behind it'])
})

test('G18: a wait ends with its signal, and an unknown run is an error', async () => {
  const gate = new Gate()
  const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', () => gate.pass()))
  const well = await open({ name: freshName(), workflows: [flow] })
  const run = await well.start(flow, null)
  await gate.reached()
  const controller = new AbortController()
  const waiting = listOf(run.events({ abortSignal: controller.signal }))
  controller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  gate.open()
  await run.result()
  expect(await listOf(run.events())).toEqual([])
  await expect(listOf(well.get(flow, 'nobody').events())).rejects.toMatchObject({ code: 'run_not_found' })
})
