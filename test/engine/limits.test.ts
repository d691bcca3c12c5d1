import { describe, expect, test } from 'vitest'
import { writeBlob } from '../../src/blob.ts'
import type { Ctx } from '../../src/context.ts'
import { workflow } from '../../src/index.ts'
import { journalPage } from '../../src/journal/view.ts'
import { defaultLimits, type Limits, limits, within } from '../../src/limits.ts'
import type { Batch } from '../../src/store/store.ts'
import { anything, errorOf, ID, open, override, World } from './support.ts'

/** Ends with what a workflow under these limits wrote, and the error that says which limit it was. */
async function under(overrides: Partial<Limits>, fn: (ctx: Ctx) => unknown) {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => fn(ctx as unknown as Ctx))
  const batches: Batch[] = []
  const process = open(w, {
    limits: overrides,
    stepsUseHostTime: true,
    faults: {
      committed: (batch) => {
        batches.push(batch)
      },
    },
  })
  const end = await process.run(w)
  const { error } = await process.runs.summary(ID)
  return {
    end,
    process,
    batches,
    error: error as
      | {
          code: string
          details: { limit: string; measured: number; allowed: number }
          cause: { code: string; details: object }
        }
      | undefined,
  }
}

/** One test for each limit: a limit without one does not compile. */
const tests: Readonly<Record<keyof Limits, { readonly value: number; readonly check: () => Promise<void> }>> = {
  inlineBytes: {
    value: 65_536,
    check: async () => {
      const { process } = await under({ inlineBytes: 100 }, async (ctx) => {
        await ctx.step('fits', () => 'x'.repeat(97))
        await ctx.step('does not', () => 'x'.repeat(98))
      })
      expect(
        process.world
          .entries()
          .slice(1, 3)
          .map(({ blob }) => blob),
      ).toEqual([false, true])
    },
  },
  valueBytes: {
    value: 33_554_432,
    check: async () => {
      const { process, error } = await under({ inlineBytes: 100, valueBytes: 1000 }, async (ctx) => {
        await ctx.step('fits', () => 'x'.repeat(997))
        await ctx.step('s', () => 'x'.repeat(998))
      })
      expect(error).toMatchObject({
        code: 'step_failed',
        cause: { code: 'limit_exceeded', details: { limit: 'valueBytes', measured: 1001, allowed: 1000 } },
      })
      // Not tried again, and no chunk of it was written (B-142).
      expect(process.world.kinds()).toEqual(['run_started', 'step_completed fits', 'step_failed s', 'run_failed'])
      // The input of the run and the value that fits.
      expect(process.world.shelf.open(ID).keys('manifest', { limit: 10 })).toHaveLength(2)
      const w = workflow({ name: 'w', input: anything }, async () => 'x'.repeat(998))
      const output = open(w, { limits: { inlineBytes: 100, valueBytes: 1000 } })
      expect(await output.run(w, 0)).toEqual({ kind: 'ended', status: 'failed' })
      expect((await output.runs.summary(ID)).error).toMatchObject({
        code: 'limit_exceeded',
        details: { limit: 'valueBytes', measured: 1001, allowed: 1000 },
      })
      const start = open(w, { limits: { inlineBytes: 100, valueBytes: 1000 } })
      expect(await errorOf(() => start.runs.start(w, 'x'.repeat(1000), { id: ID }))).toMatchObject({
        code: 'limit_exceeded',
        details: { limit: 'valueBytes', allowed: 1000 },
      })
      expect(start.world.shelf.runs({ limit: 10 })).toEqual([])
    },
  },
  chunkBytes: {
    value: 49_152,
    check: async () => {
      const { process } = await under({ inlineBytes: 100, chunkBytes: 200 }, async (ctx) =>
        ctx.step('s', () => Array.from({ length: 300 }, (_, i) => i)),
      )
      const store = process.world.shelf.open(ID)
      const sizes = store.rows('chunk', { limit: 100 }).map(({ value }) => value.length)
      expect(sizes.length).toBeGreaterThan(3)
      expect(Math.max(...sizes)).toBe(200)
      // The last one of the run's input, and of the value.
      expect(sizes.filter((size) => size < 200)).toHaveLength(2)
    },
  },
  blobBytes: {
    value: 1_073_741_824,
    check: async () => {
      const store = new World().shelf.open(ID)
      const all = limits({ blobBytes: 1000, chunkBytes: 100 })
      expect((await writeBlob(store, all, 0, new Uint8Array(1000))).size).toBe(1000)
      expect(await errorOf(() => writeBlob(store, all, 0, new Uint8Array(1001)))).toMatchObject({
        code: 'limit_exceeded',
        details: { limit: 'blobBytes', measured: 1001, allowed: 1000 },
      })
      expect(store.keys('manifest', { limit: 10 })).toHaveLength(1)
    },
  },
  memoBytes: {
    value: 1_048_576,
    check: async () => {
      const { process, error } = await under({ memoBytes: 100 }, async (ctx) => {
        await ctx.step('fits', ({ memo }) => memo.put('k', 'x'.repeat(97)))
        await ctx.step('s', ({ memo }) => memo('k', () => 'x'.repeat(98)))
      })
      expect(error).toMatchObject({
        code: 'step_failed',
        cause: { code: 'limit_exceeded', details: { limit: 'memoBytes', measured: 101, allowed: 100 } },
      })
      // Not tried again, and nothing of it was kept.
      expect(process.world.kinds()).toEqual(['run_started', 'step_completed fits', 'step_failed s', 'run_failed'])
      expect(process.world.shelf.open(ID).keys('memo', { limit: 10 })).toHaveLength(1)
    },
  },
  stateBytes: {
    value: 262_144,
    check: async () => {
      const { process, error } = await under({ stateBytes: 100 }, async (ctx) => {
        await ctx.step('fits', ({ state }) => state.set('k', 'x'.repeat(97)))
        await ctx.step('s', ({ state }) => {
          state.set('other', 1)
          state.set('k', 'x'.repeat(98))
        })
      })
      expect(error).toMatchObject({
        code: 'step_failed',
        cause: { code: 'limit_exceeded', details: { limit: 'stateBytes', measured: 101, allowed: 100 } },
      })
      expect(process.world.shelf.open(ID).keys('state', { limit: 10 })).toHaveLength(1)
    },
  },
  stagedBytes: {
    value: 4_194_304,
    check: async () => {
      const { process, error } = await under({ stagedBytes: 500 }, async (ctx) => {
        // What is set again, or has room again, counts once.
        await ctx.step('fits', ({ state }) => {
          for (let i = 0; i < 20; i++) state.set('a', 'x'.repeat(i % 2 === 0 ? 300 : 100))
          state.set('b', 'x'.repeat(100))
        })
        await ctx.step('s', ({ state }) => {
          state.set('a', 'x'.repeat(300))
          state.set('b', 'x'.repeat(100))
        })
      })
      expect(error).toMatchObject({
        code: 'step_failed',
        cause: { code: 'limit_exceeded', details: { limit: 'stagedBytes', allowed: 500 } },
      })
      expect(process.world.kinds()).toEqual(['run_started', 'step_completed fits', 'step_failed s', 'run_failed'])
    },
  },
  eventBytes: {
    value: 65_536,
    check: async () => {
      const { process, error } = await under({ eventBytes: 100 }, (ctx) => {
        ctx.emit('fits', 'x'.repeat(97))
        try {
          ctx.emit('does not', 'x'.repeat(98))
        } catch (cause) {
          throw new Error('refused', { cause })
        }
      })
      expect(error).toMatchObject({
        cause: { code: 'limit_exceeded', details: { limit: 'eventBytes', measured: 101, allowed: 100 } },
      })
      expect(process.world.kinds()).toEqual(['run_started', 'event_emitted', 'run_failed'])
    },
  },
  events: {
    value: 10_000,
    check: async () => {
      const { process } = await under({ events: 3 }, (ctx) => {
        for (let i = 0; i < 5; i++) ctx.emit('e', i)
      })
      expect(process.world.shelf.open(ID).keys('event', { limit: 10 })).toEqual(['3', '4', '5'].map((n) => n.padStart(16, '0')))
      expect(process.world.kinds().filter((kind) => kind === 'event_emitted')).toHaveLength(5)
    },
  },
  nameLength: {
    value: 128,
    check: async () => {
      const long = 'n'.repeat(129)
      const calls: readonly ((ctx: Ctx) => unknown)[] = [
        (ctx) => ctx.step(long, () => 1),
        (ctx) => ctx.step('s', () => 1, { key: long }),
        (ctx) => ctx.all({ [long]: () => 1 }),
        (ctx) => ctx.scope(long, () => 1),
        (ctx) => ctx.emit(long),
        (ctx) => ctx.map(long, [1], {}, () => 1),
        (ctx) => ctx.map('m', [1], { key: () => long }, () => 1),
      ]
      for (const call of calls) {
        const { process, error } = await under({}, call)
        expect(error).toMatchObject({
          code: 'limit_exceeded',
          details: { limit: 'nameLength', measured: 129, allowed: 128 },
        })
        expect(process.world.kinds()).toEqual(['run_started', 'run_failed'])
      }
      expect((await under({}, (ctx) => ctx.step('n'.repeat(128), () => 1))).end).toEqual({
        kind: 'ended',
        status: 'completed',
      })
    },
  },
  keyLength: {
    value: 2048,
    check: async () => {
      const nest = (ctx: Ctx, depth: number): Promise<unknown> =>
        depth === 0 ? ctx.step('s', () => 1) : ctx.scope('x'.repeat(9), (c) => nest(c, depth - 1))
      const { process, error } = await under({ keyLength: 100 }, (ctx) => nest(ctx, 10))
      expect(error).toMatchObject({
        code: 'limit_exceeded',
        details: { limit: 'keyLength', measured: 101, allowed: 100 },
      })
      expect(process.world.kinds()).toEqual(['run_started', 'run_failed'])
      expect((await under({ keyLength: 100 }, (ctx) => nest(ctx, 9))).end).toEqual({
        kind: 'ended',
        status: 'completed',
      })
      expect((await under({ keyLength: 100 }, (ctx) => nest(ctx, 11))).error?.details.limit).toBe('keyLength')
    },
  },
  outstanding: {
    value: 10_000,
    check: async () => {
      const many = (n: number) => (ctx: Ctx) => Promise.all(Array.from({ length: n }, () => ctx.sleep(1)))
      expect((await under({ outstanding: 5 }, many(5))).end).toEqual({ kind: 'ended', status: 'completed' })
      const { error } = await under({ outstanding: 5 }, many(6))
      expect(error).toMatchObject({
        code: 'limit_exceeded',
        details: { limit: 'outstanding', measured: 6, allowed: 5 },
      })
    },
  },
  entries: {
    value: 10_000_000,
    check: async () => {
      const { end, process } = await under({ entries: 5 }, async (ctx) => {
        for (let i = 0; i < 10; i++) await ctx.step('s', () => i)
      })
      expect(end).toMatchObject({
        kind: 'blocked',
        blocked: { code: 'limit_exceeded', details: { limit: 'entries', measured: 6, allowed: 5 } },
      })
      expect(process.world.kinds()).toHaveLength(5)
    },
  },
  retries: {
    value: 10_000,
    check: async () => {
      const { process, error } = await under({ retries: 3 }, (ctx) => ctx.step('s', () => 1, { retry: { limit: 4 } }))
      expect(error).toMatchObject({ code: 'limit_exceeded', details: { limit: 'retries', measured: 4, allowed: 3 } })
      expect(process.world.kinds()).toEqual(['run_started', 'run_failed'])
      expect(
        (await under({ retries: 3 }, (ctx) => ctx.step('s', () => 1, { retry: { limit: 3 } }))).error,
      ).toBeUndefined()
    },
  },
  wakes: {
    value: 50,
    check: async () => {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', () => new Promise(() => {})))
      const world = new World()
      const first = world.boot(w)
      await first.runs.start(w, 0, { id: ID })
      for (let i = 0; i < 3; i++) {
        const process = world.boot(w, { limits: { wakes: 3 } })
        await process.begin()
        await process.crash()
      }
      expect(await world.boot(w, { limits: { wakes: 3 } }).runs.drive(ID)).toMatchObject({
        kind: 'blocked',
        blocked: { code: 'no_progress', details: { limit: 'wakes', measured: 4, allowed: 3 } },
      })
    },
  },
  restarts: {
    value: 3,
    check: async () => {
      let n = 0
      const w = workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
        await ctx.step(`s${n++}`, () => 1)
        await ctx.sleep('1 hour')
      })
      const process = open(w, { limits: { restarts: 1 } })
      await process.runs.start(w, 0, { id: ID })
      const codes: string[] = []
      for (let i = 0; i < 3; i++) {
        const end = await process.runs.drive(ID)
        codes.push(end.kind === 'blocked' ? end.blocked.code : end.kind)
      }
      expect(codes).toEqual(['parked', 'parked', 'divergence'])
      expect(process.world.record().generation).toBe(2)
    },
  },
  batchEntries: {
    value: 512,
    check: async () => {
      const { batches } = await under({ batchEntries: 10 }, async (ctx) => {
        await Promise.all(Array.from({ length: 35 }, () => ctx.step('s', () => 1)))
        await Promise.all(Array.from({ length: 35 }, () => ctx.sleep(5)))
      })
      const sizes = batches.map(({ entries }) => entries?.length ?? 0)
      expect(Math.max(...sizes)).toBe(10)
      expect(sizes.filter((size) => size === 10).length).toBeGreaterThanOrEqual(9)
      expect(sizes.reduce((a, b) => a + b)).toBe(1 + 35 + 70 + 1)
    },
  },
  batchBytes: {
    value: 1_048_576,
    check: async () => {
      const { batches } = await under({ batchBytes: 1000 }, (ctx) =>
        Promise.all(Array.from({ length: 20 }, () => ctx.step('s', () => 'x'.repeat(300)))),
      )
      const groups = batches.map(({ entries }) => entries ?? []).filter((entries) => entries.length > 0)
      for (const entries of groups) expect(entries.length).toBeLessThanOrEqual(4)
      expect(groups.length).toBeGreaterThanOrEqual(6)
    },
  },
  pageEntries: {
    value: 512,
    check: async () => {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        for (let i = 0; i < 30; i++) await ctx.step('s', () => i)
        await ctx.sleep('1 hour')
      })
      const world = new World()
      const first = world.boot(w)
      await first.runs.start(w, 0, { id: ID })
      await first.runs.drive(ID)
      await first.crash()
      const pages: number[] = []
      const second = world.boot(w, {
        limits: { pageEntries: 7 },
        wrap: (store) =>
          override(store, {
            entries: (after, limit) => {
              pages.push(limit)
              return store.entries(after, limit)
            },
          }),
      })
      await second.runs.drive(ID)
      expect(Math.max(...pages)).toBe(7)
      expect(pages.filter((limit) => limit === 7).length).toBeGreaterThanOrEqual(5)
    },
  },
  tags: {
    value: 16,
    check: async () => {
      await startRefuses(
        { tags: Array.from({ length: 17 }, (_, i) => `t${i}`) },
        { limit: 'tags', measured: 17, allowed: 16 },
      )
    },
  },
  tagLength: {
    value: 128,
    check: async () => {
      await startRefuses({ tags: ['x'.repeat(129)] }, { limit: 'tagLength', measured: 129, allowed: 128 })
    },
  },
  metadataBytes: {
    value: 4096,
    check: async () => {
      await startRefuses(
        { metadata: { k: 'x'.repeat(4096) } },
        { limit: 'metadataBytes', measured: 4105, allowed: 4096 },
      )
    },
  },
  stallMs: {
    value: 10_000,
    check: async () => {
      const { end, process } = await under({ stallMs: 1234 }, () => new Promise(() => {}))
      expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
      expect(process.now - (process.world.entries()[0]?.at ?? 0)).toBe(1234)
    },
  },
  commitMs: {
    value: 30_000,
    check: async () => {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', () => 1))
      const process = open(w, {
        limits: { commitMs: 777 },
        faults: {
          fault: ({ batch, nth }) =>
            batch?.entries?.[0]?.seq === 2 && nth < 5 ? { do: 'hang', when: 'after' } : undefined,
        },
      })
      await process.runs.start(w, 0, { id: ID })
      const began = process.now
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      expect(process.now - began).toBe(777)
    },
  },
  stayAwakeMs: {
    value: 2000,
    check: async () => {
      for (const [ms, kind] of [
        [500, 'ended'],
        [501, 'parked'],
      ] as const) {
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          await ctx.sleep(ms)
        })
        const process = open(w, { limits: { stayAwakeMs: 500 } })
        await process.runs.start(w, 0, { id: ID })
        expect((await process.runs.drive(ID)).kind).toBe(kind)
      }
    },
  },
  recoveryMs: {
    value: 30_000,
    check: async () => {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', () => new Promise(() => {})))
      const process = open(w, { limits: { recoveryMs: 4321 } })
      await process.runs.start(w, 0, { id: ID })
      await process.begin()
      expect(process.world.row().wakeAt).toBe(process.now + 4321)
    },
  },
  startByMs: {
    value: 10_000,
    check: async () => {
      // The effect's function is not called when its intent took longer to be stored than this.
      let calls = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) =>
        ctx.effect('e', () => ++calls, { kind: 'idempotent' }))
      const process = open(w, { limits: { startByMs: 50, commitMs: 60, recoveryMs: 1000 }, faults: {
        fault: ({ batch, nth }) => batch?.entries !== undefined && batch.entries.length === 1 && nth === 3 ? { do: 'hang', when: 'after' } : undefined,
      } })
      await process.runs.start(w, 0, { id: ID })
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      expect(calls).toBe(1)
      expect(process.world.kinds().filter((kind) => kind.startsWith('effect'))).toEqual([
        'effect_intended e', 'effect_not_called e', 'effect_intended e', 'effect_completed e',
      ])
    },
  },
  detailsBytes: {
    value: 8192,
    check: async () => {
      const got: unknown[] = []
      await under({ detailsBytes: 100 }, async (ctx) => {
        for (const length of [97, 98]) got.push((await ctx.recordEffect(`of ${length}`, 'sent', 'x'.repeat(length))).record.details)
      })
      expect(got).toEqual(['x'.repeat(97), expect.objectContaining({ truncated: true, bytes: 101, type: 'string', size: 98 })])
    },
  },
  noticeMs: {
    value: 30_000,
    check: async () => {
      const w = workflow({ name: 'w', input: anything }, async () => 1)
      let tellings = 0
      const process = open(w, { limits: { noticeMs: 500 }, onEnd: () => ++tellings === 1 ? new Promise(() => {}) : undefined })
      const began = process.now
      await process.run(w)
      expect(tellings).toBe(2)
      expect(process.host.logs.map(({ message }) => message)).toEqual(['its end could not be told (1 of 20): it took longer than 500 ms'])
      expect(process.now - began).toBe(5000)
    },
  },
  noticeTries: {
    value: 20,
    check: async () => {
      const w = workflow({ name: 'w', input: anything }, async () => 1)
      let tellings = 0
      const process = open(w, { limits: { noticeTries: 3 }, onEnd: () => { tellings++; throw new Error('nobody is there') } })
      await process.run(w)
      expect(tellings).toBe(3)
      expect(process.host.logs.at(-1)).toMatchObject({ level: 'error', message: 'its end could not be told and is not tried again (3 times): nobody is there' })
    },
  },
  sweepRows: {
    value: 500,
    check: async () => {
      const w = workflow({ name: 'w', input: anything, retention: { completed: '1 day' } }, async (ctx) => {
        for (let i = 0; i < 20; i++) await ctx.step('s', ({ state }) => state.set(`k${i}`, i))
      })
      const removed: number[] = []
      let first = 1
      const process = open(w, { limits: { sweepRows: 7 }, faults: { committed: ({ cut, rows = [], take = [] }) => {
        const gone = rows.filter(({ value }) => value === null).length + take.length + (cut === undefined ? 0 : cut + 1 - first)
        first = (cut ?? first - 1) + 1
        if (gone > 0) removed.push(gone)
      } } })
      await process.run(w)
      process.host.advance(86_400_000)
      expect(await process.runs.drive(ID)).toEqual({ kind: 'absent' })
      // 20 values and 22 entries.
      expect(removed).toEqual([7, 7, 7, 7, 7, 7])
    },
  },
  patches: {
    value: 256,
    check: async () => {
      const { end } = await under({ patches: 2 }, async (ctx) => {
        for (const name of ['a', 'b', 'c']) ctx.patched(name)
        await ctx.step('s', () => 1)
      })
      expect(end).toMatchObject({ kind: 'ended', status: 'failed' })
    },
  },
  signalBytes: {
    value: 65_536,
    check: async () => {
      const w = workflow({ name: 'w', input: anything, signals: { go: anything } }, async (ctx) => ctx.signal('go'))
      const process = open(w, { limits: { signalBytes: 1000 } })
      await process.runs.start(w, 0, { id: ID })
      expect(await errorOf(() => process.runs.signal(ID, { name: 'go', payload: 'x'.repeat(1000) }))).toMatchObject({
        code: 'limit_exceeded',
        details: { limit: 'signalBytes', allowed: 1000 },
      })
      expect(process.world.row().inbox).toBe(0)
      await process.runs.signal(ID, { name: 'go', payload: 'x'.repeat(800) })
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    },
  },
  tokens: {
    value: 1000,
    check: async () => {
      const w = workflow({ name: 'w', input: anything, deferreds: { d: anything } }, async (ctx) => {
        const d = ctx.deferred('d')
        await ctx.step('s', async ({ token }) => {
          for (let i = 0; i < 3; i++) await token(d)
        }, { retry: { limit: 0 } })
      })
      const process = open(w, { limits: { tokens: 2 } })
      expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
      expect((await process.runs.summary(ID)).error).toMatchObject({ cause: { code: 'limit_exceeded', details: { limit: 'tokens', measured: 3, allowed: 2 } } })
      expect(process.world.shelf.open(ID).keys('token', { limit: 9 })).toHaveLength(2)
    },
  },
  signals: {
    value: 1000,
    check: async () => {
      const w = workflow({ name: 'w', input: anything, signals: { go: anything } }, async (ctx) => ctx.signal('go'))
      const process = open(w, { limits: { signals: 2 } })
      await process.runs.start(w, 0, { id: ID })
      for (const id of ['a', 'b']) await process.runs.signal(ID, { name: 'go', payload: id, id })
      expect(await errorOf(() => process.runs.signal(ID, { name: 'go', payload: 'c', id: 'c' }))).toMatchObject({
        code: 'limit_exceeded',
        details: { limit: 'signals', measured: 3, allowed: 2 },
      })
      expect(await process.runs.signal(ID, { name: 'go', payload: 'b', id: 'b' })).toEqual({ seq: 2, duplicate: true })
      // More than a page of rows, and no whole number: a limit all the same.
      for (const signals of [20_000, 2.5]) {
        const many = process.world.boot(w, { limits: { signals } })
        expect((await many.runs.signal(ID, { name: 'go', payload: signals, id: `${signals}` }).catch((error: { code: string }) => error.code))).toEqual(signals === 2.5 ? 'limit_exceeded' : { seq: 3, duplicate: false })
      }
      expect(process.world.row().inbox).toBe(3)
    },
  },
}

