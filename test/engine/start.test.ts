import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { workflow } from '../../src/index.ts'
import { anything, errorOf, ID, open, World } from './support.ts'

const idle = workflow({ name: 'idle', input: anything }, async (ctx) => {
  await ctx.sleep('1 day')
})
const quick = workflow({ name: 'quick', input: anything }, async (_ctx, input) => input as unknown)

describe('G23: a start with a token or an id is idempotent', () => {
  test('G23: the same token and input find the same run, over restarts and after its end (B-101, T-031)', async () => {
    const world = new World()
    let process = world.boot(quick)
    const first = await process.runs.start(quick, { a: 1, b: 2 }, { token: 'order-1' })
    expect(first.created).toBe(true)
    expect(await process.runs.start(quick, { b: 2, a: 1 }, { token: 'order-1' })).toEqual({
      id: first.id,
      created: false,
    })
    await process.crash(first.id)
    process = world.boot(quick)
    expect(await process.runs.start(quick, { a: 1, b: 2 }, { token: 'order-1' })).toEqual({
      id: first.id,
      created: false,
    })
    await process.runs.settle(first.id)
    // A finished id is never silently used again: it is found, with its result.
    expect(await process.runs.start(quick, { a: 1, b: 2 }, { token: 'order-1' })).toEqual({
      id: first.id,
      created: false,
    })
    expect((await process.runs.summary(first.id)).output).toEqual({ a: 1, b: 2 })
    expect(world.shelf.runs({ limit: 10 })).toEqual([first.id])
  })

  test('G23: the id is derived from workflow and token, and the token itself is not stored', async () => {
    const process = open([quick, idle])
    const one = await process.runs.start(quick, 0, { token: 'secret-token' })
    const other = await process.runs.start(idle, 0, { token: 'secret-token' })
    const third = await process.runs.start(quick, 0, { token: 'secret-token2' })
    expect(new Set([one.id, other.id, third.id]).size).toBe(3)
    const again = open(quick, { seed: 99 })
    expect((await again.runs.start(quick, 0, { token: 'secret-token' })).id).toBe(one.id)
    for (const id of [one.id, other.id]) {
      const { row, entries } = { row: process.world.row(id), entries: process.world.shelf.open(id).entries(0, 10) }
      for (const bytes of [row.record, ...entries.map((entry) => entry.bytes)])
        expect(new TextDecoder().decode(bytes)).not.toContain('secret-token')
    }
  })

  test.each(['token', 'id'] as const)(
    'G23: the same %s with another input or workflow is an error, and the first run is untouched (B-102)',
    async (by) => {
      const process = open([quick, idle])
      const options = by === 'token' ? { token: 't' } : { id: 'taken' }
      const { id } = await process.runs.start(quick, { n: 1 }, options)
      const before = { row: process.world.row(id), kinds: process.world.kinds(id) }
      for (const input of [{ n: 2 }, { n: '1' }, {}, [1], null, undefined]) {
        expect((await errorOf(() => process.runs.start(quick, input, options))).code).toBe('input_mismatch')
      }
      if (by === 'id')
        expect((await errorOf(() => process.runs.start(idle, { n: 1 }, options))).code).toBe('input_mismatch')
      expect({ row: process.world.row(id), kinds: process.world.kinds(id) }).toEqual(before)
    },
  )

  test('G23: 20 concurrent starts of one id are one run (T-032)', async () => {
    const process = open(quick)
    const started = await Promise.all(Array.from({ length: 20 }, () => process.runs.start(quick, 1, { id: ID })))
    expect(started.filter(({ created }) => created)).toHaveLength(1)
    expect(process.world.kinds()).toEqual(['run_started'])
  })

  test('G23: concurrent starts of one id with two inputs: one wins, the others are told', async () => {
    const process = open(quick)
    const settled = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => process.runs.start(quick, i % 2, { id: ID })),
    )
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(5)
    for (const each of settled)
      if (each.status === 'rejected') expect((each.reason as { code: string }).code).toBe('input_mismatch')
  })

  test('G23: what is compared is the raw input, not what the schema makes of it', async () => {
    let validated = 0
    const w = workflow(
      {
        name: 'w',
        input: z.object({
          n: z.string().transform((text) => {
            validated++
            return Number(text)
          }),
        }),
      },
      async (_ctx, input) => input,
    )
    const process = open(w)
    await process.runs.start(w, { n: '5' }, { id: ID })
    expect(await process.runs.start(w, { n: '5' }, { id: ID })).toMatchObject({ created: false })
    expect((await errorOf(() => process.runs.start(w, { n: '5.0' }, { id: ID }))).code).toBe('input_mismatch')
    expect(validated).toBe(1)
    await process.runs.settle(ID)
    const summary = await process.runs.summary(ID)
    expect([summary.input, summary.output]).toEqual([{ n: '5' }, { n: 5 }])
    expect(validated).toBe(1)
  })

  test('G23: the answer of a start is lost: repeated with its token it is the same run, whatever had happened', async () => {
    for (const when of ['before', 'after'] as const) {
      let isLost = true
      const process = open(quick, {
        faults: {
          fault: ({ batch }) => (isLost && batch?.expect.kind === 'absent' ? { do: 'unknown', when } : undefined),
        },
      })
      let first: string | undefined
      try {
        first = (await process.runs.start(quick, 1, { token: 't' })).id
      } catch (error) {
        expect(error).toMatchObject({ code: 'store_unavailable', retryable: true })
      }
      expect(first === undefined).toBe(when === 'before')
      isLost = false
      const again = await process.runs.start(quick, 1, { token: 't' })
      expect(again.created).toBe(when === 'before')
      expect(process.world.shelf.runs({ limit: 10 })).toEqual([again.id])
    }
  })

  test.each(['before', 'after'] as const)(
    'G23: a crash %s the commit of a start leaves all of it or nothing (T-030)',
    async (when) => {
      const world = new World()
      const dying = world.boot(quick, {
        faults: { fault: ({ batch }) => (batch?.expect.kind === 'absent' ? { do: 'crash', when } : undefined) },
      })
      void dying.runs.start(quick, 1, { id: ID })
      await dying.idle()
      await dying.crash()
      const process = world.boot(quick)
      if (when === 'before') expect(await process.runs.drive(ID)).toEqual({ kind: 'absent' })
      else {
        expect(world.row().wakeAt).toBe(dying.now)
        expect(world.shelf.due(10)).toEqual([{ runId: ID, wakeAt: dying.now }])
      }
      expect((await process.runs.start(quick, 1, { id: ID })).created).toBe(when === 'before')
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    },
  )

  test('G23: a deleted run that is started again shares nothing with the old one (T-035, B-035, 5.2 no. 12)', async () => {
    const keys: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('s', (call) => {
        keys.push(call.idempotencyKey)
      })
      return ctx.uuid()
    })
    const world = new World()
    const process = world.boot(w)
    const first = await process.runs.run(w, 0, { id: ID })
    const { incarnation } = world.record()
    await process.crash()
    world.shelf.open(ID).destroy()
    const again = world.boot(w)
    expect(await again.runs.drive(ID)).toEqual({ kind: 'absent' })
    const second = await again.runs.run(w, 0, { id: ID })
    expect(world.record().incarnation).not.toBe(incarnation)
    expect(second.output).not.toBe(first.output)
    expect(new Set(keys).size).toBe(2)
  })
})

