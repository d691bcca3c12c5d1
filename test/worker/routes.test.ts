import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test } from 'vitest'
import { Hono } from 'hono'
import packageJson from '../../package.json'
import { fromWire, toWire } from '../../src/codec.ts'
import { ERRORS, StepwellError } from '../../src/errors.ts'
import { allowLocalhost, type Action, type AuthorizeRun } from '../../worker/index.ts'
import { hasStatus, nothing, stored, until } from './objects.ts'
import { app, BODY_BYTES, calls, open, well, world } from './worker.ts'

const WIRE = 'application/vnd.stepwell.v1+json'
const JSON_TYPE = { 'content-type': 'application/json' }
const client = well.client({})
const unique = (): string => crypto.randomUUID()
const allowAll = world.authorize

afterEach(() => { world.authorize = allowAll })

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
  readonly text: string
}

async function send(method: string, path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await app.fetch(new Request(`http://localhost${path}`, { method, ...init }), env)
  const text = await response.text()
  const type = response.headers.get('content-type') ?? ''
  const json: unknown = /^application\/(json|problem\+json|vnd\.stepwell\.v1\+json)$/.test(type) && text !== '' ? JSON.parse(text) : {}
  return { status: response.status, headers: response.headers, text, body: (type === WIRE ? fromWire(json) : json) as Record<string, unknown> }
}

const post = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  send('POST', path, { body: typeof body === 'string' ? body : JSON.stringify(body), headers: { ...JSON_TYPE, ...headers } })

