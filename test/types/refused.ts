// What the compiler must refuse beyond the sketch, each beside what it accepts: options, outputs, signals, inputs, services, hosts.

import { type Ctx, type Once, type Run, services, StepwellError, workflow, type WorkflowInput, type WorkflowOutput } from 'stepwell'
import { remote } from 'stepwell/client'
import { browser } from 'stepwell/web'
import { allowLocalhost, edge } from 'stepwell/worker'
import { exploreCrashes, fakeServices, testHost } from 'stepwell/testing'
import { z } from 'zod'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
function same<_T extends true>(): void {}

// --- definitions

workflow({ name: 'plain', input: z.string() }, (_ctx, input) => { same<Equal<typeof input, string>>() })
// @ts-expect-error a workflow has a name
workflow({ input: z.string() }, () => 1)
// @ts-expect-error a workflow has an input schema
workflow({ name: 'w' }, () => 1)
// @ts-expect-error no such option
workflow({ name: 'w', input: z.string(), retries: 3 }, () => 1)
// @ts-expect-error a timeout is a duration
workflow({ name: 'w', input: z.string(), timeout: '1 fortnight' }, () => 1)
// @ts-expect-error no such policy
workflow({ name: 'w', input: z.string(), onDivergence: 'ignore' }, () => 1)
// @ts-expect-error the output is not what the schema takes
workflow({ name: 'w', input: z.string(), output: z.object({ n: z.number() }) }, () => ({ n: 'five' }))
// @ts-expect-error the output lacks a field
workflow({ name: 'w', input: z.string(), output: z.object({ n: z.number(), m: z.number() }) }, async () => ({ n: 5 }))
// @ts-expect-error signals have schemas
workflow({ name: 'w', input: z.string(), signals: { go: 'string' } }, () => 1)

// `start` takes what goes into the schema, the function gets what comes out, the caller what the output schema makes of it.
const parsed = workflow({
  name: 'parsed', input: z.object({ cents: z.string().transform(Number), when: z.string().default('now') }), output: z.object({ at: z.number().transform((at) => new Date(at)) }),
}, async (_ctx, input) => {
  same<Equal<typeof input, { cents: number; when: string }>>()
  return { at: input.cents }
})
same<Equal<WorkflowInput<typeof parsed>, { cents: string; when?: string | undefined }>>()
same<Equal<WorkflowOutput<typeof parsed>, { at: Date }>>()

// Without an output schema it is what the function gives.
const free = workflow({ name: 'free', input: z.number() }, async (_ctx, n) => ({ twice: n * 2 }))
same<Equal<WorkflowOutput<typeof free>, { twice: number }>>()

// --- calls

