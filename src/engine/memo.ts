// Memos: what a step keeps over its attempts. A cache beside the journal: nothing but its own step reads it, nothing decides by it,
// and a memo that is missing only means that the work is done again (T-007).

import { canonicalBytes, copy } from '../codec.ts'
import type { Memo, MemoKey } from '../context.ts'
import { StepwellError } from '../errors.ts'
import { hashParts, hex } from '../hash.ts'
import { within } from '../limits.ts'
import { checkStore, isPromise, type RowWrite, type RunStore } from '../store/store.ts'
import { type KeepHost, type KeepPlace, openValue, sealValue, storeError, writeKept } from './kept.ts'

const TRIES = 3
/** A store that answers at once gives the event loop no turn: after so many calls the memo does. */
const CALLS_IN_A_ROW = 128
const CLEAR_PAGE = 1000

/** `over` says why nothing may be kept any more, once that is so. */
export function createMemo(host: KeepHost, place: KeepPlace, over: () => StepwellError | undefined): Memo {
  const kept = new StepMemo(host, place, over)
  const memo = <V>(key: MemoKey, make: () => V | Promise<V>): Promise<V> => kept.through(key, make) as Promise<V>
  return Object.assign(memo, {
    get: async <V>(key: MemoKey) => (await kept.find(key))?.value as V | undefined,
    has: async (key: MemoKey) => (await kept.find(key)) !== undefined,
    put: (key: MemoKey, value: unknown) => kept.put(key, value),
    delete: (key: MemoKey) => kept.delete(key),
  })
}

class StepMemo {
  readonly #host: KeepHost
  readonly #over: () => StepwellError | undefined
  readonly #what: string
  /** What the keys of this step's rows begin with. */
  readonly #prefix: string
  /** The last write that was asked for. Writes are made one after the other, so that the last one holds. */
  #writing: Promise<void> | undefined
  /** The last call of `through` for a row: equal keys wait in line, so that what is costly is made once. */
  readonly #making = new Map<string, Promise<unknown>>()
  #calls = 0

  constructor(host: KeepHost, { incarnation, generation, step }: KeepPlace, over: () => StepwellError | undefined) {
    this.#host = host
    this.#over = over
    this.#what = `a memo of step ${step}`
    this.#prefix = hex(hashParts('stepwell.memo', incarnation, generation, step)).slice(0, 32)
  }

  async find(key: MemoKey): Promise<{ readonly value: unknown } | undefined> {
    return this.#read(this.#row(key))
  }

  async put(key: MemoKey, value: unknown): Promise<void> {
    const row = this.#row(key)
    return this.#write(row, this.#copied(row, value).bytes)
  }

  async delete(key: MemoKey): Promise<void> {
    return this.#write(this.#row(key), null)
  }

  async through(key: MemoKey, make: () => unknown): Promise<unknown> {
    const row = this.#row(key)
    if (typeof make !== 'function') throw new StepwellError('invalid_argument', 'memo takes a key and the function that makes the value')
    const before = this.#making.get(row)
    const made = this.#through(row, make, before)
    this.#making.set(row, made)
    try {
      return await made
    } finally {
      if (this.#making.get(row) === made) this.#making.delete(row)
    }
  }

  async #through(row: string, make: () => unknown, before: Promise<unknown> | undefined): Promise<unknown> {
    // If it failed, that is for its own caller to hear; this one tries for itself.
    await before?.then(ignore, ignore)
    const found = await this.#read(row)
    if (found !== undefined) return found.value
    const { bytes, value } = this.#copied(row, await make())
    await this.#write(row, bytes)
    return value
  }

  async #read(row: string): Promise<{ readonly value: unknown } | undefined> {
    this.#alive()
    const { store, host } = this.#host
    await this.#writing?.then(ignore, ignore)
    let bytes: Uint8Array | undefined
    try {
      const answer = store.row('memo', row)
      bytes = isPromise(answer) ? await answer : answer
    } catch (error) {
      throw storeError(store.runId, error)
    }
    await this.#turn()
    if (bytes === undefined) return undefined
    try {
      return { value: openValue(row, bytes) }
    } catch {
      // Damaged, or of a newer version: as good as missing, since missing is always safe.
      host.log({ level: 'warn', runId: store.runId, message: `${this.#what} can't be read and counts as missing` })
      return undefined
    }
  }

  #write(row: string, value: Uint8Array | null): Promise<void> {
    this.#alive()
    const before = this.#writing
    const writing = this.#commit({ table: 'memo', key: row, value }, before).finally(() => {
      if (this.#writing === writing) this.#writing = undefined
    })
    this.#writing = writing
    return writing
  }

  async #commit(write: RowWrite, before: Promise<void> | undefined): Promise<void> {
    await before?.then(ignore, ignore)
    await writeKept(this.#host, write, this.#what, this.#over)
    return this.#turn()
  }

  /** Encoded at once: what the caller changes afterwards is not seen. */
  #copied(row: string, value: unknown): { readonly bytes: Uint8Array; readonly value: unknown } {
    const copied = copy(value, { at: 'memo' })
    within(this.#host.limits, 'memoBytes', copied.bytes.length, this.#what)
    return { bytes: sealValue(row, copied.bytes), value: copied.value }
  }

  #row(key: MemoKey): string {
    if (key === undefined) throw new StepwellError('invalid_argument', `${this.#what}: the key is missing`)
    return `${this.#prefix}-${hex(hashParts('stepwell.memo.key', canonicalBytes(key, { at: 'key' })))}`
  }

  #alive(): void {
    const error = this.#over()
    if (error !== undefined) throw error
  }

  async #turn(): Promise<void> {
    if (++this.#calls % CALLS_IN_A_ROW === 0) await this.#host.host.quiesce()
  }
}

/**
 * Removes the memos of all steps of a run and answers how many there were. Safe at any time, also while the run is driven: its
 * steps do again what they had kept. Throws the store's errors, `commit_unknown`: then some may be left; `invalid_argument` for what is
 * no store.
 */
export async function clearMemos(store: RunStore): Promise<number> {
  checkStore(store)
  let removed = 0
  for (let after = ''; ;) {
    const keys = await store.keys('memo', { after, limit: CLEAR_PAGE })
    const last = keys.at(-1)
    if (last === undefined) return removed
    const rows = keys.map((key): RowWrite => ({ table: 'memo', key, value: null }))
    for (let tries = 1; ; tries++) {
      const answer = await store.commit({ expect: { kind: 'none' }, rows })
      if (answer.kind === 'committed') break
      // To remove what is gone already is no error, so a lost answer is simply asked for again.
      if (tries >= TRIES) throw new StepwellError('commit_unknown', `run ${store.runId}: the store does not say whether memos were removed`, { cause: answer.kind === 'unknown' ? answer.error : undefined })
    }
    removed += keys.length
    after = last
  }
}

function ignore(): void {}
