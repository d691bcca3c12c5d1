import { describe, expect, test } from 'vitest'
import { BlobRef } from '../../src/blob-ref.ts'
import { readBlob, sweepBlobs, writeBlob } from '../../src/blob.ts'
import { encode } from '../../src/codec.ts'
import { hex } from '../../src/hash.ts'
import { workflow } from '../../src/index.ts'
import { limits } from '../../src/limits.ts'
import type { RunStore } from '../../src/store/store.ts'
import { refusals, values } from '../contract/codec-values.ts'
import { anything, errorOf, ID, open, World } from './support.ts'

describe('G26: the live run sees the decoded copy, as replay will', () => {
  test.each(Object.entries(values))('G26: %s', async (_name, value) => {
    const seen: unknown[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx, input: unknown) => {
      const out = await ctx.step('s', () => value)
      const again = await ctx.step('t', async () => out)
      seen.push([input, out, again])
      await ctx.sleep('1 hour')
      return out
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, value, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const second = world.boot(w)
    await second.runs.settle(ID)
    const output = (await second.runs.summary(ID)).output
    const [live, replayed] = seen as [unknown[], unknown[]]
    expect(replayed).toStrictEqual(live)
    // The same to the byte, which tells what `toStrictEqual` does not: -0, NaN payloads, the order of keys.
    const bytes = hex(encode(live[0]))
    for (const each of [...live, ...replayed, output]) expect(hex(encode(each))).toBe(bytes)
  })

  test('G26: it is a copy: what the step keeps and changes later is not seen, and two awaits of it see one', async () => {
    const kept = { list: [1], when: new Date(5) }
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const seen: unknown[] = []
      // The first outcome of a drive is delivered at quiescence, the second one prompt.
      for (const name of ['settled', 'prompt']) {
        const promise = ctx.step(name, () => kept)
        const [a, b] = await Promise.all([promise, promise])
        seen.push(a === kept, a === b, a.list !== kept.list, a.when)
      }
      kept.list.push(2)
      return [...seen, await ctx.step('last', () => 1)]
    })
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toEqual([
      false,
      true,
      true,
      new Date(5),
      false,
      true,
      true,
      new Date(5),
      1,
    ])
    expect(process.world.entries().map(({ prompt }) => prompt)).toEqual([false, false, true, true, false])
  })

  test('G26: class instances of the user\'s are refused, and data shaped like our markers comes back as it was (5.2 no. 17, B-147)', async () => {
    const shaped = {
      $: ['date', 1],
      nested: [{ $: ['undefined'] }, { $: 5 }, { $: ['blob', 'x', 1, 2] }],
      'a.b': 1,
      a: { b: 2 },
    }
    const w = workflow({ name: 'w', input: anything }, async (ctx, input: unknown) => [
      input,
      await ctx.step('s', () => shaped),
    ])
    const process = open(w)
    await process.runs.start(w, shaped, { id: ID })
    await process.runs.settle(ID)
    expect((await process.runs.summary(ID)).output).toEqual([shaped, shaped])
    expect((await process.runs.summary(ID)).input).toEqual(shaped)
  })

  test('G26: rejections pass through it too: the live error is what the replayed one is', async () => {
    class Declined extends Error {
      override name = 'Declined'
      code = 'card_declined'
      constructor() {
        super('the card was declined', { cause: new RangeError('limit') })
      }
    }
    const seen: unknown[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (const [name, thrown] of [
        ['error', new Declined()],
        ['aggregate', new AggregateError([new Error('a'), new TypeError('b')], 'both')],
        ['text', 'just text'],
        ['object', { a: 1 }],
        ['nothing', undefined],
      ] as const) {
        const error = await ctx
          .step(
            name,
            () => {
              throw thrown
            },
            { retry: { limit: 0 } },
          )
          .catch((reason: unknown) => reason)
        seen.push([
          hex(encode(error)),
          (error as Error).message,
          (error as Error).cause,
          (error as { code: string }).code,
        ])
      }
      await ctx.sleep('1 hour')
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const live = seen.splice(0)
    await world.boot(w).runs.drive(ID)
    expect(seen).toEqual(live)
    expect(live).toHaveLength(5)
    expect(live[0]).toMatchObject([
      expect.any(String),
      'step "error" failed: the card was declined',
      { name: 'Declined', code: 'card_declined', cause: { name: 'RangeError' } },
      'step_failed',
    ])
    expect((live[0] as [string, string, Error])[2]).not.toBeInstanceOf(Declined)
    expect((live[1] as [string, string, AggregateError])[2].errors.map((error: Error) => error.name)).toEqual([
      'Error',
      'TypeError',
    ])
    expect((live[2] as string[])[1]).toBe('step "text" failed: just text')
  })

  test('G26: errors of attempts are stored as data, with hostile ones and cyclic details (B-071)', async () => {
    const cyclic: Record<string, unknown> = { n: 1n }
    cyclic['self'] = cyclic
    const hostile: readonly unknown[] = [
      Object.assign(new Error('cyclic'), { details: cyclic }),
      Object.defineProperty(new Error('x'), 'message', {
        get() {
          throw new Error('hostile')
        },
      }),
      new Proxy(
        {},
        {
          get() {
            throw new Error('hostile')
          },
        },
      ),
      Symbol('s'),
      () => 1,
      null,
      Object.assign(new Error('x'.repeat(100_000))),
    ]
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (const [i, thrown] of hostile.entries())
        await ctx
          .step(
            `s${i}`,
            () => {
              throw thrown
            },
            { retry: { limit: 1, delay: 0 } },
          )
          .catch(() => {})
      return 'survived'
    })
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toBe('survived')
    expect(process.world.kinds().filter((kind) => kind.startsWith('step_failed'))).toHaveLength(hostile.length)
  })

  test.each(Object.entries(refusals))(
    'G26: a step that gives %s fails, naming the path; nothing else is written',
    async (_name, [value, path, what]) => {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', () => [value]))
      const process = open(w)
      expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
      const error = (await process.runs.summary(ID)).error as { code: string; cause: { code: string; message: string } }
      expect(error).toMatchObject({
        code: 'step_failed',
        cause: { code: expect.stringMatching(/not_serializable|limit_exceeded|payload_too_large/) as unknown },
      })
      // A long path is cut, and not in the same place.
      expect(error.cause.message).toContain(path.replace('$', '$[0]').slice(0, 60))
      expect(error.cause.message).toContain(what)
      expect(process.world.kinds()).toEqual(['run_started', 'step_failed s', 'run_failed'])
    },
  )

  test('G26: a declared input that cannot be encoded is a usage error, before anything is written', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', () => 1, { input: { a: { b: () => 1 } } }),
    )
    const process = open(w)
    await process.run(w)
    expect(process.world.kinds()[1]).not.toContain('step_')
    expect((await process.runs.summary(ID)).error).toMatchObject({
      code: 'not_serializable',
      message: expect.stringContaining('a.b') as unknown,
    })
  })
})

