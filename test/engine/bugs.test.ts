import { describe, expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import { permanent, StepwellError, workflow } from '../../src/index.ts'
import { anything, gate, ID, open, World } from './support.ts'

const once = { retry: { limit: 0 } } as const

async function endOf(fn: (ctx: Ctx) => unknown) {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => fn(ctx as unknown as Ctx))
  const process = open(w)
  const end = await process.run(w)
  return {
    end,
    process,
    error: (await process.runs.summary(ID)).error as
      { name: string; code?: string; message: string; cause?: unknown; details?: unknown } | undefined,
  }
}

describe('G22: a bug of the workflow function blocks the run, so that a typo never triggers undo', () => {
  const bugs: readonly (readonly [string, (ctx: Ctx) => unknown])[] = [
    ['TypeError', () => (undefined as unknown as { x: number }).x],
    ['ReferenceError', () => (globalThis as Record<string, unknown>)['eval'] && (0, eval)('thereIsNoSuchName')],
    [
      'TypeError after a step',
      async (ctx) => {
        await ctx.step('a', () => 1)
        return (null as unknown as () => void)()
      },
    ],
    ['TypeError in a branch', (ctx) => ctx.all({ a: () => (null as unknown as { x: number }).x })],
    ['TypeError in an item of a map', (ctx) => ctx.map('m', [1], {}, () => (null as unknown as { x: number }).x)],
    [
      'TypeError that throws when it is read',
      () => {
        throw Object.defineProperty(new TypeError('x'), 'message', {
          get() {
            throw new Error('hostile')
          },
        })
      },
    ],
    [
      'TypeError thrown before anything was asked for',
      () => {
        throw new TypeError('first')
      },
    ],
    [
      'TypeError in a catch',
      async (ctx) => {
        try {
          await ctx.step(
            'a',
            () => {
              throw new Error('no')
            },
            once,
          )
        } catch {
          throw new TypeError('second')
        }
      },
    ],
  ]
  for (const [what, fn] of bugs) {
    test(`G22: ${what}`, async () => {
      const { end, process } = await endOf(fn)
      expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'workflow_bug', curable: true } })
      if (end.kind === 'blocked') expect(end.blocked.message).toMatch(/TypeError|ReferenceError/)
      expect(process.world.kinds().at(-1)).not.toBe('run_failed')
      expect(process.world.record().status).toBe('blocked')
    })
  }

  const usage: readonly (readonly [string, (ctx: Ctx) => unknown, string])[] = [
    ['a step without a function', (ctx) => ctx.step('a', undefined as never), 'invalid_argument'],
    ['a blank name', (ctx) => ctx.step('  ', () => 1), 'invalid_argument'],
    ['half a surrogate pair as a name', (ctx) => ctx.step('a\ud800', () => 1), 'invalid_argument'],
    ['a name that is no text', (ctx) => ctx.step(5 as never, () => 1), 'invalid_argument'],
    ['a bad duration', (ctx) => ctx.sleep('soon' as never), 'invalid_duration'],
    ['a bad time', (ctx) => ctx.sleepUntil(new Date(NaN)), 'invalid_argument'],
    ['two items of one key', (ctx) => ctx.map('m', [1, 1], { key: String }, () => 1), 'duplicate_key'],
    ['a race of no branches', (ctx) => ctx.race({}), 'invalid_argument'],
    ['a branch that is no function', (ctx) => ctx.all({ a: Promise.resolve(1) as never }), 'invalid_argument'],
    ['a concurrency of 0', (ctx) => ctx.map('m', [1], { concurrency: 0 }, () => 1), 'invalid_argument'],
    ['an unknown host', (ctx) => ctx.moveTo('moon' as never), 'invalid_argument'],
  ]
  for (const [what, fn, code] of usage) {
    test(`G22: a wrong use of ctx is a bug as well: ${what}`, async () => {
      const { end, process } = await endOf(fn)
      expect(end).toMatchObject({ kind: 'blocked', blocked: { code, curable: true } })
      expect(process.world.kinds()).toEqual(['run_started'])
    })
  }

  const failures: readonly (readonly [string, (ctx: Ctx) => unknown, object])[] = [
    [
      'an Error',
      () => {
        throw new Error('no stock')
      },
      { message: 'no stock' },
    ],
    [
      'a RangeError',
      () => {
        throw new RangeError('too far')
      },
      { name: 'RangeError', message: 'too far' },
    ],
    [
      'a TypeError that came out of a step',
      (ctx) => ctx.step('a', () => (null as unknown as { x: number }).x, once),
      { code: 'step_failed' },
    ],
    [
      'the cause of a step\'s failure, thrown on',
      (ctx) =>
        ctx
          .step(
            'a',
            () => {
              throw new TypeError('fetch failed')
            },
            once,
          )
          .catch((error: Error) => {
            throw error.cause
          }),
      { name: 'TypeError', message: 'fetch failed' },
    ],
    [
      'a TypeError that came out of parallel steps',
      (ctx) =>
        ctx.all({
          a: (c) =>
            c.step(
              'a',
              () => {
                throw new TypeError('deep')
              },
              once,
            ),
        }),
      { code: 'step_failed' },
    ],
    [
      'ctx.fail',
      (ctx) => ctx.fail('nobody approved', { days: 2 }),
      { code: 'failed', message: 'nobody approved', details: { days: 2 } },
    ],
    [
      'a text',
      () => {
        throw 'just text'
      },
      { code: 'failed' },
    ],
    [
      'nothing',
      () => {
        throw undefined
      },
      { code: 'failed' },
    ],
    [
      'an object',
      () => {
        throw { code: 5 }
      },
      { code: 'failed' },
    ],
    [
      'an object that cannot be shown',
      () => {
        throw Object.create(null)
      },
      { code: 'failed' },
    ],
    [
      'a symbol',
      () => {
        throw Symbol('s')
      },
      { code: 'failed' },
    ],
    [
      'an error that throws when it is read',
      () => {
        throw Object.defineProperty(new Error('x'), 'message', {
          get() {
            throw new Error('hostile')
          },
        })
      },
      { name: 'Error' },
    ],
    [
      'a permanent error',
      (ctx) =>
        ctx.step('a', () => {
          throw permanent(new Error('declined'))
        }),
      { code: 'step_failed' },
    ],
    [
      'an error of its own class',
      () => {
        throw new (class Declined extends Error {
          override name = 'Declined'
        })('card')
      },
      { name: 'Declined', message: 'card' },
    ],
    [
      'a StepwellError that is no usage error',
      () => {
        throw new StepwellError('failed', 'by hand')
      },
      { code: 'failed', message: 'by hand' },
    ],
    [
      'an error with a cause',
      () => {
        throw new Error('outer', { cause: new Error('inner') })
      },
      { message: 'outer', cause: expect.objectContaining({ message: 'inner' }) as unknown },
    ],
  ]
  for (const [what, fn, shape] of failures) {
    test(`G22: other throws fail the run: ${what}`, async () => {
      const { end, error } = await endOf(fn)
      expect(end).toEqual({ kind: 'ended', status: 'failed' })
      expect(error).toMatchObject(shape)
    })
  }

  test('G22: a fixed deploy goes on where it stopped; committed steps do not run again', async () => {
    const executed: string[] = []
    const make = (fixed: boolean) =>
      workflow({ name: 'w', input: anything }, async (ctx) => {
        const a = await ctx.step('a', () => {
          executed.push('a')
          return { total: 5 }
        })
        const total = fixed ? a.total : (a as unknown as { order: { total: number } }).order.total
        await ctx.step('b', () => {
          executed.push('b')
        })
        return total
      })
    const world = new World()
    const broken = world.boot(make(false))
    expect((await broken.run(make(false))).kind).toBe('blocked')
    expect(world.kinds()).toEqual(['run_started', 'step_completed a'])
    expect(world.row().wakeAt).toBe(broken.now + 60_000)
    await broken.crash()
    const fixed = world.boot(make(true))
    expect(await fixed.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await fixed.runs.summary(ID)).output).toBe(5)
    expect(executed).toEqual(['a', 'b'])
  })

  test.each(['fail', 'restart'] as const)(
    'G22: a typo in the middle of what is recorded is a bug and no divergence: nothing restarts (policy %s)',
    async (onDivergence) => {
      const executed: string[] = []
      const make = (fixed: boolean) =>
        workflow({ name: 'w', input: anything, onDivergence }, async (ctx) => {
          const a = await ctx.step('a', () => {
            executed.push('a')
            return { n: 1 }
          })
          if (!fixed) (a as unknown as { list: string[] }).list.push('typo')
          await ctx.step('b', () => {
            executed.push('b')
          })
          await ctx.sleep('1 hour')
        })
      const world = new World()
      const first = world.boot(make(true))
      await first.runs.start(make(true), 0, { id: ID })
      await first.runs.drive(ID)
      await first.crash()
      const broken = world.boot(make(false))
      expect(await broken.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'workflow_bug' } })
      expect(world.record().generation).toBe(1)
      await broken.crash()
      expect(await world.boot(make(true)).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      expect(executed).toEqual(['a', 'b'])
    },
  )

  test('G22: a TypeError that came out of a step is still none of the workflow after a replay', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const failed = await ctx
        .step(
          'a',
          () => {
            throw new TypeError('deep')
          },
          once,
        )
        .catch((error: Error) => error)
      await ctx.sleep('1 hour')
      throw (failed as Error).cause
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
  })

  test('G22: an output that its schema refuses, or whose schema throws, fails the run with the fields', async () => {
    const { z } = await import('zod')
    const wrong = workflow(
      { name: 'w', input: anything, output: z.object({ n: z.number() }) },
      async () => ({ n: 'five' }) as never,
    )
    const process = open(wrong)
    expect(await process.run(wrong)).toEqual({ kind: 'ended', status: 'failed' })
    expect((await process.runs.summary(ID)).error).toMatchObject({
      code: 'output_invalid',
      details: { issues: [{ path: '$.n' }] },
    })
    const throws = workflow(
      {
        name: 'w',
        input: anything,
        output: z.any().transform(() => {
          throw new TypeError('schema bug')
        }),
      },
      async () => 1,
    )
    const other = open(throws)
    expect(await other.run(throws)).toEqual({ kind: 'ended', status: 'failed' })
    expect((await other.runs.summary(ID)).error).toMatchObject({ code: 'output_invalid' })
  })

  test('G26: an output that cannot be encoded fails the run and names the path', async () => {
    const w = workflow({ name: 'w', input: anything }, async () => ({ deep: [{ fn: () => 1 }] }))
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
    expect((await process.runs.summary(ID)).error).toMatchObject({
      code: 'not_serializable',
      details: { path: expect.stringContaining('deep[0].fn') as unknown },
    })
  })
})

