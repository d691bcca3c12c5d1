// What the simulator has found (test/simulator), each as the smallest run that shows it.

import { describe, expect, test } from 'vitest'
import { decode } from '../../src/codec.ts'
import type { Ctx } from '../../src/context.ts'
import type { AnyWorkflow } from '../../src/define.ts'
import type { Decided } from '../../src/engine/ambiguity.ts'
import { requestCancel } from '../../src/engine/cancel.ts'
import { requestControl } from '../../src/engine/control.ts'
import { post } from '../../src/engine/post.ts'
import { ambiguous, permanent, workflow } from '../../src/index.ts'
import { kindCodes } from '../../src/journal/entry.ts'
import { exportRun } from '../../src/journal/export.ts'
import { isMidDrive } from '../../src/journal/record.ts'
import type { Batch } from '../../src/store/store.ts'
import { checkReplay } from '../../src/testing/check-replay.ts'
import { ledgerOf } from '../contract/effects.contract.ts'
import { anything, gate, ID, open, override, type Process, quiesce, World } from './support.ts'

describe('G21: a cancel that was acknowledged', () => {
  test('G21: of somebody whom the driver does not hear ends the run as cancelled, however late it is read', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('a', () => 1)
      await ctx.step('b', () => held.promise)
      return 'done'
    })
    const held = gate()
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    // Another tab, whose bell is lost.
    expect(await requestCancel(process.world.shelf.open(ID), process.now)).toMatchObject({ outcome: 'requested' })
    held.open()
    expect(await drive.end).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.world.kinds().slice(-2)).toEqual(['cancel_requested', 'run_cancelled'])
    expect(process.world.shelf.open(ID).keys('inbox', { limit: 10 })).toEqual([])
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })

  const endings = ['cleaned', 'nothing to clean up', 'undone', 'told'] as const
  const timed = (shape: typeof endings[number], heard: unknown[], asked = (): void => {}): AnyWorkflow =>
    workflow({ name: 'w', input: anything, timeout: '1 hour', grace: '10 minutes' }, async (ctx) => {
      try {
        if (shape === 'undone') await ctx.effect('pay', () => 'paid', { kind: 'money', input: 1, onAmbiguous: 'fail', undo: () => 'back' })
        await ctx.sleep('1 day')
      } catch (error) {
        heard.push((error as { code?: unknown }).code)
        asked()
        if (shape === 'told') ctx.emit('stopped', 1)
        throw error
      } finally {
        if (shape === 'cleaned') await ctx.cleanup((c) => c.step('clean', () => 'cleaned'))
      }
    })
  const outranked = async (process: Process, w: AnyWorkflow, heard: readonly unknown[]): Promise<void> => {
    expect(process.world.kinds().map((kind) => kind.split(' ')[0])).not.toContain('deadline_passed')
    expect(process.world.kinds().filter((kind) => kind === 'cancel_requested' || kind === 'run_cancelled')).toEqual(['cancel_requested', 'run_cancelled'])
    expect(heard).toEqual(['run_timeout', 'cancelled'])
    expect(process.world.shelf.open(ID).keys('inbox', { limit: 10 })).toEqual([])
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  }

  test.each(endings)('G21: in the moment in which its deadline is committed outranks the deadline (%s)', async (shape) => {
    const heard: unknown[] = []
    const w = timed(shape, heard)
    const world = new World()
    const process = world.boot(w, { faults: { fault: ({ batch }) =>
      batch?.entries?.some(({ bytes }) => bytes[1] === kindCodes.deadline_passed) === true && world.row().inbox === 0
        ? { do: 'delay', when: 'before', until: requestCancel(world.shelf.open(ID), 0, { undo: shape === 'undone' }) }
        : undefined } })
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    await outranked(process, w, heard)
  })

  test.each(endings)('G21: between the delivery of its deadline and the commit outranks the deadline (%s)', async (shape) => {
    const heard: unknown[] = []
    const w = timed(shape, heard, () => { if (heard.length === 1) void process.runs.cancel(ID, 'now', { undo: shape === 'undone' }) })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    await outranked(process, w, heard)
  })

  test('G21: a message that is no cancel holds up no deadline', async () => {
    const heard: unknown[] = []
    const w = timed('cleaned', heard)
    const world = new World()
    const process = world.boot(w, { faults: { fault: ({ batch }) =>
      batch?.entries?.some(({ bytes }) => bytes[1] === kindCodes.deadline_passed) === true && world.row().inbox === 0
        ? { do: 'delay', when: 'before', until: requestControl(world.shelf.open(ID), 0, { kind: 'pause' }, 'ann') }
        : undefined } })
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(world.row().inbox).toBe(1)
    expect(heard).toEqual(['run_timeout'])
    expect(world.kinds().filter((kind) => kind === 'deadline_passed')).toHaveLength(1)
    expect(world.shelf.open(ID).keys('inbox', { limit: 10 })).toEqual([])
    expect(await replayed(world, w)).toEqual({ ok: true })
  })

  test.each(['before', 'after'] as const)('G21: behind the end of the function, with undo, and a crash %s the entry: undone, and cancelled', async (when) => {
    const undone: number[] = []
    let crashed = false
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (const n of [1, 2]) await ctx.step(`s${n}`, () => n, { undo: (value) => { undone.push(value) } })
      return 'done'
    })
    const world = new World()
    const first = world.boot(w, { faults: { fault: ({ batch }) => {
      const kinds = batch?.entries?.map(({ bytes }) => bytes[1])
      // 40: run_completed. The cancel comes in the very moment of the end.
      if (kinds?.includes(40) === true && world.row().inbox === 0) return { do: 'delay', when: 'before', until: requestCancel(world.shelf.open(ID), 0, { undo: true }) }
      // 30: cancel_requested.
      if (kinds?.includes(30) !== true || crashed) return undefined
      crashed = true
      return { do: 'crash', when }
    } } })
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.idle(50)
    expect(crashed).toBe(true)
    await first.crash()
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(undone).toEqual([2, 1])
    expect(world.kinds().filter((kind) => kind === 'cancel_requested')).toHaveLength(1)
  })

  test('G21, G29: that waits for an effect of which nobody knows is parked, says so, and may be looked at as often as one likes', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.effect('pay', () => new Promise(() => {}), { kind: 'money', input: 1, onAmbiguous: 'fail', timeout: '1 hour' }))
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.crash()
    const second = world.boot(w)
    await second.runs.cancel(ID)
    expect(await second.runs.drive(ID)).toMatchObject({ kind: 'parked' })
    expect(world.record()).toMatchObject({ status: 'cancelling', waitingFor: [{ kind: 'effect', key: 'pay' }] })
    expect(isMidDrive(world.record())).toBe(false)
    for (let look = 0; look < 100; look++) expect(await second.runs.drive(ID)).toMatchObject({ kind: 'parked' })
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
  })
})

