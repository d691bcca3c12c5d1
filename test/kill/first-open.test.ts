// 5.2 no. 15 (Y-062): whoever is killed in the middle of the first opening of a store leaves one that opens: nothing half-made is ever
// found, and what was asked for is there or can be asked for again.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { RunView } from './campaign.ts'
import { get, type Life, openScene, pause, random, type Scene } from './edge.ts'
import { type Browser, call, freshProfile, launch, openSite, type Site, until } from './site.ts'

const SEED = 15
const points = ['upgrading', 'made', 'committed'] as const

/**
 * In the page, before its own script: at that point of the first opening it asks the site, which never answers, and stands still.
 * A string, because a page's types are not this program's.
 */
const standStill = (point: typeof points[number]): string => `{
  const stand = (at) => {
    if (at !== ${JSON.stringify(point)}) return
    const request = new XMLHttpRequest()
    request.open('POST', '/act', false)
    request.send(JSON.stringify({ tab: 'first', runId: 'none', action: at, key: '', attempt: 1 }))
  }
  const open = indexedDB.open.bind(indexedDB)
  indexedDB.open = (...given) => {
    const request = open(...given)
    request.addEventListener('upgradeneeded', () => {
      request.transaction.addEventListener('complete', () => { stand('committed') })
      stand('upgrading')
    })
    // Behind the listener of whoever opens: its tables are there, and not committed.
    queueMicrotask(() => { request.addEventListener('upgradeneeded', () => { stand('made') }) })
    return request
  }
}`

describe('Chromium', () => {
  let site: Site
  let profile: Awaited<ReturnType<typeof freshProfile>>
  let browser: Browser | undefined
  beforeAll(async () => { site = await openSite() }, 60_000)
  afterAll(async () => { await site.close() }, 60_000)
  beforeEach(async () => { profile = await freshProfile() })
  afterEach(async () => {
    await browser?.close()
    await profile.remove()
  }, 60_000)

  test.each(points)('5.2 no. 15: killed in the first opening of its database (%s): the next one opens it, and a run completes', async (point) => {
    site.latency = () => Infinity
    browser = await launch(profile.path)
    const tab = await browser.visit('about:blank')
    await tab.addInitScript(standStill(point))
    const before = site.acts.length
    void tab.goto(site.url).catch(() => {})
    await until(() => site.acts.length > before)
    expect(site.acts.slice(before).map(({ action }) => action)).toEqual([point])
    await browser.kill()
    site.latency = () => 0
    // With all that the kill has left.
    browser = await launch(profile.path, { keepsTorn: true })
    const next = await browser.open(site.url)
    await call(next, 'start', `after-${point}`, { sleep: 1 })
    expect(await call(next, 'result', 'order', `after-${point}`)).toMatchObject({ amounts: [5, 7, 6] })
    expect(await call(next, 'kinds', `after-${point}`)).toHaveLength(9)
  }, 120_000)
})

describe('workerd', () => {
  let scene: Scene
  beforeAll(async () => { scene = await openScene() }, 60_000)
  afterAll(async () => { await scene.close() }, 60_000)

  async function start(life: Life, orderId: string): Promise<{ readonly id: string; readonly status: number }> {
    const response = await fetch(new URL('/v1/workflows/order/runs', life.url), {
      method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': orderId },
      body: JSON.stringify({ input: { orderId, email: 'ada@example.com', waitMs: 1, items: [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }] } }),
    })
    return { id: (await response.json() as { id: string }).id, status: response.status }
  }

  test('5.2 no. 15: killed while an object opens its database for the first time: the next life opens it, and the run is there or can be started', async () => {
    const draw = random(SEED)
    const found = { absent: 0, there: 0 }
    // Towards the moment at which the start is committed, from both sides.
    let [from, to] = [0, 300]
    for (let i = 0; i < 12 && (i < 3 || found.absent === 0 || found.there === 0); i++) {
      const ms = from + (to - from) * (0.25 + draw() / 2)
      const first = await scene.begin()
      const asked = start(first, `first-${i}`).then(({ status }) => status, () => undefined)
      await pause(ms)
      await first.kill()
      const answer = await asked
      const second = await scene.begin()
      const { id, status } = await start(second, `first-${i}`)
      // 201: it was not there. What was acknowledged is.
      expect([200, 201]).toContain(status)
      if (answer !== undefined) expect({ answer, status }).toEqual({ answer: 201, status: 200 })
      if (status === 200) {
        found.there++
        to = Math.max(from + 4, ms)
      } else {
        found.absent++
        from = Math.min(to - 4, ms)
      }
      expect(await get<RunView>(second, `/v1/runs/${id}/result?wait=30`)).toMatchObject({ status: 'completed' })
      await second.kill()
    }
    console.log(`seed ${SEED}: killed before the start was stored ${found.absent} times, behind it ${found.there} times, at last within ${Math.round(to - from)} ms`)
    expect(found.absent).toBeGreaterThan(0)
    expect(found.there).toBeGreaterThan(0)
  }, 180_000)
})
