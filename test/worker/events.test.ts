// G18: events on the edge host: from the object's database, over calls, over HTTP, and as Server-Sent Events.

import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import type { RunEvent } from '../../src/client.ts'
import { type Fetch, remote } from '../../src/client/remote.ts'
import { isStepwellError } from '../../src/index.ts'
import { eventCases } from '../contract/events.contract.ts'
import { inRun, until } from './objects.ts'
import { onSqlite } from './on-sqlite.ts'
import { app, calls, open, well, type workflows } from './worker.ts'

onSqlite('events', eventCases)

const client = well.client(env)
/** As the platform's: a request that is aborted is answered at once. */
const overHttp: Fetch = async (url, init) => {
  const { signal, ...rest } = init as RequestInit
  const aborted = new Promise<never>((_, reject) => { signal?.addEventListener('abort', () => reject(signal.reason as Error)) })
  return await Promise.race([app.fetch(new Request(url, rest), env), aborted]) as Awaited<ReturnType<Fetch>>
}
const far = remote<typeof workflows>({ url: 'http://localhost/', fetch: overHttp })
const atTheGate = (id: string, times = 1): Promise<boolean> => until('the step runs', async () => calls(id, 'gate') >= times)
const get = async (id: string, query = '', headers: Record<string, string> = {}): Promise<Response> => app.fetch(new Request(`http://localhost/v1/runs/${id}/events${query}`, { headers }), env)

async function numbers(events: AsyncIterable<RunEvent>, upTo = Infinity): Promise<readonly number[]> {
  const found: number[] = []
  for await (const { number } of events) {
    found.push(number)
    if (number >= upTo) break
  }
  return found
}

/** Messages of a stream, as an EventSource understands them. */
class Source {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder()
  #text = ''
  comments = 0

  constructor(response: Response) {
    this.#reader = (response.body as ReadableStream<Uint8Array>).getReader()
  }

  /** Undefined: the stream is closed. */
  async next(): Promise<{ readonly id?: string; readonly event?: string; readonly data: any } | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end >= 0) {
        const fields = this.#text.slice(0, end).split('\n').map((line): [string, string] => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
        this.#text = this.#text.slice(end + 2)
        if (fields[0]?.[0] === '') this.comments++
        else {
          const { data, ...rest } = Object.fromEntries(fields) as { data: string; id?: string; event?: string }
          return { ...rest, data: JSON.parse(data) as unknown }
        }
        continue
      }
      const { done, value } = await this.#reader.read()
      if (done) return undefined
      this.#text += this.#decoder.decode(value, { stream: true })
    }
  }

  async all(): Promise<readonly { readonly id?: string; readonly event?: string; readonly data: any }[]> {
    const found: { readonly id?: string; readonly event?: string; readonly data: any }[] = []
    for (let message = await this.next(); message !== undefined; message = await this.next()) found.push(message)
    return found
  }

  async leave(): Promise<void> {
    await this.#reader.cancel()
  }
}

for (const [name, of] of [['calls to the object', client], ['HTTP', far]] as const) {
  test(`G18: a follower gets what is there, then what comes, and is done when the run is; from any cursor (${name})`, async () => {
    const run = await of.start('telling', { first: 5, second: 5 })
    const following = numbers(run.events())
    const late = numbers(run.events({ after: 6 }))
    await atTheGate(run.id)
    expect(await numbers(run.events(), 6)).toEqual([1, 2, 3, 4, 5, 6])
    open(run.id, 'open')
    expect(await following).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    expect(await late).toEqual([7, 8, 9, 10, 11, 12])
    const all: RunEvent[] = []
    for await (const event of run.events({ after: 5 })) all.push(event)
    expect(all.slice(0, 3).map(({ at: _, ...event }) => event)).toEqual([
      { number: 6, type: 'at the gate', data: undefined, key: 'gate', attempt: 1 }, { number: 7, type: 'through', data: 'open', key: 'gate', attempt: 1 },
      { number: 8, type: 'told', data: { i: 6 } },
    ])
  })

  test(`G18: who stops listening is answered at once, and an unknown run is an error (${name})`, async () => {
    const run = await of.start('telling', { first: 1, second: 1 })
    await atTheGate(run.id)
    const controller = new AbortController()
    const reason = new Error('enough')
    const waiting = numbers(run.events({ after: 2, abortSignal: controller.signal }))
    setTimeout(() => controller.abort(reason), 20)
    await expect(waiting).rejects.toThrow(reason)
    open(run.id)
    await run.result()
    await expect(numbers(of.get('telling', crypto.randomUUID()).events())).rejects.toMatchObject({ code: 'run_not_found' })
    expect(() => run.events({ after: 'x' as never })).toThrow(/numbers/)
  })

  test(`G18: the object is dropped between 5 events and 5 more: a follower gets all of them, each once (${name}, B-005)`, async () => {
    const run = await of.start('telling', { first: 5, second: 5 })
    const following = numbers(run.events())
    await atTheGate(run.id)
    await inRun(run.id, ({ state }) => { state.abort('Durable Object reset because its code was updated.') }).catch(() => {})
    await atTheGate(run.id, 2)
    open(run.id)
    // The step has begun twice, and said so twice.
    expect(await following).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13])
    const own: unknown[] = []
    for await (const { key, data } of run.events()) if (key === undefined) own.push((data as { i: number }).i)
    expect(own).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  test(`G18: a cursor whose next event is not kept any more throws the gap (${name}, B-006)`, async () => {
    const run = await of.start('telling', { first: 30, second: 0 })
    open(run.id)
    await run.result()
    const error: unknown = await numbers(run.events()).catch((thrown: unknown) => thrown)
    if (!isStepwellError(error, 'event_gap')) throw error
    expect(error.details).toEqual({ after: 0, oldest: 13, last: 32 })
    expect((await numbers(run.events({ after: Number(error.details?.['oldest']) - 1 }))).length).toBe(20)
  })
}

