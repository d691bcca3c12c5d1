import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { runId as legalRunId } from '../../src/ids.ts'
import type { Batch, RunStore } from '../../src/store/store.ts'
import { bindStoreContract, type StoreHarness } from '../../src/testing/store-contract.ts'
import { entriesAfter, entry, head, row, snapshot, text } from '../../src/testing/store-scene.ts'
import type { SqliteStorage } from '../../worker/sqlite-schema.ts'
import { atomically, createSqliteStore, type SqliteStore } from '../../worker/sqlite-store.ts'

/** A handle on a run that lives in its own object: every call is one event of that object. */
function remoteStore(name: string, runId: string): RunStore {
  let instance: unknown
  let store: SqliteStore | undefined
  const call = <T>(use: (store: SqliteStore) => T | Promise<T>): Promise<T> =>
    runInDurableObject(exports.Scratch.getByName(name), (object, state): T | Promise<T> => {
      // An object that was evicted has another instance, and its old storage is dead.
      if (object !== instance) store = undefined
      instance = object
      return use((store ??= createSqliteStore(state.storage, runId)))
    })
  return {
    runId,
    read: () => call((s) => s.read()),
    entries: (after, limit) => call((s) => s.entries(after, limit)),
    last: () => call((s) => s.last()),
    row: (table, key) => call((s) => s.row(table, key)),
    rows: (table, page) => call((s) => s.rows(table, page)),
    keys: (table, page) => call((s) => s.keys(table, page)),
    commit: (batch) => call((s) => s.commit(batch)),
    destroy: () => call((s) => s.destroy()),
  }
}

let harnesses = 0

function harness(): StoreHarness {
  const place = `contract ${++harnesses}`
  const name = (runId: string): string => `${place} ${runId}`
  const open = (runId: string): RunStore => remoteStore(name(legalRunId(runId)), runId)
  return {
    name: 'Durable Object SQLite',
    open,
    reopen: async (runId) => {
      await evictDurableObject(exports.Scratch.getByName(name(runId)))
      return open(runId)
    },
    alarm: (runId) => runInDurableObject(exports.Scratch.getByName(name(runId)), (_, state) => state.storage.getAlarm()),
    cleanup: () => {},
  }
}

bindStoreContract(describe, it, harness)

/** Runs `body` inside a new object, with its storage. */
function inObject<T>(body: (storage: DurableObjectStorage) => T | Promise<T>): Promise<T> {
  const stub = exports.Scratch.getByName(`object ${++harnesses}`)
  return runInDurableObject(stub, (_, state): T | Promise<T> => body(state.storage))
}

const started = (entries = 0): Batch => ({ expect: { kind: 'absent' }, row: row({ wakeAt: 8e12 }), entries: entriesAfter(0, entries) })
const code = (name: string): unknown => expect.objectContaining({ code: name })
const local = (storage: SqliteStorage): StoreHarness =>
  ({ name: '', open: () => createSqliteStore(storage, 'run-1'), reopen: () => createSqliteStore(storage, 'run-1'), cleanup: () => {},
    alarm: () => storage.getAlarm() })

/** The storage with some of its parts replaced. */
function patched(storage: DurableObjectStorage, change: Partial<SqliteStorage>): SqliteStorage {
  return {
    sql: storage.sql, transactionSync: (run) => storage.transactionSync(run), sync: () => storage.sync(),
    getAlarm: () => storage.getAlarm(), setAlarm: (at) => storage.setAlarm(at), deleteAlarm: () => storage.deleteAlarm(),
    deleteAll: () => storage.deleteAll(), ...change,
  }
}

/** The storage with an `exec` that first asks `before`, and a count of what the platform says was written. */
function watched(storage: DurableObjectStorage, before: (query: string) => void = () => {}): { storage: SqliteStorage; written: number } {
  const exec: SqliteStorage['sql']['exec'] = (query, ...bindings) => {
    before(query)
    const cursor = storage.sql.exec<never>(query, ...bindings)
    watch.written += cursor.rowsWritten
    return cursor
  }
  const watch = { storage: patched(storage, { sql: { exec } }), written: 0 }
  return watch
}

