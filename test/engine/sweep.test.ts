// G23, G24: an ended run is removed when its retention is over, in bounded commits, behind its notice, and never comes back as a new one.

import { describe, expect, test } from 'vitest'
import type { ControlRequest } from '../../src/client.ts'
import { workflow } from '../../src/define.ts'
import { requestCancel } from '../../src/engine/cancel.ts'
import { requestControl } from '../../src/engine/control.ts'
import { effectPage } from '../../src/engine/ledger.ts'
import type { RunEnd } from '../../src/engine/notice.ts'
import { sweep } from '../../src/engine/sweep.ts'
import { exportRun } from '../../src/journal/export.ts'
import { decodeRecord, encodeRecord } from '../../src/journal/record.ts'
import { outcome, summary } from '../../src/journal/summary.ts'
import { type Tombstone, tombstoneOf } from '../../src/journal/tombstone.ts'
import { journalPage } from '../../src/journal/view.ts'
import { limits } from '../../src/limits.ts'
import type { RunStore, Table } from '../../src/store/store.ts'
import type { Fault } from '../../src/testing/fault-store.ts'
import { testHost } from '../../src/testing/index.ts'
import { anything, errorOf, ID, open, override, type Process, World, type WorldOptions } from './support.ts'

const DAY = 24 * 3_600_000
const retention = { completed: '7 days', failed: '30 days' } as const

/** Leaves something in every table. */
const busy = workflow({ name: 'w', input: anything, retention }, async (ctx) => {
  await ctx.step('big', () => 'x'.repeat(500))
  for (let i = 0; i < 3; i++) await ctx.step('s', async ({ state, memo }) => { await memo('m', () => i); state.set(`k${i}`, i) })
  await ctx.effect('pay', () => 'paid', { kind: 'money', input: 5, onAmbiguous: 'rerun' })
  return 'done'
})
const small = { inlineBytes: 100, chunkBytes: 100 }
const failing = workflow({ name: 'w', input: anything, retention }, async (ctx) => {
  await ctx.step('a', () => { throw new Error('down') }, { retry: { limit: 0 } })
})

const tables: readonly Table[] = ['inbox', 'outbox', 'chunk', 'manifest', 'memo', 'state', 'effect', 'event', 'signal', 'receipt', 'token']

async function rest(store: RunStore): Promise<Record<string, number>> {
  const left: Record<string, number> = { entries: (await store.entries(0, 1000)).length }
  for (const table of tables) left[table] = (await store.keys(table, { limit: 1000 })).length
  return Object.fromEntries(Object.entries(left).filter(([, n]) => n > 0))
}

const grave = (world: World): Tombstone | undefined => tombstoneOf(world.row())

/** A run that has ended and whose time is over; nobody has looked since. */
async function expired(options: WorldOptions = {}): Promise<Process> {
  const process = open(busy, { limits: small, ...options })
  expect(await process.run(busy, 7)).toMatchObject({ kind: 'ended', status: 'completed' })
  process.host.advance(7 * DAY)
  return process
}

/** The same, for a process that begins now. */
async function expiredWorld(options: WorldOptions = {}): Promise<World> {
  const process = await expired(options)
  return process.crash()
}

/** All that a reader or a writer from outside may ask. Every one of them is refused. */
async function expectSwept(world: World): Promise<void> {
  const store = world.shelf.open(ID)
  const asks: Readonly<Record<string, () => unknown>> = {
    summary: () => summary(store), journal: () => journalPage(store), effects: () => effectPage(store), cancel: () => requestCancel(store, 0),
    export: async () => { for await (const _ of exportRun(store)) { /* it has lines */ } },
    ...Object.fromEntries(([{ kind: 'pause' }, { kind: 'resume' }, { kind: 'restart' }, { kind: 'retry' }, { kind: 'resolve', seq: 1, decision: 'fail' }] satisfies ControlRequest[])
      .map((request) => [request.kind, () => requestControl(store, 0, request)])),
  }
  for (const [name, ask] of Object.entries(asks)) expect([name, (await errorOf(ask)).code]).toEqual([name, 'run_swept'])
}