describe('what a start accepts', () => {
  test('bad input, ids, tokens and options are typed errors, and nothing is written', async () => {
    const strict = workflow({ name: 'strict', input: z.object({ n: z.number() }) }, async () => 1)
    const process = open([strict, quick])
    const cyclic: Record<string, unknown> = {}
    cyclic['self'] = cyclic
    const attempts: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['input_invalid', () => process.runs.start(strict, { n: 'x' as never })],
      ['input_invalid', () => process.runs.start(strict, undefined as never)],
      ['not_serializable', () => process.runs.start(quick, { fn: () => 1 })],
      ['not_serializable', () => process.runs.start(quick, cyclic)],
      ['not_serializable', () => process.runs.start(quick, { deep: [Symbol('s')] })],
      ...['', ' ', 'a/b', 'a b', '../x', 'é', 'x'.repeat(129), 'a\n', 5, null].map(
        (id) => ['invalid_id', () => process.runs.start(quick, 0, { id: id as never })] as const,
      ),
      ...['', 'x'.repeat(257), 5, null].map(
        (token) => ['invalid_token', () => process.runs.start(quick, 0, { token: token as never })] as const,
      ),
      ['invalid_duration', () => process.runs.start(quick, 0, { delay: 'soon' as never })],
      ['invalid_duration', () => process.runs.start(quick, 0, { delay: -1 })],
      ['invalid_argument', () => process.runs.start(quick, 0, { tags: 'x' as never })],
      ['invalid_argument', () => process.runs.start(quick, 0, { tags: [''] })],
      ['invalid_argument', () => process.runs.start(quick, 0, { tags: [5 as never] })],
      ['invalid_argument', () => process.runs.start(quick, 0, { metadata: [] as never })],
      ['invalid_argument', () => process.runs.start(quick, 0, { metadata: { a: 1 as never } })],
      ['reserved_name', () => process.runs.start(quick, 0, { metadata: { 'stepwell.x': '1' } })],
    ]
    for (const [code, start] of attempts) expect((await errorOf(start)).code, String(start)).toBe(code)
    expect(process.world.shelf.runs({ limit: 10 })).toEqual([])
  })

  test('the longest id, and ids that are prefixes of each other, are runs of their own (T-033, B-145)', async () => {
    const process = open(quick)
    const ids = ['a', 'a.', 'a.b', 'A', 'a:b', 'a~', 'a-b_c', '.', '..', 'x'.repeat(128), '0']
    for (const [i, id] of ids.entries()) await process.runs.run(quick, i, { id })
    for (const [i, id] of ids.entries()) expect((await process.runs.summary(id)).output).toBe(i)
    expect(process.world.shelf.runs({ limit: 100 })).toEqual([...ids].sort())
  })

  test('ids that are made are distinct (T-034, Y-064)', async () => {
    const process = open(quick)
    const ids = new Set<string>()
    for (let i = 0; i < 500; i++) ids.add((await process.runs.start(quick, 0)).id)
    expect(ids.size).toBe(500)
    for (const id of ids) expect(id).toMatch(/^r-[0-9a-f]{32}$/)
  })

  test('tags and metadata are kept and given to the function', async () => {
    const w = workflow(
      { name: 'w', input: anything, version: 3, replays: [2], timeout: '1 day' },
      async (ctx) => ctx.info,
    )
    const process = open(w)
    const done = await process.runs.run(w, 0, { id: ID, tags: ['a', 'b'], metadata: { k: 'v' } })
    expect(done).toMatchObject({ tags: ['a', 'b'], metadata: { k: 'v' }, version: 3, workflow: 'w', generation: 1 })
    expect(done.output).toEqual({
      runId: ID,
      workflow: 'w',
      version: 3,
      generation: 1,
      createdAt: process.now,
      deadline: process.now + 86_400_000,
      tags: ['a', 'b'],
      metadata: { k: 'v' },
      host: 'test',
    })
  })

  test('validation may be asynchronous, and happens once, before the commit', async () => {
    let validated = 0
    const schema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: async (value: unknown) => {
          validated++
          await null
          return { value: { parsed: value } }
        },
      },
    }
    const w = workflow({ name: 'w', input: schema }, async (ctx, input) => {
      await ctx.sleep('1 day')
      return input as unknown
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 1 as never, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const again = world.boot(w)
    await again.runs.settle(ID)
    expect((await again.runs.summary(ID)).output).toEqual({ parsed: 1 })
    expect(validated).toBe(1)
  })

  test('the input that the function gets is a copy: what is changed afterwards is not seen', async () => {
    const input = { list: [1] }
    const w = workflow({ name: 'w', input: anything }, async (_ctx, given: { list: number[] }) => given.list)
    const process = open(w)
    await process.runs.start(w, input, { id: ID })
    input.list.push(2)
    await process.runs.settle(ID)
    expect((await process.runs.summary(ID)).output).toEqual([1])
  })

  test('definitions are checked when they are made', async () => {
    const { registry } = await import('../../src/define.ts')
    const bad: readonly (readonly [string, () => unknown])[] = [
      ['invalid_argument', () => workflow({ name: '', input: anything }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'a b', input: anything }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'x'.repeat(65), input: anything }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'w', input: anything, version: 0 }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'w', input: anything, version: 1.5 }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'w', input: anything, replays: [-1] }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'w', input: {} as never }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'w', input: anything }, undefined as never)],
      ['invalid_argument', () => workflow({ name: null as never, input: anything }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'w', input: anything, output: {} as never }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'w', input: anything, signals: { go: 'string' as never } }, () => 1)],
      ['invalid_argument', () => workflow({ name: 'w', input: anything, onDivergence: 'ignore' as never }, () => 1)],
      ['invalid_duration', () => workflow({ name: 'w', input: anything, timeout: 'long' as never }, () => 1)],
      ['invalid_duration', () => workflow({ name: 'w', input: anything, grace: -1 }, () => 1)],
      ['invalid_argument', () => registry([quick, workflow({ name: 'quick', input: anything }, () => 1)])],
    ]
    for (const [code, make] of bad) expect((await errorOf(make)).code, String(make)).toBe(code)
  })
})

