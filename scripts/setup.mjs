// Makes the working copy ready, on Node built-ins alone (Node 20 and npm are enough): installs when the lock differs from what
// is installed, and checks that the newer Node of node_modules, on which every tool here runs, does run.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = resolve(fileURLToPath(import.meta.url), '../..')
const modules = join(root, 'node_modules')
const windows = process.platform === 'win32'

/** The Node that the tools run on. */
export const node = join(modules, 'node', 'bin', windows ? 'node.exe' : 'node')

/** The PATH without any node_modules/.bin: what the machine itself has. */
const machinePath = (process.env.PATH ?? '')
  .split(delimiter)
  .filter((dir) => !dir.replaceAll('\\', '/').endsWith('node_modules/.bin'))
  .join(delimiter)

/** What the machine itself runs things on. */
export const machineEnv = { ...process.env, PATH: machinePath }

/** The environment of every tool that is run from here: its Node comes first, nothing asks and nothing reports home. */
export const toolEnv = {
  ...process.env,
  PATH: [join(modules, '.bin'), machinePath].join(delimiter),
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
}

/** @param {string} path */
const json = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** Whether node_modules holds what package-lock.json says; npm keeps its own record of what it installed. */
function installed() {
  const record = join(modules, '.package-lock.json')
  if (!existsSync(record)) return false
  const have = json(record).packages
  const want = json(join(root, 'package-lock.json')).packages
  delete want['']
  for (const [path, entry] of Object.entries(want)) {
    const there = have[path]
    // An optional package may be missing: it is another platform's.
    if (there === undefined ? !entry.optional : there.version !== entry.version || there.integrity !== entry.integrity) return false
  }
  return Object.keys(have).every((path) => path in want)
}

/** Runs npm on the machine's own Node, because the one in node_modules may be what is being replaced.
 * @param {string[]} args */
function npm(args) {
  const quiet = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  return spawnSync('npm', [...args, ...quiet], { cwd: root, env: machineEnv, shell: windows, stdio: ['ignore', 2, 2] }).status === 0
}

function nodeRuns() {
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.match(/^v(\d+)\.(\d+)/)
  if (!version) return false
  // The newest wrangler wants 22.12.
  const [major, minor] = [Number(version[1]), Number(version[2])]
  return major > 22 || (major === 22 && minor >= 12)
}

export function setup() {
  if (!installed()) {
    console.error('Installing dependencies…')
    if (!npm(['ci'])) throw new Error('npm ci failed: see its message above')
  }
  // Some npm versions and settings hold install scripts back, and the package `node` gets its binary in one.
  if (!nodeRuns()) npm(['rebuild', 'node', 'esbuild', 'workerd', '--ignore-scripts=false'])
  if (!nodeRuns()) npm(['ci', '--ignore-scripts=false'])
  if (!nodeRuns()) {
    throw new Error(
      `${node} does not run. It comes from the npm package \`node\`, whose install script downloads it: ` +
        'allow install scripts (npm approve-scripts node), delete node_modules and try again.',
    )
  }
}

/** Runs a tool of node_modules on the newer Node and gives its exit code.
 * @param {string} script its file inside node_modules
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env] */
export function tool(script, args, env = {}) {
  return new Promise((done, failed) => {
    const child = spawn(node, [join(modules, script), ...args], {
      cwd: root,
      env: { ...toolEnv, ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    child.once('error', failed)
    child.once('close', (code) => done(code ?? 1))
  })
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) setup()
