// The store of one run in the SQLite database of its Durable Object. Everything is synchronous, so a commit has only two
// answers here: what it wrote is held together by the transaction, and the platform's output gate holds back whatever would
// tell the world before it is durable.

import { StepwellError } from '../src/errors.ts'
import { runId as legalRunId } from '../src/ids.ts'
import { checkBatch, checkLimit, checkPage, hotEntry, numbersTaken, type Standing, staleReason } from '../src/store/batch.ts'
import type {
  Batch, CommitAnswer, Expect, Page, RunRow, RunStore, SideRow, StaleReason, StoredEntry, Table,
} from '../src/store/store.ts'
import { earlier, inboxKey } from '../src/store/store.ts'
import * as sql from './sqlite-schema.ts'
import type { SqliteStorage, SqlValue } from './sqlite-schema.ts'

/** What this store object has cost so far. The platform bills rows, and one more row for every alarm that is set. */
export interface SqliteStats {
  readonly rowsRead: number
  readonly rowsWritten: number
  readonly alarmsSet: number
}

/** A `RunStore` that answers at once; only `destroy` waits. One object of the host makes one of these and keeps it. */
export interface SqliteStore extends RunStore {
  read(): RunRow | undefined
  entries(after: number, limit: number): readonly StoredEntry[]
  last(): StoredEntry | undefined
  row(table: Table, key: string): Uint8Array | undefined
  rows(table: Table, page: Page): readonly SideRow[]
  keys(table: Table, page: Page): readonly string[]
  commit(batch: Batch): CommitAnswer
  /** The platform deletes everything as one act, and it must be the last of its turn. */
  flush(): Promise<void>
  destroy(): Promise<void>
  /**
   * The first call of the host's `alarm()`: the platform used the alarm up, so a commit with the same `wakeAt` has to set it
   * again. (`getAlarm()` cannot tell: it is null in there.)
   */
  alarmFired(): void
  /** Sets the object's alarm outside a commit (its recovery alarm), or deletes it. The next commit with a row sets what it says. */
  arm(at: number | null): Promise<void>
  stats(): SqliteStats
}

/** The store of the run `runId`, whose database this is. Reads and writes nothing yet. Throws `invalid_id`. */
export function createSqliteStore(storage: SqliteStorage, runId: string): SqliteStore {
  return new ObjectStore(storage, legalRunId(runId))
}

/**
 * `transactionSync` with its trap closed: the platform does not refuse an async callback, it commits the part before the first
 * await and lets the rest run outside (platform fact 14).
 */
export function atomically<T>(storage: Pick<SqliteStorage, 'transactionSync'>, run: () => T): T {
  return storage.transactionSync(() => {
    const result = run()
    if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
      throw new StepwellError('internal', 'the callback of a transaction gave a promise: nothing of it was written')
    }
    return result
  })
}

const committed: CommitAnswer = Object.freeze({ kind: 'committed' })

/** A row of `selectStanding`. `epoch` and `inbox` count only when the run has started. */
interface Stored extends Standing {
  readonly isStarted: boolean
  readonly wakeAt: number | null
}

/** What an object's alarm is set to; undefined when nobody here knows (a new instance, or a set that failed). Shared by all
 *  stores over one storage, because there is one alarm. */
interface Alarm {
  at: number | null | undefined
}

const alarms = new WeakMap<SqliteStorage, Alarm>()

class ObjectStore implements SqliteStore {
  readonly runId: string
  #storage: SqliteStorage
  #sql: SqliteStorage['sql']
  /** The tables were seen. They can vanish only by a `destroy`, perhaps of another handle: then SQLite says `no such table`. */
  #isOpen = false
  #alarm: Alarm
  /** The epoch of `#appendOne`, and no promise about what is stored. */
  #epoch: number | undefined
  #appendOne = ''
  #rowsRead = 0
  #rowsWritten = 0
  #alarmsSet = 0