describe('G27: large values are blobs beside the journal', () => {
  const large = (n: number, fill = 'x'): string => fill.repeat(n)

  test('G27: above the inline limit it is in chunks, referred to by the commit, and replays (B-140)', async () => {
    const seen: number[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx, input: string) => {
      const value = await ctx.step('s', () => ({ text: large(5_000_000), bytes: new Uint8Array(300_000).fill(7) }))
      seen.push(value.text.length, value.bytes.length, input.length)
      await ctx.sleep('1 hour')
      return value
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, large(100_000, 'i'), { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const again = world.boot(w)
    expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    // Live, opened again, and woken.
    expect(seen).toEqual([1, 2, 3].flatMap(() => [5_000_000, 300_000, 100_000]))
    const summary = await again.runs.summary(ID)
    expect((summary.output as { text: string }).text).toHaveLength(5_000_000)
    expect(summary.input).toHaveLength(100_000)
    const entries = world.entries()
    expect(entries.map(({ blob }) => blob)).toEqual([true, true, false, false, true])
    for (const { payload } of entries) expect(payload.length).toBeLessThan(300)
    const store = world.shelf.open(ID)
    for (const key of store.keys('chunk', { limit: 1000 }))
      expect((store.row('chunk', key) as Uint8Array).length).toBeLessThanOrEqual(49_152)
    // Equal bytes are stored once: the output is the step's value.
    expect(store.keys('manifest', { limit: 10 })).toHaveLength(2)
  })

  test.each([-1, 0, 1])('G27: at the border of the inline limit (%i)', async (over) => {
    const { inlineBytes } = limits()
    // A text of n characters is n + 3 bytes: the form, and two quotes.
    const w = workflow(
      { name: 'w', input: anything },
      async (ctx) => (await ctx.step('s', () => large(inlineBytes - 3 + over))).length,
    )
    const process = open(w)
    await process.run(w)
    expect(process.world.entries()[1]?.blob).toBe(over > 0)
    expect((await process.runs.summary(ID)).output).toBe(inlineBytes - 3 + over)
  })

  const damages: readonly (readonly [string, 'blob_missing' | 'blob_mismatch', (store: RunStore) => void, RegExp])[] = [
    [
      'a chunk was changed',
      'blob_mismatch',
      (store) => {
        damage(store, 'chunk', (bytes) => {
          bytes[10] = (bytes[10] as number) ^ 1
          return bytes
        })
      },
      /chunk \d+ was changed/,
    ],
    [
      'a chunk was cut',
      'blob_mismatch',
      (store) => {
        damage(store, 'chunk', (bytes) => bytes.subarray(1))
      },
      /chunk \d+ was changed/,
    ],
    [
      'a chunk is missing',
      'blob_missing',
      (store) => {
        damage(store, 'chunk', () => null)
      },
      /chunk \d+ is missing/,
    ],
    [
      'the manifest is missing',
      'blob_missing',
      (store) => {
        damage(store, 'manifest', () => null)
      },
      /list of chunks is missing/,
    ],
    [
      'the manifest was changed',
      'blob_mismatch',
      (store) => {
        damage(store, 'manifest', (bytes) => {
          bytes[60] = (bytes[60] as number) ^ 1
          return bytes
        })
      },
      /list of chunks was changed/,
    ],
    [
      'the manifest is another one',
      'blob_mismatch',
      (store) => {
        damage(store, 'manifest', () => encode({ size: 1, chunkSize: 1, hashes: new Uint8Array(32), createdAt: 0 }))
      },
      /list of chunks was changed/,
    ],
  ]
  for (const [what, code, hurt, said] of damages) {
    test(`G27: ${what}: named, blocked, nothing deleted, another run goes on (B-141)`, async () => {
      let executed = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        const value = await ctx.step('s', () => {
          executed++
          return Array.from({ length: 20_000 }, (_, i) => `line ${i}`)
        })
        await ctx.sleep('1 hour')
        await ctx.step('next', () => {
          executed++
        })
        return value.length
      })
      const world = new World()
      const first = world.boot(w)
      for (const id of [ID, 'other']) {
        await first.runs.start(w, 0, { id })
        await first.runs.drive(id)
        await first.crash(id)
      }
      hurt(world.shelf.open(ID))
      const before = world.kinds()
      const again = world.boot(w)
      again.host.advance(3_600_000)
      const end = await again.runs.drive(ID)
      expect(end).toMatchObject({ kind: 'blocked', blocked: { code, curable: false } })
      if (end.kind === 'blocked') expect(end.blocked.message).toMatch(said)
      expect(world.kinds()).toEqual(before)
      expect(await again.runs.settle('other')).toEqual({ kind: 'ended', status: 'completed' })
      expect((await again.runs.summary('other')).output).toBe(20_000)
      expect(executed).toBe(3)
    })
  }

  test('G27: the bytes are durable before the reference: a crash in between leaves chunks that nothing refers to, and the step runs again', async () => {
    let executed = 0
    const w = workflow(
      { name: 'w', input: anything },
      async (ctx) =>
        (
          await ctx.step('s', () => {
            executed++
            return large(200_000)
          })
        ).length,
    )
    const world = new World()
    const commits: string[] = []
    const dying = world.boot(w, {
      faults: {
        fault: ({ batch }) => (batch?.entries?.[0]?.seq === 2 ? { do: 'crash', when: 'before' } : undefined),
        committed: (batch) => {
          commits.push(batch.rows?.map(({ table }) => table).join() ?? batch.expect.kind)
        },
      },
    })
    await dying.runs.start(w, 0, { id: ID })
    await dying.begin()
    expect(commits.at(-1)).toBe('chunk,chunk,chunk,chunk,chunk,manifest')
    expect(world.shelf.open(ID).keys('chunk', { limit: 10 })).toHaveLength(3)
    await dying.crash()
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toBe(2)
    expect(world.shelf.open(ID).keys('manifest', { limit: 10 })).toHaveLength(1)
  })

  test('G27: a blob that was swept before its commit is refused by the commit', async () => {
    const w = workflow(
      { name: 'w', input: anything },
      async (ctx) => (await ctx.step('s', () => large(200_000))).length,
    )
    const world = new World()
    const process = world.boot(w, {
      faults: {
        fault: ({ batch }) => {
          if (batch?.entries?.[0]?.seq === 2) damage(world.shelf.open(ID), 'manifest', () => null)
          return undefined
        },
      },
    })
    const end = await process.run(w)
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'blob_missing' } })
    expect(world.kinds()).toEqual(['run_started'])
  })

  test('G27: an unreferenced blob is swept after its time, one that is referred to or new is not', async () => {
    const store = new World().shelf.open(ID)
    const all = limits()
    const old = await writeBlob(store, all, 1000, new Uint8Array(100_000).fill(1))
    const shared = await writeBlob(store, all, 1000, new Uint8Array(120_000).fill(1))
    const used = await writeBlob(store, all, 1000, new Uint8Array(100_000).fill(2))
    const fresh = await writeBlob(store, all, 5000, new Uint8Array(100_000).fill(3))
    expect(await sweepBlobs(store, (hash) => hash === used.hash || hash === shared.hash, 2000)).toBe(1)
    expect((await errorOf(() => readBlob(store, old))).code).toBe('blob_missing')
    for (const [ref, size] of [
      [shared, 120_000],
      [used, 100_000],
      [fresh, 100_000],
    ] as const)
      expect(await readBlob(store, ref)).toHaveLength(size)
    expect(await sweepBlobs(store, () => true, 9000)).toBe(0)
  })

  test('G27: ranges, sizes and shapes of blobs', async () => {
    const store = new World().shelf.open(ID)
    const all = limits({ chunkBytes: 10 })
    for (const size of [0, 1, 9, 10, 11, 95, 100]) {
      const bytes = Uint8Array.from({ length: size }, (_, i) => i)
      const ref = await writeBlob(store, all, 0, bytes)
      expect([ref.size, ref.chunkSize]).toEqual([size, 10])
      expect(await readBlob(store, ref)).toEqual(bytes)
      for (const [offset, length] of [
        [0, 0],
        [0, size],
        [Math.floor(size / 2), size - Math.floor(size / 2)],
        [size, 0],
        [Math.max(0, size - 1), Math.min(1, size)],
      ] as const) {
        expect(await readBlob(store, ref, { offset, length })).toEqual(bytes.subarray(offset, offset + length))
      }
      for (const [offset, length] of [
        [-1, 1],
        [0, size + 1],
        [size + 1, 0],
        [0.5, 1],
        [0, NaN],
        [0, -1],
      ] as const) {
        expect((await errorOf(() => readBlob(store, ref, { offset, length }))).code).toBe('invalid_argument')
      }
      const streamed = await writeBlob(
        store,
        all,
        0,
        (async function* () {
          for (let i = 0; i < size; i += 7) yield bytes.subarray(i, Math.min(size, i + 7))
        })(),
      )
      expect(streamed.hash).toBe(ref.hash)
      expect((await writeBlob(store, all, 0, new Blob([bytes]))).hash).toBe(ref.hash)
    }
    expect(
      (
        await errorOf(() =>
          writeBlob(
            store,
            all,
            0,
            (async function* () {
              yield 'text' as never
            })(),
          ),
        )
      ).code,
    ).toBe('invalid_argument')
    expect((await errorOf(() => readBlob(store, new BlobRef('0'.repeat(64), 5, 10)))).code).toBe('blob_missing')
  })

  test('G27: a step reads a blob of its input in ranges, verified', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx, ref: BlobRef) =>
      ctx.step(
        'sum',
        async (call) => {
          let sum = 0
          for (let offset = 0; offset < call.input.size; offset += 30_000) {
            const part = await call.readBlob(call.input, { offset, length: Math.min(30_000, call.input.size - offset) })
            sum += part.reduce((a, b) => a + b, 0)
          }
          return sum
        },
        { input: ref },
      ),
    )
    const process = open(w)
    const ref = await writeBlob(process.world.shelf.open(ID), limits(), 0, new Uint8Array(100_000).fill(2))
    await process.runs.start(w, ref, { id: ID })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toBe(200_000)
  })
})

