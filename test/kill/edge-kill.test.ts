// workerd is killed in the middle of orders, with an upstream that deduplicates.

import { afterAll, beforeAll, test } from 'vitest'
import { campaign, check, KILLS, SEED } from './campaign.ts'
import { openScene, type Scene } from './edge.ts'

let scene: Scene
beforeAll(async () => { scene = await openScene() }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

test(`G2: workerd is killed at least ${KILLS} times in the middle of orders, every step commits once and no request follows its commit`, async () => {
  await scene.control({ reset: true, actions: { '*': { delayMs: { min: 10, max: 120, seed: SEED } } } })
  const done = await campaign(scene, 'dedup', SEED)
  await check(scene, done, 'dedup')
  await done.life.kill()
}, 1_500_000)
