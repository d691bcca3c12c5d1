// The stores of many runs in one IndexedDB database. A commit is one transaction: its checks are read in it or are collisions
// in it, its writes are asked for in the task of the last check at the latest, and it ends with an explicit commit(). How
// entries are put into records: idb-group.ts.

import { StepwellError } from '../src/errors.ts'
import { runId as legalRunId } from '../src/ids.ts'
import { checkBatch, checkLimit, checkPage, hotEntry, numbersTaken, staleReason } from '../src/store/batch.ts'
import type { Batch, CommitAnswer, Page, RunRow, RunStore, Shelf, SideRow, StoredEntry, Table } from '../src/store/store.ts'
import { earlier, inboxKey } from '../src/store/store.ts'
import { type Database, type StoreName, type Turn, writeError } from './database.ts'
import { type Group, groupEntries, lastOf, lastSeq, pack, unpack } from './idb-group.ts'

/**
 * What `run` holds. `wakeAt` is its index `due`: a run that waits for no time does not have the property, because WebKitGTK 2.50
 * puts null into an index, where it is no key.
 *
 * Groups of entries have the key [runId, born, seq of the first], side rows [runId, table, key]. Arrays compare part by part, so
 * a run whose id begins like another's is never in its ranges. The key is that of the first entry, not of the last: whoever
 * appends behind the same head asks for the same key, however many entries it has, and the second of them collides (G6).
 */
interface StoredRun extends Omit<RunRow, 'wakeAt'> {
  readonly wakeAt?: number
  /** Drawn at the start: tells two lives of one id apart. What a driver of the first still writes is never part of the second. */
  readonly born: string
  /** The seq of a stop: a record that is null, no group, and lies where a driver with an older epoch would append. It is put
   *  there by a commit that changes the epoch and appends nothing, and gives way to the next group. */
  readonly stop?: number
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

/** What a handle saw last in a transaction that was committed: in this life of the run, the epoch and the last entry's seq. */
interface Known {
  readonly born: string
  readonly epoch: number
  readonly seq: number
}

/** A batch whose bytes are ours, with its entries as they will lie in the database. */
interface Own extends Omit<Batch, 'entries'> {
  readonly groups: readonly Group[]
}

const committed: CommitAnswer = Object.freeze({ kind: 'committed' })

class IdbStore implements RunStore {
  readonly runId: string
  #database: Database
  #known: Known | undefined
  /** The life of the run that was seen last. */
  #born: string | undefined

  constructor(database: Database, runId: string) {
    this.#database = database
    this.runId = runId
  }

