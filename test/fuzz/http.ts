// Fuzzing of the HTTP API, from whatever runs the app: valid requests, such with one field changed, and raw ones, against runs that
// stand still in every way that a run can. Whatever the request: it is answered in time, no failure is unhandled, every refusal is a
// problem document of a known code, and neither a refusal nor a read changes a byte that is stored.

import { toWire } from '../../src/codec.ts'
import { ERRORS } from '../../src/errors.ts'
import { idFromToken } from '../../src/ids.ts'
import { type Draw, draw } from './draw.ts'
import { mutated, mutatedJson, oddJson } from './mutation.ts'
import { randomBytes, randomValue, randomWire } from './values.ts'

export interface HttpTarget {
  /** Answers, and says whether `authorize` was asked: then path, query and body had been understood. */
  fetch(request: Request): Promise<{ readonly response: Response; readonly isReached: boolean }>
  /** Everything durable of the run with this id, and how many rows that is. */
  stored(id: string): Promise<{ readonly content: string; readonly rows: number }>
}

export interface HttpCounts {
  readonly requests: number
  /** Requests that reached a handler of a run: `authorize` was asked. */
  readonly reached: number
  /** Requests that differ from a valid one in one field. */
  readonly oneField: number
  readonly refused: number
  readonly accepted: number
  /** Requests that changed a run, or made one. */
  readonly changes: number
}

/** Requests of one seed: each has runs of its own. */
export const REQUESTS_OF_A_SEED = 40
/** For a machine that does other things as well: a hang never ends. */
const HANG_MS = 60_000
/** Stored rows that one accepted request may add: a whole generation of the largest workflow here. */
const ROWS_OF_A_CHANGE = 30
const WIRE = 'application/vnd.stepwell.v1+json'
const JSON_TYPE = 'application/json'

interface Asked {
  readonly method: string
  /** Below the mount, as they are sent. */
  readonly path: string
  readonly query: readonly (readonly [string, string])[]
  readonly headers: Readonly<Record<string, string>>
  /** JSON, or bytes as they are. */
  readonly body: unknown
  /** Whose storage may change; undefined: nobody can know before. */
  readonly run: string | undefined
  readonly mount: string
}

/** Workflows of test/worker/worker.ts that come to rest by themselves, with an input that fits. */
const workflows: readonly (readonly [string, unknown])[] = [
  ['add', { a: 1, b: 2 }], ['echo', { any: ['thing'] }], ['strict', { email: 'a@example.com' }], ['failing', 1], ['sleepy', { ms: 3_600_000 }], ['many', { n: 3 }],
]

/** Throws with the seed and the request in its message. */
export async function fuzzHttp(target: HttpTarget, from: number, count: number): Promise<HttpCounts> {
  const counts = { requests: 0, reached: 0, oneField: 0, refused: 0, accepted: 0, changes: 0 }
  for (let seed = from; seed < from + count; seed++) {
    let asked: Asked | undefined
    try {
      await block(target, seed, counts, (request) => { asked = request })
    } catch (error) {
      const shown = asked === undefined ? 'before the first request' : `${asked.method} ${url(asked).slice(0, 300)} ${JSON.stringify(asked.headers).slice(0, 300)} ${JSON.stringify(asked.body)?.slice(0, 600)}`
      throw new Error(`HTTP, seed ${seed}: ${error instanceof Error ? error.message : String(error)}\n  ${shown}`, { cause: error })
    }
  }
  return counts
}

