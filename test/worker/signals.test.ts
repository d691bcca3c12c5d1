// Signals at the edge (G17): over HTTP and by the clients, to a run whose object was evicted, and what is refused.

import { env, exports } from 'cloudflare:workers'
import { evictDurableObject } from 'cloudflare:test'
import { afterEach, expect, test } from 'vitest'
import { type Fetch, remote } from '../../src/client/remote.ts'
import type { Sent } from '../../src/engine/signal.ts'
import { hasStatus, inRun, nothing, stored } from './objects.ts'
import { app, well, type workflows, world } from './worker.ts'

const overHttp: Fetch = async (url, init) => await app.fetch(new Request(url, init as RequestInit), env) as Awaited<ReturnType<Fetch>>
const clients = { edge: well.client({}, { principal: 'ada' }), remote: remote<typeof workflows>({ url: 'http://localhost', fetch: overHttp }) }
const unique = (): string => crypto.randomUUID()
const allowAll = world.authorize
afterEach(() => { world.authorize = allowAll })

async function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await app.fetch(new Request(`http://localhost/v1/runs/${path}`, {
    method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers },
  }), env)
  return { status: response.status, body: await response.json() }
}

test('G17: POST signals answers 202 with the number; Idempotency-Key is its id; the journal says who sent it', async () => {
  world.authorize = (_, action) => ({ allow: true, principal: `${action} by eve` })
  const run = await clients.edge.start('listening', null)
  await hasStatus(run, 'waiting')
  expect((await run.status()).waitingFor).toEqual([{ kind: 'signal', key: 'signal:go' }])
  const first = await post(`${run.id}/signals/go`, { payload: { n: 1 } }, { 'idempotency-key': 'one' })
  expect(first).toEqual({ status: 202, body: { seq: 1, duplicate: false } })
  expect(await post(`${run.id}/signals/go`, { payload: { n: 1 }, id: 'one' })).toEqual({ status: 202, body: { seq: 1, duplicate: true } })
  expect(await post(`${run.id}/signals/go`, { payload: { n: 2 } }, { 'idempotency-key': 'one' })).toMatchObject({ status: 409, body: { code: 'input_mismatch' } })
  expect(await post(`${run.id}/signals/go`, { payload: 1, id: 'a' }, { 'idempotency-key': 'b' })).toMatchObject({ status: 400, body: { code: 'invalid_argument' } })
  expect(await post(`${run.id}/signals/word`, { payload: { text: 5 } })).toMatchObject({ status: 422, body: { code: 'input_invalid' } })
  expect(await post(`${run.id}/signals/nobody`, { payload: 1 })).toMatchObject({ status: 400, body: { code: 'invalid_argument' } })
  expect(await post(`${run.id}/signals/go`, { payload: 1, more: 1 })).toMatchObject({ status: 400, body: { code: 'invalid_argument' } })
  expect(await post(`${run.id}/signals/go`, { payload: 'second' })).toEqual({ status: 202, body: { seq: 2, duplicate: false } })
  expect(await run.result()).toEqual([{ n: 1 }, 'second'])
  const { items } = await run.journal({ reveal: true })
  expect(items.filter(({ kind }) => kind === 'signal_received').map(({ key, payload }) => [key, (payload as Sent).number, (payload as Sent).principal])).toEqual([
    ['signal:go', 1, 'signal by eve'], ['signal:go#1', 2, 'signal by eve'],
  ])
  expect(await post(`${run.id}/signals/go`, { payload: 3 })).toMatchObject({ status: 409, body: { code: 'already_ended' } })
  expect(await post(`${run.id}/signals/go`, { payload: { n: 1 }, id: 'one' })).toMatchObject({ status: 202, body: { seq: 1, duplicate: true } })
})

test.each(['edge', 'remote'] as const)('G17: a signal by the %s client, typed, to a run whose object is gone, wakes it; what is refused has written nothing', async (name) => {
  const client = clients[name]
  const run = await client.start('listening', null)
  await hasStatus(run, 'waiting')
  await evictDurableObject(exports.Run.getByName(run.id))
  expect(await run.signal('go', new Map([[1n, new Date(5)]]), { id: 'x' })).toEqual({ seq: 1, duplicate: false })
  expect(await client.get('listening', run.id).signal('go', new Map([[1n, new Date(5)]]), { id: 'x' })).toEqual({ seq: 1, duplicate: true })
  // @ts-expect-error there is no such signal
  await expect(run.signal('other', 1)).rejects.toMatchObject({ code: 'invalid_argument' })
  // @ts-expect-error its payload is another
  await expect(run.signal('word', { text: 1 })).rejects.toMatchObject({ code: 'input_invalid' })
  await expect(run.signal('go', () => 1)).rejects.toMatchObject({ code: 'not_serializable' })
  expect(await inRun(run.id, ({ store }) => store.read()?.inbox)).toBe(1)
  await run.signal('go', 'end')
  expect(await run.result()).toEqual([new Map([[1n, new Date(5)]]), 'end'])
  const absent = unique()
  await expect(client.get('listening', absent).signal('go', 1)).rejects.toMatchObject({ code: 'run_not_found' })
  expect(await stored(absent)).toEqual(nothing)
})