describe('T-015: an ended run is removed when its time is over', () => {
  test('not before, then wholly; what is left is its tombstone', async () => {
    const process = open(busy, { limits: small })
    await process.run(busy, 7)
    const { expiresAt, endedAt, incarnation, inputHash } = process.world.record()
    expect(process.world.row().wakeAt).toBe(expiresAt)
    process.host.advanceTo((expiresAt as number) - 1)
    const before = await rest(process.world.shelf.open(ID))
    expect(Object.keys(before).sort()).toEqual(['chunk', 'effect', 'entries', 'manifest', 'memo', 'state'])
    const row = process.world.row()
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed', expiresAt })
    expect(process.world.row()).toEqual(row)
    expect(await process.runs.summary(ID)).toMatchObject({ output: 'done', expiresAt })
    process.host.advance(1)
    expect(await process.runs.drive(ID)).toEqual({ kind: 'absent' })
    expect(await rest(process.world.shelf.open(ID))).toEqual({})
    expect(process.world.row()).toMatchObject({ wakeAt: null, epoch: row.epoch + 1 })
    expect(grave(process.world)).toEqual({
      format: 2, incarnation, workflow: 'w', inputHash, status: 'completed', generation: 1, createdAt: expect.any(Number), endedAt, sweptAt: expiresAt, isUnderWay: false,
    })
    await expectSwept(process.world)
    expect(process.world.shelf.due(9)).toEqual([])
  })

  test.each([[true], [false]])('the epoch is raised, so what its last driver left behind is refused (takesEpoch: %s)', async (takesEpoch) => {
    const process = await expired({ takesEpoch })
    const { epoch } = process.world.row()
    await process.runs.drive(ID)
    const late = { expect: { kind: 'epoch', epoch }, rows: [{ table: 'memo', key: 'k', value: new Uint8Array(1) }] } as const
    expect(process.world.shelf.open(ID).commit(late)).toEqual({ kind: 'stale', reason: 'epoch' })
  })

  test('T-122: without retention, and a run that goes on, however old: never', async () => {
    const kept = workflow({ name: 'kept', input: anything }, async () => 1)
    const idle = workflow({ name: 'idle', input: anything, retention: { completed: '1 hour', failed: '1 hour' } }, async (ctx) => { await ctx.step('s', () => 1); await ctx.sleep('100 days') })
    const process = open([kept, idle])
    for (const definition of [kept, idle]) {
      await process.runs.start(definition, 0, { id: definition.name })
      await process.runs.drive(definition.name)
    }
    await process.runs.start(idle, 0, { id: 'paused' })
    await process.runs.control('paused', { kind: 'pause' })
    await process.runs.drive('paused')
    process.host.advance(90 * DAY)
    for (const id of ['kept', 'idle', 'paused']) {
      const store = process.world.shelf.open(id)
      const before = { row: store.read(), rest: await rest(store) }
      const { host } = process
      expect(await sweep({ store, host, limits: limits(), isStopped: () => false })).toBe('kept')
      expect({ row: store.read(), rest: await rest(store) }).toEqual(before)
      await process.runs.drive(id)
      expect(process.world.record(id).status).toBe(id === 'kept' ? 'completed' : id === 'idle' ? 'waiting' : 'paused')
    }
  })

  test('one whose workflow nobody knows any more, and one that is damaged', async () => {
    const world = await expiredWorld()
    const other = workflow({ name: 'other', input: anything }, async () => 1)
    const row = world.row()
    const store = world.shelf.open(ID)
    store.commit({ expect: { kind: 'head', epoch: row.epoch, seq: store.last()?.seq ?? 0 }, row: { epoch: row.epoch, wakeAt: row.wakeAt, record: row.record.map((byte, i) => (i === 9 ? byte ^ 1 : byte)) } })
    const damaged = store.read()
    expect(await world.boot(other).runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'corrupt_run' } })
    // Whose record can't be read, nobody knows when it ended: nothing is deleted.
    expect(store.read()).toEqual(damaged)
    store.commit({ expect: { kind: 'head', epoch: row.epoch, seq: store.last()?.seq ?? 0 }, row: { epoch: row.epoch, wakeAt: row.wakeAt, record: row.record } })
    expect(await world.boot(other).runs.drive(ID)).toEqual({ kind: 'absent' })
    expect(await rest(store)).toEqual({})
  })
})

