// Fuzzing for as long as it is told: codec, journal decoder and import here, the HTTP API in workerd.
//   node test/campaign/fuzz.ts --seconds 300 --seed 1 --json fuzz.json [--only codec,journal,import,http]

import { join } from 'node:path'
import { unstable_startWorker } from 'wrangler'
import { fuzzCodec } from '../fuzz/codec.ts'
import type { HttpCounts } from '../fuzz/http.ts'
import { fuzzImport } from '../fuzz/import.ts'
import { fuzzJournal } from '../fuzz/journal.ts'
import { part, type Slice } from './part.ts'

const quiesce = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

let worker: Awaited<ReturnType<typeof unstable_startWorker>> | undefined

const counted = (name: string, count: number, fuzz: (from: number, count: number) => Promise<object> | object): Slice => ({
  name,
  async run(seed, { add }) {
    for (const [what, n] of Object.entries(await fuzz(seed, count)) as [string, number][]) {
      add(`fuzz.${name}.${what}`, n)
      if (what === 'inputs' || what === 'requests') add('fuzz.inputs', n)
    }
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