describe('a cancel of a run that is blocked', () => {
  async function blocked(): Promise<{ readonly world: World; readonly newer: ReturnType<typeof make> }> {
    const newer = make(2)
    const world = new World()
    const first = world.boot(newer)
    await first.runs.start(newer, 0, { id: ID })
    await first.begin()
    await first.crash()
    const second = world.boot(make(1))
    expect(await second.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'unknown_version' } })
    return { world, newer }
  }
  const make = (version: number) => workflow({ name: 'w', version, input: anything }, async (ctx) => {
    await ctx.step('a', () => 1)
    await ctx.effect('pay', () => new Promise(() => {}), { kind: 'money', input: 1, onAmbiguous: 'ask' })
  })

  test('G16: decides about what nobody knows, in the commit of its end, and its export replays', async () => {
    const { world, newer } = await blocked()
    const process = world.boot(make(1))
    await process.runs.cancel(ID, 'gone', { principal: 'ann' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(world.kinds().slice(-3)).toEqual(['cancel_requested', 'effect_decided pay', 'run_cancelled'])
    expect(decode(world.entries().at(-2)?.payload as Uint8Array) as Decided).toMatchObject({ intent: 3, by: 'person', decision: 'fail', principal: 'ann' })
    expect(await ledgerOf(world.shelf.open(ID))).toMatchObject([{ key: 'pay', status: 'ambiguous', decision: { word: 'fail', by: 'person', principal: 'ann' } }])
    expect(await replayed(world, newer)).toEqual({ ok: true })
  })

  test('G21: with undo waits for code that can undo; without undo it ends', async () => {
    const { world } = await blocked()
    const process = world.boot(make(1))
    await process.runs.cancel(ID, undefined, { undo: true })
    expect(await process.runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'unknown_version' } })
    expect(world.kinds().at(-1)).toBe('effect_intended pay')
    expect(await requestCancel(world.shelf.open(ID), process.now, { undo: true })).toMatchObject({ outcome: 'already_requested' })
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(world.shelf.open(ID).keys('inbox', { limit: 10 })).toEqual([])
  })
})

test('G9, G15: what an attempt of the generation before reports before this one asks for it is no divergence', async () => {
  const answer = gate<string>()
  const pause = gate()
  let calls = 0
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1)
    if (ctx.info.generation > 1) await ctx.step('wait', () => pause.promise)
    return ctx.effect('pay', () => {
      calls++
      return calls === 1 ? answer.promise : 'paid'
    }, { kind: 'money', input: 1, onAmbiguous: 'ask', retry: { limit: 0 } })
  })
  const process = open(w, { takesEpoch: false })
  await process.runs.start(w, 0, { id: ID })
  await process.begin()
  expect(calls).toBe(1)
  await process.runs.control(ID, { kind: 'restart' })
  await process.idle(20)
  answer.fail(new Error('refused'))
  await process.idle(60)
  expect(process.world.kinds().slice(3)).toEqual(['generation_started', 'step_completed a', 'effect_attempt_failed pay'])
  // Another process replays it, in which the effect is not asked for yet either.
  await process.crash()
  pause.open()
  const second = process.world.boot(w)
  expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  expect(calls).toBe(2)
})

test('G9: code without a patch that the history has does not go on where code with it was', async () => {
  const make = (isNew: boolean) => workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1)
    if (isNew && ctx.patched('check first')) await ctx.step('check', () => wait.promise)
    await ctx.step('b', () => 2)
  })
  const wait = gate()
  const world = new World()
  const first = world.boot(make(true))
  await first.runs.start(make(true), 0, { id: ID })
  await first.begin()
  expect(world.kinds().at(-1)).toBe('patch_applied')
  await first.crash()
  // A tab that is still on the older code takes over.
  const older = world.boot(make(false))
  expect(await older.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'divergence', message: expect.stringContaining('ctx.patched("check first") was never asked') } })
  expect(world.kinds()).not.toContain('step_completed b')
  wait.open()
  expect(await world.boot(make(true)).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
})

