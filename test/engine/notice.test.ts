// G24: status, retention mark and notice of an end are one commit; the notice goes out at least once, on every way in which a run ends.

import { describe, expect, test } from 'vitest'
import { workflow } from '../../src/define.ts'
import { type Notice, notices, type RunEnd } from '../../src/engine/notice.ts'
import { StepwellError } from '../../src/errors.ts'
import { isEnded } from '../../src/journal/record.ts'
import { decode } from '../../src/codec.ts'
import { anything, gate, ID, open, World } from './support.ts'

const DAY = 24 * 3_600_000

/** A listener that remembers. */
function listener(fails = 0): { readonly ends: RunEnd[]; onEnd(end: RunEnd): Promise<void> } {
  const ends: RunEnd[] = []
  let left = fails
  return {
    ends,
    async onEnd(end) {
      ends.push(end)
      await Promise.resolve()
      if (left-- > 0) throw new Error('nobody is there')
    },
  }
}

const outbox = async (world: World): Promise<readonly Notice[]> => (await notices(world.shelf.open(ID))).map(({ notice }) => notice)

const completing = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('a', () => 'done'))
const failing = workflow({ name: 'w', input: anything }, async (ctx) => {
  await ctx.step('a', () => { throw new Error('down') }, { retry: { limit: 0 } })
})
const sleeping = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('1 day') })
const late = workflow({ name: 'w', input: anything, timeout: '1 hour' }, async (ctx) => { await ctx.sleep('1 day') })
const tidy = workflow({ name: 'w', input: anything }, async (ctx) => {
  try {
    await ctx.sleep('1 day')
  } finally {
    await ctx.cleanup(async (inner) => { await inner.step('give back', () => 1) })
  }
})
const buggy = workflow({ name: 'w', input: anything }, async () => { (undefined as unknown as { x: { y: number } }).x.y = 1 })

describe('T-100: an end is told', () => {
  test.each([
    ['completed', completing, false, { status: 'completed', output: 'done' }],
    ['failed', failing, false, { status: 'failed', error: { code: 'step_failed' } }],
    ['cancelled while it waits', sleeping, true, { status: 'cancelled', error: { code: 'cancelled' } }],
    ['cancelled, with a cleanup', tidy, true, { status: 'cancelled', error: { code: 'cancelled' } }],
    ['past its deadline', late, false, { status: 'failed', error: { code: 'run_timeout' } }],
    ['cancelled while it is blocked', buggy, true, { status: 'cancelled', error: { code: 'cancelled' } }],
  ] as const)('%s', async (_, definition, isCancelled, expected) => {
    const { ends, onEnd } = listener()
    const process = open(definition, { onEnd })
    await process.runs.start(definition, 7, { id: ID, tags: ['t'], metadata: { of: 'test' } })
    if (isCancelled) {
      await process.runs.drive(ID)
      expect(ends).toEqual([])
      await process.runs.cancel(ID, 'enough')
    }
    const end = await process.runs.settle(ID)
    expect(end).toEqual({ kind: 'ended', status: expected.status })
    expect(ends).toEqual([expect.objectContaining({ id: ID, workflow: 'w', version: 1, generation: 1, attempt: 1, tags: ['t'], metadata: { of: 'test' }, status: expected.status })])
    expect(ends[0]).toMatchObject(expected)
    expect('output' in (ends[0] as RunEnd)).toBe(expected.status === 'completed')
    expect(ends[0]?.endedAt).toBe(process.world.record().endedAt)
    expect(await outbox(process.world)).toEqual([])
    expect(process.world.row().wakeAt).toBe(null)
  })

  test('T-104: a run that only ever crashes is blocked; the cancel that ends it is told', async () => {
    const { ends, onEnd } = listener()
    const world = new World()
    await world.boot(sleeping).runs.start(sleeping, 0, { id: ID })
    // As after 60 wakes that each died before they added an entry.
    world.rewrite({ wakes: 60, wokenSeq: 1, status: 'running' })
    const process = world.boot(sleeping, { onEnd })
    expect(await process.runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'no_progress' } })
    expect(ends).toEqual([])
    await process.runs.cancel(ID)
    await process.runs.settle(ID)
    expect(ends.map(({ status }) => status)).toEqual(['cancelled'])
  })

  test('who cancelled it is told', async () => {
    const { ends, onEnd } = listener()
    for (const definition of [sleeping, buggy]) {
      const process = open(definition, { onEnd })
      await process.runs.start(definition, 0, { id: ID })
      await process.runs.drive(ID)
      await process.runs.cancel(ID, 'enough', { principal: 'ada' })
      await process.runs.settle(ID)
    }
    expect(ends.map(({ principal }) => principal)).toEqual(['ada', 'ada'])
  })

  test('an output that is a blob', async () => {
    const { ends, onEnd } = listener()
    const large = workflow({ name: 'w', input: anything }, async () => 'x'.repeat(1000))
    const process = open(large, { onEnd, limits: { inlineBytes: 100 } })
    await process.run(large)
    expect(ends[0]?.output).toBe('x'.repeat(1000))
  })

  test('without a listener nothing is written that would have to be told', async () => {
    const process = open(completing)
    await process.run(completing)
    expect(await outbox(process.world)).toEqual([])
  })
})

