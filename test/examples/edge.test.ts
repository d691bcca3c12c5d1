// The example's edge as it runs: the worker in workerd, the upstream as another process, the page in Chromium before both.

import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { rm } from 'node:fs/promises'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { workflows } from '../../examples/workflows.ts'
import { remote } from '../../src/client/remote.ts'
import { type Life, openScene, type Scene } from '../kill/edge.ts'
import { buildPage } from './build-page.ts'
import { startUpstream, type Upstream } from './upstream.ts'

let scene: Scene
let edge: Life
beforeAll(async () => {
  scene = await openScene()
  edge = await scene.begin()
}, 120_000)
afterAll(() => scene?.close())

const input = { orderId: 'E-1', email: 'ada@example.com', items: [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }] }
const well = (): ReturnType<typeof remote<typeof workflows>> => remote<typeof workflows>({ url: edge.url })

async function post(body: unknown, headers: Record<string, string> = {}): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(new URL('/orders', edge.url), {
    method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, body: await response.json() as Record<string, unknown> }
}

function expected(content: Uint8Array, chunkBytes: number): { file: string; all: string } {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < content.length; at += chunkBytes) chunks.push(blake3(content.subarray(at, at + chunkBytes)))
  const file = blake3(Buffer.concat(chunks))
  return { file: bytesToHex(file), all: bytesToHex(blake3(file)) }
}

const content = Uint8Array.from({ length: 700_000 }, (_, i) => (i * 11 + (i >> 7)) & 255)

test("POST /orders: the shop's own route starts a run, once for each Idempotency-Key", async () => {
  const first = await post(input, { 'idempotency-key': 'E-1' })
  expect(first).toEqual({ status: 201, body: { id: expect.any(String) } })
  expect(await post(input, { 'idempotency-key': 'E-1' })).toEqual(first)
  expect(await well().get('order', String(first.body['id'])).result({ timeout: '30 seconds' })).toMatchObject({ orderId: 'E-1', totalCents: 900 })
  const requests = (await scene.requests()).filter(({ orderId }) => orderId === 'E-1')
  expect(requests.map(({ action, acted }) => [action, acted])).toEqual(['price', 'reserve', 'charge', 'ship'].map((action) => [action, true]))
}, 60_000)

test('POST /orders refuses in words what is no order, and starts nothing', async () => {
  const refused = async (...args: Parameters<typeof post>): Promise<unknown[]> => {
    const { status, body } = await post(...args)
    return [status, body['code']]
  }
  expect(await refused({ ...input, orderId: 'E-2', items: [] })).toEqual([422, 'input_invalid'])
  expect(await refused('{')).toEqual([400, undefined])
  expect(await refused(input, { 'content-type': 'text/plain' })).toEqual([403, undefined])
  expect(await refused(input, { origin: 'https://elsewhere.example' })).toEqual([403, undefined])
  expect(await refused({ ...input, email: 'eve@example.com' }, { 'idempotency-key': 'E-1' })).toEqual([409, 'input_mismatch'])
  expect((await scene.requests()).filter(({ orderId }) => orderId === 'E-2')).toEqual([])
}, 60_000)

test('a file that is uploaded to the edge gets the digest that it gets everywhere', async () => {
  const blob = await well().putBlob('digest-1', content)
  const run = await well().start('digest', { files: [{ name: 'data.bin', blob }], chunkBytes: 65_536 }, { id: 'digest-1' })
  const want = expected(content, 65_536)
  expect(await run.result({ timeout: '60 seconds' })).toEqual({ files: [{ name: 'data.bin', size: content.length, digest: want.file }], digest: want.all })
}, 90_000)

