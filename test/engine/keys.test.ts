import { describe, expect, test } from 'vitest'
import { canonicalBytes } from '../../src/codec.ts'
import type { Ctx } from '../../src/context.ts'
import { fingerprint } from '../../src/engine/key.ts'
import { blake3 } from '../../src/hash.ts'
import { workflow } from '../../src/index.ts'
import { anything, ID, open, World } from './support.ts'

/** The keys of the outcomes, in journal order. */
async function keysOf(fn: (ctx: Ctx) => unknown): Promise<readonly string[]> {
  const process = open(
    workflow({ name: 'w', input: anything }, async (ctx) => fn(ctx as unknown as Ctx)),
    { stepsUseHostTime: true },
  )
  const definition = workflow({ name: 'w', input: anything }, async () => {})
  const end = await process.run(definition)
  expect(end).toEqual({ kind: 'ended', status: 'completed' })
  return process.world
    .entries()
    .filter(({ kind }) => kind === 'step_completed' || kind === 'timer_fired')
    .map(({ key }) => key as string)
}

describe('G7: keys come from call order inside a scope, never from completion order', () => {
  test('G7: 8 parallel steps whose delays are reversed keep the numbers of their calls', async () => {
    const values: Record<string, number> = {}
    const fan = workflow({ name: 'fan', input: anything }, async (ctx) =>
      Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          ctx.step(
            's',
            (call) =>
              new Promise<number>((resolve) => {
                process.host.timer((8 - i) * 10, () => {
                  values[call.key] = i
                  resolve(i)
                })
              }),
          ),
        ),
      ),
    )
    const process = open(fan, { stepsUseHostTime: true })
    await process.run(fan)
    expect((await process.runs.summary(ID)).output).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(process.world.kinds().slice(1, -1)).toEqual(
      ['s#7', 's#6', 's#5', 's#4', 's#3', 's#2', 's#1', 's'].map((key) => `step_completed ${key}`),
    )
    expect(values).toEqual({ s: 0, 's#1': 1, 's#2': 2, 's#3': 3, 's#4': 4, 's#5': 5, 's#6': 6, 's#7': 7 })
  })

  test('G7: killed after 4 of 8, the other 4 run again under the same keys and the values stay', async () => {
    const executed: string[] = []
    const fan = (host: () => { timer(ms: number, run: () => void): unknown }) =>
      workflow({ name: 'fan', input: anything }, async (ctx) =>
        ctx.map('m', [0, 1, 2, 3, 4, 5, 6, 7], { concurrency: 8 }, (c, i) =>
          c.step(
            's',
            (call) =>
              new Promise<string>((resolve) => {
                executed.push(call.key)
                host().timer((8 - i) * 10, () => {
                  resolve(`${call.key}=${i}`)
                })
              }),
          ),
        ),
      )
    const world = new World()
    let current = world.boot(fan(() => current.host))
    await current.runs.start(
      fan(() => current.host),
      0,
      { id: ID },
    )
    await current.begin()
    for (let i = 0; i < 4; i++) await current.pass(10)
    expect(world.entries()).toHaveLength(5)
    await current.crash()
    current = world.boot(
      fan(() => current.host),
      { stepsUseHostTime: true },
    )
    await current.runs.settle(ID)
    expect((await current.runs.summary(ID)).output).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((i) => `m[${i}]/s=${i}`))
    expect(executed.slice(8)).toEqual([0, 1, 2, 3].map((i) => `m[${i}]/s`))
  })

  test('G7: 100 concurrent steps: 100 values, each under its own key, each once (Z-009)', async () => {
    let executed = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          ctx.step('s', async () => {
            executed++
            for (let k = 0; k < i % 13; k++) await undefined
            return i
          }),
        ),
      ),
    )
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toEqual(Array.from({ length: 100 }, (_, i) => i))
    const keys = process.world
      .entries()
      .filter(({ kind }) => kind === 'step_completed')
      .map(({ key }) => key)
    expect([keys.length, new Set(keys).size, executed]).toEqual([100, 100, 100])
  })

  test('G7: the same name counts in each scope for itself', async () => {
    expect(
      await keysOf(async (ctx) => {
        await ctx.step('s', () => 0)
        await ctx.scope('in', async (c) => {
          await c.step('s', () => 0)
          await c.scope('deep', (d) => d.step('s', () => 0))
          await c.step('s', () => 0)
        })
        await ctx.scope('in', (c) => c.step('s', () => 0))
        await ctx.all({ x: (c) => c.step('s', () => 0), y: (c) => c.step('s', () => 0) })
        await ctx.all({ x: (c) => c.step('s', () => 0) })
        await ctx.map('m', ['p', 'q'], { key: (item) => item, concurrency: 1 }, (c) => c.step('s', () => 0))
        await ctx.cleanup((c) => c.step('s', () => 0))
        await ctx.step('s', () => 0)
      }),
    ).toEqual([
      's',
      'in/s',
      'in/deep/s',
      'in/s#1',
      'in#1/s',
      'all/x/s',
      'all/y/s',
      'all#1/x/s',
      'm[p]/s',
      'm[q]/s',
      'cleanup/s',
      's#1',
    ])
  })

  test('G7: a plain closure makes no scope', async () => {
    const helper = (ctx: Ctx): Promise<number> => ctx.step('s', () => 0)
    expect(
      await keysOf(async (ctx) => {
        await helper(ctx)
        await helper(ctx)
      }),
    ).toEqual(['s', 's#1'])
  })

  test('G7: the caller\'s own key makes calls of a loop nameable, and counts for itself', async () => {
    expect(
      await keysOf(async (ctx) => {
        for (const key of ['b', 'a', 'b']) await ctx.step('s', () => 0, { key })
        await ctx.step('s', () => 0)
      }),
    ).toEqual(['s[b]', 's[a]', 's[b]#1', 's'])
  })

  test('G7: sleeps are counted like steps', async () => {
    expect(
      await keysOf(async (ctx) => {
        await ctx.sleep(1)
        await ctx.sleepUntil(ctx.now())
        await ctx.sleep(1)
        await ctx.step('ctx.sleep', () => 0)
      }),
    ).toEqual(['ctx.sleep', 'ctx.sleepUntil', 'ctx.sleep#1', 'ctx.sleep#2'])
  })

  test('G7: what separates the parts of a key is escaped, so no two paths give one key', async () => {
    const keys = await keysOf(async (ctx) => {
      await ctx.step('a/b', () => 0)
      await ctx.scope('a', (c) => c.step('b', () => 0))
      await ctx.step('s#1', () => 0)
      await ctx.step('s', () => 0)
      await ctx.step('s', () => 0)
      await ctx.step('k[x]', () => 0)
      await ctx.step('k', () => 0, { key: 'x' })
      await ctx.step('k%5bx%5d', () => 0)
      await ctx.step('%', () => 0)
      await ctx.step('%25', () => 0)
      await ctx.scope('all', (c) => c.scope('x', (d) => d.step('s', () => 0)))
      await ctx.all({ x: (c) => c.step('s', () => 0) })
      await ctx.map('m', ['a][b', 'a'], { key: (item) => item }, (c) => c.step('s', () => 0))
      await ctx.scope('m[a]', (c) => c.step('s', () => 0))
      await ctx.map('m[a]/x', ['y'], { key: (item) => item }, (c) => c.step('s', () => 0))
    })
    expect(new Set(keys).size).toBe(keys.length)
    expect(keys.slice(0, 3)).toEqual(['a%2fb', 'a/b', 's%231'])
  })

  test.each([
    ['é', 'e\u0301'],
    ['日本語', '日本'],
    ['😀', '😁'],
    ['\u202e', '\u202d'],
    ['a\u0000', 'a'],
    ['ß', 'SS'],
    [' a', 'a'],
    ['\ufeffa', 'a'],
  ])('G7: the names %j and %j are two, are stored as they are and replay', async (one, other) => {
    const executed: string[] = []
    const both = workflow({ name: 'both', input: anything }, async (ctx) => {
      const first = await ctx.step(one, () => {
        executed.push('one')
        return 1
      })
      const second = await ctx.step(other, () => {
        executed.push('other')
        return 2
      })
      await ctx.scope(one, (c) =>
        c.step(
          other,
          () => {
            executed.push('inner')
            return 3
          },
          { key: one },
        ),
      )
      await ctx.sleep('1 hour')
      return [first, second]
    })
    const process = open(both)
    expect(await process.run(both)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual([1, 2])
    expect(executed).toEqual(['one', 'other', 'inner'])
    expect(
      process.world
        .entries()
        .slice(1, 4)
        .map(({ key }) => key),
    ).toEqual([one, other, `${one}/${other}[${one}]`])
  })
})

