import { afterEach, describe, expect, it, vi } from 'vitest'
import { cdp } from 'vitest/browser'
import type { Batch, RunStore } from '../../src/store/store.ts'
import { inboxKey } from '../../src/store/store.ts'
import { bindStoreContract, type StoreHarness } from '../../src/testing/store-contract.ts'
import { entriesAfter, entry, head, row, snapshot, text } from '../../src/testing/store-scene.ts'
import { type Group, unpack } from '../../web/idb-group.ts'
import { createIdbShelf } from '../../web/idb-store.ts'
import { type Database, type DatabaseOptions, openDatabase } from '../../web/database.ts'

let databases = 0

async function harness(): Promise<StoreHarness> {
  const name = `contract ${++databases} ${Math.random()}`
  let database = await openDatabase({ name })
  let shelf = createIdbShelf(database)
  return {
    name: 'IndexedDB',
    get shelf() {
      return shelf
    },
    open: (runId) => shelf.open(runId),
    reopen: async (runId) => {
      shelf.close()
      database = await openDatabase({ name })
      shelf = createIdbShelf(database)
      return shelf.open(runId)
    },
    cleanup: () => database.destroy(),
  }
}

bindStoreContract(describe, it, harness)

/** A new name, and whatever is open under it deleted after the test. */
const open = new Set<Database>()
async function fresh(options: Partial<DatabaseOptions> = {}): Promise<{ name: string; database: Database; store: RunStore }> {
  const { name = `store ${++databases} ${Math.random()}` } = options
  const database = await openDatabase({ ...options, name })
  open.add(database)
  return { name, database, store: createIdbShelf(database).open('run-1') }
}

/** A connection of somebody who is not us. */
function stranger(name: string, version?: number, upgrade: (db: IDBDatabase, tx: IDBTransaction) => void = () => {}): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, version)
    request.onupgradeneeded = () => upgrade(request.result, request.transaction as IDBTransaction)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error as DOMException)
  })
}

/** What `store` has and what it is called, for `snapshot`. */
const alone = { name: '', cleanup: () => {} } as unknown as StoreHarness
const started = (count = 0): Batch => ({ expect: { kind: 'absent' }, row: row(), entries: entriesAfter(0, count) })
const code = (name: string): unknown => expect.objectContaining({ code: name })
const committed = { kind: 'committed' }

/** What lies in the database, of whichever run and life. A stop that was left behind would be null. */
async function stored(database: Database): Promise<unknown[]> {
  const groups = await database.read<(Group | null)[]>(['entry'], (turn) => turn.on(turn.store('entry').getAll(), turn.finish))
  return groups.flatMap((group) => (group === null ? [group] : unpack([group], 0, Infinity)))
}

afterEach(async () => {
  vi.restoreAllMocks()
  for (const database of open) await database.destroy()
  open.clear()
})