test('G18: pages over HTTP: what is there, a cursor, and a wait that ends with the next event', async () => {
  const run = await client.start('telling', { first: 2, second: 1 })
  await atTheGate(run.id)
  await until('the step has told', async () => (await (await get(run.id)).json<{ next: number }>()).next === 3)
  const page = await get(run.id, '?after=1&limit=1')
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'application/json'])
  expect(await page.json()).toEqual({ items: [{ number: 2, type: 'told', data: { i: 2 }, at: expect.any(Number) as number }], next: 2, isOver: false })
  expect(await (await get(run.id, '?after=3')).json()).toEqual({ items: [], next: 3, isOver: false })
  const waiting = get(run.id, '?after=3&wait=30')
  open(run.id, new Date(7))
  expect(await (await waiting).json()).toMatchObject({ items: [{ number: 4, type: 'through', data: '1970-01-01T00:00:00.007Z' }], approximated: ['items[0].data'] })
  await run.result()
  expect(await (await get(run.id, '?after=4')).json()).toMatchObject({ items: [{ number: 5 }], isOver: true })
})

test('G18: Server-Sent Events: from the beginning, as they come, to the end', async () => {
  const run = await client.start('telling', { first: 2, second: 1 })
  await atTheGate(run.id)
  const response = await get(run.id, '', { accept: 'text/event-stream' })
  expect([response.status, response.headers.get('content-type'), response.headers.get('cache-control')]).toEqual([200, 'text/event-stream', 'no-store'])
  const source = new Source(response)
  expect(await source.next()).toEqual({ id: '1', event: 'told', data: { number: 1, type: 'told', data: { i: 1 }, at: expect.any(Number) as number } })
  expect(await source.next()).toMatchObject({ id: '2', event: 'told' })
  expect(await source.next()).toMatchObject({ id: '3', event: 'at the gate', data: { key: 'gate', attempt: 1 } })
  open(run.id)
  expect((await source.all()).map(({ id, event }) => [id, event])).toEqual([['4', 'through'], ['5', 'told'], [undefined, 'stepwell.end']])
})

test('G18: Last-Event-ID takes the stream up again behind it, whatever `after` says, and after the end as well', async () => {
  const run = await client.start('telling', { first: 3, second: 2 })
  await atTheGate(run.id)
  const first = new Source(await get(run.id, '', { accept: 'text/event-stream' }))
  await first.next()
  const last = (await first.next())?.id as string
  await first.leave()
  const second = new Source(await get(run.id, '?after=0', { accept: 'text/event-stream', 'last-event-id': last }))
  expect((await second.next())?.id).toBe('3')
  open(run.id)
  expect((await second.all()).map(({ id }) => id)).toEqual(['4', '5', '6', '7', undefined])
  const third = new Source(await get(run.id, '?after=1', { accept: 'text/event-stream', 'last-event-id': '7' }))
  expect(await third.all()).toEqual([{ event: 'stepwell.end', data: { after: 7 } }])
})

test('G18: a gap is a problem document before the first event, and the last message of a stream after it', async () => {
  const run = await client.start('telling', { first: 30, second: 61 })
  await atTheGate(run.id)
  await until('the step has told', async () => (await (await get(run.id, '?after=30')).json<{ next: number }>()).next === 31)
  for (const headers of [{ accept: 'text/event-stream' }, { accept: 'application/json' }]) {
    const refused = await get(run.id, '', headers)
    expect([refused.status, refused.headers.get('content-type')]).toEqual([410, 'application/problem+json'])
    expect(await refused.json()).toMatchObject({ code: 'event_gap', kind: 'conflict', details: { after: 0 } })
  }
  const source = new Source(await get(run.id, '?after=30', { accept: 'text/event-stream' }))
  expect((await source.next())?.id).toBe('31')
  // Whoever reads too slowly: what comes next is gone before it is asked for.
  open(run.id)
  await run.result()
  const rest = await source.all()
  expect(rest.length).toBeLessThanOrEqual(2)
  expect(rest.at(-1)).toMatchObject({ event: 'stepwell.error', data: { code: 'event_gap', status: 410, details: { oldest: 74, last: 93 } } })
})

test('G18: a reader that goes away ends the loop', async () => {
  const run = await client.start('telling', { first: 1, second: 0 })
  await atTheGate(run.id)
  const source = new Source(await get(run.id, '?after=2', { accept: 'text/event-stream' }))
  await source.leave()
  expect(await source.next()).toBeUndefined()
  open(run.id)
  await run.result()
})