test('G2: a step that ends while the run is paused, under a pass that had not asked for it yet, is not called again', async () => {
  const ends = gate<string>()
  const calls: string[] = []
  let failed = false
  let resumed = false
  const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.all({
    a: (inner) => inner.step('a', () => { calls.push('a'); return ends.promise }),
    b: (inner) => inner.step('b', async () => { calls.push('b') }),
  }))
  const process = open(w, { takesEpoch: false, faults: { fault: ({ batch }) => {
    // 10: step_completed. The pass ends, and the attempt at the other step goes on.
    if (batch?.entries?.some(({ bytes }) => bytes[1] === 10) !== true || resumed) return undefined
    if (!failed) {
      failed = true
      return { do: 'fail' }
    }
    // It is asked to go on while the outcome is being committed.
    resumed = true
    return { do: 'delay', when: 'before', until: process.runs.control(ID, { kind: 'resume' }) }
  } } })
  await process.runs.start(w, 0, { id: ID })
  const first = await process.begin()
  expect(await first.end).toMatchObject({ kind: 'unavailable' })
  await process.runs.control(ID, { kind: 'pause' })
  await process.idle(20)
  ends.open('a')
  await process.idle(20)
  expect(resumed).toBe(true)
  expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  expect(calls).toEqual(['a', 'b'])
  expect(process.world.kinds().filter((kind) => kind.startsWith('step_completed')).sort()).toEqual(['step_completed all/a/a', 'step_completed all/b/b'])
})

describe('what was committed while a run was paused', () => {
  /** A run that is paused while `a` and `c` are in their functions and a timer runs; `a` ends, and nobody has heard of it yet. */
  async function paused(): Promise<{ readonly process: ReturnType<typeof open>; readonly w: AnyWorkflow; readonly c: ReturnType<typeof gate<void>> }> {
    const ends = gate<string>()
    const c = gate()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.settled({
      a: async (inner) => {
        await inner.step('a', () => ends.promise)
        return inner.step('after a', () => 1)
      },
      b: (inner) => inner.sleep('1 minute'),
      // It keeps the pass awake.
      c: (inner) => inner.step('c', () => c.promise),
    }))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.begin()
    await process.runs.control(ID, { kind: 'pause' })
    await process.idle(20)
    ends.open('a')
    await process.idle(20)
    expect(process.world.kinds()).toEqual(['run_started', 'timer_set settled/b/ctx.sleep', 'step_completed settled/a/a'])
    return { process, w, c }
  }

  test('G8, G9: is delivered before a timer fires that was due meanwhile: the journal replays', async () => {
    const { process, w, c } = await paused()
    await process.pass(120_000)
    await process.runs.control(ID, { kind: 'resume' })
    await process.idle(50)
    c.open()
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.world.kinds()).toContain('timer_fired settled/b/ctx.sleep')
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })

  test('G8, G21: is delivered before the cancel that ends the pause: the journal replays', async () => {
    const { process, w } = await paused()
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    // The three calls, and the one that follows from what was delivered.
    expect(process.world.entries().find(({ kind }) => kind === 'cancel_requested')).toMatchObject({ calls: 4 })
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })
})

test('G21: a pause and a cancel with undo that are read at once: the cancel decides both, and its undoing goes on in another process', async () => {
  const held = gate()
  let undone = 0
  let failed = false
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1, { undo: () => { undone++ } })
    // What is open is settled before anything is undone.
    await ctx.effect('b', () => held.promise, { kind: 'idempotent', input: 1 })
  })
  const world = new World()
  const first = world.boot(w, { faults: { fault: ({ batch }) => {
    // 63: undo_completed.
    if (failed || batch?.entries?.some(({ bytes }) => bytes[1] === 63) !== true) return undefined
    failed = true
    return { do: 'crash', when: 'before' }
  } } })
  await first.runs.start(w, 0, { id: ID })
  await first.begin()
  // Nobody rings for these two.
  await requestControl(await first.runs.store(ID), first.now, { kind: 'pause' })
  await requestCancel(await first.runs.store(ID), first.now, { undo: true })
  await first.runs.cancel(ID)
  await first.idle(50)
  held.open()
  await first.idle(50)
  expect(failed).toBe(true)
  expect(world.record().paused).toBe(undefined)
  await first.crash()
  expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
  expect(undone).toBe(2)
})

describe('code that does not fit what a cancelled run has done, under policy restart', () => {
  const undone: string[] = []
  const make = (isNew: boolean): AnyWorkflow => workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
    await ctx.step('first', () => 1)
    await ctx.effect('pay', () => 2, { kind: 'idempotent', input: 1, undo: () => { undone.push('pay') } })
    if (isNew && ctx.patched('new')) await ctx.step('more', () => 1)
    await ctx.sleep('1 day')
  })

  test.each(['is asked for', 'is committed'] as const)('G21: a cancel with undo that %s is not forgotten: no generation begins, and code that fits undoes', async (how) => {
    undone.length = 0
    const world = new World()
    // 61: undo_intended. It dies before anything is undone.
    const first = world.boot(make(true), { faults: { fault: ({ batch }) => batch?.entries?.some(({ bytes }) => bytes[1] === 61) === true ? { do: 'crash', when: 'before' } : undefined } })
    await first.runs.start(make(true), 0, { id: ID })
    await first.runs.drive(ID)
    if (how === 'is asked for') await first.crash()
    await requestCancel(world.shelf.open(ID), first.now, { undo: true })
    if (how === 'is committed') {
      await first.begin()
      await first.idle(50)
      await first.crash()
      expect(world.kinds()).toContain('undo_started')
    }
    // A tab that is still on the older code takes over, twice: the second time the row says that it is blocked, and nothing of a cancel.
    for (let i = 0; i < 2; i++) {
      const older = world.boot(make(false))
      expect(await older.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'divergence' } })
      await older.crash()
    }
    expect(undone).toEqual([])
    expect(await world.boot(make(true)).runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(undone).toEqual(['pay'])
    expect(world.kinds()).not.toContain('generation_started')
  })
})