describe('T-102: at least once, and only what is committed', () => {
  test('T-103: a crash at every commit around the end, on every way to end', async () => {
    let crashes = 0
    for (const [definition, isCancelled, status] of [
      [completing, false, 'completed'], [failing, false, 'failed'], [sleeping, true, 'cancelled'], [tidy, true, 'cancelled'], [late, false, 'failed'], [buggy, true, 'cancelled'],
    ] as const) {
      for (const when of ['before', 'after'] as const) {
        for (let at = 1; ; at++) {
          const world = new World()
          const told: string[] = []
          const onEnd = (end: RunEnd): void => {
            // Committed outcomes only.
            expect(isEnded(world.record().status)).toBe(true)
            expect(world.record().status).toBe(end.status)
            told.push(end.status)
          }
          const zero = world.boot(definition)
          await zero.runs.start(definition, 0, { id: ID })
          if (isCancelled) await zero.runs.drive(ID)
          if (isCancelled) await zero.runs.cancel(ID)
          await zero.crash()
          let commits = 0
          const first = world.boot(definition, { onEnd, faults: { fault: ({ method }) => method === 'commit' && ++commits === at ? { do: 'crash', when } : undefined } })
          first.host.advance(when === 'before' ? 2 * 3_600_000 : 0)
          let drive = await first.begin()
          for (let i = 0; i < 5 && drive.isOver() && (await first.handle()).isDead === false && world.row().wakeAt !== null; i++) {
            first.host.advanceTo(world.row().wakeAt as number)
            drive = await first.begin()
          }
          const isDead = (await first.handle()).isDead
          await first.crash()
          if (isDead) {
            crashes++
            // G29: whatever is left to do, the run is woken for it.
            if (!isEnded(world.record().status) || (await outbox(world)).length > 0) expect(world.row().wakeAt).not.toBe(null)
          }
          await world.boot(definition, { onEnd }).runs.settle(ID)
          expect(world.record().status).toBe(status)
          expect(told.length, `${status}, commit ${at}, ${when}`).toBeGreaterThanOrEqual(1)
          expect(told.length).toBeLessThanOrEqual(2)
          expect(await outbox(world)).toEqual([])
          expect(world.row().wakeAt).toBe(null)
          if (!isDead) break
          // It is told twice only when the host died behind the telling, which is the commit that ticks it off.
          if (told.length === 2) expect(when === 'before' || at > 1).toBe(true)
        }
      }
    }
    expect(crashes).toBeGreaterThan(30)
  })

  test('the answer of the commit that ends the run is lost: it is told', async () => {
    for (const when of ['before', 'after'] as const) {
      const { ends, onEnd } = listener()
      let isLost = false
      const process = open(completing, { onEnd, faults: { fault: ({ batch }) => {
        if (isLost || batch?.rows?.some(({ table }) => table === 'outbox') !== true) return undefined
        isLost = true
        return { do: 'unknown', when }
      } } })
      await process.run(completing)
      expect(ends.length).toBe(1)
      expect(await outbox(process.world)).toEqual([])
    }
  })

  test('a listener that throws is asked again, ever more rarely, also by later hosts; its words are masked', async () => {
    const { ends, onEnd } = listener(4)
    const process = open(completing, { onEnd: (end) => onEnd(end).catch(() => { throw new Error('no answer with Bearer abcdefghijklmnopqrstuvwxyz0123456789') }) })
    await process.runs.start(completing, 0, { id: ID })
    const times: number[] = []
    const began = process.now
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed', wakeAt: began + 5000 })
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed', wakeAt: began + 5000 })
    expect(ends.length).toBe(1)
    expect(process.world.row().wakeAt).toBe(began + 5000)
    expect(JSON.stringify(process.host.logs)).not.toContain('abcdefghijklmnopqrstuvwxyz')
    await process.crash()
    const next = process.world.boot(completing, { onEnd: async (end) => { times.push(next.now - began); await onEnd(end) } })
    await next.runs.settle(ID)
    expect(times).toEqual([5000, 15_000, 35_000, 75_000])
    expect(ends.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5])
    expect(await outbox(process.world)).toEqual([])
    expect(process.world.row().wakeAt).toBe(null)
  })

  test('after the last try it is kept as dead, logged, and nothing wakes the run', async () => {
    const { ends, onEnd } = listener(1000)
    const process = open(completing, { onEnd, limits: { noticeTries: 4 } })
    await process.run(completing)
    expect(ends.length).toBe(4)
    expect(await outbox(process.world)).toMatchObject([{ isDead: true, tries: 4 }])
    expect(process.host.logs.map(({ level }) => level)).toEqual(['warn', 'warn', 'warn', 'error'])
    expect(process.world.row().wakeAt).toBe(null)
    await process.runs.settle(ID)
    expect(ends.length).toBe(4)
  })

  test('a listener that kills every host is given up as well', async () => {
    const world = new World()
    let tellings = 0
    await world.boot(completing).runs.start(completing, 0, { id: ID })
    for (let i = 0; i < 20; i++) {
      const process = world.boot(completing, { limits: { noticeTries: 3 }, onEnd: () => { tellings++; return new Promise(() => {}) } })
      const { wakeAt } = world.row()
      if (wakeAt === null) break
      process.host.advanceTo(wakeAt)
      await process.begin()
      await process.crash()
    }
    expect(tellings).toBe(3)
    expect(await outbox(world)).toMatchObject([{ isDead: true }])
    expect(world.row().wakeAt).toBe(null)
  })

  test('where nobody listens any more it waits for a deploy, a day at a time', async () => {
    const process = open(completing, { onEnd: () => { throw new Error('no') } })
    await process.runs.start(completing, 0, { id: ID })
    await process.runs.drive(ID)
    await process.crash()
    const deaf = process.world.boot(completing)
    deaf.host.advance(10_000)
    expect(await deaf.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed', wakeAt: deaf.now + DAY })
    await deaf.crash()
    const { ends, onEnd } = listener()
    await process.world.boot(completing, { onEnd }).runs.settle(ID)
    expect(ends).toMatchObject([{ attempt: 2, status: 'completed' }])
  })

  test('a host that is closed while it tells is not waited for, and another tells it again', async () => {
    const { promise, open: answer } = gate()
    const process = open(completing, { onEnd: () => promise })
    await process.runs.start(completing, 0, { id: ID })
    const { end } = await process.begin()
    await (await process.runs.driver(ID)).stop()
    expect(await end).toEqual({ kind: 'stopped' })
    answer()
    const { ends, onEnd } = listener()
    await process.world.boot(completing, { onEnd }).runs.settle(ID)
    expect(ends).toMatchObject([{ attempt: 2 }])
  })
})

