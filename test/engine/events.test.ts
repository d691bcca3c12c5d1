import { describe, expect, test } from 'vitest'
import type { RunEvent } from '../../src/client.ts'
import { decode } from '../../src/codec.ts'
import { eventPage } from '../../src/engine/event-page.ts'
import { StepwellError, workflow } from '../../src/index.ts'
import type { RunStore } from '../../src/store/store.ts'
import { inboxKey } from '../../src/store/store.ts'
import { exploreCrashes } from '../../src/testing/crash-explorer.ts'
import { testHost } from '../../src/testing/kit.ts'
import type { Explored } from '../../src/testing/trial.ts'
import type { TestHost } from '../../src/testing/test-host.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { eventCases } from '../contract/events.contract.ts'
import { onMemory } from './on-memory.ts'
import { anything, errorOf, gate, ID, open, override, World } from './support.ts'

const eventOf = (payload: Uint8Array): Omit<RunEvent, 'at'> => decode(payload) as Omit<RunEvent, 'at'>
const noRetry = { retry: { limit: 0 } } as const

async function eventsOf(store: RunStore, after = 0): Promise<readonly RunEvent[]> {
  const events: RunEvent[] = []
  for (let at = after; ;) {
    const { items, next } = await eventPage(store, { after: at })
    events.push(...items)
    if (items.length === 0) return events
    at = next
  }
}

const of = (world: World): Promise<readonly RunEvent[]> => eventsOf(world.shelf.open(ID))
const words = (events: readonly RunEvent[]): readonly string[] => events.map(({ number, type }) => `${number} ${type}`)

