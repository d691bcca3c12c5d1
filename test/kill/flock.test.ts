// Two tabs of one Chromium: one freezes in the middle of an effect and thaws after the other took over; and all of it is killed with
// many runs in flight. The campaign (test/campaign/kills.ts) does both at length.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Flock, flockKills, freezeOnce, openFlock } from './flock.ts'
import type { Browser } from './site.ts'

const SEED = 20261124

let scene: Flock
let browser: Browser | undefined
beforeAll(async () => { scene = await openFlock() }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

for (const [how, what] of [
  ['intended', 'between the intent of a charge and its call, by the debugger'],
  ['called', 'between the answer to a charge and the commit of its outcome, by the debugger'],
  ['process', 'in the middle of a charge, by a stop of its process'],
] as const) {
  test(`G6, G12: a tab is frozen ${what}: the other tab takes over; thawed, it writes nothing and calls nothing, and shows the same`, async () => {
    browser ??= await scene.launch()
    const done = await freezeOnce(scene, browser, how, `frozen-${how}`)
    console.log(`${how}: frozen for ${done.frozenMs} ms`)
    expect(done.wrongs).toEqual([])
    expect(done.isTakenOver).toBe(true)
  }, 120_000)
}
test('G2, G12, G13: Chromium is killed twice with 40 runs in two tabs: each act has one key, a charge happens once, all complete', async () => {
  await browser?.close()
  const done = await flockKills(scene, {
    prefix: 'flock', runs: 40, kills: 2, seed: SEED, livesMs: [50, 1500], timeoutMs: 4000, sleepMs: [200, 2000], deadlineMs: 120_000,
    upstream: { delayMs: { min: 20, max: 150, seed: SEED }, answerDelayMs: { min: 0, max: 150, seed: SEED + 1 } },
  })
  const { kills, open, requests, decided, seconds } = done
  console.log(`${kills.length} kills of Chromium (seed ${SEED}) with 40 runs in two tabs; open requests at each: ${open.join(' ')}; ${requests} requests, ${decided} effects decided; ${seconds} s`)
  expect(done.wrongs).toEqual([])
  expect(open.filter((n) => n > 0).length).toBeGreaterThanOrEqual(1)
  expect(decided).toBeGreaterThanOrEqual(1)
}, 240_000)
