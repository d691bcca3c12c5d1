// The HTTP API under `/v1` (docs/http.md): reads a request, asks `authorize`, calls the run's object, and answers. Every refusal is
// a problem document, and a request that is refused has written nothing.

import { Hono, type Context } from 'hono'
import { writeBlob } from '../src/blob.ts'
import type { ControlRequest, Settlement, StartOptions } from '../src/client.ts'
import { StepwellError } from '../src/errors.ts'
import { randomId } from '../src/ids.ts'
import { within } from '../src/limits.ts'
import type { Standing } from '../src/client/handle.ts'
import type { CancelRequest } from './rpc.ts'
import { type Action, type Authorize, permit } from './authorize.ts'
import { BYTES_TYPE, mediaType, numberOf, onlyFields, readObject, readQuery, respond } from './body.ts'
import type { RunCaller } from './caller.ts'
import { BLOB_CALL_BYTES, blobSink, callRun, callStart, type EdgeReach, random } from './client.ts'
import { eventStream, STREAM_TYPE } from './event-stream.ts'
import { problem } from './problem.ts'

export interface RouteOptions<Env extends object> {
  /** What reaches the runs from a worker with this environment. */
  readonly reach: (env: Env) => EdgeReach
  /** null refuses every request. */
  readonly authorize: Authorize<Env> | null
  /** The largest body of JSON. */
  readonly bodyBytes: number
  readonly version: string
}

type Handler<Env extends object> = (c: Context<{ Bindings: Env }>) => Promise<Response>

/** The longest that one request may wait, in seconds. */
const MAX_WAIT = 60
const startFields = ['input', 'id', 'token', 'tags', 'metadata', 'delay', 'locationHint', 'jurisdiction']

