import { runInDurableObject } from 'cloudflare:test'
import { env, exports, withExports } from 'cloudflare:workers'
import { expect, test, vi } from 'vitest'
import { BlobRef, type Client, isStepwellError, StepwellError } from '../../src/index.ts'
import { PROTOCOL, type RunRpc } from '../../worker/rpc.ts'
import { hasStatus, inRun, nothing, stored, until } from './objects.ts'
import { add, calls, open, setups, small, well, type workflows, world } from './worker.ts'

const client = well.client({})
const unique = (): string => crypto.randomUUID()

async function error(promise: Promise<unknown>): Promise<StepwellError> {
  const thrown: unknown = await promise.then(() => undefined, (e: unknown) => e)
  if (!isStepwellError(thrown)) throw new Error(`expected an error of stepwell, got ${String(thrown)}`, { cause: thrown })
  return thrown
}

test('a run is started by name or by definition, and its result is typed and there', async () => {
  const run = await client.start('add', { a: 1, b: 2 })
  const sum: number = await run.result()
  expect(sum).toBe(3)
  expect(run.created).toBe(true)
  expect(await (await client.start(add, { a: 2, b: 2 })).result()).toBe(4)
  const again = client.get('add', run.id)
  expect(again.created).toBeUndefined()
  expect(await again.result()).toBe(3)
  expect(await again.status()).toMatchObject({
    id: run.id, workflow: 'add', version: 1, status: 'completed', generation: 1, authority: { host: 'edge' },
    input: { a: 1, b: 2 }, output: 3, counts: { entries: 4, messages: 0 }, waitingFor: [],
  })
})

test('G23: a start with a token is idempotent, and another input for it is an error', async () => {
  const token = unique()
  const first = await client.start('add', { a: 1, b: 2 }, { token })
  const second = await client.start('add', { b: 2, a: 1 }, { token })
  expect([first.created, second.created]).toEqual([true, false])
  expect(second.id).toBe(first.id)
  await first.result()
  const before = await stored(first.id)
  expect(await error(client.start('add', { a: 1, b: 3 }, { token }))).toMatchObject({ code: 'input_mismatch', kind: 'conflict' })
  expect(await error(client.start('echo', { a: 1, b: 2 }, { id: first.id }))).toMatchObject({ code: 'input_mismatch' })
  expect(await stored(first.id)).toEqual(before)
  // A finished id is never silently used again.
  const third = await client.start('add', { a: 1, b: 2 }, { id: first.id })
  expect([third.created, await third.result(), calls(first.id, 'first')]).toEqual([false, 3, 1])
})

test('G23: of many starts at once with one token, one creates the run', async () => {
  const token = unique()
  const runs = await Promise.all(Array.from({ length: 12 }, () => client.start('add', { a: 3, b: 4 }, { token })))
  expect(runs.filter((run) => run.created === true)).toHaveLength(1)
  expect(new Set(runs.map((run) => run.id)).size).toBe(1)
  expect(await Promise.all(runs.map((run) => run.result()))).toEqual(runs.map(() => 7))
  expect(calls(runs[0]!.id, 'second')).toBe(1)
})

