// What makes a batch and a page legal, and when a batch is stale: the rules that every store shares, so that no two differ.

import { StepwellError } from '../errors.ts'
import { needed, shown } from '../given.ts'
import type { Batch, Expect, Page, RunStore, StaleReason, StoredEntry, Table } from './store.ts'

/** The largest entry, record, message or side row. A Durable Object takes 2 MB for a row, its key and overhead included;
 *  every store keeps to it, so that a run that began in a browser fits at the edge. Larger values are blobs (src/blob.ts). */
export const maxValueBytes = 1_900_000

/** The most rows that one read gives. */
export const maxPageRows = 10_000

const legalKey = /^[\x20-\x7e]{1,512}$/
const tables: ReadonlySet<string> = new Set(['inbox', 'outbox', 'chunk', 'manifest', 'memo', 'state', 'effect', 'event', 'signal', 'receipt', 'token'])

/**
 * The entry of a batch that does nothing but append it behind a head, or undefined. That is nearly every commit of a run, and
 * stores have a short way for it. The answer is checked: `checkBatch` is not needed.
 */
export function hotEntry(batch: Batch): StoredEntry | undefined {
  const { expect, entries } = batch
  if (
    expect.kind !== 'head' || expect.inbox !== undefined || entries === undefined || entries.length !== 1 ||
    batch.row !== undefined || batch.post !== undefined || batch.take !== undefined || batch.rows !== undefined ||
    batch.require !== undefined || batch.cut !== undefined
  ) return undefined
  const entry = entries[0] as StoredEntry
  if (entry.seq !== expect.seq + 1 || !isCount(expect.seq)) throw badSeq(entry.seq, expect.seq + 1)
  count(expect.epoch, 'expect.epoch')
  checkBytes(entry.bytes, 'an entry')
  return entry
}

/** Throws `invalid_argument` for a batch that no store may take, `payload_too_large` for a value over `maxValueBytes`. */
export function checkBatch(batch: Batch): void {
  const { expect, entries, row, post, wakeBy, take, cut, rows, require } = needed(batch, 'a batch')
  needed(expect, 'expect of a batch')
  for (const [name, list] of Object.entries({ entries, post, take, rows, require })) {
    if (list !== undefined && !Array.isArray(list)) throw bad(`${name} is a list`)
  }
  const isDriver = expect.kind === 'absent' || expect.kind === 'head'
  if (expect.kind === 'epoch') count(expect.epoch, 'expect.epoch')
  if (expect.kind === 'next') count(expect.inbox, 'expect.inbox')
  if (expect.kind === 'head') {
    count(expect.epoch, 'expect.epoch')
    count(expect.seq, 'expect.seq')
    if (expect.inbox !== undefined) count(expect.inbox, 'expect.inbox')
  }
  if (expect.kind === 'absent' && row === undefined) throw bad('a start needs a row')
  if (row !== undefined) {
    needed(row, 'the row of a batch')
    if (!isDriver) throw bad(`a row cannot be written with expect '${expect.kind}'`)
    count(row.epoch, 'row.epoch')
    if (expect.kind === 'head' && row.epoch < expect.epoch) throw bad('an epoch only grows')
    if (row.wakeAt !== null) count(row.wakeAt, 'row.wakeAt')
    if (row.inbox !== undefined) {
      if (expect.kind !== 'absent') throw bad('row.inbox belongs to a start; later the store keeps it')
      count(row.inbox, 'row.inbox')
    }
    checkBytes(row.record, 'the record of the row')
  }
  if (entries !== undefined) {
    if (!isDriver) throw bad(`entries cannot be appended with expect '${expect.kind}'`)
    let seq = expect.kind === 'head' ? expect.seq : 0
    for (const entry of entries) {
      seq++
      needed(entry, 'an entry of a batch')
      if (entry.seq !== seq) throw badSeq(entry.seq, seq)
      checkBytes(entry.bytes, 'an entry')
    }
  }
  if (post !== undefined) {
    if (expect.kind === 'none' || expect.kind === 'epoch') throw bad('a message needs a run: use expect \'exists\'')
    if (expect.kind === 'next') throw bad('a commit that expects to be the next message posts no other')
    for (const message of post) checkBytes(message, 'a message')
  }
  if (wakeBy !== undefined) {
    // The driver says with its row when the run is woken.
    const isMessage = expect.kind === 'next' || (expect.kind === 'exists' && post !== undefined && post.length > 0)
    if (!isMessage) throw bad('wakeBy belongs to a message: use expect \'exists\' and post, or expect \'next\'')
    count(wakeBy, 'wakeBy')
  }
  if (take !== undefined) {
    if (expect.kind !== 'head') throw bad('only the driver takes messages: use expect \'head\'')
    for (const n of take) count(n, 'take')
  }
  if (cut !== undefined) {
    if (expect.kind !== 'head') throw bad('only the driver removes entries: use expect \'head\'')
    if (entries !== undefined && entries.length > 0) throw bad('a commit appends entries or removes them, never both')
    count(cut, 'cut')
    if (cut > expect.seq) throw bad(`there are no entries up to ${cut}: the journal ends with ${expect.seq}`)
  }
  if (rows !== undefined) {
    for (const each of rows) {
      const { table, key, value } = needed(each, 'a row of a batch')
      if ((table as string) === 'inbox') throw bad('inbox rows are written by `post` and deleted by `take`')
      checkKey(table, key)
      if (value !== null) checkBytes(value, `a row of ${table}`)
    }
  }
  if (require !== undefined) {
    for (const each of require) {
      const { table, key } = needed(each, 'what a batch requires')
      checkKey(table, key)
    }
  }
}

