// `npm run mutants`: breaks the guarantees one by one and expects their tests to notice. Each patch of test/mutants names in its head
// the guarantee that it breaks and the test files that must go red. Options: --slice K/N, --json FILE (`mutants.killed`, `mutants.total`,
// and each mutant under `results`), and parts of patch names.
//
// Everything happens in a copy in the system's temporary folder, so the working tree stays as it is.
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from './chromium.mjs'
import { node, root, toolEnv } from './setup.mjs'

/** What the tests of the core and of both hosts need. */
const COPIED = ['src', 'web', 'worker', 'test', 'examples', 'scripts', 'package.json', 'tsconfig.base.json', 'tsconfig.package.json']
/** A mutant may loop: then it is killed, and noticed. */
const LIMIT_MS = 60_000

const folder = join(root, 'test/mutants')
const { slice, json, names } = options(process.argv.slice(2))
const all = readdirSync(folder)
  .filter((name) => name.endsWith('.patch'))
  .sort()
const patches = all
  .filter((name) => names.length === 0 || names.some((part) => name.includes(part)))
  .filter((_, i) => i % slice.of === slice.at - 1)
  .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }))
  .map(({ name, text }) => ({
    name,
    text,
    guarantee: head(text, 'Guarantee'),
    breaks: head(text, 'Breaks'),
    tests: head(text, 'Tests').split(' '),
  }))

const work = mkdtempSync(join(tmpdir(), 'stepwell-mutants-'))
/** @type {{ name: string; guarantee: string; breaks: string; tests: string[]; result: string; killed: boolean; seconds: number; by: string }[]} */
const results = []
let isSound = true
try {
  for (const name of COPIED)
    if (existsSync(join(root, name))) cpSync(join(root, name), join(work, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(work, 'node_modules'), 'junction')
  const files = [...new Set(patches.flatMap(({ tests }) => tests))].sort()
  writeFileSync(join(work, 'vitest.config.mjs'), CONFIG({ chromium: files.some(isInBrowser), workerd: files.some(isInWorkerd) }))

  const sound = await run(files, false)
  if (sound.failed.length > 0 || !sound.isWhole) {
    isSound = false
    console.error(`The tests are red without any mutant:\n  ${sound.failed.join('\n  ') || sound.output.slice(-2000)}`)
  }
  for (const { name, guarantee, breaks, tests } of isSound ? patches : []) {
    const began = performance.now()
    const outcome = await tryMutant(name, tests)
    const seconds = Math.round((performance.now() - began) / 100) / 10
    results.push({ name, guarantee, breaks, tests, seconds, ...outcome })
    console.log(
      `${outcome.killed ? 'killed  ' : 'SURVIVED'} ${guarantee.padEnd(4)} ${`${seconds.toFixed(1)} s`.padStart(7)}  ${name.replace('.patch', '').padEnd(44)} ${outcome.killed ? outcome.by.slice(0, 90) : outcome.result}`,
    )
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
const killed = results.filter((each) => each.killed).length
if (json !== undefined) {
  const figures = { 'mutants.killed': killed, 'mutants.total': patches.length }
  writeFileSync(json, `${JSON.stringify({ ...figures, results }, null, 2)}\n`)
}
console.log(`\n${killed} killed of ${patches.length}`)
process.exit(isSound && killed === patches.length ? 0 : 1)

/** @param {string} name @param {string[]} tests */
async function tryMutant(name, tests) {
  const patch = join(folder, name)
  if (!apply(patch)) return { killed: false, result: 'the patch no longer applies: make it anew', by: '' }
  try {
    const { failed, isWhole, isHung } = await run(tests, true)
    if (isHung) return { killed: true, result: 'killed', by: 'it never ends' }
    if (failed.length > 0) return { killed: true, result: 'killed', by: failed[0] ?? '' }
    // A mutant that does not even load proves nothing.
    return { killed: false, result: isWhole ? 'no test noticed' : 'the tests could not be loaded', by: '' }
  } finally {
    if (!apply(patch, '-R')) throw new Error(`${name} cannot be taken back`)
  }
}

/** @param {string} patch @param {...string} more */
function apply(patch, ...more) {
  // Not inside any repository: paths are those of the copy.
  const env = { ...toolEnv, GIT_CEILING_DIRECTORIES: tmpdir(), GIT_DIR: join(work, 'none') }
  return (
    spawnSync('git', ['apply', ...more, patch], { cwd: work, env, stdio: ['ignore', 'ignore', 'ignore'] }).status === 0
  )
}

/** @param {string[]} files @param {boolean} bail */
async function run(files, bail) {
  const report = join(work, 'report.json')
  rmSync(report, { force: true })
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    'vitest.config.mjs',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...(bail ? ['--bail=1'] : []),
    ...files,
  ]
  const child = spawn(node, args, {
    cwd: work,
    env: {
      ...toolEnv,
      DELIVERY_PROGRAMS: '12',
      NO_COLOR: '1',
      ...(files.some(isInBrowser) ? { CHROME_PATH: chromium() } : undefined),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: its workers hang with it, and go with it.
    detached: true,
  })
  const end = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // All of them have ended.
    }
  }
  const interrupted = () => {
    end()
    process.exit(130)
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (part) => {
      output = (output + part).slice(-20_000)
    })
  let isHung = false
  const timer = setTimeout(
    () => {
      isHung = true
      end()
    },
    bail ? LIMIT_MS : 10 * LIMIT_MS,
  )
  await new Promise((resolve) => child.on('close', resolve))
  clearTimeout(timer)
  end()
  process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
  if (!existsSync(report)) return { failed: [], isWhole: false, isHung, output }
  /** @type {{ testResults: { name: string; status: string; message?: string; assertionResults: { status: string; fullName: string }[] }[] }} */
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'))
  const failed = testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName),
  )
  const unloaded = testResults
    .filter(({ assertionResults }) => assertionResults.length === 0)
    .map(({ name, message }) => `${name}: ${message ?? ''}`)
  if (unloaded.length > 0) output = unloaded.join('\n')
  const isWhole =
    testResults.length === files.length && testResults.every(({ assertionResults }) => assertionResults.length > 0)
  return { failed, isWhole, isHung, output }
}