describe('the SQLite store in a Durable Object', () => {
  it('G5: one entry is one row written, by the count of the platform, and a thousand are a thousand', () =>
    inObject((storage) => {
      const watch = watched(storage)
      const store = createSqliteStore(watch.storage, 'run-1')
      store.commit(started())
      watch.written = 0
      const { rowsWritten } = store.stats()
      expect(store.commit(head(0, { entries: [entry(1)] }))).toEqual({ kind: 'committed' })
      expect(watch.written).toBe(1)
      for (let seq = 1; seq < 1_000; seq++) store.commit(head(seq, { entries: [entry(seq + 1)] }))
      expect(watch.written).toBe(1_000)
      store.commit(head(1_000, { entries: entriesAfter(1_000, 1_000) }))
      expect(watch.written).toBe(2_000)
      expect(store.stats().rowsWritten - rowsWritten).toBe(2_000)
      expect(store.last()?.seq).toBe(2_000)
    }))

  it('G5: a row, a message and a side row are one row written each, and a start pays for its tables once', () =>
    inObject((storage) => {
      const watch = watched(storage)
      const store = createSqliteStore(watch.storage, 'run-1')
      const cost = (batch: Batch): number => {
        watch.written = 0
        expect(store.commit(batch).kind).toBe('committed')
        return watch.written
      }
      expect(cost(started(1))).toBe(6 + 1 + 1)
      expect(cost(head(1, { entries: [entry(2)], row: row() }))).toBe(2)
      expect(cost({ expect: { kind: 'exists' }, post: [text('m')] })).toBe(2)
      expect(cost(head(2, { entries: [entry(3)], take: [1], row: row() }))).toBe(3)
      expect(cost({ expect: { kind: 'none' }, rows: [{ table: 'chunk', key: 'k', value: text('c') }] })).toBe(1)
      expect(cost({ expect: { kind: 'none' }, rows: [{ table: 'chunk', key: 'k', value: text('d') }] })).toBe(1)
      watch.written = 0
      store.commit(head(0, { entries: [entry(1)] }))
      store.commit(head(3, { entries: [entry(4)] }, 9))
      expect(watch.written).toBe(0)
    }))

  it('G5: answers at once, never with a promise', () =>
    inObject((storage) => {
      const store = createSqliteStore(storage, 'run-1')
      expect(store.commit(started(1))).toEqual({ kind: 'committed' })
      expect(store.commit(head(1, { entries: [entry(2)] }))).toEqual({ kind: 'committed' })
      expect(store.commit(head(9, { entries: [entry(10)] }))).toEqual({ kind: 'stale', reason: 'seq' })
      expect(store.read()?.epoch).toBe(1)
    }))

  it('G29: reading an unknown run makes no table', () =>
    inObject(async (storage) => {
      const store = createSqliteStore(storage, 'run-1')
      const nothing = await snapshot(store, local(storage))
      expect(nothing).toMatchObject({ row: undefined, entries: [], alarm: null })
      expect(store.commit(head(0, { entries: [entry(1)] }))).toEqual({ kind: 'stale', reason: 'absent' })
      expect(storage.sql.exec("SELECT name FROM sqlite_master WHERE name NOT LIKE '\\_cf%' ESCAPE '\\'").toArray()).toEqual([])
      expect(store.stats()).toMatchObject({ rowsWritten: 0, alarmsSet: 0 })
    }))

  it('G5: a failure at any statement leaves nothing of the commit, also of the one that makes the tables', () =>
    inObject(async (storage) => {
      const everything: Batch = head(2, {
        entries: entriesAfter(2, 40), row: row({ epoch: 2, wakeAt: 7e12 }), post: [text('m')], take: [1],
        rows: [{ table: 'chunk', key: 'k', value: text('c') }],
      })
      for (const prepare of [[], [started(2), { expect: { kind: 'exists' }, post: [text('1')] } as const]]) {
        const batch = prepare.length === 0 ? started(40) : everything
        for (let fatal = 0; ; fatal++) {
          await storage.deleteAll()
          const plain = createSqliteStore(storage, 'run-1')
          for (const before of prepare) plain.commit(before)
          const before = await snapshot(plain, local(storage))
          let statements = 0
          const { storage: broken } = watched(storage, () => {
            if (statements++ === fatal) throw new Error('disk I/O error: SQLITE_IOERR')
          })
          const store = createSqliteStore(broken, 'run-1')
          try {
            expect(store.commit(batch)).toMatchObject({ kind: 'committed' })
            expect(fatal).toBeGreaterThan(5)
            break
          } catch (error) {
            expect(error).toEqual(code('store_unavailable'))
          }
          expect(await snapshot(plain, local(storage))).toEqual(before)
          // The same handle goes on with what is stored.
          expect(store.commit(batch)).toMatchObject({ kind: 'committed' })
        }
      }
    }))

  it('G5: the alarm is taken back with the transaction, and set again by the next commit', () =>
    inObject(async (storage) => {
      let isFatal = false
      const late = patched(storage, { transactionSync: (run) => storage.transactionSync(() => {
        const result = run()
        if (isFatal) throw new Error('after everything')
        return result
      }) })
      const store = createSqliteStore(late, 'run-1')
      store.commit(started(1))
      let armed: number | null = 8e12
      for (const wakeAt of [5e12, null, 6e12]) {
        const batch = head(1, { row: row({ wakeAt }) })
        isFatal = true
        expect(() => store.commit(batch)).toThrow(code('store_unavailable'))
        expect(await storage.getAlarm()).toBe(armed)
        expect(store.read()?.wakeAt).toBe(armed)
        isFatal = false
        expect(store.commit(batch)).toEqual({ kind: 'committed' })
        expect(await storage.getAlarm()).toBe(wakeAt)
        armed = wakeAt
      }
    }))

  it('G29: an alarm that stands is not set again, one that fired is', () =>
    inObject(async (storage) => {
      const calls: (number | null)[] = []
      const counted = patched(storage, {
        setAlarm: (at) => (calls.push(at), storage.setAlarm(at)),
        deleteAlarm: () => (calls.push(null), storage.deleteAlarm()),
      })
      const store = createSqliteStore(counted, 'run-1')
      const park = (wakeAt: number | null): unknown => store.commit(head(0, { row: row({ wakeAt }) }))
      store.commit(started())
      park(8e12)
      store.commit(head(0, {}))
      store.commit({ expect: { kind: 'exists' }, post: [text('m')] })
      expect(calls).toEqual([8e12])
      store.alarmFired()
      park(8e12)
      park(8e12)
      expect(calls).toEqual([8e12, 8e12])
      park(null)
      park(null)
      park(0)
      expect(calls).toEqual([8e12, 8e12, null, 1])
      await store.arm(6e12)
      expect(await storage.getAlarm()).toBe(6e12)
      park(6e12)
      park(6e12)
      expect(calls.slice(4)).toEqual([6e12])
      await store.arm(null)
      expect(await storage.getAlarm()).toBe(null)
      park(6e12)
      expect(await storage.getAlarm()).toBe(6e12)
      // After a restart nobody knows what became of the alarm, so the first commit with a row sets it.
      calls.length = 0
      createSqliteStore({ ...counted }, 'run-1').commit(head(0, { row: row({ wakeAt: 6e12 }) }))
      expect(calls).toEqual([6e12])
      expect(store.stats().alarmsSet).toBe(5)
    }))

  it('G5: a transaction whose callback gives a promise is undone', () =>
    inObject((storage) => {
      storage.sql.exec('CREATE TABLE t (x) STRICT'.replace('(x)', '(x INTEGER)'))
      expect(() => atomically(storage, async () => {
        storage.sql.exec('INSERT INTO t VALUES (1)')
        await Promise.resolve()
      })).toThrow(code('internal'))
      expect(storage.sql.exec('SELECT count(*) AS n FROM t').one()).toEqual({ n: 0 })
      expect(atomically(storage, () => storage.sql.exec('INSERT INTO t VALUES (1)').rowsWritten)).toBe(1)
    }))

  it('G5: a full database and other failures have their codes, and nothing of ours is in the way afterwards', () =>
    inObject((storage) => {
      const failures = [
        ['database or disk is full: SQLITE_FULL', 'quota_exceeded'], ['string or blob too big: SQLITE_TOOBIG', 'payload_too_large'],
        ['disk I/O error: SQLITE_IOERR', 'store_unavailable'],
      ] as const
      let failure: string | undefined
      const { storage: weak } = watched(storage, () => {
        if (failure !== undefined) throw new Error(failure)
      })
      const store = createSqliteStore(weak, 'run-1')
      store.commit(started())
      for (const [message, name] of failures) {
        failure = message
        expect(() => store.commit(head(0, { entries: [entry(1)] }))).toThrow(code(name))
        expect(() => store.commit(head(0, { row: row() }))).toThrow(code(name))
        expect(() => store.read()).toThrow(code(name))
        failure = undefined
      }
      expect(store.commit(head(0, { entries: [entry(1)] }))).toEqual({ kind: 'committed' })
    }))

  it('G25: tables of a newer format, or of another run, are not touched', () =>
    inObject(async (storage) => {
      createSqliteStore(storage, 'run-1').commit(started(1))
      expect(() => createSqliteStore(storage, 'run-2').read()).toThrow(code('wrong_namespace'))
      expect(() => createSqliteStore(storage, 'run-2').commit(started(1))).toThrow(code('wrong_namespace'))
      storage.sql.exec('UPDATE run SET version = 2')
      const store = createSqliteStore(storage, 'run-1')
      expect(() => store.read()).toThrow(code('format_too_new'))
      expect(() => store.commit(head(1, { entries: [entry(2)] }))).toThrow(code('format_too_new'))
      storage.sql.exec('UPDATE run SET version = 1')
      expect((await snapshot(store, local(storage)))).toMatchObject({ last: entry(1) })
    }))

  it('Z-124: destroy leaves neither tables nor an alarm', () =>
    inObject(async (storage) => {
      const store = createSqliteStore(storage, 'run-1')
      store.commit(started(3))
      await store.destroy()
      expect(storage.sql.exec("SELECT name FROM sqlite_master WHERE name IN ('run', 'entry', 'side')").toArray()).toEqual([])
      expect(await storage.getAlarm()).toBe(null)
      store.commit(started(3))
      expect(await storage.getAlarm()).toBe(8e12)
    }))

  it('G2: what was committed is there after the object was killed, and after it was evicted', async () => {
    const name = `object ${++harnesses}`
    const first = remoteStore(name, 'run-1')
    await first.commit(started(1))
    for (let seq = 1; seq < 20; seq++) {
      await first.commit(head(seq, { entries: [entry(seq + 1)] }))
      if (seq % 2 === 0) await evictDurableObject(exports.Scratch.getByName(name))
      else await abortAllDurableObjects()
    }
    expect(await remoteStore(name, 'run-1').entries(0, 99)).toEqual(entriesAfter(0, 20))
  })
})