/** Asserts that an answer is a problem document and nothing more. */
function expectProblem(answer: Answer, code: keyof typeof ERRORS, status: number = ERRORS[code].status): void {
  expect(answer.text).toContain(`"code":"${code}"`)
  expect(answer.headers.get('content-type')).toBe('application/problem+json')
  expect(answer.body).toMatchObject({ code, status, kind: ERRORS[code].kind, help: ERRORS[code].help, type: `urn:stepwell:error:${code}` })
  expect(answer.status).toBe(status)
  expect(typeof answer.body['title']).toBe('string')
  expect(typeof answer.body['detail']).toBe('string')
  expect(answer.text).not.toMatch(/\.ts\b|\bat \w+ \(|node_modules|sqlite/i)
}

test('GET healthz: liveness and the version of the package', async () => {
  expect(await send('GET', '/v1/healthz')).toMatchObject({ status: 200, body: { ok: true, version: packageJson.version } })
})

test('POST runs: 201 with Location for a new run, 200 for the same again, 409 for another input, 422 for what the schema refuses', async () => {
  const id = unique()
  const first = await post('/v1/workflows/add/runs', { input: { a: 1, b: 2 }, id, tags: ['t'], metadata: { m: 'x' } })
  expect(first).toMatchObject({ status: 201, body: { id, created: true } })
  expect(first.headers.get('location')).toBe(`/v1/runs/${id}`)
  const second = await post('/v1/workflows/add/runs', { input: { b: 2, a: 1 }, id })
  expect(second).toMatchObject({ status: 200, body: { id, created: false } })
  expect(second.headers.get('location')).toBe(`/v1/runs/${id}`)
  expectProblem(await post('/v1/workflows/add/runs', { input: { a: 1, b: 3 }, id }), 'input_mismatch')
  expectProblem(await post('/v1/workflows/echo/runs', { input: { a: 1, b: 2 }, id }), 'input_mismatch')
  const refused = await post('/v1/workflows/strict/runs', { input: { email: 'secret-payload' } })
  expectProblem(refused, 'input_invalid')
  expect(refused.body['details']).toMatchObject({ issues: [{ path: '$.email' }] })
  expect(refused.text).not.toContain('secret-payload')
})

test('POST runs: Idempotency-Key is the token (G23)', async () => {
  const token = unique()
  const first = await post('/v1/workflows/add/runs', { input: { a: 1, b: 2 } }, { 'idempotency-key': token })
  const second = await post('/v1/workflows/add/runs', { input: { a: 1, b: 2 }, token })
  expect([first.status, second.status, second.body['id']]).toEqual([201, 200, first.body['id']])
  expectProblem(await post('/v1/workflows/add/runs', { input: { a: 2, b: 2 } }, { 'idempotency-key': token }), 'input_mismatch')
  expectProblem(await post('/v1/workflows/add/runs', { input: {}, token: 'x' }, { 'idempotency-key': token }), 'invalid_token')
  const other = await post('/v1/workflows/echo/runs', { input: 1 }, { 'idempotency-key': token })
  expect(other.status).toBe(201)
})

test('POST runs?wait: the outcome comes with it when the run ends in time', async () => {
  expect(await post('/v1/workflows/add/runs?wait=20', { input: { a: 1, b: 2 } })).toMatchObject({ status: 201, body: { status: 'completed', output: 3 } })
  expect(await post('/v1/workflows/failing/runs?wait=20', { input: 1 })).toMatchObject({ status: 201, body: { status: 'failed', error: { code: 'step_failed' } } })
  expect(await post('/v1/workflows/gated/runs?wait=0.05', { input: {} })).toMatchObject({ status: 201, body: { status: 'running' } })
})

test('mounted below another path, the API and its Location are there', async () => {
  const started = await post('/deep/base/v1/workflows/add/runs', { input: { a: 1, b: 2 } })
  const location = started.headers.get('location')
  expect(location).toBe(`/deep/base/v1/runs/${String(started.body['id'])}`)
  expect((await send('GET', location!)).status).toBe(200)
  expectProblem(await send('GET', '/deep/base/v1/nothing'), 'not_found')
  expectProblem(await send('PATCH', location!), 'method_not_allowed')
  const other = new Hono().route('/x', well.app)
  expect((await other.fetch(new Request(`http://localhost/x/v1/runs/${String(started.body['id'])}`), env)).status).toBe(200)
})

test('GET run, result, journal, export: what there is to know about a run', async () => {
  const { body: { id } } = await post('/v1/workflows/add/runs?wait=20', { input: { a: 1, b: 2 }, tags: ['t'], metadata: { m: 'x' } })
  const path = `/v1/runs/${String(id)}`
  expect(await send('GET', path)).toMatchObject({
    status: 200,
    body: { id, workflow: 'add', version: 1, status: 'completed', generation: 1, input: { a: 1, b: 2 }, output: 3, tags: ['t'], metadata: { m: 'x' }, counts: { entries: 4 } },
  })
  expect(await send('GET', `${path}/result`)).toMatchObject({ status: 200, body: { status: 'completed', output: 3 } })
  expect(await send('GET', `${path}/result?wait=60`)).toMatchObject({ status: 200 })
  const page = await send('GET', `${path}/journal?after=1&limit=2`)
  expect(page.body).toMatchObject({ items: [{ seq: 2, kind: 'step_completed', key: 'first' }, { seq: 3 }], next: 3 })
  expect(page.text).not.toContain('"payload"')
  const last = await send('GET', `${path}/journal?after=3&reveal=1`)
  expect(last.body).toMatchObject({ items: [{ seq: 4, kind: 'run_completed', payload: 3 }] })
  expect(last.body).not.toHaveProperty('next')
  const exported = await send('GET', `${path}/export`)
  expect(exported.headers.get('content-type')).toBe('application/x-ndjson')
  expect(exported.text.trim().split('\n')).toHaveLength(6)
  expect(exported.text.endsWith('{"end":true,"entries":4}\n')).toBe(true)
  expect((await send('HEAD', path)).status).toBe(200)
})

test('GET result: 202 while the run has not ended, and it waits as long as it is told to', async () => {
  const { body: { id } } = await post('/v1/workflows/gated/runs', { input: {} })
  const path = `/v1/runs/${String(id)}/result`
  await until('the step runs', async () => calls(String(id), 'gate') === 1)
  expect(await send('GET', path)).toMatchObject({ status: 202, body: { status: 'running' } })
  const start = Date.now()
  expect((await send('GET', `${path}?wait=0.2`)).status).toBe(202)
  expect(Date.now() - start).toBeGreaterThanOrEqual(190)
  const waiting = send('GET', `${path}?wait=20`)
  open(String(id), { done: true })
  expect(await waiting).toMatchObject({ status: 200, body: { status: 'completed', output: { done: true } } })
})

test('POST cancel: 200 with the outcome word, the principal in the journal', async () => {
  const run = await client.start('sleepy', { ms: 3_600_000 })
  await hasStatus(run, 'waiting')
  expect(await post(`/v1/runs/${run.id}/cancel`, { reason: 'over' })).toMatchObject({ status: 200, body: { outcome: 'cancelled', status: 'cancelled' } })
  expect(await post(`/v1/runs/${run.id}/cancel`, {})).toMatchObject({ status: 200, body: { outcome: 'ended', status: 'cancelled' } })
  // A body is not needed.
  expect((await send('POST', `/v1/runs/${run.id}/cancel`)).status).toBe(200)
  const entries = (await run.journal({ reveal: true })).items
  expect(entries.find((entry) => entry.kind === 'cancel_requested')?.payload).toMatchObject({ reason: 'over', principal: 'test' })
  expect((await send('GET', `/v1/runs/${run.id}/result`)).body).toMatchObject({ status: 'cancelled', error: { code: 'cancelled' } })
})

test('PUT blobs: a body of any length becomes a blob, whose reference a start can carry', async () => {
  const id = unique()
  const bytes = new Uint8Array(200_000).map((_, i) => (i >> 8) ^ i)
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 33_333) controller.enqueue(bytes.slice(at, at + 33_333))
      controller.close()
    },
  })
  const octets = { 'content-type': 'application/octet-stream' }
  const put = await send('PUT', `/v1/runs/${id}/blobs`, { body: stream, headers: octets })
  expect(put).toMatchObject({ status: 200, body: { size: 200_000 } })
  const again = await send('PUT', `/v1/runs/${id}/blobs`, { body: bytes, headers: octets })
  expect(again.body).toEqual(put.body)
  const { hash, size, chunkSize } = put.body
  const started = await post('/v1/workflows/echo/runs?wait=20', JSON.stringify({ id, input: { $: ['blob', hash, size, chunkSize] } }), { 'content-type': WIRE })
  expect(started).toMatchObject({ status: 201, body: { output: { hash, size } } })
  expect(await send('PUT', `/v1/runs/${unique()}/blobs`, { headers: octets })).toMatchObject({ status: 200, body: { size: 0 } })
})