async function block(target: HttpTarget, seed: number, counts: { -readonly [name in keyof HttpCounts]: number }, asking: (asked: Asked) => void): Promise<void> {
  const d = draw(seed)
  // Ids that no other seed and no other campaign has.
  const name = `fuzz-${seed}-${crypto.randomUUID().slice(0, 8)}`
  const subjects = new Map<string, { content: string; changes: number }>()
  for (const [word, workflow, input] of [
    ['ended', 'add', { a: 1, b: 2 }], ['waiting', 'sleepy', { ms: 3_600_000 }], ['blocked', 'paying', 0], ['failed', 'failing', 0], ['unknown', '', 0], ['listening', 'listening', 0], ['approving', 'approving', 0],
  ] as const) {
    const id = `${name}-${word}`
    if (workflow !== '') {
      const { response } = await target.fetch(new Request(`http://localhost/v1/workflows/${workflow}/runs`, {
        method: 'POST', headers: { 'content-type': JSON_TYPE }, body: JSON.stringify({ id, input }),
      }))
      if (response.status !== 201) throw new Error(`${workflow} was not started: ${await response.text()}`)
    }
    subjects.set(id, { content: await atRest(target, id), changes: 0 })
  }
  const ids = [...subjects.keys()]
  for (let i = 0; i < REQUESTS_OF_A_SEED; i++) {
    const how = d(20)
    const valid = validRequest(d, ids, name)
    const asked = how < 10 ? valid : how < 17 ? oneField(d, valid, ids) : rawRequest(d, valid, ids)
    let request: Request
    try {
      request = built(asked)
    } catch {
      continue // no client can send it
    }
    asking(asked)
    const run = runOf(asked)
    const before = run === undefined ? undefined : subjects.get(run)?.content ?? (await target.stored(run)).content
    const { response, isReached } = await inTime(target.fetch(request))
    const text = new TextDecoder().decode(await inTime(response.arrayBuffer()))
    counts.requests++
    if (isReached) counts.reached++
    if (how >= 10 && how < 17) counts.oneField++
    check(asked, response, text)
    const isRefused = response.status >= 400
    if (isRefused) counts.refused++
    else counts.accepted++
    if (run === undefined) continue
    if (isRefused || asked.method === 'GET' || asked.method === 'HEAD') {
      const { content } = await target.stored(run)
      if (content !== before) throw new Error(`a request that was ${isRefused ? 'refused' : 'only reading'} changed what is stored of ${run}: ${difference(before ?? '', content)} (answer: ${response.status} ${text.slice(0, 200)})`)
      continue
    }
    counts.changes++
    const subject = subjects.get(run)
    if (subject === undefined) continue
    subject.content = await atRest(target, run)
    subject.changes++
  }
  for (const [id, { content, changes }] of subjects) {
    const now = await target.stored(id)
    if (now.content !== content) throw new Error(`${id} was changed by what was sent to others: ${difference(content, now.content)}`)
    if (now.rows > ROWS_OF_A_CHANGE * (changes + 1)) throw new Error(`${id} has ${now.rows} rows after ${changes} changes`)
  }
}

function check(asked: Asked, response: Response, text: string): void {
  const { status } = response
  const type = response.headers.get('content-type') ?? ''
  const shown = `${status} ${text.slice(0, 300)}`
  if (status < 400) {
    if (status !== 200 && status !== 201 && status !== 202) throw new Error(`an answer that nobody knows: ${shown}`)
    if (text !== '' && (type === JSON_TYPE || type === WIRE)) JSON.parse(text)
    return
  }
  // What is not below /v1 belongs to the app around it.
  if (!/^(\/deep\/base)?\/v1(\/|$)/.test(new URL(url(asked)).pathname)) return
  if (type !== 'application/problem+json') throw new Error(`a refusal that is no problem document: ${type} ${shown}`)
  // Only jurisdictions are not to be had here.
  if (status >= 500 && status !== 501) throw new Error(`an unhandled failure: ${shown}`)
  if (asked.method === 'HEAD' && text === '') return
  const { code, status: said, detail, help } = JSON.parse(text) as Record<string, unknown>
  if (typeof code !== 'string' || !Object.hasOwn(ERRORS, code)) throw new Error(`a code that is not in the catalogue: ${shown}`)
  if (said !== status || ERRORS[code as keyof typeof ERRORS].status !== status) throw new Error(`a status that is not that of its code: ${shown}`)
  if (typeof detail !== 'string' || typeof help !== 'string' || text.length > 20_000) throw new Error(`a problem document that is not whole: ${shown}`)
}