test('T-015: the test host removes it at its time, as every host does', async () => {
  const plain = workflow({ name: 'plain', input: anything, retention }, async (ctx) => ctx.step('s', () => 'done'))
  const t = testHost({ workflows: [plain] })
  const run = await t.start(plain, 7)
  expect(await run.result()).toBe('done')
  await t.advance('6 days')
  await run.expect({ status: 'completed', output: 'done' })
  await t.advance('1 day')
  expect((await errorOf(() => run.summary())).code).toBe('run_swept')
})

describe('G23: a swept id is never silently a new run', () => {
  test('start with the same id and input says that it was swept; with others, that it is taken', async () => {
    const process = await expired()
    await process.runs.drive(ID)
    const row = process.world.row()
    expect((await errorOf(() => process.runs.start(busy, 7, { id: ID }))).code).toBe('run_swept')
    expect((await errorOf(() => process.runs.start(busy, 8, { id: ID }))).code).toBe('input_mismatch')
    const other = workflow({ name: 'other', input: anything }, async () => 1)
    const { runs } = process.world.boot([busy, other])
    expect((await errorOf(() => runs.start(other, 7, { id: ID }))).code).toBe('input_mismatch')
    expect(process.world.row()).toEqual(row)
    expect(await rest(process.world.shelf.open(ID))).toEqual({})
  })

  test('start with the same token the same', async () => {
    const process = open(busy)
    const { id } = await process.runs.start(busy, 7, { token: 'order-1' })
    await process.runs.settle(id)
    process.host.advance(7 * DAY)
    expect(await process.runs.drive(id)).toEqual({ kind: 'absent' })
    expect((await errorOf(() => process.runs.start(busy, 7, { token: 'order-1' }))).code).toBe('run_swept')
    expect((await errorOf(() => process.runs.start(busy, 8, { token: 'order-1' }))).code).toBe('input_mismatch')
    expect((await process.runs.start(busy, 7, { token: 'order-2' })).created).toBe(true)
  })
})

describe('G24: what is owed comes first', () => {
  test('an end that nobody has heard is not swept until it was told, or given up', async () => {
    for (const fails of [1, Infinity]) {
      const ends: RunEnd[] = []
      const soon = workflow({ name: 'w', input: anything, retention: { completed: '5 seconds' } }, async () => 1)
      const process = open(soon, { limits: { noticeTries: 4 }, onEnd: (end) => {
        ends.push(end)
        if (ends.length <= fails) throw new Error('nobody is there')
      } })
      await process.runs.start(soon, 0, { id: ID })
      let end = await process.runs.drive(ID)
      for (let tries = 1; end.kind === 'ended' && tries < 9; tries++) {
        expect(ends.length).toBe(tries)
        expect(process.world.record().status).toBe('completed')
        process.host.advanceTo(process.world.row().wakeAt as number)
        end = await process.runs.drive(ID)
      }
      expect(end).toEqual({ kind: 'absent' })
      expect(ends.length).toBe(fails === 1 ? 2 : 4)
      expect(await rest(process.world.shelf.open(ID))).toEqual({})
    }
  })

  test('where nobody listens, a notice waits for a deploy that does, and the run with it', async () => {
    const world = await (async () => {
      const process = open(busy, { onEnd: () => { throw new Error('nobody is there') } })
      await process.runs.start(busy, 7, { id: ID })
      await process.runs.drive(ID)
      return process.crash()
    })()
    const deaf = world.boot(busy)
    deaf.host.advance(20 * DAY)
    expect(await deaf.runs.drive(ID)).toMatchObject({ kind: 'ended', wakeAt: deaf.now + DAY })
    expect(world.record().status).toBe('completed')
    await deaf.crash()
    const ends: RunEnd[] = []
    const heard = world.boot(busy, { onEnd: (end) => void ends.push(end) })
    heard.host.advance(DAY)
    expect(await heard.runs.drive(ID)).toEqual({ kind: 'absent' })
    expect(ends).toMatchObject([{ output: 'done' }])
  })
})

