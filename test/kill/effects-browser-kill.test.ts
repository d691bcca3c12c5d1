// Real kills of Chromium in the middle of effects. What reached the world is in the upstream's ledger, a process of its own, which
// serves the page too.

import { build } from 'esbuild'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page as Tab } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startUpstream, type Upstream } from '../examples/upstream.ts'
import { pause, random } from './edge.ts'
import { type PaidRun, type Window, wrongs } from './pay-check.ts'
import type { PayInput } from './pay.ts'
import { type Browser, freshProfile, launch, until } from './site.ts'

const KILLS = 5
const SEED = 20261122

let folder: string
let upstream: Upstream
let profile: Awaited<ReturnType<typeof freshProfile>>
let browser: Browser | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stepwell-pay-'))
  await build({
    entryPoints: [fileURLToPath(new URL('../web/pay-page.ts', import.meta.url))], outfile: join(folder, 'page.js'),
    bundle: true, format: 'esm', platform: 'browser', target: 'es2022',
    tsconfig: fileURLToPath(new URL('../../tsconfig.base.json', import.meta.url)),
  })
  await writeFile(join(folder, 'index.html'), '<!doctype html><script type="module" src="/page.js"></script>')
  upstream = await startUpstream({ page: folder })
  profile = await freshProfile()
}, 60_000)
afterAll(async () => {
  await browser?.close()
  await upstream.stop()
  await profile.remove()
  await rm(folder, { recursive: true })
}, 60_000)

async function visit(): Promise<Tab> {
  browser = await launch(profile.path)
  const tab = await browser.visit(`${upstream.url}/`)
  await tab.waitForFunction('globalThis.paying !== undefined')
  await tab.evaluate('paying.ready()')
  return tab
}

// Strings, because a page's types are not this program's.
const start = (tab: Tab, id: string, input: PayInput): Promise<string> => tab.evaluate(`paying.start(${JSON.stringify(id)}, ${JSON.stringify(input)})`)
const status = (tab: Tab, id: string): Promise<PaidRun> => tab.evaluate(`paying.status(${JSON.stringify(id)})`)
const journal = (tab: Tab, id: string): Promise<PaidRun['journal']> => tab.evaluate(`paying.journal(${JSON.stringify(id)})`)

test(`G12, G13: Chromium is killed ${KILLS} times in the middle of effects: each act has one key, a probed one acts once, a skipped one at most once, what failed is undone`, async () => {
  // It deduplicates nothing: what acts twice is seen.
  await upstream.control({ reset: true, dedup: false, actions: { '*': { delayMs: { min: 20, max: 150, seed: SEED }, answerDelayMs: { min: 0, max: 150, seed: SEED + 1 } } } })
  const draw = random(SEED)
  const acts = async () => (await upstream.requests()).filter(({ action }) => action !== null)
  const kills: Window[] = []
  const runs = new Map<string, boolean>()
  let tab = await visit()
  for (let i = 0; i < KILLS; i++) {
    for (let n = 0; n < 2; n++) {
      const orderId = `page-${i}-${n}`
      runs.set(orderId, n === 1)
      await start(tab, orderId, { orderId, fails: n === 1 })
    }
    const before = (await acts()).length
    if (i % 2 === 0) await until(async () => (await acts()).length > before)
    await pause(draw() * (i % 2 === 0 ? 150 : 800))
    // Until `to` what the killed browser has done may still arrive: a signal takes effect some time after it is sent.
    const from = Date.now()
    await browser?.kill()
    await upstream.arrived()
    kills.push({ from, to: Date.now() })
    tab = await visit()
  }
  const paid: PaidRun[] = []
  for (const [orderId, fails] of runs) {
    await until(async () => ['completed', 'failed', 'blocked'].includes((await status(tab, orderId)).status), 90_000)
    paid.push({ ...await status(tab, orderId), orderId, fails, journal: await journal(tab, orderId) })
  }
  const requests = await acts()
  const withOpen = kills.filter(({ from, to }) => requests.some((request) => request.receivedAt <= to && from <= (request.closedAt ?? Infinity))).length
  const decided = paid.flatMap((run) => run.journal.filter(({ kind }) => kind === 'effect_decided').map(({ key }) => key))
  console.log(`${KILLS} kills (seed ${SEED}), ${withOpen} with a request open; ${requests.length} requests of ${paid.length} runs; decided: ${decided.join(', ')}`)
  expect(paid.flatMap((run) => wrongs(run, requests, kills))).toEqual([])
  expect(withOpen).toBeGreaterThanOrEqual(1)
  expect(decided.length).toBeGreaterThanOrEqual(1)
}, 240_000)