/** What is stored once the run has nothing left to do by itself for a long time. */
async function atRest(target: HttpTarget, id: string): Promise<string> {
  const end = Date.now() + HANG_MS
  for (let last: string | undefined; ;) {
    const { response } = await target.fetch(new Request(`http://localhost/v1/runs/${id}`))
    const summary = await response.json() as { status: unknown; waitingFor?: readonly { readonly dueAt?: number }[] }
    const rests = response.status === 404 || (typeof summary.status === 'string' && ['completed', 'failed', 'cancelled', 'blocked', 'paused'].includes(summary.status))
      || (summary.status === 'waiting' && (summary.waitingFor ?? []).every(({ dueAt }) => dueAt === undefined || dueAt > Date.now() + 600_000))
    const { content } = await target.stored(id)
    if (rests && content === last) return content
    last = rests ? content : undefined
    if (Date.now() > end) throw new Error(`${id} does not come to rest: ${JSON.stringify(summary)}`)
    await new Promise((resolve) => { setTimeout(resolve, 3) })
  }
}

async function inTime<T>(promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`no answer in ${HANG_MS} ms`)), HANG_MS) })
  try {
    return await Promise.race([promise, late])
  } finally {
    if (timer !== undefined) clearTimeout(timer)
  }
}

function url({ mount, path, query }: Asked): string {
  const text = query.map(([key, value]) => `${encode(key)}=${encode(value)}`).join('&')
  return `http://localhost${mount}${path}${text === '' ? '' : `?${text}`}`
}

/** A lone surrogate has no URI form; sent as it is, the URL makes a replacement character of it. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed())
}

function built(asked: Asked): Request {
  const { method, headers, body } = asked
  const bytes = body === undefined ? undefined : body instanceof Uint8Array ? body : new TextEncoder().encode(JSON.stringify(body))
  return new Request(url(asked), { method, headers, ...(bytes === undefined ? undefined : { body: bytes as Uint8Array<ArrayBuffer> }) })
}

/** The run that the request is about, as the API reads it; undefined when it names none, or nobody can know. */
function runOf(asked: Asked): string | undefined {
  const { pathname } = new URL(url(asked))
  if (asked.run !== undefined) return asked.run
  const found = /\/v1\/runs\/([A-Za-z0-9._~:-]{1,128})(?:\/|$)/.exec(pathname)?.[1]
  if (found !== undefined) return found
  const body = asked.body as Record<string, unknown> | undefined
  if (typeof body !== 'object' || body === null) return undefined
  if (typeof body['id'] === 'string') return /^[A-Za-z0-9._~:-]{1,128}$/.test(body['id']) ? body['id'] : undefined
  const workflow = /\/v1\/workflows\/([a-z]+)\/runs$/.exec(pathname)?.[1]
  const token = asked.headers['idempotency-key'] ?? body['token']
  return workflow === undefined || typeof token !== 'string' || token.length < 1 || token.length > 256 ? undefined : idFromToken(workflow, token)
}

const jsonHeaders = { 'content-type': JSON_TYPE }

