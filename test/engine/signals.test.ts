// Signals (G17): what a workflow sees of them, and what is refused. On every store: test/contract/signals.contract.ts.

import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { workflow } from '../../src/index.ts'
import { exploreCrashes } from '../../src/testing/crash-explorer.ts'
import { testHost } from '../../src/testing/index.ts'
import { anything, errorOf, gate, ID, open, override, type Process, World } from './support.ts'

const signals = { go: anything, word: z.object({ text: z.string().transform((text) => text.toUpperCase()) }) }
const waiting = { kind: 'parked', wakeAt: null }
const completed = { kind: 'ended', status: 'completed' }

describe('a signal', () => {
  test('G17: is validated once, before it is stored; the function gets what the schema gave, and the journal says who sent it', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('word'))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.settle(ID)).toEqual(waiting)
    expect(await errorOf(() => process.runs.signal(ID, { name: 'word', payload: { text: 5 } }))).toMatchObject({ code: 'input_invalid' })
    expect(await errorOf(() => process.runs.signal(ID, { name: 'other', payload: 1 }))).toMatchObject({ code: 'invalid_argument', message: expect.stringContaining('"other"') })
    expect(await errorOf(() => process.runs.signal(ID, { name: 'toString', payload: 1 }))).toMatchObject({ code: 'invalid_argument' })
    expect(await errorOf(() => process.runs.signal(ID, { name: 'go', payload: () => 1 }))).toMatchObject({ code: 'not_serializable' })
    for (const id of ['', 'x'.repeat(257), 5, '\ud800']) expect(await errorOf(() => process.runs.signal(ID, { name: 'go', payload: 1, id: id as string }))).toMatchObject({ code: 'invalid_argument' })
    expect(await errorOf(() => process.runs.signal('none', { name: 'go', payload: 1 }))).toMatchObject({ code: 'run_not_found' })
    // Nothing of all that was stored.
    expect(process.world.row()).toMatchObject({ inbox: 0, wakeAt: null })
    expect(process.world.shelf.open(ID).keys('receipt', { limit: 9 })).toEqual([])
    await process.runs.signal(ID, { name: 'word', payload: { text: 'yes' } }, 'ada')
    expect(await process.runs.settle(ID)).toEqual(completed)
    expect((await process.runs.summary(ID)).output).toEqual({ text: 'YES' })
    expect(process.world.kinds()).toEqual(['run_started', 'signal_received signal:word', 'run_completed'])
    expect(process.world.shelf.open(ID).keys('signal', { limit: 9 })).toEqual([])
  })

  test('G17: the id of another signal is refused, and so is a signal to a run that has ended; the same one is known for ever', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('go'))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.signal(ID, { name: 'go', payload: 1, id: 'a' })
    for (const other of [{ name: 'go', payload: 2 }, { name: 'word', payload: { text: 'x' } }]) {
      expect(await errorOf(() => process.runs.signal(ID, { ...other, id: 'a' }))).toMatchObject({ code: 'input_mismatch' })
    }
    await process.runs.settle(ID)
    expect(await errorOf(() => process.runs.signal(ID, { name: 'go', payload: 1 }))).toMatchObject({ code: 'already_ended' })
    expect(await process.runs.signal(ID, { name: 'go', payload: 1, id: 'a' })).toEqual({ seq: 1, duplicate: true })
    expect(process.world.row()).toMatchObject({ inbox: 1, wakeAt: null })
  })

  test('G17: an answer that got lost is looked for, so the signal is there once', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('go'))
    for (const when of ['before', 'after'] as const) {
      let lost = 0
      const process = open(w, { faults: { fault: ({ batch }) => batch?.expect.kind === 'next' && lost++ === 0 ? { do: 'unknown', when } : undefined } })
      await process.runs.start(w, 0, { id: ID })
      // Whoever sends it can't tell whether the first try is in: its receipt does.
      expect((await process.runs.signal(ID, { name: 'go', payload: 1 })).seq).toBe(1)
      expect(lost).toBe(when === 'before' ? 2 : 1)
      expect(process.world.shelf.open(ID).keys('signal', { limit: 9 })).toHaveLength(1)
      expect(await process.runs.settle(ID)).toEqual(completed)
    }
    const dead = open(w, { faults: { fault: ({ batch }) => batch?.expect.kind === 'next' ? { do: 'unknown', when: 'before' } : undefined } })
    await dead.runs.start(w, 0, { id: ID })
    expect(await errorOf(() => dead.runs.signal(ID, { name: 'go', payload: 1 }))).toMatchObject({ code: 'store_unavailable' })
  })

  test.each(['before', 'after'] as const)('G17: two answers that got lost (%s the commit) are asked for again, a third is told: of a signal, and of a clear', async (when) => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('go'))
    let left = 0
    let tries = 0
    const process = open(w, { faults: { fault: ({ batch }) => {
      if (batch?.expect.kind !== 'next') return undefined
      tries++
      return left-- > 0 ? { do: 'unknown', when } : undefined
    } } })
    await process.runs.start(w, 0, { id: ID })
    for (const lost of [0, 1, 2, 3]) {
      for (const isClear of [false, true]) {
        left = 0
        await process.runs.clearSignals(ID, 'go')
        if (isClear) await process.runs.signal(ID, { name: 'go', payload: lost })
        left = lost
        tries = 0
        const answer = await (isClear ? process.runs.clearSignals(ID, 'go') : process.runs.signal(ID, { name: 'go', payload: lost, id: `${lost}`.padEnd(256, 'x') }))
          .then((outcome) => 'cleared' in outcome ? outcome.cleared : 'sent', ({ code }: { code: string }) => code)
        // What was stored is found, and not stored again.
        expect({ lost, isClear, tries, answer }).toEqual(when === 'after' ? { lost, isClear, tries: 1, answer: isClear ? 1 : 'sent' }
          : { lost, isClear, tries: Math.min(lost + 1, 3), answer: lost === 3 ? 'store_unavailable' : isClear ? 1 : 'sent' })
      }
    }
  })

  test('G17: a clear takes all of them that have its name, however many there are', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => [await ctx.signal('word'), await ctx.signal('go')])
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    for (let i = 1; i <= 150; i++) await process.runs.signal(ID, i === 75 ? { name: 'word', payload: { text: 'kept' } } : { name: 'go', payload: i })
    expect(await process.runs.clearSignals(ID, 'go')).toEqual({ cleared: 149 })
    await process.runs.signal(ID, { name: 'go', payload: 'behind' })
    expect(await process.runs.settle(ID)).toEqual(completed)
    expect((await process.runs.summary(ID)).output).toEqual([{ text: 'KEPT' }, 'behind'])
  })

  test('G17, G23: a host that does not know the workflow takes no signal, since it cannot check it', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('go'))
    const world = new World()
    await world.boot(w).runs.start(w, 0, { id: ID })
    const other = world.boot(workflow({ name: 'other', input: anything, signals }, async () => 0))
    expect(await errorOf(() => other.runs.signal(ID, { name: 'go', payload: 1 }))).toMatchObject({ code: 'not_registered', message: expect.stringContaining('w') })
    expect(world.row()).toMatchObject({ inbox: 0 })
  })

  test('G17: the same one from two senders is there once, whatever the first has read when the second stores it', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('go'))
    const world = new World()
    const other = world.boot(w)
    const counts = new Set<number>()
    for (const when of ['before', 'after'] as const) {
      for (let at = 1, isMore = true; isMore; at++) {
        const id = `${when}-${at}`
        await other.runs.start(w, 0, { id })
        const behind = gate()
        let looks = 0
        const first = world.boot(w, { faults: { fault: ({ method, batch }) => {
          if (method === 'commit' && batch?.expect.kind !== 'next') return undefined
          return ++looks === at ? { do: 'delay', when, until: behind.promise } : undefined
        } } })
        await first.runs.store(id)
        const sent = first.runs.signal(id, { name: 'go', payload: 1, id: 'the same' })
        await first.idle()
        const second = await other.runs.signal(id, { name: 'go', payload: 1, id: 'the same' })
        behind.open()
        const both = [await sent, second]
        isMore = looks >= at
        counts.add(looks)
        expect({ id, both: both.map(({ seq, duplicate }) => [seq, duplicate]).sort() }).toEqual({ id, both: [[1, false], [1, true]] })
        expect(world.shelf.open(id).keys('signal', { limit: 9 })).toHaveLength(1)
      }
    }
    // The second one came before the first had looked at anything, and between its commit and the look before that.
    expect(Math.min(...counts)).toBe(3)
    expect(Math.max(...counts)).toBeGreaterThan(6)
  })

  test('G17: it is flushed before it is acknowledged, and so is its end, by a clear or when it is taken', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => [await ctx.signal('go', { timeout: '1 minute' }), await ctx.signal('go')])
    const seen: string[] = []
    const process = open(w, { faults: { committed: (batch) => {
      const rows = (batch.rows ?? []).filter(({ table }) => table === 'signal').map(({ value }) => value === null ? 'gone' : 'stored')
      if (rows.length > 0) seen.push(`${batch.expect.kind} ${rows.join()} ${batch.durability}`)
    } } })
    await process.runs.start(w, 0, { id: ID })
    await process.runs.signal(ID, { name: 'go', payload: 1 })
    expect(await process.runs.clearSignals(ID, 'go')).toEqual({ cleared: 1 })
    await process.runs.signal(ID, { name: 'go', payload: 2 })
    await process.runs.signal(ID, { name: 'go', payload: 3 })
    expect(await process.runs.settle(ID)).toEqual(completed)
    expect((await process.runs.summary(ID)).output).toEqual([2, 3])
    expect(seen).toEqual([
      'next stored strict', 'next gone strict', 'next stored strict', 'next stored strict', 'head gone strict', 'head gone strict',
    ])
  })

  test('G17, T-065: what was taken is the same on every replay, whatever becomes of the steps behind it', async () => {
    const seen: unknown[] = []
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      const got = await ctx.signal('go')
      return ctx.step('s', ({ attempt }) => {
        seen.push(got)
        if (attempt < 3) throw new Error('again')
        return got
      }, { retry: { limit: 3, delay: '1 hour' } })
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.signal(ID, { name: 'go', payload: { n: 1 } })
    await first.runs.drive(ID)
    await first.crash()
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toEqual(completed)
    expect(seen).toEqual([{ n: 1 }, { n: 1 }, { n: 1 }])
  })

  test('G17: calls that wait for one name get one each, in call order, in every branch; G8: the same on replay', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      const all = await ctx.all({ a: (c) => c.signal('go'), b: (c) => c.signal('go'), c: (c) => c.signal('word') })
      await ctx.sleep('1 day')
      return all
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    expect((await first.runs.summary(ID)).waitingFor).toEqual([
      { kind: 'signal', key: 'all/a/signal:go' }, { kind: 'signal', key: 'all/b/signal:go' }, { kind: 'signal', key: 'all/c/signal:word' },
    ])
    await first.runs.signal(ID, { name: 'word', payload: { text: 'w' } })
    await first.runs.signal(ID, { name: 'go', payload: 1 })
    await first.runs.signal(ID, { name: 'go', payload: 2 })
    await first.runs.drive(ID)
    await first.crash()
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toEqual(completed)
    expect((await second.runs.summary(ID)).output).toEqual({ a: 1, b: 2, c: { text: 'W' } })
  })

  test('G17: one after the other, until none comes for so long', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      const got: unknown[] = []
      for await (const each of ctx.signals('go', { timeout: '1 hour' })) got.push(each)
      return got
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    for (let i = 0; i < 3; i++) await process.runs.signal(ID, { name: 'go', payload: i })
    await process.runs.drive(ID)
    process.host.advance(59 * 60_000)
    await process.runs.signal(ID, { name: 'go', payload: 'last' })
    expect(await process.runs.settle(ID)).toEqual(completed)
    expect((await process.runs.summary(ID)).output).toEqual([0, 1, 2, 'last'])
    expect(process.world.kinds().filter((kind) => kind.startsWith('timer_fired'))).toEqual(['timer_fired signal:go#4'])
  })

  test('G19: the timeout is that of the first time that it was asked for, also when the code gives another one by then', async () => {
    const build = (timeout: string) => workflow({ name: 'w', input: anything, signals }, async (ctx) => [await ctx.signal('go', { timeout: timeout as '1 hour' }), ctx.now() - ctx.info.createdAt])
    const world = new World()
    const first = world.boot(build('1 hour'))
    await first.runs.start(build('1 hour'), 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const second = world.boot(build('5 hours'))
    expect(await second.runs.settle(ID)).toEqual(completed)
    expect((await second.runs.summary(ID)).output).toEqual([undefined, 3_600_000])
  })

  test('G17: it wakes a paused run in vain and is there when the run goes on; one that begins later takes it then', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('go', { timeout: '1 hour' }))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID, delay: '1 day' })
    await process.runs.signal(ID, { name: 'go', payload: 'early' })
    const [first] = process.world.entries()
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: (first?.at ?? 0) + 24 * 3_600_000 })
    await process.runs.control(ID, { kind: 'pause' })
    process.host.advance(48 * 3_600_000)
    expect(await process.runs.settle(ID)).toEqual(waiting)
    await process.runs.signal(ID, { name: 'go', payload: 'second' })
    expect(await process.runs.settle(ID)).toEqual(waiting)
    await process.runs.control(ID, { kind: 'resume' })
    expect(await process.runs.settle(ID)).toEqual(completed)
    expect((await process.runs.summary(ID)).output).toBe('early')
  })

  test('G17: one after the other is taken while the run is driven all the time, and none while it is paused', async () => {
    const hold = gate()
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      const { go } = await ctx.all({ work: (c) => c.step('work', () => hold.promise), go: async (c) => [await c.signal('go'), await c.signal('go'), await c.signal('go')] })
      return go
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    const taken = (): number => process.world.kinds().filter((kind) => kind.startsWith('signal_received')).length
    for (const n of [1, 2]) {
      await process.runs.signal(ID, { name: 'go', payload: n })
      await process.idle()
      expect(taken()).toBe(n)
    }
    await process.runs.control(ID, { kind: 'pause' })
    await process.idle()
    await process.runs.signal(ID, { name: 'go', payload: 3 })
    await process.idle()
    expect(drive.isOver()).toBe(false)
    expect(taken()).toBe(2)
    await process.runs.control(ID, { kind: 'resume' })
    await process.idle()
    expect(taken()).toBe(3)
    hold.open()
    expect(await drive.end).toEqual(completed)
    expect((await process.runs.summary(ID)).output).toEqual([1, 2, 3])
  })

  test.each([undefined, '1 hour'] as const)('G17, G12: a message that comes while a signal, or its timeout (%s), is committed refuses that commit, and nothing that went with it is lost', async (timeout) => {
    let isSent = false
    let calls = 0
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.all({
      go: (c) => (timeout === undefined ? c.signal('go') : c.signal('word', { timeout })),
      effect: (c) => c.effect('e', () => ++calls, { kind: 'money', input: 1, onAmbiguous: 'fail' }),
      asked: (c) => c.hasEffect('x'),
      step: (c) => c.step('s', () => 's'),
    }))
    const world = new World()
    const outside = world.boot(w)
    const process = world.boot(w, { wrap: (store) => override(store, { commit: async (batch) => {
      if (!isSent && batch.expect.kind === 'head' && batch.expect.inbox !== undefined && (batch.entries ?? []).length > 0) {
        isSent = true
        await outside.runs.signal(ID, { name: 'go', payload: 'other' })
      }
      return store.commit(batch)
    } }) })
    await process.runs.start(w, 0, { id: ID })
    if (timeout === undefined) await outside.runs.signal(ID, { name: 'go', payload: 'first' })
    expect(await process.runs.settle(ID)).toEqual(completed)
    expect(isSent).toBe(true)
    expect((await process.runs.summary(ID)).output).toEqual({ go: timeout === undefined ? 'first' : undefined, effect: 1, asked: false, step: 's' })
  })

  test('G17: a flood of signals does not keep steps from the function, nor a flood of steps a signal', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      const seen: unknown[] = []
      await ctx.all({
        signals: async (c) => { for (let i = 0; i < 20; i++) seen.push(await c.signal('go')) },
        steps: async (c) => { for (let i = 0; i < 20; i++) seen.push(await c.step('s', () => `s${i}`)) },
        effects: async (c) => { for (let i = 0; i < 5; i++) seen.push(await c.effect('e', () => `e${i}`, { kind: 'idempotent' })) },
      })
      return seen
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    for (let i = 0; i < 20; i++) await process.runs.signal(ID, { name: 'go', payload: i })
    expect(await process.runs.settle(ID)).toEqual(completed)
    const seen = (await process.runs.summary(ID)).output as unknown[]
    expect(seen.filter((each) => typeof each === 'number')).toEqual(Array.from({ length: 20 }, (_, i) => i))
    // Of the first half, both have their share.
    expect(seen.slice(0, 20).filter((each) => typeof each === 'number').length).toBeGreaterThanOrEqual(5)
    expect(seen.slice(0, 20).filter((each) => typeof each === 'string').length).toBeGreaterThanOrEqual(5)
    expect(seen.findLast((each) => String(each).startsWith('e'))).toBe('e4')
    expect(seen.indexOf('e4')).toBeLessThan(42)
  })

  test('G17: a run is not parked for an effect that has to be waited for before it has taken all signals that are there', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.all({
      signals: async (c) => [await c.signal('go'), await c.signal('go')],
      effect: (c) => c.effect('e', () => new Promise<number>(() => {}), { kind: 'money', input: 1, onAmbiguous: 'skip', fallback: 0 }),
    }))
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    expect(world.kinds()).toEqual(['run_started', 'effect_intended all/effect/e'])
    await first.crash()
    const second = world.boot(w)
    for (const payload of [1, 2]) await second.runs.signal(ID, { name: 'go', payload })
    // Whoever comes next decides nothing about the effect before its time is over.
    const parked = await second.runs.drive(ID)
    expect(parked).toEqual({ kind: 'parked', wakeAt: second.now + 70_000 })
    expect(world.kinds().slice(2)).toEqual(['signal_received all/signals/signal:go', 'signal_received all/signals/signal:go#1'])
    expect(await second.runs.settle(ID)).toEqual(completed)
  })

  test('G17, T-067: a timeout is not told while it is the turn of others, though it is due: the signal that is there is preferred', async () => {
    const hold = gate<string>()
    let isDone = false
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.all({
      go: (c) => c.signal('go'), word: (c) => c.signal('word', { timeout: '1 second' }), step: (c) => c.step('s', () => hold.promise),
    }))
    const process: Process = open(w, { wrap: (store) => override(store, { commit: async (batch) => {
      const answer = await store.commit(batch)
      // Right behind the commit that takes the first: the second is over, the other signal is there, and so is the outcome of the step.
      if (!isDone && batch.rows?.some(({ table }) => table === 'signal') === true && batch.expect.kind === 'head') {
        isDone = true
        await process.runs.signal(ID, { name: 'word', payload: { text: 'in time' } })
        process.host.advance(1000)
        hold.open('done')
        await process.idle()
      }
      return answer
    } }) })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.runs.signal(ID, { name: 'go', payload: 1 })
    await process.idle(30)
    expect(isDone).toBe(true)
    expect(await drive.end).toEqual(completed)
    expect((await process.runs.summary(ID)).output).toEqual({ go: 1, word: { text: 'IN TIME' }, step: 'done' })
  })

  test('G17: one that nobody waits for costs a look and no entry, and never blocks the run (G29)', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => { await ctx.sleep('1 day') })
    const process = open(w, { limits: { wakes: 3 } })
    await process.runs.start(w, 0, { id: ID })
    const parked = await process.runs.drive(ID)
    for (let i = 0; i < 20; i++) {
      await process.runs.signal(ID, { name: 'go', payload: i })
      expect(await process.runs.drive(ID)).toEqual(parked)
    }
    expect(process.world.kinds()).toEqual(['run_started', 'timer_set ctx.sleep'])
    expect(await process.runs.settle(ID)).toEqual(completed)
  })

  test('G21, T-068: a cancel rejects who waits, and takes no signal', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      try {
        return await ctx.signal('go')
      } catch (error) {
        await ctx.cleanup((c) => c.step('why', () => (error as { code: string }).code))
        throw error
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.settle(ID)
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.world.kinds()).toEqual(['run_started', 'cancel_requested', 'step_completed cleanup/why', 'run_cancelled'])
    expect(await errorOf(() => process.runs.signal(ID, { name: 'go', payload: 1 }))).toMatchObject({ code: 'already_ended' })
  })

  test('G17, G9: a new generation takes again what an earlier one had taken, in their order, and what it inherits only once', async () => {
    let fails = true
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      const got = [await ctx.signal('go')]
      await ctx.step('s', () => 1)
      got.push(await ctx.signal('go'))
      if (await ctx.step('fails', () => fails)) ctx.fail('not yet')
      got.push(await ctx.signal('go', { timeout: '1 hour' }))
      return got
    })
    for (const request of [{ kind: 'restart' }, { kind: 'restart', from: 's' }, { kind: 'restart', from: 'fails' }] as const) {
      fails = true
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      for (const payload of ['a', 'b', 'c']) await process.runs.signal(ID, { name: 'go', payload, id: payload })
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
      fails = false
      await process.runs.control(ID, request)
      expect(await process.runs.signal(ID, { name: 'go', payload: 'a', id: 'a' })).toEqual({ seq: 1, duplicate: true })
      expect(await process.runs.settle(ID)).toEqual(completed)
      expect((await process.runs.summary(ID)).output, JSON.stringify(request)).toEqual(['a', 'b', 'c'])
      expect(process.world.shelf.open(ID).keys('signal', { limit: 9 })).toEqual([])
    }
  })

  test('G9: code that no longer waits for what was taken diverges; under "restart" nothing of it is lost', async () => {
    const before = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      const got = await ctx.signal('go')
      await ctx.sleep('1 day')
      return got
    })
    for (const onDivergence of ['fail', 'restart'] as const) {
      const after = workflow({ name: 'w', input: anything, signals, onDivergence }, async (ctx) => {
        await ctx.step('new', () => 1)
        return ctx.signal('go', { timeout: '1 minute' })
      })
      const world = new World()
      const first = world.boot(before)
      await first.runs.start(before, 0, { id: ID })
      await first.runs.signal(ID, { name: 'go', payload: 'kept' })
      await first.runs.drive(ID)
      await first.crash()
      const second = world.boot(after)
      second.host.advance(25 * 3_600_000)
      expect(await second.runs.settle(ID)).toMatchObject(onDivergence === 'fail' ? { kind: 'blocked', blocked: { code: 'divergence' } } : completed)
      if (onDivergence === 'restart') expect((await second.runs.summary(ID)).output).toBe('kept')
    }
  })

  test('G4: a signal that was changed in the store blocks the run and is not given to it', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('go'))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.signal(ID, { name: 'go', payload: { cents: 100 } })
    const store = process.world.shelf.open(ID)
    const [row] = store.rows('signal', { limit: 1 })
    const value = (row as { value: Uint8Array }).value
    value[value.length - 3] = (value[value.length - 3] as number) ^ 1
    store.commit({ expect: { kind: 'exists' }, rows: [{ table: 'signal', key: (row as { key: string }).key, value }] })
    expect(await process.runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'corrupt_payload' } })
  })

  test('G22: a signal that is not declared is a bug of the function, and blocks it', async () => {
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('nobody' as 'go'))
    expect(await open(w).run(w)).toMatchObject({ kind: 'blocked', blocked: { code: 'invalid_argument' } })
    const bad = workflow({ name: 'w', input: anything, signals }, async (ctx) => ctx.signal('go', { timeout: 'soon' as '1 hour' }))
    expect(await open(bad).run(bad)).toMatchObject({ kind: 'blocked', blocked: { code: 'invalid_duration' } })
  })

  test('G10: the race between a signal and work is decided by the journal', async () => {
    const hold = gate<string>()
    const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
      const won = await ctx.race({ work: (c) => c.step('work', () => hold.promise), stop: (c) => c.signal('go') })
      await ctx.sleep('1 day')
      return won
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.runs.signal(ID, { name: 'go', payload: 'enough' })
    await first.idle()
    hold.open('done')
    await first.idle()
    expect(world.kinds().slice(1, 3)).toEqual(['signal_received race/stop/signal:go', 'timer_set ctx.sleep'])
    await first.crash()
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toEqual(completed)
    expect((await second.runs.summary(ID)).output).toEqual({ winner: 'stop', value: 'enough' })
  })
})

