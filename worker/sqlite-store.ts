// The store of one run in the SQLite database of its Durable Object. Everything is synchronous, so a commit has only two
// answers here: what it wrote is held together by the transaction, and the platform's output gate holds back whatever would
// tell the world before it is durable.

import { StepwellError } from '../src/errors.ts'
import { runId as legalRunId } from '../src/ids.ts'
import { checkBatch, checkLimit, checkPage, hotEntry, type Standing, staleReason } from '../src/store/batch.ts'
import type {
  Batch, CommitAnswer, Page, RowUpdate, RunRow, RunStore, SideRow, StoredEntry, Table,
} from '../src/store/store.ts'
import { inboxKey } from '../src/store/store.ts'
import * as sql from './sqlite-schema.ts'
import type { SqliteStorage } from './sqlite-schema.ts'

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
  readonly wakeAt: number | null
  readonly isStarted: boolean
}

class ObjectStore implements SqliteStore {
  readonly runId: string
  #storage: SqliteStorage
  #sql: SqliteStorage['sql']
  /** The tables were seen. They can vanish only by a `destroy`, perhaps of another handle: then SQLite says `no such table`. */
  #isOpen = false
  /** What the platform's alarm is set to; undefined when this object does not know (it did not set it, or a set failed). */
  #armed: number | null | undefined
  #rowsRead = 0
  #rowsWritten = 0
  #alarmsSet = 0

  constructor(storage: SqliteStorage, runId: string) {
    this.#storage = storage
    this.#sql = storage.sql
    this.runId = runId
  }