function validRequest(d: Draw, ids: readonly string[], name: string): Asked {
  const base = { query: [], headers: {}, body: undefined, run: undefined, mount: d.oneIn(8) ? '/deep/base' : '' }
  const id = d.pick(ids)
  const run = `/v1/runs/${id}`
  switch (d(18)) {
    case 0: case 1: case 2: {
      const [workflow, input] = d.pick(workflows)
      const isEcho = workflow === 'echo'
      const isWire = d.oneIn(3)
      const fields = {
        input: isEcho ? (isWire ? toWire(randomValue(d, 3)) : randomWire(d, 3)) : input, ...(d.oneIn(2) ? { id: `${name}-new-${d(30)}` } : { token: `${name}-token-${d(30)}` }),
        ...(d.oneIn(3) ? { tags: ['a', 'b'] } : undefined), ...(d.oneIn(3) ? { metadata: { a: 'b' } } : undefined), ...(d.oneIn(4) ? { delay: d.pick<unknown>([1, '10 minutes']) } : undefined),
      }
      return { ...base, method: 'POST', path: `/v1/workflows/${workflow}/runs`, query: d.oneIn(3) ? [['wait', d.pick(['0', '0.05', '0.1'])]] : [], headers: { 'content-type': isWire ? WIRE : JSON_TYPE }, body: fields }
    }
    case 3: return { ...base, method: d.pick(['GET', 'HEAD']), path: run }
    case 4: return { ...base, method: 'GET', path: `${run}/result`, query: d.oneIn(2) ? [['wait', d.pick(['0', '0.01'])]] : [], headers: d.oneIn(2) ? { accept: WIRE } : {} }
    case 5: return { ...base, method: 'GET', path: `${run}/journal`, query: [['after', String(d(5))], ['limit', String(1 + d(20))], ['reveal', String(d(2))]] }
    case 6: return { ...base, method: 'GET', path: `${run}/${d.pick(['effects', 'export'])}` }
    case 7: return { ...base, method: 'POST', path: `${run}/cancel`, headers: jsonHeaders, body: { ...(d.oneIn(2) ? { reason: 'over' } : undefined), ...(d.oneIn(3) ? { undo: true } : undefined) } }
    case 8: return { ...base, method: 'POST', path: `${run}/pause`, headers: jsonHeaders, body: {} }
    case 9: return { ...base, method: 'POST', path: `${run}/resume` }
    case 10: return { ...base, method: 'POST', path: `${run}/restart`, headers: { ...jsonHeaders, ...(d.oneIn(2) ? { 'idempotency-key': `again-${d(3)}` } : undefined) }, body: d.oneIn(3) ? { from: d.pick(['before', 'pay', 'second']) } : {} }
    case 11: return { ...base, method: 'POST', path: `${run}/retry`, headers: jsonHeaders, body: d.oneIn(2) ? { id: `r-${d(3)}` } : {} }
    case 12: return { ...base, method: 'POST', path: `${run}/effects/${d.pick(['2', '3', '4', '7'])}/resolve`, headers: jsonHeaders, body: { decision: d.pick(['happened', 'rerun', 'skip', 'fail']), ...(d.oneIn(2) ? { value: randomWire(d, 2) } : undefined) } }
    case 13: case 14: return {
      ...base, method: 'POST', path: `${run}/signals/${d.pick(['go', 'go', 'word'])}`, headers: { ...jsonHeaders, ...(d.oneIn(3) ? { 'idempotency-key': `signal-${d(4)}` } : undefined) },
      body: { payload: d.oneIn(2) ? { text: 'x' } : randomWire(d, 2), ...(d.oneIn(4) ? { id: `signal-${d(4)}` } : undefined) },
    }
    case 15: return d.oneIn(3) ? { ...base, method: 'DELETE', path: `${run}/signals/${d.pick(['go', 'word'])}` }
      : { ...base, method: 'POST', path: `${run}/deferreds/${d.pick(['approval', 'all/a/approval', 'nobody'])}`, headers: jsonHeaders, body: { token: '0123456789abcdef'.repeat(4), ...(d.oneIn(4) ? { error: 'no' } : { value: { by: 'ada' } }) } }
    case 16: return { ...base, method: d.pick(['GET', 'HEAD']), path: `${run}/events`, query: [['after', String(d(3))], ...(d.oneIn(2) ? [['limit', String(1 + d(20))], ['wait', d.pick(['0', '0.01'])]] as const : [])], headers: d.oneIn(2) ? { accept: WIRE } : {} }
    default: return d.oneIn(6) ? { ...base, method: 'GET', path: '/v1/healthz' }
      : { ...base, method: 'PUT', path: `/v1/runs/${name}-blob-${d(4)}/blobs`, headers: { 'content-type': 'application/octet-stream' }, body: randomBytes(d, d(300)) }
  }
}

const oddTexts = ['', ' ', '..', '%', '%00', '%2f', '%E0%A4%A', '%ff', 'a b', 'é', '😀', '\ud800', 'x'.repeat(129), 'x'.repeat(3000), '-1', '1e9', '0x10', 'NaN', '9'.repeat(16), '../../x', '__proto__', 'null', ';', '#', '?', '*']

