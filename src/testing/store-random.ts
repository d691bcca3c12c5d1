// Random batches for the store contract: a driver and strangers that are mostly right about what is stored and often wrong.

import type { MemoryRunStore } from '../store/memory.ts'
import type { Batch, Expect, RowWrite } from '../store/store.ts'
import { bytes, entriesAfter, row } from './store-scene.ts'

/** Whole numbers from 0 to below `n`, the same for the same seed (xorshift128, 2^128 states). */
export function randomSource(seed: number): (n: number) => number {
  let [x, y, z, w] = [seed | 0, 362_436_069, 521_288_629, 88_675_123]
  return (n) => {
    const t = x ^ (x << 11)
    x = y
    y = z
    z = w
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8)
    return (w >>> 0) % n
  }
}

const keys = ['a', 'b', 'c', 'd']

/** A legal batch. It looks at what the model holds, and about every third time it is off by one somewhere. */
export function randomBatch(random: (n: number) => number, model: MemoryRunStore): Batch {
  const stored = model.read()
  const wrong = (): number => (random(8) === 0 ? random(3) - 1 : 0)
  const seq = Math.max(0, (model.last()?.seq ?? 0) + wrong())
  const epoch = Math.max(0, (stored?.epoch ?? 1) + wrong())
  const expect = chooseExpect(random, seq, epoch, Math.max(0, (stored?.inbox ?? 0) + wrong()))
  const isDriver = expect.kind === 'head' || expect.kind === 'absent'
  const after = expect.kind === 'head' ? seq : 0
  const value = (): Uint8Array => bytes(random(40), random(250))
  const key = (): string => keys[random(keys.length)] as string
  const rowAt = { epoch: (expect.kind === 'head' ? epoch : 0) + (random(6) === 0 ? 1 : 0), wakeAt: random(2) === 0 ? null : 8e12 + random(9) }
  const write = (): RowWrite => ({
    table: (['outbox', 'chunk', 'manifest', 'memo', 'state', 'signal'] as const)[random(6)] as 'chunk', key: key(), value: random(3) === 0 ? null : value(),
  })
  const some = <T>(n: number, make: () => T): T[] => Array.from({ length: random(n) }, make)
  const posted = (): Pick<Batch, 'post' | 'wakeBy'> => {
    const post = some(3, value)
    return { post, ...(expect.kind === 'exists' && post.length > 0 && random(2) === 0 && { wakeBy: 8e12 + random(9) }) }
  }
  const entries = isDriver && random(3) > 0 ? entriesAfter(after, random(40) === 0 ? 70 : random(4)) : []
  return {
    expect,
    ...(entries.length > 0 && { entries }),
    ...(expect.kind === 'head' && entries.length === 0 && random(4) === 0 && { cut: random(5) === 0 ? seq : random(seq + 1) }),
    ...((expect.kind === 'absent' || (expect.kind === 'head' && random(3) === 0)) && { row: row({ ...rowAt, record: value() }) }),
    ...(expect.kind !== 'none' && expect.kind !== 'epoch' && expect.kind !== 'next' && random(3) === 0 && posted()),
    ...(expect.kind === 'next' && random(2) === 0 && { wakeBy: 8e12 + random(9) }),
    ...(expect.kind === 'head' && random(3) === 0 && { take: some(3, () => 1 + random((stored?.inbox ?? 0) + 1)) }),
    ...(random(3) === 0 && { rows: some(4, write) }),
    ...(random(6) === 0 && { require: some(2, () => ({ table: 'chunk' as const, key: key() })) }),
    ...(random(8) === 0 && { durability: 'strict' as const }),
  }
}

function chooseExpect(random: (n: number) => number, seq: number, epoch: number, inbox: number): Expect {
  const kind = random(20)
  if (kind < 2) return { kind: 'absent' }
  if (kind < 4) return { kind: 'none' }
  if (kind < 6) return { kind: 'exists' }
  if (kind < 8) return { kind: 'epoch', epoch }
  if (kind < 10) return { kind: 'next', inbox }
  return { kind: 'head', epoch, seq, ...(random(3) === 0 && { inbox }) }
}
