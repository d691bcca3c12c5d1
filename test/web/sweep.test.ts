// G23, G24, Z-047: ended runs are removed in a page, at load and by its timer, under their locks, and their ids stay taken.

import { describe, expect, test } from 'vitest'
import { type AnyWorkflow, isStepwellError, workflow } from '../../src/index.ts'
import { sweep } from '../../src/engine/sweep.ts'
import { decodeRecord, encodeRecord } from '../../src/journal/record.ts'
import { tombstoneOf } from '../../src/journal/tombstone.ts'
import { limits } from '../../src/limits.ts'
import { FaultStore } from '../../src/testing/fault-store.ts'
import type { IdbShelf } from '../../web/idb-store.ts'
import { createBrowserHost } from '../../web/host.ts'
import { createRunLocks } from '../../web/locks.ts'
import { any, freshName, logs, open, openShelf, until } from './support.ts'

const retention = { completed: '1 hour' } as const
/** With blobs, memos, state and an effect. */
const flow = workflow({ name: 'flow', input: any<number>(), retention }, async (ctx, n) => {
  await ctx.step('big', () => `${n}`.repeat(1000))
  await ctx.step('s', async ({ memo, state }) => { await memo('m', () => 1); state.set('k', 1) })
  await ctx.effect('pay', () => 'paid', { kind: 'idempotent', input: n, onAmbiguous: 'rerun' })
  return n
})
const other = workflow({ name: 'other', input: any<null>() }, async () => 1)
const small = { inlineBytes: 100, chunkBytes: 100, sweepRows: 3 }

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  const thrown: unknown = await promise.then(() => undefined, (e: unknown) => e)
  return isStepwellError(thrown) ? thrown.code : undefined
}

/** Runs that have ended, in a database that no page has open. */
async function ended(name: string, count: number): Promise<string[]> {
  const well = await open({ name, workflows: [flow], limits: small })
  const runs = await Promise.all(Array.from({ length: count }, (_, i) => well.start(flow, i)))
  await Promise.all(runs.map((run) => run.result()))
  await well.close()
  return runs.map(({ id }) => id)
}

/** As if the hour had passed. */
async function age(shelf: IdbShelf, id: string, format = 1): Promise<void> {
  const store = shelf.open(id)
  const row = (await store.read())!
  const now = Date.now() - 1
  expect(await store.commit({
    expect: { kind: 'head', epoch: row.epoch, seq: (await store.last())!.seq },
    row: { epoch: row.epoch, wakeAt: now, record: encodeRecord({ ...decodeRecord(row), expiresAt: now, format: format as 1 }) },
  })).toEqual({ kind: 'committed' })
}

/** Whatever the database itself holds of a run besides its row: entries, stops of any life, side rows. */
async function remains(name: string, id: string): Promise<number> {
  const db = await new Promise<IDBDatabase>((resolve, reject) => {
    const request = indexedDB.open(name)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error ?? new Error('it can\'t be opened'))
  })
  try {
    const all = IDBKeyRange.bound([id], [id, []])
    const counts = ['entry', 'side'].map((store) => new Promise<number>((resolve) => {
      const request = db.transaction(store).objectStore(store).count(all)
      request.onsuccess = () => resolve(request.result)
    }))
    return (await Promise.all(counts)).reduce((a, b) => a + b)
  } finally {
    db.close()
  }
}

async function isSwept(shelf: IdbShelf, id: string): Promise<boolean> {
  const row = await shelf.open(id).read()
  return row !== undefined && tombstoneOf(row)?.isUnderWay === false && row.wakeAt === null
}

const lockOf = (name: string, id: string): Promise<{ release(): void } | undefined> => createRunLocks(name, navigator.locks).take(id, () => {})

