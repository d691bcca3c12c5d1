// Waiting within one object: for the end of its run, or for its events.

import type { Host } from '../src/host.ts'

export class Bell {
  readonly #host: Host
  readonly #waiting = new Set<() => void>()
  /** How often it was rung: what came while nobody waited has rung for nobody. */
  rings = 0

  constructor(host: Host) {
    this.#host = host
  }

  ring(): void {
    this.rings++
    for (const wake of this.#waiting) wake()
  }

  /** Resolves when it is rung, or `ms` later. */
  rung(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done)
        timer.cancel()
        resolve()
      }
      const timer = this.#host.timer(ms, done)
      this.#waiting.add(done)
    })
  }
}
