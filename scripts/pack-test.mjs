// `npm run test:pack`: the package as a user gets it. Packs it, lints the package, and installs it into three temporary projects
// (test/pack): each type-checks, builds and runs one workflow, in Chromium, in workerd and in Node.
import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { chromium } from './chromium.mjs'
import { machineEnv, node, root, setup, tool as ourTool, toolEnv } from './setup.mjs'

const runLimit = 60_000
const modules = join(root, 'node_modules')
const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

/** Runs a command to its end and gives what it printed. @param {string} cwd @param {string} command @param {string[]} args @param {NodeJS.ProcessEnv} env @returns {Promise<string>} */
function run(cwd, command, args, env = toolEnv) {
  return new Promise((done, failed) => {
    const child = spawn(command, args, { cwd, env: { ...env, CI: 'true' }, stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let all = ''
    child.stdout.on('data', (chunk) => { out += chunk; all += chunk })
    child.stderr.on('data', (chunk) => { all += chunk })
    child.once('error', failed)
    child.once('close', (code) => (code === 0 ? done(out) : failed(new Error(`${[command, ...args].join(' ')} ended with ${code}:\n${all}`))))
  })
}

/** A tool of this project, on another folder. @param {string} cwd @param {string} script @param {string[]} args */
const tool = (cwd, script, ...args) => run(cwd, node, [join(modules, script), ...args])

/** @template T @param {string} what @param {() => Promise<T>} check @returns {Promise<T>} */
async function step(what, check) {
  const start = Date.now()
  const result = await check()
  console.log(`ok    ${what} (${((Date.now() - start) / 1000).toFixed(1)} s)`)
  return result
}

/** @param {unknown} actual @param {unknown} expected */
function equal(actual, expected) {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) throw new Error(`got ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`)
}

/** A project with the package installed from the tarball and nothing else but what is named. @param {string} name @param {string} tarball @param {string[]} others */
async function project(name, tarball, others) {
  const dir = join(work, name)
  await cp(join(root, 'test/pack', name), dir, { recursive: true })
  await cp(join(root, 'test/pack/hello.ts'), join(dir, 'hello.ts'))
  await writeFile(join(dir, 'package.json'), JSON.stringify({ name: `packed-${name}`, private: true, type: 'module' }))
  const exact = others.map((other) => `${other}@${devDependencies[other]}`)
  await run(dir, 'npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', tarball, ...exact])
  return dir
}

/** @param {string} dir */
async function vite(dir) {
  await tool(dir, 'typescript/bin/tsc', '-p', '.')
  await tool(dir, 'vite/bin/vite.js', 'build', '--logLevel', 'warn')
  const types = /** @type {Record<string, string>} */ ({ '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' })
  const server = createServer((request, response) => {
    const path = request.url === '/' ? '/index.html' : new URL(request.url ?? '/', 'http://localhost').pathname
    readFile(join(dir, 'dist', path)).then(
      (file) => response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream' }).end(file),
      () => response.writeHead(404).end(),
    )
  })
  await new Promise((done) => server.listen(0, '127.0.0.1', () => done(undefined)))
  const address = server.address()
  const playwright = await import('playwright-core')
  const args = ['--no-sandbox', '--disable-quic', '--disable-background-networking']
  const browser = await playwright.chromium.launch({ executablePath: chromium(), args })
  try {
    const page = await browser.newPage()
    /** @type {string[]} */
    const errors = []
    page.on('pageerror', (error) => errors.push(String(error)))
    await page.goto(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/`)
    await page.waitForFunction("document.querySelector('output').textContent !== ''", undefined, { timeout: runLimit / 2 }).catch((error) => {
      throw new Error([String(error), ...errors].join('\n'))
    })
    equal(await page.textContent('output'), 'Hello Vite')
  } finally {
    await browser.close()
    server.close()
  }
}

/** @param {string} dir */
async function worker(dir) {
  // What the README opens with is a program of a user's.
  const program = /```ts\n([\s\S]+?)```/.exec(await readFile(join(root, 'README.md'), 'utf8'))?.[1] ?? ''
  const lines = program.split('\n').length - 1
  if (lines < 10 || lines > 25) throw new Error(`the first program of the README has ${lines} lines`)
  await writeFile(join(dir, 'readme.ts'), program)
  await tool(dir, 'typescript/bin/tsc', '-p', '.')
  await tool(dir, 'wrangler/bin/wrangler.js', 'deploy', '--dry-run')
  const { unstable_startWorker } = await import('wrangler')
  const dev = await unstable_startWorker({
    config: join(dir, 'wrangler.toml'),
    dev: { server: { hostname: '127.0.0.1', port: 0 }, inspector: false, persist: join(dir, 'state'), logLevel: 'error', watch: false },
  })
  try {
    const response = await dev.fetch('http://localhost/v1/workflows/hello/runs?wait=20', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ input: { name: 'Worker' } }),
      signal: AbortSignal.timeout(runLimit),
    })
    const text = await response.text()
    if (response.status !== 201) throw new Error(`the start gave ${response.status}: ${text}`)
    const { id } = JSON.parse(text)
    const result = await dev.fetch(`http://localhost/v1/runs/${id}/result?wait=20`)
    equal(await result.json(), { status: 'completed', output: { greeting: 'Hello Worker' } })
  } finally {
    await dev.dispose()
  }
}

/** @param {string} dir */
async function nodenext(dir) {
  await tool(dir, 'typescript/bin/tsc', '-p', '.')
  equal(JSON.parse(await run(dir, node, ['out/main.js'])), { greeting: 'Hello Node' })
  // Also on the machine's own, which may be as old as package.json allows.
  equal(JSON.parse(await run(dir, 'node', ['out/main.js'], machineEnv)), { greeting: 'Hello Node' })
}

setup()
// Wrangler is imported here, and needs the newer Node.
if (Number.parseInt(process.versions.node) < 22) process.exit(await ourTool('../scripts/pack-test.mjs', []))
const work = await mkdtemp(join(tmpdir(), 'stepwell-pack-'))
try {
  const tarball = await step('npm pack', async () => {
    const [{ filename }] = JSON.parse((await run(root, 'npm', ['pack', '--json', '--silent', '--pack-destination', work])).replace(/^[^[]*/, ''))
    return join(work, filename)
  })
  await step('publint', () => tool(work, 'publint/src/cli.js', 'run', tarball, '--strict'))
  await step('attw', () => tool(work, '@arethetypeswrong/cli/dist/index.js', tarball, '--profile', 'esm-only'))
  await step('a Vite app, in Chromium', async () => vite(await project('vite', tarball, ['zod'])))
  await step('a Worker, in workerd', async () => worker(await project('worker', tarball, ['zod', '@cloudflare/workers-types'])))
  await step('a strict nodenext project, in Node', async () => nodenext(await project('node', tarball, ['zod', '@types/node'])))
} catch (error) {
  console.error(`FAILED: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
} finally {
  await rm(work, { recursive: true, force: true })
}
