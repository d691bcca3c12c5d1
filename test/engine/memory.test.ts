import { describe, expect, test } from 'vitest'
import { Cursor } from '../../src/journal/cursor.ts'
import { encodeEntry, GENESIS } from '../../src/journal/entry.ts'
import { encodeRecord, type RunRecord } from '../../src/journal/record.ts'
import { encode } from '../../src/codec.ts'
import { fingerprint } from '../../src/engine/key.ts'
import { workflow } from '../../src/index.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import type { RunStore, StoredEntry } from '../../src/store/store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { anything, ID, quiesce } from './support.ts'

const hash = (bytes: Uint8Array): RunRecord['head']['hash'] => bytes

/**
 * A journal of `length` steps that exists nowhere: each page is made when it is read, so what a replay keeps of it is what is
 * resident. `prompt` as a live run in one process writes it: at most 255 prompt entries in a row.
 */
function endless(length: number, fate: 'prompt' | 'settled' | 'loser'): { store: RunStore; record: () => RunRecord; pages: number[]; bytesOf(seq: number): Uint8Array } {
  const incarnation = '0'.repeat(32)
  const at = Date.UTC(2026, 0, 1)
  const hashes: Uint8Array[] = [GENESIS]
  const start = {
    workflow: 'w', version: 1, incarnation, seed: '0'.repeat(64), raw: length, parsed: length, tags: [], metadata: {}, deadline: undefined,
  }
  const payload = encode('x'.repeat(100))
  const build = (seq: number, previous: Uint8Array) => {
    if (seq === 1) return encodeEntry(1, { kind: 'run_started', generation: 1, host: 'test', at, calls: 0, payload: encode(start) }, GENESIS)
    const n = seq - 2
    const key = n === 0 ? 's' : `s#${n}`
    return encodeEntry(seq, {
      kind: 'step_completed', generation: 1, host: 'test', at: at + n, calls: n + (fate === 'loser' ? 2 : 1), attempt: 1, key,
      fingerprint: fingerprint('step', key, undefined), payload, prompt: fate === 'prompt' && n % 256 !== 255,
    }, previous)
  }
  // The chain's hashes are kept every 512 entries: a page is made from there.
  const stride = 512
  const checkpoints: Uint8Array[] = [GENESIS]
  let last = GENESIS
  for (let seq = 1; seq <= length + 1; seq++) {
    last = build(seq, last).hash
    if (seq % stride === 0) checkpoints.push(last)
  }
  const page = (after: number, limit: number): StoredEntry[] => {
    const from = Math.floor(after / stride)
    let previous = checkpoints[from] as Uint8Array
    const out: StoredEntry[] = []
    for (let seq = from * stride + 1; seq <= Math.min(after + limit, length + 1); seq++) {
      const entry = build(seq, previous)
      previous = entry.hash
      if (seq > after) out.push({ seq, bytes: entry.bytes })
    }
    return out
  }
  hashes.push(last)
  const inner = createMemoryShelf().open(ID)
  const pages: number[] = []
  const appended: StoredEntry[] = []
  const record = (): RunRecord => ({
    format: 1, incarnation, workflow: 'w', version: 1, status: 'running', generation: 1, generationSeq: 1, head: { seq: length + 1, hash: hash(last) },
    createdAt: at, updatedAt: at, endedAt: undefined, deadline: undefined, wakes: 0, wokenSeq: 0, waitingFor: [], blocked: undefined, inputHash: '',
    token: undefined, tags: [], metadata: {}, lastSeq: undefined,
  })
  const store: RunStore = {
    runId: ID,
    read: () => inner.read(),
    entries: (after, limit) => {
      pages.push(limit)
      return after >= length + 1 ? appended.filter(({ seq }) => seq > after).slice(0, limit) : page(after, limit)
    },
    last: () => appended.at(-1) ?? page(length, 1)[0],
    row: (...args) => inner.row(...args), rows: (...args) => inner.rows(...args), keys: (...args) => inner.keys(...args),
    // Only the row goes in; the entries that this run appends come back from here.
    commit: (batch) => {
      const { entries, expect: expectation, ...rest } = batch
      if (expectation.kind === 'absent') return inner.commit(batch)
      if (entries !== undefined) appended.push(...entries)
      if (expectation.kind !== 'head' || rest.row === undefined) return { kind: 'committed' }
      return inner.commit({ ...rest, expect: { ...expectation, seq: 0 } })
    },
    destroy: () => inner.destroy(),
  }
  expect(inner.commit({ expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: at, record: encodeRecord(record()) } }).kind).toBe('committed')
  return { store, record, pages, bytesOf: (seq) => (page(seq - 1, 1)[0] as StoredEntry).bytes }
}

/** What a replay keeps of pages it has read: entries are counted by their bytes, which only the engine can hold. */
class Residency {
  readonly #kept = new Set<WeakRef<Uint8Array>>()
  max = 0
  watch(store: RunStore): RunStore {
    return Object.assign(Object.create(store) as RunStore, {
      runId: store.runId,
      entries: (after: number, limit: number) => {
        const page = store.entries(after, limit) as readonly StoredEntry[]
        for (const { bytes } of page) this.#kept.add(new WeakRef(bytes))
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
  test.each(['prompt', 'settled'] as const)('G10: a journal of 200,000 %s entries replays in pages, and resident entries are bounded', async (fate) => {
    const length = fate === 'prompt' ? 200_000 : 30_000
    const { store, pages } = endless(length, fate)
    const residency = new Residency()
    let executed = 0
    const sizes = new Set<number>()
    const w = workflow({ name: 'w', input: anything }, async (ctx, n: number) => {
      for (let i = 0; i < n; i++) {
        const value = await ctx.step('s', () => { executed++; return '' })
        sizes.add(value.length)
        if (i % 10_000 === 9_999) residency.count()
      }
      return 'done'
    })
    const host = new TestHost({ quiesce })
    const runs = new TestRuns({ host, open: () => residency.watch(store), workflows: [w] })
    expect(await runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toBe(0)
    expect([...sizes]).toEqual([100])
    const replayed = pages.filter((limit) => limit === 512)
    expect(replayed.length).toBeGreaterThan(length / 512 - 1)
    expect(replayed.length).toBeLessThan(length / 512 + 3)
    expect(Math.max(...pages)).toBe(512)
    expect(residency.max).toBeGreaterThan(0)
    expect(residency.max).toBeLessThan(4 * 512)
  }, 120_000)

  test('G10: with a race\'s loser outstanding all the way, none of it is kept either', async () => {
    const { store } = endless(20_000, 'loser')
    const residency = new Residency()
    const w = workflow({ name: 'w', input: anything }, async (ctx, n: number) => {
      void ctx.sleep('30 days')
      for (let i = 0; i < n; i++) {
        await ctx.step('s', () => '')
        if (i % 5000 === 4999) residency.count()
      }
      return 'done'
    })
    const runs = new TestRuns({ host: new TestHost({ quiesce }), open: () => residency.watch(store), workflows: [w] })
    expect(await runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(residency.max).toBeGreaterThan(0)
    expect(residency.max).toBeLessThan(4 * 512)
  }, 60_000)

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
    const { store, record } = endless(20_000, 'prompt')
    const cursor = new Cursor(store, { seq: 0, hash: GENESIS }, record().head, 512)
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
