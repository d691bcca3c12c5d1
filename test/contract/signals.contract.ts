// Signals on any store (G17; seeds 5.2 no. 9, T-060 to T-070): before anybody waits, while nothing drives the run, twice, and together with the
// timeout. Each case wants stores that nothing was written to.

import { workflow } from '../../src/define.ts'
import type { Schema } from '../../src/schema.ts'
import type { Batch, RunStore } from '../../src/store/store.ts'
import { equal, ok } from '../../src/testing/assert.ts'
import { FaultStore } from '../../src/testing/fault-store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import type { RunCase, RunHarness } from './run-case.ts'

const anything: Schema<any> = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } }
const RUN = 'run-1'
const HOUR = 3_600_000

const gate = workflow({ name: 'gate', input: anything, signals: { go: anything, stop: anything } }, async (ctx, input: { wait?: number; then?: number }) => {
  await ctx.step('before', () => 1)
  const first = await (input.wait === undefined ? ctx.signal('go') : ctx.signal('go', { timeout: input.wait }))
  if (input.then !== undefined) await ctx.sleep(input.then)
  const second = await ctx.signal('go', { timeout: HOUR })
  return { first, second, at: ctx.now() - ctx.info.createdAt }
})

/** Processes of one run, one after the other, in one time. */
class Place {
  readonly #harness: RunHarness
  #now = Date.UTC(2026, 0, 1)
  #seed = 1

  constructor(harness: RunHarness) {
    this.#harness = harness
  }

