// Whether the tab that holds a run's lock still lives. A frozen tab keeps its locks (platform fact 95) and does not know that it is
// frozen: so whoever stands in line asks, and each tab answers for the locks that it holds, which takes a turn of its event loop. Nothing
// is stored, no two clocks are compared, and nobody asks while nobody waits.

import type { Host, HostTimer } from '../src/host.ts'

export interface HeartbeatInit {
  readonly database: string
  readonly host: Host
  /** So long nobody answers for a run before it is taken for abandoned. */
  readonly patienceMs: number
  /** This tab has the lock of the run. */
  readonly holds: (runId: string) => boolean
  /** Told once: it is not asked for any more, unless `watch` is called again. */
  readonly onSilence: (runId: string) => void
}

interface Ask { readonly kind: 'ask' | 'alive'; readonly runIds: readonly string[] }

/** In a row, without an answer. Counted and not timed: when a computer wakes up, those who slept get time to answer. */
const ASKS = 3

export class Heartbeat {
  readonly #init: HeartbeatInit
  /** Asks without an answer, by run. */
  readonly #asked = new Map<string, number>()
  #channel: BroadcastChannel | undefined
  #timer: HostTimer | undefined

  constructor(init: HeartbeatInit) {
    this.#init = init
  }

  /** Answers others, and may ask them. Without BroadcastChannel nobody is ever taken for dead. */
  open(): void {
    if (this.#channel !== undefined || typeof BroadcastChannel === 'undefined') return
    this.#channel = new BroadcastChannel(`stepwell:${this.#init.database}:heartbeat`)
    this.#channel.onmessage = ({ data }) => {
      const { kind, runIds } = data as Ask
      if (kind === 'alive') for (const runId of runIds) if (this.#asked.has(runId)) this.#asked.set(runId, 0)
      if (kind !== 'ask') return
      const held = runIds.filter((runId) => this.#init.holds(runId))
      if (held.length > 0) this.#tell('alive', held)
    }
  }

  /** Until `open`. A page that went away must not answer for the locks that it gave back. */
  close(): void {
    this.#channel?.close()
    this.#channel = undefined
    this.#timer?.cancel()
    this.#timer = undefined
    this.#asked.clear()
  }

  /** Another tab has its lock: is asked for until nobody answers, or `forget`. */
  watch(runId: string): void {
    if (this.#channel === undefined || this.#asked.has(runId)) return
    this.#asked.set(runId, 0)
    this.#arm()
  }

  forget(runId: string): void {
    this.#asked.delete(runId)
  }

  #arm(): void {
    this.#timer ??= this.#init.host.timer(this.#init.patienceMs / ASKS, () => {
      this.#timer = undefined
      this.#ask()
    })
  }

  #ask(): void {
    const silent = [...this.#asked].filter(([, asks]) => asks >= ASKS).map(([runId]) => runId)
    for (const runId of silent) this.#asked.delete(runId)
    if (this.#asked.size > 0) {
      for (const [runId, asks] of this.#asked) this.#asked.set(runId, asks + 1)
      this.#tell('ask', [...this.#asked.keys()])
      this.#arm()
    }
    for (const runId of silent) this.#init.onSilence(runId)
  }

  #tell(kind: Ask['kind'], runIds: readonly string[]): void {
    this.#channel?.postMessage({ kind, runIds } satisfies Ask)
  }
}