/** The idempotency key of each execution, as `label=key`. */
function collector(): {
  readonly keys: Map<string, string[]>
  readonly note: (label: string) => (call: { idempotencyKey: string }) => number
} {
  const keys = new Map<string, string[]>()
  return {
    keys,
    note: (label) => (call) => {
      keys.set(label, [...(keys.get(label) ?? []), call.idempotencyKey])
      return 0
    },
  }
}

async function idempotencyKeys(
  fn: (ctx: Ctx, note: ReturnType<typeof collector>['note']) => unknown,
  seed = 1,
): Promise<Record<string, string>> {
  const { keys, note } = collector()
  const process = open(
    workflow({ name: 'w', input: anything }, async (ctx) => fn(ctx as unknown as Ctx, note)),
    { seed },
  )
  expect(await process.run(workflow({ name: 'w', input: anything }, () => 0))).toEqual({
    kind: 'ended',
    status: 'completed',
  })
  for (const [label, all] of keys) expect(all, label).toHaveLength(1)
  return Object.fromEntries([...keys].map(([label, all]) => [label, all[0] as string]))
}

function expectDistinct(keys: Record<string, string>, count: number): void {
  expect(Object.keys(keys)).toHaveLength(count)
  expect(new Set(Object.values(keys)).size).toBe(count)
  for (const key of Object.values(keys)) expect(key).toMatch(/^[0-9a-f]{40}$/)
}

