// The edge host against the bare loop and Cloudflare Workflows, all in one workerd (bench/edge/), in turns.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { unstable_startWorker } from 'wrangler'
import { type Figure, percentile, ratios } from './figures.ts'

const root = resolve(import.meta.dirname, '..')
const STEPS = 10_000
const REPLAYED = 20_000
const COUNTED = 1_000
const AT_ONCE = [100, 1_000] as const
/** Cloudflare Workflows are asked for fewer: it is the rate that is compared. */
const CLOUDFLARE_STEPS = 300
const JOURNALS = ['prompt', 'settled', 'concurrent'] as const

interface Cost {
  readonly rowsWritten: number
  readonly alarmsSet: number
  readonly entries: number
  readonly entryBytes: number
}

export async function edge(isQuick: boolean): Promise<Figure[]> {
  const rounds = isQuick ? 2 : 7
  const replayed = isQuick ? 5_000 : REPLAYED
  // On the disk of the project, as `wrangler dev` has it: a folder for temporary files may be in memory.
  mkdirSync(join(root, '.cache'), { recursive: true })
  const state = mkdtempSync(join(root, '.cache/bench-'))
  const worker = await unstable_startWorker({
    config: join(root, 'bench/edge/wrangler.toml'),
    dev: { server: { port: 0 }, inspector: false, watch: false, logLevel: 'error', persist: state },
  })
  const call = async <T>(path: string, query: Readonly<Record<string, string | number>>): Promise<T> => {
    const text = Object.entries(query).map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join('&')
    const response = await worker.fetch(`http://bench/${path}?${text}`)
    if (!response.ok) throw new Error(`${path} ${text}: ${await response.text()}`)
    return await response.json() as T
  }
  let runs = 0
  const id = (): string => `run-${runs++}`

  try {
    // Once for the compiler, which has seen none of it; and an entry's size, so that the bare loop writes as much.
    const first = id()
    await call('sequential', { n: STEPS, id: first })
    const { entries, entryBytes } = await call<Cost>('cost', { id: first })
    const bytes = Math.round(entryBytes / entries)
    await call('bare', { n: STEPS, bytes })
    await call('cloudflare', { n: 10 })

    const rates = { bare: [] as number[], steps: [] as number[], cloudflare: [] as number[] }
    const atOnce = new Map(AT_ONCE.map((n) => [n, { steps: [] as number[], cloudflare: [] as number[] }]))
    for (let round = 0; round < rounds; round++) {
      rates.bare.push(STEPS / await call<number>('bare', { n: STEPS, bytes }) * 1000)
      rates.steps.push(STEPS / await call<number>('sequential', { n: STEPS, id: id() }) * 1000)
      rates.cloudflare.push(CLOUDFLARE_STEPS / await call<number>('cloudflare', { n: CLOUDFLARE_STEPS }) * 1000)
      for (const [n, rate] of atOnce) {
        rate.steps.push(n / await call<number>('parallel', { n, id: id() }) * 1000)
        rate.cloudflare.push(n / await call<number>('cloudflare', { n, parallel: 1 }) * 1000)
      }
    }

    const journals = new Map(JOURNALS.map((kind) => [kind, { id: `replay-${kind}`, rates: [] as number[] }]))
    for (const [kind, journal] of journals) await call('prepare', { journal: `${kind}-journal`, n: replayed, id: journal.id })
    // The first of them compiles.
    for (let round = 0; round <= rounds; round++) {
      for (const journal of journals.values()) {
        const { ms, entries } = await call<{ ms: number; entries: number }>('replay', { id: journal.id })
        if (round > 0) journal.rates.push(entries / ms * 1000)
      }
    }

    // Each by itself, as whoever waits for it has it.
    const n = isQuick ? 50 : 300
    await call('each', { what: 'effects', n: 20 })
    await call('each', { what: 'start', n: 20 })
    const effects = await call<number[]>('each', { what: 'effects', n })
    const starts = await call<number[]>('each', { what: 'start', n })
    const sweeps: number[] = []
    for (let round = 0; round < rounds; round++) {
      const { ms, entries } = await call<{ ms: number; entries: number }>('sweep', { n: STEPS, id: id() })
      sweeps.push(entries / ms * 1000)
    }

    await call('sequential', { n: COUNTED, id: 'counted' })
    const cost = await call<Cost>('cost', { id: 'counted' })

    const parallel = AT_ONCE.map((n) => {
      const { steps, cloudflare } = atOnce.get(n) as { steps: number[]; cloudflare: number[] }
      return { n, steps, cloudflare, ratio: ratios(steps, cloudflare) }
    })
    return [
      { name: 'edge.sequential.vsCloudflareWorkflows', values: ratios(rates.steps, rates.cloudflare) },
      { name: 'edge.sequential.vsBareSql', values: ratios(rates.steps, rates.bare) },
      // Of the two numbers of steps, whichever looks worse.
      { name: 'edge.parallel.vsCloudflareWorkflows', values: rates.steps.map((_, i) => Math.min(...parallel.map(({ ratio }) => ratio[i] as number))) },
      { name: 'edge.replay.entriesPerSecond', values: journals.get('prompt')?.rates ?? [] },
      { name: 'edge.replay.concurrent.entriesPerSecond', values: journals.get('concurrent')?.rates ?? [] },
      { name: 'edge.replay.withIo.entriesPerSecond', values: journals.get('settled')?.rates ?? [] },
      { name: 'edge.rowsWrittenPerStep', values: [(cost.rowsWritten + cost.alarmsSet) / COUNTED] },
      { name: 'edge.fiveEffects.p50Ms', values: [percentile(effects, 50)] },
      { name: 'edge.fiveEffects.p99Ms', values: [percentile(effects, 99)] },
      { name: 'edge.start.p50Ms', values: [percentile(starts, 50)] },
      { name: 'edge.start.p99Ms', values: [percentile(starts, 99)] },
      { name: 'edge.sweep.entriesPerSecond', values: sweeps },
      { name: 'edge.sequential.stepsPerSecond', values: rates.steps },
      { name: 'edge.sequential.bareSql.rowsPerSecond', values: rates.bare },
      { name: 'edge.sequential.cloudflareWorkflows.stepsPerSecond', values: rates.cloudflare },
      ...parallel.flatMap(({ n, steps, cloudflare, ratio }) => [
        { name: `edge.parallel.${n}.vsCloudflareWorkflows`, values: ratio },
        { name: `edge.parallel.${n}.stepsPerSecond`, values: steps },
        { name: `edge.parallel.${n}.cloudflareWorkflows.stepsPerSecond`, values: cloudflare },
      ]),
      { name: 'edge.entryBytes', values: [bytes] },
    ]
  } finally {
    await worker.dispose()
    rmSync(state, { recursive: true, force: true })
  }
}
