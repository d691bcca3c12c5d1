// Two tabs of one Chromium over the same runs: one of them freezes in the middle of an effect and thaws after the other has taken the
// run over; and all of it is killed again and again with many runs in flight. What reached the world is read from the upstream's
// ledger, a process of its own, which serves the page too. Shared by the tests and by the campaign.

import { build } from 'esbuild'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page as Tab } from 'playwright-core'
import { type LedgerRequest, startUpstream, type Upstream } from '../examples/upstream.ts'
import { type Kill, random } from './edge.ts'
import type { FlockApi } from './flock-api.ts'
import { type HerdRun, wrongsOf } from './herd.ts'
import type { HerdInput } from './herd-workflow.ts'
import { type Browser, freshProfile, launch, sleep, until } from './site.ts'

export interface Flock {
  readonly upstream: Upstream
  readonly profile: string
  /** Opens Chromium on the profile of this flock; as site.ts says. */
  launch(options?: { readonly keepsTorn?: boolean }): Promise<Browser>
  /** A tab with the page in it; `script` runs in it before anything else. */
  visit(browser: Browser, script?: string): Promise<Tab>
  close(): Promise<void>
}

export async function openFlock(): Promise<Flock> {
  const folder = await mkdtemp(join(tmpdir(), 'stepwell-flock-'))
  await build({
    entryPoints: [fileURLToPath(new URL('../web/herd-page.ts', import.meta.url))], outfile: join(folder, 'page.js'),
    bundle: true, format: 'esm', platform: 'browser', target: 'es2022',
    tsconfig: fileURLToPath(new URL('../../tsconfig.base.json', import.meta.url)),
  })
  await writeFile(join(folder, 'index.html'), '<!doctype html><script type="module" src="/page.js"></script>')
  const ledgerPath = join(folder, 'ledger.ndjson')
  const upstream = await startUpstream({ page: folder, ledgerPath })
  const profile = await freshProfile()
  const browsers = new Set<Browser>()
  return {
    upstream,
    profile: profile.path,
    async launch(options) {
      const browser = await launch(profile.path, options)
      browsers.add(browser)
      return browser
    },
    async visit(browser, script) {
      const tab = await browser.visit('about:blank')
      if (script !== undefined) await tab.addInitScript(script)
      await tab.goto(`${upstream.url}/`)
      await tab.waitForFunction('globalThis.flock !== undefined')
      await flock(tab, 'ready')
      return tab
    },
    async close() {
      for (const browser of browsers) await browser.close()
      await upstream.stop()
      await profile.remove()
      await rm(folder, { recursive: true, force: true, maxRetries: 10 })
    },
  }
}

/** Calls a method of the page. A string, because a page's types are not this program's. */
export function flock<K extends keyof FlockApi>(tab: Tab, method: K, ...given: Parameters<FlockApi[K]>): Promise<Awaited<ReturnType<FlockApi[K]>>> {
  return tab.evaluate(`flock.${method}(...${JSON.stringify(given)})`)
}

/**
 * Where and by what a tab is frozen: by its debugger at a point of the charge, or in the call by a signal to its process. (Measured:
 * after `Page.setWebLifecycleState`, `frozen`, a headless Chromium goes on with timers, fetch and the database; that freezes nothing.)
 */
export type Freeze = 'intended' | 'called' | 'process'
export const freezes: readonly Freeze[] = ['intended', 'called', 'process']

export interface Frozen {
  readonly wrongs: readonly string[]
  /** The other tab took the lock from the frozen one. */
  readonly isTakenOver: boolean
  readonly frozenMs: number
  readonly requests: readonly LedgerRequest[]
}

const charge = (requests: readonly LedgerRequest[]): LedgerRequest[] => requests.filter(({ action }) => action === 'charge')

