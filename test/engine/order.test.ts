import { describe, expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import { workflow } from '../../src/index.ts'
import { anything, gate, ID, open, World } from './support.ts'

const links = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await undefined
}

/** What the function saw, live and when it was replayed from its whole journal. */
async function traces(
  fn: (ctx: Ctx, see: (what: string) => void) => unknown,
): Promise<readonly [readonly string[], readonly string[]]> {
  const seen: string[][] = []
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    const trace: string[] = []
    seen.push(trace)
    await fn(ctx as unknown as Ctx, (what) => {
      trace.push(what)
    })
    await ctx.sleep('1 hour')
  })
  const world = new World()
  const first = world.boot(w, { stepsUseHostTime: true })
  await first.runs.start(w, 0, { id: ID })
  expect((await first.runs.drive(ID)).kind).toBe('parked')
  await first.crash()
  expect((await world.boot(w).runs.drive(ID)).kind).toBe('parked')
  return seen as [string[], string[]]
}

describe('G8: one delivery at a time', () => {
  test.each([0, 1, 5, 30, 500])(
    'G8: outcomes of one commit: what the first leads to is over before the second is seen (%i links)',
    async (n) => {
      const [live, replayed] = await traces(async (ctx, see) => {
        const branch = async (name: string): Promise<void> => {
          await ctx.step(name, async () => name)
          see(`${name} delivered`)
          await links(n)
          see(`${name} went on`)
        }
        await Promise.all([branch('a'), branch('b'), branch('c')])
      })
      expect(live).toEqual(['a', 'b', 'c'].flatMap((name) => [`${name} delivered`, `${name} went on`]))
      expect(replayed).toEqual(live)
    },
  )

  test('G8: a call that the first outcome leads to is made before the second is delivered, and counted so', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await Promise.all([
        ctx
          .step('a', async () => 1)
          .then(() => links(40))
          .then(() => ctx.step('after a', async () => 1)),
        ctx.step('b', async () => 1),
      ])
      await ctx.step('last', () => 1)
    })
    const process = open(w)
    await process.run(w)
    expect(process.world.entries().map(({ key, calls, grouped }) => [key, calls, grouped])).toEqual([
      [undefined, 0, false],
      ['a', 2, false],
      ['b', 2, true],
      ['after a', 3, false],
      ['last', 4, false],
      [undefined, 4, false],
    ])
  })

  test('G8: a timer and a step that are ready at the same moment: the one that is written first wins, also on replay', async () => {
    const [live, replayed] = await traces(async (ctx, see) => {
      const { winner } = await ctx.race({
        step: (c) =>
          c.step(
            's',
            () =>
              new Promise<string>((resolve) => {
                ready.promise.then(
                  () => {
                    resolve('s')
                  },
                  () => {},
                )
              }),
          ),
        timer: (c) => c.sleep(10),
      })
      see(winner)
    })
    expect(live).toHaveLength(1)
    expect(replayed).toEqual(live)
  })
  const ready = gate()
  ready.open()

  test('G8: an un-awaited step may end between two others and takes no place from them', async () => {
    const [live, replayed] = await traces(async (ctx, see) => {
      void ctx
        .step('u', async () => links(60))
        .then(() => {
          see('u')
        })
      await ctx.step('a', async () => links(3))
      see('a')
      await ctx.step('b', async () => links(200))
      see('b')
    })
    expect([...live].sort()).toEqual(['a', 'b', 'u'])
    expect(replayed).toEqual(live)
  })
})

describe('G8: how outcomes are written', () => {
  test('G8: a sequential run is prompt and costs no turn of the event loop for each step, but returns to it at least every 512 entries', async () => {
    let turns = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 1100; i++) await ctx.step('s', () => i)
    })
    const process = open(w)
    const { quiesce } = process.host
    Object.defineProperty(process.host, 'quiesce', {
      value: () => {
        turns++
        return quiesce.call(process.host)
      },
    })
    await process.runs.start(w, 0, { id: ID })
    const driver = await process.runs.driver(ID)
    expect(await driver.drive()).toEqual({ kind: 'ended', status: 'completed' })
    expect(turns).toBeLessThan(20)
    const stored = process.world.shelf.open(ID)
    let prompt = 0
    let most = 0
    let total = 0
    for (let after = 0; ;) {
      const page = stored.entries(after, 500)
      for (const { seq, bytes } of page) {
        after = seq
        const isPrompt = ((bytes[2] as number) & 2) !== 0
        prompt = isPrompt ? prompt + 1 : 0
        total += isPrompt ? 1 : 0
        most = Math.max(most, prompt)
      }
      if (page.length < 500) break
    }
    expect(most).toBeLessThan(512)
    expect(total).toBeGreaterThan(1080)
  })

  test('G8: every delivered entry says how many calls had been made', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('a', () => 1)
      await ctx.all({
        x: (c) => c.sleep(1),
        y: (c) => c.step('y', async () => 1),
        z: async (c) => {
          await c.step('z', async () => 1)
          await c.step('z2', async () => 1)
        },
      })
      await ctx.sleep(5)
    })
    const process = open(w)
    await process.run(w)
    const delivered = process.world
      .entries()
      .filter(({ kind }) => kind === 'step_completed' || kind === 'timer_fired')
      .map(({ key, calls }) => `${key} ${calls}`)
    expect(delivered).toEqual(['a 1', 'all/y/y 4', 'all/z/z 4', 'all/z/z2 5', 'all/x/ctx.sleep 5', 'ctx.sleep 6'])
  })
})
