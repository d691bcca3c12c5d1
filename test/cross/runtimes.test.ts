// G8 across runtimes: a journal that was written live in one is replayed in the others, to the same winners, keys and values.

import { join } from 'node:path'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { afterAll, expect, test } from 'vitest'
import { unstable_startWorker } from 'wrangler'
import { chromium as chromiumPath } from '../../scripts/chromium.mjs'
import { quiesce } from '../support/node.ts'
import { type Replayed, runtime, type Travelling } from './journals.ts'

interface Runtime {
  live(seed: number, size: number): Promise<Travelling>
  replay(journal: Travelling): Promise<Replayed>
}

const here = import.meta.dirname
const closing: (() => Promise<unknown>)[] = []
afterAll(async () => { for (const close of closing) await close() })

async function inChromium(): Promise<Runtime> {
  const bundle = await build({ entryPoints: [join(here, 'page.ts')], bundle: true, write: false, format: 'iife', platform: 'browser', conditions: ['browser'], logLevel: 'error' })
  const browser = await chromium.launch({
    executablePath: chromiumPath(), args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
  })
  closing.push(() => browser.close())
  const page = await browser.newPage()
  await page.addScriptTag({ content: bundle.outputFiles[0]?.text ?? '' })
  return {
    live: (seed, size) => page.evaluate(([seed, size]) => (globalThis as unknown as { runtime: Runtime }).runtime.live(seed as number, size as number), [seed, size]),
    replay: (journal) => page.evaluate((journal) => (globalThis as unknown as { runtime: Runtime }).runtime.replay(journal), journal),
  }
}

async function inWorkerd(): Promise<Runtime> {
  const worker = await unstable_startWorker({ config: join(here, 'wrangler.toml'), dev: { server: { port: 0 }, logLevel: 'error' } })
  closing.push(() => worker.dispose())
  const call = async (path: string, body?: Travelling): Promise<never> => {
    const response = await worker.fetch(`http://cross${path}`, body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) })
    if (!response.ok) throw new Error(await response.text())
    return await response.json() as never
  }
  return { live: (seed, size) => call(`/live?seed=${seed}&size=${size}`), replay: (journal) => call('/replay', journal) }
}

test('G8: journals of Node, workerd and Chromium replay in one another', async () => {
  const runtimes: Record<string, Runtime> = { node: runtime(quiesce), workerd: await inWorkerd(), chromium: await inChromium() }
  let replays = 0
  for (const [from, writer] of Object.entries(runtimes)) {
    for (let seed = 50001; seed <= 50025; seed++) {
      const journal = await writer.live(seed, 4 + (seed % 20))
      for (const [to, reader] of Object.entries(runtimes)) {
        const again = await reader.replay(journal)
        expect({ from, to, seed, ...again }).toEqual({ from, to, seed, end: 'completed', trace: journal.trace, output: journal.output, executed: 0 })
        replays++
      }
    }
  }
  expect(replays).toBe(225)
}, 120_000)
