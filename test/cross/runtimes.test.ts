// G8 across runtimes: what was lived in one goes on in the others from every prefix of its journal, to the same winners, keys and values.

import { join } from 'node:path'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unstable_startWorker } from 'wrangler'
import { chromium as chromiumPath } from '../../scripts/chromium.mjs'
import { quiesce } from '../support/node.ts'
import { namedPrograms, type Program, randomProgram } from '../contract/delivery.contract.ts'
import { type Runtime, runtime } from './journals.ts'

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
    live: (program, seed) => page.evaluate(([program, seed]) => (globalThis as unknown as { runtime: Runtime }).runtime.live(program as Program, seed as number), [program, seed]),
    replay: (run) => page.evaluate((run) => (globalThis as unknown as { runtime: Runtime }).runtime.replay(run), run),
  }
}

async function inWorkerd(): Promise<Runtime> {
  const worker = await unstable_startWorker({ config: join(here, 'wrangler.toml'), dev: { server: { port: 0 }, logLevel: 'error' } })
  closing.push(() => worker.dispose())
  const call = async (path: string, body: object): Promise<never> => {
    const response = await worker.fetch(`http://cross${path}`, { method: 'POST', body: JSON.stringify(body) })
    if (!response.ok) throw new Error(await response.text())
    return await response.json() as never
  }
  return { live: (program, seed) => call('/live', { program, seed }), replay: (run) => call('/replay', run) }
}

let runtimes: Readonly<Record<'node' | 'workerd' | 'chromium', Runtime>>
beforeAll(async () => { runtimes = { node: runtime(quiesce), workerd: await inWorkerd(), chromium: await inChromium() } }, 120_000)

const last: Program = { do: 'step', name: 'last', takes: 'no time', n: 0 }
const programs = {
  ...Object.fromEntries(Object.entries(namedPrograms).map(([name, program]): [string, Program] => [name, { do: 'seq', of: [program, last] }])),
  ...Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`random program ${50001 + i}`, randomProgram(50001 + i, 4 + ((50001 + i) % 20))])),
}

const names = ['node', 'workerd', 'chromium'] as const
for (const from of names) {
  for (const to of names.filter((name) => name !== from)) {
    test(`G8: what ${from} has lived goes on in ${to} from every prefix of its journal, and what has gone on there is replayed in ${from}`, async () => {
      let [prefixes, replays, back] = [0, 0, 0]
      for (const [name, program] of Object.entries(programs)) {
        const run = await runtimes[from].live(program, 1)
        const replayed = await runtimes[to].replay(run).catch((cause: unknown) => { throw new Error(`${name}: ${String(cause)}`, { cause }) })
        prefixes += run.entries.length - 1
        replays += replayed.replays
        if (replayed.middle === undefined) continue
        await runtimes[from].replay(replayed.middle)
        back++
      }
      // The whole once, and every other prefix twice: to its end, and then what that has become.
      expect(replays).toBe(2 * prefixes - Object.keys(programs).length)
      expect(prefixes).toBeGreaterThan(400)
      expect(back).toBeGreaterThan(50)
    }, 240_000)
  }
}