test('5.2 no. 18: a secret that a service holds is in no entry, row, summary, log or error', async () => {
  const secret = 'canary-b7f2c1'
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('ok', (call) => {
      const { key } = call.services as { key: string }
      call.log('called', { length: key.length })
      return key.length
    })
    await ctx
      .step(
        'bad',
        () => {
          throw new Error('refused')
        },
        { retry: { limit: 1, delay: 0 } },
      )
      .catch(() => {})
    throw new TypeError('a bug')
  })
  const process = open(w, { services: { key: secret } })
  expect((await process.run(w)).kind).toBe('blocked')
  const text = new TextDecoder()
  const kept = [
    ...process.world.shelf
      .open(ID)
      .entries(0, 100)
      .map(({ bytes }) => text.decode(bytes)),
    text.decode(process.world.row().record),
  ]
  kept.push(JSON.stringify(await process.runs.summary(ID)), JSON.stringify(process.host.logs))
  expect(kept.join().length).toBeGreaterThan(1000)
  expect(kept.join()).not.toContain(secret)
})

/** Changes the first row of a table behind the store's back; null deletes it. */
function damage(store: RunStore, table: 'chunk' | 'manifest', change: (bytes: Uint8Array) => Uint8Array | null): void {
  const [row] = store.rows(table, { limit: 1 }) as readonly { key: string; value: Uint8Array }[]
  if (row === undefined) throw new Error(`there is no ${table}`)
  const answer = store.commit({
    expect: { kind: 'none' },
    rows: [{ table, key: row.key, value: change(row.value) }],
  }) as { kind: string }
  expect(answer.kind).toBe('committed')
}