describe('G24: a new generation and what was not told', () => {
  test('a restart keeps it: it is told by the run that goes on, and then the new end is', async () => {
    const { ends, onEnd } = listener(1)
    const process = open(failing, { onEnd })
    await process.runs.start(failing, 0, { id: ID })
    await process.runs.drive(ID)
    expect(ends.length).toBe(1)
    await process.crash()
    const next = process.world.boot(sleeping, { onEnd })
    await next.runs.control(ID, { kind: 'restart' })
    const parked = await next.runs.drive(ID)
    expect(process.world.record()).toMatchObject({ status: 'waiting', generation: 2, endedAt: undefined, expiresAt: undefined })
    expect(await outbox(process.world)).toMatchObject([{ generation: 1, status: 'failed' }])
    // Woken for the notice, long before its timer.
    expect(parked).toEqual({ kind: 'parked', wakeAt: process.now + 5000 })
    next.host.advance(5000)
    expect(await next.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: process.now + DAY })
    expect(ends.map(({ generation, status, attempt }) => [generation, status, attempt])).toEqual([[1, 'failed', 1], [1, 'failed', 2]])
    expect(await next.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(ends.map(({ generation, status }) => [generation, status])).toEqual([[1, 'failed'], [1, 'failed'], [2, 'completed']])
    expect(await outbox(process.world)).toEqual([])
    expect(process.world.row().wakeAt).toBe(null)
  })

  test('a run of a later generation that is paused or blocked is woken for it too, and where nobody listens not without end', async () => {
    const { ends, onEnd } = listener(1)
    const process = open(failing, { onEnd })
    await process.runs.start(failing, 0, { id: ID })
    await process.runs.drive(ID)
    await process.crash()
    const next = process.world.boot(sleeping, { onEnd })
    await next.runs.control(ID, { kind: 'restart' })
    await next.runs.drive(ID)
    await next.runs.control(ID, { kind: 'pause' })
    expect(await next.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: process.now + 5000 })
    await next.crash()
    const deaf = process.world.boot(sleeping)
    deaf.host.advance(6000)
    expect(await deaf.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: deaf.now + DAY })
    await deaf.crash()
    const again = process.world.boot(sleeping, { onEnd })
    expect(await again.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: null })
    expect(ends.map(({ attempt }) => attempt)).toEqual([1, 2])
    expect(process.world.record().status).toBe('paused')
  })
})

