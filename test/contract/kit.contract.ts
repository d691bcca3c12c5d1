// The test kit as users have it, in whatever runtime it is: each case throws when something is not as it should be.

import { z } from 'zod'
import { type AnyWorkflow, services, workflow } from '../../src/index.ts'
import { hex } from '../../src/hash.ts'
import { exploreCrashes, type Fault, fakeServices, testHost, type TestKit } from '../../src/testing/index.ts'
import { equal, ok } from '../../src/testing/assert.ts'

interface Shop {
  price(sku: string): Promise<number>
  charge(cents: number, idempotencyKey: string): Promise<string>
  refund(id: string): Promise<void>
}

const order = workflow({
  name: 'order', input: z.object({ sku: z.string() }), services: services<{ any: { shop: Shop } }>(),
}, async (ctx, { sku }) => {
  const cents = await ctx.step('price', ({ services }) => services.shop.price(sku), { retry: { limit: 2, delay: '10 seconds', jitter: 0 } })
  const id = await ctx.effect('charge', ({ services, input, idempotencyKey }) => services.shop.charge(input, idempotencyKey), {
    kind: 'money', input: cents, onAmbiguous: 'ask', timeout: '20 seconds', undo: (made, { services }) => services.shop.refund(made),
  })
  await ctx.sleep('30 days')
  await ctx.step('ship', () => 'shipped')
  return { id, cents }
})

class FakeShop implements Shop {
  readonly asked: string[] = []
  price(sku: string): Promise<number> {
    this.asked.push(`price ${sku}`)
    return Promise.resolve(900)
  }
  charge(cents: number, idempotencyKey: string): Promise<string> {
    this.asked.push(`charge ${cents} ${idempotencyKey.length > 0}`)
    return Promise.resolve('c1')
  }
  refund(id: string): Promise<void> {
    this.asked.push(`refund ${id}`)
    return Promise.resolve()
  }
}

const lend = (): { shop: FakeShop } => fakeServices(order, { shop: new FakeShop() })

async function messageOf(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('nothing was thrown')
}

const includes = (text: string, ...parts: readonly string[]): void => {
  for (const part of parts) ok(text.includes(part), `expected ${JSON.stringify(part)} in:\n${text}`)
}

/** Three timers of two runs and one parallel pair: what is due first, and what at the same time. */
const timers = (seen: string[]) => workflow({ name: 'timers', input: z.array(z.number()) }, async (ctx, waits) => {
  await ctx.map('waits', waits, {}, async (c, ms, i) => {
    await c.sleep(ms)
    await c.step('seen', () => { seen.push(`${ctx.info.runId} ${i} ${ms}`) })
  })
})

