// Nothing is asked of the edge after workerd was killed: alarms alone wake its runs.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { LedgerRequest as Request } from '../examples/upstream.ts'
import { type RunView, start } from './campaign.ts'
import { get, openScene, pause, type Scene } from './edge.ts'

let scene: Scene
beforeAll(async () => { scene = await openScene() }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

test('G19, G29: a timer due while all was dead, and a run killed inside a step, go on with no request sent', async () => {
  await scene.control({ reset: true, actions: { ship: { delayMs: 300 } } })
  const first = await scene.begin()
  const sleeping = await start(first, 'alone-sleeping', 4000)
  for (;;) {
    const { status } = await get<RunView>(first, `/v1/runs/${sleeping}`)
    if (status === 'waiting') break
    await pause(5)
  }
  await scene.control({ actions: { price: { delayMs: 5000 } } })
  await start(first, 'alone-inside')
  const seen = async (orderId: string, action: string): Promise<Request[]> =>
    (await scene.requests()).filter((request) => request.orderId === orderId && request.action === action)
  while ((await seen('alone-inside', 'price')).length === 0) await pause(5)
  await first.kill()
  await scene.control({ reset: true })
  const second = await scene.begin()
  // Nothing is asked of the edge: its alarms alone wake both runs.
  for (const until = Date.now() + 80_000; Date.now() < until; await pause(100)) {
    if ((await seen('alone-sleeping', 'ship')).length > 0 && (await seen('alone-inside', 'ship')).length > 0) break
  }
  expect((await seen('alone-sleeping', 'ship')).length).toBe(1)
  expect((await seen('alone-inside', 'price')).length).toBe(2)
  expect((await seen('alone-inside', 'ship')).length).toBe(1)
  await second.kill()
}, 120_000)
