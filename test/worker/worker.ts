// Small workflows on the edge host, and what the tests do to them.

import { Hono } from 'hono'
import { z } from 'zod'
import { ambiguous, permanent, type RunEnd, services, workflow } from '../../src/index.ts'
import { type Authorize, edge } from '../../worker/index.ts'
import { hostWorkload } from '../differential/workload.ts'

/** What the tests see and change of the world. Tests and objects share one isolate, and not always one module instance. */
export interface World {
  /** How often each step's function was called, by `run/key`. */
  readonly calls: Map<string, number>
  /** What a `gate` step waits for, by run; it is open when it is there. */
  readonly gates: Map<string, unknown>
  /** What an object that is called by `calling` does, and what became of it, by run. */
  readonly others: Map<string, (nth: number) => Promise<unknown>>
  readonly found: Map<string, { happened: unknown } | 'did-not-happen' | 'unknown'>
  authorize: Authorize<object>
  /** What making the services throws, if anything. */
  servicesError: Error | undefined
  /** Ends that were told, and how often the next ones are not heard, by run. */
  readonly ends: RunEnd[]
  readonly deaf: Map<string, number>
}

const shared = globalThis as { stepwellWorld?: World }
export const world: World = (shared.stepwellWorld ??= {
  calls: new Map(), gates: new Map(), others: new Map(), found: new Map(), authorize: () => ({ allow: true, principal: 'test' }), servicesError: undefined,
  ends: [], deaf: new Map(),
})

export function open(run: string, value: unknown = true): void {
  world.gates.set(run, value)
}

export function calls(run: string, key: string): number {
  return world.calls.get(`${run}/${key}`) ?? 0
}

interface Shop {
  count(run: string, key: string): number
  gate(run: string): Promise<unknown>
  /** Another object, as the test wants it to be at the n-th call. */
  other(run: string, nth: number): Promise<unknown>
  /** What the test says became of it. */
  find(run: string): { happened: unknown } | 'did-not-happen' | 'unknown'
}

const shop = services<{ edge: { shop: Shop } }>()

export const add = workflow({ name: 'add', input: z.object({ a: z.number(), b: z.number() }), output: z.number(), services: shop }, async (ctx, { a, b }) => {
  const first = await ctx.step('first', ({ services, runId, key }) => (services.shop.count(runId, key), a), { at: 'edge' })
  return ctx.step('second', ({ services, runId, key }) => (services.shop.count(runId, key), first + b), { at: 'edge' })
})

/** Gives back whatever it gets. */
export const echo = workflow({ name: 'echo', input: z.any() }, async (ctx, input) => ctx.step('echo', () => input as unknown))

export const sleepy = workflow({ name: 'sleepy', input: z.object({ ms: z.number() }), services: shop }, async (ctx, { ms }) => {
  await ctx.step('before', ({ services, runId, key }) => services.shop.count(runId, key), { at: 'edge' })
  await ctx.sleep(ms)
  return ctx.step('after', ({ services, runId, key }) => services.shop.count(runId, key), { at: 'edge' })
})

/** One step, one that waits for the test, one more. */
export const gated = workflow({ name: 'gated', input: z.object({ ignoresAbort: z.boolean().optional(), cleansUp: z.boolean().optional() }), services: shop }, async (ctx, input) => {
  await ctx.step('one', ({ services, runId, key }) => services.shop.count(runId, key), { at: 'edge' })
  try {
    const value = await ctx.step('gate', async ({ services, runId, key, abortSignal, progress }) => {
      services.shop.count(runId, key)
      progress(1, 2)
      const opened = services.shop.gate(runId)
      if (input.ignoresAbort === true) return opened
      return Promise.race([opened, new Promise((_, reject) => abortSignal.addEventListener('abort', () => reject(abortSignal.reason as Error)))])
    }, { at: 'edge' })
    await ctx.step('three', ({ services, runId, key }) => services.shop.count(runId, key), { at: 'edge' })
    return value
  } finally {
    if (input.cleansUp === true) {
      await ctx.cleanup((c) => c.step('clean', ({ services, runId }) => services.shop.gate(`${runId}:clean`), { at: 'edge' }))
    }
  }
})

/** Tells of itself, waits for the test in a step that tells of itself too, and tells more. */
export const telling = workflow({ name: 'telling', input: z.object({ first: z.number(), second: z.number() }), services: shop }, async (ctx, { first, second }) => {
  for (let i = 1; i <= first; i++) ctx.emit('told', { i })
  await ctx.step('gate', async ({ services, runId, key, emit }) => {
    services.shop.count(runId, key)
    emit('at the gate')
    const value = await services.shop.gate(runId)
    emit('through', value)
  }, { at: 'edge' })
  for (let i = 1; i <= second; i++) ctx.emit('told', { i: first + i })
})

