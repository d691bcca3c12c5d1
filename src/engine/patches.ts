// `ctx.patched`: which names this generation has answered with true, for one pass. Nothing is scanned: the run row has them all.

import { encode } from '../codec.ts'
import { within } from '../limits.ts'
import type { Pass } from './pass.ts'
import type { RunState } from './state.ts'

export class Patches {
  readonly #state: RunState
  /** Answered with true, and not stored yet. */
  #patches: string[] = []
  readonly #unpatched = new Set<string>()

  constructor(state: RunState) {
    this.#state = state
  }

  /** Answers that nobody has stored yet: before anything that follows from them. */
  get isUnstored(): boolean {
    return this.#patches.length > 0
  }

  /** Whether code behind a patch runs: what this generation has answered once it answers always. */
  applies(pass: Pass, name: string): boolean {
    const { limits, record } = this.#state
    if (record.patches.includes(name) || this.#patches.includes(name)) return true
    const known = this.#unpatched.has(name)
    // History was made without it.
    if (known || !pass.isCaughtUp) {
      this.#unpatched.add(name)
      return false
    }
    within(limits, 'patches', record.patches.length + this.#patches.length + 1, 'patches of one generation')
    this.#patches.push(name)
    return true
  }

  async commit(pass: Pass): Promise<void> {
    const names = this.#patches
    const state = this.#state
    await state.commit(names.map((name) => ({ kind: 'patch_applied', calls: pass.calls, payload: encode({ name }) })), {
      change: { record: { patches: [...state.record.patches, ...names] }, wakeAt: state.wakeAt, mark: false },
    })
    this.#patches = []
  }
}
