// The page as it is built, in Chromium, served by the upstream: no edge anywhere.

import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { rm } from 'node:fs/promises'
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { buildPage } from './build-page.ts'
import { startUpstream, type Upstream } from './upstream.ts'

const scripts = '../../scripts/chromium.mjs'
let folder: string
let upstream: Upstream
let browser: Browser
let context: BrowserContext
let page: Page
/** What the console says in red: a violation of the policy is among it. */
let complaints: string[]

beforeAll(async () => {
  folder = await buildPage()
  upstream = await startUpstream({ page: folder })
  const { chromium: path } = await import(scripts) as { chromium(): string }
  browser = await chromium.launch({ executablePath: path(), args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'] })
}, 180_000)
afterAll(async () => {
  await browser?.close()
  await upstream?.stop()
  await rm(folder, { recursive: true })
})
beforeEach(async () => {
  complaints = []
  context = await browser.newContext()
  page = await context.newPage()
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
})
afterEach(() => context.close())

const side = (): Locator => page.locator('#panel-browser')
const run = (): Locator => side().locator('article').first()
const status = (text: string): Promise<void> => run().locator('.chip', { hasText: text }).waitFor({ timeout: 60_000 })

async function open(query = ''): Promise<void> {
  await page.goto(`${upstream.url}/${query}`)
  await side().locator('form').first().waitFor()
}

const form = (): Locator => side().getByRole('form', { name: 'Start an order' })

async function start(orderId: string, waitMs = '1000', trouble = 'none'): Promise<void> {
  await form().getByLabel('Order number').fill(orderId)
  await form().getByLabel('Wait before shipping').selectOption(waitMs)
  await form().getByLabel('What the shop does').selectOption(trouble)
  await form().getByRole('button', { name: 'Start the order' }).click()
}

test('an order runs in the page: every step, a receipt whose charge is marked as a mock, and the policy is kept', async () => {
  await open()
  await start('P-1')
  await status('Completed')
  expect(await run().locator('.step.done').count()).toBe(5)
  const receipt = await run().locator('.receipt').innerText()
  expect(receipt).toContain('Mock charge')
  expect(receipt).toMatch(/mock_charge_[0-9a-f]{12}/)
  expect(receipt).toContain('€9.50')
  expect(complaints).toEqual([])
}, 90_000)

test('a reload in the middle of an order: it goes on, and what was done is not done again', async () => {
  await upstream.control({ reset: true, actions: { charge: { answerDelayMs: 1500 } } })
  await open('?upstream=/')
  await start('P-2')
  await expect.poll(async () => (await upstream.requests('charge')).filter(({ orderId }) => orderId === 'P-2').length, { timeout: 30_000 }).toBe(1)
  await page.reload()
  await side().locator('article').first().waitFor()
  await status('Completed')
  const requests = (await upstream.requests()).filter(({ orderId }) => orderId === 'P-2')
  expect(requests.map(({ action, acted }) => [action, acted])).toEqual([
    ['price', true], ['reserve', true], ['charge', true], ['ship', true],
  ])
  expect(new Set(requests.map(({ key }) => key)).size).toBe(4)
  // Nobody knew whether it was charged, so the shop was asked.
  const key = requests.find(({ action }) => action === 'charge')?.key
  expect((await upstream.requests()).filter(({ path }) => path === `/charges/${key}`)).toHaveLength(1)
}, 90_000)

test('without a network the page opens again, goes on with what waits, and starts more', async () => {
  await open()
  // A string: the types of a page are not this program's.
  await page.evaluate('navigator.serviceWorker.ready.then(() => undefined)')
  await start('P-3', '10000')
  await status('Waiting')
  await context.setOffline(true)
  await page.reload()
  await run().waitFor()
  expect(await page.locator('#connection').innerText()).toBe('Offline')
  await status('Completed')
  await start('P-4')
  await side().locator('article', { hasText: 'Order P-4' }).locator('.chip', { hasText: 'Completed' }).waitFor({ timeout: 60_000 })
}, 120_000)

test('chosen files are hashed in chunks, and the digest is what it should be', async () => {
  await open()
  const content = Buffer.from(Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7 + (i >> 9)) & 255))
  await side().getByText('Digest of files').click()
  await side().locator('input[type=file]').setInputFiles([{ name: 'data.bin', mimeType: 'application/octet-stream', buffer: content }])
  await side().getByRole('button', { name: /^Digest 1 file/ }).click()
  await status('Completed')
  const chunks: Uint8Array[] = []
  for (let at = 0; at < content.length; at += 1024 * 1024) chunks.push(blake3(content.subarray(at, at + 1024 * 1024)))
  const file = blake3(Buffer.concat(chunks))
  const [one, all] = await run().locator('.hash').evaluateAll((codes) => codes.map((code) => code.textContent))
  expect(one).toBe(bytesToHex(file))
  expect(all).toBe(bytesToHex(blake3(file)))
  expect(complaints).toEqual([])
}, 120_000)

