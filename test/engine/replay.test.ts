import { describe, expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import { workflow } from '../../src/index.ts'
import { anything, gate, ID, open, World } from './support.ts'

describe('G2: an outcome is committed before the function sees it, and a committed step never runs again', () => {
  test('G2: whenever the function holds a value, the entry is in the store', async () => {
    const seen: [string, boolean][] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const has = (key: string): void => {
        seen.push([key, process.world.entries().some((entry) => entry.key === key && entry.kind !== 'timer_set')])
      }
      await ctx.step('sync', () => 1)
      has('sync')
      await ctx.step('async', async () => 1)
      has('async')
      await ctx
        .step(
          'bad',
          () => {
            throw new Error('no')
          },
          { retry: { limit: 0 } },
        )
        .catch(() => {
          has('bad')
        })
      await ctx.sleep(10)
      has('ctx.sleep')
      await Promise.all(
        ['p', 'q'].map((name) =>
          ctx
            .step(name, async () => 1)
            .then(() => {
              has(name)
            }),
        ),
      )
      await ctx.race({ slow: (c) => c.sleep(20), fast: (c) => c.sleep(10) })
      has('race/fast/ctx.sleep')
    })
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(seen.map(([key]) => key)).toEqual(['sync', 'async', 'bad', 'ctx.sleep', 'p', 'q', 'race/fast/ctx.sleep'])
    expect(seen.every(([, isIn]) => isIn)).toBe(true)
  })

  test.each([
    [2, 'after'],
    [3, 'after'],
    [3, 'before'],
  ] as const)(
    'G2: a value is never seen when its commit never answers (entry %i, %s it was made)',
    async (seq, when) => {
      const seen: string[] = []
      const executed: string[] = []
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        for (const name of ['one', 'two']) {
          await ctx.step(name, () => {
            executed.push(name)
          })
          seen.push(name)
        }
      })
      const world = new World()
      const stuck = world.boot(w, {
        faults: {
          fault: ({ batch }) => (batch?.entries?.some((entry) => entry.seq === seq) ? { do: 'hang', when } : undefined),
        },
      })
      await stuck.runs.start(w, 0, { id: ID })
      const { isOver } = await stuck.begin()
      await stuck.idle(50)
      expect(seen).toEqual(seq === 2 ? [] : ['one'])
      expect(isOver()).toBe(false)
      await stuck.crash()
      expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      expect(executed).toEqual(when === 'after' ? ['one', 'two'] : ['one', 'two', 'two'])
    },
  )

  test('G2: over 5 reopenings the functions of committed steps are called once, whatever their outcome (Z-004, Z-039)', async () => {
    const calls = { ok: 0, bad: 0, large: 0 }
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const ok = await ctx.step('ok', () => {
        calls.ok++
        return { when: new Date(5) }
      })
      const bad = await ctx
        .step(
          'bad',
          () => {
            calls.bad++
            throw new Error('no')
          },
          { retry: { limit: 0 } },
        )
        .catch((error: Error) => error.message)
      const large = await ctx.step('large', () => {
        calls.large++
        return 'x'.repeat(100_000)
      })
      for (let i = 0; i < 6; i++) await ctx.sleep('1 hour')
      return [ok, bad, large.length]
    })
    const world = new World()
    let process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    for (let i = 0; i < 6; i++) {
      const end = await process.runs.drive(ID)
      if (end.kind !== 'parked' || end.wakeAt === null) throw new Error(JSON.stringify(end))
      process.host.advanceTo(end.wakeAt)
      await process.crash()
      process = world.boot(w)
    }
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(calls).toEqual({ ok: 1, bad: 1, large: 1 })
    expect((await process.runs.summary(ID)).output).toEqual([{ when: new Date(5) }, 'step "bad" failed: no', 100_000])
  })

  test('G2: crash right after a step returned: it is not run again (Z-003, 5.2 no. 1)', async () => {
    const calls: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('one', () => {
        calls.push('one')
      })
      await ctx.step('two', async () => {
        calls.push('two')
        await held.promise
      })
    })
    const held = gate()
    const world = new World()
    const process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    await process.begin()
    expect(calls).toEqual(['one', 'two'])
    await process.crash()
    held.open()
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(calls).toEqual(['one', 'two', 'two'])
  })

  test('G2: a step that was under way when the store failed is adopted, not started again', async () => {
    let executed = 0
    const held = gate<string>()
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      Promise.all([
        ctx.step('slow', () => {
          executed++
          return held.promise
        }),
        ctx.step('quick', async () => 'quick'),
      ]),
    )
    let broken = true
    const process = open(w, {
      faults: {
        fault: ({ batch }) =>
          broken && batch?.entries !== undefined && batch.entries[0]?.seq === 2 ? { do: 'fail' } : undefined,
      },
    })
    await process.runs.start(w, 0, { id: ID })
    expect((await (await process.begin()).end).kind).toBe('unavailable')
    broken = false
    const { end } = await process.begin()
    held.open('slow')
    expect(await end).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual(['slow', 'quick'])
    expect(executed).toBe(1)
  })
})