test('G21, Z-046: a restart that was asked for just before the cancel was committed is not acted on by whoever takes the run over', async () => {
  const undone: string[] = []
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1, { undo: () => { undone.push('a') } })
    await ctx.sleep('1 day')
  })
  const world = new World()
  // 61: undo_intended. The restart is acknowledged while the run undoes, and then its process dies.
  const first = world.boot(w, { faults: { fault: ({ batch }) => batch?.entries?.some(({ bytes }) => bytes[1] === 61) === true
    ? { do: 'crash', when: 'before' } : undefined } })
  await first.runs.start(w, 0, { id: ID })
  await first.runs.drive(ID)
  const store = world.shelf.open(ID)
  await requestCancel(store, first.now, { undo: true })
  expect(await requestControl(store, first.now, { kind: 'restart' })).toMatchObject({ outcome: 'requested' })
  await first.begin()
  await first.idle(50)
  await first.crash()
  expect(world.kinds().slice(-2)).toEqual(['cancel_requested', 'undo_started'])
  expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
  expect(undone).toEqual(['a'])
  expect(world.shelf.open(ID).keys('inbox', { limit: 10 })).toEqual([])
})

describe('a cancel with undo of a generation that has not asked yet for what the one before did', () => {
  /** Cancelled in the first step of its second generation. */
  async function unreachable(): Promise<{ readonly process: ReturnType<typeof open>; readonly seq: number; readonly undone: string[]; readonly w: AnyWorkflow }> {
    const undone: string[] = []
    const held = gate<number>()
    let starts = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('first', () => ++starts === 1 ? 1 : held.promise)
      await ctx.effect('pay', () => 2, { kind: 'money', onAmbiguous: 'fail', input: 1, undo: () => { undone.push('pay') } })
      await ctx.sleep('1 day')
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.control(ID, { kind: 'restart' })
    await process.idle(50)
    expect(starts).toBe(2)
    await process.runs.cancel(ID, undefined, { undo: true })
    const end = await process.runs.settle(ID)
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_unreachable', details: { effects: [{ key: 'pay', kind: 'money', generation: 1 }] } } })
    const { seq } = (process.world.record().blocked?.details as { effects: { seq: number }[] }).effects[0] as { seq: number }
    expect(process.world.entries()[seq - 1]).toMatchObject({ kind: 'effect_completed', key: 'pay' })
    return { process, seq, undone, w }
  }

  test.each([['happened', 'undone'], ['skip', 'done']] as const)('G15, G21: a person decides "%s": the ledger says %s, the run is cancelled, and its journal replays', async (decision, status) => {
    const { process, seq, undone, w } = await unreachable()
    await expect(process.runs.control(ID, { kind: 'resolve', seq, decision: 'rerun' })).rejects.toMatchObject({ code: 'invalid_argument' })
    await expect(process.runs.control(ID, { kind: 'resolve', seq: seq + 1, decision })).rejects.toMatchObject({ code: 'nothing_to_resolve' })
    expect(await process.runs.control(ID, { kind: 'resolve', seq, decision }, 'ada')).toMatchObject({ outcome: 'requested' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.world.kinds().slice(-4)).toEqual(['cancel_requested', 'undo_started', 'undo_completed pay', 'run_cancelled'])
    expect(await ledgerOf(process.world.shelf.open(ID))).toMatchObject([{ status, decision: { by: 'person', word: decision, principal: 'ada' } }])
    expect(undone).toEqual([])
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })

  test('G21: the decision outlives the process that would have acted on it', async () => {
    const { process, seq, undone, w } = await unreachable()
    const { world } = process
    await requestControl(world.shelf.open(ID), process.now, { kind: 'resolve', seq, decision: 'happened' })
    await process.crash()
    let crashes = 0
    // Each commit of the next process is its last, until nothing is left to do.
    for (let end: unknown; end === undefined;) {
      const next = world.boot(w, { faults: { fault: ({ batch }) => batch === undefined || crashes > 20 ? undefined : { do: 'crash', when: 'after' } } })
      if (crashes++ > 20) end = await next.runs.settle(ID)
      else {
        await next.begin()
        await next.idle(20)
        await next.crash()
      }
    }
    expect(world.record().status).toBe('cancelled')
    expect(undone).toEqual([])
    expect(world.kinds().filter((kind) => kind === 'undo_completed pay')).toHaveLength(1)
  })

  test('Z-046: it is not restarted, though it is blocked', async () => {
    const { process } = await unreachable()
    await expect(process.runs.control(ID, { kind: 'restart' })).rejects.toMatchObject({ code: 'already_ended' })
  })

  test('G21: a cancel without undo leaves it, and ends the run', async () => {
    const { process, undone } = await unreachable()
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(undone).toEqual([])
  })
})

test('G15, G21: what was taken back by hand is not taken for another act that has its key in a later generation', async () => {
  const undone: number[] = []
  let round = 0
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    const n = await ctx.step('round', () => ++round)
    await ctx.effect('pay', () => n, { kind: 'money', onAmbiguous: 'fail', input: n, undo: (made) => { undone.push(made) } })
    await ctx.sleep('1 day')
  })
  const world = new World()
  // 61: undo_intended. It dies behind the decision and before the undo.
  const first = world.boot(w, { faults: { fault: ({ batch }) => batch?.entries?.some(({ bytes }) => bytes[1] === 61) === true ? { do: 'crash', when: 'before' } : undefined } })
  await first.runs.start(w, 0, { id: ID })
  await first.runs.drive(ID)
  await first.runs.control(ID, { kind: 'restart' })
  await first.idle(50)
  await first.runs.cancel(ID, undefined, { undo: true })
  expect(await first.runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_unreachable', details: { effects: [{ key: 'pay', generation: 1 }] } } })
  const [{ seq }] = (world.record().blocked?.details as { effects: [{ seq: number }] }).effects
  await requestControl(world.shelf.open(ID), first.now, { kind: 'resolve', seq, decision: 'happened' })
  await first.begin()
  await first.idle(50)
  await first.crash()
  expect(world.kinds().at(-1)).toBe('undo_completed pay')
  expect(undone).toEqual([])
  expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
  expect(undone).toEqual([2])
})

