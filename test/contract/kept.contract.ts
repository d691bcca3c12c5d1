// What steps keep, on any store: memos over the attempts of one step (T-001 to T-010, T-045), the run's state with its outcomes
// (T-106, T-109). Each case wants stores that nothing was written to.

import { canonicalBytes } from '../../src/codec.ts'
import type { Call, MemoKey, Services } from '../../src/context.ts'
import { workflow } from '../../src/define.ts'
import { isStepwellError } from '../../src/errors.ts'
import type { Schema } from '../../src/schema.ts'
import { equal, ok } from '../../src/testing/assert.ts'
import { FaultStore, type FaultPlan } from '../../src/testing/fault-store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import type { RunCase, RunHarness } from './run-case.ts'

type AnyCall = Call<Services, 'any', unknown>
type Body = (call: AnyCall) => unknown

const anything: Schema<unknown> = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } }
const RUN = 'run-1'

/** A workflow of steps that run one after the other, each tried again at once. */
export function stepsOf(steps: Readonly<Record<string, Body>>, name = 'kept') {
  return workflow({ name, input: anything }, async (ctx) => {
    const values: Record<string, unknown> = {}
    for (const [step, body] of Object.entries(steps)) {
      values[step] = await ctx.step(step, (call) => body(call as unknown as AnyCall), { retry: { limit: 5, delay: 1, jitter: 0 } })
    }
    return values
  })
}

type Definition = ReturnType<typeof stepsOf>

function runsOf(harness: RunHarness, definition: Definition, plan?: FaultPlan): TestRuns {
  return new TestRuns({
    host: new TestHost({ quiesce: harness.quiesce }), workflows: [definition], storeUsesRealTime: true,
    open: async (id) => (plan === undefined ? harness.open(id) : new FaultStore(await harness.open(id), plan)),
  })
}

/** Runs it to its end and answers its output. */
async function output(harness: RunHarness, steps: Readonly<Record<string, Body>>, id = RUN): Promise<Record<string, unknown>> {
  const definition = stepsOf(steps)
  const runs = runsOf(harness, definition)
  await runs.start(definition, null, { id })
  await runs.settle(id)
  const summary = await runs.summary(id)
  if (summary.status !== 'completed') throw summary.error ?? new Error(`the run is ${summary.status}`)
  return summary.output as Record<string, unknown>
}

/** Equal to the last byte, classes and all. */
function alike(actual: unknown, expected: unknown, what: string): void {
  equal(canonicalBytes(actual), canonicalBytes(expected), what)
}

const never = (): never => {
  throw new Error('made again')
}

const deep = (): unknown => ({
  at: new Date(5), map: new Map([['k', new Set([1n])]]), bytes: Uint8Array.from([0, 255]), none: undefined, list: [-0, NaN],
})