  boot(): TestRuns {
    const host = new TestHost({ quiesce: this.#harness.quiesce, startAt: this.#now, seed: this.#seed++ })
    return new TestRuns({ host, workflows: [gate], storeUsesRealTime: true, open: async (id) => this.#harness.open(id) })
  }

  /** It is gone, with all that it had in memory. */
  async end(runs: TestRuns): Promise<void> {
    this.#now = runs.host.now()
    await runs.crash(RUN)
  }

  async started(input: { wait?: number; then?: number }): Promise<TestRuns> {
    const runs = this.boot()
    await runs.start(gate, input, { id: RUN })
    return runs
  }

  async outcome(): Promise<unknown> {
    const runs = this.boot()
    const end = await runs.settle(RUN)
    equal(end.kind, 'ended', 'how the last drive ended')
    return (await runs.summary(RUN)).output
  }

  /** What nobody has taken. */
  async left(): Promise<number> {
    return (await (await this.#harness.open(RUN)).keys('signal', { limit: 100 })).length
  }
}

/** The same store; somebody outside does something before a commit. */
function meddling(store: RunStore, before: (batch: Batch) => Promise<void>): RunStore {
  return {
    runId: store.runId, read: () => store.read(), entries: (...args) => store.entries(...args), last: () => store.last(), row: (...args) => store.row(...args),
    rows: (...args) => store.rows(...args), keys: (...args) => store.keys(...args), destroy: () => store.destroy(),
    commit: async (batch) => {
      await before(batch)
      return store.commit(batch)
    },
  }
}

export const signalCases: readonly RunCase[] = [
  { title: 'G17, T-061: sent before anybody waits, it is there for who waits later, also after a restart; two are taken in the order in which they were sent (T-062)',
    run: async (harness) => {
      const place = new Place(harness)
      const first = await place.started({})
      equal(await first.signal(RUN, { name: 'go', payload: { n: 1 } }), { seq: 1, duplicate: false }, 'the answer')
      equal(await first.signal(RUN, { name: 'stop', payload: 'another name' }), { seq: 2, duplicate: false }, 'the answer of another name')
      equal(await first.signal(RUN, { name: 'go', payload: { n: 2 } }), { seq: 3, duplicate: false }, 'the answer of the second')
      await place.end(first)
      equal(await place.outcome(), { first: { n: 1 }, second: { n: 2 }, at: 0 }, 'what was taken')
      equal(await place.left(), 1, 'what nobody has asked for')
    } },
  { title: 'G17, T-066, T-069: sent while nothing drives the run, by somebody else, it wakes it', run: async (harness) => {
    const place = new Place(harness)
    const first = await place.started({})
    equal(await first.settle(RUN), { kind: 'parked', wakeAt: null }, 'a run that waits for nothing but a signal')
    equal((await first.summary(RUN)).waitingFor, [{ kind: 'signal', key: 'signal:go' }], 'what it says it waits for')
    first.host.advance(30 * 24 * HOUR)
    await place.end(first)
    const sender = place.boot()
    await sender.signal(RUN, { name: 'go', payload: 'late' })
    equal((await (await harness.open(RUN)).read())?.wakeAt, sender.host.now(), 'when it is woken')
    await place.end(sender)
    equal(await place.outcome(), { first: 'late', second: undefined, at: 30 * 24 * HOUR + HOUR }, 'what was taken')
  } },
  { title: 'G17: sent twice with one id it is one, whoever sends it, also when it was taken, and after the end', run: async (harness) => {
    const place = new Place(harness)
    const first = await place.started({ wait: HOUR })
    equal(await first.signal(RUN, { name: 'go', payload: { n: 1 }, id: 'one' }), { seq: 1, duplicate: false }, 'the first answer')
    equal(await place.boot().signal(RUN, { name: 'go', payload: { n: 1 }, id: 'one' }), { seq: 1, duplicate: true }, 'the second answer')
    equal(await first.settle(RUN), { kind: 'ended', status: 'completed' }, 'the end')
    equal((await first.summary(RUN)).output, { first: { n: 1 }, second: undefined, at: HOUR }, 'what was taken')
    equal(await place.boot().signal(RUN, { name: 'go', payload: { n: 1 }, id: 'one' }), { seq: 1, duplicate: true }, 'an answer after the end')
    equal(await place.left(), 0, 'what is left')
  } },
  { title: 'G17: ten senders of five signals at once get five numbers, and each signal is there once', run: async (harness) => {
    const place = new Place(harness)
    const first = await place.started({})
    const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => place.boot().signal(RUN, { name: 'go', payload: i % 5, id: `id ${i % 5}` })))
    equal(answers.filter(({ duplicate }) => !duplicate).map(({ seq }) => seq).sort(), [1, 2, 3, 4, 5], 'the numbers')
    equal(answers.filter(({ duplicate }) => duplicate).length, 5, 'those that had been sent')
    for (let i = 0; i < 5; i++) equal(answers[i]?.seq, answers[i + 5]?.seq, `the number of id ${i}`)
    await place.end(first)
    const { first: a, second: b } = await place.outcome() as { first: number; second: number }
    // By number, whatever each of them carries.
    const byNumber = [...answers.entries()].filter(([, { duplicate }]) => !duplicate).sort(([, x], [, y]) => x.seq - y.seq).map(([i]) => i % 5)
    equal([a, b], byNumber.slice(0, 2), 'what was taken')
    equal(await place.left(), 3, 'what is left')
  } },
  { title: 'G17, T-064, T-071: signals are cleared by their name, and the answer says how many', run: async (harness) => {
    const place = new Place(harness)
    const first = await place.started({ wait: HOUR })
    for (const [name, payload] of [['go', 1], ['stop', 2], ['go', 3]] as const) await first.signal(RUN, { name, payload, id: `${payload}` })
    equal(await place.boot().clearSignals(RUN, 'go'), { cleared: 2 }, 'the first answer')
    equal(await first.clearSignals(RUN, 'go'), { cleared: 0 }, 'the second answer')
    equal(await first.signal(RUN, { name: 'go', payload: 1, id: '1' }), { seq: 1, duplicate: true }, 'what was cleared is known')
    await place.end(first)
    equal(await place.outcome(), { first: undefined, second: undefined, at: 2 * HOUR }, 'what was taken')
    equal(await place.left(), 1, 'what is left')
  } },
  { title: 'G17, T-064: cleared or taken, one of the two', run: async (harness) => {
    // Cleared in the moment before the commit that takes the first of two.
    const place = new Place(harness)
    const first = await place.started({ wait: HOUR })
    for (const payload of [1, 2]) await first.signal(RUN, { name: 'go', payload })
    await place.end(first)
    const outside = place.boot()
    let answer: unknown
    const driver = new TestRuns({ host: new TestHost({ quiesce: harness.quiesce, startAt: outside.host.now(), seed: 99 }), workflows: [gate], storeUsesRealTime: true, open: async (id) => meddling(
      await harness.open(id), async (batch) => {
        if (answer === undefined && batch.rows?.some(({ table }) => table === 'signal') === true) answer = await outside.clearSignals(RUN, 'go')
      }) })
    equal(await driver.settle(RUN), { kind: 'ended', status: 'completed' }, 'the end')
    equal(answer, { cleared: 2 }, 'what was cleared')
    equal((await driver.summary(RUN)).output, { first: undefined, second: undefined, at: 2 * HOUR }, 'what was taken')
  } },
  { title: 'G17, T-067: together with its timeout, the signal that was committed is preferred; one that comes later is kept for the next wait', run: async (harness) => {
    const place = new Place(harness)
    const first = await place.started({ wait: HOUR, then: HOUR })
    const parked = await first.drive(RUN)
    equal(parked, { kind: 'parked', wakeAt: first.host.now() + HOUR }, 'until when it waits')
    first.host.advance(HOUR)
    await place.end(first)
    // In the very instant of the timeout, and nobody drives the run.
    await place.boot().signal(RUN, { name: 'go', payload: 'in time' })
    const second = place.boot()
    await second.drive(RUN)
    await place.boot().signal(RUN, { name: 'go', payload: 'for the second' })
    await place.end(second)
    equal(await place.outcome(), { first: 'in time', second: 'for the second', at: 2 * HOUR }, 'what was taken')
  } },
  { title: 'G17, T-067: a signal that is committed while the timeout is being committed wins, and neither is lost', run: async (harness) => {
    const place = new Place(harness)
    const first = await place.started({ wait: HOUR })
    await first.drive(RUN)
    first.host.advance(HOUR)
    await place.end(first)
    // Somebody without a bell to ring sends it in the moment before the commit of the timeout.
    const outside = place.boot()
    let isSent = false
    const host = new TestHost({ quiesce: harness.quiesce, startAt: outside.host.now(), seed: 99 })
    const driver = new TestRuns({ host, workflows: [gate], storeUsesRealTime: true, open: async (id) => meddling(await harness.open(id), async (batch) => {
      if (isSent || (batch.entries ?? []).length === 0) return
      isSent = true
      await outside.signal(RUN, { name: 'go', payload: 'just so' })
    }) })
    equal(await driver.settle(RUN), { kind: 'ended', status: 'completed' }, 'the end')
    ok(isSent, 'the signal was sent')
    equal((await driver.summary(RUN)).output, { first: 'just so', second: undefined, at: 2 * HOUR }, 'what was taken')
  } },
  { title: 'G17, T-067: with none, the timeout gives undefined, at its stored time', run: async (harness) => {
    const place = new Place(harness)
    const first = await place.started({ wait: HOUR })
    await first.drive(RUN)
    first.host.advance(HOUR / 2)
    await place.end(first)
    equal(await place.outcome(), { first: undefined, second: undefined, at: 2 * HOUR }, 'what was taken')
  } },
  { title: 'G17, T-070: delivered and taken in one commit: a crash at it leaves either both or neither, and equal payloads are two signals', run: async (harness) => {
    for (const when of ['before', 'after'] as const) {
      const place = new Place(harness)
      const first = await place.started({})
      for (let i = 0; i < 2; i++) await first.signal(RUN, { name: 'go', payload: 'equal' })
      let crashed = 0
      const host = new TestHost({ quiesce: harness.quiesce, startAt: first.host.now(), seed: 7 })
      let die = (): void => {}
      const died = new Promise<void>((resolve) => { die = resolve })
      const driver = new TestRuns({ host, workflows: [gate], storeUsesRealTime: true, open: async (run) => new FaultStore(await harness.open(run), {
        crashed: die,
        fault: ({ method, batch }) => method === 'commit' && batch?.rows?.some(({ table }) => table === 'signal') === true && ++crashed === 1 ? { do: 'crash', when } : undefined,
      }) })
      void driver.drive(RUN)
      // As long as this store takes.
      await died
      equal(crashed, 1, 'crashes')
      equal(await place.left(), when === 'before' ? 2 : 1, `signals that are left after a crash ${when} the commit`)
      equal(await place.outcome(), { first: 'equal', second: 'equal', at: 0 }, 'what was taken')
      equal(await place.left(), 0, 'what is left')
      await (await harness.open(RUN)).destroy()
    }
  } },
]
