// The stores of many runs in one IndexedDB database. A commit is one transaction: its checks are read in it, its writes are
// asked for in the same task as the last check, and it ends with an explicit commit().

import { runId as legalRunId } from '../src/ids.ts'
import { checkBatch, checkLimit, checkPage, hotEntry, staleReason } from '../src/store/batch.ts'
import type { Batch, CommitAnswer, Page, RunRow, RunStore, Shelf, SideRow, StoredEntry, Table } from '../src/store/store.ts'
import { inboxKey } from '../src/store/store.ts'
import { type Database, type StoreName, type Turn, writeError } from './database.ts'

/**
 * What `run` holds. `wakeAt` is its index `due`; null is no key of IndexedDB, so a run that waits for no time is not in it.
 *
 * Entries have the key [runId, seq], side rows [runId, table, key]. Arrays compare part by part, so a run whose id begins like
 * another's is never in its ranges.
 */
interface StoredRun extends RunRow {
  /** Drawn at the start: tells two lives of one id apart, so that what a handle remembers of the first is not believed of the second. */
  readonly born: string
}

export interface IdbShelf extends Shelf {
  open(runId: string): RunStore
  due(limit: number): Promise<readonly { readonly runId: string; readonly wakeAt: number }[]>
  runs(page: Page): Promise<readonly string[]>
  /** Closes the database for good. */
  close(): void
}

/** The runs in `database`, which `openDatabase` has opened. */
export function createIdbShelf(database: Database): IdbShelf {
  return {
    open: (runId) => new IdbStore(database, legalRunId(runId)),
    due: async (limit) => {
      checkLimit(limit)
      return database.read(['run'], (turn) => {
        turn.on(turn.store('run').index('due').getAll(null, limit), (rows: StoredRun[]) => {
          turn.finish(rows.map(({ runId, wakeAt }) => ({ runId, wakeAt: wakeAt as number })))
        })
      })
    },
    runs: async (page) => {
      const { after, limit } = checkPage(page)
      return database.read(['run'], (turn) => {
        const request = turn.store('run').getAllKeys(IDBKeyRange.lowerBound(after, true), limit)
        turn.on(request, (keys) => turn.finish(keys as string[]))
      })
    },
    close: () => database.close(),
  }
}

/** What a handle saw last in a transaction that was committed: entry `seq` is there (0: the run is) in this life of the run. */
interface Known {
  readonly born: string
  readonly seq: number
}

const committed: CommitAnswer = Object.freeze({ kind: 'committed' })

class IdbStore implements RunStore {
  readonly runId: string
  #database: Database
  #known: Known | undefined

  constructor(database: Database, runId: string) {
    this.#database = database
    this.runId = runId
  }

