import { readFile } from 'node:fs/promises'
import { MessageChannel } from 'node:worker_threads'
import { deflate } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import { workflow } from '../../src/index.ts'
import { anything, gate, ID, open, type Process, World } from './support.ts'

function define(fn: (ctx: Ctx, process: () => Process) => unknown, process: () => Process) {
  return workflow({ name: 'w', input: anything }, async (ctx) => fn(ctx as unknown as Ctx, process))
}

/**
 * A promise that something outside the engine settles, later than the turn of the event loop in which the engine waits for
 * quiescence: what is settled within that turn cannot be told from a plain promise.
 */
const outside = async (): Promise<void> => {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve))
}

async function endOf(fn: (ctx: Ctx, process: () => Process) => unknown) {
  const w = define(fn, () => process)
  const process: Process = open(w)
  await process.runs.start(w, 0, { id: ID })
  // The world outside takes its own time, and virtual time stands still meanwhile.
  const { end: ending, isOver } = await process.begin()
  for (let i = 0; i < 1000 && !isOver(); i++) await process.idle(1)
  while (!isOver() && process.host.nextTimer !== undefined) await process.pass(process.host.nextTimer - process.now)
  const end = await ending
  return {
    process,
    end,
    call: end.kind === 'blocked' ? (end.blocked.details as { call?: string } | undefined)?.call : undefined,
  }
}