describe('G18: what is emitted', () => {
  test('G18: has a number, a copy of its data and its time, and is in the journal before what follows from it', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const data = { list: [1], when: new Date(7), none: undefined }
      ctx.emit('begun', data)
      data.list.push(2)
      await ctx.step('a', () => 1)
      ctx.emit('middle')
      await ctx.sleep('1 hour')
      ctx.emit('end', 'last')
      return 1
    })
    const process = open(w)
    const started = process.now
    await process.run(w)
    expect(process.world.kinds()).toEqual([
      'run_started', 'event_emitted', 'step_completed a', 'event_emitted', 'timer_set ctx.sleep', 'timer_fired ctx.sleep', 'event_emitted', 'run_completed',
    ])
    expect(await of(process.world)).toEqual([
      { number: 1, type: 'begun', data: { list: [1], when: new Date(7), none: undefined }, at: started },
      { number: 2, type: 'middle', data: undefined, at: started },
      { number: 3, type: 'end', data: 'last', at: started + 3_600_000 },
    ])
    expect(process.world.record().events).toBe(3)
  })

  test('G18: just before the function throws, or is wound up, it is stored before the end; a TypeError loses none and a fixed deploy repeats none', async () => {
    let isFixed = false
    const w = workflow({ name: 'w', input: anything }, async (ctx, how: string) => {
      if (how === 'bug') {
        ctx.emit('before the bug')
        if (!isFixed) throw new TypeError('typo')
        ctx.emit('behind it')
        return
      }
      try {
        if (how === 'cancel') await ctx.sleep('1 day')
      } finally {
        ctx.emit('leaving')
        await ctx.cleanup(async (inner) => {
          inner.emit('cleaning')
          await inner.step('clean', ({ emit }) => emit('sweeping'))
          inner.emit('clean')
        })
        ctx.emit('gone')
      }
      throw new Error('no')
    })
    for (const how of ['throw', 'cancel']) {
      const process = open(w)
      await process.runs.start(w, how, { id: ID })
      if (how === 'cancel') {
        await process.runs.drive(ID)
        await process.runs.cancel(ID)
      }
      await process.runs.settle(ID)
      expect(words(await of(process.world))).toEqual(['1 leaving', '2 cleaning', '3 sweeping', '4 clean', '5 gone'])
      expect(process.world.kinds().at(-1)).toBe(how === 'throw' ? 'run_failed' : 'run_cancelled')
      // What follows from the cancel is behind it.
      if (how === 'cancel') expect(process.world.kinds().slice(2, 5)).toEqual(['cancel_requested', 'event_emitted', 'event_emitted'])
    }
    const process = open(w)
    expect(await process.run(w, 'bug')).toMatchObject({ kind: 'blocked', blocked: { code: 'workflow_bug' } })
    expect(words(await of(process.world))).toEqual(['1 before the bug'])
    isFixed = true
    await process.crash()
    expect(await process.world.boot(w).runs.settle(ID)).toMatchObject({ status: 'completed' })
    expect(words(await of(process.world))).toEqual(['1 before the bug', '2 behind it'])
  })

  test('G18: a type that is none is refused, and data that cannot be kept, before anything is stored; live and in a replay alike', async () => {
    const refused: unknown[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const bad: readonly (() => void)[] = [
        () => ctx.emit(''), () => ctx.emit('a\nb'), () => ctx.emit('stepwell.end'), () => ctx.emit(7 as never),
        () => ctx.emit('f', { here: () => 1 }), () => ctx.emit('t', new Map([['k', Symbol('s')]])),
      ]
      const codes: string[] = []
      for (const run of bad) codes.push((await errorOf(run)).code)
      refused.push(codes)
      ctx.emit('good')
      await ctx.step('s', ({ emit }) => {
        expect(() => emit('a\rb')).toThrow(/control character/)
        emit('fine')
      })
      await ctx.sleep('1 day')
      return codes
    })
    const process = open(w)
    await process.run(w)
    expect(refused).toEqual([
      ...new Array<unknown>(refused.length).fill(['invalid_argument', 'invalid_argument', 'reserved_name', 'invalid_argument', 'not_serializable', 'not_serializable']),
    ])
    expect(refused.length).toBe(2)
    expect(words(await of(process.world))).toEqual(['1 good', '2 fine'])
  })

  test('G25: data that no store would take is refused at the call, whatever the limit says', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      ctx.emit('fits', 'x'.repeat(1_880_000))
      return (await errorOf(() => ctx.emit('does not', 'x'.repeat(1_890_000)))).code
    })
    const process = open(w, { limits: { eventBytes: 10_000_000 } })
    expect(await process.run(w)).toMatchObject({ status: 'completed' })
    expect((await process.runs.summary(ID)).output).toBe('payload_too_large')
    expect(words(await of(process.world))).toEqual(['1 fits'])
  })

  test('G18: what a function emits in the end of a long line of plain promises comes in the order of its code', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const chain = async (label: string, links: number): Promise<void> => {
        for (let i = 0; i < links; i++) await null
        ctx.emit(label)
      }
      await Promise.all([ctx.step('a', () => 1), chain('long', 60), chain('short', 3)])
      await ctx.step('b', () => 1)
      await chain('last', 40)
    })
    const process = open(w)
    await process.run(w)
    const live = words(await of(process.world))
    expect(live.map((word) => word.slice(2)).toSorted()).toEqual(['last', 'long', 'short'])
    const again = await process.crash()
    again.rewrite({ status: 'running' }, ID, process.now)
    await again.boot(w).runs.drive(ID)
    expect(words(await of(again))).toEqual(live)
  })

  test('G30: ctx.emit from inside a step is foreign, also in the asynchronous part of its function', async () => {
    for (const isLater of [false, true]) {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        await ctx.step('s', async () => {
          if (isLater) await null
          ctx.emit('no')
        }, noRetry)
      })
      const process = open(w)
      expect(await process.run(w)).toMatchObject({ kind: 'blocked', blocked: { code: 'foreign_await' } })
      expect(await of(process.world)).toEqual([])
    }
  })
})

