// Whether an effect that may be called again for one act tells the outside world so: whether its function ever reads its key.

import { type AskedCall, type FunctionCall, type Role, watchKey } from './watch.ts'

interface Effect {
  readonly asked: AskedCall
  calls: number
  isRead: boolean
  isReadByProbe: boolean
  /** Called once more for an act of which nobody knew whether it had happened. */
  isRepeated: boolean
}

export class KeyReads {
  readonly #effects = new Map<string, Effect>()
  /** By idempotency key: called, and not known to have failed. */
  readonly #acts = new Set<string>()

  /** A function is about to be called. Its answer goes through here. */
  watch(asked: AskedCall, role: Role, call: FunctionCall, run: () => unknown): unknown {
    if ((role !== 'effect' && role !== 'once' && role !== 'probe') || asked.key === undefined) return run()
    let effect = this.#effects.get(asked.key)
    if (effect === undefined) this.#effects.set(asked.key, effect = { asked, calls: 0, isRead: false, isReadByProbe: false, isRepeated: false })
    const known = effect
    const act = call.idempotencyKey
    watchKey(call, () => {
      if (role === 'probe') known.isReadByProbe = true
      else known.isRead = true
    })
    if (role === 'probe') return run()
    known.calls++
    if (this.#acts.has(act)) known.isRepeated = true
    this.#acts.add(act)
    const failed = (error: unknown): never => {
      this.#acts.delete(act)
      throw error
    }
    let result: unknown
    try {
      result = run()
    } catch (error) {
      return failed(error)
    }
    return result instanceof Promise ? result.catch(failed) : result
  }

  /** One sentence for each effect that ignores its key and should not. */
  unread(): string[] {
    const said: string[] = []
    for (const { asked, calls, isRead, isReadByProbe, isRepeated } of this.#effects.values()) {
      const { kind, onAmbiguous } = asked.options
      // What is idempotent says that it does not mind a repetition.
      if (calls === 0 || isRead || kind === 'idempotent') continue
      const why = isRepeated ? 'it was called again for the same act'
        : onAmbiguous === 'rerun' ? 'with the policy "rerun" it is called again after a crash'
        : onAmbiguous === 'probe' && isReadByProbe ? 'its probe asks for that key'
        : undefined
      if (why === undefined) continue
      said.push(`${asked.method} "${asked.name}"${asked.site.behind} never reads its idempotencyKey, and ${why}: ` +
        'give the key to the outside world, or that cannot tell a repetition from another act')
    }
    return said
  }
}
