import { afterEach, describe, expect, it, vi } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import { type Database, openDatabase } from '../../web/database.ts'
import { groupEntries, lastOf, lastSeq, pack, unpack } from '../../web/idb-group.ts'
import { createIdbShelf } from '../../web/idb-store.ts'
import { GENESIS } from '../../src/journal/entry.ts'
import { Writer } from '../../src/journal/writer.ts'
import { limits } from '../../src/limits.ts'
import { maxValueBytes } from '../../src/store/batch.ts'
import type { Batch, RunStore, StoredEntry } from '../../src/store/store.ts'
import { bytes, entriesAfter, entry, head, row } from '../../src/testing/store-scene.ts'

const open = new Set<Database>()

/** The connections of two tabs to one database: what one does, the other only sees there. */
async function tabs(): Promise<{ database: Database; one: RunStore; two: RunStore }> {
  const name = `group ${Math.random()}`
  const connect = async (): Promise<[Database, RunStore]> => {
    const database = await openDatabase({ name })
    open.add(database)
    return [database, createIdbShelf(database).open('run-1')]
  }
  const [[database, one], [, two]] = [await connect(), await connect()]
  return { database, one, two }
}

afterEach(async () => {
  vi.restoreAllMocks()
  for (const database of open) database.close()
  await Promise.all([...open].map((database) => database.destroy()))
  open.clear()
})

const committed = { kind: 'committed' }
const started = (count = 0, change = {}): Batch => ({ expect: { kind: 'absent' }, row: row(change), entries: entriesAfter(0, count) })
const append = (seq: number, count: number, epoch = 1): Batch => head(seq, { entries: entriesAfter(seq, count) }, epoch)

/** What lies under which key, of every life of the run. */
async function records(database: Database): Promise<[seq: number, count: number][]> {
  return database.read(['entry'], (turn) => {
    const found: [number, number][] = []
    turn.on(turn.store('entry').openCursor(), (cursor) => {
      if (cursor === null) return turn.finish(found)
      const group = cursor.value as { ends?: readonly number[] } | null
      found.push([(cursor.key as [string, string, number])[2], group === null ? 0 : (group.ends?.length ?? 1)])
      cursor.continue()
    })
  })
}

/** Every page of every length from every place of a journal of `count` entries. */
async function expectPages(store: RunStore, count: number, lengths: readonly number[]): Promise<void> {
  const all = entriesAfter(0, count)
  for (const limit of lengths) {
    for (let after = 0; after <= count + 1; after++) {
      expect(await store.entries(after, limit), `${limit} after ${after}`).toEqual(all.slice(after, after + limit))
    }
  }
}

