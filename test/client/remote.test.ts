import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { type Fetch, isStepwellError, remote, type RemoteOptions } from '../../src/client/remote.ts'
import { type StepwellError, workflow } from '../../src/index.ts'

const add = workflow({ name: 'add', input: z.object({ a: z.number() }), output: z.number() }, async (_, { a }) => a)
const greet = workflow({ name: 'greet', input: z.string(), output: z.string() }, async (_, name) => `hello ${name}`)
const workflows = [add, greet] as const

interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: unknown
  readonly signal: AbortSignal | undefined
}

type Reply = { status?: number; json?: unknown; text?: string; stream?: string[] } | Error

/** A host that gives these answers, one after the other, the last one for ever. */
function scripted(replies: readonly (Reply | ((asked: Asked) => Reply | Promise<Reply>))[], options: Partial<RemoteOptions> = {}) {
  const asked: Asked[] = []
  const fetch: Fetch = async (url, { method, headers, body, signal }) => {
    const one: Asked = { method, url, headers, body: typeof body === 'string' ? JSON.parse(body) as unknown : body, signal }
    const next = replies[Math.min(asked.length, replies.length - 1)] ?? {}
    asked.push(one)
    const reply = typeof next === 'function' ? await next(one) : next
    if (reply instanceof Error) throw reply
    const response = reply.stream === undefined ? new Response(reply.text ?? JSON.stringify(reply.json ?? {}), { status: reply.status ?? 200 })
      : new Response(new ReadableStream({ start(c) { for (const part of reply.stream!) c.enqueue(new TextEncoder().encode(part)); c.close() } }))
    return response as Awaited<ReturnType<Fetch>>
  }
  const client = remote<typeof workflows>({ url: 'https://host.example/base/', fetch, retry: { delayMs: 1 }, ...options })
  return { client, asked }
}

const problem = (status: number, code: string, more: object = {}): Reply => ({ status, json: { code, status, detail: `it is ${code}`, ...more } })

async function error(promise: Promise<unknown>): Promise<StepwellError> {
  const thrown: unknown = await promise.then(() => undefined, (e: unknown) => e)
  if (!isStepwellError(thrown)) throw new Error(`expected an error of stepwell, got ${String(thrown)}`, { cause: thrown })
  return thrown
}

test('requests are as docs/http.md says', async () => {
  const { client, asked } = scripted([{ status: 201, json: { id: 'x', created: true, status: 'queued' } }, { json: { status: 'completed', output: 5 } }], { headers: { authorization: 'Bearer t' } })
  const run = await client.start('add', { a: 5 }, { token: 'tok', tags: ['t'], metadata: { m: '1' }, delay: '1 second', locationHint: 'weur', jurisdiction: 'eu' })
  expect(await run.result()).toBe(5)
  expect(asked[0]).toMatchObject({
    method: 'POST', url: 'https://host.example/base/v1/workflows/add/runs',
    headers: { 'content-type': 'application/vnd.stepwell.v1+json', accept: 'application/vnd.stepwell.v1+json', 'idempotency-key': 'tok', authorization: 'Bearer t' },
    body: { input: { a: 5 }, tags: ['t'], metadata: { m: '1' }, delay: '1 second', locationHint: 'weur', jurisdiction: 'eu' },
  })
  // The run is of a jurisdiction, so its handle asks there.
  expect(asked[1]).toMatchObject({ method: 'GET', url: 'https://host.example/base/v1/runs/x/result?wait=30&jurisdiction=eu' })
  expect(asked[1]!.headers).not.toHaveProperty('content-type')
})

test('headers can be made for each request', async () => {
  let n = 0
  const { client, asked } = scripted([{ json: { id: 'x' } }], { headers: async () => ({ 'x-n': String(++n) }) })
  await client.get('add', 'x').status()
  await client.get(greet, 'x').status()
  expect(asked.map((each) => each.headers['x-n'])).toEqual(['1', '2'])
})

