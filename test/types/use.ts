// Everything that the API sketch of the design shows, against the real types: it compiles, and what is marked does not.

import { services, workflow } from 'stepwell'
import { remote } from 'stepwell/client'
import { browser } from 'stepwell/web'
import { edge } from 'stepwell/worker'
import { z } from 'zod'

interface Payments {
  charge(order: { cents: number }, options: { idempotencyKey: string }): Promise<{ id: string }>
  find(key: string): Promise<{ id: string } | null>
  refund(id: string): Promise<void>
}
interface Camera {
  shrink(photo: Uint8Array): Promise<Uint8Array>
}

export const inspection = workflow({
  name: 'inspection',
  version: 3,
  replays: [2],
  input: z.object({ photos: z.array(z.instanceof(Uint8Array)), cents: z.string().transform(Number) }),
  output: z.object({ charge: z.string(), photos: z.number() }),
  signals: { approve: z.object({ by: z.string() }) },
  services: services<{ edge: { payments: Payments }; browser: { camera: Camera } }>(),
  retention: { completed: '7 days', failed: '30 days' },
}, async (ctx, report) => {
  const photos = await ctx.map('photos', report.photos, { concurrency: 4 }, (ctx, photo) =>
    ctx.step('shrink', ({ input, services }) => services.camera.shrink(input), { at: 'browser', input: photo }))
  await ctx.moveTo('edge')
  const approval = await ctx.signal('approve', { timeout: '2 days' })
  if (approval === undefined) return ctx.fail('nobody approved')
  const by: string = approval.by
  const charge = await ctx.effect('charge', ({ services, input, idempotencyKey }) => services.payments.charge(input, { idempotencyKey }), {
    at: 'edge', kind: 'money', input: { cents: report.cents },
    onAmbiguous: 'probe',
    probe: async ({ services, idempotencyKey }) => {
      const found = await services.payments.find(idempotencyKey)
      return found ? { happened: found } : 'did-not-happen'
    },
    undo: (made, { services }) => services.payments.refund(made.id),
  })
  const won = await ctx.race({ ok: (c) => c.signal('approve'), late: (c) => c.sleep('1 hour') })
  if (won.winner === 'ok') {
    const who: string = won.value.by
    void who
  }
  const all = await ctx.all({ n: async (c) => c.step('n', () => 1), s: (c) => c.step('s', () => 'x') })
  const n: number = all.n
  const s: string = all.s
  void [by, s]
  return { charge: charge.id, photos: photos.length + n }
})

export const bad = workflow({
  name: 'bad', input: z.object({}), signals: { go: z.string() }, services: services<{ edge: { payments: Payments } }>(),
}, async (ctx) => {
  // @ts-expect-error unknown signal
  await ctx.signal('nope')
  // @ts-expect-error money without policy
  await ctx.effect('a', () => 1, { kind: 'money', input: 1 })
  // @ts-expect-error skip without fallback
  await ctx.effect('b', () => 1, { kind: 'money', onAmbiguous: 'skip' })
  // @ts-expect-error probe without probe
  await ctx.effect('c', () => 1, { kind: 'money', onAmbiguous: 'probe' })
  // @ts-expect-error fallback of wrong type
  await ctx.effect('d', () => 1, { kind: 'money', onAmbiguous: 'skip', fallback: 'x' })
  // @ts-expect-error edge service in a step that may run anywhere
  await ctx.step('e', ({ services }) => services.payments.find('k'))
  // @ts-expect-error edge service in a browser step
  await ctx.step('f', ({ services }) => services.payments.find('k'), { at: 'browser' })
  // @ts-expect-error bad duration
  await ctx.sleep('30 dayz')
  const g = await ctx.effect('g', async (): Promise<string | null> => 'x', { kind: 'cost', onAmbiguous: 'skip', fallback: null })
  const gg: string | null = g
  await ctx.effect('h', () => 1, { kind: 'idempotent' })
  return gg
})

// Recursion needs the function's return type, as any recursive function does.
export const tree = workflow({ name: 'tree', input: z.object({ d: z.number() }), output: z.number() }, async (ctx, input): Promise<number> => {
  if (input.d === 0) return 1
  return ctx.child(tree, { d: input.d - 1 })
})

export const workflows = [inspection, tree] as const

interface Env {
  STRIPE: string
}
declare function payments(key: string): Payments
declare const camera: Camera

const host = edge({ workflows, authorize: null, services: (env: Env) => ({ payments: payments(env.STRIPE) }) })
const client = host.client({ STRIPE: '' })
const run = await client.start('inspection', { photos: [], cents: '12' })
await run.signal('approve', { by: 'me' })
// @ts-expect-error the payload of a signal
await run.signal('approve', { by: 1 })
// @ts-expect-error no such workflow
await client.start('nope', {})
const out: { charge: string; photos: number } = await run.result()
const run2 = await client.start(tree, { d: 1 })
const out2: number = await run2.result()

// @ts-expect-error payments missing at the edge
edge({ workflows, authorize: null, services: (env: Env) => ({}) })
await browser({ workflows, services: { camera } })
// @ts-expect-error camera missing in the browser
await browser({ workflows, services: {} })
const far = remote<typeof workflows>({ url: '' })
const out3: number = await (await far.start('tree', { d: 1 })).result()
void [out, out2, out3]

export const telling = workflow({ name: 'telling', input: z.number() }, async (ctx, n) => {
  ctx.emit('begun', { n })
  await ctx.step('s', ({ emit }) => emit('in the step'))
  // @ts-expect-error a type is text
  ctx.emit(n)
})

export async function follow(): Promise<number> {
  const client = remote<{ telling: typeof telling }>({ url: '/' })
  let last = 0
  for await (const { number, type, data, key, attempt } of client.get('telling', 'id').events({ after: last })) {
    const known: readonly [number, string, unknown, string | undefined, number | undefined] = [number, type, data, key, attempt]
    last = known[0]
  }
  return last
}