  read(): Promise<RunRow | undefined> {
    return this.#database.read(['run'], (turn) => {
      turn.on(turn.store('run').get(this.runId), (run: StoredRun | undefined) => {
        this.#born = run?.born
        turn.finish(run && toRow(run))
      })
    })
  }

  async entries(after: number, limit: number): Promise<readonly StoredEntry[]> {
    checkLimit(limit)
    return this.#database.read(['run', 'entry'], (turn) => {
      this.#inLife<readonly StoredEntry[]>(turn, [], (born, answer) => {
        // The entry behind `after` may lie in the middle of a group that begins before it.
        let before: Group | null = null
        if (after > 0) {
          const request = turn.store('entry').openCursor(this.#groups(born, Math.max(1, after - groupEntries + 2), after), 'prev')
          turn.on(request, (cursor) => (before = (cursor?.value as Group | null | undefined) ?? null))
        }
        // No group is empty: so many keys hold at least the page, and little more than it.
        turn.on(turn.store('entry').getAll(this.#groups(born, after + 1, after + limit)), (groups: (Group | null)[]) => {
          answer(unpack([before, ...groups], after, limit))
        })
      })
    })
  }

  last(): Promise<StoredEntry | undefined> {
    return this.#database.read(['run', 'entry'], (turn) => {
      this.#inLife<StoredEntry | undefined>(turn, undefined, (born, answer) => {
        turn.on(turn.store('entry').openCursor(this.#groups(born, 1, Infinity), 'prev'), (cursor) => {
          const group = cursor?.value as Group | null | undefined
          if (group === null) cursor?.continue()
          else answer(group && lastOf(group))
        })
      })
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
    const { expect, groups, durability } = own
    const [group] = groups
    if (expect.kind === 'head' && group !== undefined && known?.seq === expect.seq && known.epoch === expect.epoch) {
      const isOne = groups.length === 1 && expect.seq > 0 && appendsOnly(batch)
      const answer = await (isOne ? this.#commitOne(group, known, durability) : this.#commit(own, known))
      if (answer !== undefined) return answer
    }
    const answer = await this.#commit(own, undefined)
    if (answer !== undefined) return answer
    // The head was read in the transaction, and yet there was something behind it.
    throw new StepwellError('corrupt_run', `run ${this.runId}: there is something behind the last entry of the journal`)
  }

  destroy(): Promise<void> {
    return this.#delete(['run', 'entry', 'side'], 'strict', (turn) => {
      turn.write(turn.store('run').delete(this.runId))
      turn.write(turn.store('entry').delete(IDBKeyRange.bound([this.runId], [this.runId, []])))
      turn.write(turn.store('side').delete(IDBKeyRange.bound([this.runId], [this.runId, []])))
    })
  }

  /**
   * The commit of one group: two requests to one store and commit() in one task, with nothing to wait for in between, so that it
   * is nearly as fast as a bare put and is done even when the page goes away in this very moment. `add` is the check. It fails
   * when something lies at the group's place, and
   * - a group lies there when anybody appended since `known` was seen, be it one entry or a hundred;
   * - a group or a stop lies there when anybody changed the epoch since;
   * - groups and stops go only with their run. Whether that happened, the first group of this life tells: then what was added
   *   belongs to a life that is over, which nobody will ever read, and is removed.
   * Only one of the requests writes, so that no part of the commit can fail alone (database.ts says where it could).
   * Undefined: nothing was written; the long way finds the reason.
   */
  async #commitOne(group: Group, known: Known, durability: Batch['durability'] = 'relaxed'): Promise<CommitAnswer | undefined> {
    const { born, epoch } = known
    const key = [this.runId, born, group.seq]
    let lives = false
    const onAbort = this.#onAbort()
    const answer = await this.#database.write<CommitAnswer | undefined>(['entry'], { durability, onAbort }, (turn) => {
      const store = turn.store('entry')
      turn.on(store.getKey([this.runId, born, 1]), (first) => (lives = first !== undefined))
      turn.write(store.add(group, key))
      turn.finish(committed)
    })
    if (answer !== committed) return answer
    if (lives) {
      this.#known = { born, epoch, seq: lastSeq(group) }
      return answer
    }
    this.#known = undefined
    await this.#delete(['entry'], 'relaxed', (turn) => turn.write(turn.store('entry').delete(key)))
    return undefined
  }

  /**
   * Every check is asked for at once; the answer to the last one decides, and in the same task everything else is written.
   * With `known` the head is not asked for: entries are added right away, and collide as in `#commitOne`. Whatever does not
   * fit is undone, and the answer is undefined: the way without `known` finds the reason.
   */
  async #commit(batch: Own, known: Known | undefined): Promise<CommitAnswer | undefined> {
    const { expect, groups, durability = 'relaxed', require = [], cut = 0 } = batch
    const lastGroup = groups.at(-1)
    let next: StoredRun | undefined
    let seq = 0
    const answer = await this.#database.write<CommitAnswer | undefined>(storesOf(batch), { durability, onAbort: this.#onAbort() }, (turn) => {
      let run: StoredRun | undefined
      let head = known?.seq ?? 0
      let isMissing = false
      let split: Group | undefined
      let waiting = 1
      const decide = (): void => {
        if (--waiting > 0) return
        const reason = staleReason(expect, run && { epoch: run.epoch, inbox: run.inbox, head }) ?? (isMissing ? 'missing' : undefined)
        if (known !== undefined && (reason !== undefined || run?.born !== known.born)) return turn.refuse(undefined)
        if (reason !== undefined) return turn.refuse({ kind: 'stale', reason })
        const posted = (batch.post ?? []).map((_, i) => (run?.inbox ?? batch.row?.inbox ?? 0) + i + 1)
        next = this.#nextRun(batch, run, head)
        seq = lastGroup === undefined ? head : lastSeq(lastGroup)
        if (cut > 0 && run !== undefined && next !== undefined) {
          const isAll = cut === head
          this.#cut(turn, run.born, cut, isAll ? Infinity : cut, split)
          if (isAll) {
            // With the groups goes what an older driver collides with: it adds to a life that is over, as after `destroy`.
            const { stop: _, ...emptied } = next
            next = { ...emptied, born: randomName() }
            seq = 0
          }
        }
        if (next !== undefined && next !== run) turn.write(turn.store('run').put(next))
        if (next?.stop !== undefined && next.stop !== run?.stop) turn.write(turn.store('entry').put(null, [this.runId, next.born, next.stop]))
        if (next !== undefined && known === undefined) this.#append(turn, groups, next.born, run?.stop)
        this.#writeSide(turn, batch, posted)
        turn.finish(posted.length === 0 ? committed : { kind: 'committed', posted })
      }
      const ask = <R>(request: IDBRequest<R>, take: (result: R) => void): void => {
        waiting++
        turn.on(request, (result) => {
          take(result)
          decide()
        })
      }
      const askHead = (born: string): void => {
        ask(turn.store('entry').openCursor(this.#groups(born, 1, Infinity), 'prev'), (cursor) => {
          const group = cursor?.value as Group | null | undefined
          if (group === undefined) head = 0
          else head = group === null ? ((cursor as IDBCursor).key as [string, string, number])[2] - 1 : lastSeq(group)
        })
        if (cut > 0) ask(turn.store('entry').openCursor(this.#groups(born, 1, cut), 'prev'), (cursor) => (split = cursor?.value as Group | undefined))
      }
      const isHeadAsked = expect.kind === 'head' && known === undefined
      // A guess saves one turn: this life of the run is nearly always the one that was seen last.
      const guess = this.#born
      if (expect.kind !== 'none') {
        ask(turn.store('run').get(this.runId), (found: StoredRun | undefined) => {
          run = found
          if (isHeadAsked && found !== undefined && found.born !== guess) askHead(found.born)
        })
      }
      if (isHeadAsked && guess !== undefined) askHead(guess)
      if (known !== undefined) this.#append(turn, groups, known.born, undefined)
      for (const { table, key } of require) {
        ask(turn.store('side').getKey([this.runId, table, key]), (found) => (isMissing ||= found === undefined))
      }
      decide()
    })
    if (answer?.kind === 'committed' && next !== undefined && (expect.kind === 'head' || expect.kind === 'absent')) {
      this.#born = next.born
      this.#known = next.stop === undefined ? { born: next.born, epoch: next.epoch, seq } : undefined
    }
    return answer
  }

  /** The row as it will be: the same object when it does not change, undefined when there is none. */
  #nextRun(batch: Own, run: StoredRun | undefined, head: number): StoredRun | undefined {
    const { groups, row, wakeBy } = batch
    const numbers = numbersTaken(batch)
    if (row === undefined) {
      if (run === undefined || (numbers === 0 && (run.stop === undefined || groups.length === 0))) return run
      const { stop, wakeAt: before, ...rest } = run
      const wakeAt = earlier(before ?? null, wakeBy)
      return { ...rest, inbox: run.inbox + numbers, ...(wakeAt !== null && { wakeAt }), ...(stop !== undefined && groups.length === 0 && { stop }) }
    }
    const { epoch, wakeAt, record } = row
    const inbox = (run?.inbox ?? row.inbox ?? 0) + numbers
    const isTakenOver = run !== undefined && (run.epoch !== epoch || run.stop !== undefined)
    return {
      runId: this.runId, epoch, inbox, record, born: run?.born ?? randomName(),
      ...(wakeAt !== null && { wakeAt }),
      ...(isTakenOver && groups.length === 0 && { stop: head + 1 }),
    }
  }

  #append(turn: Turn<CommitAnswer | undefined>, groups: readonly Group[], born: string, stop: number | undefined): void {
    for (const group of groups) {
      const key = [this.runId, born, group.seq]
      const store = turn.store('entry')
      turn.write(group.seq === stop ? store.put(group, key) : store.add(group, key))
    }
  }

  /** Of the last group that begins before the cut, what lies behind it becomes a group of its own. `to`: also a stop goes. */
  #cut(turn: Turn<CommitAnswer | undefined>, born: string, cut: number, to: number, split: Group | undefined): void {
    const store = turn.store('entry')
    turn.write(store.delete(this.#groups(born, 1, to)))
    const rest = split === undefined ? [] : unpack([split], cut, groupEntries)
    for (const group of pack(rest)) turn.write(store.put(group, [this.runId, born, group.seq]))
  }

  #writeSide(turn: Turn<CommitAnswer | undefined>, { post = [], take = [], rows = [] }: Own, posted: readonly number[]): void {
    const write = (table: Table, key: string, value: Uint8Array | null): void => {
      const side = turn.store('side')
      const path = [this.runId, table, key]
      turn.write(value === null ? side.delete(path) : side.put({ key, value } satisfies SideRow, path))
    }
    for (const n of take) write('inbox', inboxKey(n), null)
    for (const [i, n] of posted.entries()) write('inbox', inboxKey(n), post[i] as Uint8Array)
    for (const { table, key, value } of rows) write(table, key, value)
  }

  /** G5. What lies at an entry's place already is the one thing that a key of ours can collide with. */
  #onAbort(): (error: DOMException | null, isSure: boolean) => CommitAnswer | undefined {
    return (error, isSure) => {
      this.#known = undefined
      if (error?.name === 'ConstraintError') return undefined
      if (isSure || error?.name === 'QuotaExceededError') throw writeError(this.#database.name, error)
      return { kind: 'unknown', error: error ?? new Error('the connection to the database broke') }
    }
  }

  #delete(stores: readonly StoreName[], durability: 'relaxed' | 'strict', work: (turn: Turn<void>) => void): Promise<void> {
    const onAbort = (error: DOMException | null): never => {
      throw writeError(this.#database.name, error)
    }
    return this.#database.write<void>(stores, { durability, onAbort }, (turn) => {
      work(turn)
      turn.finish()
    })
  }

  /** Reads in the life that the run is in. The life that was seen last is asked for together with the row: one turn less. */
  #inLife<T>(turn: Turn<T>, absent: T, ask: (born: string, answer: (value: T) => void) => void): void {
    const guess = this.#born
    let early: { readonly value: T } | undefined
    let isRight = false
    if (guess !== undefined) {
      ask(guess, (value) => {
        early = { value }
        if (isRight) turn.finish(value)
      })
    }
    turn.on(turn.store('run').get(this.runId), (run: StoredRun | undefined) => {
      this.#born = run?.born
      if (run === undefined) turn.finish(absent)
      else if (run.born !== guess) ask(run.born, turn.finish)
      else if (early !== undefined) turn.finish(early.value)
      else isRight = true
    })
  }

  /** Groups whose first entry is one of these. */
  #groups(born: string, from: number, to: number): IDBKeyRange {
    return IDBKeyRange.bound([this.runId, born, from], [this.runId, born, to])
  }

  /** An array is above every string, and so the end of a table. */
  #rowsAfter(table: Table, key: string): IDBKeyRange {
    return IDBKeyRange.bound([this.runId, table, key], [this.runId, table, []], true, true)
  }
}

