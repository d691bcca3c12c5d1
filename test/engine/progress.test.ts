import { describe, expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import { anything, ID, open, World } from './support.ts'

const forever = (): Promise<never> => new Promise(() => {})

/** Its process dies each time in the middle of its first step. */
function dying(executed: number[] = []) {
  return workflow({ name: 'w', input: anything }, async (ctx) =>
    ctx.step('s', (call) => {
      executed.push(call.attempt)
      return forever()
    }),
  )
}

describe('G29: the engine\'s half', () => {
  test('G29: a running run is armed: each wake sets the next one first, in the row\'s own commit', async () => {
    const w = dying()
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    expect(process.world.row().wakeAt).toBe(process.now)
    await process.begin()
    expect(process.world.record().status).toBe('running')
    expect(process.world.row().wakeAt).toBe(process.now + 30_000)
  })

  test('G29: a run that wakes and adds no entry is stopped by a durable cap, over crashes', async () => {
    const executed: number[] = []
    const w = dying(executed)
    const world = new World()
    let process = world.boot(w, { limits: { wakes: 5 } })
    await process.runs.start(w, 0, { id: ID })
    const waits: number[] = []
    for (let i = 0; i < 5; i++) {
      await process.begin()
      expect(world.record()).toMatchObject({ status: 'running', wakes: i + 1 })
      waits.push((world.row().wakeAt as number) - process.now)
      process.host.jump(waits.at(-1) as number)
      await process.crash()
      process = world.boot(w, { limits: { wakes: 5 } })
    }
    expect(await process.runs.drive(ID)).toMatchObject({
      kind: 'blocked',
      blocked: { code: 'no_progress', curable: false },
      wakeAt: null,
    })
    expect(executed).toEqual([1, 1, 1, 1, 1])
    expect(world.record().status).toBe('blocked')
    expect(world.row().wakeAt).toBe(null)
    // Another drive does not begin it again, and writes nothing.
    const before = world.row()
    expect((await process.runs.drive(ID)).kind).toBe('blocked')
    expect(world.row()).toEqual(before)
  })

  test('G29: back-off is persisted: wakes without progress come ever more rarely', async () => {
    const w = dying()
    const world = new World()
    let process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    const waits: number[] = []
    for (let i = 0; i < 12; i++) {
      await process.begin()
      waits.push((world.row().wakeAt as number) - process.now)
      await process.crash()
      process = world.boot(w)
    }
    expect(waits.slice(0, 4)).toEqual([30_000, 30_000, 30_000, 30_000])
    expect(waits.slice(4, 9)).toEqual([60_000, 120_000, 240_000, 480_000, 960_000])
    expect(waits.slice(9)).toEqual([960_000, 960_000, 960_000])
  })

  test('G29: an entry is progress: the count begins again', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 5; i++)
        await ctx.step('s', async () => {
          if (dies.has(i)) await forever()
        })
    })
    const dies = new Set([0])
    const world = new World()
    let process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    const wakes: number[] = []
    for (let i = 0; i < 6; i++) {
      if (i === 3) {
        dies.delete(0)
        dies.add(3)
      }
      await process.begin()
      wakes.push(world.record().wakes)
      await process.crash()
      process = world.boot(w)
    }
    expect(wakes).toEqual([1, 2, 3, 4, 1, 2])
  })

  test('G29: looking at a sleeping run again and again is no lack of progress', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('30 days')
      return 'slept'
    })
    const world = new World()
    let process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    // A page that is opened 200 times during the sleep.
    for (let i = 0; i < 200; i++) {
      await process.crash()
      process = world.boot(w)
      process.host.jump(60_000)
      expect((await process.runs.drive(ID)).kind).toBe('parked')
    }
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('G29: a loop of many sleeps and a long retry are progress each time', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 60; i++) await ctx.sleep('1 hour')
      await ctx.step(
        's',
        (call) => {
          if (call.attempt <= 60) throw new Error('busy')
        },
        { retry: { limit: 100, delay: '1 hour', maxDelay: '1 hour' } },
      )
    })
    expect(await open(w).run(w)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('G29: reading an unknown id, and driving it, writes nothing', async () => {
    const w = dying()
    const { runs, world } = open(w)
    expect(await runs.drive('unknown')).toEqual({ kind: 'absent' })
    await expect(runs.summary('unknown')).rejects.toMatchObject({ code: 'run_not_found' })
    expect(world.shelf.open('unknown').read()).toBeUndefined()
    expect(world.shelf.runs({ limit: 10 })).toEqual([])
  })

  test('G29: an ended run is never driven again, whoever asks', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async () => {
      calls++
      return 1
    })
    const process = open(w)
    await process.run(w)
    const before = process.world.row()
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.world.row()).toEqual(before)
    expect(calls).toBe(1)
    expect(before.wakeAt).toBe(null)
  })

  test('G29: drives that are asked for at once are one drive', async () => {
    let commits = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', async () => 1))
    const process = open(w, {
      faults: {
        committed: () => {
          commits++
        },
      },
    })
    await process.runs.start(w, 0, { id: ID })
    const driver = await process.runs.driver(ID)
    const ends = await Promise.all([driver.drive(), driver.drive(), driver.poke(), driver.poke()])
    expect(new Set(ends.map((end) => JSON.stringify(end)))).toEqual(
      new Set([JSON.stringify({ kind: 'ended', status: 'completed' })]),
    )
    expect(commits).toBe(4)
  })

  test('G29: the store fails while a run is driven: the row still says when it is to be woken', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', () => 1))
    let isDown = false
    const process = open(w, {
      faults: {
        fault: ({ method, batch }) => {
          isDown ||= batch?.entries?.[0]?.seq === 2
          return isDown && method === 'commit' ? { do: 'fail' } : undefined
        },
      },
    })
    await process.runs.start(w, 0, { id: ID })
    expect((await process.runs.drive(ID)).kind).toBe('unavailable')
    expect(process.world.row().wakeAt).toBe(process.now + 30_000)
    isDown = false
  })

  test('G29: stop() ends a drive at once, leaves no timer behind and aborts its steps; the run goes on elsewhere', async () => {
    let aborted = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      Promise.all([
        ctx.sleep(1000),
        ctx.step('s', (call) => {
          call.abortSignal.addEventListener('abort', () => {
            aborted++
          })
          return process.world.row().epoch > 2 ? 'second' : forever()
        }),
      ]),
    )
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    const driver = await process.runs.driver(ID)
    await driver.stop()
    expect(await end).toEqual({ kind: 'stopped' })
    expect(aborted).toBe(1)
    expect(process.host.nextTimer).toBeUndefined()
    expect(await driver.drive()).toEqual({ kind: 'stopped' })
    expect(await process.world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('G29: an attempt that is adopted by the next drive keeps its timeout', async () => {
    let isDown = false
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      Promise.all([
        ctx
          .step('slow', forever, { timeout: 60_000, retry: { limit: 0 } })
          .catch((error: { code: string }) => error.code),
        ctx.sleep(1000),
      ]),
    )
    const process = open(w, {
      faults: { fault: ({ method }) => (isDown && method === 'commit' ? { do: 'fail' } : undefined) },
    })
    await process.runs.start(w, 0, { id: ID })
    const began = process.now
    const { end } = await process.begin()
    isDown = true
    await process.pass(1000)
    expect((await end).kind).toBe('unavailable')
    isDown = false
    const again = await process.begin()
    await process.pass(58_000)
    expect(again.isOver()).toBe(false)
    await process.pass(1000)
    expect(await again.end).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.now - began).toBe(60_000)
    expect((await process.runs.summary(ID)).output).toEqual(['step_timeout', undefined])
  })
})
