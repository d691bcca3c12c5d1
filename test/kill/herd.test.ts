// workerd is killed with many runs in flight; the campaign (test/campaign/kills.ts) does it with 1,000.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { openScene, type Scene } from './edge.ts'
import { herd, tellHerd } from './herd.ts'

const SEED = 20261123

let scene: Scene
beforeAll(async () => { scene = await openScene('../worker/herd-worker.ts', { isLedgerLazy: true }) }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

test('G2, G12, G13, G19: workerd is killed 3 times with 100 runs in flight: each act has one key, a charge happens once, alarms alone wake the runs, all complete', async () => {
  const done = await herd(scene, {
    prefix: 'herd', runs: 100, kills: 3, seed: SEED, lives: [20, 200], timeoutMs: 5000, sleepMs: [500, 3000], deadlineMs: 120_000, recoveryMs: 1000,
    upstream: { delayMs: { min: 20, max: 150, seed: SEED }, answerDelayMs: { min: 0, max: 150, seed: SEED + 1 } },
  })
  console.log(tellHerd(SEED, done))
  expect(done.wrongs).toEqual([])
  expect(done.figures.kills).toBe(3)
  // When it was killed the second time, all were in the middle of their first step.
  expect(done.figures.inFlight[1]).toBe(100)
  expect(done.figures.open[1]).toBe(100)
  expect(done.figures.inFlight.slice(2).filter((n) => n > 0).length).toBeGreaterThanOrEqual(1)
  expect(done.figures.decided).toBeGreaterThanOrEqual(1)
}, 240_000)