workflow({ name: 'calls', input: z.any(), services: services<{ any: { clock: { now(): number } }; edge: { secret: string }; browser: { screen: number } }>() }, async (ctx) => {
  same<Equal<Awaited<ReturnType<typeof ctx.now>>, number>>()
  await ctx.step('any', ({ services }) => services.clock.now())
  await ctx.step('edge', ({ services }) => `${services.secret} ${services.clock.now()}`, { at: 'edge' })
  await ctx.step('browser', ({ services }) => services.screen, { at: 'browser' })
  // @ts-expect-error the browser's service at the edge
  await ctx.step('s', ({ services }) => services.screen, { at: 'edge' })
  // @ts-expect-error no such service
  await ctx.step('s', ({ services }) => services.nothing)
  // @ts-expect-error no such host
  await ctx.step('s', () => 1, { at: 'moon' })
  // @ts-expect-error a step has a name
  await ctx.step(() => 1)
  // @ts-expect-error a step has a function
  await ctx.step('s')
  // @ts-expect-error no such option
  await ctx.step('s', () => 1, { retries: 3 })
  // @ts-expect-error a timeout is a duration
  await ctx.step('s', () => 1, { timeout: '5 parsecs' })
  // @ts-expect-error no such back-off
  await ctx.step('s', () => 1, { retry: { backoff: 'quadratic' } })
  // @ts-expect-error the limit is a number
  await ctx.step('s', () => 1, { retry: { limit: '3' } })
  // @ts-expect-error a key is text
  await ctx.step('s', () => 1, { key: 5 })

  // The input of a step is what was declared, and nothing when nothing was.
  await ctx.step('s', ({ input }) => { same<Equal<typeof input, { n: number }>>(); return input.n }, { input: { n: 1 } })
  await ctx.step('s', ({ input }) => { same<Equal<typeof input, undefined>>() })
  const value = await ctx.step('s', async () => ({ deep: [1, 'two'] as const }))
  same<Equal<typeof value, { deep: readonly [1, 'two'] }>>()
  // @ts-expect-error what belongs to a step is not on ctx
  ctx.idempotencyKey
  // @ts-expect-error what belongs to ctx is not on a step's call
  await ctx.step('s', (call) => call.sleep(5))
  // @ts-expect-error a step's signal cannot be aborted by the step
  await ctx.step('s', ({ abortSignal }) => { abortSignal.abort() })

  // What a step keeps.
  await ctx.step('s', async ({ memo, state }) => {
    const made = await memo('k', async () => ({ n: 1 }))
    same<Equal<typeof made, { n: number }>>()
    const plainly = await memo({ any: ['key', 1n] }, () => 'x')
    same<Equal<typeof plainly, string>>()
    const unknownValue = await memo.get('k')
    same<Equal<typeof unknownValue, unknown>>()
    const known = await memo.get<number>('k')
    same<Equal<typeof known, number | undefined>>()
    const has = await memo.has(5)
    same<Equal<typeof has, boolean>>()
    const counted = await state.get<number>('n')
    same<Equal<typeof counted, number | undefined>>()
    same<Equal<ReturnType<typeof state.set>, void>>()
    // @ts-expect-error a memo has a key
    await memo.get()
    // @ts-expect-error a key that is missing is no key
    await memo.put(undefined, 1)
    // @ts-expect-error a value is made by a function
    await memo('k', 5)
    // @ts-expect-error a key of the state is text
    state.set(5, 1)
    // @ts-expect-error a value, or `delete`
    state.set('k')
    // @ts-expect-error no such method: what is staged can't be listed
    state.list()
  })
  // @ts-expect-error what a step keeps is not on ctx
  ctx.memo
  // @ts-expect-error the state is changed by steps
  ctx.state

  // Combinators.
  const settled = await ctx.settled({ a: (c) => c.step('a', () => 1), b: () => 'x' })
  if (settled.a.status === 'fulfilled') same<Equal<typeof settled.a.value, number>>()
  const won = await ctx.race({ n: (c) => c.step('n', () => 1), s: (c) => c.step('s', () => 'x') })
  if (won.winner === 'n') same<Equal<typeof won.value, number>>()
  else same<Equal<typeof won.value, string>>()
  // @ts-expect-error no such winner
  if (won.winner === 'nobody') return
  // @ts-expect-error a branch is a function that gets its own ctx
  await ctx.all({ a: Promise.resolve(1) })
  const mapped = await ctx.map('m', ['a', 'b'], { key: (item) => item, concurrency: 2 }, (c, item, index) => c.step('s', () => `${item}${index}`))
  same<Equal<typeof mapped, string[]>>()
  // @ts-expect-error a key is text
  await ctx.map('m', [1], { key: (item) => item }, () => 1)
  // @ts-expect-error no such option
  await ctx.map('m', [1], { parallel: 2 }, () => 1)

  // @ts-expect-error a run moves to the edge; the other way is checked out, not moved
  await ctx.moveTo('browser')
  // @ts-expect-error a time, not a duration
  await ctx.sleepUntil('5 minutes')
  // @ts-expect-error this workflow has no signals
  await ctx.signal('go')
  // @ts-expect-error a child's input
  await ctx.child(free, 'five')
  const child = await ctx.child(free, 5)
  same<Equal<typeof child, { twice: number }>>()
  const scoped = await ctx.scope('s', async (c) => c.step('s', () => 1))
  same<Equal<typeof scoped, number>>()
  const narrowed: number | undefined = mapped[0]?.length
  if (narrowed === undefined) return ctx.fail('none')
  same<Equal<typeof narrowed, number>>()
  return ctx.info.runId.length
})

// --- effects

