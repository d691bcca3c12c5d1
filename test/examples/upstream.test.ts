import { appendFile, readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { startUpstream, type Upstream, type UpstreamOptions } from './upstream.ts'

const open: Upstream[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((upstream) => upstream.stop()))
})

async function start(options?: UpstreamOptions): Promise<Upstream> {
  const upstream = await startUpstream(options)
  open.push(upstream)
  return upstream
}

const charge = { orderId: 'A-1', email: 'ada@example.com', totalCents: 900 }
const items = [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }]

async function until(what: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await what()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('it did not happen within 2 seconds')
}

test('each action answers, and refuses what it cannot do', async () => {
  const upstream = await start()
  expect(await upstream.post('price', { orderId: 'A-1', items })).toEqual({ status: 200, body: { totalCents: 900 } })
  expect((await upstream.post('reserve', { orderId: 'A-1', items })).body).toEqual({ reservationId: expect.stringMatching(/^res_/) })
  expect((await upstream.post('charge', charge)).body).toEqual({ chargeId: expect.stringMatching(/^ch_/), totalCents: 900 })
  expect((await upstream.post('ship', { orderId: 'A-1' })).body).toEqual({ shipmentId: expect.stringMatching(/^shp_/) })
  expect((await upstream.post('release', { orderId: 'A-1', reservationId: 'r' })).body).toEqual({ reservationId: 'r', released: true })
  expect((await upstream.post('refund', { orderId: 'A-1', chargeId: 'c' })).body).toEqual({ refundId: expect.stringMatching(/^ref_/), chargeId: 'c' })
  for (const [action, body] of [
    ['price', { orderId: 'A-1', items: [] }], ['price', { items }], ['price', { orderId: 'A-1', items: [{ sku: 'tea', quantity: 0, unitPriceCents: 1 }] }],
    ['charge', { orderId: 'A-1', totalCents: 1.5 }], ['release', { orderId: 'A-1' }], ['refund', { orderId: 'A-1' }],
  ] as const) expect((await upstream.post(action, body)).status, JSON.stringify(body)).toBe(422)
  expect((await upstream.post('teleport', {})).status).toBe(404)
})

test('the ledger has every request before it is acted on, what came of it, and when it was open', async () => {
  const upstream = await start({ control: { actions: { charge: { delayMs: 2000, answerDelayMs: 2000 } } } })
  const answered = upstream.post('charge', charge, 'k1')
  await until(async () => (await upstream.requests('charge')).length === 1)
  const [before] = await upstream.requests('charge')
  expect(before).toMatchObject({ ordinal: 1, method: 'POST', path: '/charge', key: 'k1', orderId: 'A-1', acted: null, closedAt: null, how: 'open' })
  await until(async () => (await upstream.requests('charge'))[0]?.acted === true)
  expect((await upstream.requests('charge'))[0]).toMatchObject({ closedAt: null, how: 'open' })
  const { body } = await answered
  const [after] = await upstream.requests('charge')
  expect(after).toMatchObject({ acted: true, result: body, how: 'answered', status: 200 })
  const { receivedAt = 0, actedAt = 0, closedAt = 0 } = after ?? {}
  expect(Number(actedAt) - Number(receivedAt)).toBeGreaterThanOrEqual(1995)
  expect(Number(closedAt) - Number(actedAt)).toBeGreaterThanOrEqual(1995)
  const lines = (await readFile(upstream.ledgerPath, 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line) as { type: string })
  expect(lines.map(({ type }) => type)).toEqual(['started', 'received', 'acted', 'closed'])
})

test('the same key acts once and answers the same; another body is refused; other actions have their own keys', async () => {
  const upstream = await start()
  const first = await upstream.post('charge', charge, 'k1')
  const second = await upstream.post('charge', charge, 'k1')
  expect(second).toEqual(first)
  expect((await upstream.post('charge', { ...charge, totalCents: 1 }, 'k1')).status).toBe(422)
  expect((await upstream.post('ship', { orderId: 'A-1' }, 'k1')).status).toBe(200)
  expect((await upstream.requests('charge')).map(({ acted }) => acted)).toEqual([true, false, null])
  expect(await (await fetch(`${upstream.url}/charges/k1`)).json()).toEqual(first.body)
  expect((await fetch(`${upstream.url}/charges/k2`)).status).toBe(404)
})

