// Real kills of Chromium in the middle of both examples, in the page as it is built. What reached the world is in the upstream's
// ledger, a process of its own.

import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { rm } from 'node:fs/promises'
import type { Page as Tab } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildPage } from '../examples/build-page.ts'
import { startUpstream, type Upstream } from '../examples/upstream.ts'
import { type Browser, freshProfile, launch, sleep, until } from './site.ts'

const targets = ['price', 'charge', 'ship']
const actions = ['price', 'reserve', 'charge', 'ship']

let folder: string
let upstream: Upstream
let profile: Awaited<ReturnType<typeof freshProfile>>
let browser: Browser | undefined

beforeAll(async () => {
  folder = await buildPage()
  upstream = await startUpstream({ page: folder })
}, 180_000)
afterAll(async () => {
  await upstream?.stop()
  await rm(folder, { recursive: true })
})
beforeEach(async () => { profile = await freshProfile() })
afterEach(async () => {
  await browser?.close()
  browser = undefined
  await profile.remove()
}, 60_000)

async function visit(): Promise<Tab> {
  browser = await launch(profile.path)
  const tab = await browser.visit(`${upstream.url}/?upstream=/`)
  await tab.locator('#panel-browser form').first().waitFor()
  return tab
}

const run = (tab: Tab) => tab.locator('#panel-browser article').first()

test(`G2: Chromium is killed ${2 * targets.length} times in the middle of an order; no step's request follows its commit`, async () => {
  const delayMs = { min: 150, max: 400, seed: 7 }
  // No answer comes to these before a kill has met them, however fast the machine is.
  const hangs = targets.map((target) => [target, { hang: 1000 }] as const)
  await upstream.control({ reset: true, actions: { '*': { delayMs }, ...Object.fromEntries(hangs) } })
  const mine = async () => (await upstream.requests()).filter(({ orderId }) => orderId === 'K-1')
  let tab = await visit()
  const form = tab.locator('#panel-browser').getByRole('form', { name: 'Start an order' })
  await form.getByLabel('Order number').fill('K-1')
  await form.getByLabel('Wait before shipping').selectOption('1000')
  await form.getByRole('button', { name: 'Start the order' }).click()
  // Until `to` what the killed browser has done may still arrive: a signal takes effect some time after it is sent.
  const kills: { from: number; to: number }[] = []
  const kill = async (): Promise<void> => {
    const from = Date.now()
    await browser?.kill()
    await upstream.arrived()
    kills.push({ from, to: Date.now() })
  }
  for (const target of targets) {
    await until(async () => (await mine()).some(({ action, how }) => action === target && how === 'open'))
    await sleep(Math.random() * 60)
    await kill()
    await upstream.control({ actions: { [target]: { delayMs } } })
    // And one at any instant.
    tab = await visit()
    await run(tab).waitFor()
    await sleep(Math.random() * 300)
    await kill()
    tab = await visit()
    await run(tab).waitFor()
  }
  await run(tab).locator('.chip', { hasText: 'Completed' }).waitFor({ timeout: 60_000 })
  const requests = await mine()
  const landed = kills.filter(({ from, to }) => requests.some((request) => request.receivedAt <= to && from <= (request.closedAt ?? Infinity))).length
  console.log(`${kills.length} kills, ${landed} with a request open: ${requests.map(({ action }) => action).join(' ')}`)
  expect(landed).toBeGreaterThanOrEqual(targets.length)
  for (const action of actions) {
    const of = requests.filter((request) => request.action === action)
    expect({ action, keys: new Set(of.map(({ key }) => key)).size }).toEqual({ action, keys: 1 })
    // Every repetition needs a kill of its own: one that took effect before it came and after the request that it repeats.
    for (const [i, again] of of.slice(1).entries()) {
      const first = of[i]?.receivedAt ?? Infinity
      const why = kills.filter(({ from, to }) => first <= to && from <= again.receivedAt)
      expect({ action, repetition: i + 1, kills: why.length }).not.toEqual({ action, repetition: i + 1, kills: 0 })
    }
    // The next step's request proves that this one was committed.
    const next = requests.findIndex((request) => request.action === actions[actions.indexOf(action) + 1])
    if (next >= 0) expect(requests.slice(next).filter((request) => request.action === action)).toEqual([])
  }
}, 180_000)

test('G2: Chromium is killed in the middle of a digest; hashed chunks stay hashed, and the digest is what it should be', async () => {
  const content = Buffer.from(Uint8Array.from({ length: 12_000_000 }, (_, i) => (i * 13 + (i >> 11)) & 255))
  let tab = await visit()
  const side = () => tab.locator('#panel-browser')
  await side().getByText('Digest of files').click()
  await side().locator('input[type=file]').setInputFiles([{ name: 'data.bin', mimeType: 'application/octet-stream', buffer: content }], { timeout: 120_000 })
  await side().getByRole('button', { name: /^Digest 1 file/ }).click()
  // From the database itself: how many entries the journals in it hold. A string, because a page's types are not this program's.
  const done = (): Promise<number> => tab.evaluate(`(async () => {
    const { name } = (await indexedDB.databases())[0] ?? {}
    if (name === undefined) return 0
    const request = indexedDB.open(name)
    const database = await new Promise((resolve, reject) => { request.onsuccess = () => resolve(request.result); request.onerror = reject })
    const count = database.transaction('entry').objectStore('entry').count()
    const entries = await new Promise((resolve, reject) => { count.onsuccess = () => resolve(count.result); count.onerror = reject })
    database.close()
    return entries
  })()`)
  let seen = 0
  let landed = 0
  for (let i = 0; i < 3; i++) {
    await until(async () => (await done()) > seen || (await run(tab).locator('.chip', { hasText: 'Completed' }).count()) > 0, 60_000)
    seen = await done()
    if (await run(tab).locator('.chip', { hasText: 'Completed' }).count() === 0) landed++
    await browser?.kill()
    tab = await visit()
    await run(tab).waitFor()
    expect(await done()).toBeGreaterThanOrEqual(seen)
  }
  await run(tab).locator('.chip', { hasText: 'Completed' }).waitFor({ timeout: 60_000 })
  expect(landed).toBeGreaterThanOrEqual(1)
  const chunks: Uint8Array[] = []
  for (let at = 0; at < content.length; at += 1024 * 1024) chunks.push(blake3(content.subarray(at, at + 1024 * 1024)))
  const head = run(tab).locator('.run-head')
  if (await head.getAttribute('aria-expanded') === 'false') await head.click()
  await run(tab).locator('.hash').first().waitFor()
  const [one] = await run(tab).locator('.hash').evaluateAll((codes) => codes.map((code) => code.textContent))
  expect(one).toBe(bytesToHex(blake3(Buffer.concat(chunks))))
}, 240_000)
