import { describe, expect, test } from 'vitest'
import type { RunRecord } from '../../src/journal/record.ts'
import { journalPage } from '../../src/journal/view.ts'
import { workflow } from '../../src/index.ts'
import { anything, ID, World } from './support.ts'

/** Everything in the record that the journal can give back, as if it had never been written. */
const forgotten: Partial<RunRecord> = {
  status: 'running',
  generation: 1,
  generationSeq: 1,
  updatedAt: 0,
  endedAt: undefined,
  wakes: 0,
  wokenSeq: 0,
  waitingFor: [],
  blocked: undefined,
  lastSeq: undefined,
}

function busy(executed: string[], names: readonly string[] = ['a', 'b']) {
  return workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
    for (const name of names)
      await ctx.step(name, () => {
        executed.push(name)
        return name
      })
    await ctx.sleep('1 hour')
    await ctx.step('last', () => {
      executed.push('last')
    })
    return ctx.uuid()
  })
}

describe('G1: the journal is the only authority; what the row projects can be deleted and is rebuilt', () => {
  test('G1: of a waiting run: status, what it waits for, wake time and head come back, and nothing runs again (B-008)', async () => {
    const executed: string[] = []
    const world = new World()
    const first = world.boot(busy(executed))
    await first.runs.start(busy(executed), 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const { entries, record, row } = { entries: world.kinds(), record: world.record(), row: world.row() }
    const head = { seq: 1, hash: world.entries()[0]?.hash as Uint8Array }
    world.rewrite({ ...forgotten, head }, ID, first.now)
    const again = world.boot(busy(executed))
    expect(await again.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: row.wakeAt })
    expect(world.kinds()).toEqual(entries)
    const rebuilt = world.record()
    expect({ ...rebuilt, wakes: 0, wokenSeq: 0, updatedAt: 0 }).toEqual({
      ...record,
      wakes: 0,
      wokenSeq: 0,
      updatedAt: 0,
    })
    expect(world.row().wakeAt).toBe(row.wakeAt)
    expect(executed).toEqual(['a', 'b'])
    expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toEqual(['a', 'b', 'last'])
  })

  test.each(['completed', 'failed', 'cancelled'] as const)(
    'G1: of a run that has %s: how it ended is read from its last entry, nothing is appended and nothing runs',
    async (status) => {
      let calls = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        calls++
        await ctx.step('a', () => 1)
        if (status === 'failed') throw new Error('no')
        if (status === 'cancelled') await ctx.sleep('1 day')
        return 'out'
      })
      const world = new World()
      const first = world.boot(w)
      await first.runs.start(w, 0, { id: ID })
      await first.runs.drive(ID)
      if (status === 'cancelled') await first.runs.cancel(ID)
      await first.runs.settle(ID)
      await first.crash()
      const { kinds, record, made } = { kinds: world.kinds(), record: world.record(), made: calls }
      expect(record.status).toBe(status)
      const summary = await first.world.boot(w).runs.summary(ID)
      world.rewrite(forgotten, ID, first.now)
      const again = world.boot(w)
      expect(await again.runs.drive(ID)).toEqual({ kind: 'ended', status })
      expect(world.kinds()).toEqual(kinds)
      expect(calls).toBe(made)
      expect({ ...world.record(), wakes: 0, wokenSeq: 0, updatedAt: 0 }).toEqual({
        ...record,
        wakes: 0,
        wokenSeq: 0,
        updatedAt: 0,
      })
      expect(world.row().wakeAt).toBe(null)
      expect({ ...(await again.runs.summary(ID)), updatedAt: 0, authority: null }).toEqual({
        ...summary,
        updatedAt: 0,
        authority: null,
      })
    },
  )

  test('G1: also when the host that opens it does not know its workflow', async () => {
    const w = workflow({ name: 'w', input: anything }, async () => 1)
    const world = new World()
    const first = world.boot(w)
    await first.run(w)
    world.rewrite(forgotten, ID, first.now)
    expect(await world.boot([]).runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('G1: the current generation is read from the journal', async () => {
    const executed: string[] = []
    const world = new World()
    const first = world.boot(busy(executed))
    await first.runs.start(busy(executed), 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const changed = busy(executed, ['c'])
    const second = world.boot(changed)
    await second.runs.drive(ID)
    await second.crash()
    const { kinds, record } = { kinds: world.kinds(), record: world.record() }
    expect(record).toMatchObject({ generation: 2, generationSeq: 5 })
    world.rewrite({ ...forgotten, head: { seq: 1, hash: world.entries()[0]?.hash as Uint8Array } }, ID, first.now)
    const third = world.boot(changed)
    expect((await third.runs.drive(ID)).kind).toBe('parked')
    expect(world.record()).toMatchObject({ generation: 2, generationSeq: 5 })
    expect(world.kinds()).toEqual(kinds)
    expect(await third.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toEqual(['a', 'b', 'c', 'last'])
  })

  test('G1: a summary is a fold over the journal and the row: its counts and values equal a recount (Y-008)', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx, input: number) => {
      for (let i = 0; i < 5; i++) await ctx.step('s', () => i)
      return input * 2
    })
    const world = new World()
    const process = world.boot(w)
    await process.runs.start(w, 21, { id: ID, tags: ['t'] })
    await process.runs.settle(ID)
    const summary = await process.runs.summary(ID)
    const { items } = await journalPage(world.shelf.open(ID), { reveal: true })
    expect(summary).toMatchObject({
      input: 21,
      output: 42,
      counts: { entries: items.length, messages: 0 },
      status: 'completed',
      tags: ['t'],
    })
    expect(items.at(-1)?.payload).toBe(42)
    expect(items.filter(({ kind }) => kind === 'step_completed').map(({ payload }) => payload)).toEqual([0, 1, 2, 3, 4])
  })

  test('G1: a run that is stored as running with nobody driving it says so, and is taken up again (Y-066)', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', () => (world.row().epoch > 2 ? 1 : new Promise(() => {}))),
    )
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.crash()
    const again = world.boot(w)
    expect((await again.runs.summary(ID)).status).toBe('running')
    expect((await again.runs.driver(ID)).liveness()).toEqual({ isDriving: false, steps: [] })
    expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })
})