workflow({ name: 'effects', input: z.any() }, async (ctx) => {
  for (const kind of ['money', 'destructive', 'security', 'custom'] as const) await ctx.effect('e', () => 1, { kind, input: 1, onAmbiguous: 'fail' })
  // @ts-expect-error money without a declared input
  await ctx.effect('e', () => 1, { kind: 'money', onAmbiguous: 'fail' })
  // @ts-expect-error destructive without a policy
  await ctx.effect('e', () => 1, { kind: 'destructive' })
  // @ts-expect-error security without a policy
  await ctx.effect('e', () => 1, { kind: 'security', input: {} })
  // @ts-expect-error custom without a policy
  await ctx.effect('e', () => 1, { kind: 'custom' })
  // @ts-expect-error no such kind
  await ctx.effect('e', () => 1, { kind: 'harmless' })
  // @ts-expect-error no such policy
  await ctx.effect('e', () => 1, { kind: 'money', onAmbiguous: 'hope' })
  // @ts-expect-error an effect says of which kind it is
  await ctx.effect('e', () => 1, {})
  // @ts-expect-error what a probe finds is what the effect gives
  await ctx.effect('e', () => 1, { kind: 'money', onAmbiguous: 'probe', probe: () => ({ happened: 'x' }) })
  // @ts-expect-error undo gets what the effect gave
  await ctx.effect('e', () => 1, { kind: 'money', onAmbiguous: 'fail', undo: (made: string) => made })
  // @ts-expect-error an idempotent effect is run again
  await ctx.effect('e', () => 1, { kind: 'idempotent', onAmbiguous: 'ask' })
  const once = await ctx.once('k', () => 1, { undo: (made) => { same<Equal<typeof made, number>>() } })
  same<Equal<typeof once, Once<number>>>()
  await ctx.once('k', ({ idempotencyKey }) => idempotencyKey, { onAmbiguous: 'probe', probe: () => ({ happened: 'x' }), timeout: '5 seconds', retry: { limit: 1 } })
  // @ts-expect-error a fallback is of the type of the value
  await ctx.once('k', () => 1, { onAmbiguous: 'skip', fallback: 'x' })
  // @ts-expect-error skip without a fallback
  await ctx.once('k', () => 1, { onAmbiguous: 'skip' })
  // @ts-expect-error the key is what tells one from another: there is no input
  await ctx.once('k', () => 1, { input: 1 })
  // @ts-expect-error a key, then a function
  await ctx.once(() => 1)
  const has: boolean = await ctx.hasEffect('k')
  const noted = await ctx.recordEffect('k', 'sent', { to: 'ada' })
  same<Equal<typeof noted.record.at, number>>()
  // @ts-expect-error a record has a status
  await ctx.recordEffect('k')
  return has
})

// --- clients

const approving = workflow({ name: 'approving', input: z.object({ id: z.string() }), signals: { approve: z.object({ at: z.string().transform(Number) }) } }, async (ctx) => {
  const approval = await ctx.signal('approve')
  same<Equal<typeof approval, { at: number }>>()
  const late = await ctx.signal('approve', { timeout: 5 })
  same<Equal<typeof late, { at: number } | undefined>>()
  return approval.at
})
const all = [approving, parsed, free] as const
const client = edge({ workflows: all, authorize: allowLocalhost, services: () => ({}) }).client({})
const run = await client.start('approving', { id: 'x' }, { token: 't', tags: ['a'], metadata: { k: 'v' }, delay: '1 minute' })
same<Equal<Awaited<ReturnType<typeof run.result>>, number>>()
// @ts-expect-error input of another workflow
await client.start('approving', 5)
// @ts-expect-error input lacks a field
await client.start(approving, {})
// @ts-expect-error no such option
await client.start('free', 5, { idempotencyKey: 'x' })
// @ts-expect-error metadata is text
await client.start('free', 5, { metadata: { n: 1 } })
// @ts-expect-error a workflow that this host does not have
await client.start(workflow({ name: 'unknown', input: z.string() }, () => 1), 'x')
// @ts-expect-error no such signal
await run.signal('reject', {})
// @ts-expect-error a signal takes what goes into its schema
await run.signal('approve', { at: 5 })
await run.signal('approve', { at: '5' }, { id: 'once' })
// @ts-expect-error this workflow has no signals
await client.get('free', 'id').signal('approve', { at: '5' })
same<Equal<Awaited<ReturnType<ReturnType<typeof client.get<'parsed'>>['result']>>, { at: Date }>>()
const outcome = await run.cancel({ reason: 'x' })
// @ts-expect-error no such outcome
if (outcome.outcome === 'gone') void 0
// @ts-expect-error a page has no such limit
await run.journal({ size: 5 })

const far = remote<typeof all>({ url: 'https://example.org', headers: () => ({ authorization: 'x' }) })
// @ts-expect-error where?
remote<typeof all>({})
// @ts-expect-error no such workflow
await far.start('nope', 1)
const one: Run<typeof free> = await far.start('free', 5)
void one

// --- hosts