describe('G30: what is neither a ctx call nor a plain promise is caught live', () => {
  const calls: readonly (readonly [string, (ctx: Ctx) => unknown, string])[] = [
    ['step', (ctx) => ctx.step('late', () => 1), 'step "late"'],
    ['sleep', (ctx) => ctx.sleep(1), 'sleep'],
    ['sleepUntil', (ctx) => ctx.sleepUntil(1), 'sleepUntil'],
    ['all', (ctx) => ctx.all({ a: () => 1 }), 'all'],
    ['race', (ctx) => ctx.race({ a: () => 1 }), 'race'],
    ['map', (ctx) => ctx.map('items', [1], {}, () => 1), 'map "items"'],
    ['scope', (ctx) => ctx.scope('inner', () => 1), 'scope "inner"'],
    ['cleanup', (ctx) => ctx.cleanup(() => 1), 'cleanup'],
    ['now', (ctx) => ctx.now(), 'now()'],
    ['random', (ctx) => ctx.random(), 'random()'],
    ['uuid', (ctx) => ctx.uuid(), 'uuid()'],
    [
      'log',
      (ctx) => {
        ctx.log('late')
      },
      'log()',
    ],
  ]
  for (const [what, call, named] of calls) {
    test(`G30: ${what} after a foreign await: named, blocked, nothing of it is written`, async () => {
      const {
        process,
        end,
        call: said,
      } = await endOf(async (ctx) => {
        await ctx.step('first', () => 1)
        await outside()
        return call(ctx)
      })
      expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await', curable: true } })
      expect(said).toBe(named)
      expect(process.world.kinds()).toEqual(['run_started', 'step_completed first'])
    })
  }

  const awaits: readonly (readonly [string, () => Promise<unknown>])[] = [
    [
      'a timer',
      () =>
        new Promise((resolve) => {
          setTimeout(resolve, 1)
        }),
    ],
    [
      'setImmediate',
      () =>
        new Promise((resolve) => {
          setImmediate(resolve)
        }),
    ],
    ['crypto.subtle', () => crypto.subtle.digest('SHA-256', new Uint8Array(5))],
    ['a file', () => readFile(new URL(import.meta.url))],
    [
      'a message channel',
      () =>
        new Promise((resolve) => {
          const { port1, port2 } = new MessageChannel()
          port1.once('message', () => {
            port1.close()
            resolve(0)
          })
          port2.postMessage(0)
        }),
    ],
    [
      'a thread',
      () =>
        new Promise((resolve) => {
          deflate(new Uint8Array(1000), resolve)
        }),
    ],
  ]
  for (const [what, foreign] of awaits) {
    test(`G30: awaiting ${what} before a ctx call`, async () => {
      const { process, end } = await endOf(async (ctx) => {
        for (let i = 0; i < 4; i++) await foreign()
        await ctx.step('late', () => 1)
      })
      expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
      expect(process.world.kinds()).toEqual(['run_started'])
    })
  }

  test('G30: the function ends after a foreign await', async () => {
    const { process, end, call } = await endOf(async (ctx) => {
      await ctx.step('a', () => 1)
      await outside()
      return 'end'
    })
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
    expect(call).toBe('return')
    expect(process.world.record().status).toBe('blocked')
  })

  test('G30: the function throws after a foreign await', async () => {
    const { end, call } = await endOf(async () => {
      await outside()
      throw new Error('after')
    })
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
    expect(call).toBe('return')
  })

  test('G30: a foreign await that never ends stalls, and is blocked after stallMs', async () => {
    const { process, end, call } = await endOf(async (ctx) => {
      await ctx.step('a', () => 1)
      await new Promise(() => {})
    })
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
    expect(call).toBe('await')
    const at = process.world.entries()[1]?.at ?? 0
    expect(process.now - at).toBe(10_000)
  })

  test('G30: caught although the function catches the error', async () => {
    const { process, end } = await endOf(async (ctx) => {
      await outside()
      try {
        await ctx.step('late', () => 1)
      } catch {
        /* swallowed */
      }
      return 'fine'
    })
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
    expect(process.world.kinds()).toEqual(['run_started'])
  })

  test.each([false, true])(
    'G30: a ctx call inside a step\'s function, synchronously (behind another step: %s)',
    async (isSecond) => {
      for (const [what, inside] of [
        ['step "inner"', (ctx: Ctx) => ctx.step('inner', () => 1)],
        ['now()', (ctx: Ctx) => ctx.now()],
        [
          'log()',
          (ctx: Ctx) => {
            ctx.log('x')
          },
        ],
      ] as const) {
        const { process, end, call } = await endOf(async (ctx) => {
          if (isSecond) await ctx.step('first', () => 1)
          return ctx.step('outer', () => inside(ctx) as unknown)
        })
        expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
        if (end.kind === 'blocked') expect(end.blocked.message).toContain('inside a step')
        expect(call).toBe(what)
        expect(process.world.kinds()).toEqual(['run_started', ...(isSecond ? ['step_completed first'] : [])])
      }
    },
  )

  test('G30: a ctx call inside a step\'s function after it awaited something real', async () => {
    const { process, end } = await endOf(async (ctx) =>
      ctx.step('outer', async () => {
        await outside()
        return ctx.step('inner', () => 1)
      }),
    )
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
    expect(process.world.kinds()).toEqual(['run_started'])
  })

  test('G30: a ctx call inside one of many parallel steps, at once and later', async () => {
    for (const wait of [async () => {}, outside]) {
      const { process, end } = await endOf(async (ctx) =>
        Promise.all([
          ctx.step('a', async () => {
            await wait()
            return ctx.step('inner', () => 1)
          }),
          ctx.step('b', async () => outside()),
          ctx.step('c', async () => 1),
        ]),
      )
      expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
      expect(process.world.kinds().filter((kind) => kind.includes('inner'))).toEqual([])
    }
  })

  test('G30: a ctx call from a cleanup that awaited something foreign', async () => {
    const { end } = await endOf(async (ctx) => {
      try {
        throw new Error('no')
      } finally {
        await outside()
        await ctx.cleanup((c) => c.step('release', () => 1))
      }
    })
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
  })

  test('G30: after the end of the run its ctx is dead: calls stay pending, nothing throws into the void', async () => {
    const kept: Ctx[] = []
    let settled = 0
    const { process, end } = await endOf(async (ctx) => {
      kept.push(ctx)
      return 1
    })
    expect(end.kind).toBe('ended')
    kept[0]
      ?.step('late', () => 1)
      .then(
        () => {
          settled++
        },
        () => {
          settled++
        },
      )
    await process.idle()
    expect(settled).toBe(0)
    expect(process.world.kinds()).toEqual(['run_started', 'run_completed'])
  })

  test('G30: plain promises of every kind are no foreign await', async () => {
    const { end, process } = await endOf(async (ctx) => {
      await null
      await Promise.resolve().then(() => 1)
      await Promise.allSettled([1, Promise.reject(new Error('x'))])
      await new Promise<void>((resolve) => {
        queueMicrotask(resolve)
      })
      for await (const part of (async function* () {
        yield 1
        yield 2
      })())
        await ctx.step(`s${part}`, () => part)
      await {
        then: (resolve: (value: number) => void) => {
          resolve(1)
        },
      }
      let chain = Promise.resolve(0)
      for (let i = 0; i < 5000; i++) chain = chain.then((n) => n + 1)
      const n = await chain
      const { promise, resolve } = Promise.withResolvers<number>()
      void ctx.step('resolver', async () => 7).then(resolve)
      return [n, await promise]
    })
    expect(end).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual([5000, 7])
  })

  test('G30: a fixed deploy goes on: the foreign await now is in a step', async () => {
    const executed: string[] = []
    const world = new World()
    const make = (fixed: boolean) =>
      workflow({ name: 'w', input: anything }, async (ctx) => {
        await ctx.step('a', () => {
          executed.push('a')
        })
        if (fixed)
          await ctx.step('fetch', async () => {
            executed.push('fetch')
            await outside()
          })
        else await outside()
        await ctx.step('b', () => {
          executed.push('b')
        })
      })
    const bad = world.boot(make(false))
    expect((await bad.run(make(false))).kind).toBe('blocked')
    await bad.crash()
    expect(await world.boot(make(true)).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toEqual(['a', 'fetch', 'b'])
  })

  test('G30: a workflow that hangs on one branch while another works is not stalled; it is when the other is done', async () => {
    const held = gate<string>()
    const w = define(
      async (ctx) => Promise.all([new Promise(() => {}), ctx.step('works', () => held.promise)]),
      () => process,
    )
    const process: Process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { isOver, end } = await process.begin()
    await process.pass(60_000)
    expect(isOver()).toBe(false)
    held.open('done')
    await process.idle()
    await process.pass(9_999)
    expect(isOver()).toBe(false)
    await process.pass(1)
    expect(await end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
    expect(process.world.kinds()).toEqual(['run_started', 'step_completed works'])
  })
})

describe('hosts', () => {
  test('an edge call reached in a browser throws wrong_host before anything is written, and says what to do', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('a', () => 1)
      await ctx.step('pay', () => 1, { at: 'edge' })
    })
    const process = open(w, { hostName: 'browser' })
    expect(await process.run(w)).toMatchObject({
      kind: 'blocked',
      blocked: { code: 'wrong_host', message: expect.stringContaining('moveTo(\'edge\')') as unknown },
    })
    expect(process.world.kinds()).toEqual(['run_started', 'step_completed a'])
    const browserOnly = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('shrink', () => 1, { at: 'browser' })
    })
    expect(await open(browserOnly, { hostName: 'edge' }).run(browserOnly)).toMatchObject({
      kind: 'blocked',
      blocked: { code: 'wrong_host' },
    })
    for (const hostName of ['edge', 'browser'] as const) {
      const fits = workflow({ name: 'w', input: anything }, async (ctx) => {
        await ctx.step('s', () => 1, { at: hostName })
        await ctx.step('t', () => 1, { at: 'any' })
      })
      expect(await open(fits, { hostName }).run(fits)).toEqual({ kind: 'ended', status: 'completed' })
    }
  })

  test('moveTo is nothing where the run already is; what this version does not have says so', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.moveTo('edge')
      return 1
    })
    expect(await open(w, { hostName: 'edge' }).run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(await open(w, { hostName: 'browser' }).run(w)).toMatchObject({
      kind: 'blocked',
      blocked: { code: 'unsupported' },
    })
    const calls = [(ctx: Ctx) => ctx.child(w, 0)]
    for (const call of calls)
      expect((await endOf(call)).end).toMatchObject({ kind: 'blocked', blocked: { code: 'unsupported' } })
  })
})
