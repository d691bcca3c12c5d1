// `ctx.patched`: which names this generation has answered with true, for one pass. Nothing is scanned: the run row has them all.

import { decode, encode } from '../codec.ts'
import type { Entry } from '../journal/entry.ts'
import { within } from '../limits.ts'
import { divergence } from './divergence.ts'
import type { Pass } from './pass.ts'
import type { RunState } from './state.ts'

export class Patches {
  readonly #state: RunState
  /** Answered with true, and not stored yet. */
  #patches: string[] = []
  readonly #unpatched = new Set<string>()
  /** Applied in the history of this pass, and not asked for by its code yet. */
  readonly #expected = new Map<string, Entry>()
  readonly #asked = new Set<string>()

  constructor(state: RunState) {
    this.#state = state
  }

  /** Answers that nobody has stored yet: before anything that follows from them. */
  get isUnstored(): boolean {
    return this.#patches.length > 0
  }

  /** History was made by code that had this patch. */
  expect(entry: Entry): void {
    const { name } = decode(entry.payload) as { readonly name: string }
    if (!this.#asked.has(name)) this.#expected.set(name, entry)
  }

  /** G9: older code, which does not ask for the patch, would go on where newer code was. At the end of history. */
  check(pass: Pass): void {
    for (const [name, entry] of this.#expected) throw divergence(entry, `ctx.patched(${JSON.stringify(name)}) was never asked`, pass.calls, pass.outstanding.values())
  }

  /** Whether code behind a patch runs: what this generation has answered once it answers always. */
  applies(pass: Pass, name: string): boolean {
    const { limits, record } = this.#state
    this.#asked.add(name)
    this.#expected.delete(name)
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
