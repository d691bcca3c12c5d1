import { describe, expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import type { DriveEnd } from '../../src/engine/drive.ts'
import { journalPage } from '../../src/journal/view.ts'
import { workflow } from '../../src/index.ts'
import { anything, gate, ID, World } from './support.ts'

type Fn = (ctx: Ctx, executed: string[]) => unknown

function define(fn: Fn, executed: string[], onDivergence: 'fail' | 'restart' = 'fail') {
  return workflow({ name: 'w', input: anything, onDivergence }, async (ctx) => fn(ctx as unknown as Ctx, executed))
}

/** Runs `before` until it waits, then deploys `after`. */
async function deploy(
  before: Fn,
  after: Fn,
): Promise<{ end: DriveEnd; world: World; executed: string[]; message: string }> {
  const world = new World()
  const old = world.boot(define(before, []))
  await old.runs.start(define(before, []), 0, { id: ID })
  const parked = await old.runs.drive(ID)
  expect(parked.kind).toBe('parked')
  await old.crash()
  const entries = world.kinds()
  const executed: string[] = []
  const end = await world.boot(define(after, executed)).runs.drive(ID)
  expect(world.kinds().slice(0, entries.length)).toEqual(entries)
  return { end, world, executed, message: end.kind === 'blocked' ? end.blocked.message : '' }
}

const step =
  (name: string, options?: object) =>
  (ctx: Ctx, executed: string[]): Promise<string> =>
    ctx.step(
      name,
      () => {
        executed.push(name)
        return name
      },
      options as never,
    )

async function sequence(
  ctx: Ctx,
  executed: string[],
  ...parts: readonly ((ctx: Ctx, executed: string[]) => unknown)[]
): Promise<void> {
  for (const part of parts) await part(ctx, executed)
}
const hour = (ctx: Ctx): Promise<void> => ctx.sleep('1 hour')

/** What was recorded, what is asked now, and what the report must show of both. */
const mismatches: readonly (readonly [string, Fn, Fn, readonly string[]])[] = [
  [
    'a step is renamed',
    (c, e) => sequence(c, e, step('a'), step('b'), hour),
    (c, e) => sequence(c, e, step('a'), step('c'), hour),
    ['entry 3', 'step_completed "b"', 'step "c"'],
  ],
  [
    'the first step is renamed',
    (c, e) => sequence(c, e, step('a'), hour),
    (c, e) => sequence(c, e, step('z'), hour),
    ['entry 2', 'step_completed "a"', 'step "z"'],
  ],
  [
    'a declared input is another one',
    (c, e) => sequence(c, e, step('a', { input: 1 }), hour),
    (c, e) => sequence(c, e, step('a', { input: 2 }), hour),
    ['entry 2', 'step_completed "a"', 'step "a"', 'declared input'],
  ],
  [
    'an input is declared where none was',
    (c, e) => sequence(c, e, step('a'), hour),
    (c, e) => sequence(c, e, step('a', { input: undefined }), step('b', { input: null }), hour),
    ['step "b"'],
  ],
  [
    'a field of the declared input is another one',
    (c, e) => sequence(c, e, step('a', { input: { x: { y: [1, 2] } } }), hour),
    (c, e) => sequence(c, e, step('a', { input: { x: { y: [1, 3] } } }), hour),
    ['entry 2', 'declared input'],
  ],
  [
    'the own key is another one',
    (c, e) => sequence(c, e, step('a', { key: 'k' }), hour),
    (c, e) => sequence(c, e, step('a', { key: 'l' }), hour),
    ['"a[k]"', '"a[l]"'],
  ],
  [
    'a step became a sleep',
    (c, e) => sequence(c, e, step('a'), step('ctx.sleep'), hour),
    (c, e) => sequence(c, e, step('a'), (ctx) => ctx.sleep(5), hour),
    ['entry 3', 'step_completed "ctx.sleep"', 'sleep "ctx.sleep"'],
  ],
  [
    'a sleep became a step (Z-157)',
    (c, e) => sequence(c, e, (ctx) => ctx.sleep(5), hour),
    (c, e) => sequence(c, e, step('ctx.sleep'), hour),
    ['timer_fired "ctx.sleep"', 'step "ctx.sleep"'],
  ],
  [
    'a sleep became a step that declares as input what the sleep was given',
    (c, e) => sequence(c, e, (ctx) => ctx.sleep(5), hour),
    (c, e) => sequence(c, e, step('ctx.sleep', { input: 5 }), hour),
    ['timer_fired "ctx.sleep"', 'step "ctx.sleep"'],
  ],
  [
    'a sleep and a step are swapped',
    (c, e) => sequence(c, e, (ctx) => ctx.sleep(5), step('a'), hour),
    (c, e) => sequence(c, e, step('a'), (ctx) => ctx.sleep(5), hour),
    ['timer_fired "ctx.sleep"', 'step "a"'],
  ],
  [
    'a sleep lasts another time',
    (c, e) => sequence(c, e, (ctx) => ctx.sleep(5), hour),
    (c, e) => sequence(c, e, (ctx) => ctx.sleep(6), hour),
    ['timer_fired "ctx.sleep"', 'declared input'],
  ],
  [
    'the sleep that is waited for lasts another time',
    (c, e) => sequence(c, e, step('a'), hour),
    (c, e) => sequence(c, e, step('a'), (ctx) => ctx.sleep('2 hours')),
    ['timer_set "ctx.sleep"', 'declared input'],
  ],
  [
    'the sleep that is waited for became a step',
    (c, e) => sequence(c, e, step('a'), hour),
    (c, e) => sequence(c, e, step('a'), step('b')),
    ['timer_set "ctx.sleep"', 'step "b"'],
  ],
  [
    'a sleep became a sleepUntil',
    (c, e) => sequence(c, e, (ctx) => ctx.sleep(5), hour),
    (c, e) => sequence(c, e, (ctx) => ctx.sleepUntil(ctx.now() + 5), hour),
    ['"ctx.sleep"', '"ctx.sleepUntil"'],
  ],
  [
    'a step is inserted at the start',
    (c, e) => sequence(c, e, step('a'), hour),
    (c, e) => sequence(c, e, step('new'), step('a'), hour),
    ['step_completed "a"', 'step "new"'],
  ],
  [
    'a step is inserted in the middle',
    (c, e) => sequence(c, e, step('a'), step('b'), hour),
    (c, e) => sequence(c, e, step('a'), step('new'), step('b'), hour),
    ['entry 3', 'step_completed "b"', 'step "new"'],
  ],
  [
    'an equal step is inserted before an equal one with another input',
    (c, e) => sequence(c, e, step('a', { input: 1 }), step('a', { input: 2 }), hour),
    (c, e) => sequence(c, e, step('a', { input: 1 }), step('a', { input: 9 }), step('a', { input: 2 }), hour),
    ['step_completed "a#1"'],
  ],
  [
    'a step is removed from the middle',
    (c, e) => sequence(c, e, step('a'), step('b'), step('c'), hour),
    (c, e) => sequence(c, e, step('a'), step('c'), hour),
    ['step_completed "b"', 'step "c"'],
  ],
  [
    'two steps are reordered',
    (c, e) => sequence(c, e, step('a'), step('b'), hour),
    (c, e) => sequence(c, e, step('b'), step('a'), hour),
    ['step_completed "a"', 'step "b"'],
  ],
  [
    'the last step is removed, and the function ends',
    (c, e) => sequence(c, e, step('a'), step('b'), hour),
    (c, e) => sequence(c, e, step('a')),
    ['step_completed "b"', 'nothing', 'ended without asking'],
  ],
  ['all is removed', (c, e) => sequence(c, e, step('a'), hour), () => 0, ['step_completed "a"', 'nothing']],
  [
    'the sleep that is waited for is removed',
    (c, e) => sequence(c, e, step('a'), hour),
    (c, e) => sequence(c, e, step('a')),
    ['timer_set "ctx.sleep"'],
  ],
  [
    'one more call is made at once with a recorded one',
    (c, e) => sequence(c, e, step('a'), step('b'), hour),
    async (c, e) => {
      await step('a')(c, e)
      void step('new')(c, e)
      await step('b')(c, e)
      await hour(c)
    },
    ['entry 3', 'more calls', 'after 2 calls', 'after 3 calls'],
  ],
  [
    'a call that was made at once with a recorded one is gone',
    async (c, e) => {
      void c.sleep('2 days')
      await step('a')(c, e)
      await step('b')(c, e)
      await hour(c)
    },
    async (c, e) => {
      await step('a')(c, e)
      await step('b')(c, e)
      await hour(c)
    },
    ['step_completed "a"', 'fewer calls', 'after 2 calls', 'after 1 calls'],
  ],
  [
    'a scope is put around a step',
    (c, e) => sequence(c, e, step('a'), hour),
    (c, e) => sequence(c, e, (ctx) => ctx.scope('s', (inner) => step('a')(inner, e)), hour),
    ['step_completed "a"', 'step "s/a"'],
  ],
  [
    'a branch is renamed',
    (c, e) => sequence(c, e, (ctx) => ctx.all({ x: (b) => step('a')(b, e) }), hour),
    (c, e) => sequence(c, e, (ctx) => ctx.all({ y: (b) => step('a')(b, e) }), hour),
    ['"all/x/a"', '"all/y/a"'],
  ],
  [
    'an item of a map has another key',
    (c, e) => sequence(c, e, (ctx) => ctx.map('m', ['i'], { key: (i) => i }, (b) => step('a')(b, e)), hour),
    (c, e) => sequence(c, e, (ctx) => ctx.map('m', ['j'], { key: (i) => i }, (b) => step('a')(b, e)), hour),
    ['"m[i]/a"', '"m[j]/a"'],
  ],
  [
    'a race of which the other branch wins now',
    (c, e) =>
      sequence(
        c,
        e,
        (ctx) => ctx.race({ x: (b) => step('a')(b, e), y: (b) => b.sleep('1 day') }),
        step('after x'),
        hour,
      ),
    (c, e) =>
      sequence(
        c,
        e,
        (ctx) => ctx.race({ x: (b) => b.sleep('1 day'), y: (b) => step('a')(b, e) }),
        step('after y'),
        hour,
      ),
    ['"race/x/a"', '"race/y/a"'],
  ],
]

describe('G9: code that no longer fits the journal blocks the run, and shows both sides', () => {
  for (const [what, before, after, shown] of mismatches) {
    test(`G9: ${what}`, async () => {
      const { end, world, executed, message } = await deploy(before, after)
      if (end.kind !== 'blocked') throw new Error(JSON.stringify([end, world.kinds()]))
      expect(end.blocked).toMatchObject({ code: 'divergence', curable: true })
      for (const part of shown) expect(message).toContain(part)
      expect(message).toMatch(/recorded: .*\n {2}asked: {4}/)
      // No step of the new code ran before history was exhausted, and nothing was appended.
      expect(executed).toEqual([])
      expect(world.record()).toMatchObject({ status: 'blocked', blocked: { code: 'divergence' } })
      const { details } = end.blocked as {
        details: {
          seq: number
          recorded: { key: string }
          asked: { key: string; fingerprint: string }[]
          calls: number
        }
      }
      expect(world.entries()[details.seq - 1]?.key).toBe(details.recorded.key)
      expect(details.calls).toBeTypeOf('number')
      for (const asked of details.asked) expect(asked.fingerprint).toMatch(/^[0-9a-f]{32}$/)
    })
  }

  const fitting: readonly (readonly [string, Fn, Fn])[] = [
    [
      'a step is added at the end',
      (c, e) => sequence(c, e, step('a'), hour),
      (c, e) => sequence(c, e, step('a'), hour, step('new')),
    ],
    [
      'what a step\'s function does is another thing',
      (c, e) => sequence(c, e, step('a'), hour),
      (c, e) =>
        sequence(
          c,
          e,
          (ctx) =>
            ctx.step('a', () => {
              e.push('a')
            }),
          hour,
        ),
    ],
    [
      'a timeout and a retry policy are others',
      (c, e) => sequence(c, e, step('a'), hour),
      (c, e) => sequence(c, e, step('a', { timeout: 5, retry: { limit: 1 } }), hour),
    ],
    [
      'the fields of a declared input have another order',
      (c, e) => sequence(c, e, step('a', { input: { x: 1, y: 2 } }), hour),
      (c, e) => sequence(c, e, step('a', { input: { y: 2, x: 1 } }), hour),
    ],
    [
      'a race\'s loser that never got an entry is asked for again',
      (c, e) => sequence(c, e, (ctx) => ctx.race({ x: (b) => step('a')(b, e), y: (b) => b.sleep('1 day') }), hour),
      (c, e) => sequence(c, e, (ctx) => ctx.race({ x: (b) => step('a')(b, e), y: (b) => b.sleep('1 day') }), hour),
    ],
    [
      'plain promises and other code between the calls',
      (c, e) => sequence(c, e, step('a'), hour),
      async (c, e) => {
        await step('a')(c, e)
        await null
        await Promise.all([1, 2])
        await hour(c)
      },
    ],
  ]
  for (const [what, before, after] of fitting) {
    test(`G9: no divergence: ${what}`, async () => {
      const { end, executed } = await deploy(before, after)
      expect(end.kind).toBe('parked')
      expect(executed).toEqual([])
    })
  }

  test('G9: a race\'s loser whose outcome came after the end of the race is no divergence, neither in the middle nor at the end', async () => {
    const held = gate<string>()
    const fn: Fn = async (ctx, executed) => {
      const won = await ctx.race({
        quick: (c) => c.step('quick', async () => 'quick'),
        slow: (c) =>
          c.step('slow', () => {
            executed.push('slow')
            return held.promise
          }),
      })
      await ctx.step('between', async () => {
        held.open('slow')
        await null
      })
      await ctx.sleep('1 hour')
      return won.winner
    }
    const world = new World()
    const executed: string[] = []
    const first = world.boot(define(fn, executed))
    await first.runs.start(define(fn, executed), 0, { id: ID })
    expect((await first.runs.drive(ID)).kind).toBe('parked')
    expect(world.kinds()).toContain('step_completed race/slow/slow')
    await first.crash()
    const again = world.boot(define(fn, executed))
    expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await again.runs.summary(ID)).output).toBe('quick')
    expect(executed).toEqual(['slow'])
  })

  test('G9: a loser\'s outcome that was committed with the winner\'s, just before the end: a crash there replays to the same end', async () => {
    const fn: Fn = (ctx) => ctx.race({ a: (c) => c.step('a', async () => 'a'), b: (c) => c.step('b', async () => 'b') })
    const world = new World()
    const first = world.boot(define(fn, []), {
      faults: {
        fault: ({ batch }) =>
          batch?.entries?.some(({ seq }) => seq === 4) ? { do: 'crash', when: 'before' } : undefined,
      },
    })
    await first.runs.start(define(fn, []), 0, { id: ID })
    await first.begin()
    expect(world.kinds()).toEqual(['run_started', 'step_completed race/a/a', 'step_completed race/b/b'])
    const again = world.boot(define(fn, []))
    expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await again.runs.summary(ID)).output).toEqual({ winner: 'a', value: 'a' })
  })

  test('G9: an un-awaited call whose outcome was recorded is no divergence', async () => {
    const fn: Fn = async (ctx) => {
      void ctx.step('un-awaited', async () => 1)
      await ctx.step('a', async () => 1)
      await ctx.step('b', () => 1)
      await ctx.sleep('1 hour')
    }
    const { end } = await deploy(fn, fn)
    expect(end.kind).toBe('parked')
  })

  test('G9: a blocked run goes on where it stopped when the fitting code is deployed', async () => {
    const executed: string[] = []
    const old: Fn = (c, e) => sequence(c, e, step('a'), step('b'), hour, step('d'))
    const world = new World()
    const first = world.boot(define(old, executed))
    await first.runs.start(define(old, executed), 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const wrong = world.boot(define((c, e) => sequence(c, e, step('a'), step('c'), hour), executed))
    expect((await wrong.runs.drive(ID)).kind).toBe('blocked')
    await wrong.crash()
    const right = world.boot(define(old, executed))
    expect(await right.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toEqual(['a', 'b', 'd'])
    expect(world.record().blocked).toBeUndefined()
  })

  test('G9: a run that nobody touches notices the deploy: it is looked at again, ever more rarely', async () => {
    const world = new World()
    const first = world.boot(define((c, e) => sequence(c, e, step('a'), hour), []))
    await first.runs.start(
      define(() => 0, []),
      0,
      { id: ID },
    )
    await first.runs.drive(ID)
    await first.crash()
    const wrong = world.boot(define(() => 0, []))
    const waits: number[] = []
    for (let i = 0; i < 10; i++) {
      const end = await wrong.runs.drive(ID)
      if (end.kind !== 'blocked' || end.wakeAt === null) throw new Error(JSON.stringify(end))
      expect(end.blocked.tries).toBe(i + 1)
      waits.push(end.wakeAt - wrong.now)
      wrong.host.advanceTo(end.wakeAt)
    }
    expect(waits).toEqual([...waits].sort((a, b) => a - b))
    expect(waits[0]).toBe(60_000)
    expect(waits.at(-1)).toBe(24 * 3_600_000)
  })

  test('G9: a divergence in the part that was already marked, after a page of entries, is named by its own entry', async () => {
    const loop =
      (names: (i: number) => string): Fn =>
      async (ctx) => {
        for (let i = 0; i < 40; i++) await ctx.step(names(i), () => i)
        await ctx.sleep('1 hour')
      }
    const world = new World()
    const first = world.boot(
      define(
        loop((i) => `s${i}`),
        [],
      ),
      { limits: { pageEntries: 8 } },
    )
    await first.runs.start(
      define(() => 0, []),
      0,
      { id: ID },
    )
    await first.runs.drive(ID)
    await first.crash()
    const end = await world
      .boot(
        define(
          loop((i) => (i === 29 ? 'other' : `s${i}`)),
          [],
        ),
        { limits: { pageEntries: 8 } },
      )
      .runs.drive(ID)
    expect(end).toMatchObject({
      kind: 'blocked',
      blocked: { code: 'divergence', details: { seq: 31, recorded: { key: 's29' } } },
    })
  })
})