describe('the IndexedDB store in a browser', () => {
  it('G5: the commit of entries is two requests and an explicit commit, and is durable as asked', async () => {
    const { store } = await fresh()
    await store.commit(started())
    await store.commit(head(0, { entries: [entry(1)] }))
    const calls: string[] = []
    for (const method of ['get', 'getKey', 'getAll', 'openCursor', 'openKeyCursor', 'add', 'put', 'delete'] as const) {
      const real = IDBObjectStore.prototype[method] as (...args: unknown[]) => unknown
      vi.spyOn(IDBObjectStore.prototype, method as 'get').mockImplementation(function (this: IDBObjectStore, ...args) {
        calls.push(`${method} ${this.name}`)
        return real.apply(this, args) as IDBRequest
      })
    }
    const commit = vi.spyOn(IDBTransaction.prototype, 'commit')
    const transaction = vi.spyOn(IDBDatabase.prototype, 'transaction')
    expect(await store.commit(head(1, { entries: [entry(2)] }))).toEqual(committed)
    expect(await store.commit(head(2, { entries: entriesAfter(2, 100) }))).toEqual(committed)
    expect(calls).toEqual(['getKey entry', 'add entry', 'getKey entry', 'add entry'])
    expect(commit).toHaveBeenCalledTimes(2)
    await store.commit(head(102, { entries: [entry(103)], durability: 'strict' }))
    await store.commit(head(103, { entries: entriesAfter(103, 2), row: row(), durability: 'strict' }))
    await store.commit(head(105, { row: row() }))
    await store.commit({ expect: { kind: 'none' }, rows: [{ table: 'chunk', key: 'k', value: text('c') }] })
    expect(commit).toHaveBeenCalledTimes(6)
    expect(transaction.mock.calls.map(([stores, mode, options]) => [stores, mode, options?.durability])).toEqual([
      [['entry'], 'readwrite', 'relaxed'], [['entry'], 'readwrite', 'relaxed'], [['entry'], 'readwrite', 'strict'],
      [['run', 'entry'], 'readwrite', 'strict'], [['run', 'entry'], 'readwrite', 'relaxed'], [['side'], 'readwrite', 'relaxed'],
    ])
  })

  it('G6: two connections are two writers: exactly one commit of each number, and a taken-over one is refused', async () => {
    const { name, store: one } = await fresh()
    const { store: two } = await fresh({ name })
    await one.commit(started())
    await Promise.all([one.commit(head(0, { entries: [] })), two.commit(head(0, { entries: [] }))])
    for (let seq = 0; seq < 10; seq++) {
      const answers = await Promise.all([one, two, one, two].map((store) => store.commit(head(seq, { entries: [entry(seq + 1)] }))))
      expect(answers.map(({ kind }) => kind).sort()).toEqual(['committed', 'stale', 'stale', 'stale'])
    }
    const posted = await Promise.all(Array.from({ length: 100 }, (_, i) =>
      (i % 2 === 0 ? one : two).commit({ expect: { kind: 'exists' }, post: [text(`${i}`)] })))
    const numbers = posted.flatMap((answer) => (answer.kind === 'committed' ? (answer.posted ?? []) : []))
    expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
    await one.commit(head(10, { entries: [entry(11)] }))
    await two.commit(head(11, { row: row({ epoch: 2 }) }))
    expect(await one.commit(head(11, { entries: [entry(12)] }))).toEqual({ kind: 'stale', reason: 'epoch' })
    await two.destroy()
    expect(await one.commit(head(11, { entries: [entry(12)] }))).toEqual({ kind: 'stale', reason: 'absent' })
    await two.commit(started(3))
    expect(await one.commit(head(11, { entries: [entry(12)] }))).toEqual({ kind: 'stale', reason: 'seq' })
    expect(await two.entries(0, 99)).toEqual(entriesAfter(0, 3))
  })

  it('G6: a take-over that appends nothing stops the old driver at once, and leaves no trace in the journal', async () => {
    const { name, database, store: one } = await fresh()
    const [{ store: two }, { store: three }] = [await fresh({ name }), await fresh({ name })]
    const refused = { kind: 'stale', reason: 'epoch' }
    const tryAll = async (store: RunStore, seq: number, epoch: number): Promise<unknown[]> => [
      await store.commit(head(seq, { entries: [entry(seq + 1, 'late')] }, epoch)),
      await store.commit(head(seq, { entries: entriesAfter(seq, 2), row: row({ epoch }) }, epoch)),
      await store.commit(head(seq, { row: row({ epoch }) }, epoch)),
    ]
    await one.commit(started())
    for (let seq = 0; seq < 2; seq++) await one.commit(head(seq, { entries: [entry(seq + 1)] }))
    expect(await two.commit(head(2, { row: row({ epoch: 2 }) }))).toEqual(committed)
    expect(await tryAll(one, 2, 1)).toEqual([refused, refused, refused])
    await one.commit({ expect: { kind: 'exists' }, post: [text('m')] })
    expect(await two.commit(head(2, { row: row({ epoch: 2, wakeAt: 5 }) }, 2))).toEqual(committed)
    expect(await tryAll(one, 2, 1)).toEqual([refused, refused, refused])
    expect(await three.commit(head(2, { row: row({ epoch: 3 }) }, 2))).toEqual(committed)
    expect([...(await tryAll(one, 2, 1)), ...(await tryAll(two, 2, 2))]).toEqual(Array(6).fill(refused))
    for (const store of [one, two, three]) {
      expect(await store.last()).toEqual(entry(2))
      expect(await store.entries(0, 9)).toEqual(entriesAfter(0, 2))
      expect(await store.read()).toMatchObject({ epoch: 3, inbox: 1 })
    }
    for (let seq = 2; seq < 6; seq++) expect(await three.commit(head(seq, { entries: [entry(seq + 1)] }, 3))).toEqual(committed)
    expect([...(await tryAll(one, 2, 1)), ...(await tryAll(two, 6, 2))]).toEqual(Array(6).fill(refused))
    expect(await two.commit(head(6, { entries: entriesAfter(6, 2), row: row({ epoch: 4 }) }, 3))).toEqual(committed)
    expect(await tryAll(three, 6, 3)).toEqual([refused, refused, refused])
    expect(await two.entries(0, 99)).toEqual(entriesAfter(0, 8))
    expect(await stored(database)).toEqual(entriesAfter(0, 8))
  })

  it('Z-124: a driver that goes on after its run was destroyed leaves nothing behind, also not in a new run of that id', async () => {
    const { name, database, store: one } = await fresh()
    const { store: two } = await fresh({ name })
    await one.commit(started())
    for (let seq = 0; seq < 3; seq++) await one.commit(head(seq, { entries: [entry(seq + 1)] }))
    await two.destroy()
    expect(await one.commit(head(3, { entries: [entry(4)] }))).toEqual({ kind: 'stale', reason: 'absent' })
    expect(await stored(database)).toEqual([])
    await two.commit(started(1))
    for (let seq = 1; seq < 3; seq++) await one.commit(head(seq, { entries: [entry(seq + 1)] }))
    await two.destroy()
    await two.commit(started(2))
    expect(await one.commit(head(3, { entries: [entry(4)] }))).toEqual({ kind: 'stale', reason: 'seq' })
    expect(await stored(database)).toEqual(entriesAfter(0, 2))
    expect(await two.entries(0, 9)).toEqual(entriesAfter(0, 2))
    // Where epoch and head happen to be the same in both lives, what it writes is in the new one, whole.
    for (const count of [1, 2]) {
      await two.destroy()
      await two.commit(started(2))
      for (let seq = 2; seq < 4; seq++) await one.commit(head(seq, { entries: [entry(seq + 1)] }))
      await two.destroy()
      await two.commit(started(4))
      const batch = count === 1 ? head(4, { entries: [entry(5)] }) : head(4, { entries: entriesAfter(4, 2), row: row({ wakeAt: 5 }) })
      expect(await one.commit(batch)).toEqual(committed)
      expect(await two.entries(0, 9)).toEqual(entriesAfter(0, 4 + count))
      expect(await stored(database)).toEqual(entriesAfter(0, 4 + count))
    }
  })

  it('G5: a failure at any request leaves nothing of the commit, and the handle goes on with what is stored', async () => {
    const { store } = await fresh()
    await store.commit(started(2))
    await store.commit({ expect: { kind: 'exists' }, post: [text('1'), text('2')] })
    const batch = head(2, {
      entries: entriesAfter(2, 3), row: row({ epoch: 2 }), post: [text('m')], take: [1],
      rows: [{ table: 'chunk', key: 'k', value: text('c') }], require: [{ table: 'inbox', key: inboxKey(2) }],
    })
    const before = await snapshot(store, alone)
    for (let fatal = 0; ; fatal++) {
      let requests = 0
      for (const method of ['get', 'openCursor', 'getKey', 'add', 'put', 'delete'] as const) {
        const real = IDBObjectStore.prototype[method] as (...args: unknown[]) => unknown
        vi.spyOn(IDBObjectStore.prototype, method as 'get').mockImplementation(function (this: IDBObjectStore, ...args) {
          if (requests++ === fatal) throw new DOMException('no clone of it', 'DataCloneError')
          return real.apply(this, args) as IDBRequest
        })
      }
      const answer = await (async () => store.commit(batch))().catch((error: unknown) => error)
      vi.restoreAllMocks()
      if (!(answer instanceof DOMException)) {
        expect(answer).toEqual({ kind: 'committed', posted: [3] })
        expect(fatal).toBe(7)
        break
      }
      expect(await snapshot(store, alone)).toEqual(before)
    }
  })

  it('G5: a commit that breaks before commit() throws, one that breaks after it is unknown, and the handle goes on', async () => {
    const { store } = await fresh()
    await store.commit(started(1))
    for (const batch of [
      head(1, { entries: [entry(2)] }), head(1, { entries: entriesAfter(1, 9) }), head(1, { entries: [entry(2)], row: row() }),
    ]) {
      const real = IDBTransaction.prototype.commit
      // The connection breaks while the commit is under way: the browser aborts what it was told to commit.
      vi.spyOn(IDBTransaction.prototype, 'commit').mockImplementationOnce(function (this: IDBTransaction) {
        this.abort()
      })
      expect(await store.commit(batch)).toMatchObject({ kind: 'unknown' })
      const get = IDBObjectStore.prototype.get
      vi.spyOn(IDBObjectStore.prototype, 'get').mockImplementationOnce(function (this: IDBObjectStore, key) {
        const request = get.call(this, key)
        this.transaction.abort()
        return request
      })
      await expect(store.commit(batch)).rejects.toEqual(code('store_unavailable'))
      expect(IDBTransaction.prototype.commit).not.toBe(real)
      vi.restoreAllMocks()
      expect(await store.last()).toEqual(entry(1))
    }
    expect(await store.commit(head(1, { entries: [entry(2)] }))).toEqual(committed)
  })

  it('G5: a connection that was closed under the store is opened again, and the commit is made once', async () => {
    const { store } = await fresh()
    await store.commit(started(1))
    const connections: IDBDatabase[] = []
    const real = IDBDatabase.prototype.transaction
    vi.spyOn(IDBDatabase.prototype, 'transaction').mockImplementation(function (this: IDBDatabase, ...args) {
      connections.push(this)
      return real.apply(this, args)
    })
    await store.read()
    for (let seq = 1; seq < 6; seq++) {
      connections.at(-1)?.close()
      expect(await store.commit(head(seq, { entries: [entry(seq + 1)] }))).toEqual(committed)
      connections.at(-1)?.close()
      expect(await store.last()).toEqual(entry(seq + 1))
    }
    expect(new Set(connections).size).toBeGreaterThanOrEqual(10)
    // A connection that cannot even be opened again is one typed error, not an endless loop.
    vi.mocked(IDBDatabase.prototype.transaction).mockImplementation(() => {
      throw new DOMException('The database connection is closing.', 'InvalidStateError')
    })
    await expect(store.commit(head(6, { entries: [entry(7)] }))).rejects.toEqual(code('store_unavailable'))
    await expect(store.read()).rejects.toEqual(code('store_unavailable'))
    vi.restoreAllMocks()
    expect(await store.commit(head(6, { entries: [entry(7)] }))).toEqual(committed)
  })

  it('G5: when the browser throws the data of the origin away, the run is unknown and its driver is refused', async () => {
    const { store } = await fresh()
    await store.commit(started(1))
    await store.commit(head(1, { entries: [entry(2)] }))
    // The runner types only what every browser has.
    const devtools = cdp() as unknown as { send(method: string, parameters: object): Promise<unknown> }
    await devtools.send('Storage.clearDataForOrigin', { origin: location.origin, storageTypes: 'indexeddb' })
    expect(await store.commit(head(2, { entries: [entry(3)] }))).toEqual({ kind: 'stale', reason: 'absent' })
    expect(await store.read()).toBeUndefined()
    expect(await store.commit(started(2))).toEqual(committed)
  })

  it('G25: another tab may upgrade the database: this one lets go, and goes on as long as the format is its own', async () => {
    let released = 0
    const { name, store } = await fresh({ onReleased: () => released++ })
    await store.commit(started(1))
    const upgraded = await stranger(name, 2, (db) => db.createObjectStore('more'))
    expect(released).toBe(1)
    expect(upgraded.version).toBe(2)
    upgraded.close()
    expect(await store.commit(head(1, { entries: [entry(2)] }))).toEqual(committed)
    const newer = await stranger(name, 3, (_db, tx) => tx.objectStore('item').put(2, 'format'))
    newer.close()
    expect(released).toBe(2)
    await expect(store.commit(head(2, { entries: [entry(3)] }))).rejects.toEqual(code('format_too_new'))
    await expect(store.read()).rejects.toEqual(code('format_too_new'))
    const same = await stranger(name, 4, (_db, tx) => tx.objectStore('item').put(1, 'format'))
    same.close()
    expect(await store.entries(0, 9)).toEqual(entriesAfter(0, 2))
  })

  it('G28: a database that hangs or is held by another tab is a typed error after the time-out, and works when it is free', async () => {
    const { name, database, store } = await fresh({ openTimeoutMs: 150 })
    await store.commit(started(1))
    database.release()
    const holder = await stranger(name)
    await expect(database.destroy()).rejects.toEqual(code('store_blocked'))
    // The deletion is still asked for, so that whoever opens now waits for it.
    await expect(openDatabase({ name, openTimeoutMs: 150 })).rejects.toEqual(code('store_unavailable'))
    holder.close()
    const { store: again } = await fresh({ name })
    expect(await again.read()).toBeUndefined()
    expect(await again.commit(started(1))).toEqual(committed)
    await expect(store.read()).rejects.toMatchObject({ code: 'store_unavailable', retryable: false })
  })

  it('G28: a database of somebody else is not touched', async () => {
    const name = `foreign ${Math.random()}`
    const db = await stranger(name, 1, (made) => made.createObjectStore('todo'))
    db.close()
    await expect(openDatabase({ name })).rejects.toEqual(code('wrong_namespace'))
    const again = await stranger(name)
    expect([...again.objectStoreNames]).toEqual(['todo'])
    again.close()
    indexedDB.deleteDatabase(name)
  })

  it('G5: a page that goes to sleep gives the connection back and goes on later; a closed database stays closed', async () => {
    const { name, database, store } = await fresh()
    await store.commit(started(1))
    database.release()
    const upgraded = await stranger(name, 2)
    upgraded.close()
    expect(await store.commit(head(1, { entries: [entry(2)] }))).toEqual(committed)
    const last = store.commit(head(2, { entries: [entry(3)] }))
    database.close()
    expect(await last).toEqual(committed)
    await expect(store.last()).rejects.toEqual(code('store_unavailable'))
    const { store: again } = await fresh({ name })
    expect(await again.last()).toEqual(entry(3))
  })

  it('keeps items of the host, also a key that cannot be read out', async () => {
    const { database } = await fresh()
    expect(await database.getItem('k')).toBeUndefined()
    const key = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
    await database.putItem('k', key)
    expect(await database.getItem('k')).toMatchObject({ type: 'secret', extractable: false })
  })
})