  constructor(storage: SqliteStorage, runId: string) {
    this.#storage = storage
    this.#sql = storage.sql
    this.runId = runId
    this.#alarm = alarms.get(storage) ?? { at: undefined }
    alarms.set(storage, this.#alarm)
  }

  read(): RunRow | undefined {
    return this.#read(() => {
      const [epoch, inbox, wakeAt, record] = this.#rows(sql.selectRun)[0] ?? []
      if (record === undefined || record === null) return undefined
      return {
        runId: this.runId, epoch: epoch as number, inbox: inbox as number, wakeAt: wakeAt as number | null, record: bytesOf(record),
      }
    })
  }

  entries(after: number, limit: number): readonly StoredEntry[] {
    const page = checkLimit(limit)
    return this.#read(() => this.#entries(after, page)) ?? []
  }

  last(): StoredEntry | undefined {
    return this.#read(() => this.#rows(sql.selectLast).map(toEntry)[0])
  }

  row(table: Table, key: string): Uint8Array | undefined {
    return this.#read(() => this.#rows(sql.selectSide, table, key).map(([value]) => bytesOf(value))[0])
  }

  rows(table: Table, page: Page): readonly SideRow[] {
    const { after, limit } = checkPage(page)
    const toRow = ([key, value]: readonly SqlValue[]): SideRow => ({ key: key as string, value: bytesOf(value) })
    return this.#read(() => this.#rows(sql.selectSides, table, after, limit).map(toRow)) ?? []
  }

  keys(table: Table, page: Page): readonly string[] {
    const { after, limit } = checkPage(page)
    return this.#read(() => this.#rows(sql.selectKeys, table, after, limit).map(([key]) => key as string)) ?? []
  }

  commit(batch: Batch): CommitAnswer {
    const entry = hotEntry(batch)
    if (entry === undefined) checkBatch(batch)
    else if (this.#isOpen && this.#append(entry, (batch.expect as DriverExpect).epoch)) return committed
    return this.#attempt(() => {
      const armed = this.#alarm.at
      try {
        return this.#transaction(batch)
      } catch (error) {
        // The transaction took the alarm back with the rest.
        this.#alarm.at = armed
        throw error
      }
    })
  }

  /** The gate holds whatever leaves until it is written, so nobody sees the difference: an effect's intent waits all the same. */
  flush(): Promise<void> {
    return this.#storage.sync()
  }

  async destroy(): Promise<void> {
    this.#isOpen = false
    this.#alarm.at = undefined
    try {
      // An open implicit transaction would be rolled back silently by `deleteAll` (platform fact 22).
      await this.#storage.sync()
      await this.#storage.deleteAll()
      // Since 2026-02-24 `deleteAll` takes the alarm with it. Before, an alarm that outlives the data wakes an object that
      // finds nothing and writes nothing; the other order could leave data that nothing ever wakes.
      if ((await this.#storage.getAlarm()) !== null) await this.#storage.deleteAlarm()
    } catch (error) {
      throw translate(error, this.runId)
    }
  }

  alarmFired(): void {
    this.#alarm.at = null
  }

  async arm(at: number | null): Promise<void> {
    try {
      const set = at === null ? this.#storage.deleteAlarm() : this.#setAlarm(at)
      // Now and not after the wait: a commit in between may move the alarm again.
      this.#alarm.at = at
      await set
    } catch (error) {
      this.#alarm.at = undefined
      throw translate(error, this.runId)
    }
  }

  stats(): SqliteStats {
    return { rowsRead: this.#rowsRead, rowsWritten: this.#rowsWritten, alarmsSet: this.#alarmsSet }
  }

  /** False: not written, for a reason that the long way finds out. */
  #append(entry: StoredEntry, epoch: number): boolean {
    try {
      if (epoch !== this.#epoch) {
        this.#appendOne = sql.appendOne(epoch)
        this.#epoch = epoch
      }
      const cursor = this.#sql.exec(this.#appendOne, entry.seq, entry.bytes)
      const { rowsWritten } = cursor
      this.#rowsRead += cursor.rowsRead
      this.#rowsWritten += rowsWritten
      return rowsWritten === 1
    } catch (error) {
      if (!isNoTable(error)) throw translate(error, this.runId)
      this.#isOpen = false
      return false
    }
  }

  #transaction(batch: Batch): CommitAnswer {
    let posted: readonly number[] = []
    const reason = atomically(this.#storage, (): StaleReason | undefined => {
      if (this.#advance(batch)) return undefined
      const stored = this.#open() ? this.#standing() : undefined
      const stale = staleReason(batch.expect, stored?.isStarted === true ? stored : undefined) ?? this.#missing(batch, stored)
      if (stale === undefined) posted = this.#write(batch, stored)
      return stale
    })
    if (reason !== undefined) return { kind: 'stale', reason }
    this.#isOpen = true
    return posted.length === 0 ? committed : { kind: 'committed', posted }
  }

  /**
   * The driver's usual commits (entries, a row, messages taken), whose first statement is also their check. False when that
   * statement wrote nothing, or when the batch needs more than it can say: then nothing is written yet.
   */
  #advance(batch: Batch): boolean {
    const { expect, entries = [], row, post, require } = batch
    if (!this.#isOpen || expect.kind !== 'head' || (post?.length ?? 0) > 0 || (require?.length ?? 0) > 0) return false
    const inbox = expect.inbox ?? null
    const [first] = entries
    if (first !== undefined) {
      if (this.#run(sql.appendFirst, first.seq, first.bytes, expect.epoch, inbox) === 0) return false
      this.#writeEntries(entries, 1)
      if (row !== undefined) this.#run(sql.updateRun, row.epoch, row.wakeAt, row.record)
    } else if (row === undefined) {
      return false
    } else if (this.#run(sql.updateRunIf, row.epoch, row.wakeAt, row.record, expect.epoch, expect.seq, inbox) === 0) {
      return false
    }
    this.#writeSide(batch)
    if (row !== undefined) this.#moveAlarm(row.wakeAt)
    return true
  }

  #write(batch: Batch, stored: Stored | undefined): readonly number[] {
    const { entries = [], post = [], row, wakeBy } = batch
    if (stored === undefined) for (const table of sql.createTables) this.#run(table)
    const before = stored?.isStarted === true ? stored.inbox : (row?.inbox ?? 0)
    const posted = post.map((_, i) => before + i + 1)
    const inbox = before + numbersTaken(batch)
    if (stored === undefined) {
      const values = row === undefined ? [-1, inbox, null, null] : [row.epoch, inbox, row.wakeAt, row.record]
      this.#run(sql.insertRun, sql.schemaVersion, this.runId, ...values)
    } else {
      if (row !== undefined) this.#run(sql.updateRun, row.epoch, row.wakeAt, row.record)
      if (wakeBy !== undefined) this.#run(sql.updateInboxAndWake, inbox, earlier(stored.wakeAt, wakeBy))
      else if (inbox !== stored.inbox) this.#run(sql.updateInbox, inbox)
    }
    this.#writeEntries(entries, 0)
    this.#writeSide(batch)
    for (const [i, message] of post.entries()) this.#run(sql.putSide, 'inbox', inboxKey(before + i + 1), message)
    if (row !== undefined) this.#moveAlarm(row.wakeAt)
    // The alarm may be nearer than the row says, and is then left alone: whoever set it looks at the inbox.
    else if (wakeBy !== undefined && (typeof this.#alarm.at !== 'number' || this.#alarm.at > wakeBy)) this.#moveAlarm(earlier(stored?.wakeAt ?? null, wakeBy))
    return posted
  }

  #writeSide({ take = [], cut = 0, rows = [] }: Batch): void {
    if (cut > 0) this.#run(sql.deleteEntries, cut)
    for (const n of take) this.#run(sql.deleteSide, 'inbox', inboxKey(n))
    for (const { table, key, value } of rows) {
      if (value === null) this.#run(sql.deleteSide, table, key)
      else this.#run(sql.putSide, table, key, value)
    }
  }

  #writeEntries(entries: readonly StoredEntry[], from: number): void {
    let i = from
    for (; i + sql.bulk <= entries.length; i += sql.bulk) {
      const bindings: Binding[] = []
      for (const { seq, bytes } of entries.slice(i, i + sql.bulk)) bindings.push(seq, bytes)
      this.#run(sql.insertEntries, ...bindings)
    }
    for (; i < entries.length; i++) {
      const { seq, bytes } = entries[i] as StoredEntry
      this.#run(sql.insertEntry, seq, bytes)
    }
  }

  #missing(batch: Batch, stored: Stored | undefined): 'missing' | undefined {
    const isThere = (table: string, key: string): boolean => stored !== undefined && this.#rows(sql.hasSide, table, key).length > 0
    return (batch.require ?? []).every(({ table, key }) => isThere(table, key)) ? undefined : 'missing'
  }

  #standing(): Stored | undefined {
    const row = this.#rows(sql.selectStanding)[0]
    if (row === undefined) return undefined
    const [epoch, inbox, empty, head, wakeAt] = row
    return { epoch: epoch as number, inbox: inbox as number, isStarted: empty === 0, head: head as number, wakeAt: wakeAt as number | null }
  }

  /**
   * The alarm is part of the transaction: a rollback takes it back too (platform fact 14). One that stands is not set again,
   * since each is a row written.
   */
  #moveAlarm(wakeAt: number | null): void {
    if (this.#alarm.at === wakeAt) return
    // Nobody can act on a failure here: a flush that fails breaks the output gate and resets the object.
    const ignore = (): void => {}
    if (wakeAt === null) this.#storage.deleteAlarm().catch(ignore)
    else this.#setAlarm(wakeAt).catch(ignore)
    this.#alarm.at = wakeAt
  }

  #setAlarm(at: number): Promise<void> {
    this.#alarmsSet++
    // The platform refuses 0 and rounds nothing; a time in the past fires at once, which is what it means.
    return this.#storage.setAlarm(Math.max(1, at))
  }

  /** Whether the tables are there. Throws `format_too_new`, `wrong_namespace`. */
  #open(): boolean {
    if (this.#isOpen) return true
    if (this.#rows(sql.hasTables).length === 0) return false
    const [version, id] = this.#rows(sql.readVersion)[0] ?? []
    if (typeof version !== 'number') throw new StepwellError('corrupt_run', `the row of run ${this.runId} is missing`)
    if (version > sql.schemaVersion) {
      throw new StepwellError('format_too_new', `the tables of run ${this.runId} have format ${version}; this version reads ${sql.schemaVersion}`, {
        details: { found: version, known: sql.schemaVersion },
      })
    }
    if (id !== this.runId) throw new StepwellError('wrong_namespace', `this database holds another run than ${this.runId}`)
    return (this.#isOpen = true)
  }

  #read<T>(run: () => T): T | undefined {
    return this.#attempt(() => (this.#open() ? run() : undefined))
  }

  /** Runs again, once, when the tables turn out to be gone: another handle destroyed the run since this one saw them. */
  #attempt<T>(run: () => T): T {
    try {
      return run()
    } catch (error) {
      if (!this.#isOpen || !isNoTable(error)) throw translate(error, this.runId)
      this.#isOpen = false
    }
    try {
      return run()
    } catch (error) {
      throw translate(error, this.runId)
    }
  }

  /** Every row at once: a cursor left open keeps its statement busy and has no snapshot (platform fact 5). */
  #rows(query: string, ...bindings: Binding[]): SqlValue[][] {
    const cursor = this.#sql.exec(query, ...bindings)
    const rows = Array.from(cursor.raw())
    this.#rowsRead += cursor.rowsRead
    return rows
  }

  /** Without an array for all rows and one for each: a tenth of reading, which is a fifth of a replay. */
  #entries(after: number, limit: number): StoredEntry[] {
    const cursor = this.#sql.exec(sql.selectEntries, after, limit)
    const page: StoredEntry[] = []
    for (const row of cursor.raw()) page.push(toEntry(row))
    this.#rowsRead += cursor.rowsRead
    return page
  }

  /** How many rows it wrote. */
  #run(query: string, ...bindings: Binding[]): number {
    const cursor = this.#sql.exec(query, ...bindings)
    this.#rowsRead += cursor.rowsRead
    this.#rowsWritten += cursor.rowsWritten
    return cursor.rowsWritten
  }
}

type DriverExpect = Extract<Expect, { kind: 'head' }>
type Binding = string | number | null | Uint8Array

function toEntry(row: readonly (SqlValue | undefined)[]): StoredEntry {
  return { seq: row[0] as number, bytes: bytesOf(row[1]) }
}

function bytesOf(value: SqlValue | undefined): Uint8Array {
  return new Uint8Array(value as ArrayBuffer)
}

function isNoTable(error: unknown): boolean {
  return error instanceof Error && error.message.includes('no such table')
}

/** The platform's errors carry SQLite's own names in their text and nowhere else (workerd util/sqlite.c++). */
function translate(cause: unknown, runId: string): StepwellError {
  if (cause instanceof StepwellError) return cause
  const text = cause instanceof Error ? cause.message : String(cause)
  if (/SQLITE_FULL|database or disk is full/i.test(text)) {
    return new StepwellError('quota_exceeded', `the database of run ${runId} is full`, { cause })
  }
  if (/SQLITE_TOOBIG|string or blob too big/i.test(text)) {
    return new StepwellError('payload_too_large', `a value of run ${runId} is too large for its database`, { cause })
  }
  return new StepwellError('store_unavailable', `the database of run ${runId} failed`, { cause })
}
