import { describe, expect, test } from 'vitest'
import { requestControl } from '../../src/engine/control.ts'
import { type AnyWorkflow, permanent, workflow } from '../../src/index.ts'
import { anything, gate, ID, open, type Process, World } from './support.ts'

describe('pause and resume', () => {
  test('it stops at the next delivery; what was under way is recorded; it survives a restart, and a cancel outranks it', async () => {
    const hold = gate<number>()
    const ran: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const a = await ctx.step('a', () => { ran.push('a'); return hold.promise })
      return a + await ctx.step('b', () => { ran.push('b'); return 1 })
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    const drive = await first.begin()
    expect(await first.runs.control(ID, { kind: 'pause' }, 'ada')).toMatchObject({ outcome: 'requested' })
    expect(await first.runs.control(ID, { kind: 'pause' })).toMatchObject({ outcome: 'already_requested' })
    await first.idle()
    expect(world.record()).toMatchObject({ status: 'paused', paused: { principal: 'ada' } })
    hold.open(4)
    expect(await drive.end).toEqual({ kind: 'parked', wakeAt: null })
    expect(world.kinds()).toEqual(['run_started', 'step_completed a'])
    expect(ran).toEqual(['a'])
    await first.crash()
    const second = world.boot(w)
    expect(await second.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: null })
    expect(ran).toEqual(['a'])
    await second.runs.control(ID, { kind: 'resume' })
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await second.runs.summary(ID)).output).toBe(5)
    expect(await second.runs.control(ID, { kind: 'pause' })).toEqual({ outcome: 'ended', status: 'completed' })
  })

  test('a run that is paused before it begins starts nothing until it goes on', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.all({ s: (c) => c.step('s', () => ++calls), e: (c) => c.effect('e', () => ++calls, { kind: 'idempotent' }) })
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.handle()
    await requestControl(await process.runs.store(ID), process.now, { kind: 'pause' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'parked', wakeAt: null })
    expect(calls).toBe(0)
    await process.runs.control(ID, { kind: 'resume' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(calls).toBe(2)
  })

  test('a run that waits is paused while it waits; its timer fires after it was resumed', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('1 day') })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.control(ID, { kind: 'pause' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'parked', wakeAt: null })
    process.host.advance(48 * 3_600_000)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'parked', wakeAt: null })
    expect(await process.runs.control(ID, { kind: 'resume' })).toMatchObject({ outcome: 'requested' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(await process.runs.control(ID, { kind: 'resume' })).toMatchObject({ outcome: 'ended' })
  })

  test.each([
    [['pause', 'resume'], 'ended'], [['pause', 'resume', 'pause'], 'parked'], [['pause', 'resume', 'pause', 'resume'], 'ended'],
  ] as const)('what is asked in one moment is done in its order, all of it, with no bell for the rest: %j', async (asked, kind) => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('a', async () => {
        calls++
        // Of somebody whose bell the driver does not hear; the last one rings.
        for (const each of asked.slice(0, -1)) await requestControl(process.world.shelf.open(ID), process.now, { kind: each })
        await process.runs.control(ID, { kind: asked.at(-1) as 'pause' })
      })
      await ctx.step('b', () => calls++)
    })
    const process: Process = open(w)
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.drive(ID)).toMatchObject({ kind })
    expect(process.world.shelf.open(ID).keys('inbox', { limit: 9 })).toEqual([])
    if (kind === 'ended') expect(calls).toBe(2)
    expect(process.world.record().status).toBe(kind === 'ended' ? 'completed' : 'paused')
  })

  test('G29: whatever is committed in the middle of a drive, the run is woken later if its driver dies then', async () => {
    const [hold, cleaned] = [gate<undefined>(), gate<undefined>()]
    const w = workflow({ name: 'w', input: anything, grace: '1 hour' }, async (ctx) => {
      try {
        await ctx.step('a', () => hold.promise)
      } finally {
        await ctx.cleanup((c) => c.step('clean', () => cleaned.promise))
      }
    })
    const process: Process = open(w, { limits: { recoveryMs: 30_000 } })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    const asks = [() => process.runs.control(ID, { kind: 'pause' }), () => process.runs.control(ID, { kind: 'resume' }), () => process.runs.cancel(ID)]
    for (const [i, ask] of asks.entries()) {
      await process.pass(1000)
      await ask()
      await process.idle()
      expect([i, process.world.record().status, process.world.row().wakeAt]).toEqual([i, ['paused', 'running', 'cancelling'][i], process.now + 30_000])
    }
    cleaned.open(undefined)
    expect(await drive.end).toEqual({ kind: 'ended', status: 'cancelled' })
  })

  test('a paused run can be cancelled; a cancelled one is not resumed and not restarted (Z-046)', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('1 day') })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.control(ID, { kind: 'pause' })
    await process.runs.settle(ID)
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(await process.runs.control(ID, { kind: 'resume' })).toEqual({ outcome: 'ended', status: 'cancelled' })
    await expect(process.runs.control(ID, { kind: 'restart' })).rejects.toMatchObject({ code: 'already_ended' })
    await expect(process.runs.control(ID, { kind: 'retry' })).rejects.toMatchObject({ code: 'already_ended' })
  })
})

