// G15: parallel workers over lists that are permuted, extended and shortened between the generations of a run, on any store. The
// outside world must see one key for each item over all generations, and no item may get another's outcome.

import { z } from 'zod'
import { type AnyWorkflow, workflow } from '../../src/define.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { FaultStore } from '../../src/testing/fault-store.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import type { EffectHarness } from './effects.contract.ts'

export interface LoopResult {
  readonly generations: number
  readonly items: number
  readonly requests: number
  readonly crashes: number
  /** Effects of which nobody knew whether they had happened. */
  readonly probes: number
  /** Generations that began while functions were under way. */
  readonly overtaken: number
}

const pool = Array.from({ length: 14 }, (_, i) => `item ${String.fromCodePoint(97 + i)}`)

function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 4294967296) * below)
  }
}

/** The next generation's list: in another order, with more or fewer items, or all of that. */
function changed(list: readonly string[], draw: (below: number) => number): readonly string[] {
  let next = [...list]
  const how = draw(5)
  if (how !== 1) next = next.map((item) => ({ item, at: draw(1000) })).toSorted((a, b) => a.at - b.at).map(({ item }) => item)
  if (how === 1) next.reverse()
  if (how >= 2) for (const item of pool) if (!next.includes(item) && draw(3) === 0) next.splice(draw(next.length + 1), 0, item)
  if (how >= 3) next = next.filter(() => draw(4) !== 0)
  return next.length === 0 ? [pool[0] as string] : next
}

/** Throws with the seed in its message. */
export async function checkLoops(harness: EffectHarness, seed: number): Promise<LoopResult> {
  const draw = random(seed)
  const requests: { item: string; key: string }[] = []
  const fail = (what: string): never => { throw new Error(`seed ${seed}: ${what}; requests ${JSON.stringify(requests)}`) }
  let code = 0
  let list: readonly string[] = pool.slice(0, 3 + draw(6))
  /** A process that is dead does nothing any more. */
  let life = 0
  let restarts = 0
  let crashes = 0
  let probes = 0
  let overtaken = 0
  let acting = 0
  const version = (): AnyWorkflow => {
    const mine = { code, concurrency: 1 + draw(5), hasStep: draw(2) === 0, life }
    return workflow({ name: 'loop', input: z.any(), onDivergence: 'restart' }, async (ctx) => {
      // Asked for in code that has changed, before anything that is recorded: the run diverges and begins again.
      await ctx.step(`code ${mine.code}`, () => mine.code)
      const now = list
      const got = await ctx.map('work', now, { key: (item) => item, concurrency: mine.concurrency }, async (c, item, i) => {
        if (mine.hasStep) await c.step('look', () => item)
        return c.effect('pay', async ({ idempotencyKey, input }) => {
          acting++
          // The first of a list is the last to act.
          for (let turn = 0; turn < (now.length - i) * 2; turn++) await harness.quiesce()
          if (mine.life !== life) return new Promise<string>(() => {})
          requests.push({ item: input.item, key: idempotencyKey })
          for (let turn = 0; turn < (now.length - i) % 3; turn++) await harness.quiesce()
          if (mine.life === life) acting--
          return `paid ${input.item}`
        }, {
          kind: 'money', input: { item }, timeout: '5 seconds', onAmbiguous: 'probe',
          probe: ({ idempotencyKey }) => {
            probes++
            const found = requests.find(({ key }) => key === idempotencyKey)
            return found === undefined ? 'did-not-happen' : { happened: `paid ${found.item}` }
          },
        })
      })
      await ctx.sleep('1 hour')
      return now.map((item, i) => [item, got[i]] as const)
    })
  }
  const inner = await harness.open('loop')
  let handle = new FaultStore(inner, {})
  const boot = (at: number | undefined, definition: AnyWorkflow): TestRuns => new TestRuns({
    host: new TestHost({ quiesce: harness.quiesce, seed: seed + life, ...(at === undefined ? undefined : { startAt: at }) }),
    workflows: [definition], storeUsesRealTime: true, limits: { restarts: 20 }, open: () => (handle = new FaultStore(inner, {})),
  })
  let definition = version()
  let runs = boot(undefined, definition)
  await runs.start(definition, 0, { id: 'loop' })
  const generations = 3 + draw(3)
  for (let generation = 1; ; generation++) {
    const isLast = generation >= generations
    if (!isLast && draw(2) === 0) {
      // It dies in the middle, and goes on in code that has changed.
      void (await runs.driver('loop')).drive()
      const until = requests.length + draw(list.length + 1)
      for (let turn = draw(60); turn > 0 || (requests.length < until && turn > -200); turn--) await harness.quiesce()
      handle.kill()
      life++
      crashes++
      acting = 0
      code++
      list = changed(list, draw)
      definition = version()
      runs = boot(runs.host.now() + 1000, definition)
      continue
    }
    if (!isLast && draw(2) === 0) {
      // Begins again while functions are under way: the new generation takes them over, or they report to nobody.
      const driver = await runs.driver('loop')
      void driver.drive()
      for (let turn = draw(40); turn > 0; turn--) await harness.quiesce()
      if (acting > 0) overtaken++
      list = changed(list, draw)
      await runs.control('loop', { kind: 'restart' })
      restarts++
      continue
    }
    const end = await runs.settle('loop')
    if (end.kind !== 'ended' || end.status !== 'completed') fail(`generation ${generation}: ${JSON.stringify(end)}`)
    const { output } = await runs.summary('loop')
    for (const [item, value] of output as [string, string][]) if (value !== `paid ${item}`) fail(`${item} got ${JSON.stringify(value)}`)
    if (isLast) break
    list = changed(list, draw)
    await runs.control('loop', { kind: 'restart' })
    restarts++
  }
  const keyOf = new Map<string, string>()
  for (const { item, key } of requests) {
    if ((keyOf.get(item) ?? key) !== key) fail(`${item} has two keys`)
    if (keyOf.has(item)) fail(`${item} was asked for twice`)
    keyOf.set(item, key)
  }
  if (new Set(keyOf.values()).size !== keyOf.size) fail('two items have one key')
  if (crashes === 0 && probes > 0) fail('nothing had died, and somebody asked what became of an effect')
  return { generations: 1 + restarts, items: keyOf.size, requests: requests.length, crashes, probes, overtaken }
}

/** Checks `count` runs, says what they were, and answers the sums. */
export async function checkManyLoops(harness: () => EffectHarness | Promise<EffectHarness>, from: number, count: number): Promise<LoopResult> {
  const sum = { generations: 0, items: 0, requests: 0, crashes: 0, probes: 0, overtaken: 0 }
  for (let seed = from; seed < from + count; seed++) {
    const done = await checkLoops(await harness(), seed)
    for (const name of Object.keys(sum) as (keyof LoopResult)[]) sum[name] += done[name]
  }
  return sum
}