describe('versions', () => {
  const make = (version: number, replays: number[] = []) =>
    workflow({ name: 'w', version, replays, input: anything }, async (ctx) => {
      await ctx.sleep('1 day')
      return ctx.info.version
    })

  test('a run whose version the code neither has nor replays is blocked, and goes on when one is deployed that does', async () => {
    const world = new World()
    const first = world.boot(make(1))
    await first.runs.start(make(1), 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const newer = world.boot(make(3, [2]))
    expect(await newer.runs.drive(ID)).toMatchObject({
      kind: 'blocked',
      blocked: { code: 'unknown_version', curable: true },
    })
    await newer.crash()
    const both = world.boot(make(3, [1, 2]))
    expect(await both.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await both.runs.summary(ID)).output).toBe(1)
  })

  test('a run of a workflow that nobody registered is blocked and kept (Y-073)', async () => {
    const world = new World()
    const first = world.boot(make(1))
    await first.runs.start(make(1), 0, { id: ID })
    await first.crash()
    const other = world.boot(quick)
    expect(await other.runs.drive(ID)).toMatchObject({
      kind: 'blocked',
      blocked: { code: 'not_registered', curable: true },
    })
    expect(world.kinds()).toEqual(['run_started'])
    await other.crash()
    expect(await world.boot(make(1)).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })
})
