// Rows of the ledger that are gone, as by a hand or a repair that went wrong: what they told of is not done a second time.

import { describe, expect, test } from 'vitest'
import { workflow } from '../../src/define.ts'
import type { AnyWorkflow } from '../../src/define.ts'
import type { Ctx } from '../../src/context.ts'
import type { SideRow } from '../../src/store/store.ts'
import { anything, ID, World } from './support.ts'

const money = { kind: 'money', input: { cents: 5 }, onAmbiguous: 'fail' } as const

/** Deletes what the ledger has of effects, and answers what gives it back. */
function lose(world: World, which: (row: SideRow) => boolean = () => true): () => void {
  const store = world.shelf.open(ID)
  const lost = store.rows('effect', { limit: 100 }).filter(which)
  expect(lost.length).toBeGreaterThan(0)
  const write = (isThere: boolean): void => {
    const answer = store.commit({ expect: { kind: 'exists' }, rows: lost.map(({ key, value }) => ({ table: 'effect', key, value: isThere ? value : null })) })
    expect(answer.kind).toBe('committed')
  }
  write(false)
  return () => { write(true) }
}

/** A run that sleeps for a day between two parts, and is at rest in that sleep, or has ended. */
async function atRest(definition: AnyWorkflow): Promise<World> {
  const world = new World()
  const process = world.boot(definition)
  await process.runs.start(definition, 0, { id: ID })
  await process.runs.drive(ID)
  await process.crash()
  return world
}

const lost = (intended: number, found: number): object => ({
  kind: 'blocked', blocked: { code: 'corrupt_run', curable: false, details: { runId: ID, intended, found } },
})

describe('G1, G15: a row of the ledger that is lost', () => {
  test('G4, G15: of an earlier generation: the next one is blocked before anything is called, nothing is deleted, and it goes on when the row is back', async () => {
    const calls: string[] = []
    let isBroken = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const first = await ctx.effect('first', () => calls.push('first'), money)
      const second = await ctx.effect('second', () => calls.push('second'), money)
      if (isBroken) ctx.fail('not yet')
      return [first, second]
    })
    const world = await atRest(w)
    expect(world.record()).toMatchObject({ status: 'failed', effects: 2 })
    isBroken = false
    let isFirst = true
    const giveBack = lose(world, () => { const is = isFirst; isFirst = false; return is })
    let process = world.boot(w)
    await process.runs.control(ID, { kind: 'restart' })
    expect(await process.runs.settle(ID)).toMatchObject(lost(2, 1))
    expect(calls).toEqual(['first', 'second'])
    const kept = world.kinds()
    expect(kept.filter((kind) => kind.startsWith('effect_intended'))).toHaveLength(2)
    giveBack()
    process = world.boot(w)
    await process.runs.control(ID, { kind: 'resume' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual([1, 2])
    expect(calls).toEqual(['first', 'second'])
    expect(world.kinds().slice(0, kept.length)).toEqual(kept)
  })

  test('G15: whoever drove it died before it came to count them: they are counted before the next generation goes on', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      if (world.record().generation > 1) await ctx.sleep('1 day')
      await ctx.effect('pay', () => ++calls, money)
      await ctx.step('never', () => new Promise(() => {}))
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.crash()
    expect(world.record()).toMatchObject({ status: 'running', effects: 0 })
    const second = world.boot(w)
    await second.runs.control(ID, { kind: 'restart' })
    await second.runs.drive(ID)
    expect(world.record()).toMatchObject({ status: 'waiting', generation: 2, effects: 1 })
    lose(world)
    expect(await second.runs.settle(ID)).toMatchObject(lost(1, 0))
    expect(calls).toBe(1)
  })

  test('G15: a drive that follows a death counts what was intended before it', async () => {
    let isStuck = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.effect('pay', () => 1, money)
      await ctx.step('stuck', () => isStuck ? new Promise<void>(() => {}) : undefined)
      await ctx.sleep('1 day')
      await ctx.effect('pay', () => 2, { ...money, key: 'again' })
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.crash()
    isStuck = false
    const second = world.boot(w)
    await second.runs.drive(ID)
    expect(world.record()).toMatchObject({ status: 'waiting', effects: 1 })
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(world.record().effects).toBe(2)
  })

  const again: readonly (readonly [what: string, ask: (ctx: Ctx, pay: () => number) => Promise<unknown>])[] = [
    ['asked for again by its key', (ctx, pay) => ctx.once('k', pay)],
    ['asked about', (ctx) => ctx.hasEffect('k')],
  ]
  for (const [what, ask] of again) {
    test(`G15, B-021: of ctx.once, ${what}: blocked`, async () => {
      let calls = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        await ctx.once('k', () => ++calls)
        await ctx.sleep('1 day')
        return ask(ctx, () => ++calls)
      })
      const world = await atRest(w)
      lose(world)
      expect(await world.boot(w).runs.settle(ID)).toMatchObject(lost(1, 0))
      expect(calls).toBe(1)
    })
  }

  test('G21: of what an earlier generation did and the next one does not ask for: it is not passed over when the run fails', async () => {
    const undone: string[] = []
    let isSecond = false
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      if (!isSecond) await ctx.effect('pay', () => 1, { ...money, undo: () => { undone.push('pay') } })
      await ctx.sleep('1 day')
      return ctx.fail('no')
    })
    const world = await atRest(w)
    isSecond = true
    const giveBack = lose(world)
    const process = world.boot(w)
    await process.runs.control(ID, { kind: 'restart' })
    expect(await process.runs.settle(ID)).toMatchObject(lost(1, 0))
    giveBack()
    await process.runs.control(ID, { kind: 'resume' })
    expect(await process.runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_unreachable' } })
    expect(undone).toEqual([])
  })

  test('G10: a run that asks for each act once in one generation never counts the rows', async () => {
    let reads = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 5; i++) {
        await ctx.effect('pay', () => i, { ...money, input: i })
        await ctx.sleep('1 day')
      }
    })
    const process = new World().boot(w, { faults: { fault: ({ method }) => {
      if (method === 'keys') reads++
      return undefined
    } } })
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(reads).toBe(0)
    expect(process.world.record().effects).toBe(5)
  })
})
