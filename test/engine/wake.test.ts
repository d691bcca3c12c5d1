// G29 for requests: one that was acknowledged is acted on, whoever dies before anybody has read it; and a wake that finds nothing to
// do is not followed by another.

import { describe, expect, test } from 'vitest'
import { workflow } from '../../src/define.ts'
import { encode } from '../../src/codec.ts'
import { requestCancel } from '../../src/engine/cancel.ts'
import { requestControl } from '../../src/engine/control.ts'
import { startRun } from '../../src/engine/start.ts'
import { limits } from '../../src/limits.ts'
import type { ControlRequest } from '../../src/client.ts'
import { ambiguous } from '../../src/errors.ts'
import { anything, ID, open, type Process, World } from './support.ts'

const DAY = 24 * 3_600_000

/** The request is stored, and its host dies before it drives. What wakes the run then is the time in its row alone. */
async function postAndDie(process: Process, request: ControlRequest | 'cancel'): Promise<void> {
  const store = process.world.shelf.open(ID)
  if (request === 'cancel') await requestCancel(store, process.now)
  else await requestControl(store, process.now, request)
  await process.crash()
}

const due = ({ world, now }: Process): boolean => world.shelf.due(9).some(({ runId, wakeAt }) => runId === ID && wakeAt <= now)

describe('G29: a request is read, whoever dies after it was stored', () => {
  const failing = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => { throw new Error('down') }, { retry: { limit: 0 } })
  })
  const sleeping = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('30 days') })
  const asking = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.effect('pay', () => { throw ambiguous(new Error('timeout')) }, { kind: 'money', input: 1, onAmbiguous: 'ask' })
  })

  test.each([
    ['a failed run is retried', failing, undefined, { kind: 'retry' }, { status: 'failed', generation: 2 }],
    ['an ended run begins again', failing, undefined, { kind: 'restart' }, { status: 'failed', generation: 2 }],
    ['a run that sleeps is paused', sleeping, undefined, { kind: 'pause' }, { status: 'paused' }],
    ['a paused run goes on', sleeping, 'pause', { kind: 'resume' }, { status: 'waiting' }],
    ['a paused run is cancelled', sleeping, 'pause', 'cancel', { status: 'cancelled' }],
    ['a run that sleeps is cancelled', sleeping, undefined, 'cancel', { status: 'cancelled' }],
  ] as const)('%s', async (_, definition, before, request, expected) => {
    const process = open(definition)
    await process.runs.start(definition, 0, { id: ID })
    await process.runs.drive(ID)
    if (before !== undefined) {
      await process.runs.control(ID, { kind: before })
      await process.runs.drive(ID)
      expect(process.world.row().wakeAt).toBe(null)
    }
    expect(due(process)).toBe(false)
    await postAndDie(process, request)
    expect(due(process)).toBe(true)
    const next = process.world.boot(definition)
    await next.runs.drive(ID)
    expect(process.world.record()).toMatchObject(expected)
    expect(due(next)).toBe(false)
    expect(process.world.shelf.open(ID).keys('inbox', { limit: 9 })).toEqual([])
  })

  test('a run that asks what became of an effect', async () => {
    const process = open(asking)
    await process.run(asking)
    expect(process.world.record().status).toBe('blocked')
    const { seq } = (process.world.record().blocked?.details as { effects: { seq: number }[] }).effects[0] as { seq: number }
    await postAndDie(process, { kind: 'resolve', seq, decision: 'happened', value: 1 })
    expect(due(process)).toBe(true)
    const next = process.world.boot(asking)
    await next.runs.drive(ID)
    expect(process.world.record().status).toBe('completed')
    expect(process.world.row().wakeAt).toBe(null)
  })

  test('a restart that is asked for in the moment in which the run ends begins it again', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('a', () => 1))
    const world = new World()
    let isAsked = false
    const process = world.boot(w, { faults: {
      fault: ({ batch }) => {
        if (!isAsked && batch?.row !== undefined && batch.expect.kind === 'head' && batch.expect.inbox !== undefined) {
          isAsked = true
          const store = world.shelf.open(ID)
          store.commit({ expect: { kind: 'exists' }, wakeBy: 1, post: [encode({ kind: 'restart', because: 'restart', generation: 1, inherited: [], at: 0 })] })
        }
        return undefined
      },
    } })
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(world.record()).toMatchObject({ generation: 2, status: 'completed' })
    expect(world.row().wakeAt).toBe(null)
  })
})