test('G21: the intent of an undo is flushed before its function is called', async () => {
  const seen: string[] = []
  let fails = false
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1, { undo: () => { seen.push('undo') } })
    fails = true
    return ctx.fail('no')
  })
  const world = new World()
  const process = world.boot(w, { wrap: (store) => override(store, {
    flush: async () => {
      for (let turn = 0; turn < 50; turn++) await undefined
      if (fails) seen.push(`flushed behind ${world.kinds().at(-1)}`)
    },
  }) })
  expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
  expect(seen).toEqual(['flushed behind undo_intended a', 'undo'])
})

test('G9, G21: a patch that is asked for behind a cancel is behind it in the journal too, and a crash between the two is no divergence', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.sleep('1 day').catch(() => {})
    if (ctx.patched('second')) await ctx.step('never', () => 1).catch(() => {})
  })
  const world = new World()
  let crashed = false
  const first = world.boot(w, { faults: { fault: ({ batch }) => {
    // 70: patch_applied.
    if (crashed || batch?.entries?.some(({ bytes }) => bytes[1] === 70) !== true) return undefined
    crashed = true
    return { do: 'crash', when: 'after' }
  } } })
  await first.runs.start(w, 0, { id: ID })
  await first.runs.drive(ID)
  await first.runs.cancel(ID)
  await first.idle(50)
  expect(crashed).toBe(true)
  await first.crash()
  expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
  expect(world.kinds().slice(2)).toEqual(['cancel_requested', 'patch_applied', 'run_cancelled'])
})

test('G11: a clock that is set back between a cancel and the end of the run: no entry is older than the one before it', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    try {
      await ctx.sleep('1 day')
    } finally {
      process.host.jump(-60_000)
    }
  })
  const process = open(w)
  await process.runs.start(w, 0, { id: ID })
  await process.runs.drive(ID)
  await process.pass(1000)
  await process.runs.cancel(ID)
  expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
  const times = process.world.entries().map(({ at }) => at)
  expect(times).toEqual(times.toSorted((a, b) => a - b))
  expect(process.now).toBeLessThan(times.at(-1) as number)
})

describe('G19, G11: a clock that is set back between the look at it and the commit of a timer: it has not fired before its time, and the function sees none before it', () => {
  const waits: readonly [what: string, wait: (ctx: Ctx) => Promise<unknown>][] = [
    ['a sleep', (ctx) => ctx.sleep('1 hour')],
    ['a signal that does not come', (ctx) => (ctx as unknown as { signal(name: string, options: object): Promise<unknown> }).signal('go', { timeout: '1 hour' })],
  ]
  test.each(waits)('%s, while the end of a pause is committed', async (_, wait) => {
    const w = workflow({ name: 'w', input: anything, signals: { go: anything } }, async (ctx) => {
      await wait(ctx as unknown as Ctx)
      return ctx.now() - ctx.info.createdAt
    })
    let isDue = false
    const process: Process = open(w, { faults: { fault: ({ batch }) => {
      if (isDue && batch?.take !== undefined) {
        isDue = false
        process.host.jump(-5000)
      }
      return undefined
    } } })
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.control(ID, { kind: 'pause' })
    await process.runs.drive(ID)
    process.host.advance(3_600_000)
    await process.runs.control(ID, { kind: 'resume' })
    isDue = true
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(isDue).toBe(false)
    expect((await process.runs.summary(ID)).output).toBe(3_600_000)
    const fired = process.world.entries().find(({ kind }) => kind === 'timer_fired')
    expect(fired?.at).toBe(fired?.due)
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })
})