test.for<[string, (c: Client<(typeof workflows)[number]>, id: string) => Promise<unknown>, string]>([
  ['a workflow that is not there', (c, id) => c.start('nope' as 'add', { a: 1, b: 2 }, { id }), 'not_registered'],
  ['an id that is none', (c) => c.start('add', { a: 1, b: 2 }, { id: 'a/b' }), 'invalid_id'],
  ['an empty token', (c) => c.start('add', { a: 1, b: 2 }, { token: '' }), 'invalid_token'],
  ['an input that the schema refuses', (c, id) => c.start('strict', { email: 'no' }, { id }), 'input_invalid'],
  ['an input that can\'t be stored', (c, id) => c.start('echo', { f: () => 1 }, { id }), 'not_serializable'],
  ['too many tags', (c, id) => c.start('add', { a: 1, b: 2 }, { id, tags: Array.from({ length: 17 }, String) }), 'limit_exceeded'],
  ['a tag that is no text', (c, id) => c.start('add', { a: 1, b: 2 }, { id, tags: [1 as unknown as string] }), 'invalid_argument'],
  ['metadata that is no text', (c, id) => c.start('add', { a: 1, b: 2 }, { id, metadata: { n: 1 as unknown as string } }), 'invalid_argument'],
  ['a delay that is none', (c, id) => c.start('add', { a: 1, b: 2 }, { id, delay: 'soon' as '1 day' }), 'invalid_duration'],
  ['a location that is none', (c, id) => c.start('add', { a: 1, b: 2 }, { id, locationHint: 'Mars!' }), 'invalid_argument'],
  ['a jurisdiction that is none', (c, id) => c.start('add', { a: 1, b: 2 }, { id, jurisdiction: '' }), 'invalid_argument'],
  ['the status of an unknown run', (c, id) => c.get('add', id).status(), 'run_not_found'],
  ['the result of an unknown run', (c, id) => c.get('add', id).result(), 'run_not_found'],
  ['the journal of an unknown run', (c, id) => c.get('add', id).journal(), 'run_not_found'],
  ['the cancel of an unknown run', (c, id) => c.get('add', id).cancel(), 'run_not_found'],
  ['the export of an unknown run', async (c, id) => { for await (const line of c.get('add', id).export()) void line }, 'run_not_found'],
  ['a handle with an id that is none', async (c) => c.get('add', '').status(), 'invalid_id'],
  ['a signal to an unknown run', (c, id) => c.get('add', id).signal('x' as never, 1 as never), 'run_not_found'],
])('G28, G29: %s is a typed error and writes nothing', async ([, run, code]) => {
  const id = unique()
  expect((await error(run(client, id))).code).toBe(code)
  expect(await stored(id)).toEqual(nothing)
})

test('G25: pages of a journal have a limit, and bad cursors are errors', async () => {
  const run = await client.start('many', { n: 25 })
  await run.result()
  const seqs: number[] = []
  for (let after: number | undefined = 0; after !== undefined;) {
    const page = await run.journal({ after, limit: 10 })
    seqs.push(...page.items.map((item) => item.seq))
    after = page.next
  }
  expect(seqs).toEqual(Array.from({ length: 27 }, (_, i) => i + 1))
  expect((await run.journal({ limit: 1000 })).items).toHaveLength(27)
  expect(await error(run.journal({ limit: 1001 }))).toMatchObject({ code: 'limit_exceeded', details: { measured: 1001, allowed: 1000 } })
  expect((await error(run.journal({ limit: 0 }))).code).toBe('limit_exceeded')
  expect((await error(run.journal({ after: -1 }))).code).toBe('invalid_argument')
  expect((await run.journal()).items.some((item) => 'payload' in item)).toBe(false)
  expect((await run.journal({ after: 1, limit: 1, reveal: true })).items[0]).toMatchObject({ kind: 'step_completed', key: 'add', payload: 0 })
})

test('G26: values reach a run and come back as they were', async () => {
  const value = {
    date: new Date(1e12), map: new Map<unknown, unknown>([[1n, new Set(['x'])]]), bytes: new Uint8Array([1, 2, 255]), floats: new Float64Array([1.5, -0]),
    big: 2n ** 70n, none: undefined, nan: NaN, minusZero: -0, infinite: -Infinity, $: ['date', 1], nested: { $: { $: 1 } },
    ['__proto__']: 'own', blob: new BlobRef('ab'.repeat(32), 3, 1024),
  }
  const run = await client.start('echo', value)
  expect(await run.result()).toEqual(value)
  expect((await run.status()).input).toEqual(value)
  const failed = await client.start('echo', new Error('as a value', { cause: new TypeError('why') }))
  expect(await failed.result()).toMatchObject({ message: 'as a value', cause: { name: 'TypeError' } })
})

test('G27: a value larger than one call may carry reaches the run in pieces', async () => {
  const bytes = new Uint8Array(7_000_000).map((_, i) => i % 251)
  const run = await client.start('echo', bytes)
  expect(Buffer.compare(await run.result() as Uint8Array, bytes)).toBe(0)
}, 60_000)

test('a run that fails throws its own error from result', async () => {
  const run = await client.start('failing', null)
  expect(await error(run.result())).toMatchObject({ code: 'step_failed', cause: { message: 'no tea' } })
  expect(await run.status()).toMatchObject({ status: 'failed', error: { code: 'step_failed' } })
})

