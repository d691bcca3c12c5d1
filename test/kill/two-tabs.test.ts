import type { Page as Tab } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Browser, call, freshProfile, launch, openSite, type Site, until, violations } from './site.ts'

const output = { amounts: [5, 7, 6], ship: 4, mail: 4 }

describe('two tabs of one browser', () => {
  let site: Site
  let profile: Awaited<ReturnType<typeof freshProfile>>
  let browser: Browser

  beforeAll(async () => {
    site = await openSite()
    profile = await freshProfile()
    browser = await launch(profile.path)
  }, 60_000)
  afterAll(async () => {
    await browser.close()
    await site.close()
    await profile.remove()
  }, 60_000)

  const actsOf = (runId: string): Site['acts'] => site.acts.filter((act) => act.runId === runId)

  test('never both drive one run: every step of 20 runs is requested once, though each wake is a race', async () => {
    site.latency = () => 10
    const tabs = [await browser.open(site.url), await browser.open(site.url)] as const
    const ids = Array.from({ length: 20 }, (_, i) => `both-${i}`)
    await Promise.all(ids.map((id, i) => call(tabs[i % 2] as Tab, 'start', id)))
    // Each result is asked for in the tab that did not start the run.
    expect(await Promise.all(ids.map((id, i) => call(tabs[(i + 1) % 2] as Tab, 'result', 'order', id)))).toEqual(ids.map(() => output))
    for (const id of ids) {
      expect(violations(site.acts, id)).toEqual([])
      expect([id, actsOf(id).length]).toEqual([id, 5])
    }
    for (const tab of tabs) await tab.close()
  }, 120_000)

  for (const [how, end] of [
    ['is closed', (tab: Tab) => tab.close()],
    ['crashes', async (tab: Tab) => {
      const session = await tab.context().newCDPSession(tab)
      // The renderer is gone before it can answer.
      void session.send('Page.crash').catch(() => {})
    }],
  ] as const) {
    test(`fail-over: when the tab that drives ${how}, the other takes over in the middle of the step`, async () => {
      const id = `over-${how.replace(' ', '-')}`
      site.latency = ({ action, runId }) => (runId === id && action === 'charge' ? Infinity : 5)
      const [a, b] = [await browser.open(site.url), await browser.open(site.url)]
      await call(a, 'start', id)
      await until(() => actsOf(id).some(({ action }) => action === 'charge'))
      const result = call(b, 'result', 'order', id)
      // The other tab stands in line by then.
      await new Promise((resolve) => setTimeout(resolve, 2_000))
      expect(actsOf(id)).toHaveLength(3)
      site.latency = () => 5
      const from = Date.now()
      await end(a)
      await until(() => actsOf(id).length > 3)
      expect(Date.now() - from).toBeLessThan(15_000)
      expect(await result).toEqual(output)
      const acts = actsOf(id)
      expect(acts.map(({ action }) => action).slice(0, 4)).toEqual(['price', 'reserve', 'charge', 'charge'])
      expect(acts[3]?.tab).not.toBe(acts[2]?.tab)
      expect(violations(site.acts, id)).toEqual([])
      await b.close()
      if (how === 'crashes') await a.close().catch(() => {})
    }, 60_000)
  }

  test('cancel in one tab ends the run that the other one drives', async () => {
    site.latency = ({ action, runId }) => (runId === 'cancelled' && action === 'reserve' ? Infinity : 5)
    const [a, b] = [await browser.open(site.url), await browser.open(site.url)]
    await call(a, 'start', 'cancelled')
    await until(() => actsOf('cancelled').some(({ action }) => action === 'reserve'))
    expect(await call(b, 'cancel', 'cancelled')).toEqual({ outcome: 'cancelled', status: 'cancelled' })
    await expect(call(a, 'result', 'order', 'cancelled')).rejects.toThrow('cancelled')
    // Its request was aborted, not only forgotten.
    await until(() => actsOf('cancelled').some(({ action, isBroken }) => action === 'reserve' && isBroken))
    for (const tab of [a, b]) await tab.close()
  }, 60_000)
})