async function startRefuses(options: object, details: object): Promise<void> {
  const w = workflow({ name: 'w', input: anything }, async () => 1)
  const process = open(w)
  expect(await errorOf(() => process.runs.start(w, 0, options))).toMatchObject({
    code: 'limit_exceeded',
    kind: 'permanent',
    details,
  })
  expect(process.world.shelf.runs({ limit: 10 })).toEqual([])
}

describe('G25: every limit has a name, a default and a typed error with measured and allowed values', () => {
  for (const [name, { value, check }] of Object.entries(tests)) {
    test(`G25: ${name} is ${value} by default`, async () => {
      expect(defaultLimits[name as keyof Limits]).toBe(value)
      await check()
    })
  }

  test('G25: there is a test for each', () => {
    expect(Object.keys(tests).sort()).toEqual(Object.keys(defaultLimits).sort())
    expect(Object.isFrozen(defaultLimits)).toBe(true)
  })

  test('G25: a name that is no limit, and a value that is no positive number, are refused', async () => {
    for (const overrides of [
      { inlineByte: 5 },
      { entries: 0 },
      { entries: -1 },
      { entries: NaN },
      { entries: '5' },
      { tags: null },
    ] as never[]) {
      expect((await errorOf(() => limits(overrides))).code).toBe('invalid_argument')
    }
    expect(limits({ entries: 7 })).toEqual({ ...defaultLimits, entries: 7 })
  })

  test('G25: `within` measures, and says so', async () => {
    within(defaultLimits, 'tags', 16, 'tags')
    expect(
      await errorOf(() => {
        within(defaultLimits, 'tags', 17, 'the tags of x')
      }),
    ).toMatchObject({
      message: 'the tags of x: 17 is over the limit tags of 16',
      details: { limit: 'tags', measured: 17, allowed: 16 },
    })
  })

  test('G25: a page of the journal is never clamped (Y-014)', async () => {
    const w = workflow({ name: 'w', input: anything }, async () => 1)
    const process = open(w)
    await process.run(w)
    const store = process.world.shelf.open(ID)
    expect((await journalPage(store, { limit: 1000 })).items).toHaveLength(2)
    for (const limit of [0, -1, 1001, 1.5, NaN, '5'] as never[])
      expect((await errorOf(() => journalPage(store, { limit }))).code).toBe('limit_exceeded')
    expect(await errorOf(() => journalPage(store, { limit: 1001 }))).toMatchObject({
      details: { limit: 'journalPage', measured: 1001, allowed: 1000 },
    })
    for (const after of [-1, 1.5, NaN, '5'] as never[])
      expect((await errorOf(() => journalPage(store, { after }))).code).toBe('invalid_argument')
  })

  test('G25: a value over a limit is never cut: the one that fits comes back whole', async () => {
    const { process } = await under({}, (ctx) => ctx.step('s', () => 'x'.repeat(1_000_000)))
    expect((await process.runs.summary(ID)).output).toBe('x'.repeat(1_000_000))
  })
})
