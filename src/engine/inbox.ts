// What others have asked of the run while a pass is live: reads the messages of its inbox and remembers what each one asks for. Acting
// on them is for winding.ts (cancel), ambiguity.ts (resolve) and the driver (restart); pausing and going on are one commit, here.

import type { Message } from '../journal/record.ts'
import type { Live } from './live.ts'
import type { Pass } from './pass.ts'

export class Inbox {
  readonly #live: Live
  readonly #resolved = new Set<number>()
  #pausing: { readonly number: number; readonly message: Message } | undefined
  /** Of the first cancel. */
  cancel: { reason?: string; principal?: string; undo?: boolean } | undefined
  /** All messages that asked to cancel: they go in the commit of its entry. */
  readonly cancels: number[] = []
  /** The driver begins the next generation; this pass is over. */
  isRestart = false

  constructor(live: Live) {
    this.#live = live
  }

  /** A pause, or its end, that is not committed yet. */
  get isPausing(): boolean {
    return this.#pausing !== undefined
  }

  async read(pass: Pass): Promise<void> {
    const { state } = this.#live
    pass.isPoked = false
    for (const { number, message } of await state.messages()) {
      switch (message.kind) {
        case 'cancel': {
          // It is wound up already: a message that nobody takes would have the run driven for ever.
          if (pass.winding?.isCommitted === true) {
            state.decided.push(number)
            break
          }
          const { reason, principal, undo } = message
          this.cancel ??= {
            ...(reason === undefined ? undefined : { reason }), ...(principal === undefined ? undefined : { principal }), ...(undo === true ? { undo } : undefined),
          }
          if (!this.cancels.includes(number)) this.cancels.push(number)
          break
        }
        case 'pause': case 'resume':
          // One at a time: the next is read when this one is committed.
          if (this.#pausing === undefined) this.#pausing = { number, message }
          else if (this.#pausing.number !== number) pass.isPoked = true
          break
        case 'resolve':
          if (!this.#resolved.has(number)) this.#live.effectsOf(pass).ambiguities.resolve(number, message)
          this.#resolved.add(number)
          break
        case 'restart':
          this.isRestart = true
          break
        default:
          state.host.log({ level: 'warn', runId: state.store.runId, message: `a message of an unknown kind waits in the inbox (${number})` })
      }
    }
  }

  async pause(pass: Pass): Promise<void> {
    if (this.#pausing === undefined) return
    const { number, message } = this.#pausing
    const { state } = this.#live
    if (pass.winding !== undefined) {
      // The cancel, or the deadline, that came with it has decided it: a row that says "paused" would stop the undoing for good.
      state.decided.push(number)
      this.#pausing = undefined
      return
    }
    const isPause = message.kind === 'pause'
    const paused = isPause ? { at: message.at, ...(message.principal === undefined ? undefined : { principal: message.principal }) } : undefined
    await state.commit([], {
      take: [...state.decided, number], durability: 'strict',
      change: { record: { paused, status: isPause ? 'paused' : 'running', waitingFor: [] }, wakeAt: this.#live.recovery(), mark: false },
    })
    this.#pausing = undefined
  }
}
