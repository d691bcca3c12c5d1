// Waiting for a run to end, or to change, whoever drives it: a bell per waiter, rung by hints and by whatever says that time has passed.

import type { Host, HostTimer } from '../src/host.ts'
import type { Hints } from './hints.ts'

export interface Bell {
  /** Resolves when it was rung since the last time, or after `ms`. Rejects when everything was closed. */
  rung(ms: number): Promise<void>
  close(): void
}

interface Ring {
  (): void
  /** Rung by every change, not only by the end. */
  hearsAll: boolean
}

export class Bells {
  readonly #host: Host
  readonly #rings = new Map<string, Set<Ring>>()
  #closed: Error | undefined

  constructor(host: Host, hints: Hints) {
    this.#host = host
    hints.listen(({ kind, runIds }) => {
      if (kind === 'posted') return
      for (const runId of runIds) for (const ring of this.#rings.get(runId) ?? []) if (kind === 'ended' || ring.hearsAll) ring()
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

  /** `hearsAll`: also changes ring it, which come often. */
  open(runId: string, abortSignal?: AbortSignal, hearsAll = false): Bell {
    let isRung = false
    let wake: (() => void) | undefined
    const ring: Ring = Object.assign((): void => {
      isRung = true
      wake?.()
    }, { hearsAll })
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