test('an empty body is none, whatever its type; a type that is not known is refused all the same', async () => {
  for (const init of [{}, { body: '', headers: JSON_TYPE }, { body: '', headers: { 'content-type': WIRE } }]) {
    const { body: { id } } = await post('/v1/workflows/add/runs', '{"input":{"a":1,"b":2}}')
    expect(await send('POST', `/v1/runs/${String(id)}/pause`, init)).toMatchObject({ status: 200 })
  }
  expectProblem(await send('POST', `/v1/runs/${unique()}/pause`, { body: '', headers: { 'content-type': 'text/plain' } }), 'unsupported_media_type')
})

test('application/json is plain: what looks like a marker of ours stays what it is', async () => {
  const input = { $: ['date', 1], nested: [{ $: { $: ['undefined'] } }], ['__proto__']: { x: 1 } }
  const { body } = await post('/v1/workflows/echo/runs?wait=20', `{"input":{"$":["date",1],"nested":[{"$":{"$":["undefined"]}}],"__proto__":{"x":1}}}`)
  expect(body['output']).toEqual(input)
  expect(body).not.toHaveProperty('approximated')
})

test('our media type carries every value, by content-type in and by accept out', async () => {
  const input = { at: new Date(5), map: new Map([['k', 1n]]), bytes: new Uint8Array([1, 2]), none: undefined, nan: NaN, $: 1 }
  const body = JSON.stringify(toWire({ input }))
  const wire = await post('/v1/workflows/echo/runs?wait=20', body, { 'content-type': WIRE })
  expect(wire.headers.get('content-type')).toBe(WIRE)
  expect(wire.body['output']).toEqual(input)
  const path = `/v1/runs/${String(wire.body['id'])}`
  expect((await send('GET', path, { headers: { accept: `text/html, ${WIRE};q=0.9` } })).body['input']).toEqual(input)
  const error = await post('/v1/workflows/failing/runs?wait=20', '{"input":1}', { accept: WIRE })
  expect(error.body['error']).toMatchObject({ code: 'step_failed', cause: { message: 'no tea' } })
})