describe('G18: what a step emits', () => {
  test('G18: names the call and the attempt; each attempt emits again; all of it is stored before the outcome', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('s', ({ attempt, emit }) => {
        emit('try', attempt)
        if (attempt === 1) throw new Error('no')
        emit('done')
      })
      await ctx.effect('pay', ({ emit }) => emit('paid'), { kind: 'money', input: 1, onAmbiguous: 'fail' })
    })
    const process = open(w)
    await process.run(w)
    expect((await of(process.world)).map(({ number, type, data, key, attempt }) => [number, type, data, key, attempt])).toEqual([
      [1, 'try', 1, 's', 1], [2, 'try', 2, 's', 2], [3, 'done', undefined, 's', 2], [4, 'paid', undefined, 'pay', 1],
    ])
    expect(process.world.kinds()).toEqual([
      'run_started', 'event_emitted', 'attempt_failed s', 'event_emitted', 'event_emitted', 'step_completed s',
      'effect_intended pay', 'event_emitted', 'effect_completed pay', 'run_completed',
    ])
  })

  test('G18: is stored while the step runs, also when the run is paused; once the attempt is over it is silent', async () => {
    const [first, second, third] = [gate(), gate(), gate()]
    let late: (() => void) | undefined
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('s', async ({ emit }) => {
        emit('a')
        late = () => emit('late')
        await first.promise
        emit('b')
        await second.promise
        emit('c')
        await third.promise
      })
      ctx.emit('own')
      await ctx.sleep('1 day')
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.begin()
    expect(words(await of(process.world))).toEqual(['1 a'])
    first.open()
    await process.idle()
    expect(words(await of(process.world))).toEqual(['1 a', '2 b'])
    await process.runs.control(ID, { kind: 'pause' })
    await process.idle()
    expect(process.world.record().status).toBe('paused')
    second.open()
    await process.idle()
    expect(words(await of(process.world))).toEqual(['1 a', '2 b', '3 c'])
    third.open()
    await process.idle()
    late?.()
    await process.idle()
    // The outcome is there, and not delivered: the function has emitted nothing yet.
    expect(process.world.kinds().at(-1)).toBe('step_completed s')
    await process.runs.control(ID, { kind: 'resume' })
    await process.runs.settle(ID)
    expect(words(await of(process.world))).toEqual(['1 a', '2 b', '3 c', '4 own'])
  })

  test('G18: one that emits and gives its value while the driver commits something else: its events come first', async () => {
    const open2 = gate()
    const later = gate()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.all({
        a: (inner) => inner.step('a', async () => open2.promise),
        b: (inner) => inner.step('b', async ({ emit }) => {
          await later.promise
          emit('of b')
        }),
      })
    })
    const world = new World()
    let isBusy = false
    const process = world.boot(w, {
      wrap: (store) => override(store, {
        commit: (batch) => {
          const answer = store.commit(batch)
          if (!isBusy) return answer
          isBusy = false
          later.open()
          return new Promise((resolve) => { setTimeout(() => resolve(answer), 5) })
        },
      }),
    })
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    isBusy = true
    open2.open()
    expect(await end).toMatchObject({ kind: 'ended' })
    const kinds = world.kinds()
    expect(kinds.indexOf('event_emitted')).toBeGreaterThan(0)
    expect(kinds.indexOf('event_emitted')).toBeLessThan(kinds.findIndex((kind) => kind.endsWith('b')))
  })

  test('G18: a host that could not store it, and drives again when another has brought the step to its outcome, does not store it behind that', async () => {
    const [held, answered] = [gate(), gate()]
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('s', async ({ emit }) => {
        const mine = ++calls
        emit(`call ${mine}`)
        if (mine > 1) return
        await held.promise
        emit('too late')
        await answered.promise
      })
      await ctx.sleep('1 hour')
    })
    const world = new World()
    const first = world.boot(w, {
      wrap: (store) => override(store, {
        commit: (batch) => {
          if (batch.rows?.some(({ table }) => table === 'event') === true && calls === 1) throw new StepwellError('store_unavailable', 'no')
          return store.commit(batch)
        },
      }),
    })
    await first.runs.start(w, 0, { id: ID })
    expect((await (await first.begin()).end).kind).toBe('unavailable')
    expect((await world.boot(w).runs.drive(ID)).kind).toBe('parked')
    const { end } = await first.begin()
    held.open()
    await first.idle()
    answered.open()
    await end
    expect(words(await of(world))).toEqual(['1 call 2'])
  })

  test('G18: also of an undo, and of an effect whose code is gone', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('s', () => 1, { undo: (_, { emit }) => emit('undoing') })
      throw new Error('no')
    })
    const process = open(w)
    await process.run(w)
    expect(process.world.kinds().slice(-4)).toEqual(['undo_intended s', 'event_emitted', 'undo_completed s', 'run_failed'])

    const answer = gate()
    const early = gate()
    const pays = (name: string) => workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 3; i++) ctx.emit('own', i)
      await ctx.sleep('1 second')
      await ctx.all({
        pay: (inner) => inner.effect('pay', async ({ emit }) => {
          await answer.promise
          emit('paid')
        }, { kind: 'money', input: 1, onAmbiguous: 'ask' }),
        other: async (inner) => {
          await inner.step(name, () => early.promise)
          throw new TypeError('typo')
        },
      })
    })
    const second = open(pays('a'))
    await second.runs.start(pays('a'), 0, { id: ID })
    await second.begin()
    await second.pass(2000)
    early.open()
    await second.idle()
    answer.open()
    await second.runs.settle(ID)
    const kinds = second.world.kinds()
    expect(kinds.indexOf('event_emitted', 5)).toBeLessThan(kinds.findIndex((kind) => kind.startsWith('effect_completed') || kind.startsWith('effect_recorded')))
    expect(words(await of(second.world))).toEqual(['1 own', '2 own', '3 own', '4 paid'])
  })
})