test('deduplication can be switched off: then the same key acts again', async () => {
  const upstream = await start()
  await upstream.control({ dedup: false })
  const ids = [await upstream.post('charge', charge, 'k1'), await upstream.post('charge', charge, 'k1')].map(({ body }) => body['chargeId'])
  expect(new Set(ids).size).toBe(2)
  expect((await upstream.requests('charge')).map(({ acted }) => acted)).toEqual([true, true])
})

test('it can fail, with a status and a Retry-After, a number of times', async () => {
  const upstream = await start({ control: { actions: { charge: { fail: { status: 503, times: 2, retryAfterSeconds: 3 } } } } })
  const failed = await fetch(`${upstream.url}/charge`, { method: 'POST', body: JSON.stringify(charge) })
  expect([failed.status, failed.headers.get('retry-after')]).toEqual([503, '3'])
  expect((await upstream.post('charge', charge)).status).toBe(503)
  expect((await upstream.post('charge', charge)).status).toBe(200)
  await upstream.control({ actions: { charge: { fail: { status: 402, times: null } } } })
  for (let i = 0; i < 3; i++) expect((await upstream.post('charge', charge)).status).toBe(402)
  expect((await upstream.requests('charge')).map(({ acted }) => acted)).toEqual([null, null, true, null, null, null])
})

test('it can hang: open until the client gives up, and nothing was done', async () => {
  const upstream = await start({ control: { actions: { charge: { hang: 1 } } } })
  const abort = new AbortController()
  const hung = fetch(`${upstream.url}/charge`, { method: 'POST', body: JSON.stringify(charge), signal: abort.signal })
  await until(async () => (await upstream.requests('charge')).length === 1)
  expect((await upstream.requests('charge'))[0]).toMatchObject({ how: 'open', acted: null })
  abort.abort()
  await expect(hung).rejects.toThrow('abort')
  await until(async () => (await upstream.requests('charge'))[0]?.how === 'client_gone')
  expect((await upstream.requests('charge'))[0]).toMatchObject({ acted: null, closedAt: expect.any(Number) })
})

test('it can act and lose the answer: the repetition finds what was done', async () => {
  const upstream = await start({ control: { actions: { charge: { actThenDrop: 1 } } } })
  await expect(upstream.post('charge', charge, 'k1')).rejects.toThrow('fetch failed')
  const { body } = await upstream.post('charge', charge, 'k1')
  const [dropped, repeated] = await upstream.requests('charge')
  expect(dropped).toMatchObject({ acted: true, how: 'dropped', status: null, result: body })
  expect(repeated).toMatchObject({ acted: false, how: 'answered', status: 200, result: body })
})

test('it can cut the connection before it acts, and act and then hang', async () => {
  const upstream = await start({ control: { actions: { charge: { drop: 1, actThenHang: 1 } } } })
  await expect(upstream.post('charge', charge, 'k1')).rejects.toThrow('fetch failed')
  const abort = new AbortController()
  const hung = fetch(`${upstream.url}/charge`, { method: 'POST', headers: { 'idempotency-key': 'k1' }, body: JSON.stringify(charge), signal: abort.signal })
  await until(async () => (await upstream.requests('charge'))[1]?.acted === true)
  abort.abort()
  await expect(hung).rejects.toThrow('abort')
  expect((await upstream.requests('charge')).map(({ acted }) => acted)).toEqual([null, true])
})

test('it can answer twice: one act, two answers on the wire', async () => {
  const upstream = await start({ control: { actions: { charge: { answerTwice: 1 } } } })
  const { hostname, port } = new URL(upstream.url)
  const body = JSON.stringify(charge)
  const text = await new Promise<string>((resolve, reject) => {
    let received = ''
    const socket = connect(Number(port), hostname, () => socket.write(`POST /charge HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`))
    socket.on('data', (part) => { received += part.toString() }).on('end', () => resolve(received)).on('error', reject)
  })
  expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(2)
  expect((await upstream.requests('charge')).map(({ acted, how }) => [acted, how])).toEqual([[true, 'answered']])
})

