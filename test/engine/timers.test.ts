import { describe, expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import { anything, ID, open, World } from './support.ts'

const HOUR = 3_600_000

describe('G19: timers', () => {
  test('G19: the stored due time wins over one that is computed anew (Z-155)', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('1 hour')
      return ctx.now()
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    const began = first.now
    expect(await first.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: began + HOUR })
    first.host.advance(59 * 60_000)
    await first.crash()
    // Opened again after 59 minutes: one minute is left, not another hour.
    const again = world.boot(w)
    expect(await again.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: began + HOUR })
    expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(again.now).toBe(began + HOUR)
    expect((await again.runs.summary(ID)).output).toBe(began + HOUR)
  })

  test('G19: the stored due time wins, even if sleepUntil computes another one now', async () => {
    let base = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleepUntil(ctx.now() + HOUR + base * 0)
      return ctx.now()
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    const due = first.now + HOUR
    first.host.advance(HOUR / 2)
    await first.crash()
    base = 1
    const again = world.boot(w)
    again.host.jump(-HOUR)
    expect(await again.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: due })
  })

  test('G19: due while closed: fires once, on open, late and not lost (Z-065, 5.2 no. 8)', async () => {
    let after = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('1 hour')
      await ctx.step('after', () => {
        after++
      })
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    world.tell(first.now + 7 * 24 * HOUR)
    const again = world.boot(w)
    expect(await again.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(after).toBe(1)
    expect(world.kinds().filter((kind) => kind.startsWith('timer_fired'))).toHaveLength(1)
    const fired = world.entries().find(({ kind }) => kind === 'timer_fired')
    expect(fired?.due).toBe(first.now + HOUR)
    expect(fired?.at).toBe(first.now + 7 * 24 * HOUR)
  })

  test('G19: several are due at once: they fire in the order of their due times, each once', async () => {
    const order: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await Promise.all(
        (
          [
            ['c', 3],
            ['a', 1],
            ['b', 2],
            ['a2', 1],
          ] as const
        ).map(([name, hours]) =>
          ctx
            .scope(name, (c) => c.sleep(hours * HOUR))
            .then(() => {
              order.push(name)
            }),
        ),
      )
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    expect(await first.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: first.now + HOUR })
    await first.crash()
    world.tell(first.now + 24 * HOUR)
    expect(await world.boot(w).runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(order).toEqual(['a', 'a2', 'b', 'c'])
    expect(world.kinds().filter((kind) => kind.startsWith('timer_fired'))).toHaveLength(4)
  })

  test.each(['before', 'after'] as const)(
    'G19: a crash %s a timer is stored, and %s it fired: it fires once',
    async (when) => {
      for (const struck of ['timer_set', 'timer_fired'] as const) {
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          await ctx.sleep('1 hour')
          return ctx.now()
        })
        const world = new World()
        const first = world.boot(w)
        await first.runs.start(w, 0, { id: ID })
        const began = first.now
        if (struck === 'timer_fired') await first.runs.drive(ID)
        const seq = struck === 'timer_set' ? 2 : 3
        world.tell(struck === 'timer_fired' ? began + HOUR : began)
        const dying = world.boot(w, {
          faults: { fault: ({ batch }) => (batch?.entries?.[0]?.seq === seq ? { do: 'crash', when } : undefined) },
        })
        await dying.begin()
        dying.host.jump(1000)
        await dying.crash()
        const again = world.boot(w)
        expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
        expect(world.kinds()).toEqual(['run_started', 'timer_set ctx.sleep', 'timer_fired ctx.sleep', 'run_completed'])
        // Not stored yet: the time runs from the restart. Stored: it does not.
        const due = struck === 'timer_set' && when === 'before' ? began + 1000 + HOUR : began + HOUR
        expect(world.entries()[1]?.due).toBe(due)
        expect(again.now).toBeGreaterThanOrEqual(due)
      }
    },
  )

  test('G19: half elapsed, and the clock jumps: the remaining time is to the stored due time', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('2 hours')
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const began = process.now
    await process.runs.drive(ID)
    process.host.jump(HOUR)
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: began + 2 * HOUR })
    process.host.jump(-3 * HOUR)
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: began + 2 * HOUR })
    process.host.jump(5 * HOUR)
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('G19: a driver that waits in memory when the clock jumps back goes on waiting, and fires once', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep(1500)
      return 'fired'
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { isOver } = await process.begin()
    process.host.jump(-1000)
    await process.pass(1600)
    expect(isOver()).toBe(false)
    await process.pass(1000)
    expect(isOver()).toBe(true)
    expect(process.world.kinds().filter((kind) => kind.startsWith('timer_fired'))).toHaveLength(1)
  })

  test('G19: a sleep of 0 and of the past is a timer like any other', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep(0)
      await ctx.sleepUntil(new Date(0))
      await ctx.sleepUntil(5)
    })
    const process = open(w)
    const began = process.now
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.now).toBe(began)
    expect(process.world.kinds().filter((kind) => kind.startsWith('timer_'))).toHaveLength(6)
  })

  test('G19: a sleep of 30 days in one virtual go, of 100 years at most', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('30 days')
    })
    const process = open(w)
    const began = process.now
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.now - began).toBe(30 * 24 * HOUR)
  })

  test('G19: the run row is woken at the earliest of all that waits: a sleep, a back-off, the deadline', async () => {
    const make = (sleep: number, backoff: number, timeout: number) =>
      workflow({ name: 'w', input: anything, timeout }, async (ctx) => {
        await Promise.all([
          ctx.sleep(sleep),
          ctx.step(
            's',
            () => {
              throw new Error('busy')
            },
            { retry: { delay: backoff, jitter: 0, maxDelay: '1 day' } },
          ),
        ])
      })
    for (const [sleep, backoff, timeout] of [
      [1, 2, 3],
      [2, 1, 3],
      [2, 3, 1],
    ] as const) {
      const w = make(sleep * HOUR, backoff * HOUR, timeout * HOUR)
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      const end = await process.runs.drive(ID)
      expect(end).toEqual({ kind: 'parked', wakeAt: process.now + HOUR })
      expect(process.world.row().wakeAt).toBe(process.now + HOUR)
    }
  })

  test('G19: what a parked run waits for is in its row', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await Promise.all([
        ctx.sleep('1 hour'),
        ctx.step(
          's',
          () => {
            throw new Error('busy')
          },
          { retry: { delay: '2 hours', jitter: 0 } },
        ),
      ])
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    const { now } = process
    expect((await process.runs.summary(ID)).waitingFor).toEqual([
      { kind: 'timer', key: 'ctx.sleep', dueAt: now + HOUR },
      { kind: 'retry', key: 's', dueAt: now + 300_000, attempt: 2 },
    ])
  })

  test('G19: an alarm that comes twice, and one that comes early, fire nothing twice (Z-156)', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('1 hour')
      await ctx.sleep('1 hour')
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    for (let i = 0; i < 3; i++) expect((await process.runs.drive(ID)).kind).toBe('parked')
    process.host.advance(HOUR)
    await Promise.all([process.runs.drive(ID), process.runs.drive(ID)])
    await process.runs.drive(ID)
    expect(process.world.kinds()).toEqual([
      'run_started',
      'timer_set ctx.sleep',
      'timer_fired ctx.sleep',
      'timer_set ctx.sleep#1',
    ])
  })

  test('G19: a delayed start waits, and its time is kept over a restart', async () => {
    const executed: number[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('s', () => {
        executed.push(world.record().createdAt)
      })
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID, delay: '1 hour' })
    const due = first.now + HOUR
    expect(await first.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: due })
    first.host.advance(HOUR / 2)
    await first.crash()
    const again = world.boot(w)
    expect(await again.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: due })
    expect(executed).toEqual([])
    expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(again.now).toBe(due)
    expect(executed).toHaveLength(1)
  })
})