describe('G18, G11: exactly once from the function, although replay is silent', () => {
  const busy = workflow({ name: 'w', input: anything }, async (ctx) => {
    ctx.emit('begun')
    ctx.emit('begun')
    await ctx.sleep('1 hour')
    ctx.emit('middle')
    // Outcomes that are there together: delivered one by one, committed as a group.
    await ctx.all(Object.fromEntries([1, 2, 3].map((n) => [`b${n}`, async (inner: typeof ctx) => {
      await inner.sleep('1 hour')
      ctx.emit(`branch ${n}`)
      await inner.step('s', () => n)
      ctx.emit(`step ${n}`)
    }])))
    await ctx.sleep('1 hour')
    ctx.emit('end')
  })
  const all = ['begun', 'begun', 'middle', 'branch 1', 'branch 2', 'branch 3', 'step 1', 'step 2', 'step 3', 'end'].map((type, i) => `${i + 1} ${type}`)

  test('G18: a run that is opened anew at each wake emits nothing again, and forgets nothing', async () => {
    const world = new World()
    let process = world.boot(busy)
    await process.runs.start(busy, 0, { id: ID })
    let wakes = 0
    for (let end = await process.runs.drive(ID); end.kind === 'parked'; wakes++) {
      process.host.advanceTo(end.wakeAt as number)
      await process.crash()
      process = world.boot(busy)
      end = await process.runs.drive(ID)
    }
    expect(wakes).toBe(3)
    expect(words(await of(world))).toEqual(all)
    // Members of the group were delivered before anything of them was stored.
    expect(world.kinds().join(' ')).toContain('timer_fired all/b3/ctx.sleep event_emitted event_emitted event_emitted')
  })

  test('G11: code that emits more, less or something else in old history is silent there, and no divergence', async () => {
    const old = workflow({ name: 'w', input: anything }, async (ctx) => {
      ctx.emit('one')
      ctx.emit('two')
      await ctx.step('a', () => 1)
      ctx.emit('three')
      await ctx.sleep('1 hour')
      ctx.emit('four')
    })
    // What the new code emits before `a`, behind it and at the end; and what of it is stored. The window of the last delivery is where
    // the run goes on: there only as many are taken for known as the journal has.
    const variants: readonly (readonly [readonly string[], readonly string[], readonly string[], readonly string[]])[] = [
      [['one', 'x', 'two', 'y'], ['three', 'z'], ['four', 'v'], ['z', 'four', 'v']],
      [[], ['w'], ['four'], ['four']],
      [[], [], ['four'], ['four']],
      [['one'], [], [], []],
    ]
    for (const [first, second, third, stored] of variants) {
      const world = new World()
      const before = world.boot(old)
      await before.runs.start(old, 0, { id: ID })
      await before.runs.drive(ID)
      await before.crash()
      const changed = workflow({ name: 'w', input: anything }, async (ctx) => {
        for (const type of first) ctx.emit(type)
        await ctx.step('a', () => 1)
        for (const type of second) ctx.emit(type)
        await ctx.sleep('1 hour')
        for (const type of third) ctx.emit(type)
      })
      expect(await world.boot(changed).runs.settle(ID)).toMatchObject({ status: 'completed' })
      expect((await of(world)).map(({ type }) => type)).toEqual(['one', 'two', 'three', ...stored])
    }
  })

  test('G18: emitted in windows between deliveries of a group that a crash cuts off: stored once each, whatever was stored of them', async () => {
    // Of the three events behind the group, any number may have been stored before the crash: one to a commit here.
    for (let stored = 0; stored <= 3; stored++) {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        await ctx.all(Object.fromEntries([1, 2, 3].map((n) => [`b${n}`, async (inner: typeof ctx) => {
          await inner.sleep('1 hour')
          ctx.emit('e', n)
        }])))
        await ctx.sleep('1 hour')
        ctx.emit('end')
      })
      const world = new World()
      let left = Infinity
      const first = world.boot(w, {
        wrap: (store) => override(store, {
          commit: (batch) => {
            if (batch.rows?.some(({ table }) => table === 'event') === true && left-- <= 0) return new Promise(() => {})
            return store.commit(batch)
          },
        }),
        // A group of three timers, and events one by one: the byte limit counts what they hold.
        limits: { batchBytes: 1 },
      })
      left = stored
      await first.runs.start(w, 0, { id: ID })
      await first.runs.drive(ID)
      first.host.advance(3_600_000)
      await first.begin()
      await first.crash()
      expect((await of(world)).length).toBe(stored)
      expect(await world.boot(w).runs.settle(ID)).toMatchObject({ status: 'completed' })
      expect((await of(world)).map(({ number, data }) => [number, data])).toEqual([[1, 1], [2, 2], [3, 3], [4, undefined]])
    }
  })

  test.each([0, 100])('G18: emitted %d links of plain promises behind a step, of which the journal has a part: each once', async (links) => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const { a } = await ctx.all({
        a: (inner) => inner.step('a', (call) => { call.emit('of the step'); return 1 }),
        // Tells something, and is not over when the host dies.
        b: async (inner) => { void inner.step('b', async (call) => { call.emit('of the other'); await new Promise(() => {}) }).catch(() => {}) },
      })
      for (const type of ['one', 'two', 'three']) {
        for (let i = 0; i < links; i++) await undefined
        ctx.emit(type)
      }
      return a
    })
    for (let stored = 0; stored <= 5; stored++) {
      const world = new World()
      let left = stored
      const first = world.boot(w, {
        wrap: (store) => override(store, {
          commit: (batch) => batch.rows?.some(({ table }) => table === 'event') === true && left-- <= 0 ? new Promise(() => {}) : store.commit(batch),
        }),
        limits: { batchBytes: 1 },
      })
      await first.runs.start(w, 0, { id: ID })
      await first.begin()
      await first.crash()
      expect((await of(world)).length).toBe(stored)
      const second = world.boot(w)
      await second.begin()
      await second.idle(20)
      expect((await of(world)).filter(({ key }) => key === undefined).map(({ type }) => type), `${stored} were stored`).toEqual(['one', 'two', 'three'])
      await second.crash()
    }
  })

  test('G18: a new generation emits what it does again, with the numbers behind; what it inherits it does not', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      ctx.emit('one')
      await ctx.step('a', () => 1)
      ctx.emit('two')
      await ctx.step('b', () => 1)
      ctx.emit('three')
    })
    const process = open(w)
    await process.run(w)
    await process.runs.control(ID, { kind: 'restart', from: 'b' })
    await process.runs.settle(ID)
    expect(words(await of(process.world))).toEqual(['1 one', '2 two', '3 three', '4 three'])
    await process.runs.control(ID, { kind: 'restart' })
    await process.runs.settle(ID)
    expect(words(await of(process.world)).slice(4)).toEqual(['5 one', '6 two', '7 three'])
    expect(process.world.record()).toMatchObject({ generation: 3, events: 7 })
  })

  test('G18: a restart that comes when a host has died in the middle of a drive gives no number twice, also where the rows are lost', async () => {
    for (const isLost of [false, true]) {
      const hung = gate()
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        ctx.emit('one')
        await ctx.step('a', () => 1)
        ctx.emit('two')
        await ctx.step('b', () => hung.promise)
      })
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      await process.begin()
      expect(process.world.record().events).toBe(0)
      await process.runs.control(ID, { kind: 'restart' })
      const world = await process.crash()
      if (isLost) deleteEvents(world)
      hung.open()
      await world.boot(w).runs.settle(ID)
      expect(words(await of(world))).toEqual(['1 one', '2 two', '3 one', '4 two'])
    }
  })

  test('G18: a divergence that begins the next generation goes on counting', async () => {
    const code = (name: string) => workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
      ctx.emit(`by ${name}`)
      await ctx.step(name, () => 1)
      ctx.emit('behind')
      await ctx.sleep('1 hour')
    })
    const process = open(code('a'))
    await process.runs.start(code('a'), 0, { id: ID })
    await process.runs.drive(ID)
    const world = await process.crash()
    await world.boot(code('b')).runs.settle(ID)
    expect(words(await of(world))).toEqual(['1 by a', '2 behind', '3 by b', '4 behind'])
  })
})