describe('entries in groups', () => {
  it('G3: a group is read back in pages of any length, also from its middle, and over its borders', async () => {
    const { database, one, two } = await tabs()
    await one.commit(started(3))
    for (const [seq, count] of [[3, 1], [4, 7], [11, 1], [12, 1], [13, 5]] as const) {
      expect(await one.commit(append(seq, count))).toEqual(committed)
    }
    expect(await records(database)).toEqual([[1, 3], [4, 1], [5, 7], [12, 1], [13, 1], [14, 5]])
    await expectPages(one, 18, [1, 2, 3, 5, 8, 18, 10_000])
    await expectPages(two, 18, [4])
    expect(await two.last()).toEqual(entry(18))
    // A stop behind the last group is no entry, whoever reads.
    await two.commit(head(18, { row: row({ epoch: 2 }) }))
    expect(await records(database)).toEqual([[1, 3], [4, 1], [5, 7], [12, 1], [13, 1], [14, 5], [19, 0]])
    await expectPages(one, 18, [1, 10_000])
    expect([await one.last(), await two.last()]).toEqual([entry(18), entry(18)])
  })

  it('G3: a group that is too large for one record is several, and is committed whole or not at all', async () => {
    const { database, one, two } = await tabs()
    await one.commit(started(1))
    await one.commit(append(1, 1))
    const large = Array.from({ length: 130 }, (_, i) => ({ seq: i + 3, bytes: bytes(i === 70 ? 100_000 : 1000, i) }))
    expect(await one.commit(head(2, { entries: large }))).toEqual(committed)
    expect(await records(database)).toEqual([[1, 1], [2, 1], [3, 49], [52, 21], [73, 1], [74, 49], [123, 10]])
    for (const after of [2, 3, 50, 51, 52, 72, 73, 122, 131]) {
      expect(await two.entries(after, 30)).toEqual(large.slice(after - 2, after + 28))
    }
    expect(await two.last()).toEqual(large.at(-1))
    // Whoever was faster, nothing of the other one's several records is there.
    const batches = [one, two].map((store, i) => store.commit(head(132, {
      entries: large.map(({ seq }) => ({ seq: seq + 130, bytes: bytes(1000, i) })),
    })))
    expect((await Promise.all(batches)).map(({ kind }) => kind).sort()).toEqual(['committed', 'stale'])
    const all = await one.entries(132, 10_000)
    expect(new Set(all.map((each) => each.bytes.join())).size).toBe(1)
    expect(all.map(({ seq }) => seq)).toEqual(Array.from({ length: 130 }, (_, i) => i + 133))
  })

  it('G10: a page loads little more than was asked for', async () => {
    const { one } = await tabs()
    await one.commit(started(1))
    for (let seq = 1; seq < 600; seq += 100) await one.commit(append(seq, 100))
    let loaded = 0
    const getAll = IDBObjectStore.prototype.getAll
    vi.spyOn(IDBObjectStore.prototype, 'getAll').mockImplementation(function (this: IDBObjectStore, ...args) {
      const request = getAll.apply(this, args as [IDBKeyRange])
      request.addEventListener('success', () => (loaded += unpack(request.result as [], 0, Infinity).length))
      return request
    })
    expect(await one.entries(0, 1)).toEqual([entry(1)])
    expect(loaded).toBe(1)
    expect(await one.entries(150, 100)).toEqual(entriesAfter(150, 100))
    expect(loaded).toBe(101)
    expect(await one.entries(250, 1)).toEqual([entry(251)])
    expect(loaded).toBe(101)
  })

  it('G6: whatever the number of its entries, a commit of a driver that was taken over collides, and leaves nothing', async () => {
    for (const early of [1, 2, 100]) {
      for (const late of [1, 2, 100]) {
        const { database, one, two } = await tabs()
        await one.commit(started(2))
        await one.commit(append(2, early))
        const seq = 2 + early
        // Taken over, and nothing appended yet.
        await two.commit(head(seq, { row: row({ epoch: 2 }) }))
        expect(await one.commit(append(seq, late))).toEqual({ kind: 'stale', reason: 'epoch' })
        expect((await records(database)).at(-1)).toEqual([seq + 1, 0])
        // And by appending, in place of the stop and behind it.
        expect(await two.commit(append(seq, early, 2))).toEqual(committed)
        expect(await two.commit(append(seq + early, late, 2))).toEqual(committed)
        const before = await records(database)
        expect(await one.commit(append(seq, late))).toEqual({ kind: 'stale', reason: 'epoch' })
        expect(await records(database)).toEqual(before)
        expect(await one.entries(0, 1000)).toEqual(entriesAfter(0, seq + early + late))
      }
    }
  })

  it('G6: a frozen driver that thaws behind a take-over is refused by what it adds alone, before any row is read', async () => {
    const { one, two } = await tabs()
    await one.commit(started(2))
    await one.commit(append(2, 1))
    await two.commit(head(3, { row: row({ epoch: 2 }) }))
    const failed: (string | undefined)[] = []
    const add = IDBObjectStore.prototype.add
    vi.spyOn(IDBObjectStore.prototype, 'add').mockImplementation(function (this: IDBObjectStore, ...args) {
      const request = add.apply(this, args)
      request.addEventListener('error', () => failed.push(request.error?.name))
      return request
    })
    expect(await one.commit(append(3, 5))).toEqual({ kind: 'stale', reason: 'epoch' })
    expect(failed).toEqual(['ConstraintError'])
  })

  it('G6: a group of a driver whose run was destroyed goes nowhere, also when the id lives again', async () => {
    const { database, one, two } = await tabs()
    await one.commit(started(2))
    await one.commit(append(2, 3))
    await two.destroy()
    expect(await one.commit(append(5, 4))).toEqual({ kind: 'stale', reason: 'absent' })
    expect(await records(database)).toEqual([])
    await two.commit(started(2))
    await one.commit(append(2, 3))
    await two.destroy()
    await two.commit(started(7))
    expect(await one.commit(append(5, 4))).toEqual({ kind: 'stale', reason: 'seq' })
    expect(await records(database)).toEqual([[1, 7]])
    expect(await one.entries(0, 99)).toEqual(entriesAfter(0, 7))
    // Another handle has seen the life before: what it reads is of this one.
    expect(await two.last()).toEqual(entry(7))
    await one.destroy()
    await one.commit(started(1))
    expect(await two.entries(0, 99)).toEqual([entry(1)])
    expect(await two.last()).toEqual(entry(1))
    await one.destroy()
    expect([await two.entries(0, 99), await two.last()]).toEqual([[], undefined])
  })

  it('G5: the answer to a group is lost, and its writer learns from the head whether it is in', async () => {
    for (const isIn of [true, false]) {
      const { one, two } = await tabs()
      const host = createBrowserHost()
      await one.commit(started())
      const writer = new Writer(
        { store: one, host: 'browser', limits: limits(), now: () => 5, timer: (ms, run) => host.timer(ms, run) },
        1, 1, { seq: 0, hash: GENESIS }, 0,
      )
      const drafts = (count: number) => Array.from({ length: count }, () => ({ kind: 'step_completed' as const, key: 'k', calls: 1, payload: bytes(9) }))
      await writer.append(drafts(1))
      await writer.append(drafts(1))
      const commit = IDBTransaction.prototype.commit
      let isLost = false
      vi.spyOn(IDBTransaction.prototype, 'commit').mockImplementation(function (this: IDBTransaction) {
        if (isLost || this.mode === 'readonly') return commit.call(this)
        isLost = true
        if (!isIn) return this.abort()
        // It is written, and the connection breaks before the answer is there.
        commit.call(this)
        const { oncomplete, onabort } = this
        this.oncomplete = null
        this.addEventListener('complete', () => {
          this.onabort = onabort
          this.dispatchEvent(new Event('abort'))
        })
        expect(oncomplete).not.toBeNull()
      })
      expect(await writer.append(drafts(50))).toMatchObject({ kind: 'committed' })
      expect(isLost).toBe(true)
      vi.restoreAllMocks()
      expect(writer.head.seq).toBe(52)
      expect((await two.entries(0, 99)).length).toBe(52)
      await writer.append(drafts(3))
      expect((await two.last())?.seq).toBe(55)
    }
  })

  it('G25: no group is larger than it may be, and none is empty', () => {
    const of = (...sizes: number[]): StoredEntry[] => sizes.map((size, i) => ({ seq: i + 11, bytes: bytes(size, i) }))
    const big = 48 * 1024
    const cases: [StoredEntry[], number[]][] = [
      [[], []], [of(0), [1]], [of(1, 2, 3), [3]], [of(big), [1]], [of(big + 1), [1]], [of(big, 0), [2]], [of(big, 1), [1, 1]],
      [of(1, big, 1), [1, 1, 1]], [of(maxValueBytes, maxValueBytes), [1, 1]], [of(big / 2, big / 2, 1), [2, 1]],
      [of(...Array<number>(groupEntries * 2 + 1).fill(0)), [groupEntries, groupEntries, 1]],
    ]
    for (const [entries, counts] of cases) {
      const groups = pack(entries)
      expect(groups.map(({ ends }) => ends?.length ?? 1)).toEqual(counts)
      expect(unpack(groups, 0, Infinity)).toEqual(entries)
      expect(groups.map(lastSeq).at(-1)).toBe(entries.at(-1)?.seq)
      expect(groups.map(lastOf).at(-1)).toEqual(entries.at(-1))
    }
    // Nothing is shared with who gave it, nor between those who get it.
    const [first] = of(4) as [StoredEntry]
    const shared = [{ seq: 11, bytes: first.bytes.subarray(1, 3) }, { seq: 12, bytes: first.bytes.subarray(2) }]
    const groups = pack(shared)
    const before = unpack(groups, 0, Infinity)
    first.bytes.fill(0)
    const after = unpack(groups, 0, Infinity)
    expect(after).toEqual(before)
    after[0]?.bytes.fill(9)
    expect(unpack(groups, 0, Infinity)).toEqual(before)
  })
})
