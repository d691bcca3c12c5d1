// What can be asked of a run besides a cancel, over HTTP and by the clients; and ends that are told (G24).

import { env, exports } from 'cloudflare:workers'
import { abortAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { afterEach, describe, expect, test } from 'vitest'
import { type Fetch, remote } from '../../src/client/remote.ts'
import { requestControl } from '../../src/engine/control.ts'
import { isStepwellError, StepwellError } from '../../src/errors.ts'
import { decodeRecord, type RunRecord } from '../../src/journal/record.ts'
import type { Run } from '../../src/client.ts'
import { hasStatus, inRun, stored, until } from './objects.ts'
import { app, calls, told, well, type workflows, world } from './worker.ts'

const overHttp: Fetch = async (url, init) => await app.fetch(new Request(url, init as RequestInit), env) as Awaited<ReturnType<Fetch>>
const clients = { edge: well.client({}), remote: remote<typeof workflows>({ url: 'http://localhost', fetch: overHttp }) }
const client = clients.edge
const allowAll = world.authorize
afterEach(() => { world.authorize = allowAll })

interface Answer { readonly status: number; readonly body: Record<string, unknown> }

async function send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await app.fetch(new Request(`http://localhost/v1/runs/${path}`, {
    method, headers: { ...(body === undefined ? undefined : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? undefined : { body: JSON.stringify(body) }),
  }), env)
  return { status: response.status, body: await response.json() }
}

const recordOf = (id: string): Promise<RunRecord> => inRun(id, ({ store }) => decodeRecord(store.read()!))
async function asked(run: Run<unknown>): Promise<number> {
  await hasStatus(run, 'blocked')
  const { blocked } = await run.status()
  expect(blocked?.code).toBe('ambiguous_effect')
  return (blocked?.details as { effects: { seq: number }[] }).effects[0]!.seq
}
async function codeOf(promise: Promise<unknown>): Promise<string> {
  const thrown: unknown = await promise.then(() => undefined, (e: unknown) => e)
  if (!isStepwellError(thrown)) throw new Error(`expected an error of stepwell, got ${String(thrown)}`, { cause: thrown })
  return thrown.code
}

describe('over HTTP', () => {
  test('pause and resume: the run stops, and goes on by itself; who asked is kept', async () => {
    world.authorize = (_, action) => ({ allow: true, principal: `${action} by ada` })
    const run = await client.start('sleepy', { ms: 1500 })
    await hasStatus(run, 'waiting')
    const { dueAt } = (await run.status()).waitingFor[0]!
    expect(await send('POST', `${run.id}/pause`)).toMatchObject({ status: 200, body: { outcome: 'requested' } })
    await hasStatus(run, 'paused')
    expect((await recordOf(run.id)).paused).toMatchObject({ principal: 'pause by ada' })
    expect((await stored(run.id)).alarm).toBe(null)
    expect(await send('POST', `${run.id}/pause`, {})).toMatchObject({ status: 200, body: { outcome: 'already_requested', status: 'paused' } })
    await until('its timer is due', async () => Date.now() > (dueAt as number))
    expect((await run.status()).status).toBe('paused')
    expect(await send('POST', `${run.id}/resume`)).toMatchObject({ status: 200, body: { outcome: 'requested' } })
    expect(await run.result()).toBe(1)
    expect(await send('POST', `${run.id}/resume`)).toMatchObject({ status: 200, body: { outcome: 'ended', status: 'completed' } })
  })

  test('retry and restart: a new generation; the same id is one restart; who asked is in the journal', async () => {
    world.authorize = () => ({ allow: true, principal: 'ada' })
    const run = await client.start('flaky', 0)
    await hasStatus(run, 'failed')
    expect(await send('POST', `${run.id}/retry`, {}, { 'idempotency-key': 'r1' })).toMatchObject({ status: 200, body: { outcome: 'requested', status: 'failed' } })
    await hasStatus(run, 'completed')
    expect(await run.result()).toEqual([1, 2])
    expect(await send('POST', `${run.id}/retry`)).toMatchObject({ status: 409, body: { code: 'not_ended' } })
    expect(await send('POST', `${run.id}/restart`, { from: 'second', id: 'r2' })).toMatchObject({ status: 200, body: { outcome: 'requested' } })
    await until('it ended again', async () => (await run.status()).generation === 3 && (await run.status()).status === 'completed')
    expect(await run.result()).toEqual([1, 3])
    expect(await send('POST', `${run.id}/restart`, { from: 'second' }, { 'idempotency-key': 'r2' })).toMatchObject({ status: 200, body: { outcome: 'already_requested' } })
    const { items } = await run.journal({ reveal: true })
    expect(items.filter(({ kind }) => kind === 'generation_started').map((item) => (item as unknown as { payload: unknown }).payload)).toMatchObject([
      { because: 'retry', principal: 'ada' }, { because: 'restart', from: 'second', principal: 'ada' },
    ])
  })

  test.each([
    ['happened', { decision: 'happened', value: 'found in the books' }, 'found in the books', 1], ['rerun', { decision: 'rerun' }, 'paid', 2],
    ['skip', { decision: 'skip', value: 'later' }, 'later', 1],
  ] as const)('an effect is resolved: %s; another decision is a conflict', async (_, resolution, output, times) => {
    world.authorize = () => ({ allow: true, principal: 'ada' })
    const run = await client.start('paying', 0)
    const seq = await asked(run)
    expect((await send('GET', `${run.id}/effects`)).body).toMatchObject({ items: [{ seq, key: 'pay', kind: 'money', status: 'ambiguous', attempt: 1, generation: 1 }] })
    expect(await send('POST', `${run.id}/effects/${seq}/resolve`, resolution)).toMatchObject({ status: 200, body: { outcome: 'requested' } })
    const another = resolution.decision === 'skip' ? 'fail' : 'skip'
    expect(await send('POST', `${run.id}/effects/${seq}/resolve`, { decision: another })).toMatchObject({ status: 409, body: { code: 'already_resolved' } })
    expect(await run.result()).toBe(output)
    expect(calls(run.id, 'pay')).toBe(times)
    expect(await send('POST', `${run.id}/effects/${seq}/resolve`, { decision: another })).toMatchObject({ status: 409, body: { code: 'already_resolved' } })
    expect(await send('POST', `${run.id}/effects/${seq}/resolve`, resolution)).toMatchObject({ status: 200, body: { outcome: 'already_requested' } })
    const { items } = (await send('GET', `${run.id}/effects`)).body as { items: Record<string, unknown>[] }
    expect(items).toMatchObject([{ key: 'pay', status: resolution.decision === 'skip' ? 'skipped' : 'done', hasUndo: false, undos: 0 }])
    // Each decision is an entry of its own, with who made it.
    const { items: entries } = (await send('GET', `${run.id}/journal?reveal=1`)).body as { items: { kind: string; payload: unknown }[] }
    expect(entries.filter(({ kind }) => kind === 'effect_decided').map(({ payload }) => payload)).toMatchObject([{ intent: seq, by: 'person', decision: resolution.decision, principal: 'ada' }])
    if (resolution.decision === 'skip') expect(items[0]).toMatchObject({ decision: { word: 'skip', by: 'person', principal: 'ada' } })
    // Neither its input nor its value.
    expect(JSON.stringify(items)).not.toMatch(/cents|books|paid/)
  })

  test('resolved as fail, the run fails', async () => {
    const run = await client.start('paying', 0)
    expect(await send('POST', `${run.id}/effects/${await asked(run)}/resolve`, { decision: 'fail' })).toMatchObject({ status: 200 })
    expect(await codeOf(run.result())).toBe('effect_ambiguous')
  })

  test('bad input is typed, and writes nothing', async () => {
    const run = await client.start('paying', 0)
    const seq = await asked(run)
    const before = await stored(run.id)
    for (const [method, path, body, status, code, headers] of [
      ['POST', 'pause', { now: true }, 400, 'invalid_argument'], ['POST', 'resume?x=1', undefined, 400, 'invalid_argument'],
      ['POST', 'restart', { from: 5 }, 400, 'invalid_argument'], ['POST', 'restart', { from: 'nowhere' }, 400, 'invalid_argument'],
      ['POST', 'restart', { id: '' }, 400, 'invalid_argument'], ['POST', 'restart', { id: 'a' }, 400, 'invalid_argument', { 'idempotency-key': 'b' }],
      ['POST', 'retry', { from: 'pay' }, 400, 'invalid_argument'], ['POST', 'retry', {}, 409, 'not_ended'],
      ['POST', `effects/${seq}/resolve`, undefined, 400, 'invalid_argument'], ['POST', `effects/${seq}/resolve`, { decision: 'maybe' }, 400, 'invalid_argument'],
      ['POST', `effects/${seq}/resolve`, { decision: 'skip', why: 1 }, 400, 'invalid_argument'], ['POST', 'effects/1e0/resolve', { decision: 'skip' }, 400, 'invalid_argument'],
      ['POST', 'effects/0/resolve', { decision: 'skip' }, 400, 'invalid_argument'], ['POST', 'effects/1/resolve', { decision: 'skip' }, 409, 'nothing_to_resolve'],
      ['GET', 'pause', undefined, 405, 'method_not_allowed'], ['POST', 'effects', {}, 405, 'method_not_allowed'], ['GET', 'effects?page=1', undefined, 400, 'invalid_argument'],
      ['GET', 'events?after=-1', undefined, 400, 'invalid_argument'], ['GET', 'events?after=0.5', undefined, 400, 'invalid_argument'], ['GET', 'events?limit=0', undefined, 422, 'limit_exceeded'],
      ['GET', 'events?wait=61', undefined, 422, 'limit_exceeded'], ['GET', 'events?x=1', undefined, 400, 'invalid_argument'], ['POST', 'events', {}, 405, 'method_not_allowed'],
      ['GET', 'events?wait=1', undefined, 400, 'invalid_argument', { accept: 'text/event-stream' }], ['GET', 'events', undefined, 400, 'invalid_argument', { accept: 'text/event-stream', 'last-event-id': 'x' }],
      ['POST', 'cancel', { undo: 'yes' }, 400, 'invalid_argument'],
    ] as const) {
      expect([path, await send(method, `${run.id}/${path}`, body, headers)]).toMatchObject([path, { status, body: { code } }])
    }
    expect(await stored(run.id)).toEqual(before)
  })

  test('each is an action of its own; who may not, and what is not there', async () => {
    const actions: string[] = []
    world.authorize = (request, action) => {
      actions.push(action)
      if (request.headers.get('authorization') === null) throw new StepwellError('unauthorized', 'who are you?')
      return false
    }
    const id = crypto.randomUUID()
    const routes = [
      ['POST', 'pause', 'pause'], ['POST', 'resume', 'resume'], ['POST', 'restart', 'restart'], ['POST', 'retry', 'retry'], ['POST', 'effects/2/resolve', 'resolve'],
      ['GET', 'effects', 'effects'], ['GET', 'events', 'events'], ['POST', 'cancel', 'cancel'],
    ] as const
    for (const [method, path, action] of routes) {
      const body = method === 'GET' ? undefined : path.endsWith('resolve') ? { decision: 'skip' } : {}
      expect((await send(method, `${id}/${path}`, body)).status).toBe(401)
      expect((await send(method, `${id}/${path}`, body, { authorization: 'Bearer x' })).status).toBe(403)
      expect(actions.splice(0)).toEqual([action, action])
      world.authorize = allowAll
      expect(await send(method, `${id}/${path}`, body)).toMatchObject({ status: 404, body: { code: 'run_not_found' } })
      world.authorize = (request, what) => {
        actions.push(what)
        if (request.headers.get('authorization') === null) throw new StepwellError('unauthorized', 'who are you?')
        return false
      }
    }
    expect((await stored(id)).tables).toEqual({})
  })

  test('cancel with undo', async () => {
    const run = await client.start('sleepy', { ms: 100_000 })
    await hasStatus(run, 'waiting')
    expect(await send('POST', `${run.id}/cancel`, { undo: true, reason: 'enough' })).toMatchObject({ status: 200, body: { outcome: 'cancelled' } })
    const { items } = await run.journal({ reveal: true })
    expect(items.find(({ kind }) => kind === 'cancel_requested')).toMatchObject({ payload: { undo: true, reason: 'enough' } })
  })
})

describe.each(['edge', 'remote'] as const)('the %s client', (name) => {
  const its = clients[name]

  test('pauses, resumes, retries, restarts, resolves, lists effects, cancels with undo', async () => {
    const sleepy = await its.start('sleepy', { ms: 1500 })
    expect((await sleepy.pause()).outcome).toBe('requested')
    await hasStatus(sleepy, 'paused')
    expect((await sleepy.resume()).outcome).toBe('requested')
    expect(await sleepy.result()).toBe(1)
    const flaky = await its.start('flaky', 0)
    await hasStatus(flaky, 'failed')
    expect((await flaky.retry({ id: 'once' })).outcome).toBe('requested')
    await hasStatus(flaky, 'completed')
    expect((await flaky.restart({ from: 'second' })).outcome).toBe('requested')
    await until('it ended again', async () => (await flaky.status()).generation === 3 && (await flaky.status()).status === 'completed')
    const paying = await its.start('paying', 0)
    const seq = await asked(paying)
    const { items: [effect], next } = await paying.effects({ limit: 1 })
    expect(next).toBe(undefined)
    expect((await paying.effects({ after: seq })).items).toEqual([])
    expect(await codeOf(paying.effects({ limit: 1001 }))).toBe('limit_exceeded')
    expect(effect).toMatchObject({ seq, key: 'pay', kind: 'money', status: 'ambiguous', hasUndo: false })
    expect(effect!.intendedAt! <= effect!.startBy! && effect!.startBy! < effect!.until!).toBe(true)
    expect((await paying.resolve(seq, { decision: 'happened', value: new Date(5) as unknown })).outcome).toBe('requested')
    expect(await codeOf(paying.resolve(seq, { decision: 'fail' }))).toBe('already_resolved')
    expect(await paying.result()).toEqual(new Date(5))
    expect(await codeOf(its.get('add', crypto.randomUUID()).effects())).toBe('run_not_found')
    expect(await codeOf(its.get('add', crypto.randomUUID()).pause())).toBe('run_not_found')
    const cancelled = await its.start('sleepy', { ms: 100_000 })
    await hasStatus(cancelled, 'waiting')
    expect((await cancelled.cancel({ undo: true })).outcome).toBe('cancelled')
    expect(await codeOf(cancelled.restart())).toBe('already_ended')
  })
})

test('G13: a client of the worker itself says for whom it acts', async () => {
  const acting = well.client({}, { principal: 'grace' })
  const paying = await acting.start('paying', 0)
  const seq = await asked(paying)
  await paying.resolve(seq, { decision: 'skip', value: 'later' })
  expect(await paying.result()).toBe('later')
  expect((await paying.effects()).items).toMatchObject([{ decision: { word: 'skip', by: 'person', principal: 'grace' } }])
  const waiting = await acting.start('sleepy', { ms: 100_000 })
  await waiting.cancel()
  expect((await waiting.journal({ reveal: true })).items.find(({ kind }) => kind === 'cancel_requested')?.payload).toMatchObject({ principal: 'grace' })
  for (const principal of ['', 'x'.repeat(257), 5 as never]) expect(() => well.client({}, { principal })).toThrow(/principal/)
})

test('G29: a restart of an ended run that was stored before its object died is carried out by the alarm', async () => {
  const run = await client.start('add', { a: 1, b: 2 })
  await run.result()
  await until('nothing is left to do', async () => (await stored(run.id)).alarm === null)
  await inRun(run.id, ({ store }) => requestControl(store, Date.now() + 60_000, { kind: 'restart' }))
  await abortAllDurableObjects()
  expect((await stored(run.id)).alarm).not.toBe(null)
  expect(await runDurableObjectAlarm(exports.Run.getByName(run.id))).toBe(true)
  await until('it ran again', async () => calls(run.id, 'first') === 2)
  await hasStatus(run, 'completed')
  expect((await run.status()).generation).toBe(2)
})

describe('G24: ends are told', () => {
  const its = told.client({})
  const alarmOf = (id: string): Promise<number | null> => runInDurableObject(exports.ToldRun.getByName(id), (_, state) => state.storage.getAlarm())
  const endsOf = (id: string): object[] => world.ends.filter((end) => end.id === id)

  test('of a run that completed and of one that was cancelled; then no alarm is left', async () => {
    const run = await its.start('add', { a: 1, b: 2 }, { tags: ['t'] })
    expect(await run.result()).toBe(3)
    await until('it is told', async () => endsOf(run.id).length === 1)
    expect(endsOf(run.id)).toMatchObject([{ status: 'completed', output: 3, attempt: 1, tags: ['t'], generation: 1 }])
    await until('no alarm is left', async () => (await alarmOf(run.id)) === null)
    const other = await its.start('sleepy', { ms: 100_000 })
    await hasStatus(other, 'waiting')
    await other.cancel()
    await until('it is told', async () => endsOf(other.id).length === 1)
    expect(endsOf(other.id)).toMatchObject([{ status: 'cancelled', error: { code: 'cancelled' } }])
  })

  test('T-102: one that was not heard is told again after the object died, by its alarm alone', async () => {
    const id = crypto.randomUUID()
    world.deaf.set(id, 1)
    const run = await its.start('add', { a: 1, b: 2 }, { id })
    expect(await run.result()).toBe(3)
    await until('it was told once', async () => endsOf(id).length === 1)
    await abortAllDurableObjects()
    // While there is an outbox there is an alarm, and it is no request that wakes the object.
    const alarm = await until('the alarm is there', async () => (await alarmOf(id)) ?? undefined)
    expect(alarm - Date.now()).toBeLessThanOrEqual(5000)
    await until('it is told again', async () => endsOf(id).length === 2, 15_000)
    expect(endsOf(id)).toMatchObject([{ attempt: 1 }, { attempt: 2 }])
    await until('no alarm is left', async () => (await alarmOf(id)) === null)
  }, 30_000)
})
