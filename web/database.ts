// The one owner of the connection to a browser's database: opens it, notices that it was lost, opens it again, and runs
// transactions whose outcome is certain or says that it is not. What is stored in it is idb-store.ts's business.

import { deleteDB, openDB, unwrap } from 'idb'
import { StepwellError } from '../src/errors.ts'

/** `run` and its index by time, `entry`, `side`: idb-store.ts. `item`: small values of the host, such as its keys. */
export type StoreName = 'run' | 'entry' | 'side' | 'item'

/** Of the database; generic, so that a newer stepwell seldom needs another (platform fact 90). */
const version = 1

/** What the item `lost` says, once the browser has thrown the database away and made an empty one. */
export interface Lost {
  /** When it said so, by the device's clock. */
  readonly at: number
  /** In its own words. */
  readonly reason: string
}

const lostKey = 'lost'

/** What the item `format` says: a newer number means that an older stepwell must not write here, whatever the version. */
const format = 1
const formatKey = 'format'

export interface DatabaseOptions {
  readonly name: string
  /** How long one attempt to open may take; a browser that hangs is tried twice. Default 5,000. */
  readonly openTimeoutMs?: number
  /** The connection was given up because another tab wants to upgrade or delete the database. It is opened again when used. */
  readonly onReleased?: () => void
  /** The browser has just made an empty database in place of a damaged one: whatever was stored is gone. */
  readonly onLost?: (lost: Lost) => void
}

/** What the work inside a transaction has: its stores, and the three ways to end. */
export interface Turn<T> {
  store(name: StoreName): IDBObjectStore
  /** Calls `then` with the result. What it throws aborts the transaction and is what the caller gets. */
  on<R>(request: IDBRequest<R>, then: (result: R) => void): void
  /** Notes a request that changes something: `finish` waits for it. */
  write(request: IDBRequest): void
  /** Every request is made: commit explicitly, and answer `value` once it is complete. */
  finish(value: T): void
  /** Undo whatever was asked for and answer `value`. */
  refuse(value: T): void
}

export interface WriteOptions<T> {
  readonly durability: 'relaxed' | 'strict'
  /**
   * The transaction was aborted, and not by its own work. `isSure`: nothing was written. Otherwise the commit was under way
   * when the connection broke. Answers or throws.
   */
  readonly onAbort: (error: DOMException | null, isSure: boolean) => T
}

export interface Database {
  readonly name: string
  /** One read-only transaction; made again once on a new connection when it fails. Throws `store_unavailable` and the codes of opening. */
  read<T>(stores: readonly StoreName[], work: (turn: Turn<T>) => void): Promise<T>
  /** One writing transaction; made again once on a new connection only when it never began. */
  write<T>(stores: readonly StoreName[], options: WriteOptions<T>, work: (turn: Turn<T>) => void): Promise<T>
  getItem(key: string): Promise<unknown>
  putItem(key: string, value: unknown): Promise<void>
  /** The last time that the browser threw everything away, and said so; only Chromium does. */
  lost(): Promise<Lost | undefined>
  /** Gives the connection back, for a page that goes to sleep; the next use opens it again. */
  release(): void
  /** For good: whatever is under way ends, later uses throw. */
  close(): void
  /** Closes and deletes the database. Throws `store_blocked` when another tab does not let go of it. */
  destroy(): Promise<void>
}