describe('G29: no wake without end', () => {
  test('what an ended run is sent is taken, and it sleeps again', async () => {
    const w = workflow({ name: 'w', input: anything }, async () => 1)
    const process = open(w)
    await process.run(w)
    const store = process.world.shelf.open(ID)
    for (const kind of ['pause', 'cancel', 'resume']) {
      store.commit({ expect: { kind: 'exists' }, post: [encode({ kind, at: 0 })], wakeBy: process.now })
    }
    store.commit({ expect: { kind: 'exists' }, wakeBy: 1, post: [encode({ kind: 'restart', because: 'restart', generation: 7, inherited: [], at: 0 })] })
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.world.row().wakeAt).toBe(null)
    expect(store.keys('inbox', { limit: 9 })).toEqual([])
    expect(process.world.record()).toMatchObject({ generation: 1, status: 'completed' })
  })

  test('a paused run that was woken, and has nothing to read, sleeps again', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('1 day') })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.control(ID, { kind: 'pause' })
    await process.runs.drive(ID)
    // As a host leaves it that dies behind the commit that has taken the message.
    process.world.rewrite({}, ID, process.now)
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: null })
    expect(process.world.row().wakeAt).toBe(null)
    expect(process.world.record().status).toBe('paused')
  })

  test('pausing and going on adds no entry, and is progress all the same', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('1 day') })
    const process = open(w, { limits: { wakes: 3 } })
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    for (let i = 0; i < 12; i++) {
      await process.runs.control(ID, { kind: i % 2 === 0 ? 'pause' : 'resume' })
      await process.runs.drive(ID)
      expect(process.world.record().status).toBe(i % 2 === 0 ? 'paused' : 'waiting')
    }
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('one message that kills every host is no reason to be woken without end', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('1 day') })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    await postAndDie(first, { kind: 'pause' })
    let wakes = 0
    while (world.record().status !== 'blocked' && ++wakes < 100) {
      // Each dies behind the commit with which it took the run up.
      let commits = 0
      const process = world.boot(w, { limits: { wakes: 4 }, faults: {
        fault: ({ method }) => method === 'commit' && ++commits === 1 && world.record().wakes < 4 ? { do: 'crash', when: 'after' } : undefined,
      } })
      process.host.advance(DAY / 24)
      const drive = await process.begin()
      if (!drive.isOver()) await process.crash()
      world.tell(process.now)
    }
    expect(wakes).toBeLessThan(10)
    expect(world.record().blocked?.code).toBe('no_progress')
  })

  test('a message does not make a run begin before its delay is over', async () => {
    const ran: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.step('a', () => { ran.push('a') }) })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID, delay: '1 day' })
    const begins = process.now + DAY
    await process.runs.control(ID, { kind: 'pause' })
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: null })
    await process.runs.control(ID, { kind: 'resume' })
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: begins })
    expect(process.world.row().wakeAt).toBe(begins)
    expect(process.world.record().status).toBe('queued')
    expect(ran).toEqual([])
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.now).toBe(begins)
    expect(ran).toEqual(['a'])
  })
})

describe('Z-041: a start, a cancel and a request do not wait for an answer without end', () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('1 day') })

  test.each(['before', 'after'] as const)('a start whose commit hangs (%s it was written)', async (when) => {
    const process = open(w, { faults: { fault: ({ method }) => method === 'commit' ? { do: 'hang', when } : undefined } })
    const started = startRun(await process.handle(), process.host, limits({ commitMs: 50 }), w, 0, { id: ID })
    const answer = started.then((value) => value, (error: unknown) => error)
    await process.idle()
    await process.pass(60)
    expect(await answer).toMatchObject(when === 'after' ? { id: ID, created: true } : { code: 'store_unavailable', cause: { code: 'commit_timeout' } })
  })

  test.each(['before', 'after'] as const)('a request whose commit hangs once (%s it was written)', async (when) => {
    const world = new World()
    await world.boot(w).runs.start(w, 0, { id: ID })
    const process = world.boot(w, { faults: { fault: ({ method, nth }) => method === 'commit' && nth % 2 === 1 ? { do: 'hang', when } : undefined } })
    const bound = { ms: 50, timer: (ms: number, run: () => void) => process.host.timer(ms, run) }
    const store = await process.handle()
    for (const [kind, ask] of [
      ['pause', () => requestControl(store, process.now, { kind: 'pause' }, undefined, bound)], ['cancel', () => requestCancel(store, process.now, {}, bound)],
    ] as const) {
      const asked = ask()
      await process.idle()
      await process.pass(60)
      expect(await asked, kind).toMatchObject({ outcome: 'requested' })
    }
    expect(world.row().inbox).toBe(when === 'after' ? 4 : 2)
    await world.boot(w).runs.settle(ID)
    expect(world.record().status).toBe('cancelled')
  })
})
