// Journals that are too long to be made by running something, and what a replay keeps of them.

import { runInNewContext } from 'node:vm'
import { setFlagsFromString } from 'node:v8'
import { expect } from 'vitest'
import { encode } from '../../src/codec.ts'
import { fingerprint } from '../../src/engine/key.ts'
import { encodeEntry, type EntryDraft, GENESIS } from '../../src/journal/entry.ts'
import { encodeRecord, type RunRecord } from '../../src/journal/record.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import type { RunStore, StoredEntry } from '../../src/store/store.ts'
import { ID, override } from './support.ts'

/**
 * A journal of `length` steps in a store that gives copies of it, so that what a replay keeps of them is what is resident. `prompt`
 * as a live run in one process writes it: at most 255 prompt entries in a row.
 */
export function longJournal(
  length: number,
  fate: 'prompt' | 'settled' | 'loser',
): { store: RunStore; head: RunRecord['head']; pages: number[] } {
  const incarnation = '0'.repeat(32)
  const at = Date.UTC(2026, 0, 1)
  const start = {
    workflow: 'w',
    version: 1,
    incarnation,
    seed: '0'.repeat(64),
    raw: length,
    parsed: length,
    tags: [],
    metadata: {},
    deadline: undefined,
  }
  // Of 200,000 entries a payload each is half of the hashing, and no part of what is measured.
  const payload = fate === 'prompt' ? new Uint8Array(0) : encode('x'.repeat(100))
  const stored: StoredEntry[] = []
  let hash = GENESIS
  const add = (draft: Partial<EntryDraft>): void => {
    const entry = encodeEntry(
      stored.length + 1,
      { kind: 'step_completed', generation: 1, host: 'test', at, calls: 0, ...draft },
      hash,
    )
    hash = entry.hash
    stored.push({ seq: stored.length + 1, bytes: entry.bytes })
  }
  add({ kind: 'run_started', payload: encode(start) })
  for (let n = 0; n < length; n++) {
    const key = n === 0 ? 's' : `s#${n}`
    add({
      at: at + n,
      calls: n + (fate === 'loser' ? 2 : 1),
      attempt: 1,
      key,
      fingerprint: fingerprint('step', key, undefined),
      payload,
      prompt: fate === 'prompt' && n % 256 !== 255,
    })
  }
  const head = { seq: length + 1, hash }
  const record: RunRecord = {
    format: 1,
    incarnation,
    workflow: 'w',
    version: 1,
    status: 'running',
    generation: 1,
    generationSeq: 1,
    head,
    createdAt: at,
    updatedAt: at,
    endedAt: undefined,
    deadline: undefined,
    wakes: 0,
    expiresAt: undefined, notBefore: undefined, wokenInbox: 0, wokenSeq: 0,
    waitingFor: [],
    blocked: undefined,
    inputHash: '',
    token: undefined,
    tags: [],
    metadata: {},
    lastSeq: undefined, paused: undefined, divergences: 0, restartId: undefined, undos: 0, effects: 0, events: 0, patches: [], inherited: [],
  }
  const inner = createMemoryShelf().open(ID)
  expect(
    inner.commit({ expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: at, record: encodeRecord(record) } }).kind,
  ).toBe('committed')
  const copy = ({ seq, bytes }: StoredEntry): StoredEntry => ({ seq, bytes: bytes.slice() })
  const pages: number[] = []
  const store: RunStore = {
    runId: ID,
    read: () => inner.read(),
    entries: (after, limit) => {
      pages.push(limit)
      return stored.slice(after, after + limit).map(copy)
    },
    last: () => copy(stored.at(-1) as StoredEntry),
    row: (...args) => inner.row(...args),
    rows: (...args) => inner.rows(...args),
    keys: (...args) => inner.keys(...args),
    commit: (batch) => {
      const { entries, expect: expectation, ...rest } = batch
      stored.push(...(entries ?? []))
      return expectation.kind !== 'head' || rest.row === undefined
        ? { kind: 'committed' }
        : inner.commit({ ...rest, expect: { ...expectation, seq: 0 } })
    },
    destroy: () => inner.destroy(),
  }
  return { store, head, pages }
}

// The collector is asked, so that what is resident is measured and not guessed.
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What a replay keeps of the pages that it has read: entries are counted by the buffers of their bytes, which nobody else has. */
export class Residency {
  readonly #kept = new Set<WeakRef<ArrayBufferLike>>()
  max = 0
  watch(store: RunStore): RunStore {
    return override(store, {
      entries: (after, limit) => {
        const page = store.entries(after, limit) as readonly StoredEntry[]
        for (const { bytes } of page) this.#kept.add(new WeakRef(bytes.buffer))
        return page
      },
    })
  }
  count(): number {
    collect()
    let count = 0
    for (const ref of this.#kept) {
      if (ref.deref() === undefined) this.#kept.delete(ref)
      else count++
    }
    this.max = Math.max(this.max, count)
    return count
  }
}