/** One tab drives a run and is frozen; the other takes over and ends it; the first thaws. */
export async function freezeOnce(scene: Flock, browser: Browser, how: Freeze, orderId: string): Promise<Frozen> {
  const { upstream } = scene
  const wrongs: string[] = []
  await upstream.control({ reset: true, dedup: false, actions: { '*': { delayMs: 20 }, ...(how === 'process' ? { charge: { delayMs: 800, answerDelayMs: 200 } } : undefined) } })
  const [a, b] = [await scene.visit(browser), await scene.visit(browser)]
  const session = await a.context().newCDPSession(a)
  const requests = async (): Promise<LedgerRequest[]> => (await upstream.requests()).filter((request) => request.orderId === orderId && request.action !== null)
  const input: HerdInput = { orderId, sleepMs: 100, timeoutMs: 2500 }
  const [freeze, thaw] = await (async (): Promise<[() => Promise<unknown>, () => Promise<unknown>]> => {
    if (how === 'process') {
      const pid = await rendererOf(browser, a)
      return [async () => process.kill(pid, 'SIGSTOP'), async () => process.kill(pid, 'SIGCONT')]
    }
    await session.send('Debugger.enable')
    const paused = new Promise((resolve) => session.once('Debugger.paused', resolve))
    await flock(a, 'freezeAt', how)
    return [() => paused, () => session.send('Debugger.resume')]
  })()
  await flock(a, 'start', orderId, input)
  if (how === 'process') await until(async () => charge(await requests()).length > 0)
  await freeze()
  const from = Date.now()
  try {
    const before = charge(await requests()).length
    if (how === 'intended' && before !== 0) wrongs.push(`${orderId}: the tab had called before it was frozen`)
    const result = await flock(b, 'result', orderId)
    const [journal, status] = [await flock(b, 'journal', orderId), await flock(b, 'status', orderId)]
    const isTakenOver = (await flock(b, 'logs')).some((line) => line.startsWith(`${orderId}: `) && line.includes('does not answer'))
    const to = Date.now()
    await thaw()
    // It hears of the end, and that its lock is gone, and has then done all that it still wanted to do.
    const shown = await flock(a, 'result', orderId)
    if (isTakenOver) await until(async () => (await flock(a, 'logs')).some((line) => line === `${orderId}: its lock was taken by another tab`))
    // And whatever it may yet want to call or to write has had time to come.
    await sleep(1000)
    if (JSON.stringify(shown) !== JSON.stringify(result)) wrongs.push(`${orderId}: one tab shows ${JSON.stringify(result)}, the other ${JSON.stringify(shown)}`)
    const [after, later] = [await flock(a, 'journal', orderId), await flock(a, 'status', orderId)]
    if (JSON.stringify(after) !== JSON.stringify(journal) || later.epoch !== status.epoch) wrongs.push(`${orderId}: the tab that thawed has written: ${JSON.stringify(after)}`)
    const all = await requests()
    const run: HerdRun = { input, journal: after, status: status.status, ...(status.output === undefined ? undefined : { output: status.output }) }
    wrongs.push(...wrongsOf(run, all, [{ from, to }]))
    if (charge(all).length !== 1) wrongs.push(`${orderId}: a charge that can be probed was asked for ${charge(all).length} times`)
    if (all.some(({ receivedAt }) => receivedAt > to)) wrongs.push(`${orderId}: the tab that thawed has called`)
    const probed = journal.filter(({ kind }) => kind === 'effect_decided').length
    if (isTakenOver && probed !== 1) wrongs.push(`${orderId}: ${probed} decisions`)
    return { wrongs, isTakenOver, frozenMs: to - from, requests: all }
  } finally {
    await thaw().catch(() => {})
    await session.detach().catch(() => {})
    for (const tab of [a, b]) await tab.close()
  }
}

/** The process of a tab: the one that computes while the tab is told to. */
async function rendererOf(browser: Browser, tab: Tab): Promise<number> {
  for (let tries = 0; tries < 10; tries++) {
    const before = new Map((await browser.renderers()).map(({ id, cpuTime }) => [id, cpuTime]))
    await flock(tab, 'spin', 500)
    const used = (await browser.renderers()).map(({ id, cpuTime }) => ({ id, used: cpuTime - (before.get(id) ?? cpuTime) })).sort((x, y) => y.used - x.used)
    const [first, second] = used
    if (first !== undefined && first.used > 0.1 && first.used > 3 * (second?.used ?? 0)) return first.id
  }
  throw new Error('the process of a tab could not be found')
}

