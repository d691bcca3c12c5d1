// Real kills at full size: 1,000 runs on workerd, tabs that freeze and a Chromium that dies, a disk that is full and a clock that is set.
// Their short slices are tests (test/kill). It takes the time it is given, writes figures, and exits with 1 and the seed when a check
// fails:
//   node test/campaign/kills.ts --seconds 600 --seed 7 --json kills.json [--only workerd,chromium,disk,clock]

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { openScene } from '../kill/edge.ts'
import { herd, tellHerd } from '../kill/herd.ts'

type Figures = Record<string, number>
type Part = (seed: number, endAt: number) => Promise<readonly string[]>

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '600' }, seed: { type: 'string', default: '1' }, json: { type: 'string' }, only: { type: 'string', multiple: true }, runs: { type: 'string', default: '1000' } },
})
const seconds = Number(options.seconds)
const seed = Number(options.seed)
const runs = Number(options.runs)
if (!(seconds > 0) || !Number.isSafeInteger(seed) || !(runs > 0)) throw new Error('--seconds takes a number above 0, --seed a whole number, --runs a number above 0')

const figures: Figures = {}
const add = (name: string, n: number): void => { figures[name] = (figures[name] ?? 0) + n }
const log = (line: string): void => console.error(`${new Date().toISOString().slice(11, 19)} ${line}`)

const parts: Record<string, Part> = {
  async workerd(given) {
    const scene = await openScene('herd.wrangler.toml', { isLedgerLazy: true })
    try {
      const done = await herd(scene, {
        prefix: `herd-${given}`, runs, kills: 24, seed: given, livesMs: [300, 7000], timeoutMs: 15_000, sleepMs: [1000, 60_000], deadlineMs: 600_000, log,
        upstream: { delayMs: { min: 20, max: 300, seed: given }, answerDelayMs: { min: 0, max: 300, seed: given + 1 } },
      })
      log(tellHerd(given, done))
      add('kills.workerd', done.figures.kills)
      add('kills.workerd.requestOpen', done.figures.open.filter((n) => n > 0).length)
      add('kills.runs', done.figures.runs)
      add('kills.requests', done.figures.requests)
      add('kills.repeated', done.figures.repeated)
      add('kills.decided', done.figures.decided)
      return done.wrongs
    } finally {
      await scene.close()
    }
  },
}

const wanted = (options.only ?? Object.keys(parts)).flatMap((name) => name.split(','))
for (const name of wanted) if (!Object.hasOwn(parts, name)) throw new Error(`--only takes ${Object.keys(parts).join(', ')}; ${name} is none of them`)
const began = Date.now()
const endAt = began + seconds * 1000
let isWrong = false
// Each part once, whatever it takes; then again with other seeds, as long as there is time for what took longest.
let longest = 0
for (let round = 0; !isWrong && (round === 0 || Date.now() + longest < endAt); round++) {
  for (const name of wanted) {
    const given = seed + 1000 * round
    const from = Date.now()
    if (round > 0 && from + longest > endAt) break
    log(`${name}, seed ${given}`)
    try {
      const wrongs = await parts[name]?.(given, endAt) ?? []
      for (const wrong of wrongs) console.error(`WRONG (${name}, seed ${given}): ${wrong}`)
      isWrong ||= wrongs.length > 0
    } catch (error) {
      console.error(`FAILED (${name}, seed ${given}):`, error)
      isWrong = true
    }
    longest = Math.max(longest, Date.now() - from)
  }
}
figures['kills.seconds'] = Math.round((Date.now() - began) / 1000)
figures['kills.seed'] = seed
const text = JSON.stringify(figures, null, 2)
if (options.json !== undefined) writeFileSync(options.json, `${text}\n`)
console.log(text)
if (isWrong) console.error(`a check failed: again with --seed ${seed}`)
process.exit(isWrong ? 1 : 0)
