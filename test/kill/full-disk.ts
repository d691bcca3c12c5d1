// A disk that is full while runs are under way, and has space again later. What reached the world is read from the upstream's ledger.
// Shared by the tests and by the campaign.

import type { LedgerRequest } from '../examples/upstream.ts'
import { sleep, until } from './site.ts'
import { type Life, pause, type Scene } from './edge.ts'
import { type Flock, flock } from './flock.ts'
import { type HerdRun, inParts, readRun, start, wrongsOf } from './herd.ts'
import type { HerdInput } from './herd-workflow.ts'

export interface FullDisk {
  readonly wrongs: readonly string[]
  /** What a start was answered with while the disk was full. */
  readonly refusal: string
  /** At the edge, steps that ran again, because their outcome could not be written; in the browser, drives that it has stopped. */
  readonly stopped: number
  readonly seconds: number
}

const requestsOf = (all: readonly LedgerRequest[], prefix: string): LedgerRequest[] =>
  all.filter(({ action, orderId }) => action !== null && orderId?.startsWith(`${prefix}-`) === true)

/** Their first step is open when the disk fills, or was a moment before. */
const opening = (delayMs: number): object => ({ reset: true, dedup: false, actions: { '*': { delayMs: 20 }, price: { delayMs } } })

/**
 * What was called while nothing could be written. The journal has what was durable: an intent that was lost with the object is not in it, and
 * neither is what a step follows. Some were intended in the moment before, and their calls arrive in the moment after.
 */
function wrongsWhileFull(runs: readonly HerdRun[], byOrder: ReadonlyMap<string | null, readonly LedgerRequest[]>, from: number, to: number): string[] {
  const wrongs: string[] = []
  for (const { input: { orderId }, journal } of runs) {
    for (const action of ['charge', 'reserve', 'ship']) {
      const allowed = journal.filter(({ kind, key }) => action === 'ship' ? kind === 'timer_fired' : kind === 'effect_intended' && key === action)
      const calls = (byOrder.get(orderId) ?? []).filter((request) => request.action === action).toSorted((a, b) => a.receivedAt - b.receivedAt)
      for (const [i, { receivedAt }] of calls.entries()) {
        const before = allowed.filter(({ at }) => at <= receivedAt).length
        if (receivedAt >= from && receivedAt <= to && before < (action === 'ship' ? 1 : i + 1)) {
          wrongs.push(`${orderId}: ${action} was called at ${receivedAt}, and nothing durable allowed it: the disk was full from ${from} to ${to}`)
        }
      }
    }
  }
  return wrongs
}

/** workerd cannot write for `fullMs`. The scene can be filled. */
export async function fillEdge(scene: Scene, prefix: string, runs: number, fullMs: number): Promise<FullDisk> {
  const began = Date.now()
  await scene.control(opening(700))
  const life = await scene.begin()
  const inputs = Array.from({ length: runs }, (_, i): HerdInput => ({ orderId: `${prefix}-${i}`, sleepMs: 200, timeoutMs: 5000 }))
  const ids = await inParts(inputs, 8, (input) => start(life, input))
  const asked = async (): Promise<LedgerRequest[]> => requestsOf(await scene.requests(), prefix)
  while (new Set((await asked()).map(({ orderId }) => orderId)).size < runs) await pause(5)
  life.fill(true)
  const from = Date.now()
  // What is committed can still be read; an object that a failed write has just reset answers that it will be there again.
  const isRead = [200, 503].includes((await fetch(new URL(`/v1/runs/${ids[0] ?? ''}`, life.url))).status)
  const refusal = await refused(life, { orderId: `${prefix}-refused`, sleepMs: 1, timeoutMs: 1000 })
  await pause(Math.max(0, from + fullMs - Date.now()))
  const to = Date.now()
  life.fill(false)
  await scene.control(opening(20))
  const done = await inParts(inputs, 8, (input) => readRun(life, ids[inputs.indexOf(input)] as string, input, Date.now() + 90_000))
  const isAlive = process.kill(life.pid, 0)
  await life.kill()
  const requests = await asked()
  const byOrder = Map.groupBy(requests, ({ orderId }) => orderId)
  const wrongs = done.flatMap((run) => wrongsOf(run, byOrder.get(run.input.orderId) ?? [], [{ from, to: Date.now() }]))
  wrongs.push(...wrongsWhileFull(done, byOrder, from, to))
  if (!isRead) wrongs.push('a run could not be read while the disk was full')
  if (!isAlive) wrongs.push('workerd has died')
  if (byOrder.has(`${prefix}-refused`)) wrongs.push('a run that was not started has called')
  return { wrongs, refusal, seconds: Math.round((Date.now() - began) / 1000), stopped: repeated(byOrder) }
}

