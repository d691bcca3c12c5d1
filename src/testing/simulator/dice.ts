// Seeded randomness: the same seed gives the same schedule, on every machine and in every runtime.

export class Dice {
  #a: number
  #b: number
  #c: number
  #d = 1

  constructor(seed: number) {
    this.#a = seed >>> 0
    this.#b = (seed / 4294967296) >>> 0
    this.#c = 0x9e3779b9
    for (let i = 0; i < 12; i++) this.next()
  }

  /** A whole number below 2^32: sfc32, a small generator that passes the usual batteries (PractRand), by Chris Doty-Humphrey. */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum | 0
    return sum >>> 0
  }

  /** A whole number from 0, below `n`. */
  below(n: number): number {
    return this.next() % n
  }

  /** Other dice, which depend on how these lie and leave them as they are. */
  fork(seed: number): Dice {
    const fork = new Dice(0)
    fork.#a = this.#a ^ seed
    fork.#b = this.#b
    fork.#c = this.#c
    fork.#d = this.#d
    for (let i = 0; i < 12; i++) fork.next()
    return fork
  }

  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  chance(share: number): boolean {
    return this.next() < share * 4294967296
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  bytes(n: number): Uint8Array {
    const out = new Uint8Array(n)
    for (let i = 0; i < n; i++) out[i] = this.next()
    return out
  }
}