describe('G15: idempotency keys of steps', () => {
  test('G15: equal over attempts, over a crash, and over generations', async () => {
    const { keys, note } = collector()
    const world = new World()
    const make = (first: string) =>
      workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
        await ctx.step(first, () => 0)
        await ctx.step(
          'pay',
          (call) => {
            note('pay')(call)
            if (call.attempt < 3) throw new Error('busy')
            return 0
          },
          { input: { cents: 1 }, retry: { limit: 5, delay: '1 minute' } },
        )
        await ctx.sleep('1 hour')
      })
    const before = world.boot(make('old'))
    await before.runs.start(make('old'), 0, { id: ID })
    for (let i = 0; i < 2; i++) {
      const end = await before.runs.drive(ID)
      if (end.kind === 'parked' && end.wakeAt !== null) before.host.advanceTo(end.wakeAt)
    }
    await before.crash()
    const again = world.boot(make('old'))
    await again.runs.drive(ID)
    await again.crash()
    // Another first step: the journal no longer fits, and under `restart` the next generation begins.
    const restarted = world.boot(make('new'))
    expect(await restarted.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(world.record().generation).toBe(2)
    const all = keys.get('pay') ?? []
    expect(all.length).toBeGreaterThanOrEqual(4)
    expect(new Set(all).size).toBe(1)
  })

  test('G15: they differ between runs, also when an id is used again', async () => {
    const one = await idempotencyKeys((ctx, note) => ctx.step('s', note('s')), 1)
    const two = await idempotencyKeys((ctx, note) => ctx.step('s', note('s')), 2)
    expect(one['s']).not.toBe(two['s'])
  })

  test('G15: they differ by name, own key, declared input, scope and use', async () => {
    expectDistinct(
      await idempotencyKeys(async (ctx, note) => {
        await ctx.step('s', note('plain'))
        await ctx.step('t', note('name'))
        await ctx.step('s', note('own key'), { key: 'k' })
        await ctx.step('s', note('input'), { input: 1 })
        await ctx.step('s', note('other input'), { input: 2 })
        await ctx.step('s', note('no input but null'), { input: null })
        await ctx.step('s', note('used again'))
        await ctx.step('s', note('input used again'), { input: 1 })
        await ctx.scope('x', (c) => c.step('s', note('scope')))
        await ctx.scope('y', (c) => c.step('s', note('other scope')))
      }),
      10,
    )
  })

  test('G15: its parts are length-prefixed: what one part loses another does not gain', async () => {
    expectDistinct(
      await idempotencyKeys(async (ctx, note) => {
        await ctx.step('ab', note('ab, c'), { key: 'c' })
        await ctx.step('a', note('a, bc'), { key: 'bc' })
        await ctx.step('abc', note('abc'))
        await ctx.scope('a', (c) => c.step('bc', note('a/bc')))
        await ctx.scope('ab', (c) => c.step('c', note('ab/c')))
        await ctx.step('n', note('input "1"'), { input: '1' })
        await ctx.step('n', note('input 1'), { input: 1 })
        await ctx.step('n', note('input [1]'), { input: [1] })
      }),
      8,
    )
  })

  test('G15: the uses of a scope\'s label are told apart: two scopes of one name are two payments', async () => {
    expectDistinct(
      await idempotencyKeys(async (ctx, note) => {
        await ctx.scope('order', (c) => c.step('pay', note('first scope')))
        await ctx.scope('order', (c) => c.step('pay', note('second scope')))
        await ctx.scope('order', (c) => c.step('pay', note('third scope')))
      }),
      3,
    )
    expectDistinct(
      await idempotencyKeys(async (ctx, note) => {
        await ctx.scope('x', (c) => c.step('pay', note('scope')))
        await ctx.all({ x: (c) => c.step('pay', note('branch of all')) })
        await ctx.race({ x: (c) => c.step('pay', note('branch of race')) })
        await ctx.settled({ x: (c) => c.step('pay', note('branch of settled')) })
      }),
      4,
    )
    expectDistinct(
      await idempotencyKeys(async (ctx, note) => {
        await ctx.map('m', [1], {}, (c) => c.step('pay', note('map')))
        await ctx.map('m', [1], {}, (c) => c.step('pay', note('map again')))
        await ctx.scope('x', (c) => c.scope('y', (d) => d.step('pay', note('x/y'))))
        await ctx.all({ x: (c) => c.scope('y', (d) => d.step('pay', note('all x/y'))) })
        await ctx.all({ x: (c) => c.scope('y', (d) => d.step('pay', note('all x/y again'))) })
      }),
      5,
    )
  })

  test('G15: a permuted loop changes no key', async () => {
    const loop = (order: readonly string[]) =>
      idempotencyKeys(async (ctx, note) => {
        for (const item of order) await ctx.step('charge', note(`by key ${item}`), { key: item })
        for (const item of order) await ctx.step('bill', note(`by input ${item}`), { input: { item } })
        await ctx.map('m', order, { key: (item) => item }, (c, item) => c.step('send', note(`by item ${item}`)))
      })
    const straight = await loop(['a', 'b', 'c', 'd'])
    expectDistinct(straight, 12)
    expect(await loop(['d', 'b', 'a', 'c'])).toEqual(straight)
  })

  test('G15: an extended loop and inserted code change no key', async () => {
    const plain = await idempotencyKeys(async (ctx, note) => {
      await ctx.step('charge', note('a'), { key: 'a' })
      await ctx.step('charge', note('none'))
      await ctx.scope('x', (c) => c.step('charge', note('x')))
    })
    const grown = await idempotencyKeys(async (ctx, note) => {
      await ctx.step('inserted', note('inserted'))
      await ctx.step('charge', note('inserted, with a key'), { key: '0' })
      await ctx.step('charge', note('inserted, with an input'), { input: 7 })
      await ctx.step('charge', note('a'), { key: 'a' })
      await ctx.sleep(5)
      await ctx.scope('w', (c) => c.step('charge', note('w')))
      await ctx.step('charge', note('none'))
      await ctx.all({ z: (c) => c.step('charge', note('z')) })
      await ctx.scope('x', (c) => c.step('charge', note('x')))
    })
    for (const label of ['a', 'none', 'x']) expect(grown[label], label).toBe(plain[label])
    expectDistinct(grown, 8)
  })

  test('G15: the order of an input\'s fields is no difference (T-045)', async () => {
    const one = await idempotencyKeys((ctx, note) =>
      ctx.step('s', note('s'), { input: { a: 1, b: [new Date(5), { x: 1, y: 2 }] } }),
    )
    const two = await idempotencyKeys((ctx, note) =>
      ctx.step('s', note('s'), { input: { b: [new Date(5), { y: 2, x: 1 }], a: 1 } }),
    )
    expect(one).toEqual(two)
  })
})