/** @param {string} text @param {string} field */
function head(text, field) {
  const value = new RegExp(`^${field}: (.+)$`, 'm').exec(text)?.[1]?.trim()
  if (value === undefined) throw new Error(`a patch has no line "${field}: …"`)
  return value
}

/** @param {string[]} args */
function options(args) {
  /** @type {{ slice: { at: number; of: number }; json: string | undefined; names: string[] }} */
  const found = { slice: { at: 1, of: 1 }, json: undefined, names: [] }
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--json') found.json = args[++i]
    else if (args[i] === '--slice') {
      const [at, of] = (args[++i] ?? '').split('/').map(Number)
      if (at === undefined || of === undefined || !(at >= 1 && at <= of))
        throw new Error('--slice takes K/N, as in --slice 1/4')
      found.slice = { at, of }
    } else found.names.push(args[i] ?? '')
  }
  return found
}

/** @param {string} file */
function isInBrowser(file) {
  return file.startsWith('test/web/')
}

/** @param {string} file */
function isInWorkerd(file) {
  return file.startsWith('test/worker/')
}

/** What none of the tests needs is not even begun. @param {Record<'chromium' | 'workerd', boolean>} wanted */
function CONFIG(wanted) {
  return `import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import { sources } from './scripts/sources.mjs'

const resolve = { alias: sources }
const node = { resolve, test: { name: 'node', include: ['test/**/*.test.ts'], exclude: ['test/web/**', 'test/worker/**'], testTimeout: 30_000 } }
// The packages are linked into this folder, and Vite gives a page only what lies in it unless told so.
const chromium = { resolve, server: { fs: { strict: false } }, optimizeDeps: { include: ['idb', '@noble/hashes/blake3.js', 'fast-check'] }, test: {
  name: 'chromium', include: ['test/web/**/*.test.ts'], testTimeout: 30_000,
  browser: {
    enabled: true, headless: true, screenshotFailures: false, instances: [{ browser: 'chromium' }],
    provider: playwright({ launchOptions: { executablePath: process.env.CHROME_PATH, args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'] } }),
  },
} }
${wanted.workerd ? "const workerd = { resolve, plugins: [cloudflareTest({ wrangler: { configPath: './test/worker/wrangler.toml' } })], test: { name: 'workerd', include: ['test/worker/**/*.test.ts'], fsModuleCache: false, testTimeout: 30_000 } }" : ''}
export default defineConfig({ test: { projects: [${['node', ...(wanted.workerd ? ['workerd'] : []), ...(wanted.chromium ? ['chromium'] : [])].join(', ')}] } })
`
}