test('as plain JSON, what JSON can\'t say is shown as the nearest, and named', async () => {
  const input = {
    at: new Date(5), map: new Map<unknown, unknown>([['k', 1n]]), set: new Set([new Date(NaN)]), bytes: new Uint8Array([1, 2, 3]), none: undefined, nan: NaN,
    minus: [-0, undefined], error: new TypeError('bad'), plain: { text: 'x', n: 1.5, list: [null, true] },
  }
  const { body: { id } } = await post('/v1/workflows/echo/runs?wait=20', JSON.stringify(toWire({ input })), { 'content-type': WIRE })
  const { body } = await send('GET', `/v1/runs/${String(id)}/result`, { headers: { accept: 'application/json' } })
  expect(body['output']).toEqual({
    at: '1970-01-01T00:00:00.005Z', map: [['k', '1']], set: [null], bytes: 'AQID', nan: null, minus: [0, null], error: { name: 'TypeError', message: 'bad' },
    plain: { text: 'x', n: 1.5, list: [null, true] },
  })
  expect(body['approximated']).toEqual([
    'output.at', 'output.map<value 0>', 'output.map', 'output.set<item 0>', 'output.set', 'output.bytes', 'output.nan', 'output.minus[0]', 'output.minus[1]', 'output.error',
  ])
})

test('as plain JSON, a field that is undefined is left out and not named: whoever reads it finds what it was', async () => {
  const input = { none: undefined, list: [{ none: undefined, n: 1 }] }
  const { body } = await post('/v1/workflows/echo/runs?wait=20', JSON.stringify(toWire({ input })), { 'content-type': WIRE, accept: 'application/json' })
  expect(body['output']).toEqual({ list: [{ n: 1 }] })
  expect(body['output']).not.toHaveProperty('none')
  expect(body).not.toHaveProperty('approximated')
  const nothing = await post('/v1/workflows/echo/runs?wait=20', JSON.stringify(toWire({ input: undefined })), { 'content-type': WIRE, accept: 'application/json' })
  expect(nothing.body).toEqual({ id: expect.any(String), created: true, status: 'completed' })
  for (const path of ['', '/result', '/journal?reveal=1', '/effects']) {
    expect((await send('GET', `/v1/runs/${String(nothing.body['id'])}${path}`, { headers: { accept: 'application/json' } })).body, path).not.toHaveProperty('approximated')
  }
})

const octets = { 'content-type': 'application/octet-stream' }
const long = 'x'.repeat(129)