  read(): RunRow | undefined {
    return this.#read(() => {
      const row = this.#rows(sql.selectRun)[0]
      if (row === undefined || row[4] === null) return undefined
      return {
        runId: this.runId, epoch: row[1] as number, inbox: row[2] as number, wakeAt: row[3] as number | null,
        record: bytesOf(row[4]),
      }
    })
  }

  entries(after: number, limit: number): readonly StoredEntry[] {
    const page = checkLimit(limit)
    return this.#read(() => this.#rows(sql.selectEntries, after, page).map(toEntry)) ?? []
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
    else if (this.#isOpen && this.#append(entry, (batch.expect as { epoch: number }).epoch)) return committed
    return this.#attempt(() => {
      // Known only when the transaction has succeeded, so kept outside it until then.
      let armed = this.#armed
      const answer = atomically(this.#storage, (): CommitAnswer => {
        const stored = this.#open() ? this.#standing() : undefined
        const reason = staleReason(batch.expect, stored?.isStarted === true ? stored : undefined) ?? this.#missing(batch, stored)
        if (reason !== undefined) return { kind: 'stale', reason }
        const posted = this.#write(batch, stored)
        if (batch.row !== undefined) armed = this.#moveAlarm(batch.row, stored)
        return posted.length === 0 ? committed : { kind: 'committed', posted }
      })
      if (answer.kind === 'committed') {
        this.#isOpen = true
        this.#armed = armed
      }
      return answer
    })
  }

  async destroy(): Promise<void> {
    this.#isOpen = false
    this.#armed = undefined
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
    this.#armed = null
  }

  async arm(at: number | null): Promise<void> {
    this.#armed = undefined
    try {
      await (at === null ? this.#storage.deleteAlarm() : this.#setAlarm(at))
    } catch (error) {
      throw translate(error, this.runId)
    }
    this.#armed = at
  }

  stats(): SqliteStats {
    return { rowsRead: this.#rowsRead, rowsWritten: this.#rowsWritten, alarmsSet: this.#alarmsSet }
  }

  /** False: not written, for a reason that the long way finds out. */
  #append(entry: StoredEntry, epoch: number): boolean {
    try {
      const cursor = this.#sql.exec(sql.appendOne, entry.seq, entry.bytes, epoch)
      this.#rowsRead += cursor.rowsRead
      this.#rowsWritten += cursor.rowsWritten
      return cursor.rowsWritten === 1
    } catch (error) {
      if (!isNoTable(error)) throw translate(error, this.runId)
      this.#isOpen = false
      return false
    }
  }

  #write(batch: Batch, stored: Stored | undefined): readonly number[] {
    if (stored === undefined) for (const table of sql.createTables) this.#run(table)
    const first = (stored?.isStarted === true ? stored.inbox : (batch.row?.inbox ?? 0)) + 1
    const posted = (batch.post ?? []).map((_, i) => first + i)
    this.#writeRun(batch.row, stored, first - 1 + posted.length)
    this.#writeEntries(batch.entries ?? [])
    for (const n of batch.take ?? []) this.#run(sql.deleteSide, 'inbox', inboxKey(n))
    for (const [i, message] of (batch.post ?? []).entries()) this.#run(sql.putSide, 'inbox', inboxKey(first + i), message)
    for (const { table, key, value } of batch.rows ?? []) {
      if (value === null) this.#run(sql.deleteSide, table, key)
      else this.#run(sql.putSide, table, key, value)
    }
    return posted
  }

  #writeRun(row: RowUpdate | undefined, stored: Stored | undefined, inbox: number): void {
    if (stored === undefined) {
      const values = row === undefined ? [-1, 0, null, null] : [row.epoch, inbox, row.wakeAt, row.record]
      this.#run(sql.insertRun, sql.schemaVersion, this.runId, ...values)
    } else if (row !== undefined) {
      this.#run(sql.updateRun, row.epoch, inbox, row.wakeAt, row.record)
    } else if (stored.isStarted && inbox !== stored.inbox) {
      this.#run(sql.updateInbox, inbox)
    }
  }

  #writeEntries(entries: readonly StoredEntry[]): void {
    let i = 0
    for (; i + sql.bulk <= entries.length; i += sql.bulk) {
      this.#run(sql.insertEntries, ...entries.slice(i, i + sql.bulk).flatMap(({ seq, bytes }) => [seq, bytes]))
    }
    for (const { seq, bytes } of entries.slice(i)) this.#run(sql.insertEntry, seq, bytes)
  }

  #missing(batch: Batch, stored: Stored | undefined): 'missing' | undefined {
    const isThere = (table: string, key: string): boolean => stored !== undefined && this.#rows(sql.hasSide, table, key).length > 0
    return (batch.require ?? []).every(({ table, key }) => isThere(table, key)) ? undefined : 'missing'
  }

  #standing(): Stored | undefined {
    const row = this.#rows(sql.selectStanding)[0]
    if (row === undefined) return undefined
    const [epoch, inbox, wakeAt, empty, head] = row
    return {
      epoch: epoch as number, inbox: inbox as number, wakeAt: wakeAt as number | null, isStarted: empty === 0, head: head as number,
    }
  }

  /**
   * The alarm is part of the transaction: a rollback takes it back too (platform fact 14). An alarm that already stands is not
   * set again, since each one is a row written. What this object remembers is believed only where the row agrees, because
   * another handle may have moved both.
   */
  #moveAlarm({ wakeAt }: RowUpdate, stored: Stored | undefined): number | null {
    if (this.#armed === wakeAt && stored?.isStarted === true && stored.wakeAt === wakeAt) return wakeAt
    // Nobody can act on a failure here: a flush that fails breaks the output gate and resets the object.
    const ignore = (): void => {}
    if (wakeAt === null) this.#storage.deleteAlarm().catch(ignore)
    else this.#setAlarm(wakeAt).catch(ignore)
    return wakeAt
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
    const rows = cursor.raw().toArray()
    this.#rowsRead += cursor.rowsRead
    return rows
  }

  #run(query: string, ...bindings: Binding[]): void {
    const cursor = this.#sql.exec(query, ...bindings)
    this.#rowsRead += cursor.rowsRead
    this.#rowsWritten += cursor.rowsWritten
  }
}

type SqlValue = ArrayBuffer | string | number | null
type Binding = string | number | null | Uint8Array

function toEntry([seq, bytes]: readonly (SqlValue | undefined)[]): StoredEntry {
  return { seq: seq as number, bytes: bytesOf(bytes) }
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