describe('retries', () => {
  test('G23: a start that got no answer is sent again with the same id, so it finds its own run', async () => {
    const { client, asked } = scripted([new TypeError('fetch failed'), problem(503, 'overloaded'), { status: 200, json: { id: 'theirs', created: false } }])
    const run = await client.start('add', { a: 1 })
    const ids = asked.map((each) => (each.body as { id: string }).id)
    expect(new Set(ids).size).toBe(1)
    expect(ids[0]).toMatch(/^r-[0-9a-f]{32}$/)
    // Nobody else can have had an id that was drawn here: this start created it, in a try that was not heard of.
    expect(run.created).toBe(true)
  })

  test('a start with a token or an id of its own sends that, and says who created the run', async () => {
    const { client, asked } = scripted([new TypeError('fetch failed'), { json: { id: 'mine', created: false } }])
    expect((await client.start('add', { a: 1 }, { id: 'mine' })).created).toBe(false)
    expect(asked.map((each) => each.body)).toEqual([{ id: 'mine', input: { a: 1 } }, { id: 'mine', input: { a: 1 } }])
  })

  test('they end with network, and its cause', async () => {
    const { client, asked } = scripted([new TypeError('no route')])
    const failed = await error(client.get('add', 'x').status())
    expect(failed).toMatchObject({ code: 'network', kind: 'transient', retryable: true, cause: { message: 'no route' } })
    expect(isStepwellError(failed, 'network')).toBe(true)
    expect(asked).toHaveLength(5)
    const once = scripted([new TypeError('no route')], { retry: { limit: 0 } })
    await error(once.client.get('add', 'x').status())
    expect(once.asked).toHaveLength(1)
  })

  test.for([502, 503, 504, 429])('a %d from something on the way is tried again', async (status) => {
    const { client, asked } = scripted([{ status, text: '<html>bad gateway</html>' }, { json: { id: 'x' } }])
    await client.get('add', 'x').status()
    expect(asked).toHaveLength(2)
  })

  test.for([
    [400, 'invalid_argument'], [403, 'forbidden'], [404, 'run_not_found'], [409, 'input_mismatch'], [413, 'body_too_large'], [422, 'input_invalid'], [500, 'internal'],
  ] as const)('%d %s is not', async ([status, code]) => {
    const { client, asked } = scripted([problem(status, code, { details: { a: 1 } })])
    expect(await error(client.start('add', { a: 1 }))).toMatchObject({ code, message: `it is ${code}`, details: { a: 1 } })
    expect(asked).toHaveLength(1)
  })

  test('what is no problem document is internal, without its text', async () => {
    for (const text of ['<html>secret</html>', 'null', '{"code":"nonsense"}', '{"code":7}', '']) {
      const { client } = scripted([{ status: 500, text }])
      const failed = await error(client.get('add', 'x').status())
      expect(failed).toMatchObject({ code: 'internal', details: { status: 500 } })
      expect(failed.message).not.toContain('secret')
    }
  })

  test('a success that is no JSON is an error of the network, as from a captive portal', async () => {
    const { client } = scripted([{ status: 200, text: '<html>log in</html>' }], { retry: { limit: 0 } })
    expect(await error(client.get('add', 'x').status())).toMatchObject({ code: 'network' })
  })

  test('an input that can\'t be sent asks for nothing', async () => {
    const { client, asked } = scripted([{}])
    expect(await error(client.start('add', { a: Symbol('x') as never }))).toMatchObject({ code: 'not_serializable', details: { path: '$.input.a' } })
    expect(asked).toHaveLength(0)
  })
})

/** A host on a virtual clock, on which each answer takes its time; and when it was asked for how long. */
function timed(answer: (nth: number, waitMs: number) => { readonly ms: number; readonly json: unknown }) {
  const asked: { readonly at: number; readonly waitMs: number }[] = []
  const fetch: Fetch = async (url, { signal }) => {
    const waitMs = Number(new URL(url).searchParams.get('wait')) * 1000
    asked.push({ at: performance.now() - start, waitMs })
    if (asked.length > 1000) throw new Error('it spins')
    const { ms, json } = answer(asked.length, waitMs)
    if (ms > 0) {
      await new Promise<void>((resolve, reject) => {
        setTimeout(resolve, ms)
        signal?.addEventListener('abort', () => reject(signal.reason as Error))
      })
    }
    return { status: 202, body: null, text: async () => JSON.stringify(json) }
  }
  const start = performance.now()
  return { run: remote<typeof workflows>({ url: 'https://host.example', fetch }).get('add', 'x'), asked }
}