export const kitCases: readonly { readonly title: string; readonly run: () => Promise<void> }[] = [
  {
    title: 'G19: a run with a sleep of 30 days takes no time, and its journal can be asked',
    run: async () => {
      const fakes = lend()
      const t = testHost({ workflows: [order], services: fakes })
      const run = await t.start(order, { sku: 'tea' })
      await run.expect({ status: 'waiting', completed: ['price', 'charge'], waitingFor: ['ctx.sleep'], never: ['ship'] })
      await t.advance('29 days')
      await run.expect({ status: 'waiting', never: ['ship'] })
      await t.advance('1 day')
      await run.expect({ status: 'completed', output: { id: 'c1', cents: 900 }, completed: ['price', 'charge', 'ship'], failed: [], attempts: { price: 1, charge: 1 }, outcomes: { ship: 'shipped' } })
      equal(await run.result(), { id: 'c1', cents: 900 }, 'the result')
      const journal = await run.journal()
      equal(journal.timers.map(({ key, hasFired }) => [key, hasFired]), [['ctx.sleep', true]], 'timers')
      equal(journal.timers[0]?.dueAt, Date.UTC(2026, 0, 31), 'due')
      equal(fakes.shop.asked, ['price tea', 'charge 900 true'], 'asked of the shop')
      t.done()
    },
  },
  {
    title: 'timers fire in exact order of time, then of arming, over all runs',
    run: async () => {
      const seen: string[] = []
      const w = timers(seen)
      const t = testHost({ workflows: [w] })
      await t.start(w, [5000, 1000, 3000], { id: 'a' })
      await t.start(w, [3000, 1000, 4000], { id: 'b' })
      equal(seen, [], 'before any time')
      await t.advance(999)
      equal(seen, [], 'one millisecond early')
      await t.advance(1)
      equal(seen, ['a 1 1000', 'b 1 1000'], 'at 1 s')
      await t.advance('10 seconds')
      equal(seen.slice(2), ['a 2 3000', 'b 0 3000', 'b 2 4000', 'a 0 5000'], 'the rest')
      equal(t.now(), Date.UTC(2026, 0, 1) + 11_000, 'the clock')
    },
  },
  {
    title: 'mocks stand in for steps, effects and undos, by name and by key, as values, functions and errors; one that was not used is told',
    run: async () => {
      const t = testHost({
        workflows: [order],
        mocks: { step: { price: ({ attempt }) => { if (attempt === 1) throw new Error('busy'); return 700 }, ship: new Error('sold out') }, effect: { charge: 'mocked' }, undo: { charge: undefined }, probe: { charge: 1 } },
      })
      const run = await t.start(order, { sku: 'tea' })
      includes(await messageOf(() => run.result()), 'sold out')
      await run.expect({ status: 'failed', error: 'sold out', completed: ['price', 'charge'], failed: ['ship'], attempts: { price: 2, ship: 6 }, outcomes: { price: 700, charge: 'mocked' }, undone: ['charge'] })
      equal(await messageOf(() => t.done()), 'never used: mock of probe charge', 'what was not used')

      const twice = workflow({ name: 'twice', input: z.any() }, async (ctx) => [await ctx.step('s', () => 1), await ctx.step('s', () => 2), await ctx.scope('in', (c) => c.step('s', () => 3))])
      const keyed = testHost({ workflows: [twice], mocks: { step: { s: 'by name', 's#1': 'by key' } } })
      equal(await (await keyed.start(twice, 0)).result(), ['by name', 'by key', 'by name'], 'mocks by key')
      keyed.done()
    },
  },
  {
    title: 'mocks answer signals and children, by name, in every branch and after a crash; a signal that does not come is undefined at its timeout',
    run: async () => {
      const parcel = workflow({ name: 'parcel', input: z.object({ id: z.string() }), output: z.object({ code: z.string() }) }, async () => ({ code: 'never run' }))
      const approval = workflow({
        name: 'approval', input: z.string(), signals: { approve: z.object({ by: z.string().transform((name) => name.toUpperCase()) }), stop: z.string() },
      }, async (ctx, id) => {
        const stop = await ctx.signal('stop', { timeout: '2 days' })
        const { approve } = await ctx.all({ approve: (c) => c.signal('approve'), price: (c) => c.step('price', () => 5) })
        const { code } = await ctx.scope('ship', (c) => c.child(parcel, { id }))
        return [stop ?? 'not stopped', approve.by, code]
      })
      const asked: unknown[] = []
      const t = testHost({
        workflows: [approval], timeouts: ['signal:stop'],
        mocks: {
          signal: { approve: () => t.delay('3 days').then(() => ({ by: 'ada' })) },
          child: { parcel: ({ input, attempt }) => { asked.push(input, attempt); return { code: 'P1' } } },
        },
      })
      const run = await t.start(approval, 'o1')
      await run.expect({ status: 'running', never: ['signal:approve', 'child:parcel'] })
      await t.advance('4 days')
      await run.expect({ status: 'running', failed: ['signal:stop'], completed: ['all/price/price'], never: ['child:parcel'] })
      await t.crash()
      equal(await run.result(), ['not stopped', 'ADA', 'P1'], 'the result')
      equal(asked, [{ id: 'o1' }, 1], 'what the child was asked')
      await run.expect({ completed: ['all/price/price', 'all/approve/signal:approve', 'ship/child:parcel'], outcomes: { 'child:parcel': { code: 'P1' } } })
      t.done()

      const sold = testHost({ workflows: [approval], mocks: { signal: { stop: 'stop', approve: { by: 'eve' } }, child: { parcel: new Error('sold out'), other: 1 } } })
      includes(await messageOf(async () => (await sold.start(approval, 'o2')).result()), 'sold out')
      equal(await messageOf(() => sold.done()), 'never used: mock of child other', 'what was not used')
      for (const [mocks, says] of [
        [{ signal: { stop: 'stop', approve: { by: 5 } } }, 'the payload of signal "approve"'],
        [{ signal: { stop: 'stop', approve: { by: 'eve' } }, child: { parcel: { code: 5 } } }, 'the output of child parcel'],
      ] as const) includes(await messageOf(async () => (await testHost({ workflows: [approval], mocks }).start(approval, 'o3')).result()), says)
      // What no mock answers is the engine's: signals come from outside, and children it does not have yet.
      const alone = await testHost({ workflows: [approval] }).start(approval, 'o4')
      await alone.signal('approve', { by: 'eve' })
      equal((await alone.settle()).blocked?.code, 'unsupported', 'without mocks')
      await alone.expect({ completed: ['all/price/price'] })
      equal((await alone.journal()).entries.filter(({ kind }) => kind === 'signal_received' || kind === 'timer_fired').map(({ key }) => key), ['signal:stop', 'all/approve/signal:approve'], 'what the engine gave')

      const counts = await exploreCrashes(approval, 'o5', { mocks: { signal: { stop: 'stop', approve: { by: 'eve' } }, child: { parcel: { code: 'P2' } } } })
      ok(counts.crashes > 10, `${counts.crashes} crashes`)
    },
  },
  {
    title: 'G13: a forced timeout makes a step fail that attempt, and an effect ambiguous, called or not',
    run: async () => {
      const fakes = lend()
      const t = testHost({ workflows: [order], services: fakes, timeouts: { price: { attempts: 2 }, charge: { called: true } } })
      const run = await t.start(order, { sku: 'tea' })
      await run.expect({ status: 'running', never: ['charge'] })
      const { status, blocked } = await run.settle()
      equal([status, blocked?.code], ['blocked', 'ambiguous_effect'], 'asks a person')
      equal(fakes.shop.asked, ['price tea', 'charge 900 true'], 'asked of the shop: the answer alone is lost')
      await run.resolve('charge', { decision: 'happened', value: 'c9' })
      equal((await run.result()).id, 'c9', 'the result')
      await run.expect({ attempts: { price: 3, charge: 1 }, decisions: { charge: ['person: happened'] } })
      t.done()

      const rerun = workflow({ name: 'rerun', input: z.any() }, (ctx) =>
        ctx.effect('e', ({ idempotencyKey }) => idempotencyKey.length, { kind: 'money', input: 1, onAmbiguous: 'rerun', timeout: '1 minute' }))
      const again = testHost({ workflows: [rerun], timeouts: ['e'] })
      const second = await again.start(rerun, 0)
      await again.advance('59 seconds')
      await second.expect({ attempts: { e: 1 } })
      // A timeout is no crash: the next call keeps the distance of `retry`.
      await again.advance('3 seconds')
      await second.expect({ status: 'completed', attempts: { e: 2 }, decisions: { e: ['policy: rerun'] } })
    },
  },
  {
    title: 'a seed orders answers that are there at the same time: another seed, another order; the same seed, the same journal; timers stay',
    run: async () => {
      const play = async (seed: number): Promise<{ order: string; hash: string }> => {
        const w = workflow({ name: 'w', input: z.any() }, async (ctx) => {
          const taken: string[] = []
          const step = async (name: string): Promise<void> => { await ctx.step(name, () => name); taken.push(name) }
          await Promise.all(['a', 'b', 'c', 'd'].map(step))
          await Promise.all([ctx.sleep(2).then(() => { taken.push('2 ms') }), ctx.sleep(1).then(() => { taken.push('1 ms') })])
          return taken.join(' ')
        })
        const run = await testHost({ workflows: [w], seed }).start(w, 0, { id: 'r' })
        const order = await run.result()
        const { entries } = await run.journal()
        return { order, hash: hex(entries.at(-1)?.hash ?? new Uint8Array()) }
      }
      const orders = new Set<string>()
      for (let seed = 1; seed <= 12; seed++) {
        const [first, second] = [await play(seed), await play(seed)]
        equal(second, first, `seed ${seed} again`)
        includes(first.order, '1 ms 2 ms')
        orders.add(first.order)
      }
      ok(orders.size > 4, `12 seeds gave ${orders.size} orders: ${[...orders].join(', ')}`)
    },
  },
  {
    title: 'G2, G12: after a crash the next process goes on: nothing that is committed happens again',
    run: async () => {
      const fakes = lend()
      const t = testHost({ workflows: [order], services: fakes })
      const run = await t.start(order, { sku: 'tea' })
      await t.crash()
      await t.advance('1 day')
      await t.crash()
      equal(await run.result(), { id: 'c1', cents: 900 }, 'the result')
      equal(fakes.shop.asked, ['price tea', 'charge 900 true'], 'asked of the shop')
      equal(t.now(), Date.UTC(2026, 0, 31), 'the sleep ends when it would have')

      // What was under way is not committed: the next process runs it again, and what the dead one still does reaches nobody.
      const calls: number[] = []
      const w = workflow({ name: 'w', input: z.any() }, (ctx) => ctx.step('slow', async ({ attempt }) => {
        const call = calls.push(attempt)
        await slow.delay('1 minute')
        return call
      }))
      const slow: TestKit<AnyWorkflow> = testHost<AnyWorkflow>({ workflows: [w] })
      const going = await slow.start(w, 0)
      await slow.advance('30 seconds')
      await slow.crash()
      await slow.advance('30 seconds')
      await going.expect({ status: 'running', never: ['slow'] })
      equal([await going.result(), calls, slow.now()], [2, [1, 1], Date.UTC(2026, 0, 1) + 90_000], 'the second call')
    },
  },
  {
    title: 'faults: crashes and failures of the store at any commit lose nothing, and the next process begins by itself',
    run: async () => {
      const ends: string[] = []
      const faults: readonly Fault[] = [{ do: 'crash', when: 'before' }, { do: 'crash', when: 'after' }, { do: 'unknown', when: 'after' }, { do: 'fail' }]
      for (const fault of faults) {
        for (let nth = 2; nth <= 8; nth++) {
          let struck = 0
          const t = testHost({
            workflows: [order], mocks: { step: { price: 5 }, effect: { charge: 'c' } },
            faults: { fault: (call) => { if (call.method !== 'commit' || call.nth !== nth) return undefined; struck++; return fault } },
          })
          const run = await t.start(order, { sku: 'tea' })
          const { status, blocked } = await run.settle()
          // Killed between intent and outcome, the effect asks.
          if (status === 'blocked') await run.resolve('charge', { decision: 'happened', value: 'c' })
          equal(await run.result(), { id: 'c', cents: 5 }, `${fault.do} at commit ${nth}, ${blocked?.code}`)
          equal(struck, 1, `struck by ${fault.do} ${nth}`)
          ends.push(status)
        }
      }
      ok(ends.includes('blocked') && ends.includes('completed'), ends.join(' '))
    },
  },
  {
    title: 'what is not as expected is said at once, with the journal; what a run waits for, with the call',
    run: async () => {
      const t = testHost({ workflows: [order], services: lend() })
      const run = await t.start(order, { sku: 'tea' })
      const message = await messageOf(() => run.expect({ status: 'completed', completed: ['price'], attempts: { price: 2, ship: 1 }, outcomes: { charge: 'c2' }, never: ['charge'] }))
      includes(message, 'status: differs', '"completed"', '"waiting"', 'completed: differs at 1', 'attempts of "price"', 'has no call "ship"', 'outcome of "charge"', '"charge" was called', '2 step_completed price')
      await run.cancel({ reason: 'enough', undo: true })
      await run.expect({ status: 'cancelled', undone: ['charge'] })
      includes(await messageOf(() => run.result()), 'enough')

      const asking = testHost({ workflows: [order], services: lend(), timeouts: ['charge'] })
      includes(await messageOf(async () => (await asking.start(order, { sku: 'tea' })).result()), 'blocked by ambiguous_effect')
      includes(await messageOf(() => testHost({ workflows: [order] }).start(workflow({ name: 'other', input: z.any() }, () => 1) as never, 0 as never)), 'not one of')
    },
  },
  {
    title: 'pause, resume and restart: as every client, and a restart finds the effects that have happened',
    run: async () => {
      const fakes = lend()
      const t = testHost({ workflows: [order], services: fakes })
      const run = await t.start(order, { sku: 'tea' })
      await run.pause()
      await t.advance('40 days')
      await run.expect({ status: 'paused', never: ['ship'] })
      await run.resume()
      await run.expect({ status: 'completed' })
      await run.restart()
      await run.settle()
      await run.expect({ status: 'completed', completed: ['price', 'charge', 'ship'] })
      equal(fakes.shop.asked, ['price tea', 'charge 900 true', 'price tea'], 'asked of the shop')
    },
  },
  {
    title: 'fakes may take virtual time, and time waits for those that take real time',
    run: async () => {
      const w = workflow({ name: 'w', input: z.any(), services: services<{ any: { slow: () => Promise<number> } }>() }, (ctx) => ctx.step('slow', ({ services }) => services.slow()))
      const virtual: TestKit<AnyWorkflow> = testHost<AnyWorkflow>({ workflows: [w], services: { slow: async () => { await virtual.delay('3 minutes'); return virtual.now() } } })
      equal(await (await virtual.start(w, 0)).result(), Date.UTC(2026, 0, 1) + 180_000, 'virtual')
      const real: TestKit<AnyWorkflow> = testHost<AnyWorkflow>({ workflows: [w], services: { slow: async () => {
        for (let i = 0; i < 20; i++) await real.host.quiesce()
        return real.now()
      } } })
      equal(await (await real.start(w, 0)).result(), Date.UTC(2026, 0, 1), 'real')
    },
  },
]