const memos: RunCase[] = [
  { title: 'T-001: what an attempt has put, the next one gets, also in another process', run: async (harness) => {
    const seen: unknown[] = []
    const definition = stepsOf({ step: async ({ memo, attempt }) => {
      seen.push(await memo.get('k'))
      await memo.put('k', `of attempt ${attempt}`)
      if (attempt < 4) throw new Error('again')
      return attempt
    } })
    const runs = runsOf(harness, definition)
    await runs.start(definition, null, { id: RUN })
    await runs.settle(RUN)
    equal(seen, [undefined, 'of attempt 1', 'of attempt 2', 'of attempt 3'], 'what the attempts got')

    // A process that dies in the middle of the attempt, right after the put.
    seen.length = 0
    const store = await harness.open(RUN)
    await store.destroy()
    const stuck = stepsOf({ step: async ({ memo }) => {
      seen.push(await memo.get('k'))
      await memo.put('k', 'put')
      await new Promise(() => {})
    } })
    const dying = runsOf(harness, stuck)
    await dying.start(stuck, null, { id: RUN })
    const driver = await dying.driver(RUN)
    void driver.drive()
    while ((await store.keys('memo', { limit: 1 })).length === 0) await harness.quiesce()
    await dying.crash(RUN)
    const next = runsOf(harness, definition)
    await next.settle(RUN)
    equal(seen, [undefined, 'put', 'of attempt 1', 'of attempt 2', 'of attempt 3'], 'what the attempts of two processes got')
  } },
  { title: 'T-010: what is paid for is paid once over all attempts, and each gets a copy of what was stored', run: async (harness) => {
    let paid = 0
    const made = deep()
    const got: unknown[] = []
    await output(harness, { step: async ({ memo, attempt }) => {
      const value = await memo('model', async () => {
        paid++
        return made
      })
      if (value === made) throw new Error('the caller got the original')
      got.push(value)
      if (attempt < 3) throw new Error('again')
      return null
    } })
    equal(paid, 1, 'how often it was paid')
    alike(got, [deep(), deep(), deep()], 'what the attempts got')
  } },
  { title: 'T-002: missing is undefined, and told from undefined, null and whatever is empty', run: async (harness) => {
    const empty: readonly unknown[] = [undefined, null, '', 0, false, [], {}, new Uint8Array(0), new Map()]
    await output(harness, { step: async ({ memo }) => {
      equal(await memo.get('missing'), undefined, 'what is missing')
      equal(await memo.has('missing'), false, 'whether it is there')
      for (const [i, value] of empty.entries()) {
        await memo.put(`k${i}`, value)
        alike(await memo.get(`k${i}`), value, `value ${i}`)
        equal(await memo.has(`k${i}`), true, `whether value ${i} is there`)
        alike(await memo(`k${i}`, never), value, `value ${i}, not made again`)
      }
      return null
    } })
  } },
  { title: 'T-003: the last write holds, also of writes that nobody awaits; what was deleted is missing', run: async (harness) => {
    await output(harness, { step: async ({ memo, attempt }) => {
      if (attempt === 1) {
        await memo.put('a', 1)
        await memo.put('a', 2)
        const value = { n: 1 }
        const puts = Array.from({ length: 20 }, (_, n) => memo.put('b', n))
        const kept = memo.put('c', value)
        value.n = 2
        equal(await memo.get('b'), 19, 'what is read after writes that are under way')
        await Promise.all([...puts, kept])
        await memo.put('d', 'x')
        await memo.delete('d')
        await memo.delete('never there')
        throw new Error('again')
      }
      equal([await memo.get('a'), await memo.get('b'), await memo.get('c')], [2, 19, { n: 1 }], 'the last writes')
      equal(await memo.has('d'), false, 'what was deleted')
      return null
    } })
  } },
  { title: 'T-004: any text is a key', run: async (harness) => {
    const keys = ['', ' ', '\n', 'a/b', 'a b', '../..', 'ä€😀', '\ud800', '\u0000', 'x'.repeat(10_000), `${'x'.repeat(9_999)}y`, 'k', 'K', 'k ', '__proto__']
    await output(harness, { step: async ({ memo, attempt }) => {
      if (attempt === 1) {
        for (const [i, key] of keys.entries()) await memo.put(key, i)
        throw new Error('again')
      }
      for (const [i, key] of keys.entries()) equal(await memo.get(key), i, `key ${i}`)
      return null
    } })
    const rows = await (await harness.open(RUN)).keys('memo', { limit: 99 })
    equal(rows.length, keys.length, 'how many rows there are')
  } },
  { title: 'T-045: any value is a key, and the order of an object\'s keys is no difference', run: async (harness) => {
    const keys: readonly MemoKey[] = [
      1, '1', 1n, true, 'true', null, 'null', [], {}, [1, 2], [2, 1], { a: 1, b: { c: 2, d: 3 } }, { a: 1 }, new Date(1), new Date(2),
      new Map([[1, 2]]), new Set([1]), Uint8Array.from([1]), ['ab', 'c'], ['a', 'bc'],
    ]
    await output(harness, { step: async ({ memo }) => {
      for (const [i, key] of keys.entries()) await memo.put(key, i)
      for (const [i, key] of keys.entries()) equal(await memo.get(key), i, `key ${i}`)
      equal(await memo.get({ b: { d: 3, c: 2 }, a: 1 }), 11, 'the same key in another order')
      equal(await memo({ b: { d: 3, c: 2 }, a: 1 }, never), 11, 'the same, not made again')
      return null
    } })
  } },
  { title: 'T-005: a memo is of its step, of its run and of its key', run: async (harness) => {
    const write: Body = async ({ memo, key, runId, attempt }) => {
      if (attempt === 1) {
        equal(await memo.get('k'), undefined, `what ${key} of ${runId} finds`)
        await memo.put('k', `${runId} ${key}`)
        throw new Error('again')
      }
      return memo.get('k')
    }
    const steps = { a: write, b: write, 'a/b': write, 'a#1': write }
    const ids = harness.hasManyRuns ? ['run-1', 'run-10', 'run-'] : [RUN]
    for (const id of ids) {
      equal(await output(harness, steps, id), {
        a: `${id} a`, b: `${id} b`, 'a/b': `${id} a%2fb`, 'a#1': `${id} a%231`,
      }, `what the steps of ${id} kept`)
    }
    const stores = await Promise.all(ids.map((id) => harness.open(id)))
    await stores[0]?.destroy()
    equal(await Promise.all(stores.map(async (store) => (await store.keys('memo', { limit: 99 })).length)), ids.map((_, i) => (i === 0 ? 0 : 4)), 'rows left')
  } },
  { title: 'G6: a step of a driver that was superseded writes no memo, and hears why', run: async (harness) => {
    const definition = stepsOf({ step: async ({ memo, attempt }) => {
      if (attempt !== 1 || isSecond) return memo.get('k')
      await memo.put('k', 'before')
      isSecond = true
      equal((await second.settle(RUN)).kind, 'ended', 'the end of the other driver')
      await memo.put('k', 'after').then(() => outcomes.push('written'), (error: unknown) => outcomes.push(isStepwellError(error) ? error.code : 'untyped'))
      await memo.delete('k').then(() => outcomes.push('deleted'), (error: unknown) => outcomes.push(isStepwellError(error) ? error.code : 'untyped'))
      return null
    } })
    let isSecond = false
    const outcomes: string[] = []
    const [first, second] = [runsOf(harness, definition), runsOf(harness, definition)]
    await first.start(definition, null, { id: RUN })
    equal((await first.drive(RUN)).kind, 'superseded', 'the end of the first driver')
    equal(outcomes, ['stale_epoch', 'stale_epoch'], 'what the first step heard')
    equal((await second.summary(RUN)).output, { step: 'before' }, 'what the other driver\'s step found')
  } },
]

