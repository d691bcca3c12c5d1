// A crash at every commit of runs with effects: what reached the outside world is counted there, and it deduplicates nothing.

import { expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { exploreCrashes } from '../../src/testing/crash-explorer.ts'
import type { Explored } from '../../src/testing/trial.ts'
import type { TestHost } from '../../src/testing/test-host.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { anything } from '../engine/support.ts'

const stores = {
  memory: (id: string) => createMemoryShelf().open(id),
  'a store that answers later': (id: string) => answeringLater(createMemoryShelf().open(id)),
}

/** The outside world. It does whatever it is asked, every time. */
class Bank {
  readonly acts: { readonly what: string; readonly key: string }[] = []
  act(what: string, key: string): string {
    this.acts.push({ what, key })
    return `${what} done`
  }
  count(what: string): number {
    return this.acts.filter((act) => act.what === what).length
  }
}

interface Lent { readonly bank: Bank; readonly wait: (ms: number) => Promise<void> }
const lend = (bank: Bank, host: TestHost): Lent => ({ bank, wait: (ms) => new Promise((resolve) => { host.timer(ms, resolve) }) })
const of = (call: { services: object }): Lent => call.services as Lent
const common = { kind: 'money', timeout: '5 seconds' } as const
const ofBank = { outside: () => new Bank(), services: lend, limits: { startByMs: 1000 } } as const

for (const [name, open] of Object.entries(stores)) {
  test(`G12, G13: with a probe, money moves exactly once, and comes back exactly as often, whatever crashes (${name})`, async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const pay = (what: string) => ctx.effect('pay', async (call) => {
        await of(call).wait(5)
        return of(call).bank.act(what, call.idempotencyKey)
      }, {
        ...common, input: { what }, onAmbiguous: 'probe',
        probe: (call) => of(call).bank.acts.some(({ key }) => key === call.idempotencyKey) ? { happened: `${what} done` } : 'did-not-happen',
        undo: async (outcome, call) => { of(call).bank.act(`undo ${String(outcome)}`, call.idempotencyKey) },
      })
      await pay('a')
      await ctx.step('s', () => 1)
      await Promise.all([pay('b'), pay('c')])
      throw new Error('no')
    })
    const counts = await exploreCrashes(w, 0, {
      ...ofBank, open, maxPairs: 120,
      check: (bank, { entries }) => {
        for (const what of ['a', 'b', 'c']) {
          expect({ what, acts: bank.count(what) }).toEqual({ what, acts: 1 })
          // An undo that was cut repeats, with its key.
          expect(new Set(bank.acts.filter((act) => act.what === `undo ${what} done`).map(({ key }) => key)).size).toBe(1)
        }
        const undone = entries.filter(({ kind }) => kind === 'undo_completed').map(({ key }) => key)
        expect(undone).toEqual(entries.filter(({ kind }) => kind === 'effect_completed').map(({ key }) => key).toReversed())
        expect(undone.length).toBe(3)
        // G12: no act without a durable intent, each decision an entry.
        const intents = entries.filter(({ kind }) => kind === 'effect_intended').length
        expect(intents).toBeGreaterThanOrEqual(3)
      },
    })
    console.log(`crash explorer: probe and undo (${name}): ${counts.commits} commits, ${counts.schedules} schedules, ${counts.crashes} crashes, ${counts.lost} lost answers`)
    expect(counts.pairs).toBe(120)
  }, 120_000)

  test(`G13: with skip, money moves at most once; with rerun, at least once under one key (${name})`, async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.all({
      skip: (c) => c.effect('skip', async (call) => { await of(call).wait(5); return of(call).bank.act('skip', call.idempotencyKey) }, { ...common, input: 1, onAmbiguous: 'skip', fallback: 'skipped' }),
      rerun: (c) => c.effect('rerun', async (call) => { await of(call).wait(7); return of(call).bank.act('rerun', call.idempotencyKey) }, { kind: 'idempotent', timeout: '5 seconds' }),
      wait: (c) => c.sleep('1 minute'),
    }))
    const counts = await exploreCrashes(w, 0, {
      ...ofBank, open, maxPairs: 100, result: ({ summary }: Explored) => summary.status,
      check: (bank, { summary }) => {
        expect(bank.count('skip')).toBeLessThanOrEqual(1)
        expect(bank.count('rerun')).toBeGreaterThanOrEqual(1)
        expect(new Set(bank.acts.filter(({ what }) => what === 'rerun').map(({ key }) => key)).size).toBe(1)
        const output = summary.output as { skip: string }
        if (bank.count('skip') === 0) expect(output.skip).toBe('skipped')
      },
    })
    expect(counts.crashes).toBeGreaterThan(100)
  }, 120_000)
}

test('G21: a cancel with undo at any moment: what was done is undone, whatever crashes', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    for (const what of ['a', 'b']) {
      await ctx.effect('pay', (call) => of(call).bank.act(what, call.idempotencyKey), {
        ...common, input: { what }, onAmbiguous: 'probe',
        probe: (call) => of(call).bank.acts.some(({ key }) => key === call.idempotencyKey) ? { happened: 'found' } : 'did-not-happen',
        undo: (_, call) => { of(call).bank.act(`undo ${what}`, call.idempotencyKey) },
      })
    }
    await ctx.sleep('1 day')
  })
  let undone = 0
  for (const cancelAt of [2, 3, 4, 5, 6]) {
    await exploreCrashes(w, 0, {
      ...ofBank, open: stores.memory, cancelAt, cancelOptions: { undo: true }, maxPairs: 40, result: ({ summary }: Explored) => summary.status,
      check: (bank) => {
        for (const what of ['a', 'b']) {
          expect(bank.count(what)).toBeLessThanOrEqual(1)
          const isUndone = bank.count(`undo ${what}`) > 0
          expect({ cancelAt, what, isUndone }).toEqual({ cancelAt, what, isUndone: bank.count(what) === 1 })
          if (isUndone) undone++
        }
      },
    })
  }
  expect(undone).toBeGreaterThan(50)
}, 120_000)
