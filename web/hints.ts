// "Something changed, read again": to listeners in this page and to other tabs. Only ever a hint: whoever needs to know also
// looks by itself, less often, because messages get lost and BroadcastChannel may be missing (platform fact 97).

export interface Hint {
  readonly runIds: readonly string[]
  /** `posted`: a message waits in the inbox. `ended`: it has ended, or it is gone. */
  readonly kind: 'changed' | 'posted' | 'ended'
}

export interface HintListener {
  (hint: Hint, isLocal: boolean): void
}

/** Changes of one run come many at a time: they are told together, this long after the first. */
const GATHER_MS = 50

export class Hints {
  readonly #name: string
  readonly #listeners = new Set<HintListener>()
  readonly #gathered = new Set<string>()
  #channel: BroadcastChannel | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(database: string) {
    this.#name = `stepwell:${database}`
    this.open()
  }

  /** Begins to listen to other tabs, again after `close`. */
  open(): void {
    if (this.#channel !== undefined || typeof BroadcastChannel === 'undefined') return
    this.#channel = new BroadcastChannel(this.#name)
    this.#channel.onmessage = ({ data }) => {
      const hint = data as Partial<Hint> | null
      if (typeof hint !== 'object' || hint === null || !Array.isArray(hint.runIds)) return
      this.#hand(hint as Hint, false)
    }
  }

  /** Tells what was gathered; then nothing is told to or heard from other tabs, until `open`. */
  close(): void {
    this.#flush()
    this.#channel?.close()
    this.#channel = undefined
  }

  listen(listener: HintListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Cheap: it is called at every commit and at every progress of a step. */
  changed(runId: string): void {
    this.#gathered.add(runId)
    this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS)
  }

  /** Told at once. */
  tell(kind: 'posted' | 'ended', runId: string): void {
    if (kind === 'ended') this.#gathered.delete(runId)
    this.#tell({ kind, runIds: [runId] })
  }

  /** To listeners here: any run may have changed. */
  refresh(): void {
    this.#hand({ kind: 'changed', runIds: [] }, true)
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const runIds = [...this.#gathered]
    this.#gathered.clear()
    if (runIds.length > 0) this.#tell({ kind: 'changed', runIds })
  }

  #tell(hint: Hint): void {
    this.#channel?.postMessage(hint)
    this.#hand(hint, true)
  }

  #hand(hint: Hint, isLocal: boolean): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(hint, isLocal)
      } catch (error) {
        console.error(error)
      }
    }
  }
}