/** What a store knows of a run when it checks a batch; undefined when there is no run row. */
export interface Standing {
  readonly epoch: number
  readonly inbox: number
  /** The seq of the last entry, 0 when there is none. Read only for `expect.kind: 'head'`. */
  readonly head: number
}

/** Why a batch with this `expect` may not be written, or undefined. `missing` is decided after this, by `require`. */
export function staleReason(expect: Expect, standing: Standing | undefined): StaleReason | undefined {
  needed(expect, 'expect')
  if (standing !== undefined) needed(standing, 'what stands')
  switch (expect.kind) {
    case 'none':
      return undefined
    case 'absent':
      return standing === undefined ? undefined : 'exists'
    case 'exists':
      return standing === undefined ? 'absent' : undefined
    case 'next':
      if (standing === undefined) return 'absent'
      return standing.inbox === expect.inbox ? undefined : 'inbox'
    case 'epoch':
      if (standing === undefined) return 'absent'
      return standing.epoch === expect.epoch ? undefined : 'epoch'
    case 'head':
      if (standing === undefined) return 'absent'
      if (standing.epoch !== expect.epoch) return 'epoch'
      if (standing.head !== expect.seq) return 'seq'
      return expect.inbox === undefined || expect.inbox === standing.inbox ? undefined : 'inbox'
    default:
      throw bad(`expect: ${shown((expect satisfies never as { kind: unknown }).kind)} is no kind`)
  }
}

/** How many numbers of messages a batch takes. */
export function numbersTaken(batch: Pick<Batch, 'expect' | 'post'>): number {
  const { expect, post } = needed(batch, 'a batch')
  needed(expect, 'expect of a batch')
  return expect.kind === 'next' ? 1 : post?.length ?? 0
}

/** How many rows a table has, counted no further than `most`: for a limit, which may be more than one page. */
export async function rowsUpTo(store: Pick<RunStore, 'keys'>, table: Table, most: number): Promise<number> {
  for (let count = 0, after = ''; ;) {
    const limit = Math.min(Math.ceil(most) - count, maxPageRows)
    if (limit < 1) return count
    const page = await store.keys(table, { after, limit })
    count += page.length
    after = page.at(-1) ?? ''
    if (page.length < limit) return count
  }
}

/** The limit of a read. Throws `invalid_argument`, or `limit_exceeded` above `maxPageRows`: a short page must mean the end. */
export function checkLimit(limit: number): number {
  if (!isCount(limit) || limit < 1) throw bad(`limit ${shown(limit)} is no whole number from 1`)
  if (limit > maxPageRows) {
    throw new StepwellError('limit_exceeded', `a page of ${limit} rows is over the limit of ${maxPageRows}`, {
      details: { limit: 'maxPageRows', measured: limit, allowed: maxPageRows },
    })
  }
  return limit
}

/** The cursor of a page, '' for its beginning: no legal key is below it. Checks the limit too. Throws as `checkLimit`. */
export function checkPage(page: Page): { readonly after: string; readonly limit: number } {
  const { after = '', limit } = needed(page, 'a page')
  if (typeof after !== 'string') throw bad('the cursor of a page is a key')
  return { after, limit: checkLimit(limit) }
}

function checkKey(table: string, key: string): void {
  if (!tables.has(table)) throw bad(`there is no table ${shown(table)}`)
  if (typeof key !== 'string' || !legalKey.test(key)) throw bad(`${shown(key)} is no key: 1 to 512 printable ASCII characters`)
}

function checkBytes(bytes: Uint8Array, what: string): void {
  if (!(bytes instanceof Uint8Array)) throw bad(`${what} must be a Uint8Array`)
  if (bytes.byteLength > maxValueBytes) {
    throw new StepwellError('payload_too_large', `${what} has ${bytes.byteLength} bytes, ${maxValueBytes} are allowed`, {
      details: { limit: 'maxValueBytes', measured: bytes.byteLength, allowed: maxValueBytes },
    })
  }
}

function isCount(n: unknown): boolean {
  return Number.isSafeInteger(n) && (n as number) >= 0
}

function count(n: unknown, what: string): void {
  if (!isCount(n)) throw bad(`${what}: ${shown(n)} is no whole number from 0`)
}

function badSeq(seq: number, wanted: number): StepwellError {
  return bad(`entry ${shown(seq)} does not follow: the next seq is ${wanted}`)
}

function bad(why: string): StepwellError {
  return new StepwellError('invalid_argument', `batch: ${why}`)
}
