// Deferreds on any store (G20): their tokens are rows, and what settles one is a signal of its own. Each case wants stores that nothing was written to.

import { workflow } from '../../src/define.ts'
import type { Schema } from '../../src/schema.ts'
import { equal, ok } from '../../src/testing/assert.ts'
import { FaultStore, type FaultPlan } from '../../src/testing/fault-store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import type { RunCase, RunHarness } from './run-case.ts'

const anything: Schema<any> = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } }
const RUN = 'run-1'

/** Whoever gets the mails of the runs: outside of all processes. */
class Outside {
  readonly mails: string[] = []
  readonly flow = workflow({ name: 'asks', input: anything, deferreds: { answer: anything } }, async (ctx) => {
    const answer = ctx.deferred('answer')
    await ctx.step('mail', async ({ token }) => { this.mails.push(await token(answer)) })
    await ctx.sleep('1 hour')
    try {
      return { answer: await answer.value() }
    } catch (error) {
      return { refused: (error as Error).message }
    }
  })
  #seed = 1

  /** A process of its own. */
  boot(harness: RunHarness, faults: FaultPlan = {}): TestRuns {
    const host = new TestHost({ quiesce: harness.quiesce, seed: this.#seed++ })
    return new TestRuns({ host, workflows: [this.flow], storeUsesRealTime: true, open: async (id) => new FaultStore(await harness.open(id), faults) })
  }

  async started(harness: RunHarness): Promise<TestRuns> {
    const runs = this.boot(harness)
    await runs.start(this.flow, null, { id: RUN })
    equal((await runs.drive(RUN)).kind, 'parked', 'how the first drive ended')
    return runs
  }

  async output(harness: RunHarness): Promise<unknown> {
    const runs = this.boot(harness)
    equal(await runs.settle(RUN), { kind: 'ended', status: 'completed' }, 'the end')
    return (await runs.summary(RUN)).output
  }
}

const code = (answer: Promise<unknown>): Promise<unknown> => answer.then((value) => value, (error: { readonly code?: string }) => error.code)

export const deferredCases: readonly RunCase[] = [
  { title: 'G20: the token that one process issued settles it from another, before anybody waits and while nothing drives the run', run: async (harness) => {
    for (const settlement of [{ value: { cents: 5 } }, { error: 'too dear' }]) {
      const outside = new Outside()
      await (await outside.started(harness)).crash(RUN)
      equal(await outside.boot(harness).settleDeferred(RUN, 'answer', outside.mails[0] as string, settlement), { seq: 1, duplicate: false }, 'the answer')
      equal(await outside.output(harness), 'value' in settlement ? { answer: { cents: 5 } } : { refused: 'too dear' }, 'what the function was given')
      const store = await harness.open(RUN)
      equal(await store.keys('signal', { limit: 9 }), [], 'what is left of it')
      await store.destroy()
    }
  } },
  { title: 'G20: of ten that settle it at once one value counts, the same again is a duplicate, and another is refused', run: async (harness) => {
    const outside = new Outside()
    await outside.started(harness)
    const [token] = outside.mails as [string]
    const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => code(outside.boot(harness).settleDeferred(RUN, 'answer', token, { value: i % 2 }))))
    const [winner, ...others] = answers.flatMap((answer, i) => JSON.stringify(answer) === '{"seq":1,"duplicate":false}' ? [i] : [])
    ok(winner !== undefined && others.length === 0, `one of them counts: ${JSON.stringify(answers)}`)
    for (const [i, answer] of answers.entries()) {
      if (i !== winner) equal(answer, i % 2 === winner % 2 ? { seq: 1, duplicate: true } : 'already_resolved', `the answer to number ${i}`)
    }
    equal(await outside.output(harness), { answer: winner % 2 }, 'what the function was given')
  } },
  { title: 'G20: a process that dies as it keeps a token has given it to nobody, and the next one\'s is good', run: async (harness) => {
    for (const when of ['before', 'after'] as const) {
      const outside = new Outside()
      let die = (): void => {}
      const died = new Promise<void>((resolve) => { die = resolve })
      const first = outside.boot(harness, {
        crashed: die, fault: ({ batch }) => batch?.rows?.some(({ table }) => table === 'token') === true ? { do: 'crash', when } : undefined,
      })
      await first.start(outside.flow, null, { id: RUN })
      void first.drive(RUN)
      await died
      equal(outside.mails, [], 'mails before the crash')
      equal((await outside.boot(harness).drive(RUN)).kind, 'parked', 'how the second drive ended')
      const store = await harness.open(RUN)
      equal((await store.keys('token', { limit: 9 })).length, when === 'after' ? 2 : 1, 'tokens')
      equal(await code(outside.boot(harness).settleDeferred(RUN, 'answer', outside.mails[0] as string, { value: 1 })), { seq: 1, duplicate: false }, 'the answer')
      equal(await outside.output(harness), { answer: 1 }, 'what the function was given')
      await store.destroy()
    }
  } },
  { title: 'G20: a wrong token is refused and writes nothing', run: async (harness) => {
    const outside = new Outside()
    await outside.started(harness)
    const [token] = outside.mails as [string]
    const store = await harness.open(RUN)
    const before = await store.read()
    for (const [id, wrong] of [['answer', '0'.repeat(64)], ['answer', ''], ['answer', token.slice(1)], ['answer', `${token} `], ['answer#2', token], ['deferred:answer', token]] as const) {
      equal(await code(outside.boot(harness).settleDeferred(RUN, id, wrong, { value: 'stolen' })), 'invalid_token', `the answer to ${id} with ${wrong}`)
    }
    equal(await store.read(), before, 'the row')
    equal([await store.keys('signal', { limit: 9 }), await store.keys('receipt', { limit: 9 })], [[], []], 'what was written')
  } },
]