describe('G9: policy restart', () => {
  const old = (executed: string[]) =>
    define((c, e) => sequence(c, e, step('a'), step('b'), hour, step('c')), executed, 'restart')

  test('G9: the next generation begins, its steps run and are committed, and older generations stay readable', async () => {
    const executed: string[] = []
    const world = new World()
    const first = world.boot(old(executed))
    await first.runs.start(old(executed), 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const before = await journalPage(world.shelf.open(ID), { reveal: true })
    const changed = define((c, e) => sequence(c, e, step('x'), hour, step('y')), executed, 'restart')
    const second = world.boot(changed)
    expect((await second.runs.drive(ID)).kind).toBe('parked')
    await second.crash()
    // A committed step of the new generation never runs again either (Z-135).
    const third = world.boot(changed)
    expect(await third.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toEqual(['a', 'b', 'x', 'y'])
    expect(world.record()).toMatchObject({ generation: 2, generationSeq: 5, status: 'completed' })
    expect(world.kinds()).toEqual([
      'run_started',
      'step_completed a',
      'step_completed b',
      'timer_set ctx.sleep',
      'generation_started',
      'step_completed x',
      'timer_set ctx.sleep',
      'timer_fired ctx.sleep',
      'step_completed y',
      'run_completed',
    ])
    const page = await journalPage(world.shelf.open(ID), { reveal: true })
    expect(page.items.slice(0, 4)).toEqual(before.items)
    expect(page.items.map(({ generation }) => generation)).toEqual([1, 1, 1, 1, 2, 2, 2, 2, 2, 2])
    expect(page.items[4]?.payload).toMatchObject({
      generation: 2,
      because: 'divergence',
      report: { seq: 2, recorded: { key: 'a' } },
    })
  })

  test('G9: generations are bounded: after that it is blocked', async () => {
    const world = new World()
    const first = world.boot(
      define((c, e) => sequence(c, e, step('0'), hour), [], 'restart'),
      { limits: { restarts: 2 } },
    )
    await first.runs.start(
      define(() => 0, []),
      0,
      { id: ID },
    )
    await first.runs.drive(ID)
    await first.crash()
    const kinds: string[] = []
    for (let i = 1; i <= 4; i++) {
      const process = world.boot(
        define((c, e) => sequence(c, e, step(String(i)), hour), [], 'restart'),
        { limits: { restarts: 2 } },
      )
      const end = await process.runs.drive(ID)
      kinds.push(end.kind === 'blocked' ? end.blocked.code : end.kind)
      await process.crash()
    }
    expect(kinds).toEqual(['parked', 'parked', 'divergence', 'divergence'])
    expect(world.record().generation).toBe(3)
  })

  test('G9: a function that is not deterministic does not restart for ever', async () => {
    let calls = 0
    const random = define(
      async (ctx) => {
        const name = `s${calls++}`
        await ctx.step(name, () => 0)
        await ctx.sleep('1 hour')
      },
      [],
      'restart',
    )
    const world = new World()
    const process = world.boot(random)
    await process.runs.start(random, 0, { id: ID })
    expect((await process.runs.settle(ID)).kind).toBe('blocked')
    expect(world.record().generation).toBe(4)
    expect(calls).toBeLessThan(20)
  })

  test('G9: crash before and after the new generation is committed (docs/journal.md)', async () => {
    for (const when of ['before', 'after'] as const) {
      const executed: string[] = []
      const world = new World()
      const first = world.boot(old(executed))
      await first.runs.start(old(executed), 0, { id: ID })
      await first.runs.drive(ID)
      await first.crash()
      const changed = define((c, e) => sequence(c, e, step('x')), executed, 'restart')
      const dying = world.boot(changed, {
        faults: { fault: ({ batch }) => (batch?.entries?.[0]?.seq === 5 ? { do: 'crash', when } : undefined) },
      })
      await dying.begin()
      expect(world.kinds()).toHaveLength(when === 'before' ? 4 : 5)
      await dying.crash()
      expect(await world.boot(changed).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      expect(world.record().generation).toBe(2)
      expect(world.kinds().filter((kind) => kind === 'generation_started')).toHaveLength(1)
    }
  })

  test('G9: a restarted run keeps its deadline, its seed and its identity', async () => {
    const drawn: string[] = []
    const fn =
      (name: string): Fn =>
      async (ctx) => {
        drawn.push(ctx.uuid())
        await ctx.step(name, () => 0)
        await ctx.sleep('1 hour')
      }
    const world = new World()
    const first = world.boot(define(fn('a'), [], 'restart'))
    await first.runs.start(define(fn('a'), []), 0, { id: ID })
    await first.runs.drive(ID)
    const { incarnation } = world.record()
    await first.crash()
    await world.boot(define(fn('b'), [], 'restart')).runs.drive(ID)
    expect(new Set(drawn).size).toBe(1)
    expect(world.record().incarnation).toBe(incarnation)
  })
})