// @ts-expect-error who may do what is decided by the user, never by default
edge({ workflows: all, services: () => ({}) })
const lending = workflow({ name: 'lending', input: z.any(), services: services<{ any: { shop: { n: number } }; edge: { key: string }; browser: { camera: number } }>() }, async () => 1)
edge({ workflows: [lending], authorize: null, services: (env: { KEY: string }) => ({ shop: { n: 1 }, key: env.KEY }) })
// @ts-expect-error a service for any host is missing
edge({ workflows: [lending], authorize: null, services: () => ({ key: '' }) })
// @ts-expect-error a service of another type
edge({ workflows: [lending], authorize: null, services: () => ({ shop: { n: 'one' }, key: '' }) })
await browser({ workflows: [lending], services: { shop: { n: 1 }, camera: 5 } })
// @ts-expect-error the browser's own service is missing
await browser({ workflows: [lending], services: { shop: { n: 1 } } })
// @ts-expect-error services are needed
await browser({ workflows: [lending] })
await browser({ workflows: [free] })
// @ts-expect-error no such option
await browser({ workflows: [free], database: 'x' })

// --- errors

new StepwellError('failed', 'x')
// @ts-expect-error a closed list of codes
new StepwellError('my_own_code', 'x')
// A helper can take the ctx of any workflow that lends at least what it asks for.
export const helper = (ctx: Ctx): Promise<number> => ctx.step('helped', () => 1)

// --- fakes of the test kit

interface Bank { pay(cents: number): Promise<string>; refund(id: string): Promise<void> }
const banking = workflow({ name: 'banking', input: z.number(), services: services<{ edge: { bank: Bank }; browser: { screen: number }; any: { clock: () => number } }>() }, async () => 'paid')
const whole = { bank: { pay: async (cents: number) => `${cents}`, refund: async () => {} }, screen: 1, clock: () => 5 }
const lent = fakeServices(banking, whole)
same<Equal<typeof lent, typeof whole>>()
const kit = testHost({ workflows: [banking, free], services: whole })
// Where every call that uses them is mocked, there are none.
testHost({ workflows: [banking] })
// @ts-expect-error a fake without a method
fakeServices(banking, { ...whole, bank: { pay: async () => 'x' } })
// @ts-expect-error a fake whose method gives something else
testHost({ workflows: [banking], services: { ...whole, clock: () => 'noon' } })
// @ts-expect-error a service is missing
testHost({ workflows: [banking, free], services: { bank: whole.bank, clock: whole.clock } })
// @ts-expect-error no such kind of call
testHost({ workflows: [banking], mocks: { steps: {} } })
const test = await kit.start(banking, 5)
const made: string = await test.result()
const twice: { twice: number } = await (await kit.start(free, 5)).result()
// @ts-expect-error the input of this workflow
await kit.start(banking, 'five')
// @ts-expect-error a workflow that this host has not
await kit.start(parsed, { cents: '5' })
// @ts-expect-error no such status
await test.expect({ status: 'done' })
await exploreCrashes(banking, 5, { services: whole })
await exploreCrashes(banking, 5, { outside: () => new Map<string, number>(), services: (outside, host) => ({ ...whole, clock: () => outside.size + host.now() }) })
// @ts-expect-error a fake without a service
await exploreCrashes(banking, 5, { services: { clock: whole.clock } })
// @ts-expect-error the input of this workflow
await exploreCrashes(banking, 'five')
void [made, twice]

export const asking = workflow({ name: 'asking', input: z.string(), signals: { go: z.string() }, deferreds: { answer: z.object({ rating: z.string().transform(Number) }) } }, async (ctx) => {
  const answer = ctx.deferred('answer')
  const rating: number = (await answer.value()).rating
  const late = await answer.value({ timeout: '1 day' })
  // @ts-expect-error perhaps nobody has answered
  late.rating.toFixed()
  // @ts-expect-error no such deferred
  ctx.deferred('go')
  // @ts-expect-error a token is of a deferred
  await ctx.step('mail', ({ token }) => token('answer'))
  await ctx.step('mail', ({ token }): Promise<string> => token(answer))
  await ctx.all({ a: async (inner) => { (await inner.deferred('answer').value()).rating satisfies number } })
  for await (const word of ctx.signals('go', { timeout: '1 hour' })) word satisfies string
  // @ts-expect-error no such signal
  ctx.signals('answer')
  return rating
})
// @ts-expect-error deferreds have schemas
workflow({ name: 'w', input: z.string(), deferreds: { answer: 'string' } }, () => 1)