test('delays are drawn from a seed: the same ones again', async () => {
  const draw = async (seed: number): Promise<(number | null)[]> => {
    const upstream = await start({ control: { actions: { price: { delayMs: { min: 10, max: 60, seed } } } } })
    for (let i = 0; i < 4; i++) await upstream.post('price', { orderId: 'A-1', items })
    return (await upstream.requests('price')).map(({ delayMs }) => delayMs)
  }
  const [a, b, c] = await Promise.all([draw(7), draw(7), draw(8)])
  expect(a).toEqual(b)
  expect(a).not.toEqual(c)
  for (const delay of a) expect(delay).toSatisfy((ms: number) => ms >= 10 && ms <= 60)
})

test.for(['SIGTERM', 'SIGKILL'] as const)('the ledger and what it knows survive %s', async (signal) => {
  const first = await start({ control: { actions: { ship: { hang: 1 } } } })
  const { body } = await first.post('charge', charge, 'k1')
  const hung = first.post('ship', { orderId: 'A-1' }, 'k2').catch(() => undefined)
  await until(async () => (await first.requests('ship')).length === 1)
  await first.stop(signal)
  await hung
  // What a process leaves that dies while it writes.
  if (signal === 'SIGKILL') await appendFile(first.ledgerPath, '{"at":1,"type":"rec')

  const second = await start({ ledgerPath: first.ledgerPath })
  expect((await second.post('charge', charge, 'k1')).body).toEqual(body)
  const requests = await second.requests()
  expect(requests.map(({ ordinal }) => ordinal)).toEqual([1, 2, 3])
  expect(requests.map(({ acted }) => acted)).toEqual([true, null, false])
  expect(requests[1]?.how).toBe(signal === 'SIGKILL' ? 'upstream_restarted' : 'client_gone')
})

test('a body that never came whole is in the ledger and did nothing', async () => {
  const upstream = await start()
  const { hostname, port } = new URL(upstream.url)
  const socket = connect(Number(port), hostname, () => socket.write('POST /charge HTTP/1.1\r\nhost: x\r\nidempotency-key: k1\r\ncontent-length: 50\r\n\r\n{"orderId"'))
  await new Promise((resolve) => setTimeout(resolve, 50))
  socket.destroy()
  await until(async () => (await upstream.requests('charge')).length === 1)
  expect((await upstream.requests('charge'))[0]).toMatchObject({ key: 'k1', acted: null, how: 'client_gone' })
})

test('bad settings are refused and change nothing', async () => {
  const upstream = await start()
  for (const change of [
    { actions: { teleport: {} } }, { actions: { charge: { hang: -1 } } }, { actions: { charge: { fail: { status: 200 } } } },
    { actions: { charge: { delayMs: { min: 5, max: 1 } } } }, { actions: { charge: { explode: 1 } } }, { dedup: 1 }, { nothing: 1 },
  ]) await expect(upstream.control(change)).rejects.toThrow('error')
  expect(await (await fetch(`${upstream.url}/_control`)).json()).toEqual({ dedup: true, actions: {} })
  await upstream.control({ dedup: false, actions: { '*': { delayMs: 5 } } })
  await upstream.control({ reset: true })
  expect(await (await fetch(`${upstream.url}/_control`)).json()).toEqual({ dedup: true, actions: {} })
})

test('a page may call it: CORS, and files of a folder on its own origin, nothing outside', async () => {
  const page = new URL('../../examples/upstream/', import.meta.url).pathname
  const upstream = await start({ page })
  const preflight = await fetch(`${upstream.url}/charge`, { method: 'OPTIONS' })
  expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, '*'])
  expect(preflight.headers.get('access-control-allow-headers')).toContain('idempotency-key')
  expect(await (await fetch(`${upstream.url}/server.mjs`)).text()).toContain('// The outside world')
  expect((await fetch(`${upstream.url}/..%2forder%2forder.ts`)).status).toBe(404)
})