/** The same request with one thing changed: a part of its path, a parameter, a header, its method, or one field of its body. */
function oneField(d: Draw, valid: Asked, ids: readonly string[]): Asked {
  switch (d(6)) {
    case 0: {
      const parts = valid.path.split('/')
      const at = 2 + d(Math.max(1, parts.length - 2))
      parts[at] = d.oneIn(2) ? d.pick(ids) : d.pick(oddTexts)
      return { ...valid, path: parts.join('/') }
    }
    case 1: {
      const at = d(valid.query.length + 1)
      const known = valid.query[at]
      const odd = d.pick(oddTexts)
      const added = [d.pick(['wait', 'after', 'limit', 'reveal', 'jurisdiction', 'cursor', '__proto__', odd]), d.pick([odd, '1', '61', '1001', 'eu'])] as const
      return { ...valid, query: known === undefined ? [...valid.query, added] : d.oneIn(4) ? [...valid.query, known] : valid.query.with(at, [known[0], odd]) }
    }
    case 2: {
      const [header, value] = d.pick<readonly [string, string]>([
        ['content-type', d.pick(['text/plain', '', `${JSON_TYPE}; charset=latin1`, `${WIRE}x`, WIRE, 'application/octet-stream', ','])],
        ['accept', d.pick([WIRE, 'text/html', '', 'x'.repeat(5000), '*/*;q=0'])], ['idempotency-key', d.pick(['', 'k'.repeat(300), 'é', 'again-1', ' '])],
        ['content-length', d.pick(['0', '-1', '999999999', 'x'])], ['origin', 'https://evil.example'], ['range', 'bytes=0-1'], ['if-none-match', '*'], ['content-encoding', 'gzip'],
      ])
      return { ...valid, headers: { ...valid.headers, [header]: value } }
    }
    case 3: return { ...valid, method: d.pick(valid.body === undefined ? ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'] : ['POST', 'PUT', 'DELETE', 'PATCH']) }
    default:
      if (valid.body === undefined || valid.body instanceof Uint8Array) {
        return valid.method === 'GET' || valid.method === 'HEAD' ? { ...valid, query: [...valid.query, [d.pick(['wait', 'x', 'limit']), d.pick(oddTexts)]] } : { ...valid, headers: jsonHeaders, body: oddJson(d) }
      }
      return { ...valid, body: mutatedJson(d, valid.body) }
  }
}

/** Bytes where JSON should be, paths of anything, and bodies that are large, deep or cut off. */
function rawRequest(d: Draw, valid: Asked, ids: readonly string[]): Asked {
  const text = (value: string): Uint8Array => new TextEncoder().encode(value)
  const post = { ...valid, method: valid.body === undefined ? 'POST' : valid.method, headers: { 'content-type': d.oneIn(2) ? JSON_TYPE : WIRE } }
  switch (d(6)) {
    case 0: return { ...post, body: randomBytes(d, d(200)) }
    case 1: {
      const whole = text(JSON.stringify(valid.body ?? { reason: 'x' }))
      return { ...post, body: mutated(d, whole, whole) }
    }
    case 2: return { ...post, body: text(d.pick(['['.repeat(1500), '{"input":'.repeat(400), `{"input":${'['.repeat(1500)}${']'.repeat(1500)}}`, `{"$":["bigint","${'9'.repeat(3000)}"]}`, '{"input":1,"input":2}', '\ufeff{}', '{"reason":"\\ud800"}'])) }
    case 3: return { ...post, body: randomBytes(d, 4000 + d(3000)) }
    case 4: return { ...valid, path: `/v1/${Array.from({ length: d(6) }, () => d.pick(['v1', 'runs', 'workflows', ...ids, ...oddTexts])).join('/')}` }
    default: return { ...post, path: `/v1/runs/${d.pick(ids)}/${d.pick(['cancel', 'resume', 'restart', 'blobs', 'signals/go', 'deferreds/approval', 'handoff'])}`, body: text(JSON.stringify(randomWire(d))), run: undefined }
  }
}

function difference(before: string, after: string): string {
  let at = 0
  while (at < before.length && before[at] === after[at]) at++
  return `…${before.slice(Math.max(0, at - 60), at + 60)}… became …${after.slice(Math.max(0, at - 60), at + 60)}…`
}