describe('result', () => {
  beforeEach(() => { vi.useFakeTimers() })
  afterEach(() => { vi.useRealTimers() })
  const running = { status: 'running' }

  test('asks again until the run has ended', async () => {
    const { run, asked } = timed((nth, ms) => nth < 3 ? { ms, json: running } : { ms: 5, json: { status: 'completed', output: 7 } })
    const end = run.result()
    await vi.runAllTimersAsync()
    expect(await end).toBe(7)
    expect(asked).toEqual([{ at: 0, waitMs: 30_000 }, { at: 30_000, waitMs: 30_000 }, { at: 60_000, waitMs: 30_000 }])
  })

  test('waits no longer than its timeout, and no shorter', async () => {
    const { run, asked } = timed((_, ms) => ({ ms, json: { status: 'waiting' } }))
    const end = error(run.result({ timeout: '70 seconds' }))
    await vi.runAllTimersAsync()
    expect(await end).toMatchObject({ code: 'wait_timeout', details: { status: 'waiting' } })
    expect(asked.map(({ waitMs }) => waitMs)).toEqual([30_000, 30_000, 10_000])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('asks ever more rarely when something on the way answers at once, and gives up no earlier for it', async () => {
    const { run, asked } = timed(() => ({ ms: 0, json: running }))
    let end: unknown
    void run.result({ timeout: '60 seconds' }).catch((thrown: unknown) => { end = thrown })
    await vi.advanceTimersByTimeAsync(59_999)
    expect(end).toBe(undefined)
    expect(asked.map(({ at }) => at)).toEqual([0, 250, 750, 1750, 3750, 7750, 15_750, 25_750, 35_750, 45_750, 55_750])
    await vi.advanceTimersByTimeAsync(1)
    expect(end).toMatchObject({ code: 'wait_timeout' })
    expect(vi.getTimerCount()).toBe(0)
  })

  test('asks at once again when the answer took its time, also a shorter one than was asked for', async () => {
    const { run, asked } = timed((nth) => nth < 4 ? { ms: [0, 0, 9_000][nth - 1]!, json: running } : { ms: 0, json: nth < 5 ? running : { status: 'completed', output: 7 } })
    const end = run.result()
    await vi.runAllTimersAsync()
    expect(await end).toBe(7)
    expect(asked.map(({ at }) => at)).toEqual([0, 250, 750, 9750, 10_000])
  })

  test('a pause ends at once when the wait is aborted, and nothing is left of it', async () => {
    const controller = new AbortController()
    const { run, asked } = timed(() => ({ ms: 0, json: running }))
    const end = run.result({ abortSignal: controller.signal })
    const thrown = expect(end).rejects.toThrow('enough')
    await vi.advanceTimersByTimeAsync(20_000)
    expect(vi.getTimerCount()).toBe(1)
    controller.abort(new Error('enough'))
    await thrown
    expect(vi.getTimerCount()).toBe(0)
    expect(asked).toHaveLength(7)
  })

  test('the pause before a repeat of what did not arrive ends at once too', async () => {
    const controller = new AbortController()
    let sent = 0
    const client = remote<typeof workflows>({ url: '', fetch: async () => { sent++; throw new TypeError('no route') }, retry: { delayMs: 60_000 } })
    const thrown = expect(client.get('add', 'x').result({ abortSignal: controller.signal })).rejects.toThrow('enough')
    await vi.advanceTimersByTimeAsync(1000)
    expect(vi.getTimerCount()).toBe(1)
    controller.abort(new Error('enough'))
    await thrown
    expect([sent, vi.getTimerCount()]).toEqual([1, 0])
  })

  test('throws the run\'s error', async () => {
    const { client } = scripted([{ json: { status: 'failed', error: { $: ['error', { version: 1, name: 'StepwellError', message: 'm', code: 'failed', kind: 'permanent' }] } } }])
    expect(await error(client.get('add', 'x').result())).toMatchObject({ code: 'failed', kind: 'permanent', message: 'm' })
  })

  test('stops when it is aborted, with the reason, and does not try again', async () => {
    const controller = new AbortController()
    const { client, asked } = scripted([({ signal }) => new Promise((_, reject) => signal!.addEventListener('abort', () => reject(signal!.reason as Error)))])
    const waiting = client.get('add', 'x').result({ abortSignal: controller.signal })
    await Promise.resolve()
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    expect(asked).toHaveLength(1)
    await expect(client.get('add', 'x').result({ abortSignal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before')
    expect(asked).toHaveLength(1)
  })
})

test('an export is cut into lines, wherever the network cuts it', async () => {
  const text = '{"a":1}\n{"b":"ü"}\n\n{"end":true}'
  for (let size = 1; size < 8; size++) {
    const bytes = new TextEncoder().encode(text)
    const fetch: Fetch = async () => new Response(new ReadableStream({
      start(c) {
        for (let at = 0; at < bytes.length; at += size) c.enqueue(bytes.slice(at, at + size))
        c.close()
      },
    })) as Awaited<ReturnType<Fetch>>
    const lines: string[] = []
    for await (const line of remote<typeof workflows>({ url: '/', fetch }).get('add', 'x').export()) lines.push(line)
    expect(lines).toEqual(['{"a":1}', '{"b":"ü"}', '', '{"end":true}'])
  }
})

test('a blob goes as it is; one that can be read only once is not sent twice', async () => {
  const ref = { hash: 'ab'.repeat(32), size: 3, chunkSize: 49152 }
  const again = scripted([new TypeError('fetch failed'), { json: ref }])
  const bytes = new Uint8Array([1, 2, 3])
  expect(await again.client.putBlob('x', bytes)).toMatchObject(ref)
  expect(again.asked.map((each) => each.body)).toEqual([bytes, bytes])
  expect(again.asked[0]).toMatchObject({ method: 'PUT', url: 'https://host.example/base/v1/runs/x/blobs', headers: { 'content-type': 'application/octet-stream' } })
  const once = scripted([new TypeError('fetch failed')])
  async function* parts(): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  expect(await error(once.client.putBlob('x', parts()))).toMatchObject({ code: 'network' })
  expect(once.asked).toHaveLength(1)
})

test('the workflows may be a list or the names of a module, as types alone', async () => {
  const { client } = scripted([{ json: { id: 'x', created: true } }])
  const byModule = remote<{ add: typeof add; greet: typeof greet; other: number }>({ url: '' })
  const typed = async (): Promise<void> => {
    const n: number = await (await client.start('add', { a: 1 })).result()
    const text: string = await byModule.get('greet', 'x').result()
    // @ts-expect-error greet takes text
    await client.start('greet', 1)
    // @ts-expect-error there is no such workflow
    byModule.get('other', 'x')
    void [n, text]
  }
  expect(typed).toBeTypeOf('function')
})