/**
 * Opens the database, and makes it when it is not there. Throws `store_blocked` (another tab holds an older version and does
 * not close it), `store_unavailable`, `quota_exceeded`, `format_too_new`, `wrong_namespace` (not a database of stepwell).
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const database = new Connection(options)
  await database.connect()
  return database
}

class Connection implements Database {
  readonly name: string
  #timeoutMs: number
  #onReleased: (() => void) | undefined
  #onLost: ((lost: Lost) => void) | undefined
  #db: IDBDatabase | undefined
  #opening: Promise<IDBDatabase> | undefined
  #isClosed = false

  constructor({ name, openTimeoutMs = 5_000, onReleased, onLost }: DatabaseOptions) {
    this.name = name
    this.#timeoutMs = openTimeoutMs
    this.#onReleased = onReleased
    this.#onLost = onLost
  }

  async connect(): Promise<IDBDatabase> {
    if (this.#isClosed) throw new StepwellError('store_unavailable', `the database ${this.name} was closed`, { retryable: false })
    if (this.#db !== undefined) return this.#db
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined))
    return this.#opening
  }

  async read<T>(stores: readonly StoreName[], work: (turn: Turn<T>) => void): Promise<T> {
    for (let isLast = false; ; isLast = true) {
      const lost: { error?: unknown } = {}
      const onAbort = (error: DOMException | null): undefined => {
        lost.error = error ?? new Error('the transaction was aborted')
        return undefined
      }
      const value = await this.#begin(stores, 'readonly', { durability: 'relaxed', onAbort }, work as (turn: Turn<T | undefined>) => void)
      if (!('error' in lost)) return value as T
      if (isLast) throw unavailable(this.name, 'a read failed', lost.error)
    }
  }

  write<T>(stores: readonly StoreName[], options: WriteOptions<T>, work: (turn: Turn<T>) => void): Promise<T> {
    return this.#begin(stores, 'readwrite', options, work)
  }

  getItem(key: string): Promise<unknown> {
    return this.read(['item'], (turn) => turn.on(turn.store('item').get(key), (value) => turn.finish(value)))
  }

  putItem(key: string, value: unknown): Promise<void> {
    const onAbort = (error: DOMException | null): never => {
      throw writeError(this.name, error)
    }
    return this.write<void>(['item'], { durability: 'strict', onAbort }, (turn) => {
      turn.write(turn.store('item').put(value, key))
      turn.finish()
    })
  }

  async lost(): Promise<Lost | undefined> {
    return await this.getItem(lostKey) as Lost | undefined
  }

  release(): void {
    this.#drop(this.#db)
  }

  close(): void {
    this.#isClosed = true
    this.release()
  }

  async destroy(): Promise<void> {
    this.close()
    await this.#opening?.catch(() => {})
    let isBlocked = false
    const deleting = deleteDB(this.name, { blocked: () => (isBlocked = true) })
    await within(deleting, this.#timeoutMs, () => this.#late(isBlocked, 'delete')).catch((error: unknown) => {
      throw openError(this.name, error)
    })
  }

  /** Starts a transaction, on a new connection when the old one turns out to be dead: it threw, so nothing began. */
  async #begin<T>(
    stores: readonly StoreName[], mode: IDBTransactionMode, options: WriteOptions<T>, work: (turn: Turn<T>) => void,
  ): Promise<T> {
    for (let isLast = false; ; isLast = true) {
      const db = this.#db ?? (await this.connect())
      let tx: IDBTransaction
      try {
        tx = db.transaction(stores as StoreName[], mode, { durability: options.durability })
      } catch (error) {
        this.#drop(db)
        if (isLast) throw unavailable(this.name, 'no transaction can be started', error)
        continue
      }
      return run(tx, work, (error, isSure) => {
        // A constraint and a quota are the data's fault; after anything else the handle may be dead without saying so.
        if (error?.name !== 'ConstraintError' && error?.name !== 'QuotaExceededError') this.#drop(db)
        return options.onAbort(error, isSure)
      })
    }
  }

  #drop(db: IDBDatabase | undefined): void {
    if (db === undefined) return
    if (this.#db === db) this.#db = undefined
    // Transactions that are under way still end by themselves.
    db.close()
  }

  /** A browser that hangs, or fails to open its own files, often succeeds the second time (platform facts 88, 89). */
  async #open(): Promise<IDBDatabase> {
    let db: IDBDatabase
    try {
      db = await this.#openOnce(version)
    } catch (error) {
      if (isNamed(error, 'VersionError')) db = await this.#openNewer()
      else if (isNamed(error, 'UnknownError') || isNamed(error, 'AbortError') || error instanceof Timeout) {
        db = await this.#openOnce(version).catch((last: unknown) => {
          throw openError(this.name, last)
        })
      } else {
        throw openError(this.name, error)
      }
    }
    if (this.#isClosed) {
      db.close()
      return this.connect()
    }
    return (this.#db = db)
  }

  async #openOnce(at: number | undefined): Promise<IDBDatabase> {
    let isBlocked = false
    let db: IDBDatabase | undefined
    let lost: Lost | undefined
    if (typeof indexedDB === 'undefined') throw unavailable(this.name, 'this browser has no IndexedDB here', undefined)
    const opening = openDB(this.name, at, {
      upgrade: (made, oldVersion, _newVersion, tx, event) => {
        // `idb` makes a promise of every transaction it wraps; an upgrade that fails is told by the open itself.
        tx.done.catch(() => {})
        lost = lossOf(event)
        createStores(unwrap(made), oldVersion, lost)
      },
      blocked: () => (isBlocked = true),
      blocking: () => {
        // Whoever wants it waits for this: the connection is closed now, and opened again when there is something to do.
        this.#drop(db)
        this.#onReleased?.()
      },
      terminated: () => this.#drop(db),
    })
    const wrapped = await within(opening, this.#timeoutMs, () => {
      // It may still succeed: then nobody is waiting for it, and it would block others.
      opening.then((late) => late.close(), () => {})
      return this.#late(isBlocked, 'open')
    })
    db = unwrap(wrapped)
    const names = db.objectStoreNames
    if ((['run', 'entry', 'side', 'item'] as const).every((name) => names.contains(name))) {
      if (lost !== undefined) this.#onLost?.(lost)
      return db
    }
    db.close()
    throw new StepwellError('wrong_namespace', `the database ${this.name} was not made by stepwell`)
  }

  async #openNewer(): Promise<IDBDatabase> {
    const db = await this.#openOnce(undefined).catch((error: unknown) => {
      throw openError(this.name, error)
    })
    const found = await new Promise<unknown>((resolve) => {
      const request = db.transaction('item').objectStore('item').get(formatKey)
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => resolve(undefined)
    })
    if (typeof found === 'number' && found <= format) return db
    db.close()
    throw new StepwellError('format_too_new', `the database ${this.name} was written by a newer stepwell`, {
      details: { found: typeof found === 'number' ? found : null, known: format },
    })
  }

  #late(isBlocked: boolean, what: string): StepwellError | Timeout {
    if (!isBlocked) return new Timeout(`the browser did not ${what} the database ${this.name} in ${this.#timeoutMs} ms`)
    return new StepwellError('store_blocked', `another tab holds the database ${this.name} and does not let go of it`)
  }
}