function deleteEvents(world: World, which: (key: string) => boolean = () => true): void {
  const row = world.row()
  const store = world.shelf.open(ID)
  const rows = store.keys('event', { limit: 1000 }).filter(which).map((key) => ({ table: 'event' as const, key, value: null }))
  expect(store.commit({ expect: { kind: 'head', epoch: row.epoch, seq: store.last()?.seq ?? 0 }, rows }).kind).toBe('committed')
}

describe('G1: the rows of events are a projection', () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    for (let i = 1; i <= 5; i++) ctx.emit('e', i)
    await ctx.sleep('1 hour')
    ctx.emit('e', 6)
  })

  test('G1: rows and count that are lost are read from the journal', async () => {
    for (const isEnded of [false, true]) {
      const world = new World()
      const first = world.boot(w, { limits: { events: 4 } })
      await first.runs.start(w, 0, { id: ID })
      await first.runs[isEnded ? 'settle' : 'drive'](ID)
      await first.crash()
      const known = isEnded ? 6 : 5
      const kept = await eventsOf(world.shelf.open(ID), known - 4)
      deleteEvents(world)
      world.rewrite({ status: 'running', events: 0, wokenSeq: 0, endedAt: undefined, lastSeq: undefined }, ID, first.now)
      const again = world.boot(w, { limits: { events: 4 } })
      await again.runs.drive(ID)
      expect(await eventsOf(world.shelf.open(ID), known - 4)).toEqual(kept)
      expect(kept.map(({ number }) => number)).toEqual(isEnded ? [3, 4, 5, 6] : [2, 3, 4, 5])
      expect(world.record().events).toBe(known)
      if (isEnded) continue
      await again.runs.settle(ID)
      expect((await eventsOf(world.shelf.open(ID), 2)).map(({ data }) => data)).toEqual([3, 4, 5, 6])
    }
  })
})