export function createRoutes<Env extends object>({ reach, authorize, bodyBytes, version }: RouteOptions<Env>): Hono<{ Bindings: Env }> {
  const app = new Hono<{ Bindings: Env }>()

  const route = (method: 'GET' | 'POST' | 'PUT' | readonly ['POST', 'DELETE'], path: string, handler: Handler<Env>): void => {
    const methods = [method].flat()
    app.on(methods, path, async (c) => {
      try {
        return await handler(c)
      } catch (error) {
        return problem(error)
      }
    })
    const allow = method === 'GET' ? 'GET, HEAD' : methods.join(', ')
    app.all(path, (c) => problem(new StepwellError('method_not_allowed', `${c.req.method.slice(0, 20)} is not a method of this path`), { allow }))
  }

  /** The run of the path, when the request may do `action` with it. */
  const runOf = async (c: Context<{ Bindings: Env }>, action: Action, query: ReadonlyMap<string, string>): Promise<{ run: RunCaller; principal: string | undefined }> => {
    const run = callRun(reach(c.env), c.req.param('id') ?? '', whereOf(query))
    const principal = await permit(authorize, c.req.raw, action, { id: run.id, workflow: undefined }, c.env)
    return { run, principal }
  }

  route('GET', '/v1/healthz', async (c) => {
    readQuery(c.req.url, [])
    if (authorize === null) throw new StepwellError('forbidden', 'this API is closed: `authorize` is null')
    return respond(c.req.raw, 200, { ok: true, version })
  })

  route('POST', '/v1/workflows/:name/runs', async (c) => {
    const query = readQuery(c.req.url, ['wait'])
    const waitMs = numberOf(query, 'wait', 0, MAX_WAIT) * 1000
    const body = await readObject(c.req.raw, bodyBytes) ?? {}
    onlyFields(body, startFields)
    const options = startOptions(body, c.req.header('idempotency-key'))
    const name = c.req.param('name') ?? ''
    const run = callStart(reach(c.env), name, options)
    await permit(authorize, c.req.raw, 'start', { id: run.id, workflow: name }, c.env)
    const { created, status } = await run.start(name, body['input'], options)
    const standing: Standing = waitMs > 0 ? await run.result(waitMs) : { status }
    const base = new URL(c.req.url).pathname.replace(/\/v1\/workflows\/[^/]*\/runs$/, '')
    const { jurisdiction } = options
    return respond(c.req.raw, created ? 201 : 200, { id: run.id, created, ...standing }, {
      location: `${base}/v1/runs/${run.id}${jurisdiction === undefined ? '' : `?jurisdiction=${jurisdiction}`}`,
    })
  })

  route('GET', '/v1/runs/:id', async (c) => {
    const { run } = await runOf(c, 'read', readQuery(c.req.url, ['jurisdiction']))
    return respond(c.req.raw, 200, await run.summary())
  })

  route('GET', '/v1/runs/:id/result', async (c) => {
    const query = readQuery(c.req.url, ['wait', 'jurisdiction'])
    const waitMs = numberOf(query, 'wait', 0, MAX_WAIT) * 1000
    const { run } = await runOf(c, 'result', query)
    const standing = await run.result(waitMs)
    return respond(c.req.raw, 'output' in standing || 'error' in standing ? 200 : 202, standing)
  })

  route('GET', '/v1/runs/:id/journal', async (c) => {
    const query = readQuery(c.req.url, ['after', 'limit', 'reveal', 'jurisdiction'])
    const after = numberOf(query, 'after', 0)
    const limit = numberOf(query, 'limit', 100)
    const reveal = query.get('reveal') ?? '0'
    if (reveal !== '0' && reveal !== '1') throw new StepwellError('invalid_argument', 'query parameter reveal is 1 or 0')
    const { run } = await runOf(c, reveal === '1' ? 'reveal' : 'journal', query)
    const { items, next } = await run.journal({ after, limit, reveal: reveal === '1' })
    return respond(c.req.raw, 200, { items, ...(next === undefined ? undefined : { next }) })
  })

  route('POST', '/v1/runs/:id/cancel', async (c) => {
    const query = readQuery(c.req.url, ['jurisdiction'])
    const body = await readObject(c.req.raw, bodyBytes) ?? {}
    onlyFields(body, ['reason', 'undo'])
    if (body['undo'] !== undefined && typeof body['undo'] !== 'boolean') throw new StepwellError('invalid_argument', 'undo is true or false')
    const { run, principal } = await runOf(c, 'cancel', query)
    const request = { reason: body['reason'], undo: body['undo'], principal }
    return respond(c.req.raw, 200, await run.cancel(withoutUndefined(request) as CancelRequest))
  })

  const controls: Readonly<Record<'pause' | 'resume' | 'restart' | 'retry', readonly string[]>> = {
    pause: [], resume: [], restart: ['from', 'id'], retry: ['id'],
  }
  for (const [kind, fields] of Object.entries(controls) as [keyof typeof controls, readonly string[]][]) {
    route('POST', `/v1/runs/:id/${kind}`, async (c) => {
      const query = readQuery(c.req.url, ['jurisdiction'])
      const body = await readObject(c.req.raw, bodyBytes) ?? {}
      onlyFields(body, fields)
      const { run, principal } = await runOf(c, kind, query)
      const id = fields.includes('id') ? idOf(c, body) : undefined
      const request = withoutUndefined({ kind, from: body['from'], id }) as ControlRequest
      return respond(c.req.raw, 200, await run.control(request, principal))
    })
  }

  route(['POST', 'DELETE'], '/v1/runs/:id/signals/:name', async (c) => {
    if (c.req.method === 'DELETE') {
      const { run } = await runOf(c, 'signal', readQuery(c.req.url, ['jurisdiction']))
      return respond(c.req.raw, 200, await run.clearSignals(c.req.param('name') ?? ''))
    }
    const query = readQuery(c.req.url, ['jurisdiction'])
    const body = await readObject(c.req.raw, bodyBytes) ?? {}
    onlyFields(body, ['payload', 'id'])
    const { run, principal } = await runOf(c, 'signal', query)
    // Named here where nobody else has: a call to the object that got no answer is repeated.
    const id = idOf(c, body) ?? randomId(random)
    return respond(c.req.raw, 202, await run.signal({ name: c.req.param('name') ?? '', payload: body['payload'], id: id as string }, principal))
  })

  route('POST', '/v1/runs/:id/deferreds/:name{.+}', async (c) => {
    const query = readQuery(c.req.url, ['jurisdiction'])
    const body = await readObject(c.req.raw, bodyBytes) ?? {}
    onlyFields(body, ['token', 'value', 'error'])
    const { token, ...settlement } = body
    const { run, principal } = await runOf(c, 'settle', query)
    return respond(c.req.raw, 200, await run.settle({ id: c.req.param('name') ?? '', token: token as string, settlement: settlement as Settlement, principal }))
  })

  route('GET', '/v1/runs/:id/effects', async (c) => {
    const query = readQuery(c.req.url, ['after', 'limit', 'jurisdiction'])
    const after = numberOf(query, 'after', 0)
    const limit = numberOf(query, 'limit', 100)
    const { run } = await runOf(c, 'effects', query)
    const { items, next } = await run.effects({ after, limit })
    return respond(c.req.raw, 200, { items, ...(next === undefined ? undefined : { next }) })
  })

  route('GET', '/v1/runs/:id/events', async (c) => {
    const isStream = (c.req.header('accept') ?? '').includes(STREAM_TYPE)
    const query = readQuery(c.req.url, isStream ? ['after', 'jurisdiction'] : ['after', 'limit', 'wait', 'jurisdiction'])
    const after = numberOf(query, 'after', 0)
    const limit = numberOf(query, 'limit', 100)
    const waitMs = numberOf(query, 'wait', 0, MAX_WAIT) * 1000
    const last = isStream ? c.req.header('last-event-id') : undefined
    if (last !== undefined && !/^\d{1,15}$/.test(last)) throw new StepwellError('invalid_argument', 'the header Last-Event-ID is no number of an event')
    const { run } = await runOf(c, 'events', query)
    if (isStream) return eventStream(run, last === undefined ? after : Number(last))
    return respond(c.req.raw, 200, await run.events({ after, limit }, waitMs))
  })

  route('POST', '/v1/runs/:id/effects/:seq/resolve', async (c) => {
    const query = readQuery(c.req.url, ['jurisdiction'])
    const body = await readObject(c.req.raw, bodyBytes) ?? {}
    onlyFields(body, ['decision', 'value'])
    const text = c.req.param('seq') ?? ''
    if (!/^\d{1,15}$/.test(text)) throw new StepwellError('invalid_argument', `${JSON.stringify(text.slice(0, 80))} is no sequence number`)
    const { run, principal } = await runOf(c, 'resolve', query)
    const seq = Number(text)
    return respond(c.req.raw, 200, await run.control({ ...body, kind: 'resolve', seq } as ControlRequest, principal))
  })

  route('GET', '/v1/runs/:id/export', async (c) => {
    const { run } = await runOf(c, 'export', readQuery(c.req.url, ['jurisdiction']))
    return new Response(await run.exportRun(), { headers: { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' } })
  })

  route('PUT', '/v1/runs/:id/blobs', async (c) => {
    const query = readQuery(c.req.url, ['jurisdiction'])
    const type = mediaType(c.req.header('content-type') ?? null)
    if (type !== BYTES_TYPE) throw new StepwellError('unsupported_media_type', `a blob is sent as ${BYTES_TYPE}`)
    const { limits } = reach(c.env)
    const claimed = Number(c.req.header('content-length') ?? 0)
    if (claimed > 0) within(limits, 'blobBytes', claimed, 'the blob')
    const { run } = await runOf(c, 'start', query)
    if (c.req.raw.bodyUsed) throw new StepwellError('host_misconfigured', 'something read the body of the request before the API: let it read a clone')
    const source = c.req.raw.body as ReadableStream<Uint8Array> | null ?? new Uint8Array(0)
    const { hash, size, chunkSize } = await writeBlob(blobSink(run), { ...limits, batchBytes: BLOB_CALL_BYTES }, Date.now(), source)
    return respond(c.req.raw, 200, { hash, size, chunkSize })
  })

  // The app may be mounted below another path, and then its own `notFound` is not asked.
  app.all('/v1/*', () => problem(new StepwellError('not_found', 'there is nothing at this path')))
  app.all('/v1', () => problem(new StepwellError('not_found', 'there is nothing at this path')))
  app.onError((error) => problem(error))
  return app
}

function startOptions(body: Readonly<Record<string, unknown>>, header: string | undefined): StartOptions {
  const { input: _, token, ...rest } = body
  if (token !== undefined && header !== undefined && token !== header) {
    throw new StepwellError('invalid_token', 'the header Idempotency-Key and the field token are two different tokens')
  }
  const empty = Object.keys(rest).find((key) => rest[key] === null)
  if (empty !== undefined) throw new StepwellError('invalid_argument', `the field ${empty} is null: leave it out`)
  // The types are what the core checks, before anything is written.
  return withoutUndefined({ ...rest, token: token ?? header }) as StartOptions
}

/** The id of what is asked for: the same one again is the same request. */
function idOf(c: Context, body: Readonly<Record<string, unknown>>): unknown {
  const key = c.req.header('idempotency-key')
  const id = body['id'] ?? key
  if (key !== undefined && id !== key) throw new StepwellError('invalid_argument', 'the header Idempotency-Key and the field id are two different ids')
  return id
}

function whereOf(query: ReadonlyMap<string, string>): { readonly jurisdiction?: string } {
  const jurisdiction = query.get('jurisdiction')
  return jurisdiction === undefined ? {} : { jurisdiction }
}

function withoutUndefined(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
