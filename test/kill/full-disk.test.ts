// A disk that is full while runs are under way.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { openScene, type Scene } from './edge.ts'
import { openFlock } from './flock.ts'
import { fillBrowser, fillEdge } from './full-disk.ts'

let scene: Scene
beforeAll(async () => { scene = await openScene('../worker/herd-worker.ts', { canFill: true, isQuiet: true }) }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

test('G5, G12: the disk of workerd is full in the middle of runs: a start is refused, nothing is called without a durable intent, and with space all complete', async () => {
  const done = await fillEdge(scene, 'full', 6, 2000)
  expect(done.wrongs).toEqual([])
  expect(done.refusal).toMatch(/^(503|507) /)
  expect(done.stopped).toBeGreaterThanOrEqual(1)
}, 180_000)

test('G5, G12: the browser has no space in the middle of runs: a start is quota_exceeded, nothing is called without a durable intent, and with space all complete', async () => {
  const site = await openFlock()
  try {
    const done = await fillBrowser(site, 'quota', 6, 2000)
    expect(done.wrongs).toEqual([])
    expect(done.refusal).toContain('no more space')
    expect(done.stopped).toBeGreaterThanOrEqual(1)
  } finally {
    await site.close()
  }
}, 180_000)