/** Bad requests to every route. `:new` is an id that nothing was ever stored under, `:run` one of a run. */
const bad: readonly [what: string, code: keyof typeof ERRORS, method: string, path: string, init?: RequestInit][] = [
  ['an unknown path', 'not_found', 'GET', '/v1/nothing'],
  ['the bare prefix', 'not_found', 'GET', '/v1'],
  ['a path below a run', 'not_found', 'GET', '/v1/runs/:run/nothing'],
  ['the list, which is not there yet', 'not_found', 'GET', '/v1/runs'],
  ['a trailing slash', 'not_found', 'GET', '/v1/runs/:run/'],
  ['a write to healthz', 'method_not_allowed', 'POST', '/v1/healthz'],
  ['a read of the collection of a workflow', 'method_not_allowed', 'GET', '/v1/workflows/add/runs'],
  ['a delete of a run', 'method_not_allowed', 'DELETE', '/v1/runs/:run'],
  ['a put to a result', 'method_not_allowed', 'PUT', '/v1/runs/:run/result'],
  ['a post to a journal', 'method_not_allowed', 'POST', '/v1/runs/:run/journal'],
  ['a read of cancel', 'method_not_allowed', 'GET', '/v1/runs/:run/cancel'],
  ['a post to an export', 'method_not_allowed', 'POST', '/v1/runs/:run/export'],
  ['a post of a blob', 'method_not_allowed', 'POST', '/v1/runs/:new/blobs', { body: 'x', headers: octets }],
  ['a query that healthz does not know', 'invalid_argument', 'GET', '/v1/healthz?x=1'],

  ['a start without a body type', 'unsupported_media_type', 'POST', '/v1/workflows/add/runs', { body: new TextEncoder().encode('{"id":":new"}') }],
  ['a start in a form', 'unsupported_media_type', 'POST', '/v1/workflows/add/runs', { body: new URLSearchParams({ id: ':new' }) }],
  ['a start in plain text', 'unsupported_media_type', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new"}', headers: { 'content-type': 'text/plain' } }],
  ['a start in another version', 'unsupported_media_type', 'POST', '/v1/workflows/add/runs', { body: '{}', headers: { 'content-type': 'application/vnd.stepwell.v2+json' } }],
  ['a start that is no JSON', 'malformed_json', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new",', headers: JSON_TYPE }],
  ['a start that is no UTF-8', 'malformed_json', 'POST', '/v1/workflows/add/runs', { body: new Uint8Array([123, 34, 255, 34, 58, 49, 125]), headers: JSON_TYPE }],
  ['a start that is a list', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: '[]', headers: JSON_TYPE }],
  ['a start that is null', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: 'null', headers: JSON_TYPE }],
  ['a start that is a Date', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: '{"$":["date",1]}', headers: { 'content-type': WIRE } }],
  ['a start with a marker that is none', 'invalid_argument', 'POST', '/v1/workflows/echo/runs', { body: '{"id":":new","input":{"$":["date","x"]}}', headers: { 'content-type': WIRE } }],
  ['a start with a forged blob', 'invalid_argument', 'POST', '/v1/workflows/echo/runs', { body: '{"id":":new","input":{"$":["blob","xx",1,1]}}', headers: { 'content-type': WIRE } }],
  ['a start with an unknown field', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"inptu":1}', headers: JSON_TYPE }],
  ['a start with a query that is not known', 'invalid_argument', 'POST', '/v1/workflows/add/runs?id=:new', { body: '{}', headers: JSON_TYPE }],
  ['a start that waits for ever', 'limit_exceeded', 'POST', '/v1/workflows/add/runs?wait=61', { body: '{"id":":new","input":{"a":1,"b":2}}', headers: JSON_TYPE }],
  ['a start that waits for no number', 'invalid_argument', 'POST', '/v1/workflows/add/runs?wait=soon', { body: '{"id":":new","input":{"a":1,"b":2}}', headers: JSON_TYPE }],
  ['a start that waits twice', 'invalid_argument', 'POST', '/v1/workflows/add/runs?wait=1&wait=2', { body: '{"id":":new","input":{"a":1,"b":2}}', headers: JSON_TYPE }],
  ['a start of nothing', 'input_invalid', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new"}', headers: JSON_TYPE }],
  ['a start of an unknown workflow', 'not_registered', 'POST', '/v1/workflows/nope/runs', { body: '{"id":":new","input":1}', headers: JSON_TYPE }],
  ['a start of a property of objects', 'not_registered', 'POST', '/v1/workflows/constructor/runs', { body: '{"id":":new","input":1}', headers: JSON_TYPE }],
  ['a start with an id that is none', 'invalid_id', 'POST', '/v1/workflows/add/runs', { body: '{"id":"a b","input":{"a":1,"b":2}}', headers: JSON_TYPE }],
  ['a start with an id that is too long', 'invalid_id', 'POST', '/v1/workflows/add/runs', { body: JSON.stringify({ id: long, input: { a: 1, b: 2 } }), headers: JSON_TYPE }],
  ['a start with an id that is a number', 'invalid_id', 'POST', '/v1/workflows/add/runs', { body: '{"id":7,"input":{"a":1,"b":2}}', headers: JSON_TYPE }],
  ['a start with a token that is too long', 'invalid_token', 'POST', '/v1/workflows/add/runs', { body: '{"input":{"a":1,"b":2}}', headers: { ...JSON_TYPE, 'idempotency-key': 'x'.repeat(257) } }],
  ['a start with tags that are no list', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"tags":"x"}', headers: JSON_TYPE }],
  ['a start with too many tags', 'limit_exceeded', 'POST', '/v1/workflows/add/runs', { body: `{"id":":new","input":{"a":1,"b":2},"tags":[${'"x",'.repeat(16)}"y"]}`, headers: JSON_TYPE }],
  ['a start with metadata that is no object', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"metadata":[1]}', headers: JSON_TYPE }],
  ['a start with reserved metadata', 'reserved_name', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"metadata":{"stepwell.x":"1"}}', headers: JSON_TYPE }],
  ['a start with null for metadata', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"metadata":null}', headers: JSON_TYPE }],
  ['a start with a delay that is none', 'invalid_duration', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"delay":"soon"}', headers: JSON_TYPE }],
  ['a start with a negative delay', 'invalid_duration', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"delay":-1}', headers: JSON_TYPE }],
  ['a start in a jurisdiction that is none', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"jurisdiction":1}', headers: JSON_TYPE }],
  ['a start at a location that is none', 'invalid_argument', 'POST', '/v1/workflows/add/runs', { body: '{"id":":new","input":{"a":1,"b":2},"locationHint":"M A R S"}', headers: JSON_TYPE }],
  ['a start nested too deeply', 'limit_exceeded', 'POST', '/v1/workflows/echo/runs', { body: `{"id":":new","input":${'['.repeat(300)}${']'.repeat(300)}}`, headers: JSON_TYPE }],
  ['a body that says that it is too long', 'body_too_large', 'POST', '/v1/workflows/echo/runs', { body: JSON.stringify({ id: ':new', input: 'x'.repeat(BODY_BYTES) }), headers: JSON_TYPE }],

  ['an unknown run', 'run_not_found', 'GET', '/v1/runs/:new'],
  ['the result of an unknown run', 'run_not_found', 'GET', '/v1/runs/:new/result?wait=1'],
  ['the journal of an unknown run', 'run_not_found', 'GET', '/v1/runs/:new/journal'],
  ['the export of an unknown run', 'run_not_found', 'GET', '/v1/runs/:new/export'],
  ['the cancel of an unknown run', 'run_not_found', 'POST', '/v1/runs/:new/cancel', { body: '{}', headers: JSON_TYPE }],
  ['an id that is none', 'invalid_id', 'GET', '/v1/runs/a%2Fb'],
  ['an id with a percent sign that is no escape', 'invalid_id', 'GET', '/v1/runs/%zz'],
  ['an id that is too long', 'invalid_id', 'GET', `/v1/runs/${long}`],
  ['a query that a run does not know', 'invalid_argument', 'GET', '/v1/runs/:run?fields=id'],
  ['a jurisdiction that is none', 'invalid_argument', 'GET', '/v1/runs/:run?jurisdiction=E%20U'],
  ['a result that waits too long', 'limit_exceeded', 'GET', '/v1/runs/:run/result?wait=60.5'],
  ['a result that waits less than nothing', 'invalid_argument', 'GET', '/v1/runs/:run/result?wait=-1'],
  ['a result that waits for nothing', 'invalid_argument', 'GET', '/v1/runs/:run/result?wait='],
  ['a journal after no number', 'invalid_argument', 'GET', '/v1/runs/:run/journal?after=x'],
  ['a journal after half an entry', 'invalid_argument', 'GET', '/v1/runs/:run/journal?after=1.5'],
  ['a journal of no entries', 'limit_exceeded', 'GET', '/v1/runs/:run/journal?limit=0'],
  ['a journal page that is too long', 'limit_exceeded', 'GET', '/v1/runs/:run/journal?limit=1001'],
  ['a journal that is revealed a bit', 'invalid_argument', 'GET', '/v1/runs/:run/journal?reveal=yes'],
  ['a cancel in plain text', 'unsupported_media_type', 'POST', '/v1/runs/:run/cancel', { body: '{}', headers: { 'content-type': 'text/plain' } }],
  ['a cancel that is no JSON', 'malformed_json', 'POST', '/v1/runs/:run/cancel', { body: 'now', headers: JSON_TYPE }],
  ['a cancel with an unknown field', 'invalid_argument', 'POST', '/v1/runs/:run/cancel', { body: '{"force":true}', headers: JSON_TYPE }],
  ['a cancel whose reason is no text', 'invalid_argument', 'POST', '/v1/runs/:run/cancel', { body: '{"reason":1}', headers: JSON_TYPE }],
  ['a cancel with a long reason', 'invalid_argument', 'POST', '/v1/runs/:run/cancel', { body: JSON.stringify({ reason: 'x'.repeat(1025) }), headers: JSON_TYPE }],
  ['a cancel with a longer body', 'body_too_large', 'POST', '/v1/runs/:run/cancel', { body: JSON.stringify({ reason: 'x'.repeat(BODY_BYTES) }), headers: JSON_TYPE }],
  ['a blob without a type', 'unsupported_media_type', 'PUT', '/v1/runs/:new/blobs', { body: new Uint8Array([1]) }],
  ['a blob in JSON', 'unsupported_media_type', 'PUT', '/v1/runs/:new/blobs', { body: '{}', headers: JSON_TYPE }],
  ['a blob for an id that is none', 'invalid_id', 'PUT', '/v1/runs/a%20b/blobs', { body: 'x', headers: octets }],
  ['a blob with a query that is not known', 'invalid_argument', 'PUT', '/v1/runs/:new/blobs?name=x', { body: 'x', headers: octets }],
  ['a blob for a run that has ended', 'already_ended', 'PUT', '/v1/runs/:run/blobs', { body: 'x', headers: octets }],
  ['a blob that is too large', 'limit_exceeded', 'PUT', '/small/v1/runs/:new/blobs', { body: new Uint8Array(100_001), headers: octets }],
]

