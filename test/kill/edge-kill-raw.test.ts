// The same with an upstream that does not deduplicate.

import { afterAll, beforeAll, test } from 'vitest'
import { campaign, check, KILLS, SEED } from './campaign.ts'
import { openScene, type Scene } from './edge.ts'

let scene: Scene
beforeAll(async () => { scene = await openScene() }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

test(`G2: workerd is killed at least ${KILLS} times, with an upstream that does not deduplicate`, async () => {
  await scene.control({ reset: true, dedup: false, actions: { '*': { delayMs: { min: 10, max: 120, seed: SEED + 1 } } } })
  const done = await campaign(scene, 'raw', SEED + 1)
  await check(scene, done, 'raw')
  await done.life.kill()
}, 1_500_000)