const repeated = (byOrder: ReadonlyMap<string | null, readonly LedgerRequest[]>): number =>
  [...byOrder.values()].filter((requests) => requests.filter(({ action }) => action === 'price').length > 1).length

/** The browser has no space for the page's origin for `fullMs`. */
export async function fillBrowser(scene: Flock, prefix: string, runs: number, fullMs: number): Promise<FullDisk> {
  const began = Date.now()
  await scene.upstream.control(opening(1500))
  const browser = await scene.launch()
  const { origin } = new URL(scene.upstream.url)
  const watcher = await browser.visit('about:blank')
  const session = await watcher.context().newCDPSession(watcher)
  // Before the origin's first write: Chromium remembers for half a minute how much space there is left.
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 3_000_000 })
  const tab = await scene.visit(browser)
  const inputs = Array.from({ length: runs }, (_, i): HerdInput => ({ orderId: `${prefix}-${i}`, sleepMs: 200, timeoutMs: 5000 }))
  await flock(tab, 'startAll', inputs)
  const asked = async (): Promise<LedgerRequest[]> => requestsOf(await scene.upstream.requests(), prefix)
  await until(async () => new Set((await asked()).map(({ orderId }) => orderId)).size === runs)
  await flock(tab, 'fill')
  const from = Date.now()
  const refusal = await flock(tab, 'start', `${prefix}-refused`, { orderId: `${prefix}-refused`, sleepMs: 1, timeoutMs: 1000 }).then((id) => `started ${id}`, (error: unknown) => String(error))
  const isRead = ['queued', 'running', 'waiting'].includes((await flock(tab, 'status', `${prefix}-0`)).status)
  await sleep(Math.max(0, from + fullMs - Date.now()))
  const to = Date.now()
  await session.send('Storage.overrideQuotaForOrigin', { origin })
  await until(async () => (await flock(tab, 'statuses')).every(({ status }) => status === 'completed' || status === 'blocked' || status === 'failed'), 90_000)
  const requests = await asked()
  const byOrder = Map.groupBy(requests, ({ orderId }) => orderId)
  const wrongs: string[] = []
  const done: HerdRun[] = []
  for (const input of inputs) {
    const [journal, { status, output }] = [await flock(tab, 'journal', input.orderId), await flock(tab, 'status', input.orderId)]
    const run: HerdRun = { input, journal, status, ...(output === undefined ? undefined : { output }) }
    done.push(run)
    wrongs.push(...wrongsOf(run, byOrder.get(input.orderId) ?? [], [{ from, to: Date.now() }]))
  }
  wrongs.push(...wrongsWhileFull(done, byOrder, from, to))
  if (!isRead) wrongs.push('a run could not be read while the disk was full')
  if (byOrder.has(`${prefix}-refused`)) wrongs.push('a run that was not started has called')
  const failures = (await flock(tab, 'logs')).filter((line) => line.includes('quota_exceeded')).length
  await browser.close()
  return { wrongs, refusal, seconds: Math.round((Date.now() - began) / 1000), stopped: failures }
}

async function refused(life: Life, input: HerdInput): Promise<string> {
  const response = await fetch(new URL('/v1/workflows/herd/runs', life.url), {
    method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': input.orderId }, body: JSON.stringify({ input }),
  })
  const text = await response.text()
  try {
    return `${response.status} ${String((JSON.parse(text) as { code?: unknown }).code)}`
  } catch {
    return `${response.status} ${text.slice(0, 200)}`
  }
}