describe('G9: fingerprints', () => {
  /** As docs/journal.md describes it, in the plainest way. */
  const plain = (kind: number, key: string, input: unknown): Uint8Array => {
    const [text, declared] = [new TextEncoder().encode(key), input === undefined ? undefined : canonicalBytes(input)]
    const length = (n: number): number[] => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24]
    return blake3(Uint8Array.from([kind, ...length(text.length), ...text, ...(declared === undefined ? [0] : [1, ...length(declared.length), ...declared])])).slice(0, 16)
  }

  test.each(['s', '', 'é', 'Ā', '\u0000', 'a\u007f\u0080', '鍵', '🔑', 'é'.repeat(200), 'k'.repeat(255), 'k'.repeat(5000), 'aé'.repeat(3000)])('G9: of the key %j are those of its UTF-8, with and without input, whatever was hashed before', (key) => {
    for (const input of [undefined, null, '', 'é', { b: [1, 'x'.repeat(70_000)] }]) {
      const bytes = input === undefined ? undefined : canonicalBytes(input)
      expect(fingerprint('step', key, bytes)).toEqual(plain(1, key, input))
      expect(fingerprint('money', key, bytes)).toEqual(plain(18, key, input))
    }
  })

  test('G9: texts that agree in the low bytes of their characters are different calls', () => {
    const found = ['\u0041', '\u0141', '\u4141', 'é', 'e\u0301'].map((key) => fingerprint('step', key, undefined).join())
    expect(new Set(found).size).toBe(found.length)
  })
})
