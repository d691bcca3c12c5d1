// The tables of one run in its Durable Object's database, and every SQL text that touches them. The texts are constants: the
// platform keeps a prepared statement for each, and no value reaches a trace (platform facts 6, 69).

import { StepwellError } from '../src/errors.ts'

/** What the platform's storage must offer; `DurableObjectStorage` fits. */
export interface SqliteStorage {
  readonly sql: {
    exec<R extends SqliteRow>(query: string, ...bindings: (SqlValue | Uint8Array)[]): SqliteCursor<R>
  }
  transactionSync<T>(run: () => T): T
  sync(): Promise<void>
  getAlarm(): Promise<number | null>
  setAlarm(at: number): Promise<void>
  deleteAlarm(): Promise<void>
  deleteAll(): Promise<void>
}

export type SqlValue = ArrayBuffer | string | number | null
export type SqliteRow = Record<string, SqlValue>

export interface SqliteCursor<R extends SqliteRow> {
  toArray(): R[]
  raw(): Iterable<R[string][]>
  readonly rowsRead: number
  readonly rowsWritten: number
}

/** The format of these tables; a database with a greater number was written by a newer stepwell. */
export const schemaVersion = 1

/**
 * Three tables, none with a secondary index, so that an entry, a row update and a side row each cost one row written.
 *
 * `run` has its one row from the moment the tables exist, because it also holds the version. Until the run starts, `epoch` is
 * -1, which no driver has, and `record` is NULL: chunks of a blob may be there before their run.
 */
export const createTables: readonly string[] = [
  `CREATE TABLE run (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL,
     inbox INTEGER NOT NULL, wake_at INTEGER, record BLOB) STRICT`,
  'CREATE TABLE entry (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT',
  'CREATE TABLE side (tab TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (tab, key)) STRICT, WITHOUT ROWID',
]

export const hasTables = "SELECT 1 AS there FROM sqlite_master WHERE type = 'table' AND name = 'run'"
export const readVersion = 'SELECT version, id FROM run WHERE one = 1'

/**
 * The commit of one entry, checks included, as one statement. When the epoch or the head is another, the CASE gives NULL, the
 * NOT NULL of `bytes` refuses the row, OR IGNORE makes that no error, and zero rows are written.
 *
 * Measured, where a bare insert takes 4.3 µs: this 5.6; with the epoch as a third parameter 6.3, so it stands in the text, of
 * which there is one for each change of authority; INSERT … SELECT 8.2, because SQLite goes through a temporary table when it
 * selects from the table that it inserts into; a SELECT before it 9.4, and in a `transactionSync` 15.
 */
export function appendOne(epoch: number): string {
  // A whole number, so that nothing but digits ever gets into the text.
  if (!Number.isSafeInteger(epoch)) throw new StepwellError('invalid_argument', `${String(epoch)} is no epoch`)
  return `INSERT OR IGNORE INTO entry (seq, bytes) VALUES (?1, CASE
  WHEN (SELECT epoch FROM run WHERE one = 1) = ${epoch} AND IFNULL((SELECT max(seq) FROM entry), 0) = ?1 - 1 THEN ?2 END)`
}

/** The same, for the first statement of a larger commit, which may also ask for an inbox number (NULL: any). */
export const appendFirst = `INSERT OR IGNORE INTO entry (seq, bytes) VALUES (?1, CASE
  WHEN (SELECT epoch FROM run WHERE one = 1 AND inbox = IFNULL(?4, inbox)) = ?3
    AND IFNULL((SELECT max(seq) FROM entry), 0) = ?1 - 1 THEN ?2 END)`

/** The same, for a commit that writes the row and appends nothing. */
export const updateRunIf = `UPDATE run SET epoch = ?1, wake_at = ?2, record = ?3
  WHERE one = 1 AND epoch = ?4 AND inbox = IFNULL(?6, inbox) AND IFNULL((SELECT max(seq) FROM entry), 0) = ?5`

/** Entries of one multi-row insert: 64 of the platform's 100 parameters. About 2.5 times as fast as one by one. */
export const bulk = 32
export const insertEntry = 'INSERT INTO entry (seq, bytes) VALUES (?, ?)'
export const insertEntries: string = `INSERT INTO entry (seq, bytes) VALUES ${Array<string>(bulk).fill('(?, ?)').join(', ')}`
export const deleteEntries = 'DELETE FROM entry WHERE seq <= ?'
export const selectEntries = 'SELECT seq, bytes FROM entry WHERE seq > ? ORDER BY seq LIMIT ?'
export const selectLast = 'SELECT seq, bytes FROM entry ORDER BY seq DESC LIMIT 1'

export const selectRun = 'SELECT epoch, inbox, wake_at, record FROM run WHERE one = 1'
export const selectStanding =
  'SELECT epoch, inbox, record IS NULL AS empty, IFNULL((SELECT max(seq) FROM entry), 0) AS head, wake_at FROM run WHERE one = 1'
export const insertRun = 'INSERT INTO run (one, version, id, epoch, inbox, wake_at, record) VALUES (1, ?, ?, ?, ?, ?, ?)'
export const updateRun = 'UPDATE run SET epoch = ?, wake_at = ?, record = ? WHERE one = 1'
export const updateInbox = 'UPDATE run SET inbox = ? WHERE one = 1'
export const updateInboxAndWake = 'UPDATE run SET inbox = ?, wake_at = ? WHERE one = 1'

export const selectSide = 'SELECT value FROM side WHERE tab = ? AND key = ?'
export const hasSide = 'SELECT 1 AS there FROM side WHERE tab = ? AND key = ?'
export const selectSides = 'SELECT key, value FROM side WHERE tab = ? AND key > ? ORDER BY key LIMIT ?'
export const selectKeys = 'SELECT key FROM side WHERE tab = ? AND key > ? ORDER BY key LIMIT ?'
export const putSide =
  'INSERT INTO side (tab, key, value) VALUES (?, ?, ?) ON CONFLICT (tab, key) DO UPDATE SET value = excluded.value'
export const deleteSide = 'DELETE FROM side WHERE tab = ? AND key = ?'