describe('G2, G13: what a probe answered could not be written', () => {
  const probing = (probe: () => unknown, and: () => unknown = () => 0): AnyWorkflow => workflow({ name: 'w', input: anything }, async (ctx) => {
    const { a } = await ctx.all({
      a: (c) => c.effect('a', () => { throw ambiguous(new Error('who knows')) }, { kind: 'money', input: 1, onAmbiguous: 'probe', probe: probe as () => 'unknown' }),
      b: (c) => c.step('b', and),
    })
    return a
  })
  /** `effect_decided`: 54. `step_completed`: 10. */
  const full = (kind: number, times: number) => {
    let left = times
    return { fault: ({ batch }: { batch?: Batch | undefined }) => batch?.entries?.some(({ bytes }) => bytes[1] === kind) === true && left-- > 0 ? { do: 'fail', error: 'quota' } as const : undefined }
  }

  test('its answer counts once, however often the disk was full', async () => {
    let probes = 0
    const w = probing(() => { probes++; return { happened: 'yes' } })
    const process = open(w, { faults: full(54, 2) })
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.drive(ID)).toMatchObject({ kind: 'unavailable' })
    expect(await process.runs.drive(ID)).toMatchObject({ kind: 'unavailable' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.world.kinds().filter((kind) => kind.includes('effect_'))).toEqual(['effect_intended all/a/a', 'effect_ambiguous all/a/a', 'effect_decided all/a/a', 'effect_completed all/a/a'])
    expect((await process.runs.summary(ID)).output).toBe('yes')
    expect(probes).toBe(3)
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })

  test('one that is still on its way when the disk is full is not waited for, and its answer is nobody\'s', async () => {
    const [answers, step] = [gate<{ happened: string }>(), gate<number>()]
    let probes = 0
    const w = probing(() => { probes++; return answers.promise }, () => step.promise)
    const process = open(w, { faults: full(10, 1) })
    await process.runs.start(w, 0, { id: ID })
    const first = await process.begin()
    expect(probes).toBe(1)
    step.open(1)
    expect(await first.end).toMatchObject({ kind: 'unavailable' })
    const second = await process.begin()
    expect(probes).toBe(2)
    answers.open({ happened: 'yes' })
    expect(await second.end).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.world.kinds().filter((kind) => kind.includes('effect_'))).toEqual(['effect_intended all/a/a', 'effect_ambiguous all/a/a', 'effect_decided all/a/a', 'effect_completed all/a/a'])
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })
})

async function replayed(world: World, definition: Parameters<typeof checkReplay>[1]): Promise<{ readonly ok: boolean; readonly error?: unknown }> {
  const lines: string[] = []
  for await (const line of exportRun(world.shelf.open(ID))) lines.push(line)
  const checked = await checkReplay(lines, definition, { quiesce })
  return checked.ok ? { ok: true } : { ok: false, error: checked.error.message }
}

describe('G2, G13: an effect failed while the run was paused, and an attempt that had timed out reports before that is delivered', () => {
  for (const policy of ['probe', 'rerun'] as const) {
    for (const fails of [false, true]) {
      test(`policy ${policy}, and the run ${fails ? 'fails' : 'completes'}: one outcome, and what has happened is on record`, async () => {
        const [bank, second, probe, other] = [gate<string>(), gate<string>(), gate<'did-not-happen'>(), gate()]
        const undone: unknown[] = []
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          await ctx.all({
            // The host does not go to sleep meanwhile.
            b: (c) => c.step('b', () => other.promise),
            a: (c) => c.effect('a', ({ attempt }) => (attempt === 1 ? bank : second).promise, {
              kind: 'money', input: 1, timeout: '5 seconds', retry: { limit: policy === 'probe' ? 0 : 1, delay: 0 }, onAmbiguous: policy, probe: () => probe.promise, undo: (outcome) => { undone.push(outcome) },
            }).catch((error: { code: string }) => error.code),
          })
          if (fails) throw new Error('no')
        })
        const process = open(w)
        await process.runs.start(w, 0, { id: ID })
        const drive = await process.begin()
        await process.pass(5000)
        await process.runs.control(ID, { kind: 'pause' })
        await process.idle(5)
        probe.open('did-not-happen')
        second.fail(permanent(new Error('declined')))
        await process.idle(5)
        expect(process.world.kinds().at(-1)).toBe('effect_failed all/a/a')
        bank.open('paid')
        await process.idle(5)
        expect(process.world.record().status).toBe('paused')
        await process.runs.control(ID, { kind: 'resume' })
        await process.idle(5)
        other.open()
        expect(await drive.end).toEqual({ kind: 'ended', status: fails ? 'failed' : 'completed' })
        const kinds = process.world.kinds()
        expect(kinds.filter((kind) => ['effect_failed', 'effect_completed', 'effect_recorded'].some((each) => kind.startsWith(each)))).toEqual(['effect_failed all/a/a', 'effect_recorded all/a/a'])
        expect(undone).toEqual(fails ? ['paid'] : [])
        expect(await replayed(process.world, w)).toEqual({ ok: true })
      })
    }
  }
})

