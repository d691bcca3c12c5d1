// G18: what a run tells the outside world, on any store: numbered without a gap over crashes, the function's own exactly once, and a
// cursor that is older than what is kept is told so.

import { z } from 'zod'
import type { RunEvent } from '../../src/client.ts'
import { eventPage } from '../../src/engine/event-page.ts'
import { isStepwellError, workflow } from '../../src/index.ts'
import type { AnyWorkflow } from '../../src/define.ts'
import type { Limits } from '../../src/limits.ts'
import type { RunStore } from '../../src/store/store.ts'
import { equal as equalTo, ok } from '../../src/testing/assert.ts'
import { FaultStore } from '../../src/testing/fault-store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import type { RunCase, RunHarness } from './run-case.ts'

const ID = 'telling'
const equal = (actual: unknown, expected: unknown): void => equalTo(actual, expected, 'the events of a run')

/** One process: what it has in memory is lost when the next one begins. */
class Scene {
  readonly #harness: RunHarness
  readonly #host: TestHost
  readonly #definition: AnyWorkflow
  readonly #limits: Partial<Limits>
  #handle: FaultStore | undefined
  runs: TestRuns

  constructor(harness: RunHarness, definition: AnyWorkflow, limits: Partial<Limits> = {}) {
    this.#harness = harness
    this.#definition = definition
    this.#limits = limits
    this.#host = new TestHost({ quiesce: harness.quiesce, seed: 18 })
    this.runs = this.boot()
  }

  boot(): TestRuns {
    this.#handle?.kill()
    this.runs = new TestRuns({
      host: this.#host, workflows: [this.#definition], storeUsesRealTime: true, limits: this.#limits,
      open: async (id) => (this.#handle = new FaultStore(await this.#harness.open(id), {})),
    })
    return this.runs
  }

  /** Drives until it waits for a time, and lets that time pass. */
  async drive(): Promise<string> {
    const end = await this.runs.drive(ID)
    if (end.kind === 'parked') this.#host.advanceTo(end.wakeAt as number)
    return end.kind
  }

  async store(): Promise<RunStore> {
    return this.#harness.open(ID)
  }

  async events(limit = 3): Promise<readonly RunEvent[]> {
    const store = await this.store()
    const events: RunEvent[] = []
    for (let after = 0; ;) {
      const page = await eventPage(store, { after, limit })
      ok(page.items.length <= limit, 'a page has at most its limit')
      events.push(...page.items)
      if (page.items.length === 0) return events
      after = page.next
    }
  }
}

export const eventCases: readonly RunCase[] = [
  { title: 'G18: 5 events, the host is dropped, 5 more: 10 events with the numbers 1 to 10, none lost and none twice (B-005)', async run(harness) {
    const w = workflow({ name: 'w', input: z.any() }, async (ctx) => {
      for (let i = 1; i <= 5; i++) ctx.emit('e', { i, map: new Map([[i, new Date(i)]]) })
      await ctx.sleep('1 hour')
      for (let i = 6; i <= 10; i++) ctx.emit('e', { i, map: new Map([[i, new Date(i)]]) })
    })
    const scene = new Scene(harness, w)
    await scene.runs.start(w, 0, { id: ID })
    equal(await scene.drive(), 'parked')
    equal((await scene.events()).map(({ number }) => number), [1, 2, 3, 4, 5])
    scene.boot()
    equal(await scene.drive(), 'ended')
    const events = await scene.events()
    equal(events.map(({ number }) => number), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    equal(events.map(({ data }) => data), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((i) => ({ i, map: new Map([[i, new Date(i)]]) })))
    ok(events.every(({ at }, i) => i === 0 || at >= (events[i - 1] as RunEvent).at), 'their times never decrease')
    equal((await eventPage(await scene.store(), { after: 10 })).isOver, true)
  } },

  { title: 'G18: the host is dropped in the middle of each window, between outcomes that are there together, in a step: contiguous (B-172)', async run(harness) {
    let crash: (() => void) | undefined
    const w = workflow({ name: 'w', input: z.any() }, async (ctx) => {
      ctx.emit('own', 1)
      await ctx.step('a', ({ attempt, emit }) => {
        emit('of a', attempt)
        if (attempt === 1) throw new Error('again')
      }, { retry: { limit: 1, delay: '1 minute' } })
      ctx.emit('own', 2)
      await Promise.all([1, 2, 3].map((n) => ctx.scope(`s${n}`, async (inner) => {
        await inner.sleep('1 hour')
        inner.emit('own', 2 + n)
      })))
      await ctx.sleep('1 hour')
      crash?.()
      ctx.emit('own', 6)
    })
    const scene = new Scene(harness, w)
    await scene.runs.start(w, 0, { id: ID })
    let drives = 0
    for (let end = 'parked'; end === 'parked'; drives++) {
      end = await scene.drive()
      scene.boot()
    }
    crash = undefined
    ok(drives >= 4, 'it was dropped at every wait')
    const events = await scene.events()
    equal(events.map(({ number }) => number), events.map((_, i) => i + 1))
    equal(events.map(({ type, data, attempt }) => [type, data, attempt]), [
      ['own', 1, undefined], ['of a', 1, 1], ['of a', 2, 2], ['own', 2, undefined], ['own', 3, undefined], ['own', 4, undefined], ['own', 5, undefined], ['own', 6, undefined],
    ])
  } },

  { title: 'G18: a cursor that is older than what is kept is a gap that names the oldest event, never a short list (B-006)', async run(harness) {
    const w = workflow({ name: 'w', input: z.any() }, async (ctx) => {
      for (let i = 1; i <= 25; i++) ctx.emit('e', i)
    })
    const scene = new Scene(harness, w, { events: 10, batchEntries: 7 })
    await scene.runs.start(w, 0, { id: ID })
    equal(await scene.drive(), 'ended')
    const store = await scene.store()
    for (const after of [0, 5, 14]) {
      const error: unknown = await eventPage(store, { after }).then(() => undefined, (thrown: unknown) => thrown)
      ok(isStepwellError(error, 'event_gap'), 'it is a gap')
      equal(error.details, { after, oldest: 16, last: 25 })
    }
    const { items, next, isOver } = await eventPage(store, { after: 15 })
    equal([items.map(({ data }) => data), next, isOver], [[16, 17, 18, 19, 20, 21, 22, 23, 24, 25], 25, true])
    equal((await store.keys('event', { limit: 100 })).length, 10)
  } },

  { title: 'G1: rows of events that somebody has deleted come back from the journal', async run(harness) {
    const w = workflow({ name: 'w', input: z.any() }, async (ctx) => {
      for (let i = 1; i <= 4; i++) ctx.emit('e', i)
      await ctx.sleep('1 hour')
      ctx.emit('e', 5)
    })
    const scene = new Scene(harness, w)
    await scene.runs.start(w, 0, { id: ID })
    equal(await scene.drive(), 'parked')
    const before = await scene.events()
    const store = await scene.store()
    const rows = (await store.keys('event', { limit: 100 })).map((key) => ({ table: 'event' as const, key, value: null }))
    equal((await store.commit({ expect: { kind: 'exists' }, rows })).kind, 'committed')
    scene.boot()
    equal(await scene.drive(), 'ended')
    const events = await scene.events()
    equal(events.slice(0, 4), before)
    equal(events.map(({ data }) => data), [1, 2, 3, 4, 5])
  } },
]