export interface FlockOptions {
  readonly prefix: string
  readonly runs: number
  readonly kills: number
  readonly seed: number
  readonly livesMs: readonly [number, number]
  readonly timeoutMs: number
  readonly sleepMs: readonly [number, number]
  readonly upstream: object
  readonly deadlineMs: number
  readonly log?: (line: string) => void
}

export interface Flocked {
  readonly wrongs: readonly string[]
  readonly kills: readonly Kill[]
  /** Kills with so many requests open, each. */
  readonly open: readonly number[]
  readonly requests: number
  readonly decided: number
  readonly seconds: number
}

const isOver = (status: string): boolean => ['completed', 'failed', 'blocked', 'cancelled'].includes(status)

/** Starts the runs in two tabs, and kills all of Chromium at random instants until so many kills were made and all runs have ended. */
export async function flockKills(scene: Flock, options: FlockOptions): Promise<Flocked> {
  const { prefix, runs, seed, livesMs, upstream, deadlineMs, log = () => {} } = options
  const began = Date.now()
  const draw = random(seed)
  const between = ([from, to]: readonly [number, number]): number => Math.round(from + draw() * (to - from))
  const inputs = Array.from({ length: runs }, (_, i): HerdInput => ({ orderId: `${prefix}-${i}`, sleepMs: between(options.sleepMs), timeoutMs: options.timeoutMs }))
  const mine = async (): Promise<LedgerRequest[]> => (await scene.upstream.requests()).filter(({ orderId, action }) => action !== null && orderId?.startsWith(`${prefix}-`) === true)
  const kills: Kill[] = []
  await scene.upstream.control({ reset: true, dedup: false, actions: { '*': upstream } })
  let browser = await scene.launch()
  let tabs = [await scene.visit(browser), await scene.visit(browser)] as const
  // The start of a run that a kill cuts off is the same run's, by its id.
  await Promise.all(tabs.map((tab, n) => flock(tab, 'startAll', inputs.filter((_, i) => i % 2 === n))))
  const areOver = async (): Promise<boolean> => (await flock(tabs[0], 'statuses')).every(({ status }) => isOver(status))
  for (let i = 0; i < options.kills && !await areOver(); i++) {
    // Every other one while a request is open.
    const seen = (await mine()).length
    if (i % 2 === 0) await until(async () => (await mine()).length > seen || await areOver(), deadlineMs)
    await sleep(between(livesMs))
    const from = Date.now()
    await browser.kill()
    await scene.upstream.arrived()
    kills.push({ from, to: Date.now() })
    browser = await scene.launch()
    tabs = [await scene.visit(browser), await scene.visit(browser)]
    log(`kill ${kills.length} of Chromium, ${Math.round((Date.now() - began) / 1000)} s`)
  }
  await until(areOver, deadlineMs)
  const requests = await mine()
  const byOrder = Map.groupBy(requests, ({ orderId }) => orderId)
  const wrongs: string[] = []
  let decided = 0
  for (const input of inputs) {
    const { orderId } = input
    const [journal, { status, output }] = [await flock(tabs[0], 'journal', orderId), await flock(tabs[1], 'status', orderId)]
    decided += journal.filter(({ kind }) => kind === 'effect_decided').length
    wrongs.push(...wrongsOf({ input, journal, status, ...(output === undefined ? undefined : { output }) }, byOrder.get(orderId) ?? [], kills))
  }
  await browser.close()
  const open = kills.map(({ from, to }) => requests.filter(({ receivedAt, closedAt }) => receivedAt <= to && from <= (closedAt ?? Infinity)).length)
  return { wrongs, kills, open, requests: requests.length, decided, seconds: Math.round((Date.now() - began) / 1000) }
}
