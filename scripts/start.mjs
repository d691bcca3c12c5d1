// `npm start`: the demo. The example upstream as a process of its own, and the edge under wrangler dev, which builds the page
// (wrangler.toml) and serves it. PORT (8787) is the edge's port; STATE_DIR (.state) keeps runs and the upstream's ledger.
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { node, root, setup, toolEnv } from './setup.mjs'

const startLimit = 120_000
const stopLimit = 8_000

/** @type {Map<string, import('node:child_process').ChildProcess>} */
const children = new Map()
/** @type {number | undefined} */
let exitCode

/** Stops every child, then this process. @param {number} code */
function stop(code) {
  if (exitCode !== undefined) return
  exitCode = code
  for (const child of children.values()) child.kill('SIGTERM')
  setTimeout(() => {
    for (const child of children.values()) child.kill('SIGKILL')
    process.exit(code)
  }, stopLimit).unref()
  if (children.size === 0) process.exit(code)
}

/** @param {string} message */
function fail(message) {
  if (exitCode === undefined) console.error(`\n${message}`)
  stop(1)
}

/** @param {string} name @param {string[]} args @param {NodeJS.ProcessEnv} env @param {'inherit' | 'ignore'} output */
function run(name, args, env, output) {
  const child = spawn(node, args, { cwd: root, env: { ...toolEnv, ...env }, stdio: ['ignore', output, 'inherit'] })
  children.set(name, child)
  child.once('error', (error) => fail(`${name} did not start: ${error.message}`))
  child.once('exit', (code, signal) => {
    children.delete(name)
    fail(`${name} ended (${signal ?? `exit code ${code}`}), so the demo stops.`)
    if (children.size === 0) process.exit(exitCode)
  })
}

/** Listens once to learn whether a port is free; 0 gives a free one. @param {number} port @param {string} host @returns {Promise<number>} */
function freePort(port, host) {
  return new Promise((done, failed) => {
    const server = createServer()
    server.once('error', failed)
    server.listen(port, host, () => {
      const address = server.address()
      server.close(() => done(typeof address === 'object' && address !== null ? address.port : port))
    })
  })
}

/** @param {string} text */
async function edgePort(text) {
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65535) throw new Error(`PORT is ${text}; it has to be a port number.`)
  for (const host of ['127.0.0.1', '::1']) {
    try {
      const free = await freePort(port, host)
      if (port === 0) return free
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'EADDRINUSE') throw new Error(`Port ${port} is taken. Choose another one: PORT=8790 npm start`)
      if (code === 'EACCES') throw new Error(`Port ${port} needs rights that this user does not have. Choose another one: PORT=8790 npm start`)
      // No IPv6 on this machine.
    }
  }
  return port
}

/** Asks until the answer is yes. @param {string} what @param {() => Promise<boolean>} ask */
async function until(what, ask) {
  const end = Date.now() + startLimit
  while (exitCode === undefined && !(await ask().catch(() => false))) {
    if (Date.now() > end) throw new Error(`${what} did not answer within ${startLimit / 1000} seconds.`)
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Without a request: the upstream's ledger records each it gets. @param {number} port @returns {Promise<boolean>} */
function listens(port) {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); done(true) })
    socket.once('error', () => done(false))
  })
}

/** @param {string} url */
async function isHealthy(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) })
  await response.arrayBuffer()
  return response.ok
}

process.once('SIGINT', () => stop(0))
process.once('SIGTERM', () => stop(0))
process.once('SIGHUP', () => stop(0))
if (process.env.npm_lifecycle_event) {
  // A signal to npm kills npm and its shell and does not reach us: we see that our parent is gone.
  const parent = process.ppid
  setInterval(() => process.ppid !== parent && stop(0), 250).unref()
}

try {
  setup()
  const port = await edgePort(process.env.PORT || '8787')
  const state = resolve(root, process.env.STATE_DIR || '.state')
  mkdirSync(state, { recursive: true })
  const upstreamPort = await freePort(0, '127.0.0.1')
  const upstream = `http://127.0.0.1:${upstreamPort}`
  const edge = `http://localhost:${port}`

  run('The example upstream', ['examples/upstream/server.mjs'], {
    PORT: String(upstreamPort),
    LEDGER: join(state, 'upstream-ledger.ndjson'),
  }, 'ignore')
  run(
    'wrangler dev',
    [
      'node_modules/wrangler/bin/wrangler.js',
      'dev',
      ...['--port', String(port), '--inspector-port', '0'],
      ...['--persist-to', state, '--var', `UPSTREAM_URL:${upstream}`],
      '--show-interactive-dev-session=false',
    ],
    { X_LOCAL_OBSERVABILITY: 'false' },
    'inherit',
  )
  await Promise.all([
    until('The example upstream', () => listens(upstreamPort)),
    until('The edge', () => isHealthy(`${edge}/v1/healthz`)),
  ])

  const input = { orderId: 'A-1', email: 'ada@example.com', items: [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }] }
  if (exitCode === undefined) {
    console.log(`
Stepwell is running. Ctrl-C stops it; runs are kept in ${state}

  page and API  ${edge}/
  upstream      ${upstream}/

Start an order and wait for it:

  curl -X POST '${edge}/v1/workflows/order/runs?wait=20' -H 'content-type: application/json' -d '${JSON.stringify({ input })}'
`)
  }
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
}