describe('T-015: the sweep in a page', () => {
  test.each([['that knows the workflow', [flow] as AnyWorkflow[]], ['that does not', [other] as AnyWorkflow[]]])('at load of a page %s: all of a run goes, its row stays as a tombstone', async (_, workflows) => {
    const name = freshName()
    const [id, kept] = await ended(name, 2) as [string, string]
    const shelf = await openShelf(name)
    await age(shelf, id)
    expect(await remains(name, id)).toBeGreaterThan(10)
    const before = await remains(name, kept)
    const well = await open({ name, workflows })
    await until(() => isSwept(shelf, id))
    expect(await remains(name, id)).toBe(0)
    expect(await remains(name, kept)).toBe(before)
    expect((await well.runs()).map((run) => run.id)).toEqual([kept])
    expect(await shelf.due(9)).toEqual([{ runId: kept, wakeAt: expect.any(Number) as number }])
    const run = well.get(workflows[0] as never, id) as ReturnType<typeof well.get>
    for (const ask of [run.status(), run.result(), run.journal(), run.effects(), run.cancel(), run.pause(), run.restart(), run.export()[Symbol.asyncIterator]().next()]) {
      expect(await codeOf(ask)).toBe('run_swept')
    }
    expect(await codeOf(well.putBlob(id, new Uint8Array(9)))).toBe('run_swept')
    expect(await remains(name, id)).toBe(0)
  })

  test('G23: the id and the token of a swept run begin no other', async () => {
    const name = freshName()
    const first = await open({ name, workflows: [flow] })
    const { id } = await first.start(flow, 1, { token: 'order-1' })
    await first.get(flow, id).result()
    await first.close()
    const shelf = await openShelf(name)
    await age(shelf, id)
    const well = await open({ name, workflows: [flow] })
    await until(() => isSwept(shelf, id))
    expect(await codeOf(well.start(flow, 1, { token: 'order-1' }))).toBe('run_swept')
    expect(await codeOf(well.start(flow, 2, { token: 'order-1' }))).toBe('input_mismatch')
    expect(await remains(name, id)).toBe(0)
  })

  test('by the timer of a page that is open; its retention may be over soon', async () => {
    const name = freshName()
    const soon = workflow({ name: 'soon', input: any<null>(), retention: { completed: 300 } }, async (ctx) => ctx.step('s', () => 1))
    const well = await open({ name, workflows: [soon] })
    const run = await well.start(soon, null)
    const shelf = await openShelf(name)
    await until(() => isSwept(shelf, run.id), 20_000)
    expect(await codeOf(run.status())).toBe('run_swept')
    expect(await remains(name, run.id)).toBe(0)
  })

  test('two pages at once: every run once, by one of them', async () => {
    const name = freshName()
    const ids = await ended(name, 12)
    const shelf = await openShelf(name)
    const epochs = new Map<string, number>()
    for (const id of ids) {
      await age(shelf, id)
      epochs.set(id, (await shelf.open(id).read())!.epoch)
    }
    await Promise.all([1, 2].map(() => open({ name, workflows: [flow], limits: small })))
    for (const id of ids) {
      await until(() => isSwept(shelf, id), 20_000)
      expect(await remains(name, id)).toBe(0)
      expect((await shelf.open(id).read())!.epoch).toBe(epochs.get(id)! + 1)
    }
  })

  test('Z-047: a run whose lock somebody holds is not swept, whatever its age; Z-182: what would be is told, and nothing changes', async () => {
    const name = freshName()
    const [id, kept] = await ended(name, 2) as [string, string]
    const shelf = await openShelf(name)
    await age(shelf, id)
    const row = await shelf.open(id).read()
    const before = await remains(name, id)
    const lock = await lockOf(name, id)
    const well = await open({ name, workflows: [flow] })
    expect(await well.expired()).toEqual([id])
    // The page has looked at all runs, and stands in line for the lock of this one.
    await until(async () => (await navigator.locks.query()).pending!.some((each) => each.name?.endsWith(id) === true))
    expect(await well.expired()).toEqual([id])
    expect(await shelf.open(id).read()).toEqual(row)
    expect(await remains(name, id)).toBe(before)
    lock!.release()
    await until(() => isSwept(shelf, id))
    expect(await well.expired()).toEqual([])
    expect((await well.runs()).map((run) => run.id)).toEqual([kept])
  })

  test('cut off half-way it goes on at the next load, at once, and is shown to nobody in between', async () => {
    const name = freshName()
    const [id] = await ended(name, 1) as [string]
    const shelf = await openShelf(name)
    await age(shelf, id)
    const dying = new FaultStore(shelf.open(id), { fault: ({ method, nth }) => (method === 'commit' && nth === 2 ? { do: 'crash', when: 'after' } : undefined) })
    void sweep({ store: dying, host: createBrowserHost({ onLog: (record) => logs.push(record) }), limits: limits({ ...small, recoveryMs: 3_600_000 }), isStopped: () => false })
    await until(() => dying.isDead)
    const half = (await shelf.open(id).read())!
    expect([tombstoneOf(half)?.isUnderWay, await remains(name, id) > 0, half.wakeAt! > Date.now() + 1_000_000]).toEqual([true, true, true])
    const lock = await lockOf(name, id)
    const well = await open({ name, workflows: [flow] })
    expect(await well.runs()).toEqual([])
    expect(await codeOf(well.get(flow, id).status())).toBe('run_swept')
    lock!.release()
    await until(() => isSwept(shelf, id))
    expect(await remains(name, id)).toBe(0)
  })

  test('a run of a newer format is left alone', async () => {
    const name = freshName()
    const [id, aged] = await ended(name, 2) as [string, string]
    const shelf = await openShelf(name)
    await age(shelf, id, 3)
    await age(shelf, aged)
    const row = await shelf.open(id).read()
    const before = await remains(name, id)
    const well = await open({ name, workflows: [flow] })
    await until(() => isSwept(shelf, aged))
    expect(await well.expired()).toEqual([])
    expect(await shelf.open(id).read()).toEqual(row)
    expect(await remains(name, id)).toBe(before)
  })
})
