// Chromium throws a database away when it finds its files damaged, and a kill in the middle of a write is enough for that (torn-log.ts).
// Nothing brings the runs back, but nobody has to wonder where they went.

import { readFile, truncate } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Flock, flock, openFlock } from './flock.ts'
import { endOfWhole, logsOf } from './torn-log.ts'
import { sleep } from './site.ts'

let scene: Flock
beforeAll(async () => { scene = await openFlock() }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

const sleeping = (ids: readonly string[]): { orderId: string; sleepMs: number; timeoutMs: number }[] => ids.map((orderId) => ({ orderId, sleepMs: 600_000, timeoutMs: 4000 }))
const ids = async (tab: Awaited<ReturnType<Flock['visit']>>): Promise<string[]> => (await flock(tab, 'statuses')).map(({ id }) => id).sort()

/** As a kill between the two writes of a record leaves it: its header is there, and not all of what it announces. */
async function tear(): Promise<void> {
  const path = (await logsOf(scene.profile)).at(-1) as string
  const log = await readFile(path)
  expect(endOfWhole(log)).toBe(log.length)
  await truncate(path, log.length - 5)
  expect(endOfWhole(log.subarray(0, log.length - 5))).toBeLessThan(log.length - 5)
}

/** Kill, tear, open, go on, kill, open again: what is there then. */
async function tornAndKilled(prefix: string, keepsTorn: boolean): Promise<{ tab: Awaited<ReturnType<Flock['visit']>>; before: string[]; close: () => Promise<void> }> {
  const [first, second] = [[`${prefix}-1`, `${prefix}-2`], [`${prefix}-3`, `${prefix}-4`]]
  let browser = await scene.launch()
  let tab = await scene.visit(browser)
  await flock(tab, 'startAll', sleeping(first))
  await browser.kill()
  await sleep(200)
  await tear()
  browser = await scene.launch({ keepsTorn })
  tab = await scene.visit(browser)
  // What was torn had not been committed: what had been is all there.
  expect(await ids(tab)).toEqual(expect.arrayContaining(first.slice(0, 1)))
  await flock(tab, 'startAll', sleeping(second))
  const before = await ids(tab)
  await browser.kill()
  await sleep(200)
  browser = await scene.launch({ keepsTorn })
  return { tab: await scene.visit(browser), before, close: () => browser.close() }
}

test('a torn record that is cut off costs nothing but itself', async () => {
  const { tab, before, close } = await tornAndKilled('cut', false)
  expect(before).toEqual(expect.arrayContaining(['cut-3', 'cut-4']))
  expect(await ids(tab)).toEqual(before)
  expect(await flock(tab, 'lost')).toBeUndefined()
  await close()
}, 120_000)

test('G2: a database that Chromium has thrown away is reported, once as an error in the log and from then on by storage(), and new runs go on', async () => {
  const from = Date.now()
  const { tab, close } = await tornAndKilled('torn', true)
  expect(await ids(tab)).toEqual([])
  const lost = await flock(tab, 'lost')
  expect(lost?.reason).toContain('corrupt')
  expect(lost?.at).toBeGreaterThanOrEqual(from)
  const said = async (): Promise<string[]> => (await flock(tab, 'logs')).filter((line) => line.startsWith('*: the browser has thrown the database herd away, with every run in it'))
  expect(await said()).toHaveLength(1)
  expect(await flock(tab, 'start', 'after', { orderId: 'after', sleepMs: 10, timeoutMs: 4000 })).toBe('after')
  expect(await flock(tab, 'result', 'after')).toMatchObject({ totalCents: 900 })
  await tab.reload()
  await tab.waitForFunction('globalThis.flock !== undefined')
  expect(await flock(tab, 'lost')).toEqual(lost)
  expect(await said()).toEqual([])
  expect(await ids(tab)).toEqual(['after'])
  await close()
}, 120_000)