describe('G13: a late report settles an effect when a drive begins, and its next attempt is still under way', () => {
  test.each(['times out', 'happens', 'fails'] as const)('which then %s: that is no news, and harms nothing', async (how) => {
    const [first, second, step] = [gate<string>(), gate<string>(), gate()]
    let calls = 0
    let full = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const { a } = await ctx.all({
        a: (c) => c.effect('a', () => (++calls === 1 ? first : second).promise, { kind: 'money', input: 1, timeout: '5 seconds', onAmbiguous: 'rerun', retry: { limit: 5, delay: 0 } }),
        b: (c) => c.step('b', () => step.promise),
      })
      // Here for as long as the second attempt may take.
      await ctx.step('wait', () => late.promise)
      return a
    })
    const late = gate()
    const process = open(w, { faults: { fault: ({ batch }) => full > 0 && batch?.entries?.some(({ bytes }) => bytes[1] === kindCodes.step_completed) === true && full-- > 0 ? { do: 'quota' } : undefined } })
    await process.runs.start(w, 0, { id: ID })
    await process.begin()
    await process.pass(5000)
    await process.idle(10)
    expect(calls).toBe(2)
    // A drive ends because of a full disk, and before the next one begins the first attempt reports.
    full = 1
    step.open()
    await process.idle(10)
    expect(full).toBe(0)
    first.open('paid by the first')
    await process.idle(5)
    const { end } = await process.begin()
    await process.idle(10)
    expect(process.world.kinds().filter((kind) => kind === 'effect_completed all/a/a')).toHaveLength(1)
    if (how === 'happens') second.open('paid by the second')
    if (how === 'fails') second.fail(permanent(new Error('declined')))
    if (how === 'times out') await process.pass(5000)
    await process.idle(10)
    late.open()
    expect(await end).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toBe('paid by the first')
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })
})

describe('G9: a patch that lies behind what the next generation inherits', () => {
  const code = (version: 1 | 2, place: 'before' | 'behind'): AnyWorkflow => workflow({ name: 'w', version, replays: version === 2 ? [1] : [], input: anything }, async (ctx) => {
    const patch = async (at: typeof place): Promise<void> => {
      if (version === 2 && at === place && ctx.patched('two')) await ctx.step('new', () => 1)
    }
    await ctx.step('a', () => 1)
    await ctx.sleep('1 hour')
    await patch('before')
    await ctx.step('b', () => { throw new Error('no') }, { retry: { limit: 0 } }).catch(() => {})
    await patch('behind')
    await ctx.step('c', () => 1)
    await ctx.sleep('1 hour')
    throw new Error('after all')
  })
  const failed = { kind: 'ended', status: 'failed' }
  /** Begun by older code, brought to its end by newer code, and asked to go on from its failure. */
  const retried = async (place: 'before' | 'behind'): Promise<World> => {
    const world = new World()
    const old = world.boot(code(1, place))
    await old.runs.start(code(1, place), 0, { id: ID })
    await old.runs.drive(ID)
    await old.crash()
    const newer = world.boot(code(2, place))
    newer.host.advance(3_600_000)
    expect(await newer.runs.settle(ID)).toEqual(failed)
    expect(world.kinds().filter((kind) => kind.startsWith('patch_applied') || kind.endsWith('new'))).toEqual(['patch_applied', 'step_completed new'])
    await newer.runs.control(ID, { kind: 'retry' })
    await newer.crash()
    return world
  }
  /** What the second generation has of it. */
  const again = (world: World): readonly string[] => world.kinds().slice(world.kinds().indexOf('generation_started') + 1).filter((kind) => kind.startsWith('patch_applied') || kind.endsWith('new'))

  test.each([1, 2] as const)('is not of it: code of version %d goes on as it would, and newer code replays that', async (version) => {
    const world = await retried('behind')
    const first = world.boot(code(version, 'behind'))
    expect(await first.runs.drive(ID)).toMatchObject({ kind: 'parked' })
    expect(again(world)).toEqual(version === 1 ? [] : ['patch_applied', 'step_completed new'])
    const { patches, inherited } = world.record()
    expect(patches).toEqual(version === 1 ? [] : ['two'])
    await first.crash()
    // The row is a projection: where it is behind, the journal says the same.
    world.rewrite({ generation: 1, generationSeq: 1, inherited: [], patches: version === 1 ? ['two'] : [], status: 'running' }, ID, first.now)
    const newer = world.boot(code(2, 'behind'))
    expect(await newer.runs.drive(ID)).toMatchObject({ kind: 'parked' })
    expect(world.record()).toMatchObject({ generation: 2, patches, inherited })
    expect(await newer.runs.settle(ID)).toEqual(failed)
    expect(await replayed(world, code(2, 'behind'))).toEqual({ ok: true })
  })

  test('one that it does inherit is of it: older code is refused, and newer code goes on with it', async () => {
    const world = await retried('before')
    expect(await world.boot(code(1, 'before')).runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'divergence' } })
    expect(world.record().patches).toEqual(['two'])
    expect(await world.boot(code(2, 'before')).runs.settle(ID)).toEqual(failed)
    expect(again(world)).toEqual([])
    expect(await replayed(world, code(2, 'before'))).toEqual({ ok: true })
  })
})