test("the page's edge side: an order with a real charge, an upload, a reload, a cancel", async () => {
  const folder = await buildPage()
  let site: Upstream | undefined
  let browser: Browser | undefined
  try {
    site = await startUpstream({ page: folder })
    const { chromium: path } = await import('../../scripts/chromium.mjs' as string) as { chromium(): string }
    browser = await chromium.launch({ executablePath: path(), args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'] })
    const page = await (await browser.newContext({ serviceWorkers: 'block' })).newPage()
    // One origin for page and API, as `npm start` has it.
    const { origin } = new URL(edge.url)
    await page.route('**/v1/**', async (route) => {
      const { pathname, search } = new URL(route.request().url())
      const headers = { ...await route.request().allHeaders(), origin, host: new URL(origin).host }
      await route.fulfill({ response: await route.fetch({ url: `${origin}${pathname}${search}`, headers }) })
    })
    await page.goto(`${site.url}/#edge`)
    const side = page.locator('#panel-edge')
    const run = side.locator('article').first()
    const form = side.getByRole('form', { name: 'Start an order' })
    await form.getByLabel('Order number').fill('E-9')
    await form.getByRole('button', { name: 'Start the order' }).click()
    await run.locator('.chip', { hasText: 'Completed' }).waitFor()
    const receipt = await run.locator('.receipt').innerText()
    expect(receipt).toMatch(/\bch_[0-9a-f]{16}/)
    expect(receipt.toLowerCase()).not.toContain('mock')

    await side.getByText('Digest of files').click()
    await side.locator('input[type=file]').setInputFiles([{ name: 'data.bin', mimeType: '', buffer: Buffer.from(content) }])
    await side.getByLabel('Chunk size').selectOption(String(256 * 1024))
    await side.getByRole('button', { name: /^Digest 1 file/ }).click()
    await run.locator('.digests').waitFor()
    expect(await run.locator('.hash').first().textContent()).toBe(expected(content, 256 * 1024).file)

    // What this page started is still there after a reload: the runs are at the edge, their names in the page.
    await page.reload()
    await expect.poll(() => side.locator('article').count()).toBe(2)
    await form.getByLabel('Order number').fill('E-10')
    await form.getByLabel('Wait before shipping').selectOption('3600000')
    await form.getByRole('button', { name: 'Start the order' }).click()
    await run.locator('.chip', { hasText: 'Waiting' }).waitFor()
    await run.getByRole('button', { name: 'Cancel this run' }).click()
    await run.locator('.chip', { hasText: 'Cancelled' }).waitFor()
    const actions = (await scene.requests()).filter(({ orderId }) => orderId === 'E-10').map(({ action }) => action)
    expect(actions).toEqual(['price', 'reserve', 'charge', 'refund', 'release'])
  } finally {
    await browser?.close()
    await site?.stop()
    await rm(folder, { recursive: true })
  }
}, 180_000)

test('G17, G18: an approval is decided after workerd was killed, and its events are there for whoever follows them over a socket', async () => {
  const { id } = await well().start('approval', { what: 'Train to Graz', cents: 4900 })
  const follow = async (after: string): Promise<string> =>
    (await fetch(new URL(`/v1/runs/${id}/events`, edge.url), { headers: { accept: 'text/event-stream', 'last-event-id': after } })).text()
  await expect.poll(async () => (await well().get('approval', id).status()).status, { timeout: 30_000 }).toBe('waiting')
  await edge.kill()
  edge = await scene.begin()
  const followed = follow('1')
  const signal = (): Promise<Response> => fetch(new URL(`/v1/runs/${id}/signals/decide`, edge.url), {
    method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': 'mail 17' }, body: JSON.stringify({ payload: { approved: true, by: 'Ada' } }),
  })
  const first = await signal()
  expect([first.status, await first.json()]).toEqual([202, { seq: 1, duplicate: false }])
  expect(await (await signal()).json()).toEqual({ seq: 1, duplicate: true })
  expect(await well().get('approval', id).result({ timeout: '30 seconds' })).toMatchObject({ outcome: 'approved', by: 'Ada' })
  const seen = [...(await followed).matchAll(/^id: (\d+)\nevent: (\S+)$/gm)].map(([, number, type]) => [Number(number), type])
  expect(seen).toEqual([[2, 'decided'], [3, 'written'], [4, 'written'], [5, 'written']])
  expect(await followed).toMatch(/event: stepwell.end\n/)
  expect(await follow('5')).not.toContain('event: written')
}, 90_000)