/** Nothing but entries, behind a head. */
function appendsOnly({ expect, row, post, take, rows, require }: Batch): boolean {
  return expect.kind === 'head' && expect.inbox === undefined && (row ?? post ?? take ?? rows ?? require) === undefined
}

/** As few as the batch needs: transactions that share no store do not wait for each other. */
function storesOf({ expect, groups, post, take, rows, require }: Own): readonly StoreName[] {
  const stores: StoreName[] = []
  if (expect.kind !== 'none') stores.push('run')
  if (expect.kind === 'head' || groups.length > 0) stores.push('entry')
  if (post ?? take ?? rows ?? require) stores.push('side')
  // A transaction needs one, also for a batch in which there is nothing.
  return stores.length === 0 ? ['run'] : stores
}

function toRow({ runId, epoch, inbox, wakeAt, record }: StoredRun): RunRow {
  return { runId, epoch, inbox, wakeAt: wakeAt ?? null, record }
}

/**
 * The bytes, by themselves. The database copies a value when it is asked to store it, which may be after the caller has gone
 * on; and of a view it would copy the whole buffer behind it.
 */
function copied(batch: Batch): Own {
  const { entries, row, post, rows, ...rest } = batch
  return {
    ...rest,
    groups: entries === undefined ? [] : pack(entries),
    ...(row && { row: { ...row, record: row.record.slice() } }),
    ...(post && { post: post.map((message) => message.slice()) }),
    ...(rows && { rows: rows.map((write) => ({ ...write, value: write.value && write.value.slice() })) }),
  }
}

function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), (part) => part.toString(36)).join('.')
}
