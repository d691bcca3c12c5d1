// G12, G13: attempts that outlive their timeout or their authority, and then report, keep something or go on, on any store. Two
// processes are two sets of drivers and handles over one store and one clock.

import { z } from 'zod'
import { isStepwellError, permanent, workflow } from '../../src/index.ts'
import type { AnyWorkflow } from '../../src/define.ts'
import type { DriveEnd } from '../../src/engine/drive.ts'
import { equal as equalTo, ok } from '../../src/testing/assert.ts'
import { FaultStore, type FaultPlan } from '../../src/testing/fault-store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { entriesOf, ledgerOf } from './effects.contract.ts'
import { type RunCase, type RunHarness, until } from './run-case.ts'

const equal = (actual: unknown, expected: unknown): void => equalTo(actual, expected, 'a zombie')

const money = { kind: 'money', input: { cents: 5 }, timeout: '5 seconds' } as const

/** What a function waits for: the test says when it goes on, and how. */
class Gates {
  readonly #all: PromiseWithResolvers<unknown>[] = []
  get calls(): number {
    return this.#all.length
  }
  enter(): Promise<unknown> {
    const gate = Promise.withResolvers<unknown>()
    this.#all.push(gate)
    return gate.promise
  }
  open(call: number, value: unknown): void {
    this.#all[call - 1]?.resolve(value)
  }
  fail(call: number, error: unknown): void {
    this.#all[call - 1]?.reject(error)
  }
}

class Scene {
  readonly host: TestHost
  readonly #harness: RunHarness
  constructor(harness: RunHarness) {
    this.#harness = harness
    this.host = new TestHost({ quiesce: harness.quiesce, seed: 7 })
  }