test('G1: rows of many events come back in many commits', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    for (let i = 1; i <= 700; i++) ctx.emit('e', i)
    await ctx.sleep('1 hour')
  })
  const world = new World()
  const first = world.boot(w)
  await first.runs.start(w, 0, { id: ID })
  await first.runs.drive(ID)
  await first.crash()
  const kept = await of(world)
  expect(kept).toHaveLength(700)
  deleteEvents(world)
  const sizes: number[] = []
  const again = world.boot(w, { limits: { batchEntries: 60 }, faults: { committed: ({ rows = [] }) => { if (rows.some(({ table }) => table === 'event')) sizes.push(rows.length) } } })
  await again.runs.settle(ID)
  expect(await of(world)).toEqual(kept)
  expect(sizes).toEqual([...Array.from({ length: 11 }, () => 60), 40])
})

describe('G18: a page of events', () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx, count: number) => {
    for (let i = 1; i <= count; i++) ctx.emit('e', i)
    await ctx.sleep('1 hour')
  })
  const numbers = (items: readonly RunEvent[]): readonly number[] => items.map(({ number }) => number)

  test('G18: begins behind its cursor, and says when all is over; beyond the last event it is empty', async () => {
    const process = open(w)
    await process.runs.start(w, 250, { id: ID })
    await process.runs.drive(ID)
    const store = process.world.shelf.open(ID)
    const first = await eventPage(store)
    expect([numbers(first.items).length, first.next, first.isOver]).toEqual([100, 100, false])
    const rest = await eventPage(store, { after: first.next, limit: 1000 })
    expect([rest.items[0]?.number, rest.next, rest.isOver]).toEqual([101, 250, false])
    expect(await eventPage(store, { after: 250 })).toEqual({ items: [], next: 250, isOver: false })
    expect(await eventPage(store, { after: 9999 })).toEqual({ items: [], next: 9999, isOver: false })
    await process.runs.settle(ID)
    expect((await eventPage(store, { after: 0, limit: 250 })).isOver).toBe(false)
    expect(await eventPage(store, { after: 249 })).toMatchObject({ next: 250, isOver: true })
    for (const bad of [{ after: -1 }, { after: 0.5 }]) expect((await errorOf(() => eventPage(store, bad))).code).toBe('invalid_argument')
    for (const limit of [0, 1001]) expect((await errorOf(() => eventPage(store, { limit }))).code).toBe('limit_exceeded')
    expect((await errorOf(() => eventPage(process.world.shelf.open('nobody')))).code).toBe('run_not_found')
  })

  test('G18: a cursor whose next event is not kept any more is a gap, with the oldest that is, and never a short list (B-006)', async () => {
    const process = open(w, { limits: { events: 10 } })
    await process.runs.start(w, 25, { id: ID })
    await process.runs.drive(ID)
    const store = process.world.shelf.open(ID)
    for (const after of [0, 1, 14]) {
      const error = await errorOf(() => eventPage(store, { after }))
      expect([error.code, error.kind, error.details]).toEqual(['event_gap', 'conflict', { after, oldest: 16, last: 25 }])
    }
    expect(numbers((await eventPage(store, { after: 15 })).items)).toEqual([16, 17, 18, 19, 20, 21, 22, 23, 24, 25])
  })

  test('G18: rows that are lost from the middle or the end are a gap too', async () => {
    const process = open(w)
    await process.runs.start(w, 9, { id: ID })
    await process.runs.drive(ID)
    const store = process.world.shelf.open(ID)
    deleteEvents(process.world, (key) => key === inboxKey(4) || key === inboxKey(9))
    expect(await eventPage(store)).toMatchObject({ next: 3, isOver: false })
    expect((await errorOf(() => eventPage(store, { after: 3 }))).details).toEqual({ after: 3, oldest: 5, last: 9 })
    expect(numbers((await eventPage(store, { after: 4 })).items)).toEqual([5, 6, 7, 8])
    expect((await errorOf(() => eventPage(store, { after: 8 }))).details).toEqual({ after: 8, oldest: 10, last: 9 })
  })

  test('G18: a run that has ended is not over for a reader who has not got its last event', async () => {
    const process = open(w)
    expect(await process.run(w, 5)).toMatchObject({ status: 'completed' })
    const store = process.world.shelf.open(ID)
    expect(await eventPage(store)).toMatchObject({ next: 5, isOver: true })
    deleteEvents(process.world, (key) => key === inboxKey(5))
    expect(await eventPage(store)).toMatchObject({ next: 4, isOver: false })
    expect((await errorOf(() => eventPage(store, { after: 4 }))).details).toEqual({ after: 4, oldest: 6, last: 5 })
  })

  test('G25: large events make short pages, that go on where they end', async () => {
    const big = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 150; i++) ctx.emit('e', 'x'.repeat(60_000))
    })
    const process = open(big)
    await process.run(big)
    const store = process.world.shelf.open(ID)
    const first = await eventPage(store, { limit: 1000 })
    expect(first.items.length).toBe(100)
    expect(await eventPage(store, { after: first.next, limit: 1000 })).toMatchObject({ next: 150, isOver: true })
  })
})