/** Every step waits for the test, so that the object can die between any two entries. */
export const staircase = workflow({ name: 'staircase', input: z.object({ steps: z.number() }), services: shop }, async (ctx, { steps }) => {
  const climb = (c: typeof ctx, i: number) => c.step(`s${i}`, async ({ services, runId, key }) => {
    services.shop.count(runId, key)
    return services.shop.gate(`${runId}:${i}`)
  }, { at: 'edge' })
  const values: unknown[] = []
  for (let i = 0; i < steps; i++) {
    values.push(await climb(ctx, i))
    if (i % 3 === 1) await ctx.sleep(120)
  }
  const { winner } = await ctx.race({ never: (c) => climb(c as typeof ctx, steps + 1), last: (c) => climb(c as typeof ctx, steps) })
  return { values, winner }
})

export const failing = workflow({ name: 'failing', input: z.any() }, async (ctx): Promise<never> => {
  await ctx.step('fails', () => { throw permanent(new Error('no tea')) })
  return ctx.fail('unreachable')
})

/** Nobody knows whether it was paid: the first call breaks off. */
export const paying = workflow({ name: 'paying', input: z.any(), services: shop }, async (ctx) => {
  const paid = await ctx.effect('pay', ({ services, runId, key }) => {
    if (services.shop.count(runId, key) === 1) throw ambiguous(new Error('the line went dead'))
    return 'paid'
  }, { kind: 'money', input: { cents: 5 }, at: 'edge', onAmbiguous: 'ask' })
  await ctx.sleep(60)
  return paid
})

/** Fails the first time. */
export const flaky = workflow({ name: 'flaky', input: z.any(), services: shop }, async (ctx) => {
  const first = await ctx.step('first', ({ services, runId, key }) => services.shop.count(runId, key), { at: 'edge' })
  const second = await ctx.step('second', ({ services, runId, key }) => {
    const n = services.shop.count(runId, key)
    if (n === 1) throw permanent(new Error('not the first time'))
    return n
  }, { at: 'edge' })
  return [first, second]
})

export const buggy = workflow({ name: 'buggy', input: z.any() }, async (ctx) => {
  await ctx.step('fine', () => 1)
  return (undefined as unknown as { n: number }).n
})

export const strict = workflow({ name: 'strict', input: z.object({ email: z.email() }) }, async () => 'ok')

/** Plain promise chains between racing steps. */
export const chains = workflow({ name: 'chains', input: z.object({ links: z.number() }) }, async (ctx, { links }) => {
  const order: string[] = []
  const branch = async (c: typeof ctx, name: string, n: number): Promise<void> => {
    await c.step(`${name}1`, async () => name)
    for (let i = 0; i < n; i++) await undefined
    order.push(name)
    await c.step(`${name}2`, async () => name)
    order.push(name)
  }
  await ctx.all({ slow: (c) => branch(c, 's', links), fast: (c) => branch(c, 'f', 0) })
  return order
})

/** Many steps in a row. */
export const many = workflow({ name: 'many', input: z.object({ n: z.number() }) }, async (ctx, { n }) => {
  let sum = 0
  for (let i = 0; i < n; i++) sum += await ctx.step('add', () => i)
  return sum
})

/** A call to another object in a step, or in an effect that can tell whether it happened. */
export const calling = workflow({ name: 'calling', input: z.object({ how: z.enum(['step', 'effect']) }), services: shop }, async (ctx, { how }) => {
  const act = ({ services, runId, key }: { services: { shop: Shop }; runId: string; key: string }): Promise<unknown> => {
    services.shop.count(runId, key)
    return services.shop.other(runId, services.shop.count(runId, `${key} called`))
  }
  const value = how === 'step' ? await ctx.step('act', act, { at: 'edge', retry: { limit: 3, delay: 10 } })
    : await ctx.effect('act', act, {
      at: 'edge', kind: 'money', input: { cents: 5 }, timeout: '1 second', retry: { limit: 3, delay: 10 }, onAmbiguous: 'probe',
      probe: ({ services, runId }) => services.shop.find(runId),
    })
  await ctx.step('after', ({ services, runId, key }) => services.shop.count(runId, key), { at: 'edge' })
  return value
})

