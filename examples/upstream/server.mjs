// The outside world of the `order` example: a shop's backend as a process of its own, over HTTP. It can be slow, fail, hang,
// act and lose its answer; it deduplicates by idempotency key, unless told not to; and it writes down every request it receives
// before it does anything, so that a test can tell from this ledger alone what reached the world, and how often.
// Node built-ins only; Node 20 is enough. docs/examples.md describes the endpoints and the ledger.
import { randomUUID } from 'node:crypto'
import { closeSync, fdatasyncSync, fstatSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'

const maxBodyBytes = 1024 * 1024

/** What each action answers. Ids are drawn, so that acting twice can be seen. @type {Record<string, (body: any) => object>} */
const actions = {
  price: ({ items }) => ({ totalCents: items.reduce((/** @type {number} */ sum, /** @type {any} */ item) => sum + item.quantity * item.unitPriceCents, 0) }),
  reserve: () => ({ reservationId: drawId('res') }),
  charge: ({ totalCents }) => ({ chargeId: drawId('ch'), totalCents }),
  ship: () => ({ shipmentId: drawId('shp') }),
  release: ({ reservationId }) => ({ reservationId, released: true }),
  refund: ({ chargeId }) => ({ refundId: drawId('ref'), chargeId }),
}

/** @param {string} prefix */
const drawId = (prefix) => `${prefix}_${randomUUID().replaceAll('-', '').slice(0, 16)}`

/** What is wrong with the body of an action, if anything. @param {string} action @param {any} body @returns {string | undefined} */
function refusal(action, body) {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return 'the body is not a JSON object'
  if (typeof body.orderId !== 'string' || body.orderId === '') return 'orderId is missing'
  const isCount = (/** @type {unknown} */ x) => Number.isSafeInteger(x) && Number(x) > 0
  if (action === 'price' || action === 'reserve') {
    const { items } = body
    if (!Array.isArray(items) || items.length === 0) return 'items is not a list with at least one item'
    const fits = (/** @type {any} */ item) =>
      typeof item?.sku === 'string' && item.sku !== '' && isCount(item.quantity) && (action === 'reserve' || isCount(item.unitPriceCents))
    if (!items.every(fits)) return 'an item needs sku, quantity and unitPriceCents, both positive whole numbers'
  }
  if (action === 'charge' && !isCount(body.totalCents)) return 'totalCents is not a positive whole number'
  if (action === 'release' && typeof body.reservationId !== 'string') return 'reservationId is missing'
  if (action === 'refund' && typeof body.chargeId !== 'string') return 'chargeId is missing'
  return undefined
}

/**
 * The ledger: NDJSON, only ever appended to. `started` when a process opens it, `received` for every request before anything is
 * done about it, `acted` (with `acted: false` when the answer of an earlier equal request was found) before that can be seen
 * from outside, `closed` when the response is out or the connection is gone.
 */
class Ledger {
  #file
  #path
  #sync
  ordinal = 0
  /** The answers given, by action and idempotency key. @type {Map<string, { body: string, result: object }>} */
  answers = new Map()

  /** @param {string} path @param {boolean} sync */
  constructor(path, sync) {
    this.#path = path
    this.#sync = sync
    this.#file = openSync(path, 'a+')
    const { size } = fstatSync(this.#file)
    const last = Buffer.alloc(1)
    // A process that was killed while it wrote may have left half a line; it is closed off, never removed.
    if (size > 0 && readSync(this.#file, last, 0, 1, size - 1) === 1 && last[0] !== 10) writeSync(this.#file, '\n')
    for (const record of this.records()) {
      if (record.type === 'received') this.ordinal = record.ordinal
      if (record.type === 'acted' && record.acted && record.key !== null) {
        const id = `${record.action}\n${record.key}`
        if (!this.answers.has(id)) this.answers.set(id, { body: record.body, result: record.result })
      }
    }
    this.append({ type: 'started', pid: process.pid })
  }

  /** @param {object} record @returns {number} its time */
  append(record, at = now()) {
    writeSync(this.#file, `${JSON.stringify({ at, ...record })}\n`)
    if (this.#sync) fdatasyncSync(this.#file)
    return at
  }

  /** @returns {any[]} */
  records() {
    return readFileSync(this.#path, 'utf8').split('\n').flatMap((line) => {
      try {
        return line === '' ? [] : [JSON.parse(line)]
      } catch {
        return []
      }
    })
  }

  /** One object for each request, in the order in which they were received. */
  requests() {
    /** @type {Map<number, any>} */
    const byOrdinal = new Map()
    for (const record of this.records()) {
      const request = byOrdinal.get(record.ordinal)
      if (record.type === 'received') {
        const { type: _, at, ...rest } = record
        byOrdinal.set(record.ordinal, { ...rest, receivedAt: at, actedAt: null, acted: null, delayMs: null, result: null, closedAt: null, how: 'open', status: null })
      } else if (record.type === 'acted' && request) {
        Object.assign(request, { actedAt: record.at, acted: record.acted, delayMs: record.delayMs, result: record.result })
      } else if (record.type === 'closed' && request) {
        Object.assign(request, { closedAt: record.at, how: record.how, status: record.status })
      } else if (record.type === 'started') {
        // Whatever the process before had open ended with it, nobody knows when.
        for (const request of byOrdinal.values()) if (request.how === 'open') request.how = 'upstream_restarted'
      }
    }
    return [...byOrdinal.values()]
  }

  close() {
    closeSync(this.#file)
  }
}

/** The wall clock that every process of this machine shares: a test compares its kills with it. */
const now = () => Date.now()

/**
 * How one action behaves. Counts go down as requests come; where several apply, the first in this order does.
 * @typedef {object} Behaviour
 * @property {{ status: number, times?: number | null, retryAfterSeconds?: number }} [fail] answers this status; does not act
 * @property {number} [drop] cuts the connection; does not act
 * @property {number} [hang] does not act and never answers
 * @property {number} [actThenDrop] acts, then cuts the connection without an answer
 * @property {number} [actThenHang] acts, then never answers
 * @property {number} [answerTwice] acts once, and sends the whole answer twice
 * @property {number | { min: number, max: number, seed?: number }} [delayMs] before it acts
 * @property {number | { min: number, max: number, seed?: number }} [answerDelayMs] after it acted, before the answer
 */
const counts = /** @type {const} */ (['drop', 'hang', 'actThenDrop', 'actThenHang', 'answerTwice'])
const delays = /** @type {const} */ (['delayMs', 'answerDelayMs'])

class Control {
  dedup = true
  /** @type {Record<string, Behaviour>} */
  actions = {}
  /** @type {Map<string, () => number>} */
  #draws = new Map()

  /** @param {any} change @returns {string | undefined} what is wrong with it; then nothing was changed */
  apply(change) {
    if (typeof change !== 'object' || change === null || Array.isArray(change)) return 'the body is not a JSON object'
    for (const name of Object.keys(change)) if (!['reset', 'dedup', 'actions'].includes(name)) return `there is no setting named ${name}`
    if (change.dedup !== undefined && typeof change.dedup !== 'boolean') return 'dedup is true or false'
    for (const [action, behaviour] of Object.entries(change.actions ?? {})) {
      const wrong = action === '*' || action in actions ? wrongBehaviour(behaviour) : `there is no action named ${action}`
      if (wrong) return wrong
    }
    if (change.reset === true) {
      this.actions = {}
      this.dedup = true
      this.#draws.clear()
    }
    if (change.dedup !== undefined) this.dedup = change.dedup
    for (const [action, behaviour] of Object.entries(change.actions ?? {})) {
      this.actions[action] = structuredClone(behaviour)
      for (const name of delays) {
        const { [name]: delay } = behaviour
        if (typeof delay === 'object') this.#draws.set(`${action} ${name}`, random(delay.seed ?? 1))
      }
    }
    return undefined
  }

  /** How the request that has just come in is treated; uses up one of the counts. @param {string} action */
  next(action) {
    const name = this.actions[action] ? action : '*'
    const behaviour = this.actions[name] ?? {}
    const delayMs = this.#delay(name, 'delayMs', behaviour)
    const answerDelayMs = this.#delay(name, 'answerDelayMs', behaviour)
    const { fail } = behaviour
    if (fail && (fail.times ?? 1) > 0) {
      if (typeof fail.times === 'number') fail.times--
      return { kind: 'fail', status: fail.status, retryAfterSeconds: fail.retryAfterSeconds, delayMs, answerDelayMs }
    }
    for (const kind of counts) {
      const left = behaviour[kind] ?? 0
      if (left > 0) {
        behaviour[kind] = left - 1
        return { kind, delayMs, answerDelayMs }
      }
    }
    return { kind: 'answer', delayMs, answerDelayMs }
  }

  /** @param {string} action @param {'delayMs' | 'answerDelayMs'} name @param {Behaviour} behaviour */
  #delay(action, name, behaviour) {
    const delay = behaviour[name] ?? 0
    if (typeof delay === 'number') return delay
    return delay.min + (this.#draws.get(`${action} ${name}`)?.() ?? 0) * (delay.max - delay.min)
  }
}

/** @param {any} behaviour @returns {string | undefined} */
function wrongBehaviour(behaviour) {
  if (typeof behaviour !== 'object' || behaviour === null) return 'a behaviour is an object'
  const isTimes = (/** @type {unknown} */ x) => Number.isSafeInteger(x) && Number(x) >= 0
  const isMs = (/** @type {unknown} */ x) => typeof x === 'number' && x >= 0 && x <= 3_600_000
  for (const [name, value] of Object.entries(behaviour)) {
    if (name === 'fail') {
      if (!(Number.isInteger(value?.status) && value.status >= 400 && value.status <= 599)) return 'fail.status is an HTTP status from 400 to 599'
      if (value.times !== undefined && value.times !== null && !isTimes(value.times)) return 'fail.times is a whole number, or null for always'
      if (value.retryAfterSeconds !== undefined && !isTimes(value.retryAfterSeconds)) return 'fail.retryAfterSeconds is a whole number'
    } else if (counts.some((count) => count === name)) {
      if (!isTimes(value)) return `${name} is a whole number from 0`
    } else if (delays.some((delay) => delay === name)) {
      const fits = typeof value === 'object' && value !== null ? isMs(value.min) && isMs(value.max) && value.min <= value.max : isMs(value)
      if (!fits) return `${name} is a number of milliseconds, or { min, max, seed }`
    } else return `there is no behaviour named ${name}`
  }
  return undefined
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). @param {number} seed */
function random(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
}

const mediaTypes = new Map([
  ['.html', 'text/html; charset=utf-8'], ['.js', 'text/javascript'], ['.css', 'text/css'], ['.svg', 'image/svg+xml'],
  ['.json', 'application/json'], ['.wasm', 'application/wasm'], ['.webmanifest', 'application/manifest+json'],
])

const cors = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, POST, OPTIONS',
  'access-control-allow-headers': 'content-type, idempotency-key',
  'access-control-expose-headers': 'retry-after',
  'access-control-max-age': '600',
}

/** @param {number} ms */
const pause = (ms) => new Promise((done) => (ms > 0 ? setTimeout(done, ms) : done(undefined)))

/**
 * Starts the upstream.
 * @param {{ port?: number, host?: string, ledger: string, page?: string, control?: object, fsync?: boolean }} options
 * `page`: a folder of files that GET serves, so that a page can call this process under a Content-Security-Policy of 'self'
 * @returns {Promise<{ url: string, close(): Promise<void> }>}
 */
export async function startUpstream({ port = 0, host = '127.0.0.1', ledger: path, page, control: initial, fsync = true }) {
  const ledger = new Ledger(path, fsync)
  const control = new Control()
  const wrong = initial === undefined ? undefined : control.apply(initial)
  if (wrong) throw new Error(`CONTROL: ${wrong}`)

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async function serve(request, response) {
    const receivedAt = now()
    const { pathname } = new URL(request.url ?? '/', 'http://upstream')
    const method = request.method ?? 'GET'
    // Looking at the ledger or at the controls is not part of the world.
    const isWatched = pathname !== '/ledger' && pathname !== '/_control'
    const read = await readBody(request)
    const action = method === 'POST' && Object.hasOwn(actions, pathname.slice(1)) ? pathname.slice(1) : null
    const header = request.headers['idempotency-key']
    const key = typeof header === 'string' && header !== '' ? header : null
    const body = read.kind === 'whole' ? parse(read.text) : undefined
    const orderId = typeof body?.orderId === 'string' ? body.orderId : null
    const ordinal = isWatched ? ++ledger.ordinal : 0
    if (isWatched) {
      const { remotePort } = request.socket
      ledger.append({ type: 'received', ordinal, method, path: pathname, action, key, orderId, remotePort, ...(read.kind === 'cut' ? { isCut: true } : undefined) }, receivedAt)
      let isClosed = false
      /** @param {string} how */
      const closed = (how) => {
        if (isClosed) return
        isClosed = true
        ledger.append({ type: 'closed', ordinal, how, status: response.headersSent ? response.statusCode : null })
      }
      response.once('finish', () => closed('answered'))
      response.once('close', () => closed(dropped.has(response) ? 'dropped' : 'client_gone'))
      if (response.destroyed || response.socket?.destroyed) closed('client_gone')
    }
    if (read.kind === 'cut') return
    if (read.kind === 'large') return answer(response, 413, { error: `the body is larger than ${maxBodyBytes} bytes` })
    if (method === 'OPTIONS') return void response.writeHead(204, cors).end()
    if (pathname === '/_control') {
      const refused = method === 'POST' ? control.apply(body) : undefined
      if (refused) return answer(response, 400, { error: refused })
      return answer(response, 200, { dedup: control.dedup, actions: control.actions })
    }
    if (action !== null) return act(response, { action, key, body, ordinal })
    if (method !== 'GET') return answer(response, 404, { error: `there is no ${method} ${pathname}` })
    if (pathname === '/ledger') return answer(response, 200, { requests: ledger.requests() })
    if (pathname.startsWith('/charges/')) {
      const found = ledger.answers.get(`charge\n${decodeURIComponent(pathname.slice('/charges/'.length))}`)
      return found ? answer(response, 200, found.result) : answer(response, 404, { error: 'no charge has this idempotency key' })
    }
    if (page !== undefined && sendFile(response, page, pathname)) return
    if (pathname === '/') {
      const post = Object.keys(actions).map((name) => `/${name}`)
      return answer(response, 200, { about: 'The example upstream of stepwell', get: ['/ledger', '/charges/:key', '/_control'], post: [...post, '/_control'] })
    }
    answer(response, 404, { error: `there is no GET ${pathname}` })
  }

  /** @param {import('node:http').ServerResponse} response @param {{ action: string, key: string | null, body: any, ordinal: number }} request */
  async function act(response, { action, key, body, ordinal }) {
    const refused = refusal(action, body)
    if (refused) return answer(response, 422, { error: refused })
    const plan = control.next(action)
    await pause(plan.delayMs)
    if (plan.kind === 'fail') {
      const after = plan.retryAfterSeconds === undefined ? {} : { 'retry-after': String(plan.retryAfterSeconds) }
      return answer(response, plan.status ?? 500, { error: `${action} is told to fail` }, after)
    }
    if (plan.kind === 'drop') return drop(response)
    // Held open until the client gives up.
    if (plan.kind === 'hang') return

    const id = `${action}\n${key}`
    const text = JSON.stringify(body)
    const found = key !== null && control.dedup ? ledger.answers.get(id) : undefined
    if (found !== undefined && found.body !== text) {
      return answer(response, 422, { error: 'this idempotency key was used with another body' })
    }
    const result = found?.result ?? actions[action]?.(body) ?? {}
    ledger.append({ type: 'acted', ordinal, action, key, orderId: body.orderId, acted: found === undefined, delayMs: plan.delayMs, result, ...(found ? undefined : { body: text }) })
    if (found === undefined && key !== null && !ledger.answers.has(id)) ledger.answers.set(id, { body: text, result })

    await pause(plan.answerDelayMs)
    if (plan.kind === 'actThenDrop') return drop(response)
    if (plan.kind === 'actThenHang') return
    if (plan.kind === 'answerTwice') {
      const { socket } = response
      const again = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(JSON.stringify(result))}\r\n\r\n${JSON.stringify(result)}`
      response.once('finish', () => socket?.end(again))
    }
    answer(response, 200, result)
  }

  const server = createServer((request, response) => {
    serve(request, response).catch((error) => {
      console.error(error)
      if (!response.headersSent) answer(response, 500, { error: 'the upstream has a bug' })
      else response.destroy()
    })
  })
  // A request may hang for as long as its client likes, and an idle connection is not closed under a client that is about to use it.
  Object.assign(server, { requestTimeout: 0, keepAliveTimeout: 75_000 })
  await new Promise((done, failed) => {
    server.once('error', failed)
    server.listen(port, host, () => done(undefined))
  })
  const address = server.address()
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${typeof address === 'object' && address !== null ? address.port : port}`,
    async close() {
      const closed = new Promise((done) => server.close(done))
      server.closeAllConnections()
      await closed
      // The connections that were cut write their `closed` records first.
      await pause(1)
      ledger.close()
    },
  }
}

/** @type {WeakSet<import('node:http').ServerResponse>} */
const dropped = new WeakSet()

/** @param {import('node:http').ServerResponse} response */
function drop(response) {
  dropped.add(response)
  response.destroy()
}

/** @param {import('node:http').ServerResponse} response @param {number} status @param {object} body @param {Record<string, string>} [headers] */
function answer(response, status, body, headers) {
  const text = JSON.stringify(body)
  response.writeHead(status, { ...cors, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers })
  response.end(text)
}

/** @param {string} text @returns {any} */
function parse(text) {
  try {
    return text === '' ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

/** @param {import('node:http').IncomingMessage} request @returns {Promise<{ kind: 'whole', text: string } | { kind: 'cut' | 'large' }>} */
async function readBody(request) {
  /** @type {Buffer[]} */
  const parts = []
  let size = 0
  try {
    for await (const part of request) {
      size += part.length
      if (size <= maxBodyBytes) parts.push(part)
    }
  } catch {
    return { kind: 'cut' }
  }
  return size > maxBodyBytes ? { kind: 'large' } : { kind: 'whole', text: Buffer.concat(parts).toString('utf8') }
}

/** @param {import('node:http').ServerResponse} response @param {string} folder @param {string} pathname */
function sendFile(response, folder, pathname) {
  const base = resolve(folder)
  let file
  try {
    file = join(base, decodeURIComponent(pathname === '/' ? '/index.html' : pathname))
    if (!file.startsWith(base + sep)) return false
    const content = readFileSync(file)
    const type = mediaTypes.get(extname(file)) ?? 'application/octet-stream'
    response.writeHead(200, { 'content-type': type, 'content-length': content.length, 'cache-control': 'no-cache' }).end(content)
    return true
  } catch {
    return false
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const { PORT = '8788', HOST = '127.0.0.1', LEDGER = 'upstream-ledger.ndjson', PAGE, CONTROL, FSYNC } = process.env
  try {
    const upstream = await startUpstream({
      port: Number(PORT), host: HOST, ledger: LEDGER, fsync: FSYNC !== '0',
      ...(PAGE ? { page: PAGE } : undefined), ...(CONTROL ? { control: JSON.parse(CONTROL) } : undefined),
    })
    console.log(JSON.stringify({ url: upstream.url }))
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void upstream.close().then(() => process.exit(0)))
  } catch (error) {
    console.error(`The example upstream did not start: ${error instanceof Error ? error.message : error}`)
    process.exit(1)
  }
}