test('result waits as long as it is told to, and stops waiting when it is aborted', async () => {
  const run = await client.start('gated', {})
  expect(await error(run.result({ timeout: 30 }))).toMatchObject({ code: 'wait_timeout', details: { status: 'running' } })
  const controller = new AbortController()
  const waiting = run.result({ abortSignal: controller.signal })
  controller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  await expect(run.result({ abortSignal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before')
  open(run.id, 'value')
  expect(await run.result()).toBe('value')
})

test('status shows the steps that run right now and their progress', async () => {
  const run = await client.start('gated', {})
  const steps = await until('the step runs', async () => (await run.status()).steps?.find((step) => step.progress !== undefined))
  expect(steps).toMatchObject({ key: 'gate', attempt: 1, progress: { done: 1, of: 2 } })
  open(run.id)
  await run.result()
  expect((await run.status()).steps).toBeUndefined()
})

test('a delayed start is not driven before its time', async () => {
  const run = await client.start('add', { a: 1, b: 1 }, { delay: 400, tags: ['late'], metadata: { by: 'test' } })
  expect(await run.status()).toMatchObject({ status: 'queued', tags: ['late'], metadata: { by: 'test' }, counts: { entries: 1 } })
  expect(calls(run.id, 'first')).toBe(0)
  expect(await run.result()).toBe(2)
})

test('the export holds the whole run, a record a line, and says that it is complete', async () => {
  const run = await client.start('add', { a: 1, b: 2 })
  await run.result()
  const lines: { stepwell?: string; seq?: number; end?: boolean }[] = []
  for await (const line of run.export()) lines.push(JSON.parse(line) as object)
  expect(lines[0]).toMatchObject({ stepwell: 'run', runId: run.id })
  expect(lines.slice(1, -1).map((line) => line.seq)).toEqual([1, 2, 3, 4])
  expect(lines.at(-1)).toEqual({ end: true, entries: 4 })
  // Whoever stops reading early leaves nothing behind.
  for await (const line of run.export()) {
    expect(line).toContain(run.id)
    break
  }
  expect(await run.result()).toBe(3)
})

test('G27: a blob is stored before its run, in chunks, once, from bytes, a Blob and a stream', async () => {
  const id = unique()
  const bytes = new Uint8Array(300_000).map((_, i) => (i * 7 + (i >> 8)) % 251)
  const seen: [number, number | undefined][] = []
  const ref = await client.putBlob(id, bytes, { progress: (done, of) => seen.push([done, of]) })
  expect(ref).toMatchObject({ size: 300_000 })
  expect(seen.at(-1)).toEqual([300_000, 300_000])
  const before = await stored(id)
  expect(before.tables['side']).toHaveLength(Math.ceil(300_000 / ref.chunkSize) + 1)
  expect(before.alarm! - Date.now()).toBeGreaterThan(23 * 3_600_000)
  async function* parts(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 70_001) yield bytes.subarray(at, at + 70_001)
  }
  expect(await client.putBlob(id, new Blob([bytes]))).toEqual(ref)
  expect(await client.putBlob(id, parts())).toEqual(ref)
  expect(await stored(id)).toEqual(before)
  const run = await client.start('echo', { file: ref }, { id })
  expect(await run.result()).toEqual({ file: ref })
  expect((await error(client.putBlob(id, new Uint8Array([1])))).code).toBe('already_ended')
  const large = unique()
  expect(await error(small.client({}).putBlob(large, new Uint8Array(100_001)))).toMatchObject({ code: 'limit_exceeded', details: { limit: 'blobBytes' } })
  expect(await stored(large)).toEqual(nothing)
})

test('T-080: the cancel of a run that only waits ends it before it answers', async () => {
  const run = await client.start('sleepy', { ms: 3_600_000 })
  await hasStatus(run, 'waiting')
  expect(await run.cancel({ reason: 'no need' })).toEqual({ outcome: 'cancelled', status: 'cancelled' })
  expect(await error(run.result())).toMatchObject({ code: 'cancelled', message: expect.stringContaining('no need') as string })
  expect(calls(run.id, 'after')).toBe(0)
  expect((await stored(run.id)).alarm).toBeNull()
})

test('T-080: the cancel of a delayed run ends it before any of its steps', async () => {
  const run = await client.start('add', { a: 1, b: 1 }, { delay: '1 hour' })
  expect(await run.cancel()).toEqual({ outcome: 'cancelled', status: 'cancelled' })
  expect(calls(run.id, 'first')).toBe(0)
})

test('T-081, T-083: a running step is told to stop, and what it does after that is dropped', async () => {
  const run = await client.start('gated', {})
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  expect(await run.cancel()).toEqual({ outcome: 'cancelled', status: 'cancelled' })
  const deaf = await client.start('gated', { ignoresAbort: true })
  await until('the step runs', async () => calls(deaf.id, 'gate') === 1)
  expect(await deaf.cancel()).toEqual({ outcome: 'cancelled', status: 'cancelled' })
  const before = await stored(deaf.id)
  open(deaf.id, 'late')
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(await stored(deaf.id)).toEqual(before)
  expect(calls(deaf.id, 'three')).toBe(0)
})

test('T-084: cancel says what became of it, however often it is asked', async () => {
  const run = await client.start('sleepy', { ms: 3_600_000 })
  await hasStatus(run, 'waiting')
  const outcomes = await Promise.all([run.cancel(), run.cancel(), run.cancel()])
  expect(outcomes.map((each) => each.status)).toEqual(['cancelled', 'cancelled', 'cancelled'])
  expect(outcomes.filter((each) => each.outcome === 'cancelled')).toHaveLength(1)
  expect(await run.cancel()).toEqual({ outcome: 'ended', status: 'cancelled' })
  expect((await run.journal()).items.filter((item) => item.kind === 'cancel_requested')).toHaveLength(1)
  const done = await client.start('add', { a: 1, b: 1 })
  await done.result()
  const before = await stored(done.id)
  expect(await done.cancel()).toEqual({ outcome: 'ended', status: 'completed' })
  expect(await stored(done.id)).toEqual(before)
  expect((await error(done.cancel({ reason: 'x'.repeat(1025) }))).code).toBe('invalid_argument')
})

test('T-085: a run that is still cleaning up is cancelling, and cancel answers without it', async () => {
  const run = await client.start('gated', { cleansUp: true })
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  expect(await run.cancel()).toEqual({ outcome: 'requested', status: 'cancelling' })
  expect(await run.cancel()).toEqual({ outcome: 'already_requested', status: 'cancelling' })
  open(`${run.id}:clean`)
  expect((await error(run.result())).code).toBe('cancelled')
})

test('host_misconfigured: the first request says what is missing in wrangler.toml', async () => {
  const start = (name: keyof typeof setups): Promise<unknown> => setups[name].client(env as object).start('add', { a: 1, b: 2 })
  expect(await error(start('missing'))).toMatchObject({ code: 'host_misconfigured', message: expect.stringContaining('[exports.Missing]') as string })
  expect(await error(start('noBinding'))).toMatchObject({ code: 'host_misconfigured', message: expect.stringContaining('NO_RUNS') as string })
  expect(await error(start('keyValue'))).toMatchObject({ code: 'host_misconfigured', message: expect.stringContaining('sqlite') as string })
  const plain = withExports({ Run: class {} }, () => error(client.start('add', { a: 1, b: 2 }))) as Promise<StepwellError>
  expect(await plain).toMatchObject({ code: 'host_misconfigured', message: expect.stringContaining('is not configured as a Durable Object') as string })
})

test('host_misconfigured: an object that is reached by no name has no run, and writes nothing', async () => {
  const stub = exports.Run.get(exports.Run.newUniqueId())
  const { ok, error: refused } = await (stub as unknown as RunRpc).summary(PROTOCOL) as { ok: boolean; error?: unknown }
  expect(ok).toBe(false)
  expect(JSON.stringify(refused)).toContain('host_misconfigured')
  expect(await runInDurableObject(stub, (_, { storage }) => storage.sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'").toArray())).toEqual([])
})

test('a binding in env reaches the same class', async () => {
  const run = await setups.binding.client(env as object).start('add', { a: 4, b: 5 })
  expect(await run.result()).toBe(9)
  expect(await client.get('add', run.id).result()).toBe(9)
})

test('host_misconfigured: services that can\'t be made stop a start before it is written', async () => {
  const id = unique()
  world.servicesError = new Error('no key in env')
  try {
    expect(await error(client.start('add', { a: 1, b: 2 }, { id }))).toMatchObject({ code: 'host_misconfigured' })
    expect(await stored(id)).toEqual(nothing)
  } finally {
    world.servicesError = undefined
  }
})

/** A namespace that answers as the test says, and remembers how it was asked. */
function fakeNamespace(answer: (call: number) => Promise<unknown>): { asked: unknown[]; Run: object } {
  const asked: unknown[] = []
  let calls = 0
  const at = (where: object): object => ({
    getByName(name: string, options?: object) {
      asked.push({ ...where, name, ...options })
      const stub: Partial<RunRpc> = { start: () => answer(++calls) as never, summary: () => answer(++calls) as never }
      return stub
    },
    jurisdiction: (jurisdiction: string) => at({ jurisdiction }),
  })
  return { asked, Run: at({}) }
}

test('locationHint and jurisdiction are passed through, and get needs the jurisdiction again', async () => {
  const fake = fakeNamespace(async () => ({ ok: true, value: { created: true, status: 'queued' } }))
  await withExports(fake, async () => {
    const run = await client.start('add', { a: 1, b: 2 }, { id: 'x', jurisdiction: 'eu', locationHint: 'weur' })
    await run.status().catch(() => {})
    await client.get('add', 'x', { jurisdiction: 'eu' }).status().catch(() => {})
    await client.get('add', 'x').status().catch(() => {})
  })
  expect(fake.asked).toEqual([
    { name: 'x', jurisdiction: 'eu', locationHint: 'weur' }, { name: 'x', jurisdiction: 'eu', locationHint: 'weur' },
    { name: 'x', jurisdiction: 'eu' }, { name: 'x' },
  ])
  // Local workerd has none, and says so.
  expect((await error(client.start('add', { a: 1, b: 2 }, { jurisdiction: 'eu' }))).code).toBe('unsupported')
})

test('a call whose error is retryable is repeated with a new stub; one that is overloaded is not', async () => {
  const flaky = fakeNamespace(async (call) => {
    if (call < 3) throw Object.assign(new Error('lost'), { retryable: true, remote: true })
    return { ok: true, value: { created: false, status: 'queued' } }
  })
  const run = await withExports(flaky, () => client.start('add', { a: 1, b: 2 })) as { created: boolean }
  expect(flaky.asked).toHaveLength(3)
  // Its id was drawn for it, so whoever created it was an earlier try of this very start.
  expect(run.created).toBe(true)
  const full = fakeNamespace(async () => { throw Object.assign(new Error('full'), { retryable: true, overloaded: true }) })
  expect((await (withExports(full, () => error(client.start('add', { a: 1, b: 2 }))) as Promise<StepwellError>)).code).toBe('overloaded')
  expect(full.asked).toHaveLength(1)
  const gone = fakeNamespace(async () => { throw Object.assign(new Error('gone'), { retryable: true }) })
  expect((await (withExports(gone, () => error(client.start('add', { a: 1, b: 2 }))) as Promise<StepwellError>)).code).toBe('network')
  expect(gone.asked).toHaveLength(5)
  const other = fakeNamespace(async () => { throw new Error('reset') })
  expect((await (withExports(other, () => error(client.start('add', { a: 1, b: 2 }))) as Promise<StepwellError>)).code).toBe('network')
  expect(other.asked).toHaveLength(1)
})

test('a worker and an object of different protocols say so, and it passes', async () => {
  const answer = await inRun(unique(), ({ object }) => object.summary(PROTOCOL + 1))
  expect(answer).toMatchObject({ ok: false, error: { code: 'store_unavailable', retryable: true } })
})

test('Z-034: what is logged never holds a payload', async () => {
  const logged: string[] = []
  const spies = (['debug', 'info', 'log', 'warn', 'error'] as const).map((level) => vi.spyOn(console, level).mockImplementation((...args) => { logged.push(JSON.stringify(args)) }))
  try {
    const canary = 'canary-4711'
    const run = await client.start('echo', { canary })
    await run.result()
    await error(client.start('strict', { email: canary }))
    const buggy = await client.start('buggy', canary)
    await hasStatus(buggy, 'blocked')
    await buggy.cancel()
    await error((await client.start('failing', canary)).result())
    expect(logged.join('\n')).toContain('blocked (workflow_bug)')
    expect(logged.join('\n')).not.toContain(canary)
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
})