/** Its effect never answers, and the test kills the object in each attempt at it. */
export const fatal = workflow({ name: 'fatal', input: z.any(), services: shop }, async (ctx) => {
  await ctx.effect('reserve', ({ services, runId, key }) => services.shop.count(runId, key), {
    at: 'edge', kind: 'money', input: { cents: 1 }, onAmbiguous: 'fail', undo: (_, { services, runId }) => { services.shop.count(runId, 'release') },
  })
  await ctx.effect('charge', ({ services, runId, key }) => {
    services.shop.count(runId, key)
    return services.shop.gate(`${runId}: never`)
  }, { at: 'edge', kind: 'money', input: { cents: 5 }, timeout: '1 second', retry: { limit: 1, delay: 10 }, onAmbiguous: 'rerun' })
})

/** Gives back whatever it gets, and is not kept. */
export const brief = workflow({ name: 'brief', input: z.any(), retention: { completed: '1 hour' } }, async (ctx, input) => ctx.step('echo', () => input as unknown))

/** Waits for whoever has the token, which the test reads out of a step's progress. */
export const approving = workflow({ name: 'approving', input: z.any(), deferreds: { approval: z.object({ by: z.string() }) } }, async (ctx) => {
  const approval = ctx.deferred('approval')
  await ctx.step('mail', async ({ token, runId }) => { world.found.set(runId, { happened: await token(approval) }) })
  return approval.value()
})

/** Two signals, the second within an hour. */
export const listening = workflow({ name: 'listening', input: z.any(), signals: { go: z.any(), word: z.object({ text: z.string() }) } },
  async (ctx) => [await ctx.signal('go'), await ctx.signal('go', { timeout: '1 hour' })])

export const workflows = [listening, approving, add, echo, brief, sleepy, gated, staircase, failing, buggy, strict, chains, many, paying, flaky, telling, calling, fatal, hostWorkload] as const

function makeShop(): { shop: Shop } {
  if (world.servicesError !== undefined) throw world.servicesError
  return {
    shop: {
      count(run, key) {
        const n = (world.calls.get(`${run}/${key}`) ?? 0) + 1
        world.calls.set(`${run}/${key}`, n)
        return n
      },
      // Polls: a promise of another object or of the test can't be awaited in this one.
      async gate(run) {
        while (!world.gates.has(run)) await new Promise((resolve) => setTimeout(resolve, 5))
        return world.gates.get(run)
      },
      other: (run, nth) => world.others.get(run)?.(nth) ?? Promise.resolve(nth),
      find: (run) => world.found.get(run) ?? 'unknown',
    },
  }
}

function allowAll(): { allow: true } {
  return { allow: true }
}

export const BODY_BYTES = 4096

export const well = edge({
  workflows, services: (_: object) => makeShop(), authorize: (...args) => world.authorize(...args),
  bodyBytes: BODY_BYTES,
  // A sleep of more than this parks the run, so that tests need not wait for seconds.
  // And a sweep of a few rows is one of several commits.
  // And the oldest of a few events is soon not kept any more.
  limits: { stayAwakeMs: 50, startByMs: 300, sweepRows: 20, events: 20 },
})
/** The same runs, reached with smaller limits. */
export const small = edge({ workflows, services: () => makeShop(), authorize: allowAll, limits: { blobBytes: 100_000 } })
/** The same runs, with nobody allowed. */
export const closed = edge({ workflows, services: () => makeShop(), authorize: null })

export const Run = well.Run

/** Where ends are told. */
export const told = edge({
  workflows, services: (_: object) => makeShop(), authorize: allowAll, className: 'ToldRun', limits: { stayAwakeMs: 50, recoveryMs: 1000, startByMs: 300 },
  onEnd(end) {
    world.ends.push(end)
    const left = world.deaf.get(end.id) ?? 0
    if (left === 0) return
    world.deaf.set(end.id, left - 1)
    throw new Error('nobody is there')
  },
})
export const ToldRun = told.Run

/** Set-ups that are wrong, each in its way, and one that is right the old way. */
export const setups = {
  missing: edge({ workflows, services: () => makeShop(), authorize: allowAll, className: 'Missing' }),
  keyValue: edge({ workflows, services: () => makeShop(), authorize: allowAll, className: 'KeyValueRun' }),
  noBinding: edge({ workflows, services: () => makeShop(), authorize: allowAll, binding: 'NO_RUNS' }),
  binding: edge({ workflows, services: () => makeShop(), authorize: allowAll, binding: 'RUNS' }),
}

/** Stored in the older way, without SQLite. */
export const KeyValueRun = well.Run

export const app = new Hono()
app.route('/', well.app)
app.route('/deep/base', well.app)
app.route('/closed', closed.app)
app.route('/small', small.app)
for (const [name, { app: wrong }] of Object.entries(setups)) app.route(`/${name}`, wrong)
