// What bench/edge.ts asks for over HTTP. Everything is timed here, in the worker that calls, from before the first call of an
// object to after its last answer: the baselines pay for the same calls and the same durable write at the end.

import { DurableObject, exports, WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from 'cloudflare:workers'
import { services, workflow } from 'stepwell'
import { edge } from 'stepwell/worker'
import { registry } from '../../src/define.ts'
import { Driver } from '../../src/engine/drive.ts'
import { limits } from '../../src/limits.ts'
import { sweep } from '../../src/engine/sweep.ts'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { any, asleep, fiveEffects, parallel, RESULT, sequential } from '../workflows.ts'

interface Env {
  readonly CLOUDFLARE: Workflow<CloudflareInput>
}

/** Takes a turn of the platform's event loop, as every real call of the world outside does. */
interface Outside {
  call(): Promise<unknown>
}

const input = any<{ n: number }>()
const lent = services<{ edge: { outside: Outside } }>()

/** A journal of `n` prompt entries, after which the run sleeps: a pass replays all of it and stops right at the end. */
const promptJournal = workflow({ name: 'prompt-journal', input }, async (ctx, { n }) => {
  for (let i = 0; i < n; i++) await ctx.step('step', async () => RESULT)
  await ctx.sleep('1 day')
})

/** The same with steps that take a turn of the platform's loop each, so that each was delivered at quiescence. */
const settledJournal = workflow({ name: 'settled-journal', input, services: lent }, async (ctx, { n }) => {
  for (let i = 0; i < n; i++) {
    await ctx.step('step', async ({ services }) => {
      await services.outside.call()
      return RESULT
    }, { at: 'edge' })
  }
  await ctx.sleep('1 day')
})

/** The same with 20 at a time, in scopes of their own. */
const concurrentJournal = workflow({ name: 'concurrent-journal', input, services: lent }, async (ctx, { n }) => {
  const items = Array.from({ length: n }, (_, i) => i)
  await ctx.map('items', items, { concurrency: 20 }, (ctx) => ctx.step('step', async ({ services }) => {
    await services.outside.call()
    return RESULT
  }, { at: 'edge' }))
  await ctx.sleep('1 day')
})

/** Ends at once, and may go soon after: what is measured is its sweep. */
const expiring = workflow({ name: 'expiring', input, retention: { completed: '1 minute' } }, async (ctx, { n }) => {
  await Promise.all(Array.from({ length: n }, () => ctx.step('step', async () => RESULT)))
})

const workflows = [sequential, parallel, fiveEffects, asleep, expiring, promptJournal, settledJournal, concurrentJournal] as const
const lend = (): { outside: Outside } => ({ outside: { call: () => new Response('a').text() } })
const well = edge({ workflows, services: (_: Env) => lend(), authorize: null })

/** What a run has cost, counted by the platform for each statement, and its entries. */
interface Cost {
  readonly rowsWritten: number
  readonly alarmsSet: number
  readonly entries: number
  readonly entryBytes: number
}

/** The host's own class, watched from outside: it does not know that its statements are counted. */
export class Run extends well.Run {
  #rowsWritten = 0
  #alarmsSet = 0

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const { storage } = ctx
    const { sql } = storage
    const exec = sql.exec.bind(sql) as typeof sql.exec
    if (ctx.id.name?.startsWith('counted') === true) {
      Object.defineProperty(sql, 'exec', { value: (query: string, ...bindings: unknown[]) => {
        const cursor = exec(query, ...bindings)
        this.#rowsWritten += cursor.rowsWritten
        return cursor
      } })
      // The platform bills an alarm that is set or deleted as a row written.
      for (const method of ['setAlarm', 'deleteAlarm'] as const) {
        const original = storage[method].bind(storage) as (...args: unknown[]) => Promise<void>
        Object.defineProperty(storage, method, { value: (...args: unknown[]) => {
          this.#alarmsSet++
          return original(...args)
        } })
      }
    }
  }

  cost(): Cost {
    const [row] = this.ctx.storage.sql.exec<{ n: number; bytes: number }>('SELECT count(*) AS n, sum(length(bytes)) AS bytes FROM entry').toArray()
    return { rowsWritten: this.#rowsWritten, alarmsSet: this.#alarmsSet, entries: row?.n ?? 0, entryBytes: row?.bytes ?? 0 }
  }

  /** Milliseconds that it takes to remove the ended run, whose time is over. */
  async swept(): Promise<{ ms: number; entries: number }> {
    const { entries } = this.cost()
    const host = { ...createHost(), now: () => Date.now() + 3_600_000 }
    const start = performance.now()
    const end = await sweep({ store: createSqliteStore(this.ctx.storage, this.ctx.id.name ?? ''), host, limits: limits(), isStopped: () => false })
    const ms = performance.now() - start
    if (end !== 'swept') throw new Error(`the sweep ended ${end}`)
    return { ms, entries }
  }

  /** Milliseconds that one whole drive takes: a new driver, as after an eviction, that replays the journal and parks. */
  async replay(): Promise<{ ms: number; entries: number }> {
    const { entries } = this.cost()
    const host = createHost()
    const driver = new Driver({
      store: createSqliteStore(this.ctx.storage, this.ctx.id.name ?? ''), host, registry: registry(workflows), services: lend(),
      limits: limits(), takesEpoch: false,
    })
    host.entered()
    const start = performance.now()
    const end = await driver.drive()
    const ms = performance.now() - start
    if (end.kind !== 'parked') throw new Error(`the replay ended ${JSON.stringify(end)}`)
    return { ms, entries }
  }
}

/** The baseline: nothing but one constant INSERT for each row, into the best table there is for it, in one turn. */
export class Bare extends DurableObject {
  run(n: number, bytes: number): void {
    const { sql } = this.ctx.storage
    sql.exec('CREATE TABLE entry (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT')
    const value = new Uint8Array(bytes).fill(7)
    for (let seq = 1; seq <= n; seq++) sql.exec('INSERT INTO entry (seq, bytes) VALUES (?, ?)', seq, value)
  }
}

interface CloudflareInput {
  readonly n: number
  readonly isParallel: boolean
}

/** The same steps on Cloudflare Workflows. It is timed inside, so neither its start nor the wait for its end counts against it. */
export class CloudflareWorkflow extends WorkflowEntrypoint<Env, CloudflareInput> {
  override async run({ payload: { n, isParallel } }: Readonly<WorkflowEvent<CloudflareInput>>, step: WorkflowStep): Promise<number> {
    const start = performance.now()
    if (isParallel) await Promise.all(Array.from({ length: n }, (_, i) => step.do(`step ${i}`, async () => RESULT)))
    else for (let i = 0; i < n; i++) await step.do(`step ${i}`, async () => RESULT)
    return performance.now() - start
  }
}

async function cloudflare(env: Env, input: CloudflareInput): Promise<number> {
  const instance = await env.CLOUDFLARE.create({ params: input })
  for (;;) {
    const { status, output, error } = await instance.status()
    if (status === 'complete') return output as number
    if (status === 'errored' || status === 'terminated') throw new Error(`Cloudflare Workflows: ${status} ${JSON.stringify(error)}`)
    await scheduler.wait(20)
  }
}

/** How long each of `n` takes, one after the other: whole runs of five effects, or starts until they are acknowledged. */
async function each(env: Env, what: 'effects' | 'start', n: number): Promise<number[]> {
  const client = well.client(env)
  const times: number[] = []
  for (let i = 0; i < n; i++) {
    const start = performance.now()
    if (what === 'start') await client.start(asleep, null)
    else await (await client.start(fiveEffects, null)).result()
    times.push(performance.now() - start)
  }
  return times
}

async function stepwell(env: Env, definition: typeof sequential | typeof parallel | typeof expiring, n: number, id: string): Promise<number> {
  const client = well.client(env)
  const start = performance.now()
  const run = await client.start(definition, { n }, { id })
  await run.result()
  return performance.now() - start
}

async function bare(n: number, bytes: number): Promise<number> {
  const object = exports.Bare.getByName(crypto.randomUUID())
  const start = performance.now()
  await object.run(n, bytes)
  return performance.now() - start
}

type Journal = 'prompt-journal' | 'settled-journal' | 'concurrent-journal'

/** A run whose journal is complete, once it sleeps. */
async function prepare(env: Env, name: Journal, n: number, id: string): Promise<void> {
  const run = await well.client(env).start(name, { n }, { id })
  for (;;) {
    const { status } = await run.status()
    if (status === 'waiting') return
    if (status !== 'running' && status !== 'queued') throw new Error(`run ${id} is ${status}`)
    await scheduler.wait(20)
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const url = new URL(request.url)
    const text = (name: string): string => url.searchParams.get(name) ?? ''
    const number = (name: string): number => Number(text(name))
    const id = text('id')
    switch (url.pathname) {
      case '/sequential': return Response.json(await stepwell(env, sequential, number('n'), id))
      case '/parallel': return Response.json(await stepwell(env, parallel, number('n'), id))
      case '/bare': return Response.json(await bare(number('n'), number('bytes')))
      case '/cloudflare': return Response.json(await cloudflare(env, { n: number('n'), isParallel: text('parallel') === '1' }))
      case '/cost': return Response.json(await exports.Run.getByName(id).cost())
      case '/prepare':
        await prepare(env, text('journal') as Journal, number('n'), id)
        return Response.json(null)
      case '/each': return Response.json(await each(env, text('what') as 'effects', number('n')))
      case '/sweep':
        await stepwell(env, expiring, number('n'), id)
        return Response.json(await exports.Run.getByName(id).swept())
      case '/replay': return Response.json(await exports.Run.getByName(id).replay())
      default: return new Response('not found', { status: 404 })
    }
  },
}