test('G17: an approval waits over a reload, and is decided in another tab', async () => {
  await open()
  await side().getByText('Approval', { exact: true }).click()
  const ask = side().getByRole('form', { name: 'Ask for an approval' })
  await ask.getByLabel('What for').fill('Train to Graz')
  await ask.getByRole('button', { name: 'Ask for approval' }).click()
  await status('Waiting')
  await page.reload()
  await side().locator('article').first().waitFor()
  const other = await context.newPage()
  await other.goto(page.url())
  const card = other.locator('#panel-browser article').first()
  await card.getByLabel('Your name').fill('Grace')
  await card.getByRole('button', { name: 'Approve' }).click()
  await status('Completed')
  // What asks a person has opened by itself.
  await run().locator('.decision').waitFor()
  const decision = await run().locator('.decision').innerText()
  expect(decision).toContain('Approved')
  expect(decision).toContain('Grace')
  expect(decision).toMatch(/Letter to Books\s+[0-9a-f]{12}/)
  expect(complaints).toEqual([])
}, 90_000)

test('trouble is told and counted down; a declined card ends the order, and the reservation is given back', async () => {
  await open()
  await start('P-5', '1000', 'busy')
  await run().getByText('Attempt 1: the (mock) bank is busy').waitFor()
  await status('Completed')
  await start('P-6', '1000', 'declined')
  await status('Failed')
  expect(await run().getByRole('alert').innerText()).toContain('The (mock) card was declined.')
  await run().getByText('Give the reservation back').waitFor()
}, 90_000)

test.each([
  ['It happened', '{"chargeId":"ch_found"}', ['ch_found'], 1], ['Run it again', '', ['mock_charge_'], 2],
] as const)('a charge of which nobody knows: the order is blocked, the card asks, and a click on "%s" decides', async (name, value, receipt, charges) => {
  await upstream.control({ reset: true })
  await open('?upstream=/')
  const orderId = `P-9-${charges}`
  await start(orderId, '1000', 'silent')
  await status('Blocked')
  const ask = run().getByRole('region', { name: 'Did “Charge the card” happen?' })
  await ask.waitFor()
  expect(await run().locator('.step.unknown .line-label').innerText()).toBe('Charge the card')
  const of = async (): Promise<number> => (await upstream.requests('charge')).filter((request) => request.orderId === orderId).length
  expect(await of()).toBe(1)
  // It still asks after a reload: what is decided about is in the run, not in the page.
  await page.reload()
  await ask.waitFor()
  if (value !== '') await ask.getByLabel('If it happened, what it gave').fill(value)
  await ask.getByRole('button', { name }).click()
  await status('Completed')
  expect(await ask.count()).toBe(0)
  for (const text of receipt) expect(await run().locator('.receipt').innerText()).toContain(text)
  expect(await of()).toBe(charges)
  expect(new Set((await upstream.requests('charge')).filter((request) => request.orderId === orderId).map(({ key }) => key)).size).toBe(1)
  expect(complaints).toEqual([])
}, 120_000)

test('an order that waits can be cancelled, and is refunded', async () => {
  await open()
  await start('P-7', '3600000')
  await status('Waiting')
  await run().getByRole('button', { name: 'Cancel this run' }).click()
  await status('Cancelled')
  await run().getByText('Refund the charge').waitFor()
}, 90_000)

test('what a person types is text and never markup', async () => {
  await open()
  await page.evaluate(() => Object.assign(globalThis, { hurt: 0 }))
  const evil = '<img src=x onerror="hurt=1"><b>A</b>'
  await form().getByLabel('Article').fill(evil)
  await start(evil)
  await status('Completed')
  expect(await run().innerText()).toContain(evil)
  expect(await run().locator('img, b').count()).toBe(0)
  expect(await page.evaluate(() => (globalThis as unknown as { hurt: number }).hurt)).toBe(0)
}, 90_000)

test('the same order number again is the same order; with another content it is refused in words', async () => {
  await open()
  await start('P-8')
  await status('Completed')
  await start('P-8')
  await expect.poll(() => side().locator('article').count()).toBe(1)
  await form().getByLabel('Pieces').fill('3')
  await start('P-8')
  await side().locator('.start .notice').getByText('This order number is taken').waitFor()
}, 90_000)

test('the keyboard alone is enough: sides, choices, runs', async () => {
  await open()
  await page.locator('#tab-browser').focus()
  await page.keyboard.press('ArrowRight')
  expect(await page.locator('#panel-edge').isVisible()).toBe(true)
  expect(await page.locator('#tab-edge').getAttribute('aria-selected')).toBe('true')
  await page.keyboard.press('ArrowLeft')
  await page.keyboard.press('Tab')
  await page.keyboard.press('ArrowRight')
  expect(await side().locator('input[type=file]').isEnabled()).toBe(true)
  await page.keyboard.press('ArrowLeft')
  await form().getByLabel('E-mail').press('Enter')
  await status('Completed')
  const head = run().locator('.run-head')
  await head.focus()
  await page.keyboard.press('Enter')
  expect(await head.getAttribute('aria-expanded')).toBe('false')
}, 90_000)