describe('G11: replay is silent and gives what it gave', () => {
  test('G11: ctx.log speaks once for each line, over reopenings', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      ctx.log('begin')
      await ctx.step('a', (call) => {
        call.log('in a')
        return 1
      })
      ctx.log('after a', { n: 1 })
      await ctx.sleep('1 hour')
      ctx.log('after the sleep')
      await ctx.sleep('1 hour')
      ctx.log('end')
    })
    const world = new World()
    const lines: unknown[] = []
    let process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    for (let i = 0; i < 3; i++) {
      const end = await process.runs.drive(ID)
      lines.push(
        ...process.host.logs.map(({ message, data, key, runId }) => [
          runId,
          message,
          ...(data === undefined ? [] : [data]),
          ...(key === undefined ? [] : [`key ${key}`]),
        ]),
      )
      if (end.kind === 'parked' && end.wakeAt !== null) process.host.advanceTo(end.wakeAt)
      await process.crash()
      process = world.boot(w)
    }
    expect(world.record().status).toBe('completed')
    expect(lines).toEqual([
      [ID, 'begin'],
      [ID, 'in a', 'key a'],
      [ID, 'after a', { n: 1 }],
      [ID, 'after the sleep'],
      [ID, 'end'],
    ])
  })

  test('G11: now, random and uuid are the same on every replay', async () => {
    const drawn: unknown[][] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const draw = (): unknown[] => [ctx.now(), ctx.random(), ctx.uuid(), ctx.random()]
      const all = [draw()]
      await ctx.step('a', () => 1)
      all.push(draw())
      await ctx.sleep('1 hour')
      all.push(draw())
      await ctx.sleep('1 hour')
      drawn.push(all.flat())
      await ctx.sleep('1 hour')
      return all.flat()
    })
    const world = new World()
    let process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    for (;;) {
      const end = await process.runs.drive(ID)
      if (end.kind !== 'parked' || end.wakeAt === null) break
      process.host.advanceTo(end.wakeAt)
      await process.crash()
      process = world.boot(w)
    }
    const output = (await process.runs.summary(ID)).output as unknown[]
    expect(drawn).toEqual([output, output])
    expect(new Set(output).size).toBe(11)
    const [start, , , , afterStep, , , , afterSleep] = output as number[]
    expect(start).toBe(world.entries()[0]?.at)
    expect(afterStep).toBe(world.entries()[1]?.at)
    expect(afterSleep).toBe((start as number) + 3_600_000)
    for (const uuid of [2, 6, 10].map((i) => output[i]))
      expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    for (const random of [1, 3, 5, 7, 9, 11].map((i) => output[i] as number)) {
      expect(random).toBeGreaterThanOrEqual(0)
      expect(random).toBeLessThan(1)
    }
  })

  test('G11: what one branch draws changes nothing for another', async () => {
    const drawing = (greedy: number) =>
      workflow({ name: 'w', input: anything }, async (ctx) => {
        const draw = (c: Ctx, n: number) => Array.from({ length: n }, () => c.uuid()).at(-1)
        const { a, b } = await ctx.all({ a: (c) => draw(c, greedy), b: (c) => draw(c, 1) })
        const [first] = await ctx.map('m', [0, 1], {}, (c, i) => draw(c, i === 0 ? 1 : greedy))
        return { a, b, first, root: ctx.uuid() }
      })
    const one = open(drawing(1))
    await one.run(drawing(1))
    const many = open(drawing(50))
    await many.run(drawing(50))
    const [few, greedy] = [(await one.runs.summary(ID)).output, (await many.runs.summary(ID)).output] as Record<
      string,
      string
    >[]
    expect(few?.['a']).not.toBe(greedy?.['a'])
    for (const name of ['b', 'first', 'root']) expect(few?.[name]).toBe(greedy?.[name])
    expect(new Set(Object.values(few ?? {})).size).toBe(4)
  })

  test('G11: two runs draw different numbers', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.uuid())
    const process = open(w)
    const [a, b] = [await process.runs.run(w, 0), await process.runs.run(w, 0)]
    expect(a.output).not.toBe(b.output)
  })

  test('G11: entry times never decrease, although the clock jumps back', async () => {
    const seen: number[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 5; i++) {
        await ctx.step('s', async () => {
          process.host.jump(i % 2 === 0 ? -86_400_000 : 1000)
        })
        seen.push(ctx.now())
      }
      await Promise.all([
        ctx.step('p', async () => {
          process.host.jump(-5000)
        }),
        ctx.step('q', async () => 1),
      ])
      seen.push(ctx.now())
    })
    const process = open(w)
    const { now } = process
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    const times = process.world.entries().map(({ at }) => at)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    expect(times[0]).toBe(now)
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
  })

  test('G11: the times of a journal that another, later clock wrote are kept', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('1 hour')
      await ctx.step('s', () => 1)
      return ctx.now()
    })
    const world = new World()
    const fast = world.boot(w)
    fast.host.jump(10_000_000)
    await fast.runs.start(w, 0, { id: ID })
    const parked = await fast.runs.drive(ID)
    if (parked.kind !== 'parked') throw new Error(parked.kind)
    fast.host.advanceTo(parked.wakeAt as number)
    await fast.begin()
    const slow = world.boot(w)
    slow.host.advanceTo((parked.wakeAt as number) - 5_000_000)
    expect((await slow.runs.settle(ID)).kind).toBe('ended')
    const times = world.entries().map(({ at }) => at)
    expect(times).toEqual([...times].sort((a, b) => a - b))
  })
})

test('the ctx of a dropped pass is dead: its calls stay pending, write nothing and draw nothing', async () => {
  const kept: Ctx[] = []
  let settled = 0
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    kept.push(ctx as unknown as Ctx)
    await ctx.sleep('1 hour')
  })
  const process = open(w)
  await process.runs.start(w, 0, { id: ID })
  expect((await process.runs.drive(ID)).kind).toBe('parked')
  const [ctx] = kept as [Ctx]
  const count = (): void => {
    settled++
  }
  const executed: string[] = []
  const calls = [
    ctx.step('late', () => {
      executed.push('late')
    }),
    ctx.sleep(1),
    ctx.sleepUntil(0),
    ctx.all({ a: (c) => c.step('late', () => 1) }),
    ctx.race({ a: (c) => c.sleep(1) }),
    ctx.map('m', [1], {}, () => 1),
    ctx.scope('s', () => 1),
    ctx.cleanup(() => 1),
  ]
  for (const call of calls) call.then(count, count)
  ctx.log('late')
  await process.pass(10_000)
  expect(settled).toBe(0)
  expect(executed).toEqual([])
  expect(process.host.logs).toEqual([])
  expect(process.world.kinds()).toEqual(['run_started', 'timer_set ctx.sleep'])
})