describe('G28: bad input to every route is a typed problem, and nothing is written', () => {
  const ended = client.start('add', { a: 1, b: 2 }, { id: unique() }).then(async (run) => (await run.result(), run.id))

  test.for(bad)('%s: %s', async ([, code, method, path, init]) => {
    const id = unique()
    const run = await ended
    const named = (text: string): string => text.replaceAll(':new', id).replaceAll(':run', run)
    const before = await stored(run)
    const body = typeof init?.body === 'string' ? named(init.body) : init?.body
    const answer = await send(method, named(path), { ...init, ...(body === undefined ? undefined : { body }) })
    expectProblem(answer, code)
    expect(await stored(run)).toEqual(before)
    expect(await stored(id)).toEqual(nothing)
  })
})

test('405 names the methods that there are', async () => {
  const allowed = async (method: string, path: string): Promise<string | null> => (await send(method, path)).headers.get('allow')
  expect(await allowed('DELETE', '/v1/runs/x')).toBe('GET, HEAD')
  expect(await allowed('PUT', '/v1/workflows/add/runs')).toBe('POST')
  expect(await allowed('GET', '/v1/runs/x/blobs')).toBe('PUT')
})

test('G25: a body without a length is counted while it is read, and not read to its end', async () => {
  let sent = 0
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent++
      controller.enqueue(new Uint8Array(1024).fill(32))
      if (sent > 1000) controller.close()
    },
  })
  const answer = await send('POST', '/v1/workflows/echo/runs', { body: endless, headers: JSON_TYPE })
  expectProblem(answer, 'body_too_large')
  expect(answer.body['details']).toMatchObject({ limit: 'bodyBytes', allowed: BODY_BYTES })
  expect(sent).toBeLessThan(20)
  const id = unique()
  const blob = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(60_000)) })
  expectProblem(await send('PUT', `/small/v1/runs/${id}/blobs`, { body: blob, headers: octets }), 'limit_exceeded')
  expect(await stored(id)).toEqual(nothing)
})

