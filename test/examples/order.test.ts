import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { order } from '../../examples/order/order.ts'
import type { Shop } from '../../examples/order/shop.ts'
import { httpShop } from '../../examples/order/shop-http.ts'
import { MOCK, mockShop } from '../../examples/order/shop-mock.ts'
import { journalPage } from '../../src/journal/view.ts'
import { retryHint } from '../../src/errors.ts'
import type { TestRuns } from '../../src/testing/test-runs.ts'
import { nodeRuns } from '../support/node.ts'
import { startUpstream, type Upstream } from './upstream.ts'

let upstream: Upstream
beforeEach(async () => {
  upstream = await startUpstream()
})
afterEach(() => upstream.stop())

const input = { orderId: 'A-1', email: 'ada@example.com', items: [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }, { sku: 'cup', quantity: 1, unitPriceCents: 1200 }] }
const orders = (shop: Shop = httpShop(upstream.url)): TestRuns => nodeRuns({ workflows: [order], services: { shop } })
const actions = async (): Promise<(string | null)[]> => (await upstream.requests()).map(({ action }) => action)

test('an order is priced, reserved, charged and shipped, each once and under its own key', async () => {
  const runs = orders()
  const { output, status, error } = await runs.run(order, input)
  expect(error).toBeUndefined()
  expect(status).toBe('completed')
  const requests = await upstream.requests()
  expect(output).toEqual({
    orderId: 'A-1', totalCents: 2100, reservationId: expect.stringMatching(/^res_/), chargeId: requests[2]?.result?.['chargeId'],
    shipmentId: expect.stringMatching(/^shp_/),
  })
  expect(requests.map(({ action, acted, orderId }) => [action, acted, orderId])).toEqual(
    ['price', 'reserve', 'charge', 'ship'].map((action) => [action, true, 'A-1']))
  expect(new Set(requests.map(({ key }) => key)).size).toBe(4)
})

test.for([
  ['no items', { ...input, items: [] }], ['a quantity of 0', { ...input, items: [{ sku: 'tea', quantity: 0, unitPriceCents: 1 }] }],
  ['half a cent', { ...input, items: [{ sku: 'tea', quantity: 1, unitPriceCents: 0.5 }] }], ['no address', { ...input, email: 'ada' }],
  ['no order id', { ...input, orderId: '' }], ['a wait below 0', { ...input, waitMs: -1 }], ['nothing', undefined],
] as const)('an order with %s is refused, and nothing reaches the shop', async ([, bad]) => {
  const runs = orders()
  await expect(runs.start(order, bad as never)).rejects.toMatchObject({ code: 'input_invalid' })
  expect(await actions()).toEqual([])
})

test('failures are tried again, a broken connection is asked about, all under the same key: the charge happens once', async () => {
  await upstream.control({ actions: { charge: { fail: { status: 503, times: 1 }, drop: 1, actThenDrop: 1 }, ship: { fail: { status: 429, times: 1 }, answerTwice: 1 } } })
  const runs = orders()
  const { status, output } = await runs.run(order, input)
  expect(status).toBe('completed')
  const charges = await upstream.requests('charge')
  expect(charges.map(({ how, acted }) => [how, acted])).toEqual([['answered', null], ['dropped', null], ['dropped', true]])
  expect(new Set(charges.map(({ key }) => key)).size).toBe(1)
  expect(output).toMatchObject({ chargeId: charges[2]?.result?.['chargeId'] })
  expect((await upstream.requests('ship')).map(({ acted }) => acted)).toEqual([null, true])
})

test('a Retry-After of the shop is heeded', async () => {
  await upstream.control({ actions: { charge: { fail: { status: 503, times: 1, retryAfterSeconds: 3600 } } } })
  const runs = orders()
  const { id } = await runs.start(order, input)
  const { host } = runs
  const parked = await runs.drive(id)
  expect(parked).toEqual({ kind: 'parked', wakeAt: expect.toSatisfy((at: number) => at - host.now() > 3_590_000 && at - host.now() <= 3_600_000) })
  expect((await runs.summary(id)).waitingFor).toEqual([{ kind: 'effect', key: 'charge', attempt: 2, dueAt: expect.any(Number) }])
  expect((await runs.settle(id))).toEqual({ kind: 'ended', status: 'completed' })
})

test('a declined card ends the order at once; the reservation is released, nothing is refunded', async () => {
  await upstream.control({ actions: { charge: { fail: { status: 402, times: null } } } })
  const { status, error } = await orders().run(order, input)
  expect(status).toBe('failed')
  expect(error).toMatchObject({ code: 'effect_failed', message: expect.stringContaining('402') })
  expect(await actions()).toEqual(['price', 'reserve', 'charge', 'release'])
})

test('what cannot be shipped is released and refunded', async () => {
  await upstream.control({ actions: { ship: { fail: { status: 410, times: null } } } })
  expect((await orders().run(order, input)).status).toBe('failed')
  expect(await actions()).toEqual(['price', 'reserve', 'charge', 'ship', 'refund', 'release'])
})

