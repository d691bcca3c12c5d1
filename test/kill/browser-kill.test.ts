import type { Page as Tab } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bytesOf } from './page-api.ts'
import { type Browser, call, freshProfile, launch, openSite, ready, type Site, sleep, until, violations } from './site.ts'

const output = { amounts: [5, 7, 6], ship: 4, mail: 4 }

describe('a browser that is killed', () => {
  let site: Site
  let profile: Awaited<ReturnType<typeof freshProfile>>
  let browser: Browser | undefined

  beforeAll(async () => {
    site = await openSite()
  }, 60_000)
  afterAll(async () => {
    await site.close()
  }, 60_000)
  beforeEach(async () => {
    profile = await freshProfile()
  })
  afterEach(async () => {
    await browser?.close()
    browser = undefined
    await profile.remove()
  }, 60_000)

  const start = async (): Promise<Tab> => {
    browser = await launch(profile.path)
    return browser.open(site.url)
  }

  test('SIGKILL of all its processes, again and again: the run completes, and no committed step is requested again', async () => {
    // No answer comes to these before a kill has met them, however fast the machine is.
    const targets = ['price', 'reserve', 'charge', 'ship']
    const held = new Set(targets)
    site.latency = ({ action }) => (held.has(action) ? Infinity : 60)
    let kills = 0
    let tab = await start()
    const kill = async (): Promise<void> => {
      await browser?.kill()
      kills++
    }
    await call(tab, 'start', 'killed', { sleep: 400 })
    for (const target of targets) {
      await until(() => site.acts.some((act) => act.runId === 'killed' && act.action === target && !act.isBroken))
      await sleep(Math.random() * 100)
      await kill()
      held.delete(target)
      // And one at any instant.
      tab = await start()
      await sleep(Math.random() * 150)
      await kill()
      tab = await start()
    }
    expect(await call(tab, 'result', 'order', 'killed')).toEqual(output)
    expect(violations(site.acts, 'killed')).toEqual([])
    const mine = site.acts.filter(({ runId }) => runId === 'killed')
    // Once each, and once more for each kill between its request and its commit: an answer that was under way may be lost too,
    // and two steps are open at the same time at the end.
    expect(mine.length).toBeLessThanOrEqual(5 + 2 * kills)
    for (const target of targets) expect(mine.filter(({ action }) => action === target).length, target).toBeGreaterThanOrEqual(2)
    console.info(`${kills} kills, ${targets.length} or more of them while a request was open: ${mine.map(({ action }) => action).join(' ')}`)
    expect(await call(tab, 'kinds', 'killed')).toEqual([
      'run_started', 'step_completed', 'step_completed', 'step_completed', 'timer_set', 'timer_fired', 'step_completed', 'step_completed',
      'run_completed',
    ])
  }, 180_000)

  test('SIGKILL while a step\'s request is open: only that step is requested again, with the same key', async () => {
    site.latency = ({ action, runId }) => (runId === 'open' && action === 'reserve' ? Infinity : 5)
    let tab = await start()
    await call(tab, 'start', 'open')
    await until(() => site.acts.some((act) => act.runId === 'open' && act.action === 'reserve'))
    await browser?.kill()
    site.latency = () => 5
    tab = await start()
    expect(await call(tab, 'result', 'order', 'open')).toEqual(output)
    const mine = site.acts.filter(({ runId }) => runId === 'open')
    expect(mine.map(({ action }) => action).slice(0, 4)).toEqual(['price', 'reserve', 'reserve', 'charge'])
    expect(mine).toHaveLength(6)
    expect(violations(site.acts, 'open')).toEqual([])
  }, 120_000)

  test('G19: a timer that came due while the browser was dead fires once, and nothing is requested twice', async () => {
    site.latency = () => 5
    let tab = await start()
    await call(tab, 'start', 'asleep', { sleep: 3_000 })
    await until(async () => (await call(tab, 'status', 'asleep')) === 'waiting')
    await browser?.kill()
    await sleep(3_000)
    tab = await start()
    expect(await call(tab, 'result', 'order', 'asleep')).toEqual(output)
    expect(site.acts.filter(({ runId }) => runId === 'asleep').map(({ action }) => action).sort()).toEqual(['charge', 'mail', 'price', 'reserve', 'ship'])
    expect((await call(tab, 'kinds', 'asleep')).filter((kind) => kind === 'timer_fired')).toHaveLength(1)
  }, 120_000)

  test('reload in the middle of a step, twice: the run goes on by itself', async () => {
    site.latency = ({ action, runId }) => (runId === 'reloaded' && action === 'charge' ? Infinity : 5)
    const tab = await start()
    await call(tab, 'start', 'reloaded')
    for (let reload = 1; reload <= 2; reload++) {
      await until(() => site.acts.filter((act) => act.runId === 'reloaded' && act.action === 'charge').length === reload)
      if (reload === 2) site.latency = () => 5
      await tab.reload()
      await ready(tab)
    }
    expect(await call(tab, 'result', 'order', 'reloaded')).toEqual(output)
    const mine = site.acts.filter(({ runId }) => runId === 'reloaded')
    expect(mine.map(({ action }) => action).slice(0, 5)).toEqual(['price', 'reserve', 'charge', 'charge', 'charge'])
    expect(mine).toHaveLength(7)
    expect(violations(site.acts, 'reloaded')).toEqual([])
  }, 120_000)

  test('a blob of 2 MB and the run over it survive a kill in the middle', async () => {
    const size = 2 * 1024 * 1024
    const parts = 8
    site.latency = ({ action, runId }) => (runId === 'photo' && action === 'sum-3' ? Infinity : 5)
    let tab = await start()
    expect(await call(tab, 'startDigest', 'photo', size, parts)).toBe(size)
    await until(() => site.acts.some((act) => act.runId === 'photo' && act.action === 'sum-3'))
    await browser?.kill()
    const killedAt = site.acts.length
    site.latency = () => 5
    tab = await start()
    expect(await call(tab, 'result', 'digest', 'photo')).toBe(bytesOf(size).reduce((sum, byte) => (sum + byte) % 65_521, 0))
    const again = site.acts.slice(killedAt).filter(({ runId }) => runId === 'photo').map(({ action }) => action)
    // At most two parts were open when it was killed.
    const before = site.acts.slice(0, killedAt).filter(({ runId, isAnswered }) => runId === 'photo' && isAnswered).map(({ action }) => action)
    expect(again.filter((action) => before.includes(action)).length).toBeLessThanOrEqual(1)
    expect(again).toContain('sum-3')
  }, 120_000)
})