const states: RunCase[] = [
  { title: 'T-106: what a step sets is there with its outcome, what an attempt that throws sets is dropped', run: async (harness) => {
    const value = deep() as { at: unknown }
    const found = await output(harness, {
      sets: async ({ state, attempt }) => {
        equal(await state.get('k'), undefined, 'what is committed')
        state.set('k', `of attempt ${attempt}`)
        equal(await state.get('k'), `of attempt ${attempt}`, 'what it staged itself')
        state.set('gone', 1)
        if (attempt === 1) throw new Error('again')
        state.set('k', value)
        value.at = 'changed afterwards'
        return attempt
      },
      deletes: async ({ state, attempt }) => {
        alike(await state.get('k'), deep(), 'what the step before has set')
        if (attempt === 1) {
          state.delete('k')
          equal(await state.get('k'), undefined, 'what it deleted itself')
          throw new Error('again')
        }
        state.delete('gone')
        state.delete('never there')
        return attempt
      },
      after: async ({ state }) => [await state.get('k'), await state.get('gone')],
    })
    alike(found, { sets: 2, deletes: 2, after: [deep(), undefined] }, 'the output')
    const rows = await (await harness.open(RUN)).keys('state', { limit: 9 })
    equal(rows.length, 1, 'how many rows there are')
  } },
  { title: 'T-109: after three attempts it is applied once, and a count is exact over many steps', run: async (harness) => {
    const count: Body = async ({ state, attempt }) => {
      state.set('n', ((await state.get<number>('n')) ?? 0) + 1)
      if (attempt < 3) throw new Error('again')
      return state.get('n')
    }
    equal(await output(harness, { a: count, b: count, c: count }), { a: 1, b: 2, c: 3 }, 'the counts')
  } },
  { title: 'T-005: the state of a run is not the state of another', run: async (harness) => {
    const ids = harness.hasManyRuns ? ['run-1', 'run-10', 'run-'] : [RUN]
    for (const id of ids) {
      const sets: Body = async ({ state, runId }) => {
        equal(await state.get('k'), undefined, `what ${runId} finds`)
        state.set('k', runId)
      }
      equal(await output(harness, { sets, gets: ({ state }) => state.get('k') }, id), { sets: undefined, gets: id }, `the state of ${id}`)
    }
    const stores = await Promise.all(ids.map((id) => harness.open(id)))
    await stores[0]?.destroy()
    equal(await Promise.all(stores.map(async (store) => (await store.keys('state', { limit: 9 })).length)), ids.map((_, i) => (i === 0 ? 0 : 1)), 'rows left')
  } },
  { title: 'T-106: of parallel steps, and beside a value that is a blob, rows go into the commit of their own outcome', run: async (harness) => {
    const batches: (readonly [kind: string, entries: number, rows: number])[] = []
    const keys = [1, 2, 3, 4, 5]
    const definition = workflow({ name: 'kept', input: anything }, async (ctx): Promise<Record<string, unknown>> => {
      await Promise.all(keys.map((n) => ctx.step('s', async ({ state }) => {
        state.set(`k${n}`, n)
        if (n === 4) throw new Error('never')
        return 'x'.repeat(n === 3 ? 200_000 : 1)
      }, { key: String(n), retry: { limit: 0 } }).catch(() => {})))
      const all = await ctx.step('get', ({ state }) => Promise.all(keys.map((n) => state.get(`k${n}`))))
      return { all }
    })
    const runs = runsOf(harness, definition, { committed: ({ entries = [], rows = [], expect }) => {
      const staged = rows.filter(({ table }) => table === 'state')
      if (staged.length > 0) batches.push([expect.kind, entries.length, staged.length])
    } })
    await runs.start(definition, null, { id: RUN })
    await runs.settle(RUN)
    equal((await runs.summary(RUN)).output, { all: [1, 2, 3, undefined, 5] }, 'the state')
    equal(batches.reduce((sum, [,, rows]) => sum + rows, 0), 4, 'the rows')
    for (const [kind, entries, rows] of batches) ok(kind === 'head' && rows <= entries, `${rows} rows with ${entries} entries, expecting ${kind}`)
  } },
  { title: 'T-106: a crash before the commit of the outcome loses both, after it neither; a lost answer loses nothing', run: async (harness) => {
    const strikes = [
      [{ do: 'crash', when: 'before' }, 2], [{ do: 'crash', when: 'after' }, 1], [{ do: 'unknown', when: 'before' }, 1], [{ do: 'unknown', when: 'after' }, 1],
      [{ do: 'fail' }, 1],
    ] as const
    for (const [fault, expected] of strikes) {
      const what = JSON.stringify(fault)
      const store = await harness.open(RUN)
      await store.destroy()
      let tries = 0
      const definition = stepsOf({
        set: async ({ state }) => {
          tries++
          state.set('n', ((await state.get<number>('n')) ?? 0) + 1)
          return 'set'
        },
        get: ({ state }) => state.get('n'),
      })
      let isStruck = false
      const struck = runsOf(harness, definition, { fault: ({ batch }) => {
        if (isStruck || batch?.rows?.some(({ table }) => table === 'state') !== true) return undefined
        isStruck = true
        return fault
      } })
      await struck.start(definition, null, { id: RUN })
      let runs = struck
      if (fault.do === 'crash') {
        void (await struck.driver(RUN)).drive()
        while (!isStruck) await harness.quiesce()
        for (let i = 0; i < 20; i++) await harness.quiesce()
        const isIn = fault.when === 'after'
        equal((await store.entries(0, 9)).length, isIn ? 2 : 1, `${what}: the entries after the crash`)
        equal((await store.keys('state', { limit: 9 })).length, isIn ? 1 : 0, `${what}: the rows after the crash`)
        runs = runsOf(harness, definition)
      } else if (fault.do === 'fail') {
        equal((await struck.settle(RUN)).kind, 'unavailable', `${what}: the end of the drive`)
      }
      await runs.settle(RUN)
      equal((await runs.summary(RUN)).output, { set: 'set', get: 1 }, `${what}: the output`)
      equal(tries, expected, `${what}: how often the step ran`)
    }
  } },
]

export const keptCases: readonly RunCase[] = [...memos, ...states]
