// Seeded choice: the same seed makes the same choices on every runtime, so a failure is repeated by its seed.

export interface Draw {
  /** A whole number from 0, below `n`. */
  (n: number): number
  pick<T>(items: readonly T[]): T
  /** True in one of `n` cases. */
  oneIn(n: number): boolean
}

export function draw(seed: number): Draw {
  let state = seed >>> 0
  const next = (n: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 4294967296) * n)
  }
  return Object.assign(next, {
    pick: <T>(items: readonly T[]): T => items[next(items.length)] as T,
    oneIn: (n: number): boolean => next(n) === 0,
  })
}
