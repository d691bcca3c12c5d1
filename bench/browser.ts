// The browser host against bare IndexedDB, in one page of a headless Chromium, in turns.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { chromium as chromiumPath } from '../scripts/chromium.mjs'
import { type Figure, percentile, ratios } from './figures.ts'

const root = resolve(import.meta.dirname, '..')
const STEPS = 10_000
const AT_ONCE = [100, 1_000] as const

/** Milliseconds of the steps alone, and of the whole run with its start and its end (bench/browser/page.ts). */
interface Timed {
  readonly steps: number
  readonly run: number
}

/** By the second, round by round. */
class Rates {
  readonly bare: number[] = []
  readonly steps: number[] = []
  readonly run: number[] = []
  readonly #n: number

  constructor(n: number) {
    this.#n = n
  }

  push(bareMs: number, { steps, run }: Timed): void {
    this.bare.push(this.#n / bareMs * 1000)
    this.steps.push(this.#n / steps * 1000)
    this.run.push(this.#n / run * 1000)
  }
}

interface Bench {
  stepwell(kind: 'sequential' | 'parallel', n: number): Promise<Timed>
  bare(n: number, bytes: number): Promise<number>
  entryBytes(): Promise<number>
  /** Milliseconds of each of `n`: whole runs of five effects, or starts until they are acknowledged. */
  each(what: 'effects' | 'start', n: number): Promise<number[]>
}

export async function browser(isQuick: boolean): Promise<Figure[]> {
  const rounds = isQuick ? 2 : 5
  const steps = isQuick ? 2_000 : STEPS
  const bundle = await build({
    entryPoints: [join(root, 'bench/browser/page.ts')], bundle: true, minify: true, write: false, format: 'iife', platform: 'browser',
    conditions: ['browser'], target: 'es2024', logLevel: 'error', absWorkingDir: root,
  })
  const script = bundle.outputFiles[0]?.text ?? ''
  // A page of a real address: without one there are neither Web Locks nor a database.
  const server = createServer((request, response) => {
    const isScript = request.url === '/page.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
    response.end(isScript ? script : '<!doctype html><title>bench</title><script src="/page.js"></script>')
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  // A profile on disk: a window without one keeps its databases in memory.
  mkdirSync(join(root, '.cache'), { recursive: true })
  const profile = mkdtempSync(join(root, '.cache/bench-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath(), args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
  })
  try {
    const page = context.pages()[0] ?? await context.newPage()
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`)
    const stepwell = (kind: 'sequential' | 'parallel', n: number): Promise<Timed> =>
      page.evaluate(([kind, n]) => (globalThis as unknown as { bench: Bench }).bench.stepwell(kind as 'parallel', n as number), [kind, n] as const)
    const bare = (n: number, bytes: number): Promise<number> =>
      page.evaluate(([n, bytes]) => (globalThis as unknown as { bench: Bench }).bench.bare(n, bytes), [n, bytes] as const)

    await stepwell('sequential', 500)
    await stepwell('parallel', 100)
    const bytes = await page.evaluate(() => (globalThis as unknown as { bench: Bench }).bench.entryBytes())
    await bare(500, bytes)

    const sequential = new Rates(steps)
    const parallel = AT_ONCE.map((n) => ({ n, rates: new Rates(n) }))
    for (let round = 0; round < rounds; round++) {
      sequential.push(await bare(steps, bytes), await stepwell('sequential', steps))
      for (const { n, rates } of parallel) rates.push(await bare(n, bytes), await stepwell('parallel', n))
    }
    const each = (what: 'effects' | 'start', n: number): Promise<number[]> =>
      page.evaluate(([what, n]) => (globalThis as unknown as { bench: Bench }).bench.each(what as 'start', n as number), [what, n] as const)
    await each('effects', 10)
    const effects = await each('effects', isQuick ? 30 : 200)
    const starts = await each('start', isQuick ? 30 : 200)
    const both = [{ name: 'browser.sequential', rates: sequential }, ...parallel.map(({ n, rates }) => ({ name: `browser.parallel.${n}`, rates }))]
    return [
      { name: 'browser.sequential.vsBareIdb', values: ratios(sequential.steps, sequential.bare) },
      // Of the two numbers of steps, whichever looks worse.
      { name: 'browser.parallel.vsBareIdb', values: sequential.run.map((_, i) =>
        Math.min(...parallel.map(({ rates }) => ratios(rates.steps, rates.bare)[i] as number))) },
      ...both.flatMap(({ name, rates: { bare, steps, run } }) => [
        ...(name === 'browser.sequential' ? [] : [{ name: `${name}.vsBareIdb`, values: ratios(steps, bare) }]),
        { name: `${name}.stepsPerSecond`, values: steps },
        { name: `${name}.bareIdb.putsPerSecond`, values: bare },
        { name: `${name}.wholeRun.vsBareIdb`, values: ratios(run, bare) },
        { name: `${name}.wholeRun.stepsPerSecond`, values: run },
      ]),
      { name: 'browser.fiveEffects.p50Ms', values: [percentile(effects, 50)] },
      { name: 'browser.fiveEffects.p99Ms', values: [percentile(effects, 99)] },
      { name: 'browser.start.p50Ms', values: [percentile(starts, 50)] },
      { name: 'browser.start.p99Ms', values: [percentile(starts, 99)] },
      { name: 'browser.entryBytes', values: [bytes] },
    ]
  } finally {
    await context.close()
    server.close()
    rmSync(profile, { recursive: true, force: true })
  }
}
