import { describe, expect, test } from 'vitest'
import { Cursor } from '../../src/journal/cursor.ts'
import { encodeEntry, type EntryDraft, GENESIS } from '../../src/journal/entry.ts'
import { encodeRecord, type RunRecord } from '../../src/journal/record.ts'
import { encode } from '../../src/codec.ts'
import { fingerprint } from '../../src/engine/key.ts'
import { workflow } from '../../src/index.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import type { RunStore, StoredEntry } from '../../src/store/store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { anything, ID, quiesce } from './support.ts'

/**
 * A journal of `length` steps in a store that gives copies of it, so that what a replay keeps of them is what is resident. `prompt`
 * as a live run in one process writes it: at most 255 prompt entries in a row.
 */
function longJournal(length: number, fate: 'prompt' | 'settled' | 'loser'): { store: RunStore; head: RunRecord['head']; pages: number[] } {
  const incarnation = '0'.repeat(32)
  const at = Date.UTC(2026, 0, 1)
  const start = {
    workflow: 'w', version: 1, incarnation, seed: '0'.repeat(64), raw: length, parsed: length, tags: [], metadata: {}, deadline: undefined,
  }
  // Of 200,000 entries a payload each is half of the hashing, and no part of what is measured.
  const payload = fate === 'prompt' ? new Uint8Array(0) : encode('x'.repeat(100))
  const stored: StoredEntry[] = []
  let hash = GENESIS
  const add = (draft: Partial<EntryDraft>): void => {
    const entry = encodeEntry(stored.length + 1, { kind: 'step_completed', generation: 1, host: 'test', at, calls: 0, ...draft }, hash)
    hash = entry.hash
    stored.push({ seq: stored.length + 1, bytes: entry.bytes })
  }
  add({ kind: 'run_started', payload: encode(start) })
  for (let n = 0; n < length; n++) {
    const key = n === 0 ? 's' : `s#${n}`
    add({
      at: at + n, calls: n + (fate === 'loser' ? 2 : 1), attempt: 1, key, fingerprint: fingerprint('step', key, undefined), payload,
      prompt: fate === 'prompt' && n % 256 !== 255,
    })
  }
  const head = { seq: length + 1, hash }
  const record: RunRecord = {
    format: 1, incarnation, workflow: 'w', version: 1, status: 'running', generation: 1, generationSeq: 1, head,
    createdAt: at, updatedAt: at, endedAt: undefined, deadline: undefined, wakes: 0, wokenSeq: 0, waitingFor: [], blocked: undefined, inputHash: '',
    token: undefined, tags: [], metadata: {}, lastSeq: undefined,
  }
  const inner = createMemoryShelf().open(ID)
  expect(inner.commit({ expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: at, record: encodeRecord(record) } }).kind).toBe('committed')
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
    row: (...args) => inner.row(...args), rows: (...args) => inner.rows(...args), keys: (...args) => inner.keys(...args),
    commit: (batch) => {
      const { entries, expect: expectation, ...rest } = batch
      stored.push(...entries ?? [])
      return expectation.kind !== 'head' || rest.row === undefined ? { kind: 'committed' } : inner.commit({ ...rest, expect: { ...expectation, seq: 0 } })
    },
    destroy: () => inner.destroy(),
  }
  return { store, head, pages }
}

/** What a replay keeps of the pages that it has read: entries are counted by the buffers of their bytes, which nobody else has. */
class Residency {
  readonly #kept = new Set<WeakRef<ArrayBufferLike>>()
  max = 0
  watch(store: RunStore): RunStore {
    return Object.assign(Object.create(store) as RunStore, {
      runId: store.runId,
      entries: (after: number, limit: number) => {
        const page = store.entries(after, limit) as readonly StoredEntry[]
        for (const { bytes } of page) this.#kept.add(new WeakRef(bytes.buffer))
        return page
      },
    })
  }
  count(): number {
    globalThis.gc?.()
    let count = 0
    for (const ref of this.#kept) {
      if (ref.deref() === undefined) this.#kept.delete(ref)
      else count++
    }
    this.max = Math.max(this.max, count)
    return count
  }
}