  process(definition: AnyWorkflow, faults: FaultPlan = {}, { takesEpoch = true } = {}): TestRuns {
    return new TestRuns({
      host: this.host, workflows: [definition], storeUsesRealTime: true, takesEpoch,
      open: async (id) => new FaultStore(await this.#harness.open(id), faults),
    })
  }

  async started(definition: AnyWorkflow, options?: { readonly takesEpoch: boolean }): Promise<TestRuns> {
    const runs = this.process(definition, {}, options)
    await runs.start(definition, 0, { id: 'zombie' })
    return runs
  }

  /** Begins a drive and waits for it only as long as `until` is not true. */
  async begin(runs: TestRuns): Promise<{ readonly end: Promise<DriveEnd> }> {
    return { end: (await runs.driver('zombie')).drive() }
  }

  until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
    return until(this.#harness, what, is)
  }

  /** Enough turns for what is going to happen at once, where nothing should. */
  async idle(): Promise<void> {
    for (let i = 0; i < 60; i++) await this.#harness.quiesce()
  }

  async kinds(): Promise<readonly string[]> {
    const entries = await entriesOf(await this.#harness.open('zombie'))
    return entries.map(({ kind, key }) => key === undefined ? kind : `${kind} ${key}`)
  }

  async has(kind: string, times = 1): Promise<boolean> {
    return (await this.kinds()).filter((each) => each === kind).length >= times
  }

  async epoch(): Promise<number> {
    return (await (await this.#harness.open('zombie')).read())?.epoch ?? 0
  }

  async ledger(): Promise<readonly string[]> {
    return (await ledgerOf(await this.#harness.open('zombie'))).map(({ status }) => status)
  }
}

export const zombieCases: readonly RunCase[] = [
  { title: 'G13: after its timeout an attempt can keep nothing, and what it reports is recorded once', async run(harness) {
    const gates = new Gates()
    const scene = new Scene(harness)
    const refused: unknown[] = []
    const flow = workflow({ name: 'flow', input: z.any() }, async (ctx) => {
      const value = await ctx.effect('e', async ({ memo, state }) => {
        const got = await gates.enter()
        await memo('m', () => 1).catch((error: unknown) => refused.push(error))
        try {
          state.set('s', 1)
        } catch (error) {
          refused.push(error)
        }
        return got
      }, { ...money, onAmbiguous: 'skip', fallback: 'none' })
      await ctx.sleep('1 hour')
      return value
    })
    const runs = await scene.started(flow)
    const { end } = await scene.begin(runs)
    await scene.until('called', () => gates.calls === 1)
    await scene.idle()
    scene.host.advance(5000)
    await end
    gates.open(1, 'paid')
    await scene.until('recorded', () => scene.has('effect_recorded e'))
    await runs.settle('zombie')
    equal((await runs.summary('zombie')).output, 'none')
    equal(refused.map((error) => isStepwellError(error) ? error.code : String(error)), ['attempt_over', 'attempt_over'])
    equal(await scene.ledger(), ['done'])
  } },
  { title: 'G13: a first attempt that reports while the second waits for its retry settles the call', async run(harness) {
    const gates = new Gates()
    const scene = new Scene(harness)
    const flow = workflow({ name: 'flow', input: z.any() }, async (ctx) =>
      ctx.effect('e', () => gates.enter(), { ...money, onAmbiguous: 'rerun', retry: { limit: 5, delay: '1 second' } }))
    const runs = await scene.started(flow)
    const { end } = await scene.begin(runs)
    await scene.until('called', () => gates.calls === 1)
    await scene.idle()
    scene.host.advance(5000)
    await scene.until('ambiguous', () => scene.has('effect_ambiguous e'))
    await scene.idle()
    scene.host.advance(1000)
    await scene.until('called again', () => gates.calls === 2)
    gates.fail(2, new Error('busy'))
    await scene.until('failed', () => scene.has('effect_attempt_failed e'))
    gates.open(1, 'paid by the first')
    await scene.until('completed', () => scene.has('run_completed'))
    equal(await end, { kind: 'ended', status: 'completed' })
    equal((await runs.summary('zombie')).output, 'paid by the first')
    equal(gates.calls, 2)
    equal(await scene.ledger(), ['done'])
  } },
  { title: 'G13: a first attempt that reports while the second runs is not forgotten when the second fails', async run(harness) {
    const gates = new Gates()
    const undone: unknown[] = []
    const scene = new Scene(harness)
    const flow = workflow({ name: 'flow', input: z.any() }, async (ctx) => {
      const value = await ctx.effect('e', () => gates.enter(), { ...money, onAmbiguous: 'rerun', undo: (outcome) => { undone.push(outcome) } })
      throw new Error(`after ${String(value)}`)
    })
    const runs = await scene.started(flow)
    const { end } = await scene.begin(runs)
    await scene.until('called', () => gates.calls === 1)
    await scene.idle()
    scene.host.advance(5000)
    await scene.until('ambiguous', () => scene.has('effect_ambiguous e'))
    await scene.idle()
    scene.host.advance(1000)
    await scene.until('called again', () => gates.calls === 2)
    gates.open(1, 'paid by the first')
    await scene.idle()
    gates.fail(2, permanent(new Error('this key was used')))
    equal(await end, { kind: 'ended', status: 'failed' })
    equal(((await runs.summary('zombie')).error as Error).message, 'after paid by the first')
    equal(undone, ['paid by the first'])
    equal(await scene.ledger(), ['undone'])
  } },
  { title: 'G12, G6: a superseded driver\'s function reports to nobody; the successor waits, asks, and does not call', async run(harness) {
    const gates = new Gates()
    const scene = new Scene(harness)
    let acted = false
    let isSecond = false
    const flow = workflow({ name: 'flow', input: z.any() }, async (ctx) => {
      const value = await ctx.effect('e', async () => {
        const got = await gates.enter()
        acted = true
        return got
      }, { ...money, onAmbiguous: 'probe', probe: () => acted ? { happened: 'found' } : 'did-not-happen' })
      await ctx.effect('next', async () => { if (!isSecond) throw new Error('the superseded driver went on') }, { ...money, input: { cents: 6 }, onAmbiguous: 'fail' })
      return value
    })
    const first = await scene.started(flow)
    const zombie = await scene.begin(first)
    await scene.until('called', () => gates.calls === 1)
    const second = scene.process(flow)
    isSecond = true
    const parked = await (await second.driver('zombie')).drive()
    // Nothing is decided before startBy and the timeout.
    equal(parked.kind, 'parked')
    gates.open(1, 'paid by the zombie')
    equal(await zombie.end, { kind: 'superseded' })
    equal(await scene.kinds(), ['run_started', 'effect_intended e'])
    const end = await second.settle('zombie')
    equal(end, { kind: 'ended', status: 'completed' })
    equal((await second.summary('zombie')).output, 'found')
    equal(gates.calls, 1)
  } },
  { title: 'G12, G6: an attempt that timed out reports after another took over: it does not take the run back', async run(harness) {
    const gates = new Gates()
    const later = new Gates()
    const scene = new Scene(harness)
    const flow = workflow({ name: 'flow', input: z.any() }, async (ctx) => {
      const value = await ctx.effect('e', () => gates.enter(), { ...money, onAmbiguous: 'ask' })
      await ctx.step('s', () => later.enter())
      return value
    })
    const first = await scene.started(flow)
    const { end } = await scene.begin(first)
    await scene.until('called', () => gates.calls === 1)
    await scene.idle()
    scene.host.advance(5000)
    equal((await end).kind, 'blocked')
    const second = scene.process(flow)
    await second.control('zombie', { kind: 'resolve', seq: 2, decision: 'happened', value: 'seen by a person' })
    const driven = await scene.begin(second)
    await scene.until('the step runs', () => later.calls === 1)
    const epoch = await scene.epoch()
    gates.open(1, 'paid by the zombie')
    await scene.idle()
    equal(await scene.epoch(), epoch)
    equal(later.calls, 1)
    later.open(1, undefined)
    equal(await driven.end, { kind: 'ended', status: 'completed' })
    equal((await second.summary('zombie')).output, 'seen by a person')
    ok(!(await scene.has('effect_recorded e')), 'what a superseded function reports is not written')
  } },
  { title: 'G12: a driver whose store failed comes back after another went on: its attempt belongs to nobody', async run(harness) {
    const gates = new Gates()
    const later = new Gates()
    const scene = new Scene(harness)
    let isBroken = false
    const flow = workflow({ name: 'flow', input: z.any() }, async (ctx) => {
      const [value] = await Promise.all([
        ctx.effect('e', () => gates.enter(), { ...money, onAmbiguous: 'skip', fallback: 'skipped' }),
        ctx.step('breaks', () => later.enter()),
      ])
      await ctx.sleep('1 hour')
      return value
    })
    const first = scene.process(flow, { fault: ({ method }) => isBroken && method === 'commit' ? { do: 'fail' } : undefined })
    await first.start(flow, 0, { id: 'zombie' })
    const broken = await scene.begin(first)
    await scene.until('both run', () => gates.calls === 1 && later.calls === 1)
    isBroken = true
    later.open(1, 1)
    equal((await broken.end).kind, 'unavailable')
    isBroken = false
    const second = scene.process(flow)
    const other = await scene.begin(second)
    await scene.until('the step runs again', () => later.calls === 2)
    later.open(2, 1)
    equal((await other.end).kind, 'parked')
    // After startBy and the timeout.
    scene.host.advance(15_000)
    equal((await (await second.driver('zombie')).drive()).kind, 'parked')
    ok(await scene.has('effect_completed e'), 'the successor has decided')
    gates.open(1, 'paid by the zombie')
    await scene.idle()
    equal((await (await first.driver('zombie')).drive()).kind, 'parked')
    equal(await second.settle('zombie'), { kind: 'ended', status: 'completed' })
    equal((await second.summary('zombie')).output, 'skipped')
    equal(gates.calls, 1)
    ok(!(await scene.has('effect_recorded e')), 'what a superseded function reports is not written')
  } },
  ...[true, false].map((takesEpoch): RunCase => ({
    title: `G13: an effect that is under way when somebody restarts its run goes on in the next generation, ${takesEpoch ? 'under the next epoch' : 'under the same epoch'}: called once, not aborted, and not decided`,
    async run(harness) {
      const gates = new Gates()
      const scene = new Scene(harness)
      const aborted: unknown[] = []
      const kept: unknown[] = []
      const flow = workflow({ name: 'flow', input: z.any() }, async (ctx) => {
        const value = await ctx.effect('e', async ({ abortSignal, memo, state }) => {
          abortSignal.addEventListener('abort', () => aborted.push(abortSignal.reason))
          state.set('before', 1)
          const got = await gates.enter()
          state.set('after', 2)
          kept.push(await memo('m', () => 'kept'), await state.get('before'))
          return got
        }, { ...money, onAmbiguous: 'fail' })
        return [value, await ctx.step('sees', async ({ state }) => [await state.get('before'), await state.get('after')])]
      })
      const runs = await scene.started(flow, { takesEpoch })
      const { end } = await scene.begin(runs)
      await scene.until('called', () => gates.calls === 1)
      await runs.control('zombie', { kind: 'restart' })
      await scene.until('the next generation asks for it', async () => await scene.has('generation_started') && (await runs.summary('zombie')).status === 'running')
      await scene.idle()
      equal(aborted, [])
      gates.open(1, 'paid')
      equal(await end, { kind: 'ended', status: 'completed' })
      // With all that it has changed, also before the restart.
      equal((await runs.summary('zombie')).output, ['paid', [1, 2]])
      equal({ calls: gates.calls, kept }, { calls: 1, kept: ['kept', 1] })
      ok(!(await scene.has('effect_decided e')), 'nobody had to decide anything')
    },
  })),
]