test('G22, G16: a bug while an effect is under way: it is not told to stop, what becomes of it is recorded, and a fixed deploy goes on with it', async () => {
  const answer = gate<string>()
  let calls = 0
  let signal: AbortSignal | undefined
  const make = (isFixed: boolean) => workflow({ name: 'w', input: anything }, async (ctx) => {
    const paid = ctx.effect('pay', (call) => { calls++; signal = call.abortSignal; return answer.promise }, { kind: 'money', input: 1, onAmbiguous: 'ask' })
    await ctx.step('s', () => 1)
    if (!isFixed) (undefined as unknown as () => void)()
    return paid
  })
  const world = new World()
  const first = world.boot(make(false))
  await first.runs.start(make(false), 0, { id: ID })
  const drive = await first.begin()
  await first.idle()
  expect(signal?.aborted).toBe(false)
  answer.open('paid')
  expect(await drive.end).toMatchObject({ kind: 'blocked', blocked: { code: 'workflow_bug' } })
  expect(signal?.aborted).toBe(false)
  expect(world.kinds().at(-1)).toMatch(/^effect_(completed|recorded) pay$/)
  await first.crash()
  const second = world.boot(make(true))
  expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  expect((await second.runs.summary(ID)).output).toBe('paid')
  expect(calls).toBe(1)
})
