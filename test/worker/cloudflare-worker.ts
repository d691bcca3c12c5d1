// The same small workflows on Stepwell and on Cloudflare Workflows in one workerd, for test/differential/cloudflare.test.ts. Each is written
// once, against what the two have in common; `GET /?scenario=&on=` answers how it ended and how often each function was called.

import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from 'cloudflare:workers'
import { NonRetryableError } from 'cloudflare:workflows'
import { toWire } from '../../src/codec.ts'
import { permanent, type Schema, workflow } from '../../src/index.ts'
import { edge } from '../../worker/index.ts'

interface StepSettings {
  /** Attempts after the first. */
  readonly retries?: number
  readonly timeoutMs?: number
}

/** What both engines can do. */
interface Common {
  step(name: string, run: (attempt: number) => unknown, settings?: StepSettings): Promise<unknown>
  sleep(name: string, ms: number): Promise<unknown>
  /** An error after which nothing is tried again. */
  final(message: string): Error
}

const values: Readonly<Record<string, unknown>> = {
  null: null, true: true, zero: 0, fraction: 0.1, large: 2 ** 53, text: 'Zürich 東京 😀', empty: '', list: [1, [2, []]], object: { a: { b: [1, 2] } }, dollar: { $: 1 }, marker: { $: ['date', 1] },
  date: new Date(1e12), map: new Map<unknown, unknown>([['a', 1], ['b', new Map([[1, 2]])]]), set: new Set([1, 'a']), bigint: 2n ** 70n, bytes: Uint8Array.of(1, 2, 255), floats: Float64Array.of(0.5, -1), infinity: Infinity, nan: NaN, minusZero: -0,
}

type Scenario = (api: Common, note: (what: string) => void) => Promise<unknown>

const messageOf = (error: unknown): string => (error instanceof Error ? 'an error' : String(error))

export const scenarios: Readonly<Record<string, Scenario>> = {
  ...Object.fromEntries(Object.entries(values).map(([name, value]): [string, Scenario] => [`a value comes back as it was: ${name}`, ({ step }) => step('value', () => value)])),
  'the input of one step is the output of another': async ({ step }) => {
    let sum = 0
    for (let i = 1; i <= 5; i++) sum = await step(`add ${i}`, () => sum + i) as number
    return sum
  },
  'a step is tried until it succeeds': async ({ step }, note) => step('busy', (attempt) => {
    note('busy')
    if (attempt < 3) throw new Error('busy')
    return attempt
  }, { retries: 4 }),
  'after its last retry a step rejects, and the workflow may go on': async ({ step }, note) => {
    const caught = await step('never', () => { note('never'); throw new Error('no') }, { retries: 2 }).catch(messageOf)
    return [caught, await step('after', () => 'after')]
  },
  'an error that is final is not tried again': async ({ step, final }, note) =>
    step('final', () => { note('final'); throw final('no') }, { retries: 3 }).catch(messageOf),
  'what nobody catches fails the workflow': async ({ step }, note) => step('fails', () => { note('fails'); throw new Error('no') }, { retries: 0 }),
  'a throw of the workflow itself fails it': async ({ step }) => {
    await step('fine', () => 1)
    throw new Error('enough')
  },
  'a step that takes too long fails': async ({ step }, note) =>
    step('slow', () => { note('slow'); return new Promise(() => {}) }, { retries: 0, timeoutMs: 1000 }).catch(messageOf),
  'a sleep ends before what comes after it, and what was before is not repeated': async ({ step, sleep }, note) => {
    await step('before', () => note('before'))
    await sleep('nap', 1000)
    await step('after', () => note('after'))
    return 'over'
  },
  'parallel steps give their values in the order of the list': async ({ step }, note) =>
    Promise.all([5, 1, 3, 2, 4].map((n) => step(`p${n}`, async () => {
      note(`p${n}`)
      await new Promise((resolve) => { setTimeout(resolve, n * 10) })
      return n
    }))),
  'of parallel steps one that fails rejects all of them': async ({ step }) =>
    Promise.all([step('ok', () => 1), step('fails', () => { throw new Error('no') }, { retries: 0 })]).catch(messageOf),
}

/** How often each function was called, by run. */
const notes = new Map<string, string[]>()

function noted(id: string): (what: string) => void {
  return (what) => { notes.set(id, [...notes.get(id) ?? [], what]) }
}

interface Input {
  readonly scenario: string
  readonly id: string
}

const input: Schema<Input> = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as Input }) } }

const common = workflow({ name: 'common', input }, async (ctx, { scenario, id }) => {
  const api: Common = {
    step: (name, run, { retries = 0, timeoutMs = 60_000 } = {}) => ctx.step(name, ({ attempt }) => run(attempt), { retry: { limit: retries, delay: 1 }, timeout: timeoutMs }),
    sleep: (_, ms) => ctx.sleep(ms),
    final: (message) => permanent(new Error(message)),
  }
  return (scenarios[scenario] as Scenario)(api, noted(id))
})

const well = edge({ workflows: [common], services: () => ({}), authorize: null })
export const Run = well.Run

export class CloudflareWorkflow extends WorkflowEntrypoint<object, Input> {
  override async run({ payload: { scenario, id } }: Readonly<WorkflowEvent<Input>>, step: WorkflowStep): Promise<unknown> {
    const attempts = new Map<string, number>()
    const api: Common = {
      step: (name, run, { retries = 0, timeoutMs = 60_000 } = {}) => step.do(name, { retries: { limit: retries, delay: 1, backoff: 'constant' }, timeout: timeoutMs }, (async () => {
        const attempt = (attempts.get(name) ?? 0) + 1
        attempts.set(name, attempt)
        return await run(attempt)
      }) as never) as Promise<unknown>,
      sleep: (name, ms) => step.sleep(name, ms),
      final: (message) => new NonRetryableError(message),
    }
    const result = await (scenarios[scenario] as Scenario)(api, noted(id))
    // In our wire form, because its own way to give the output away takes JSON alone. The clone leaves out the symbols with which the
    // platform marks objects that came over a call.
    return { wire: JSON.stringify(toWire(structuredClone(result))) }
  }
}

interface Env {
  readonly CLOUDFLARE: Workflow<Input>
}

export interface Ended {
  readonly ok: boolean
  readonly output: unknown
  readonly calls: Readonly<Record<string, number>>
}

async function onStepwell(env: Env, scenario: string, id: string): Promise<{ ok: boolean; output?: unknown }> {
  const run = await well.client(env).start(common, { scenario, id })
  try {
    return { ok: true, output: toWire(await run.result()) }
  } catch {
    return { ok: false }
  }
}

async function onCloudflare(env: Env, scenario: string, id: string): Promise<{ ok: boolean; output?: unknown }> {
  const instance = await env.CLOUDFLARE.create({ params: { scenario, id } })
  for (;;) {
    const { status, output } = await instance.status()
    if (status === 'complete') return { ok: true, output: JSON.parse((output as { wire: string }).wire) as unknown }
    if (status === 'errored' || status === 'terminated') return { ok: false }
    await scheduler.wait(20)
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const query = new URL(request.url).searchParams
    const scenario = query.get('scenario')
    if (scenario === null) return Response.json(Object.keys(scenarios))
    const id = crypto.randomUUID()
    const end = await (query.get('on') === 'stepwell' ? onStepwell : onCloudflare)(env, scenario, id)
    const calls: Record<string, number> = {}
    for (const what of notes.get(id) ?? []) calls[what] = (calls[what] ?? 0) + 1
    return Response.json({ ...end, calls })
  },
}
