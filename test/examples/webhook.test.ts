// T-110: one delivery for one end, whatever dies between the end, its telling and the delivery.

import { describe, expect, test } from 'vitest'
import { announce, deliver, httpWebhook, type Webhook } from '../../examples/webhook/webhook.ts'
import type { Run } from '../../src/client.ts'
import { isStepwellError } from '../../src/errors.ts'
import { workflow } from '../../src/define.ts'
import { isEnded } from '../../src/journal/record.ts'
import type { FaultPlan } from '../../src/testing/fault-store.ts'
import { anything, ID, type Process, World } from '../engine/support.ts'

const work = workflow({ name: 'work', input: anything }, async (ctx) => ctx.step('a', () => 'secret'))

interface Receiver extends Webhook {
  readonly posts: { readonly key: string; readonly body: object }[]
}

/** Drops what it has seen by the same key, as every receiver should. */
function receiver(fails = 0): Receiver & { readonly calls: () => number } {
  const posts: { key: string; body: object }[] = []
  let calls = 0
  return {
    posts, calls: () => calls,
    async post(body, { idempotencyKey: key }) {
      if (++calls <= fails) throw new Error('not now')
      if (!posts.some((post) => post.key === key)) posts.push({ key, body })
    },
  }
}

function boot(world: World, webhook: Webhook, faults: FaultPlan = {}): Process {
  const process: Process = world.boot([work, deliver], { services: { webhook }, faults, onEnd: (end) => announce({
    start: async (definition: never, input: never, options: object) => await process.runs.start(definition, input, options) as unknown as Run<never>,
  } as never, end) })
  return process
}

/** What is due, soonest first, but for ended runs that only wait to be removed. */
function due(world: World): readonly { readonly runId: string; readonly wakeAt: number }[] {
  return world.shelf.due(99).filter(({ runId, wakeAt }) => world.record(runId).expiresAt !== wakeAt)
}

/** Drives whatever is due, as a host does, until nothing is. */
async function settleAll(process: Process): Promise<void> {
  for (;;) {
    const [next] = due(process.world)
    if (next === undefined) return
    process.host.advanceTo(next.wakeAt)
    await process.runs.settle(next.runId)
  }
}

const deliveries = (world: World): readonly string[] => world.shelf.runs({ limit: 99 }).filter((id) => id !== ID)

describe('T-110: the webhook', () => {
  test('one end is one delivery: a run of its own, with what may be told, and no end of ends', async () => {
    const world = new World()
    const to = receiver(3)
    const process = boot(world, to)
    await process.runs.start(work, 0, { id: ID })
    await settleAll(process)
    expect(to.posts.map(({ body }) => body)).toEqual([{ runId: ID, workflow: 'work', generation: 1, status: 'completed', endedAt: expect.any(Number) }])
    expect(to.calls()).toBe(4)
    expect(deliveries(world).map((id) => world.record(id).status)).toEqual(['completed'])
    // The next generation's end is another.
    await process.runs.control(ID, { kind: 'restart' })
    await settleAll(process)
    expect(to.posts.map(({ body }) => (body as { generation: number }).generation)).toEqual([1, 2])
    expect(deliveries(world).length).toBe(2)
  })

  test('killed at every commit, of the run and of the delivery: one delivery after it was opened again', async () => {
    let betweenEndAndTelling = 0
    for (const when of ['before', 'after'] as const) {
      for (let at = 1; ; at++) {
        const world = new World()
        const to = receiver()
        await world.boot([work, deliver]).runs.start(work, 0, { id: ID })
        let commits = 0
        let isDead = false
        const first = boot(world, to, { fault: ({ method }) => {
          if (isDead) return { do: 'hang', when: 'before' }
          if (method !== 'commit' || ++commits !== at) return undefined
          isDead = true
          return { do: 'crash', when }
        } })
        const all = settleAll(first)
        let isOver = false
        all.then(() => { isOver = true }, () => {})
        for (let i = 0; i < 60 && !isDead && !isOver; i++) await first.idle()
        world.tell(first.now)
        if (isDead && isEnded(world.record().status) && to.posts.length === 0) betweenEndAndTelling++
        await settleAll(boot(world, to))
        expect(world.record().status).toBe('completed')
        expect(to.posts.length, `commit ${at}, ${when}`).toBe(1)
        expect(deliveries(world).map((id) => world.record(id).status)).toEqual(['completed'])
        expect(due(world)).toEqual([])
        if (!isDead) break
      }
    }
    expect(betweenEndAndTelling).toBeGreaterThan(3)
  })

  test('an end that is told again after its delivery was removed is not delivered again', async () => {
    const world = new World()
    const to = receiver()
    const process = boot(world, to)
    await process.runs.start(work, 0, { id: ID })
    await settleAll(process)
    const [id] = deliveries(world) as [string]
    process.host.advance(24 * 3_600_000)
    expect(await process.runs.drive(id)).toEqual({ kind: 'absent' })
    const { endedAt } = world.record()
    await announce({
      start: async (definition: never, input: never, options: object) => await process.runs.start(definition, input, options) as unknown as Run<never>,
    } as never, { id: ID, workflow: 'work', version: 1, generation: 1, status: 'completed', endedAt: endedAt!, tags: [], metadata: {}, attempt: 2 })
    expect(deliveries(world)).toEqual([id])
    expect(to.posts.length).toBe(1)
  })

  test('a receiver that refuses is a delivery that failed, to be looked at and retried', async () => {
    const world = new World()
    const answers = [404, 200]
    const seen: string[] = []
    const original = globalThis.fetch
    globalThis.fetch = async (_, init) => {
      seen.push(new Headers(init?.headers).get('idempotency-key') as string)
      return new Response(null, { status: answers.shift() as number })
    }
    try {
      const process = boot(world, httpWebhook('https://hooks.example/'))
      await process.runs.start(work, 0, { id: ID })
      await settleAll(process)
      const [id] = deliveries(world) as [string]
      const { error } = await process.runs.summary(id)
      expect(isStepwellError(error, 'step_failed')).toBe(true)
      await process.runs.control(id, { kind: 'retry' })
      await settleAll(process)
      expect(world.record(id).status).toBe('completed')
      expect(new Set(seen).size).toBe(1)
    } finally {
      globalThis.fetch = original
    }
  })
})