describe('G24: the retention mark', () => {
  const retention = { completed: '7 days', failed: '30 days' } as const

  test.each([
    ['completed', workflow({ name: 'w', input: anything, retention }, async () => 1), false, 7],
    ['failed', workflow({ name: 'w', input: anything, retention }, async () => { throw new StepwellError('failed', 'no') }), false, 30],
    ['cancelled', workflow({ name: 'w', input: anything, retention }, async (ctx) => { await ctx.sleep('1 day') }), true, 30],
    ['cancelled while it was blocked', workflow({ name: 'w', input: anything, retention }, async () => { (undefined as unknown as { x: { y: number } }).x.y = 1 }), true, 30],
    ['without one', workflow({ name: 'w', input: anything }, async () => 1), false, undefined],
  ] as const)('%s', async (_, definition, isCancelled, days) => {
    const marks: unknown[] = []
    const process = open(definition, { faults: { committed: (batch) => {
      const last = batch.entries?.at(-1)
      if (last !== undefined && batch.row !== undefined) marks.push((decode(batch.row.record.subarray(0, -8)) as { expiresAt: unknown }).expiresAt)
    } } })
    await process.runs.start(definition, 0, { id: ID })
    await process.runs.drive(ID)
    if (isCancelled) {
      await process.runs.cancel(ID)
      await process.runs.settle(ID)
    }
    const { endedAt, expiresAt } = process.world.record()
    expect(expiresAt).toBe(days === undefined ? undefined : (endedAt as number) + days * DAY)
    // In the commit of the end, and in none before.
    expect(marks).toEqual([undefined, ...Array<undefined>(marks.length - 2).fill(undefined), expiresAt])
  })

  test.each([
    ['both', retention, 30], ['one for failures alone', { failed: '30 days' }, 30], ['none for failures', { completed: '7 days' }, undefined],
  ] as const)('of a run that is cancelled where nobody knows its workflow: as its definition said at the start, %s', async (_, given, days) => {
    const w = workflow({ name: 'w', input: anything, retention: given }, async (ctx) => { await ctx.sleep('1 day') })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const second = world.boot(workflow({ name: 'another', input: anything }, async () => 1))
    await second.runs.cancel(ID)
    const end = await second.runs.settle(ID)
    const { endedAt, expiresAt } = world.record()
    expect(expiresAt).toBe(days === undefined ? undefined : (endedAt as number) + days * DAY)
    expect(end).toEqual({ kind: 'ended', status: 'cancelled', ...(days === undefined ? undefined : { expiresAt }) })
  })

  test('a duration that is none is no definition', () => {
    expect(() => workflow({ name: 'w', input: anything, retention: { completed: 'soon' as never } }, async () => 1)).toThrow(expect.objectContaining({ code: 'invalid_duration' }))
  })
})