describe('a read that went wrong once', () => {
  const make = () => workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1)
    await ctx.sleep('1 hour')
    await ctx.step('b', () => 2)
  })
  const damagedOnce = (method: 'entries' | 'last', nth: number, damage: (bytes: Uint8Array) => Uint8Array) =>
    open(make(), { faults: { fault: (call) => (call.method === method && call.nth === nth ? { do: 'damage', damage } : undefined) } })
  const flip = (at: (length: number) => number) => (bytes: Uint8Array) => bytes.map((byte, i) => (i === at(bytes.length) ? byte ^ 1 : byte))

  test('G4: a resume has a blocked run looked at again, and it goes on where it was', async () => {
    const process = damagedOnce('entries', 1, flip((length) => length >> 1))
    expect(await process.run(make())).toMatchObject({ kind: 'blocked', blocked: { code: 'corrupt_entry' } })
    expect(await process.runs.settle(ID)).toMatchObject({ kind: 'blocked' })
    expect(await process.runs.control(ID, { kind: 'resume' })).toMatchObject({ outcome: 'requested', status: 'blocked' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(await process.runs.control(ID, { kind: 'resume' })).toMatchObject({ outcome: 'ended' })
  })

  test('G4: a last entry that is not the one in the journal: nothing is chained to it', async () => {
    let blocked = 0
    // A byte of the hash, of the time, of the payload: whatever it is, what is stored stays whole.
    for (let at = 0; at < 60; at++) {
      const process = damagedOnce('last', 2, flip(() => at))
      let end = await process.run(make())
      if (end.kind === 'blocked') {
        blocked++
        expect(end.blocked.code).toBe('corrupt_entry')
        await process.runs.control(ID, { kind: 'resume' })
        end = await process.runs.settle(ID)
      }
      expect(end, `byte ${at}`).toEqual({ kind: 'ended', status: 'completed' })
      const entries = process.world.entries()
      expect(entries.map(({ kind }) => kind)).toEqual(['run_started', 'step_completed', 'timer_set', 'timer_fired', 'step_completed', 'run_completed'])
      expect((entries.at(-1)?.at ?? 0) - (entries[0]?.at ?? 0)).toBe(3_600_000)
    }
    expect(blocked).toBeGreaterThan(10)
  })
})

