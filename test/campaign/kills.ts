// Real kills at full size: 1,000 runs on workerd, tabs that freeze and a Chromium that dies, a disk that is full and a clock that is set.
// Their short slices are tests (test/kill). It takes the time it is given, writes figures, and exits with 1 and the seed when a check
// fails:
//   node test/campaign/kills.ts --seconds 600 --seed 7 --json kills.json [--only workerd,chromium,disk,clock]

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { setBrowserClock, setEdgeClock } from '../kill/clock.ts'
import { openScene } from '../kill/edge.ts'
import { flockKills, freezeOnce, freezes, openFlock } from '../kill/flock.ts'
import { fillBrowser, fillEdge } from '../kill/full-disk.ts'
import { herd, tellHerd } from '../kill/herd.ts'

type Figures = Record<string, number>
type Part = (seed: number) => Promise<readonly string[]>

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
    const scene = await openScene('../worker/herd-worker.ts', { isLedgerLazy: true, isQuiet: true })
    try {
      const done = await herd(scene, {
        prefix: `herd-${given}`, runs, kills: 24, seed: given, lives: [runs / 50, runs / 2], timeoutMs: 15_000, sleepMs: [1000, 60_000], deadlineMs: 1_200_000, recoveryMs: 15_000, log,
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
  async chromium(given) {
    const scene = await openFlock()
    try {
      const wrongs: string[] = []
      const browser = await scene.launch()
      for (let i = 0; i < 3; i++) {
        for (const how of freezes) {
          const frozen = await freezeOnce(scene, browser, how, `frozen-${given}-${how}-${i}`)
          log(`${how}: frozen for ${frozen.frozenMs} ms`)
          wrongs.push(...frozen.wrongs, ...(frozen.isTakenOver ? [] : [`${how}: nobody took the run over`]))
          add('kills.freezes', 1)
        }
      }
      await browser.close()
      const done = await flockKills(scene, {
        prefix: `flock-${given}`, runs: 50, kills: 12, seed: given, livesMs: [50, 2500], timeoutMs: 5000, sleepMs: [1000, 40_000], deadlineMs: 300_000, log,
        upstream: { delayMs: { min: 20, max: 300, seed: given }, answerDelayMs: { min: 0, max: 300, seed: given + 1 } },
      })
      log(`${done.kills.length} kills of Chromium (seed ${given}) with 50 runs in two tabs; open requests at each: ${done.open.join(' ')}; ${done.requests} requests, ${done.decided} effects decided; ${done.seconds} s`)
      add('kills.chromium', done.kills.length)
      add('kills.chromium.requestOpen', done.open.filter((n) => n > 0).length)
      add('kills.chromium.runs', 50)
      return [...wrongs, ...done.wrongs]
    } finally {
      await scene.close()
    }
  },
  async disk(given) {
    const wrongs: string[] = []
    const scene = await openScene('../worker/herd-worker.ts', { canFill: true, isQuiet: true })
    try {
      const done = await fillEdge(scene, `full-${given}`, 50, 15_000)
      log(`the disk of workerd was full: a start got ${done.refusal}, ${done.stopped} steps ran again; ${done.seconds} s`)
      wrongs.push(...done.wrongs)
    } finally {
      await scene.close()
    }
    const flock = await openFlock()
    try {
      const done = await fillBrowser(flock, `quota-${given}`, 16, 15_000)
      log(`the browser had no space: a start got ${done.refusal.split('\n')[0] ?? ''}, ${done.stopped} drives stopped; ${done.seconds} s`)
      wrongs.push(...done.wrongs)
    } finally {
      await flock.close()
    }
    add('kills.fullDisks', 2)
    return wrongs
  },
  async clock(given) {
    const wrongs: string[] = []
    const scene = await openScene('../worker/herd-worker.ts', { isQuiet: true })
    try {
      const done = await setEdgeClock(scene, `clock-${given}`, 60, 12, given)
      log(`the clock of workerd was set ${done.jumps.length} times; ${done.decided} effects decided; ${done.seconds} s`)
      wrongs.push(...done.wrongs)
      add('kills.clockJumps', done.jumps.length)
    } finally {
      await scene.close()
    }
    const flock = await openFlock()
    try {
      const done = await setBrowserClock(flock, `clock-${given}`, 60, 12, given)
      log(`the clock of a tab was set ${done.jumps.length} times; ${done.seconds} s`)
      wrongs.push(...done.wrongs)
      add('kills.clockJumps', done.jumps.length)
    } finally {
      await flock.close()
    }
    return wrongs
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
      const wrongs = await parts[name]?.(given) ?? []
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