test('G18: 5 events, the host is dropped, 5 more: 10 events, with the numbers 1 to 10 (B-005, B-172)', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    for (let i = 1; i <= 5; i++) ctx.emit('e', i)
    await ctx.sleep('1 hour')
    for (let i = 6; i <= 10; i++) ctx.emit('e', i)
  })
  const world = new World()
  const first = world.boot(w)
  await first.runs.start(w, 0, { id: ID })
  await first.runs.drive(ID)
  await first.crash()
  await world.boot(w).runs.settle(ID)
  expect((await of(world)).map(({ number, data }) => [number, data])).toEqual(Array.from({ length: 10 }, (_, i) => [i + 1, i + 1]))
})

test('G18: a test sees what its run has emitted, so far', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    ctx.emit('one', { a: 1 })
    await ctx.step('s', ({ emit }) => emit('of s'))
    await ctx.sleep('30 days')
    ctx.emit('two')
  })
  const t = testHost({ workflows: [w] })
  const run = await t.start(w, 0)
  expect((await run.events()).map(({ number, type, data, key }) => [number, type, data, key])).toEqual([[1, 'one', { a: 1 }, undefined], [2, 'of s', undefined, 's']])
  await t.crash()
  await t.advance('30 days')
  await run.expect({ status: 'completed' })
  expect((await run.events({ after: 2 })).map(({ number, type }) => [number, type])).toEqual([[3, 'two']])
})

