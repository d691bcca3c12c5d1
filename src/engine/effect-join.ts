// Calls with one key in the ledger (`ctx.once`): one of them acts, and the others wait for what it gives, which is theirs too.

import type { Pending } from './call.ts'
import { baseOf } from './open-effect.ts'

export class Joins {
  /** By ledger key: the one that acts, and those that wait for it. */
  #holders = new Map<string, Pending>()
  #joined = new Map<string, Pending[]>()
  /** What those get that had joined a call that was rejected. */
  #refusals = new Map<Pending, Uint8Array>()

  get holders(): Iterable<readonly [base: string, call: Pending]> {
    return this.#holders
  }

  /** Whether `call` is to act. If not, it waits until whoever does is released. */
  enter(call: Pending): boolean {
    const base = baseOf(call)
    const holder = this.#holders.get(base)
    if (holder !== undefined && holder !== call) {
      this.#joined.set(base, [...this.#joined.get(base) ?? [], call])
      return false
    }
    this.#holders.set(base, call)
    return true
  }

  /** Nobody acts under this key any more. Answers who had joined. `refusal`: the error that they get. */
  release(base: string, refusal?: Uint8Array): readonly Pending[] {
    this.#holders.delete(base)
    const joined = this.#joined.get(base) ?? []
    this.#joined.delete(base)
    if (refusal !== undefined) for (const call of joined) this.#refusals.set(call, refusal)
    return joined
  }

  /** The error of the call that `call` had joined: told once. */
  refusal(call: Pending): Uint8Array | undefined {
    const refusal = this.#refusals.get(call)
    this.#refusals.delete(call)
    return refusal
  }
}