describe('Z-076: a restart and the sweep', () => {
  test('a restart before its time clears the mark, and the next end sets a new one', async () => {
    const process = open([failing])
    await process.runs.start(failing, 0, { id: ID })
    await process.runs.settle(ID)
    const { expiresAt } = process.world.record()
    process.host.advance(29 * DAY)
    await process.crash()
    const fixed = workflow({ name: 'w', input: anything, retention }, async (ctx) => { await ctx.sleep('60 days'); return 1 })
    const next = process.world.boot(fixed)
    await next.runs.control(ID, { kind: 'retry' })
    expect(await next.runs.drive(ID)).toMatchObject({ kind: 'parked' })
    expect(process.world.record()).toMatchObject({ status: 'waiting', expiresAt: undefined, endedAt: undefined })
    next.host.advanceTo(expiresAt as number)
    expect(await next.runs.drive(ID)).toMatchObject({ kind: 'parked' })
    expect(await next.runs.settle(ID)).toMatchObject({ kind: 'ended', status: 'completed' })
    expect(process.world.record().expiresAt).toBe(next.now + 7 * DAY)
  })

  test('T-035: a restart that was stored before the sweep began wins, however late', async () => {
    const process = await expired()
    await process.runs.control(ID, { kind: 'restart' })
    expect(await process.runs.drive(ID)).toMatchObject({ kind: 'ended', status: 'completed' })
    expect(process.world.record()).toMatchObject({ generation: 2, expiresAt: process.now + 7 * DAY })
  })

  test('one of the two wins, at every call of the store of a sweep and of a restart', async () => {
    const won = { restart: 0, sweep: 0 }
    /** Before the n-th call of one, all of the other. */
    for (const side of ['restart', 'sweep'] as const) {
      for (let n = 1, isOver = false; !isOver; n++) {
        isOver = true
        const world = await expiredWorld()
        let calls = 0
        let inner: (() => Promise<void>) | undefined
        const wrap = (store: RunStore): RunStore => {
          const at = <A extends unknown[], R>(call: (...args: A) => R) => async (...args: A): Promise<Awaited<R>> => {
            if (inner !== undefined && ++calls === n) {
              isOver = false
              const run = inner
              inner = undefined
              await run()
            }
            return await call(...args)
          }
          return override(store, {
            read: at(() => store.read()), entries: at((...args) => store.entries(...args)), last: at(() => store.last()), rows: at((...args) => store.rows(...args)),
            keys: at((...args) => store.keys(...args)), commit: at((batch) => store.commit(batch)),
          })
        }
        const process = world.boot(busy, { limits: small, wrap: (store) => (side === 'sweep' ? wrap(store) : store) })
        let answer: string | undefined
        const restart = async (store: RunStore): Promise<void> => {
          answer = await requestControl(store, process.now, { kind: 'restart' }).then(({ outcome: word }) => word, (error: { code: string }) => error.code)
        }
        if (side === 'sweep') {
          inner = () => restart(world.shelf.open(ID))
          await process.runs.drive(ID)
          if (answer === undefined) await restart(world.shelf.open(ID))
        } else {
          inner = async () => { await process.runs.drive(ID) }
          await restart(wrap(world.shelf.open(ID)))
        }
        await process.runs.drive(ID)
        if (tombstoneOf(world.row()) === undefined) {
          won.restart++
          // Whoever was told that it begins again sees that it does.
          expect([side, n, answer, world.record().generation]).toEqual([side, n, 'requested', 2])
          expect(await process.runs.summary(ID)).toMatchObject({ status: 'completed', output: 'done' })
        } else {
          won.sweep++
          expect([side, n, answer]).toEqual([side, n, 'run_swept'])
          expect(await rest(world.shelf.open(ID))).toEqual({})
          expect(world.row().wakeAt).toBe(null)
        }
      }
    }
    expect(won.restart).toBeGreaterThan(3)
    expect(won.sweep).toBeGreaterThan(3)
  })

  test('two hosts at once: both sweep, each row once, and neither brings anything back', async () => {
    const world = await expiredWorld()
    const ends = await Promise.all([1, 2, 3].map((seed) => world.boot(busy, { seed, limits: { sweepRows: 2 } }).runs.drive(ID)))
    expect(ends.map(({ kind }) => kind).sort()).toEqual(expect.arrayContaining(['absent']))
    for (const { kind } of ends) expect(['absent', 'superseded']).toContain(kind)
    await world.boot(busy).runs.drive(ID)
    expect(await rest(world.shelf.open(ID))).toEqual({})
    expect(grave(world)?.isUnderWay).toBe(false)
  })
})

