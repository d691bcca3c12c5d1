// The same small workflows on Stepwell and on Cloudflare Workflows, side by side in one workerd: equal ends, equal values, and as many
// calls of each function.
//
// Left out, because the two mean different things by it:
// - `Promise.race` over steps: there it may have another winner when it is run again, here it has the same (G8);
// - texts of errors: here a step's error is wrapped and says how often it was tried;
// - `sleep` inside `Promise.all`, and time-outs of sleeps: names of equal calls are numbered there over the whole workflow, here by scope;
// - values that only one of them carries (there streams and RPC stubs; here blob references and errors with their fields);
// - the output of the whole workflow as it is stored: there it must be JSON, so it is compared in our wire form;
// - effects, undo, cancel with cleanup, generations: there is nothing like them.

import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { unstable_startWorker } from 'wrangler'

interface Ended {
  readonly ok: boolean
  readonly output?: unknown
  readonly calls: Readonly<Record<string, number>>
}

const worker = await unstable_startWorker({
  config: join(import.meta.dirname, 'cloudflare.wrangler.toml'), dev: { server: { port: 0 }, inspector: false, watch: false, logLevel: 'none', persist: false },
})
afterAll(() => worker.dispose())

async function get<T>(query: string): Promise<T> {
  const response = await worker.fetch(`http://differential/${query}`)
  if (!response.ok) throw new Error(await response.text())
  return await response.json() as T
}

test('G2, G26: small workflows end as they do on Cloudflare Workflows', async () => {
  const scenarios = await get<string[]>('')
  let failed = 0
  for (const scenario of scenarios) {
    const on = (engine: string): Promise<Ended> => get(`?on=${engine}&scenario=${encodeURIComponent(scenario)}`)
    const [ours, theirs] = await Promise.all([on('stepwell'), on('cloudflare')])
    expect({ scenario, ...ours }).toEqual({ scenario, ...theirs })
    if (!ours.ok) failed++
  }
  expect(scenarios.length).toBeGreaterThan(25)
  expect(failed).toBe(2)
}, 240_000)