  read(): Promise<RunRow | undefined> {
    return this.#database.read(['run'], (turn) => {
      turn.on(turn.store('run').get(this.runId), (run: StoredRun | undefined) => turn.finish(run && toRow(run)))
    })
  }

  async entries(after: number, limit: number): Promise<readonly StoredEntry[]> {
    checkLimit(limit)
    return this.#database.read(['entry'], (turn) => {
      turn.on(turn.store('entry').getAll(this.#entriesAfter(after), limit), (entries: StoredEntry[]) => turn.finish(entries))
    })
  }

  last(): Promise<StoredEntry | undefined> {
    return this.#database.read(['entry'], (turn) => {
      const request = turn.store('entry').openCursor(this.#entriesAfter(0), 'prev')
      turn.on(request, (cursor) => turn.finish(cursor?.value as StoredEntry | undefined))
    })
  }

  row(table: Table, key: string): Promise<Uint8Array | undefined> {
    return this.#database.read(['side'], (turn) => {
      turn.on(turn.store('side').get([this.runId, table, key]), (row: SideRow | undefined) => turn.finish(row?.value))
    })
  }

  async rows(table: Table, page: Page): Promise<readonly SideRow[]> {
    const { after, limit } = checkPage(page)
    return this.#database.read(['side'], (turn) => {
      turn.on(turn.store('side').getAll(this.#rowsAfter(table, after), limit), (rows: SideRow[]) => turn.finish(rows))
    })
  }

  async keys(table: Table, page: Page): Promise<readonly string[]> {
    const { after, limit } = checkPage(page)
    return this.#database.read(['side'], (turn) => {
      const request = turn.store('side').getAllKeys(this.#rowsAfter(table, after), limit)
      turn.on(request, (keys) => turn.finish(keys.map((key) => (key as string[])[2] as string)))
    })
  }

  async commit(batch: Batch): Promise<CommitAnswer> {
    if (hotEntry(batch) === undefined) checkBatch(batch)
    const own = copied(batch)
    const known = this.#known
    if (known !== undefined && own.expect.kind === 'head' && known.seq === own.expect.seq && own.entries?.[0] !== undefined) {
      const answer = await this.#commit(own, known)
      if (answer !== undefined) return answer
    }
    // Without `known` there is always an answer.
    return (await this.#commit(own, undefined)) as CommitAnswer
  }

  destroy(): Promise<void> {
    const onAbort = (error: DOMException | null): never => {
      throw writeError(this.#database.name, error)
    }
    return this.#database.write<void>(['run', 'entry', 'side'], { durability: 'strict', onAbort }, (turn) => {
      turn.write(turn.store('run').delete(this.runId))
      turn.write(turn.store('entry').delete(this.#entriesAfter(0)))
      turn.write(turn.store('side').delete(IDBKeyRange.bound([this.runId], [this.runId, []])))
      turn.finish()
    })
  }

  /**
   * Every check is asked for at once; the answer to the last one decides, and in the same task everything else is written.
   *
   * With `known` the entries are added before the checks are answered, and the head is not asked for, so that the commit of one
   * entry is two requests made together; each further one makes it about a quarter slower. Why nothing is left unchecked:
   * - the row that is read has the epoch, so the authority is ours;
   * - its `born` is the one of `known`, so entry `expect.seq`, seen then, is still there: entries go only with their run;
   * - `add` fails when the next entry is there, so nobody appended since.
   * Whatever does not fit is undone, and the answer is undefined: the way without `known` finds the reason.
   */
  async #commit(batch: Batch, known: Known | undefined): Promise<CommitAnswer | undefined> {
    const { expect, entries = [], durability = 'relaxed', require = [] } = batch
    let next: Known | undefined
    const onAbort = (error: DOMException | null, isSure: boolean): CommitAnswer => this.#aborted(error, isSure)
    const answer = await this.#database.write<CommitAnswer | undefined>(storesOf(batch), { durability, onAbort }, (turn) => {
      let run: StoredRun | undefined
      let head = known?.seq ?? 0
      let isMissing = false
      let waiting = 1
      const decide = (): void => {
        if (--waiting > 0) return
        const reason = staleReason(expect, run && { epoch: run.epoch, inbox: run.inbox, head }) ?? (isMissing ? 'missing' : undefined)
        if (known !== undefined && (reason !== undefined || run?.born !== known.born)) return turn.refuse(undefined)
        if (reason !== undefined) return turn.refuse({ kind: 'stale', reason })
        const { born, posted } = this.#write(turn, batch, run)
        if (known === undefined) this.#append(turn, entries)
        if (born !== undefined && (expect.kind === 'head' || expect.kind === 'absent')) next = { born, seq: entries.at(-1)?.seq ?? head }
        turn.finish(posted.length === 0 ? committed : { kind: 'committed', posted })
      }
      const ask = <R>(request: IDBRequest<R>, take: (result: R) => void): void => {
        waiting++
        turn.on(request, (result) => {
          take(result)
          decide()
        })
      }
      if (expect.kind !== 'none') ask(turn.store('run').get(this.runId), (found: StoredRun | undefined) => (run = found))
      if (known !== undefined) this.#append(turn, entries)
      else if (expect.kind === 'head') {
        const request = turn.store('entry').openKeyCursor(this.#entriesAfter(0), 'prev')
        ask(request, (cursor) => (head = cursor === null ? 0 : (cursor.primaryKey as [string, number])[1]))
      }
      for (const { table, key } of require) {
        ask(turn.store('side').getKey([this.runId, table, key]), (found) => (isMissing ||= found === undefined))
      }
      decide()
    })
    if (answer?.kind === 'committed' && next !== undefined) this.#known = next
    return answer
  }

  #append(turn: Turn<CommitAnswer | undefined>, entries: readonly StoredEntry[]): void {
    for (const entry of entries) turn.write(turn.store('entry').add(entry, [this.runId, entry.seq]))
  }

  #write(turn: Turn<CommitAnswer | undefined>, batch: Batch, run: StoredRun | undefined): { born: string | undefined; posted: readonly number[] } {
    const { post = [], row, take = [], rows = [] } = batch
    const { runId } = this
    const before = run?.inbox ?? row?.inbox ?? 0
    const posted = post.map((_, i) => before + i + 1)
    const inbox = before + posted.length
    const born = run?.born ?? (row && randomName())
    if (row !== undefined && born !== undefined) {
      const next: StoredRun = { runId, epoch: row.epoch, inbox, wakeAt: row.wakeAt, record: row.record, born }
      turn.write(turn.store('run').put(next))
    } else if (run !== undefined && posted.length > 0) {
      turn.write(turn.store('run').put({ ...run, inbox } satisfies StoredRun))
    }
    const put = (table: Table, key: string, value: Uint8Array | null): void => {
      const side = turn.store('side')
      turn.write(value === null ? side.delete([runId, table, key]) : side.put({ key, value } satisfies SideRow, [runId, table, key]))
    }
    for (const n of take) put('inbox', inboxKey(n), null)
    for (const [i, message] of post.entries()) put('inbox', inboxKey(before + i + 1), message)
    for (const { table, key, value } of rows) put(table, key, value)
    return { born, posted }
  }

  /** G5. An entry that was there already is the one thing that a key of ours can collide with. */
  #aborted(error: DOMException | null, isSure: boolean): CommitAnswer {
    this.#known = undefined
    if (error?.name === 'ConstraintError') return { kind: 'stale', reason: 'seq' }
    if (isSure || error?.name === 'QuotaExceededError') throw writeError(this.#database.name, error)
    return { kind: 'unknown', error: error ?? new Error('the connection to the database broke') }
  }

  #entriesAfter(seq: number): IDBKeyRange {
    return IDBKeyRange.bound([this.runId, seq], [this.runId, Infinity], true, true)
  }

  /** An array is above every string, and so the end of a table. */
  #rowsAfter(table: Table, key: string): IDBKeyRange {
    return IDBKeyRange.bound([this.runId, table, key], [this.runId, table, []], true, true)
  }
}