test('G17, T-064: DELETE signals takes back what was not taken', async () => {
  const run = await clients.edge.start('listening', null, { delay: '1 hour' })
  for (const payload of [1, 2]) await run.signal('go', payload)
  const clear = async (): Promise<unknown> => (await app.fetch(new Request(`http://localhost/v1/runs/${run.id}/signals/go`, { method: 'DELETE' }), env)).json()
  expect([await clear(), await clear()]).toEqual([{ cleared: 2 }, { cleared: 0 }])
  await run.signal('go', 3)
  expect(await clients.remote.get('listening', run.id).clearSignals('go')).toEqual({ cleared: 1 })
  expect(await run.clearSignals('go')).toEqual({ cleared: 0 })
  const refused = await app.fetch(new Request(`http://localhost/v1/runs/${run.id}/signals/go`, { method: 'PUT' }), env)
  expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'POST, DELETE'])
})

test('G17: whoever may not signal has written nothing', async () => {
  const run = await clients.edge.start('listening', null)
  await hasStatus(run, 'waiting')
  world.authorize = (_, action) => ({ allow: action !== 'signal' })
  expect(await post(`${run.id}/signals/go`, { payload: 1 })).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  expect(await inRun(run.id, ({ store }) => store.read()?.inbox)).toBe(0)
})

const tokenOf = (run: string): string => (world.found.get(run) as { happened: string }).happened

test('G20: POST deferreds settles it with the token, once; a wrong one is refused and learns nothing', async () => {
  const run = await clients.edge.start('approving', null)
  await hasStatus(run, 'waiting')
  await evictDurableObject(exports.Run.getByName(run.id))
  const token = tokenOf(run.id)
  const wrong = `${token.slice(1)}${token[0]}`
  const path = `${run.id}/deferreds/approval`
  expect(await post(path, { token: wrong, value: { by: 5 } })).toMatchObject({ status: 400, body: { code: 'invalid_token' } })
  // One in a branch has its path in its id, whether the sender has escaped it or not.
  for (const id of ['all%2Fa%2Fapproval', 'all/a/approval']) {
    expect(await post(`${run.id}/deferreds/${id}`, { token, value: { by: 'ada' } })).toMatchObject({ status: 400, body: { code: 'invalid_token', detail: expect.stringContaining('"all/a/approval"') } })
  }
  expect(await post(path, { value: { by: 'ada' } })).toMatchObject({ status: 400, body: { code: 'invalid_argument' } })
  expect(await post(path, { token, value: { by: 'ada' }, error: 'x' })).toMatchObject({ status: 400, body: { code: 'invalid_argument' } })
  expect(await post(path, { token, value: { by: 5 } })).toMatchObject({ status: 422, body: { code: 'input_invalid' } })
  expect(await inRun(run.id, ({ store }) => store.read()?.inbox)).toBe(0)
  expect(await post(path, { token, value: { by: 'ada' } })).toEqual({ status: 200, body: { seq: 1, duplicate: false } })
  expect(await post(path, { token, value: { by: 'ada' } })).toEqual({ status: 200, body: { seq: 1, duplicate: true } })
  expect(await run.result()).toEqual({ by: 'ada' })
  expect(await post(path, { token, value: { by: 'eve' } })).toMatchObject({ status: 409, body: { code: 'already_resolved' } })
})

test.each(['edge', 'remote'] as const)('G20: a deferred is settled, or rejected, by the %s client', async (name) => {
  const [one, two] = [await clients[name].start('approving', null), await clients[name].start('approving', null)]
  for (const run of [one, two]) await hasStatus(run, 'waiting')
  await expect(one.settle('approval', tokenOf(two.id), { value: { by: 'eve' } })).rejects.toMatchObject({ code: 'invalid_token' })
  expect(await one.settle('approval', tokenOf(one.id), { value: { by: 'ada' } })).toEqual({ seq: 1, duplicate: false })
  expect(await two.settle('approval', tokenOf(two.id), { error: { message: 'no', details: { cents: 5 } } })).toEqual({ seq: 1, duplicate: false })
  expect(await one.result()).toEqual({ by: 'ada' })
  await expect(two.result()).rejects.toMatchObject({ code: 'rejected', message: 'no', details: { cents: 5 } })
})