describe('G13: a decision that is there twice counts once', () => {
  const decisions = [
    ['happened', { value: 'by hand' }, 'by hand', 1, ['effect_decided', 'effect_completed']],
    ['rerun', {}, 'paid', 2, ['effect_decided', 'effect_intended', 'effect_completed']],
    ['skip', { value: 'none' }, 'none', 1, ['effect_decided', 'effect_completed']],
    ['fail', {}, 'effect_ambiguous', 1, ['effect_decided', 'effect_failed']],
  ] as const
  const paying = (calls: string[], policy: 'ask' | 'fail' = 'ask') => workflow({ name: 'w', input: anything }, async (ctx) =>
    ctx.effect('pay', ({ idempotencyKey }) => {
      if (calls.push(idempotencyKey) === 1) throw ambiguous(new Error('who knows'))
      return 'paid'
    }, { kind: 'money', input: 1, onAmbiguous: policy }).catch((error: { code: string }) => error.code))
  const asking = async (process: ReturnType<typeof open>): Promise<number> => {
    const end = await process.runs.settle(ID)
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'ambiguous_effect' } })
    return (end as unknown as { blocked: { details: { effects: readonly [{ seq: number }] } } }).blocked.details.effects[0].seq
  }

  test.each(decisions)('"%s", whose answer got lost when it was stored', async (decision, value, output, times, entries) => {
    const calls: string[] = []
    let lost = 0
    const w = paying(calls)
    const process = open(w, { faults: { fault: ({ batch }) => batch?.post !== undefined && lost++ === 0 ? { do: 'unknown', when: 'after' } : undefined } })
    await process.runs.start(w, 0, { id: ID })
    const seq = await asking(process)
    expect(await process.runs.control(ID, { kind: 'resolve', seq, decision, ...value })).toMatchObject({ outcome: 'requested' })
    expect(process.world.shelf.open(ID).keys('inbox', { limit: 9 })).toHaveLength(2)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toBe(output)
    expect(process.world.kinds()).toEqual(['run_started', ...['effect_intended', 'effect_ambiguous', ...entries].map((kind) => `${kind} pay`), 'run_completed'])
    expect(calls).toHaveLength(times)
    expect(process.world.shelf.open(ID).keys('inbox', { limit: 9 })).toEqual([])
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })

  test.each(decisions)('of two people at the same moment the first has decided ("%s")', async (decision, value, output, times, entries) => {
    const calls: string[] = []
    const w = paying(calls)
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const seq = await asking(process)
    const store = process.world.shelf.open(ID)
    await post(store, process.now, { kind: 'resolve', seq, decision, at: process.now, principal: 'ada', ...value }, undefined)
    for (const [other] of decisions) await post(store, process.now, { kind: 'resolve', seq, decision: other, at: process.now, principal: 'eve', value: 'too late' }, undefined)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toBe(output)
    expect(process.world.kinds()).toEqual(['run_started', ...['effect_intended', 'effect_ambiguous', ...entries].map((kind) => `${kind} pay`), 'run_completed'])
    expect(process.world.entries().filter(({ kind }) => kind === 'effect_decided').map(({ payload }) => (decode(payload) as Decided).principal)).toEqual(['ada'])
    expect(calls).toHaveLength(times)
    expect(store.keys('inbox', { limit: 9 })).toEqual([])
    expect(await replayed(process.world, w)).toEqual({ ok: true })
  })

  test('a person has decided, and the code that takes it over asks nobody any more: what the person said counts', async () => {
    const calls: string[] = []
    const world = new World()
    const first = world.boot(paying(calls))
    await first.runs.start(paying(calls), 0, { id: ID })
    const seq = await asking(first)
    await first.crash()
    await post(world.shelf.open(ID), first.now, { kind: 'resolve', seq, decision: 'happened', at: first.now, value: 'by hand' }, undefined)
    const w = paying(calls, 'fail')
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await second.runs.summary(ID)).output).toBe('by hand')
    expect(world.kinds().filter((kind) => kind.startsWith('effect_'))).toEqual(['effect_intended pay', 'effect_ambiguous pay', 'effect_decided pay', 'effect_completed pay'])
    expect(calls).toHaveLength(1)
    expect(await replayed(world, w)).toEqual({ ok: true })
  })

  test.each(['before', 'after', undefined] as const)('of an undo: it is tried once more, also over a crash (%s the next intent)', async (when) => {
    const calls: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.effect('pay', () => 'paid', { kind: 'money', input: 1, onAmbiguous: 'fail', retry: { limit: 0 }, undo: () => {
        calls.push('undo')
        throw new Error('not now')
      } })
      throw new Error('and now back')
    })
    const world = new World()
    let crashed = when === undefined
    const first = world.boot(w, { faults: { fault: ({ batch }) => {
      if (crashed || calls.length === 0 || batch?.entries?.some(({ bytes }) => bytes[1] === kindCodes.undo_intended) !== true) return undefined
      crashed = true
      return { do: 'crash', when: when as 'before' }
    } } })
    await first.runs.start(w, 0, { id: ID })
    const end = await first.runs.settle(ID)
    expect(end).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_failed' } })
    const { seq } = (end as unknown as { blocked: { details: { seq: number } } }).blocked.details
    for (let i = 0; i < 3; i++) await post(world.shelf.open(ID), first.now, { kind: 'resolve', seq, decision: 'rerun', undo: true, at: first.now }, undefined)
    const drive = await first.begin()
    await first.idle(50)
    expect(crashed).toBe(true)
    await first.crash()
    if (when === undefined) await drive.end
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_failed' } })
    // What was intended and perhaps called counts as an attempt.
    expect(world.kinds().filter((kind) => kind === 'undo_intended pay')).toHaveLength(2)
    expect(world.shelf.open(ID).keys('inbox', { limit: 9 })).toEqual([])
    const third = world.boot(w)
    await third.runs.control(ID, { kind: 'resolve', seq, decision: 'happened' })
    expect(await third.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(world.shelf.open(ID).keys('inbox', { limit: 9 })).toEqual([])
  })
})
