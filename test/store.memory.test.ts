import { describe, expect, it } from 'vitest'
import { createMemoryShelf } from '../src/store/memory.ts'
import type { Batch } from '../src/store/store.ts'
import { bindStoreContract, storeContract } from '../src/testing/store-contract.ts'

bindStoreContract(describe, it, () => {
  const shelf = createMemoryShelf()
  return { name: 'memory', shelf, open: (id) => shelf.open(id), reopen: (id) => shelf.open(id), cleanup: () => {} }
})

const start: Batch = { expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: null, record: new Uint8Array(10) } }
const append = (seq: number, size: number): Batch =>
  ({ expect: { kind: 'head', epoch: 1, seq: seq - 1 }, entries: [{ seq, bytes: new Uint8Array(size) }] })

describe('the memory store', () => {
  it('G5: answers at once, never with a promise', () => {
    const store = createMemoryShelf().open('run-1')
    expect(store.commit(start)).toEqual({ kind: 'committed' })
    expect(store.commit(append(1, 3))).toEqual({ kind: 'committed' })
    expect(store.commit(append(3, 3))).toEqual({ kind: 'stale', reason: 'seq' })
    expect(store.read()?.epoch).toBe(1)
  })

  it('G25: a shelf with a quota refuses what does not fit, writes nothing of it, and counts what is freed', () => {
    const shelf = createMemoryShelf({ quotaBytes: 100 })
    const [one, two] = [shelf.open('one'), shelf.open('two')]
    one.commit(start)
    one.commit(append(1, 80))
    const full = expect.objectContaining({ code: 'quota_exceeded' })
    expect(() => one.commit(append(2, 11))).toThrow(full)
    expect(() => two.commit({ ...start, entries: [{ seq: 1, bytes: new Uint8Array(1) }] })).toThrow(full)
    expect(two.read()).toBeUndefined()
    expect(one.last()?.seq).toBe(1)
    const put = (size: number | null): Batch => ({ expect: { kind: 'none' }, rows: [
      { table: 'chunk', key: 'k', value: new Uint8Array(1000) },
      { table: 'chunk', key: 'k', value: size === null ? null : new Uint8Array(size) },
    ] })
    one.commit(put(10))
    expect(() => one.commit(append(2, 1))).toThrow(full)
    one.commit(put(3))
    one.commit(append(2, 7))
    one.commit(put(null))
    one.commit(append(3, 3))
    one.destroy()
    two.commit({ ...start, entries: [{ seq: 1, bytes: new Uint8Array(90) }] })
    expect(two.last()?.seq).toBe(1)
  })
})

describe('the store contract itself', () => {
  it('names every case once, with the guarantee it proves, alone and beside other runs', () => {
    const names = storeContract.map(({ id, title }) => `${id}: ${title}`)
    expect(new Set(names).size).toBe(names.length)
    expect(names.filter((name) => name.endsWith('(beside other runs)'))).toHaveLength(names.length / 2)
    for (const name of names) expect(name).toMatch(/^[A-Z]-?\d+: \S/)
  })
})
