// Waiting for a run to end, whoever drives it: a bell per waiter, rung by hints and by whatever says that time has passed.

import type { Host, HostTimer } from '../src/host.ts'
import type { Hints } from './hints.ts'

export interface Bell {
  /** Resolves when it was rung since the last time, or after `ms`. Rejects when everything was closed. */
  rung(ms: number): Promise<void>
  close(): void
}

export class Bells {
  readonly #host: Host
  readonly #rings = new Map<string, Set<() => void>>()
  #closed: Error | undefined

  constructor(host: Host, hints: Hints) {
    this.#host = host
    hints.listen(({ kind, runIds }) => {
      if (kind === 'ended') for (const runId of runIds) for (const ring of this.#rings.get(runId) ?? []) ring()
    })
  }

  /** Everyone looks again. */
  ringAll(): void {
    for (const rings of this.#rings.values()) for (const ring of rings) ring()
  }

  /** Nobody waits any longer: waits reject with `reason`. */
  close(reason: Error): void {
    this.#closed = reason
    this.ringAll()
  }

  open(runId: string, abortSignal?: AbortSignal): Bell {
    let isRung = false
    let wake: (() => void) | undefined
    const ring = (): void => {
      isRung = true
      wake?.()
    }
    const rings = this.#rings.get(runId) ?? new Set()
    this.#rings.set(runId, rings.add(ring))
    abortSignal?.addEventListener('abort', ring)
    return {
      rung: async (ms) => {
        let timer: HostTimer | undefined
        if (!isRung && this.#closed === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve
            timer = this.#host.timer(ms, resolve)
          })
        }
        timer?.cancel()
        wake = undefined
        isRung = false
        if (this.#closed !== undefined) throw this.#closed
      },
      close: () => {
        abortSignal?.removeEventListener('abort', ring)
        rings.delete(ring)
        if (rings.size === 0 && this.#rings.get(runId) === rings) this.#rings.delete(runId)
      },
    }
  }
}