/** As few as the batch needs: transactions that share no store do not wait for each other. */
function storesOf({ expect, entries, post, take, rows, require }: Batch): readonly StoreName[] {
  const stores: StoreName[] = []
  if (expect.kind !== 'none') stores.push('run')
  if (expect.kind === 'head' || entries !== undefined) stores.push('entry')
  if (post ?? take ?? rows ?? require) stores.push('side')
  // A transaction needs one, also for a batch in which there is nothing.
  return stores.length === 0 ? ['run'] : stores
}

function toRow({ runId, epoch, inbox, wakeAt, record }: StoredRun): RunRow {
  return { runId, epoch, inbox, wakeAt, record }
}

/**
 * The bytes, by themselves. The database copies a value when it is asked to store it, which may be after the caller has gone
 * on; and of a view it would copy the whole buffer behind it.
 */
function copied(batch: Batch): Batch {
  const { entries, row, post, rows } = batch
  return {
    ...batch,
    ...(entries && { entries: entries.map(copy) }),
    ...(row && { row: { ...row, record: row.record.slice() } }),
    ...(post && { post: post.map((message) => message.slice()) }),
    ...(rows && { rows: rows.map((write) => ({ ...write, value: write.value && write.value.slice() })) }),
  }
}

function copy({ seq, bytes }: StoredEntry): StoredEntry {
  return { seq, bytes: bytes.slice() }
}

function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join('.')
}