describe('restart and retry', () => {
  test('B-116: from a named step: what was before it is kept, it and what follows run again; the same id is one restart', async () => {
    const ran: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const values: number[] = []
      for (const name of ['a', 'b', 'c']) values.push(await ctx.step(name, () => ran.push(name)))
      return values
    })
    const process = open(w)
    await process.run(w)
    expect(ran).toEqual(['a', 'b', 'c'])
    await expect(process.runs.control(ID, { kind: 'restart', from: 'x' })).rejects.toMatchObject({ code: 'invalid_argument' })
    await process.runs.control(ID, { kind: 'restart', from: 'b', id: 'once' })
    await process.runs.settle(ID)
    expect(await process.runs.control(ID, { kind: 'restart', from: 'b', id: 'once' })).toMatchObject({ outcome: 'already_requested' })
    expect(ran).toEqual(['a', 'b', 'c', 'b', 'c'])
    expect((await process.runs.summary(ID)).output).toEqual([1, 4, 5])
    // And from what was inherited once more.
    await process.runs.control(ID, { kind: 'restart', from: 'c' })
    await process.runs.settle(ID)
    expect((await process.runs.summary(ID)).output).toEqual([1, 4, 6])
    expect(process.world.record()).toMatchObject({ generation: 3, status: 'completed' })
  })

  test('a failed run is retried from where it failed, with a new budget; a run that has not failed is not', async () => {
    const ran: string[] = []
    let isBroken = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const now = ctx.now()
      await ctx.step('a', () => { ran.push('a') })
      await ctx.step('b', () => { ran.push('b'); if (isBroken || ran.length < 5) throw new Error('down') }, { retry: { limit: 1, delay: 1 } })
      return now
    })
    const process = open(w)
    await process.run(w)
    expect(ran).toEqual(['a', 'b', 'b'])
    const began = process.world.entries()[0]?.at
    isBroken = false
    expect(await process.runs.control(ID, { kind: 'retry' })).toEqual({ outcome: 'requested', status: 'failed' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(ran).toEqual(['a', 'b', 'b', 'b', 'b'])
    // G11: the inherited past has its own times.
    expect((await process.runs.summary(ID)).output).toBe(began)
    await expect(process.runs.control(ID, { kind: 'retry' })).rejects.toMatchObject({ code: 'not_ended' })
  })

  test('B-116: a step that is under way belongs to the generation before: aborted, and its outcome is not the new one\'s', async () => {
    const hold = gate<string>()
    let calls = 0
    let isAborted = false
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('a', ({ abortSignal }) => {
      abortSignal.addEventListener('abort', () => { isAborted = true })
      return ++calls === 1 ? hold.promise : 'new'
    }))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.runs.control(ID, { kind: 'restart' })
    await process.idle()
    hold.open('old')
    expect(await drive.end).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toBe('new')
    expect([calls, isAborted]).toEqual([2, true])
  })

  test('a crash at every commit around a restart: one restart, every result stored (Z-135)', async () => {
    for (let at = 1; at <= 8; at++) {
      for (const when of ['before', 'after'] as const) {
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          await ctx.step('a', () => 1)
          return ctx.step('b', () => 2)
        })
        const world = new World()
        const first = world.boot(w)
        await first.run(w)
        await first.runs.control(ID, { kind: 'restart', from: 'b' })
        await first.idle()
        let commits = 0
        const second = world.boot(w, { faults: { fault: ({ method }) => method === 'commit' && ++commits === at ? { do: 'crash', when } : undefined } })
        const drive = await second.begin()
        if (!drive.isOver()) await second.crash()
        const third = world.boot(w)
        await third.runs.settle(ID)
        expect(world.record()).toMatchObject({ status: 'completed', generation: 2 })
        expect((await third.runs.summary(ID)).output).toBe(2)
      }
    }
  })

  test('G1: a row that has forgotten its generation gets it back from the journal, with what it inherits', async () => {
    const ran: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('a', () => { ran.push('a') })
      await ctx.step('b', () => { ran.push('b') })
      await ctx.sleep('1 day')
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    await first.runs.control(ID, { kind: 'restart', from: 'b' })
    await first.runs.drive(ID)
    await first.crash()
    world.rewrite({ generation: 1, generationSeq: 1, inherited: [] })
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(ran).toEqual(['a', 'b', 'b'])
  })
})

describe('restart and retry of a run that has a timeout', () => {
  const HOUR = 3_600_000
  const slow = (ran: string[], timeout: string | null = '1 hour', sleep = '2 hours'): AnyWorkflow => workflow(
    { name: 'w', input: anything, ...(timeout === null ? undefined : { timeout: timeout as '1 hour' }) },
    async (ctx) => {
      await ctx.step('a', () => { ran.push('a') })
      try {
        await ctx.sleep(sleep as '1 hour')
        await ctx.step('b', () => { ran.push('b') })
        return ctx.info.deadline
      } finally {
        await ctx.cleanup((c) => c.step('release', () => { ran.push('release') }))
      }
    },
  )

  for (const request of [{ kind: 'retry' }, { kind: 'restart' }, { kind: 'restart', from: 'cleanup/release' }] as const) {
    test(`G21: ${JSON.stringify(request)} of a run that its deadline has ended: it has its whole timeout again, and a cancel of it counts`, async () => {
      const keepsFirst = !(request.kind === 'restart' && !('from' in request))
      const ran: string[] = []
      const world = new World()
      const first = world.boot(slow(ran))
      await first.runs.start(slow(ran), 0, { id: ID })
      expect(await first.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
      expect(ran.splice(0)).toEqual(['a', 'release'])
      await first.runs.control(ID, request)
      await first.runs.drive(ID)
      const deadline = first.now + HOUR
      expect(world.record()).toMatchObject({ status: 'waiting', generation: 2, deadline })
      expect(ran.splice(0)).toEqual(keepsFirst ? [] : ['a'])
      expect(await first.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
      expect(first.now).toBe(deadline)
      expect((await first.runs.summary(ID)).error).toMatchObject({ code: 'run_timeout', details: { deadline } })
      // And once more, by code that gives it more time.
      await first.crash()
      const second = world.boot(slow(ran, '3 hours'))
      await second.runs.control(ID, { kind: 'retry' })
      expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      expect((await second.runs.summary(ID)).output).toBe(deadline + 3 * HOUR)
      // And once more, cancelled.
      await second.runs.control(ID, { kind: 'restart' })
      await second.runs.drive(ID)
      await second.runs.cancel(ID)
      expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    })
  }

  test('G1: a row that has forgotten its generation gets the deadline of it back from the journal', async () => {
    const ran: string[] = []
    const world = new World()
    const first = world.boot(slow(ran))
    await first.runs.start(slow(ran), 0, { id: ID })
    await first.runs.settle(ID)
    const { deadline: before, inherited, generationSeq } = world.record()
    await first.runs.control(ID, { kind: 'retry' })
    await first.runs.drive(ID)
    const { deadline } = world.record()
    await first.crash()
    world.rewrite({ generation: 1, generationSeq, inherited, deadline: before })
    const second = world.boot(slow(ran))
    await second.runs.drive(ID)
    expect(world.record()).toMatchObject({ generation: 2, deadline: deadline as number })
    expect(deadline).toBeGreaterThan(before as number)
  })

  test('restarted where nobody knows the workflow, it has the timeout that it was started with; without one it has none', async () => {
    const ran: string[] = []
    for (const timeout of ['1 hour', null]) {
      const world = new World()
      const first = world.boot(slow(ran, timeout, '10 minutes'))
      await first.runs.start(slow(ran, timeout, '10 minutes'), 0, { id: ID })
      expect(await first.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      await first.crash()
      const second = world.boot(workflow({ name: 'other', input: anything }, async () => {}))
      await second.runs.control(ID, { kind: 'restart' })
      const at = second.now
      await second.runs.drive(ID)
      expect(world.record()).toMatchObject({ status: 'blocked', generation: 2, deadline: timeout === null ? undefined : at + HOUR })
    }
  })

  test('code that gives no timeout any more restarts it without one', async () => {
    const ran: string[] = []
    const world = new World()
    const first = world.boot(slow(ran))
    await first.runs.start(slow(ran), 0, { id: ID })
    await first.runs.settle(ID)
    await first.crash()
    const free = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('a', () => {})
      await ctx.sleep('2 hours')
      return ctx.info.deadline ?? 'none'
    })
    const second = world.boot(free)
    await second.runs.control(ID, { kind: 'retry' })
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await second.runs.summary(ID)).output).toBe('none')
  })
})