const { setFlagsFromString } = await import('node:v8')
const { runInNewContext } = await import('node:vm')
// The collector is asked, so that what is resident is measured and not guessed.
setFlagsFromString('--expose-gc')
globalThis.gc = runInNewContext('gc') as () => void

describe('G10: replay memory is O(segment)', () => {
  test.each([['prompt', 200_000], ['settled', 20_000]] as const)('G10: a journal of %s entries, %i of them, replays in pages, and resident entries are bounded', async (fate, length) => {
    const { store, pages } = longJournal(length, fate)
    const residency = new Residency()
    let executed = 0
    const sizes = new Set<number | undefined>()
    const w = workflow({ name: 'w', input: anything }, async (ctx, n: number) => {
      for (let i = 0; i < n; i++) {
        const value = await ctx.step('s', (): string | undefined => { executed++; return '' })
        sizes.add(value?.length)
        if (i % 5003 === 5002) residency.count()
      }
      return 'done'
    })
    const host = new TestHost({ quiesce })
    const runs = new TestRuns({ host, open: () => residency.watch(store), workflows: [w] })
    expect(await runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toBe(0)
    expect([...sizes]).toEqual([fate === 'prompt' ? undefined : 100])
    const replayed = pages.filter((limit) => limit === 512)
    expect(replayed.length).toBeGreaterThan(length / 512 - 1)
    expect(replayed.length).toBeLessThan(length / 512 + 3)
    expect(Math.max(...pages)).toBe(512)
    expect(residency.max).toBeGreaterThan(0)
    expect(residency.max).toBeLessThan(4 * 512)
  }, 300_000)

  test('G10: with a race\'s loser outstanding all the way, none of it is kept either', async () => {
    const { store } = longJournal(20_000, 'loser')
    const residency = new Residency()
    const w = workflow({ name: 'w', input: anything }, async (ctx, n: number) => {
      void ctx.sleep('30 days')
      for (let i = 0; i < n; i++) {
        await ctx.step('s', () => '')
        if (i % 5003 === 5002) residency.count()
      }
      return 'done'
    })
    const runs = new TestRuns({ host: new TestHost({ quiesce }), open: () => residency.watch(store), workflows: [w] })
    expect(await runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(residency.max).toBeGreaterThan(0)
    expect(residency.max).toBeLessThan(4 * 512)
  }, 300_000)

  test.each([1, 2, 3, 7, 64])('G10: pages of %i entries give the same replay, whatever is split by their borders (Z-018)', async (pageEntries) => {
    const trace: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 20; i++) {
        trace.push(`${await ctx.step('s', (call) => { if (i % 5 === 0 && call.attempt === 1) throw new Error('busy'); return i }, { retry: { delay: 1 } })} ${ctx.now()}`)
        if (i % 4 === 0) await ctx.all({ x: (c) => c.sleep(3), y: (c) => c.step('y', async () => i) })
      }
      await ctx.sleep('1 hour')
      return trace.length
    })
    const shelf = createMemoryShelf()
    const host = new TestHost({ quiesce })
    const runs = new TestRuns({ host, open: (id) => shelf.open(id), workflows: [w], limits: { pageEntries } })
    await runs.start(w, 0, { id: ID })
    await runs.drive(ID)
    const live = trace.splice(0)
    await runs.crash(ID)
    const entries = shelf.open(ID).last()?.seq
    expect((await runs.drive(ID)).kind).toBe('parked')
    expect(trace).toEqual(live)
    expect(live).toHaveLength(20)
    expect(shelf.open(ID).last()?.seq).toBe(entries)
  })

  test('G10: the cursor never holds more than two places where reading may pause, and a page', async () => {
    const { store, head } = longJournal(20_000, 'prompt')
    const cursor = new Cursor(store, { seq: 0, hash: GENESIS }, head, 512)
    let read = 0
    let most = 0
    while (!cursor.exhausted) {
      await cursor.fill()
      const before = cursor.seq
      most = Math.max(most, before - read)
      // As the engine: everything up to and including the next entry that is not prompt.
      for (;;) {
        const entry = cursor.peek()
        if (entry === undefined) break
        cursor.shift()
        read++
        if (!entry.prompt) break
      }
    }
    expect(read).toBe(20_001)
    expect(most).toBeLessThanOrEqual(2 * 512)
  })
})