test('an order that is cancelled while it waits is released and refunded', async () => {
  const runs = orders()
  const { id } = await runs.start(order, { ...input, waitMs: 60_000 })
  expect(await runs.drive(id)).toMatchObject({ kind: 'parked' })
  await runs.cancel(id, 'changed my mind', { undo: true })
  expect(await runs.settle(id)).toEqual({ kind: 'ended', status: 'cancelled' })
  expect(await actions()).toEqual(['price', 'reserve', 'charge', 'refund', 'release'])
})

test('nothing was reserved, so nothing is released', async () => {
  await upstream.control({ actions: { reserve: { fail: { status: 409, times: null } } } })
  expect((await orders().run(order, input)).status).toBe('failed')
  expect(await actions()).toEqual(['price', 'reserve'])
})

test('G2: a crash after every entry: no committed step reaches the shop again, and every action has one key', async () => {
  const reference = orders()
  await reference.run(order, input, { id: 'reference' })
  const { items } = await journalPage(await reference.store('reference'))
  for (let stop = 1; stop < items.length; stop++) {
    const orderId = `crash-${stop}`
    const runs = orders()
    const { id } = await runs.start(order, { ...input, orderId })
    const driver = await runs.driver(id)
    const drive = driver.drive()
    // The host dies as soon as the journal is that long.
    const store = await runs.store(id)
    await vi.waitUntil(async () => {
      // Not while a request is under way: it takes as long as this machine needs, and virtual time would run out for it.
      if (driver.liveness().steps.length === 0) runs.host.advanceTo(runs.host.now() + 500)
      return ((await store.last())?.seq ?? 0) >= stop
    }, { interval: 1, timeout: 30_000 })
    await runs.crash(id)
    await drive
    expect(await runs.settle(id)).toEqual({ kind: 'ended', status: 'completed' })
    const requests = (await upstream.requests()).filter((request) => request.orderId === orderId)
    for (const action of ['price', 'reserve', 'charge', 'ship']) {
      const same = requests.filter((request) => request.action === action)
      expect(new Set(same.map(({ key }) => key)).size, `${orderId} ${action}`).toBe(1)
      expect(same.filter(({ acted }) => acted === true), `${orderId} ${action}`).toHaveLength(1)
      expect(same.length, `${orderId} ${action}`).toBeLessThanOrEqual(2)
    }
  }
})

test('the shop over HTTP says which refusals are final', async () => {
  const shop = httpShop(`${upstream.url}/`)
  const call = { idempotencyKey: 'k', abortSignal: new AbortController().signal, attempt: 1 }
  const refused = async (status: number, retryAfterSeconds?: number): Promise<unknown> => {
    await upstream.control({ actions: { price: { fail: { status, times: 1, ...(retryAfterSeconds === undefined ? undefined : { retryAfterSeconds }) } } } })
    return retryHint(await shop.price({ orderId: 'A', items: input.items }, call).catch((error: unknown) => error))
  }
  expect(await refused(402)).toEqual({ retryable: false })
  expect(await refused(422)).toEqual({ retryable: false })
  expect(await refused(429, 2)).toEqual({ retryAfterMs: 2000 })
  expect(await refused(503, 0)).toEqual({ retryAfterMs: 0 })
  expect(await refused(500)).toEqual({})
  expect(await refused(408)).toEqual({})
  await upstream.stop()
  expect(retryHint(await shop.price({ orderId: 'A', items: input.items }, call).catch((error: unknown) => error))).toEqual({})
})

test('a call that hangs is aborted with its signal', async () => {
  await upstream.control({ actions: { price: { hang: 1 } } })
  const abort = new AbortController()
  const hung = httpShop(upstream.url).price({ orderId: 'A', items: input.items }, { idempotencyKey: 'k', abortSignal: abort.signal, attempt: 1 })
  setTimeout(() => abort.abort(new Error('too long')), 50)
  await expect(hung).rejects.toThrow('too long')
})

test("the page's shop works alone, its charge is marked as a mock, and its answers are the same for the same key", async () => {
  const shop = mockShop({ delayMs: 1 })
  const { status, output } = await orders(shop).run(order, input)
  expect(status).toBe('completed')
  expect(output).toMatchObject({ totalCents: 2100, chargeId: expect.stringMatching(new RegExp(`^${MOCK}charge_`)) })
  const call = { idempotencyKey: 'abcdefghijklmnop', abortSignal: new AbortController().signal, attempt: 1 }
  expect(await shop.ship({ orderId: 'A', email: 'a@b.c', reservationId: 'r' }, call)).toEqual(await shop.ship({ orderId: 'A', email: 'a@b.c', reservationId: 'r' }, call))
  expect(await actions()).toEqual([])
})

test("the page's shop can be told to make trouble, and can tell a test's upstream what it does", async () => {
  const busy = orders(mockShop({ upstream: upstream.url, trouble: () => 'busy' }))
  expect((await busy.run(order, input)).status).toBe('completed')
  expect(await actions()).toEqual(['price', 'reserve', 'charge', 'charge', 'charge', 'ship'])
  const declined = await orders(mockShop({ delayMs: 1, trouble: () => 'declined' })).run(order, input)
  expect(declined.error).toMatchObject({ message: expect.stringContaining('declined') })
  expect((await orders(mockShop({ delayMs: 1, trouble: () => 'sold-out' })).run(order, input)).status).toBe('failed')
})
