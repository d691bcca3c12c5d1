// Fuzzing for as long as it is told: codec, journal decoder and import here, the HTTP API in workerd.
//   node test/campaign/fuzz.ts --seconds 300 --seed 1 --json fuzz.json [--only codec,journal,import,http]

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { unstable_startWorker } from 'wrangler'
import { fuzzCodec } from '../fuzz/codec.ts'
import type { HttpCounts } from '../fuzz/http.ts'
import { fuzzImport } from '../fuzz/import.ts'
import { fuzzJournal } from '../fuzz/journal.ts'
import { type Campaign, part, type Slice } from './part.ts'

/** Of this process, and of workerd: what they hold at most, whatever they are given. Runs that stand still are forgotten, bodies are limited. */
const MOST_MB = 1500

const quiesce = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** What a process holds in memory; 0 where this system does not say. */
function mbOf(pid: number): number {
  try {
    return Math.ceil(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)
  } catch {
    return 0
  }
}

/** The processes that this one has started, and those that they have. */
function descendants(of: number): number[] {
  const children = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number)
    .filter((pid) => {
      try {
        return Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) === of
      } catch {
        return false
      }
    })
  return children.flatMap((pid) => [pid, ...descendants(pid)])
}

/** Notes the most that was ever held, and throws when it is too much. */
function weigh({ figures }: Campaign): void {
  if (!existsSync('/proc/self/status')) return
  for (const [name, mb] of [['fuzz.mb', mbOf(process.pid)], ['fuzz.workerd.mb', Math.max(0, ...descendants(process.pid).map(mbOf))]] as const) {
    if (mb === 0) continue
    figures[name] = Math.max(figures[name] ?? 0, mb)
    if (mb > MOST_MB) throw new Error(`${name}: ${mb} MB are held, more than ${MOST_MB}`)
  }
}

let worker: Awaited<ReturnType<typeof unstable_startWorker>> | undefined

const counted = (name: string, count: number, fuzz: (from: number, count: number) => Promise<object> | object): Slice => ({
  name,
  async run(seed, campaign) {
    const { add } = campaign
    for (const [what, n] of Object.entries(await fuzz(seed, count)) as [string, number][]) {
      add(`fuzz.${name}.${what}`, n)
      if (what === 'inputs' || what === 'requests') add('fuzz.inputs', n)
    }
    weigh(campaign)
    return seed + count
  },
})

async function http(from: number, count: number): Promise<HttpCounts> {
  worker ??= await unstable_startWorker({
    config: join(import.meta.dirname, '../fuzz/wrangler.toml'), dev: { server: { port: 0 }, inspector: false, watch: false, logLevel: 'error', persist: false },
  })
  const response = await worker.fetch(`http://fuzz/?from=${from}&count=${count}`)
  if (!response.ok) throw new Error(await response.text())
  return await response.json() as HttpCounts
}

await part([
  counted('codec', 2000, fuzzCodec),
  counted('journal', 2000, fuzzJournal),
  counted('import', 500, (from, count) => fuzzImport(quiesce, from, count)),
  counted('http', 4, http),
], async () => { await worker?.dispose() })
