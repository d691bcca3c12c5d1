import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { type Fetch, isStepwellError, remote } from '../../src/client/remote.ts'
import type { StepwellError } from '../../src/index.ts'
import { hasStatus, nothing, stored, until } from './objects.ts'
import { app, calls, gated, open, type workflows, world } from './worker.ts'

/** The app itself, as if it were far away. */
const overHttp: Fetch = async (url, init) => await app.fetch(new Request(url, init as RequestInit), env) as Awaited<ReturnType<Fetch>>
const client = remote<typeof workflows>({ url: 'http://localhost/', fetch: overHttp })
const unique = (): string => crypto.randomUUID()

async function error(promise: Promise<unknown>): Promise<StepwellError> {
  const thrown: unknown = await promise.then(() => undefined, (e: unknown) => e)
  if (!isStepwellError(thrown)) throw new Error(`expected an error of stepwell, got ${String(thrown)}`, { cause: thrown })
  return thrown
}

test('the one client interface works over HTTP, typed from the workflows alone', async () => {
  const run = await client.start('add', { a: 1, b: 2 })
  expect(run.created).toBe(true)
  const sum: number = await run.result()
  expect(sum).toBe(3)
  expect(await run.status()).toMatchObject({ id: run.id, workflow: 'add', status: 'completed', input: { a: 1, b: 2 }, output: 3 })
  // @ts-expect-error there is no such workflow
  await error(client.start('nope', {}))
  // @ts-expect-error the input is another
  await error(client.start('add', { a: 'x' }))
  const page = await run.journal({ limit: 2, reveal: true })
  expect(page.items.map((item) => [item.seq, item.kind])).toEqual([[1, 'run_started'], [2, 'step_completed']])
  expect(page.next).toBe(2)
  expect((await run.journal({ after: 2 })).next).toBeUndefined()
  const lines: string[] = []
  for await (const line of run.export()) lines.push(line)
  expect(lines).toHaveLength(6)
  expect(JSON.parse(lines.at(-1)!)).toEqual({ end: true, entries: 4 })
})

test('G23: a start with a token is idempotent over HTTP, also with a token that no header can carry', async () => {
  for (const token of [unique(), `${unique()} mit Umläuten`, ` ${unique()} `]) {
    const first = await client.start('add', { a: 1, b: 2 }, { token })
    const second = await client.start('add', { a: 1, b: 2 }, { token })
    expect([first.created, second.created, second.id]).toEqual([true, false, first.id])
    expect(await error(client.start('add', { a: 1, b: 3 }, { token }))).toMatchObject({ code: 'input_mismatch', kind: 'conflict' })
  }
})

test('every value of the codec goes there and back', async () => {
  const value = {
    date: new Date(1e12), map: new Map<unknown, unknown>([[1n, new Set(['x'])]]), bytes: new Uint8Array([1, 2, 255]), floats: new Float64Array([1.5, -0]),
    big: -(2n ** 70n), none: undefined, nan: NaN, minusZero: -0, $: ['date', 1], nested: { $: { $: 1 } }, list: [undefined, null, Infinity], text: 'ü\ud800',
    buffer: new Uint8Array([9]).buffer, error: new RangeError('far'),
  }
  const run = await client.start('echo', value)
  expect(await run.result()).toEqual(value)
  expect((await run.status()).input).toEqual(value)
})

test('what the host refuses is thrown with the host\'s own code, and nothing is written', async () => {
  const id = unique()
  expect(await error(client.start('strict', { email: 'x' }, { id }))).toMatchObject({ code: 'input_invalid', kind: 'usage', retryable: false, details: { count: 1 } })
  expect(await error(client.start('add', { a: 1, b: 2 }, { id: 'a b' }))).toMatchObject({ code: 'invalid_id' })
  expect(await error(client.get('add', id).status())).toMatchObject({ code: 'run_not_found', details: { runId: id } })
  expect(await error(client.get('add', id).result())).toMatchObject({ code: 'run_not_found' })
  expect(await error(client.get('add', 'a/b?c').status())).toMatchObject({ code: 'invalid_id' })
  expect(await error(client.get('gated', id).signal('x' as never, 1 as never))).toMatchObject({ code: 'run_not_found' })
  expect(await error(client.start('echo', () => 1, { id }))).toMatchObject({ code: 'not_serializable', details: { path: '$.input' } })
  const allowed = world.authorize
  world.authorize = () => false
  expect(await error(client.start('add', { a: 1, b: 2 }, { id }))).toMatchObject({ code: 'forbidden' })
  world.authorize = allowed
  expect(await stored(id)).toEqual(nothing)
})

test('a failed run throws its own error, and a cancelled one says so', async () => {
  expect(await error((await client.start('failing', 1)).result())).toMatchObject({ code: 'step_failed', kind: 'permanent', cause: { message: 'no tea' } })
  const run = await client.start('sleepy', { ms: 3_600_000 })
  await hasStatus(run, 'waiting')
  expect(await run.cancel({ reason: 'over' })).toEqual({ outcome: 'cancelled', status: 'cancelled' })
  expect(await run.cancel()).toEqual({ outcome: 'ended', status: 'cancelled' })
  expect(await error(run.result())).toMatchObject({ code: 'cancelled' })
})

test('result waits on the host, up to its timeout, and a definition works as well as a name', async () => {
  const run = await client.start(gated, {})
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  expect(await error(run.result({ timeout: 50 }))).toMatchObject({ code: 'wait_timeout' })
  const waiting = client.get(gated, run.id).result()
  open(run.id, new Date(7))
  expect(await waiting).toEqual(new Date(7))
})

test('G27: blobs go up from bytes, a Blob and a stream', async () => {
  const id = unique()
  const bytes = new Uint8Array(150_000).map((_, i) => (i >> 8) ^ i)
  const progress: (number | undefined)[][] = []
  const ref = await client.putBlob(id, bytes, { progress: (done, of) => progress.push([done, of]) })
  expect(ref).toMatchObject({ size: 150_000 })
  expect(progress.at(-1)).toEqual([150_000, 150_000])
  async function* parts(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 70_000)
    yield bytes.subarray(70_000)
  }
  expect(await client.putBlob(id, new Blob([bytes]))).toEqual(ref)
  expect(await client.putBlob(id, parts())).toEqual(ref)
  const run = await client.start('echo', { file: ref }, { id })
  expect(await run.result()).toEqual({ file: ref })
})