describe('T-015: killed half-way', () => {
  const sweepRows = 3

  test('with a crash, a lost answer or a failure at each of its commits it is swept all the same, and never seen as whole or as damaged', async () => {
    let commits = 0
    const kinds = new Set<string>()
    for (const fault of [{ do: 'crash', when: 'before' }, { do: 'crash', when: 'after' }, { do: 'unknown', when: 'before' }, { do: 'unknown', when: 'after' }, { do: 'fail' }] satisfies Fault[]) {
      for (let nth = 1, wasHit = true; wasHit; nth++) {
        wasHit = false
        const world = await expiredWorld()
        let began: number | undefined
        const process = world.boot(busy, { limits: { ...small, sweepRows }, faults: { fault: (call) => {
          if (call.method !== 'commit' || call.nth !== nth) return undefined
          wasHit = true
          return fault
        } } })
        const drive = await process.begin()
        await process.idle(60)
        const half = world.row()
        if (tombstoneOf(half) === undefined) {
          expect(await summary(world.shelf.open(ID))).toMatchObject({ status: 'completed', output: 'done' })
        } else {
          began = grave(world)?.sweptAt
          await expectSwept(world)
          expect((await errorOf(() => process.world.boot(busy).runs.start(busy, 7, { id: ID }))).code).toBe('run_swept')
          // Whatever dies after the first commit, the row says when it goes on.
          if (grave(world)?.isUnderWay === true) expect(half.wakeAt).toBe(process.now + 30_000)
        }
        if (drive.isOver()) kinds.add((await drive.end).kind)
        await process.crash()
        const next = world.boot(busy, { limits: { ...small, sweepRows } })
        if (half.wakeAt !== null) next.host.advanceTo(half.wakeAt)
        expect(await next.runs.drive(ID)).toEqual({ kind: 'absent' })
        expect(await rest(world.shelf.open(ID))).toEqual({})
        expect(world.row().wakeAt).toBe(null)
        expect(grave(world)).toMatchObject({ isUnderWay: false, ...(began === undefined ? undefined : { sweptAt: began }) })
        commits = Math.max(commits, nth)
      }
    }
    // More than one commit, so that there was a half.
    expect(commits).toBeGreaterThan(5)
    expect([...kinds].sort()).toEqual(['absent', 'unavailable'])
  })

  test('a half-swept run is never driven: no step of it runs again', async () => {
    const world = await expiredWorld()
    const first = world.boot(busy, { limits: { sweepRows }, faults: { fault: ({ method, nth }) => (method === 'commit' && nth === 3 ? { do: 'crash', when: 'after' } : undefined) } })
    await first.begin()
    await first.idle(60)
    await first.crash()
    expect(grave(world)?.isUnderWay).toBe(true)
    let ran = 0
    const again = workflow({ name: 'w', input: anything, retention }, async (ctx) => ctx.step('big', () => { ran++ }))
    const second = world.boot(again)
    await second.runs.drive(ID)
    expect([ran, await rest(world.shelf.open(ID))]).toEqual([0, {}])
  })

  test('a host that is closed in the middle stops, and the next one goes on', async () => {
    const world = await expiredWorld()
    let stop: (() => Promise<void>) | undefined
    const process = world.boot(busy, { limits: { sweepRows }, faults: { committed: () => void stop?.() } })
    const driver = await process.runs.driver(ID)
    stop = () => driver.stop()
    expect(await process.runs.drive(ID)).toEqual({ kind: 'stopped' })
    expect(grave(world)?.isUnderWay).toBe(true)
    expect(await world.boot(busy).runs.drive(ID)).toEqual({ kind: 'absent' })
  })

  test('whoever reads while it goes on is told that it was swept, never that it is damaged, and gets no part of it as the whole', async () => {
    const swept = { summary: 0, outcome: 0, journal: 0, effects: 0, export: 0 }
    for (const what of ['summary', 'outcome', 'journal', 'effects', 'export'] as const) {
      for (let n = 1, isOver = false; !isOver; n++) {
        isOver = true
        const world = await expiredWorld()
        const plain = world.shelf.open(ID)
        let calls = 0
        const at = <A extends unknown[], R>(call: (...args: A) => R) => async (...args: A): Promise<Awaited<R>> => {
          if (++calls === n) {
            isOver = false
            await world.boot(busy).runs.drive(ID)
          }
          return await call(...args)
        }
        const store = override(plain, {
          read: at(() => plain.read()), entries: at((...args) => plain.entries(...args)), last: at(() => plain.last()), row: at((...args) => plain.row(...args)),
          rows: at((...args) => plain.rows(...args)), keys: at((...args) => plain.keys(...args)),
        })
        const record = world.record()
        const lines: string[] = []
        const read: Readonly<Record<typeof what, () => Promise<unknown>>> = {
          summary: () => summary(store), outcome: () => outcome(store, record), journal: () => journalPage(store, { reveal: true }), effects: () => effectPage(store),
          export: async () => { for await (const line of exportRun(store)) lines.push(line) },
        }
        const code = await read[what]().then(() => undefined, (error: { code: string }) => error.code)
        if (isOver) expect(code).toBe(undefined)
        else {
          expect([what, n, code]).toEqual([what, n, 'run_swept'])
          expect(lines.some((line) => line.includes('"end":true'))).toBe(false)
          swept[what]++
        }
      }
    }
    for (const n of Object.values(swept)) expect(n).toBeGreaterThan(1)
  })

  test('a message that reached a grave is removed, and nothing wakes it again', async () => {
    const process = await expired()
    await process.runs.drive(ID)
    const store = process.world.shelf.open(ID)
    store.commit({ expect: { kind: 'exists' }, post: [new Uint8Array(1)], wakeBy: process.now })
    expect(await process.runs.drive(ID)).toEqual({ kind: 'absent' })
    expect(await rest(store)).toEqual({})
    expect(process.world.row()).toMatchObject({ wakeAt: null, inbox: 1 })
    const { epoch } = process.world.row()
    expect(await process.runs.drive(ID)).toEqual({ kind: 'absent' })
    expect(process.world.row().epoch).toBe(epoch)
  })

  test('a tombstone of a newer format is left alone', async () => {
    const process = await expired()
    const row = process.world.row()
    const store = process.world.shelf.open(ID)
    store.commit({ expect: { kind: 'head', epoch: row.epoch, seq: store.last()?.seq ?? 0 }, row: { epoch: row.epoch, wakeAt: row.wakeAt, record: encodeRecord({ ...decodeRecord(row), format: 3 as 1 }) } })
    const before = { row: store.read(), rest: await rest(store) }
    expect(await process.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'format_too_new' } })
    expect({ row: store.read(), rest: await rest(store) }).toEqual(before)
  })
})