describe('what is asked of a run while it ends', () => {
  test('a restart that comes during the last commit is not lost', async () => {
    const release = gate()
    let runs = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', () => ++runs))
    const process = open(w, { faults: {
      // 40: run_completed.
      fault: ({ batch }) => runs === 1 && batch?.entries?.at(-1)?.bytes[1] === 40 ? { do: 'delay', when: 'before', until: release.promise } : undefined,
    } })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.runs.control(ID, { kind: 'restart' })
    release.open()
    await drive.end
    await process.runs.settle(ID)
    expect(process.world.record()).toMatchObject({ status: 'completed', generation: 2 })
    expect(runs).toBe(2)
  })

  test('a pause that came too late does not reach the next generation', async () => {
    const release = gate()
    let runs = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', () => { runs++; if (runs === 1) throw permanent(new Error('no')); return runs }))
    const process = open(w, { faults: {
      // 41: run_failed.
      fault: ({ batch }) => batch?.entries?.at(-1)?.bytes[1] === 41 ? { do: 'delay', when: 'before', until: release.promise } : undefined,
    } })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.runs.control(ID, { kind: 'pause' })
    release.open()
    expect(await drive.end).toEqual({ kind: 'ended', status: 'failed' })
    await process.runs.control(ID, { kind: 'retry' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })
})

describe('ctx.patched', () => {
  test('true for new runs, false where history had passed the line; the same on every replay', async () => {
    const ran: string[] = []
    const old = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('a', () => { ran.push('a') })
      await ctx.sleep('1 day')
    })
    const patched = workflow({ name: 'w', input: anything }, async (ctx) => {
      const isNew = ctx.patched('check first')
      if (isNew) await ctx.step('check', () => { ran.push('check') })
      await ctx.step('a', () => { ran.push('a') })
      await ctx.sleep('1 day')
      const late = ctx.patched('after the wait')
      if (late) await ctx.step('late', () => { ran.push('late') })
      await ctx.sleep('1 day')
      return [isNew, late, ctx.patched('check first')]
    })
    const world = new World()
    const first = world.boot(old)
    await first.runs.start(old, 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const second = world.boot(patched)
    second.host.advance(24 * 3_600_000)
    await second.runs.drive(ID)
    await second.crash()
    const third = world.boot(patched)
    expect(await third.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await third.runs.summary(ID)).output).toEqual([false, true, false])
    expect(ran).toEqual(['a', 'late'])
    const fresh = open(patched)
    await fresh.run(patched)
    expect((await fresh.runs.summary(ID)).output).toEqual([true, true, true])
    expect(fresh.world.kinds().filter((kind) => kind === 'patch_applied').length).toBe(2)
  })
})
