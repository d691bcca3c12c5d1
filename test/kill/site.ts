// What the kill tests stand on: a server that serves the bundled page and writes down every request of a step, and a Chromium
// that can be killed with all its processes and started again on the same profile.

import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { type BrowserContext, chromium as driver, type Page as Tab } from 'playwright-core'
import { chromium } from '../../scripts/chromium.mjs'
import type { PageApi } from './page-api.ts'
import { cutTorn } from './torn-log.ts'

export interface Act {
  readonly tab: string
  readonly runId: string
  readonly action: string
  readonly key: string
  readonly attempt: number
  readonly at: number
  /** Answered, and the answer was taken. */
  isAnswered: boolean
  /** The connection broke before the answer. */
  isBroken: boolean
}

/** How long an action takes, in ms; Infinity: it never answers. */
export type Latency = (act: Act) => number

export interface Site {
  readonly url: string
  /** Every request, in the order in which it came. Append-only. */
  readonly acts: readonly Act[]
  latency: Latency
  close(): Promise<void>
}

export async function openSite(): Promise<Site> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../web/kill-page.ts', import.meta.url))],
    bundle: true, format: 'esm', platform: 'browser', target: 'es2022', write: false,
    tsconfig: fileURLToPath(new URL('../../tsconfig.base.json', import.meta.url)),
  })
  const script = outputFiles[0]?.text ?? ''
  const acts: Act[] = []
  const site = { acts, latency: (() => 0) as Latency }
  const act = (body: string, response: ServerResponse): void => {
    const entry: Act = { ...(JSON.parse(body) as Omit<Act, 'at' | 'isAnswered' | 'isBroken'>), at: Date.now(), isAnswered: false, isBroken: false }
    acts.push(entry)
    response.on('close', () => (entry.isBroken = !response.writableFinished))
    const ms = site.latency(entry)
    if (ms === Infinity) return
    setTimeout(() => {
      if (entry.isBroken) return
      entry.isAnswered = true
      response.setHeader('content-type', 'application/json').end(String(entry.action.length))
    }, ms)
  }
  const server = createServer((request, response) => {
    if (request.url === '/act') {
      let body = ''
      request.on('data', (part) => (body += String(part)))
      request.on('end', () => act(body, response))
    } else if (request.url === '/page.js') response.setHeader('content-type', 'text/javascript').end(script)
    else if (request.url === '/') response.setHeader('content-type', 'text/html').end('<!doctype html><script type="module" src="/page.js"></script>')
    else response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(site, {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

const args = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--remote-debugging-port=0', '--remote-debugging-address=127.0.0.1',
]

export interface Browser {
  /** A new tab with the page in it, open and ready. */
  open(url: string): Promise<Tab>
  /** A new tab with any page in it. */
  visit(url: string): Promise<Tab>
  /** The processes that pages run in, and the seconds that each has computed. */
  renderers(): Promise<readonly { readonly id: number; readonly cpuTime: number }[]>
  /** SIGKILL to every process of this browser, at once. */
  kill(): Promise<void>
  close(): Promise<void>
}

/** A directory for a browser's data. */
export async function freshProfile(): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'stepwell-chromium-'))
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 10 }) }
}

/** What a kill before this has torn is cut off first, unless it is to be kept: torn-log.ts says why. */
export async function launch(profile: string, { keepsTorn = false } = {}): Promise<Browser> {
  const torn = keepsTorn ? 0 : await cutTorn(profile)
  if (torn > 0) console.log('a log of Chromium ended in the middle of a record: cut off there')
  const portFile = join(profile, 'DevToolsActivePort')
  await rm(portFile, { force: true })
  // A process group of its own, so that one signal reaches all of it.
  const child = spawn(chromium(), [...args, `--user-data-dir=${profile}`, 'about:blank'], { detached: true, stdio: 'ignore' })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const kill = async (): Promise<void> => {
    try {
      process.kill(-(child.pid as number), 'SIGKILL')
    } catch {
      // It is gone already.
    }
    await exited
  }
  try {
    const [port, path] = await portOf(portFile)
    const browser = await driver.connectOverCDP(`ws://127.0.0.1:${port}${path}`)
    const context = browser.contexts()[0] as BrowserContext
    return {
      kill,
      renderers: async () => {
        const session = await browser.newBrowserCDPSession()
        const { processInfo } = await session.send('SystemInfo.getProcessInfo')
        await session.detach()
        return processInfo.filter(({ type }) => type === 'renderer')
      },
      visit: async (url) => {
        const tab = await context.newPage()
        await tab.goto(url)
        return tab
      },
      open: async (url) => {
        const tab = await context.newPage()
        await tab.goto(url)
        await ready(tab)
        return tab
      },
      close: async () => {
        await browser.close().catch(() => {})
        await kill()
      },
    }
  } catch (error) {
    await kill()
    throw error
  }
}

export async function ready(tab: Tab): Promise<void> {
  await tab.waitForFunction(() => 'page' in globalThis)
  await tab.evaluate(() => globalThis.page.ready())
}

/** Calls a method of the page in this tab. */
export function call<K extends keyof PageApi>(tab: Tab, method: K, ...given: Parameters<PageApi[K]>): ReturnType<PageApi[K]> {
  return tab.evaluate(
    ([name, values]) => (globalThis.page[name as K] as (...args: unknown[]) => unknown)(...(values as unknown[])),
    [method, given] as const,
  ) as ReturnType<PageApi[K]>
}

async function portOf(file: string): Promise<[string, string]> {
  for (let tries = 0; tries < 600; tries++) {
    const [port, path] = (await readFile(file, 'utf8').catch(() => '')).split('\n')
    if (port !== undefined && path !== undefined && path !== '') return [port, path.trim()]
    await sleep(50)
  }
  throw new Error('Chromium did not open its debugging port in 30 s')
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function until(what: () => boolean | Promise<boolean>, ms = 30_000): Promise<void> {
  const end = Date.now() + ms
  while (!(await what())) {
    if (Date.now() > end) throw new Error(`it did not come true in ${ms} ms: ${what.toString()}`)
    await sleep(20)
  }
}

const actions = ['price', 'reserve', 'charge', 'ship', 'mail']
/** Steps that begin only when all of these are committed. */
const before: Readonly<Record<string, readonly string[]>> = {
  reserve: ['price'], charge: ['price', 'reserve'], ship: ['price', 'reserve', 'charge'], mail: ['price', 'reserve', 'charge'],
}

/**
 * What must hold of one order's requests, whatever was killed when: each action has one key; a request for a step proves that the
 * ones before it are committed, and none of them is ever requested again; nothing is requested more often than once and once for
 * each time that its answer was lost.
 */
export function violations(acts: readonly Act[], runId: string): string[] {
  const found: string[] = []
  const committed = new Set<string>()
  const mine = acts.filter((act) => act.runId === runId)
  for (const { action } of mine) {
    if (committed.has(action)) found.push(`${action} was requested after it was committed`)
    for (const earlier of before[action] ?? []) committed.add(earlier)
  }
  for (const action of actions) {
    const requests = mine.filter((act) => act.action === action)
    if (requests.length === 0) found.push(`${action} was never requested`)
    if (new Set(requests.map(({ key }) => key)).size > 1) found.push(`${action} had several keys`)
  }
  return found
}