test('G17, G5: a crash at every commit, before and after it and with its answer lost, also of whoever sends: each signal is taken once, in order', async () => {
  const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => {
    const first = await ctx.signal('go')
    const both = await ctx.all({ s: (c) => c.step('s', () => 1), g: (c) => c.signal('go', { timeout: '1 hour' }) })
    const none = await ctx.signal('word', { timeout: '1 minute' })
    return [first, both, none, await ctx.signal('go')]
  })
  const counts = await exploreCrashes(w, 0, {
    signals: [{ name: 'go', payload: 1 }, { name: 'go', payload: 2, at: 2 }, { name: 'go', payload: 3, at: 4 }],
    check: (_, { summary }) => { expect(summary.output).toEqual([1, { s: 1, g: 2 }, undefined, 3]) },
  })
  expect(counts.crashes).toBeGreaterThan(100)
})

test('the test host sends signals, and moves time to their timeouts', async () => {
  const w = workflow({ name: 'w', input: anything, signals }, async (ctx) => [await ctx.signal('word'), await ctx.signal('go', { timeout: '30 days' })])
  const t = testHost({ workflows: [w] })
  const run = await t.start(w, 0)
  expect(await run.signal('word', { text: 'now' }, { id: 'x' })).toEqual({ seq: 1, duplicate: false })
  expect(await run.signal('word', { text: 'now' }, { id: 'x' })).toEqual({ seq: 1, duplicate: true })
  await run.expect({ waitingFor: ['signal:go'] })
  expect(await run.result()).toEqual([{ text: 'NOW' }, undefined])
})