class Timeout extends Error {}

/**
 * Chromium deletes a database whose files it finds damaged, opens an empty one, and says so here and nowhere else (`dataLoss`; in no
 * standard). A kill in the middle of a write is enough: test/kill/torn-log.ts.
 */
function lossOf(event: IDBVersionChangeEvent): Lost | undefined {
  const { dataLoss, dataLossMessage } = event as { readonly dataLoss?: unknown; readonly dataLossMessage?: unknown }
  return dataLoss === 'total' ? { at: Date.now(), reason: String(dataLossMessage ?? '') } : undefined
}

function createStores(db: IDBDatabase, oldVersion: number, lost: Lost | undefined): void {
  if (oldVersion > 0) return
  db.createObjectStore('run', { keyPath: 'runId' }).createIndex('due', 'wakeAt')
  db.createObjectStore('entry')
  db.createObjectStore('side')
  const items = db.createObjectStore('item')
  items.put(format, formatKey)
  if (lost !== undefined) items.put(lost, lostKey)
}

/**
 * Runs `work` in `tx`. Requests and events are used bare: a promise per request costs more than the request's own work, and
 * nothing may be awaited between two requests anyway (platform fact 72).
 */
function run<T>(tx: IDBTransaction, work: (turn: Turn<T>) => void, onAbort: WriteOptions<T>['onAbort']): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let isCommitting = false
    // How the work ended the transaction by itself; undefined while it is open or commits.
    let end: (() => void) | undefined
    const abort = (how: () => void): void => {
      if (end !== undefined || isCommitting) return
      end = how
      try {
        tx.abort()
      } catch {
        // The browser aborted it before: its own `abort` event is under way and says why.
        end = undefined
      }
    }
    const guard = (act: () => void): void => {
      try {
        act()
      } catch (failure) {
        // What was asked for before the failure must not be committed by itself (platform fact 76).
        abort(() => reject(failure))
      }
    }
    /**
     * In Firefox 153 a request that fails after commit() aborts nothing: the others are committed without it, and `complete`
     * fires. So commit() is called when the last write has succeeded, which, since they run in order, shows that all have.
     * Only a write that is alone is not waited for: when it fails, there is nothing to be half written.
     */
    const commit = (): void => {
      tx.commit()
      isCommitting = true
    }
    let last: IDBRequest | undefined
    let writes = 0
    const aborted = (error: DOMException | null, isSure: boolean): void => {
      try {
        resolve(onAbort(error, isSure))
      } catch (failure) {
        reject(failure)
      }
    }
    const turn: Turn<T> = {
      store: (name) => tx.objectStore(name),
      on: (request, then) => {
        request.onsuccess = () => guard(() => then(request.result))
      },
      write: (request) => {
        writes++
        last = request
      },
      finish: (value) => {
        // What was read is known already; of a write, `complete` is the only proof (platform fact 73).
        if (tx.mode === 'readonly') resolve(value)
        else tx.oncomplete = () => (last?.error ? aborted(last.error, true) : resolve(value))
        if (last === undefined || writes === 1 || last.readyState === 'done') commit()
        else last.onsuccess = () => guard(commit)
      },
      refuse: (value) => abort(() => resolve(value)),
    }
    tx.oncomplete = () => reject(new StepwellError('internal', 'a transaction ended without an answer'))
    tx.onabort = () => {
      if (end !== undefined) return end()
      // Firefox says AbortError of the transaction when it is the last request that failed after commit().
      const own = last?.readyState === 'done' && last.error?.name !== 'AbortError' ? last.error : null
      aborted(own ?? tx.error, own !== null || !isCommitting)
    }
    guard(() => work(turn))
  })
}

function within<T>(promise: Promise<T>, ms: number, onLate: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(onLate()), ms)
    const settled = (): void => clearTimeout(timer)
    promise.then(settled, settled)
    promise.then(resolve, reject)
  })
}

/** The error of a write that was surely not written. */
export function writeError(name: string, error: DOMException | null): StepwellError {
  if (error?.name === 'QuotaExceededError') {
    return new StepwellError('quota_exceeded', `the browser gives the database ${name} no more space: nothing was written`, { cause: error })
  }
  return unavailable(name, 'a write failed, nothing was written', error)
}

function openError(name: string, error: unknown): StepwellError {
  if (error instanceof StepwellError) return error
  if (isNamed(error, 'QuotaExceededError')) {
    return new StepwellError('quota_exceeded', `the browser has no space for the database ${name}`, { cause: error })
  }
  return unavailable(name, 'it cannot be opened', error)
}

function unavailable(name: string, why: string, cause: unknown): StepwellError {
  return new StepwellError('store_unavailable', `the database ${name}: ${why}`, { cause })
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof DOMException && error.name === name
}
