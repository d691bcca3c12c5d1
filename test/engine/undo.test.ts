import { describe, expect, test } from 'vitest'
import { decode } from '../../src/codec.ts'
import type { Ctx } from '../../src/context.ts'
import { effectPage } from '../../src/engine/ledger.ts'
import { ambiguous, permanent, workflow } from '../../src/index.ts'
import { anything, ID, open, type Process, World } from './support.ts'

const custom = { kind: 'custom', timeout: '5 seconds', onAmbiguous: 'fail' } as const
const undos = (process: Process): readonly string[] => process.world.kinds().filter((kind) => kind.startsWith('undo_'))

/** An effect that notes what it does and undoes. */
function act(ctx: Ctx, name: string, done: string[], how: { readonly fails?: boolean } = {}): Promise<unknown> {
  return ctx.effect(name, () => {
    done.push(`do ${name}`)
    if (how.fails === true) throw permanent(new Error(`${name} failed`))
    return name
  }, { ...custom, input: { name }, undo: (outcome) => { done.push(`undo ${String(outcome)}`) } })
}

describe('undo', () => {
  test('B-125: in reverse order of completion, steps and effects; what failed is not undone', async () => {
    const done: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await act(ctx, 'a', done)
      await ctx.step('s', () => 's', { undo: (outcome) => { done.push(`undo ${String(outcome)}`) } })
      await ctx.scope('inner', async (c) => act(c, 'b', done))
      await act(ctx, 'c', done, { fails: true })
    })
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
    expect(done).toEqual(['do a', 'do b', 'do c', 'undo b', 'undo s', 'undo a'])
    expect(process.world.kinds().at(-1)).toBe('run_failed')
    expect((await process.runs.summary(ID)).error).toMatchObject({ code: 'effect_failed' })
  })

  test('of parallel effects the order is that of their outcomes in the journal', async () => {
    const done: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.all({ x: (c) => act(c, 'x', done), y: async (c) => { await c.sleep(10); await act(c, 'y', done) }, z: (c) => act(c, 'z', done) })
      throw new Error('no')
    })
    const process = open(w)
    await process.run(w)
    const order = process.world.entries().filter(({ kind }) => kind === 'effect_completed').map(({ key }) => key)
    expect(process.world.entries().filter(({ kind }) => kind === 'undo_completed').map(({ key }) => key)).toEqual(order.toReversed())
    expect(order.length).toBe(3)
  })

  test('a run that completes, or is cancelled without asking for it, undoes nothing', async () => {
    const done: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx, waits) => {
      await act(ctx, 'a', done)
      if (waits === true) await ctx.sleep('1 day')
    })
    await open(w).run(w, false)
    const process = open(w)
    await process.runs.start(w, true, { id: ID })
    await process.runs.drive(ID)
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(done).toEqual(['do a', 'do a'])
  })

  test('G21: cleanup comes before undo; the cancel, the undos and the end are in the journal in that order', async () => {
    const done: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await act(ctx, 'a', done)
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx.cleanup((c) => c.step('clean', () => { done.push('clean') }))
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.cancel(ID, undefined, { undo: true })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(done).toEqual(['do a', 'clean', 'undo a'])
    expect(process.world.kinds().slice(-5)).toEqual(['step_completed cleanup/clean', 'undo_started', 'undo_intended a', 'undo_completed a', 'run_cancelled'])
  })

  test('G22: a typo triggers no undo', async () => {
    const done: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await act(ctx, 'a', done)
      ;(undefined as unknown as { x(): void }).x()
    })
    const process = open(w)
    expect(await process.run(w)).toMatchObject({ kind: 'blocked', blocked: { code: 'workflow_bug' } })
    expect(done).toEqual(['do a'])
  })

  for (const decision of ['rerun', 'happened', 'skip'] as const) {
    test(`an undo that fails for good stops the line; a person decides: ${decision}`, async () => {
      const done: string[] = []
      let isBroken = true
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        await act(ctx, 'a', done)
        await ctx.effect('b', () => 'b', { ...custom, input: 1, retry: { limit: 1, delay: '1 hour' }, undo: () => {
          done.push('try b')
          if (isBroken) throw new Error('the bank is closed')
        } })
        await act(ctx, 'c', done)
        throw new Error('no')
      })
      const process = open(w)
      const end = await process.run(w)
      expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_failed', message: expect.stringContaining('failed (the bank is closed)'), details: { key: 'b', attempts: 2, why: 'the bank is closed', undone: ['c'], left: ['b', 'a'] } } })
      expect(done).toEqual(['do a', 'do c', 'undo c', 'try b', 'try b'])
      const seq = (end as { blocked: { details: { seq: number } } }).blocked.details.seq
      isBroken = false
      await process.runs.control(ID, { kind: 'resolve', seq, decision }, 'ada')
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
      expect(done.slice(5)).toEqual(decision === 'rerun' ? ['try b', 'undo a'] : ['undo a'])
    })
  }

  for (const decision of ['happened', 'skip', 'fail'] as const) {
    test(`G13, G15: ${decision} about an undo that failed is kept with who said it; a restart ${decision === 'happened' ? 'does it again' : 'does not do it again'}`, async () => {
      const keys: string[] = []
      let isBad = true
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        await ctx.effect('e', ({ idempotencyKey }) => { keys.push(idempotencyKey); return keys.length }, { ...custom, input: 1, undo: () => { throw permanent(new Error('the bank is closed')) } })
        await ctx.step('s', ({ idempotencyKey }) => { keys.push(idempotencyKey) }, { undo: () => { throw permanent(new Error('closed too')) } })
        if (isBad) throw new Error('no')
      })
      const process = open(w)
      for (const key of ['s', 'e']) {
        const end = key === 's' ? await process.run(w) : await process.runs.settle(ID)
        expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_failed', details: { key } } })
        await process.runs.control(ID, { kind: 'resolve', seq: (end as { blocked: { details: { seq: number } } }).blocked.details.seq, decision }, 'ada')
      }
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
      const { items } = await effectPage(process.world.shelf.open(ID))
      expect(items).toMatchObject([{ key: 'e', status: decision === 'happened' ? 'undone' : 'done', decision: { word: decision, by: 'person', principal: 'ada' } }])
      isBad = false
      await process.runs.control(ID, { kind: 'restart' })
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      const [effect, step, ...again] = keys
      if (decision === 'happened') {
        expect(again.length).toBe(2)
        expect(new Set(keys).size).toBe(4)
      } else {
        // The effect was found; the step runs again as any step does, under the key by which the other side knows it.
        expect(again).toEqual([step])
        expect(effect).not.toBe(step)
      }
    })
  }

  test('G13: who had a failed undo tried again is in the entry of that attempt', async () => {
    let isBroken = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.effect('e', () => 1, { ...custom, input: 1, undo: () => { if (isBroken) throw permanent(new Error('the bank is closed')) } })
      throw new Error('no')
    })
    const process = open(w)
    const end = await process.run(w)
    isBroken = false
    await process.runs.control(ID, { kind: 'resolve', seq: (end as { blocked: { details: { seq: number } } }).blocked.details.seq, decision: 'rerun' }, 'ada')
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    const intents = process.world.entries().filter(({ kind }) => kind === 'undo_intended')
    expect(intents.map(({ payload }) => payload.length === 0 ? undefined : decode(payload))).toEqual([undefined, { decision: 'rerun', principal: 'ada' }])
    expect(await process.world.shelf.open(ID).rows('inbox', { limit: 10 })).toEqual([])
  })

  test('a crash at every commit of the undoing: each undo is done, none that was committed again', async () => {
    for (let at = 1; at <= 12; at++) {
      const done: string[] = []
      const keys: string[] = []
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        for (const name of ['a', 'b', 'c']) {
          await ctx.effect(name, () => name, { ...custom, input: name, undo: (outcome, { idempotencyKey }) => {
            done.push(String(outcome))
            keys.push(idempotencyKey)
          } })
        }
        throw new Error('no')
      })
      const world = new World()
      let commits = 0
      let isCrashed = false
      const first = world.boot(w, { faults: { fault: ({ method, batch }) => {
        if (method !== 'commit' || isCrashed || (commits === 0 && batch?.entries?.[0]?.bytes[1] !== 60)) return undefined
        isCrashed = ++commits === at
        return isCrashed ? { do: 'crash', when: at % 2 === 0 ? 'after' : 'before' } : undefined
      } } })
      await first.runs.start(w, 0, { id: ID })
      const drive = await first.begin()
      await first.idle(30)
      if (!drive.isOver()) await first.crash()
      const second = world.boot(w)
      await second.runs.settle(ID)
      expect(world.record().status).toBe('failed')
      expect([...new Set(done)]).toEqual(['c', 'b', 'a'])
      expect(done.length).toBeLessThanOrEqual(isCrashed ? 4 : 3)
      expect(new Set(keys).size).toBe(3)
      expect(undos(second).filter((kind) => kind.startsWith('undo_completed'))).toEqual(['undo_completed c', 'undo_completed b', 'undo_completed a'])
    }
  })

  test('G15: after an undo, a restart does it again, under another key', async () => {
    const keys: string[] = []
    let isBad = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.effect('e', ({ idempotencyKey }) => { keys.push(idempotencyKey) }, { ...custom, input: 1, undo: () => {} })
      await ctx.step('s', ({ idempotencyKey }) => { keys.push(idempotencyKey) }, { undo: () => {} })
      if (isBad) throw new Error('no')
    })
    const process = open(w)
    await process.run(w)
    isBad = false
    await process.runs.control(ID, { kind: 'retry' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(keys.length).toBe(4)
    expect(new Set(keys).size).toBe(4)
  })

  test('G15: it has a key of its own, the same at each attempt; what was only taken for happened is not undone', async () => {
    const keys: Record<string, string[]> = { do: [], undo: [] }
    const undone: unknown[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.effect('a', ({ idempotencyKey }) => { keys['do']?.push(idempotencyKey) }, { ...custom, input: 1, undo: (_, { idempotencyKey, attempt }) => {
        keys['undo']?.push(idempotencyKey)
        if (attempt === 1) throw new Error('once more')
      } })
      await ctx.effect('b', (): string => { throw ambiguous(new Error('who knows')) }, { ...custom, input: 1, onAmbiguous: 'skip', fallback: 'none', undo: (outcome) => { undone.push(outcome) } })
      throw new Error('no')
    })
    await open(w).run(w)
    expect(keys['undo']?.length).toBe(2)
    expect(new Set(keys['undo']).size).toBe(1)
    expect(keys['undo']).not.toContain(keys['do']?.[0])
    expect(undone).toEqual([])
  })

  test('what the code no longer asks for is not forgotten: the run is blocked with an account', async () => {
    const done: string[] = []
    const before = workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
      await act(ctx, 'a', done)
      await ctx.sleep('1 day')
    })
    const after = workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
      await ctx.step('other', () => 1)
      throw new Error('no')
    })
    const world = new World()
    const first = world.boot(before)
    await first.runs.start(before, 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    expect(await world.boot(after).runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_unreachable', details: { effects: [{ key: 'a', generation: 1 }] } } })
  })
})
