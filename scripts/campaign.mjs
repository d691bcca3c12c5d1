// `npm run campaign`: what tests do for seconds, for as long as it is told: the simulator, crash points, fuzzing, real kills. Each part is
// a program that takes `--seconds N --seed S --json FILE`, writes its figures by name, and exits with 1 and the seed when a check fails.
//   npm run campaign -- --seconds 3600 --seed 7 --json campaign.json --only fuzz,crash-points
//
// The parts run one after the other, each for its share of the seconds (300 in all, if nothing is said). `--json` writes all figures.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chromium } from './chromium.mjs'
import { node, root, setup, toolEnv } from './setup.mjs'

/** Name, program, and its share of the time. */
const parts = /** @type {const} */ ([
  ['simulate', 'test/campaign/simulate.ts', 4],
  ['crash-points', 'test/campaign/crash-points.ts', 2],
  ['fuzz', 'test/campaign/fuzz.ts', 2],
  ['kills', 'test/campaign/kills.ts', 4],
])

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '300' }, seed: { type: 'string', default: '1' }, json: { type: 'string' }, only: { type: 'string', multiple: true } },
})
const seconds = Number(options.seconds)
const seed = Number(options.seed)
if (!(seconds > 0)) throw new Error('--seconds takes a number above 0')
if (!Number.isSafeInteger(seed) || seed < 0) throw new Error('--seed takes a whole number from 0')
const names = (options.only ?? parts.map(([name]) => name)).flatMap((name) => name.split(','))
for (const name of names) if (!parts.some(([known]) => known === name)) throw new Error(`--only takes ${parts.map(([known]) => known).join(', ')}; ${name} is none of them`)
const wanted = parts.filter(([name]) => names.includes(name))

setup()
const env = { ...toolEnv, X_LOCAL_OBSERVABILITY: 'false', NO_COLOR: '1', CHROME_PATH: chromium() }
const results = mkdtempSync(join(tmpdir(), 'stepwell-campaign-'))
/** @type {Record<string, number>} */
const figures = {}
/** @type {string[]} */
const fallen = []
const shares = wanted.reduce((sum, [, , share]) => sum + share, 0)

/** Ends the part that is running: it prints what it has. A terminal sends SIGINT to both. @type {(signal: NodeJS.Signals) => void} */
let stop = () => {}
process.on('SIGINT', () => {})
process.on('SIGTERM', () => stop('SIGTERM'))

for (const [name, program, share] of wanted) {
  const given = Math.max(1, Math.floor(seconds * share / shares))
  console.log(`\n${name}: ${given} s, seed ${seed}`)
  const file = join(results, `${name}.json`)
  // A program that is not there has proved nothing.
  const code = existsSync(join(root, program)) ? await run(program, ['--seconds', String(given), '--seed', String(seed), '--json', file]) : `there is no ${program}`
  if (existsSync(file)) Object.assign(figures, JSON.parse(readFileSync(file, 'utf8')))
  if (code !== 0) fallen.push(`${name} (${typeof code === 'number' ? `exit code ${code}` : code}): npm run campaign -- --only ${name} --seed ${seed}`)
}
rmSync(results, { recursive: true, force: true })
figures['campaign.seconds'] = seconds
figures['campaign.seed'] = seed
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(figures, null, 2)}\n`)
const width = Math.max(...Object.keys(figures).map((name) => name.length))
console.log(`\n${Object.entries(figures).map(([name, n]) => `${name.padEnd(width)}  ${n.toLocaleString('en').padStart(12)}`).join('\n')}`)
for (const what of fallen) console.error(`FELL: ${what}`)
process.exit(fallen.length > 0 ? 1 : 0)

/** Its figures go to their file; what it says goes to whoever looks. @param {string} program @param {string[]} args @returns {Promise<number | string>} */
function run(program, args) {
  return new Promise((resolve) => {
    const child = spawn(node, ['--disable-warning=ExperimentalWarning', join(root, program), ...args], { cwd: root, env, stdio: ['ignore', 'ignore', 'inherit'] })
    stop = (signal) => child.kill(signal)
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(code ?? `ended by ${signal}`))
  })
}