describe('G18: whatever crashes', () => {
  const stores = {
    memory: (id: string) => createMemoryShelf().open(id),
    'a store that answers later': (id: string) => answeringLater(createMemoryShelf().open(id)),
  }
  const lend = (_: unknown, host: TestHost): object => ({ wait: (ms: number) => new Promise<void>((resolve) => { host.timer(ms, resolve) }) })
  const wait = (call: { readonly services: object }, ms: number): Promise<void> => (call.services as { wait(ms: number): Promise<void> }).wait(ms)
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    ctx.emit('own', 1)
    await ctx.step('a', async (call) => {
      call.emit('of a')
      await wait(call, 5)
      call.emit('of a')
    })
    ctx.emit('own', 2)
    ctx.emit('own', 3)
    await ctx.all({
      x: async (inner) => {
        await inner.sleep('10 ms')
        ctx.emit('own', 4)
        await inner.step('s', () => 1)
        ctx.emit('own', 6)
      },
      y: async (inner) => {
        await inner.sleep('10 ms')
        ctx.emit('own', 5)
        await inner.step('s', () => 1)
        ctx.emit('own', 7)
      },
    })
    await ctx.race({ fast: (inner) => inner.sleep('5 ms'), slow: (inner) => inner.sleep('1 day') })
    await ctx.effect('pay', async (call) => {
      call.emit('of pay')
      await wait(call, 5)
    }, { kind: 'idempotent', timeout: '5 seconds' })
    await ctx.sleep('1 minute')
    ctx.emit('own', 8)
    return 'done'
  })

  for (const [name, open2] of Object.entries(stores)) {
    test(`G18: numbers without a gap; the function's own exactly once and in order; those of a step at least once, before its outcome (${name})`, async () => {
      let looks = 0
      const counts = await exploreCrashes(w, 0, {
        open: open2, services: lend, limits: { startByMs: 1000 }, maxPairs: 40, guard: false,
        check: (_, end: Explored) => {
          looks++
          const events = end.entries.filter(({ kind }) => kind === 'event_emitted').map(({ payload }) => eventOf(payload))
          expect(events.map(({ number }) => number)).toEqual(events.map((_each, i) => i + 1))
          expect(events.filter(({ key }) => key === undefined).map(({ data }) => data)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
          const last = end.entries.findIndex(({ kind, key }) => kind === 'step_completed' && key === 'a')
          const ofA = end.entries.map(({ kind, payload }, i) => kind === 'event_emitted' && eventOf(payload).key === 'a' ? i : -1).filter((i) => i >= 0)
          expect(ofA.length).toBeGreaterThanOrEqual(2)
          expect(ofA.at(-1)).toBeLessThan(last)
        },
      })
      expect(counts.singles).toBeGreaterThan(60)
      expect(looks).toBe(counts.schedules)
    }, 120_000)
  }
})

onMemory(eventCases)