describe('authorize', () => {
  test('is asked before every request that reaches a run, with the word for what it does', async () => {
    const asked: [Action, AuthorizeRun][] = []
    world.authorize = (_, action, run) => (asked.push([action, run]), { allow: true, principal: 'p' })
    const id = unique()
    await post('/v1/workflows/add/runs?wait=20', { input: { a: 1, b: 2 }, id })
    for (const path of ['', '/result', '/journal', '/journal?reveal=1', '/export']) await send('GET', `/v1/runs/${id}${path}`)
    await post(`/v1/runs/${id}/cancel`, {})
    await send('PUT', `/v1/runs/${id}/blobs`, { body: 'x', headers: octets })
    expect(asked.map(([action]) => action)).toEqual(['start', 'read', 'result', 'journal', 'reveal', 'export', 'cancel', 'start'])
    expect(asked[0]![1]).toEqual({ id, workflow: 'add' })
    expect(asked[1]![1]).toEqual({ id, workflow: undefined })
  })

  const requests: [string, (id: string, run: string) => Promise<Answer>][] = [
    ['start', (id) => post('/v1/workflows/add/runs', { input: { a: 1, b: 2 }, id })],
    ['read', (_, run) => send('GET', `/v1/runs/${run}`)],
    ['result', (_, run) => send('GET', `/v1/runs/${run}/result`)],
    ['journal', (_, run) => send('GET', `/v1/runs/${run}/journal`)],
    ['reveal', (_, run) => send('GET', `/v1/runs/${run}/journal?reveal=1`)],
    ['export', (_, run) => send('GET', `/v1/runs/${run}/export`)],
    ['cancel', (_, run) => post(`/v1/runs/${run}/cancel`, {})],
    ['blob', (id) => send('PUT', `/v1/runs/${id}/blobs`, { body: 'x', headers: octets })],
  ]

  test.for(requests)('that refuses, throws or says nothing stops %s with nothing written', async ([, request]) => {
    const run = await client.start('sleepy', { ms: 3_600_000 })
    await hasStatus(run, 'waiting')
    const before = await stored(run.id)
    const answers: [keyof typeof ERRORS, typeof world.authorize][] = [
      ['forbidden', () => false], ['forbidden', async () => ({ allow: false })], ['forbidden', () => undefined as never], ['forbidden', () => true as never],
      ['unauthorized', () => { throw new StepwellError('unauthorized', 'who are you?') }],
      ['host_misconfigured', () => { throw new Error('canary-of-authorize') }], ['host_misconfigured', () => ({ allow: true, principal: 7 as never })],
    ]
    for (const [code, authorize] of answers) {
      world.authorize = authorize
      const id = unique()
      const answer = await request(id, run.id)
      expectProblem(answer, code)
      expect(answer.text).not.toContain('canary')
      expect(await stored(id)).toEqual(nothing)
    }
    expect(await stored(run.id)).toEqual(before)
  })

  test('null refuses every request', async () => {
    for (const [, request] of requests) {
      const id = unique()
      void request
      expectProblem(await send('GET', `/closed/v1/runs/${id}`), 'forbidden')
      expectProblem(await post('/closed/v1/workflows/add/runs', { input: { a: 1, b: 2 }, id }), 'forbidden')
      expect(await stored(id)).toEqual(nothing)
    }
    expectProblem(await send('GET', '/closed/v1/healthz'), 'forbidden')
  })

  test('that reads the body instead of a clone is told so', async () => {
    world.authorize = async (request) => (await request.text(), { allow: true })
    expectProblem(await send('PUT', `/v1/runs/${unique()}/blobs`, { body: 'x', headers: octets }), 'host_misconfigured')
    world.authorize = async (request) => (await request.clone().text(), { allow: true })
    expect((await send('PUT', `/v1/runs/${unique()}/blobs`, { body: 'x', headers: octets })).status).toBe(200)
  })

  const local: [string, boolean, string, string, Record<string, string>][] = [
    ['localhost', true, 'GET', 'http://localhost:8787/v1/x', {}],
    ['127.0.0.1', true, 'GET', 'http://127.0.0.1/v1/x', {}],
    ['[::1]', true, 'GET', 'http://[::1]:80/v1/x', {}],
    ['its own page', true, 'POST', 'http://localhost:8787/v1/x', { ...JSON_TYPE, origin: 'http://localhost:8787' }],
    ['our media type', true, 'POST', 'http://localhost/v1/x', { 'content-type': WIRE }],
    ['bytes', true, 'PUT', 'http://localhost/v1/x', octets],
    ['another host', false, 'GET', 'http://example.com/v1/x', {}],
    ['a name that begins so', false, 'GET', 'http://localhost.example.com/v1/x', {}],
    ['another host\'s name (DNS rebinding)', false, 'GET', 'http://localhost/v1/x', { host: 'evil.example:8787' }],
    ['a foreign page', false, 'POST', 'http://localhost:8787/v1/x', { ...JSON_TYPE, origin: 'https://evil.example' }],
    ['a page of another port', false, 'GET', 'http://localhost:8787/v1/x', { origin: 'http://localhost:3000' }],
    ['a page without an origin', false, 'GET', 'http://localhost/v1/x', { origin: 'null' }],
    ['an image on a foreign page', false, 'GET', 'http://localhost/v1/x', { 'sec-fetch-site': 'cross-site' }],
    ['a form', false, 'POST', 'http://localhost/v1/x', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['a body without a type', false, 'POST', 'http://localhost/v1/x', {}],
    ['bytes of another type', false, 'PUT', 'http://localhost/v1/x', { 'content-type': 'text/plain' }],
  ]

  test.for(local)('allowLocalhost and %s: %s', ([, allows, method, url, headers]) => {
    const answer = allowLocalhost(new Request(url, { method, headers }), 'read', { id: 'x', workflow: undefined }, {})
    expect(answer).toEqual(allows ? { allow: true, principal: 'localhost' } : false)
  })
})

test('host_misconfigured is what the first request of a wrong set-up gets', async () => {
  for (const name of ['missing', 'keyValue', 'noBinding']) {
    expectProblem2(await post(`/${name}/v1/workflows/add/runs`, { input: { a: 1, b: 2 } }))
  }
  expect((await post('/binding/v1/workflows/add/runs?wait=20', { input: { a: 1, b: 2 } })).body).toMatchObject({ output: 3 })

  // This one names a file on purpose: wrangler.toml.
  function expectProblem2(answer: Answer): void {
    expect(answer).toMatchObject({ status: 500, body: { code: 'host_misconfigured', kind: 'operator' } })
    expect(answer.text).toContain('wrangler.toml')
  }
})

test('G28: every code has a status that a problem can have', () => {
  for (const { status } of Object.values(ERRORS)) expect(status >= 400 && status < 600).toBe(true)
})
