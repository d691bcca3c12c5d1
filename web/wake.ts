// When runs are looked at: one scheduler over all runs of a database. It decides when and in which order, never what a run does.

import { isStepwellError } from '../src/errors.ts'
import type { Host, HostTimer } from '../src/host.ts'
import type { Shelf } from '../src/store/store.ts'

/** What came of looking at a run. */
export type Visit =
  /** Look again then (ms since 1970); null: only when something happens to it. */
  | { readonly kind: 'at'; readonly at: number | null }
  /** Not ours while this page lives, or another tab has it: `want` is called when that changes. */
  | { readonly kind: 'left' }
  /** It could not be done now: again after a back-off, not before `at`. */
  | { readonly kind: 'retry'; readonly at?: number }

export interface VisitOptions {
  /** This tab has just started it: nothing needs to be read first. */
  readonly isNew?: boolean
  /** Its row was read a moment ago: it is due, and this page knows it. */
  readonly isSeen?: boolean
  /** The page was opened: what a new deploy may cure is tried again. */
  readonly isOpening?: boolean
  /** A message was posted to it. */
  readonly isPoked?: boolean
}

/** Before others: 0 what the user has just asked for, 1 what is due, 2 what was cut off or may have been left behind. */
export type Rank = 0 | 1 | 2

type Queue = Map<string, VisitOptions>

/** What a run waits for, seen from its row alone. */
export type Look = 'timer' | 'due' | 'later' | 'left'

export interface WakeInit {
  readonly shelf: Shelf
  readonly host: Host
  /** Drives the run if it is due and free. Never rejects. */
  readonly visit: (runId: string, options: VisitOptions) => Promise<Visit>
  /** Reads the run's row: is it due, because of a timer or else? May reject. */
  readonly look: (runId: string) => Promise<Look>
  /** Called whenever due times are compared with the clock, once a minute at least. */
  readonly onLook: () => void
  readonly maxDrives: number
}

/** However far the next due time is: a computer that slept, and a run that another tab left behind, are noticed by then. */
const LOOK_MS = 60_000
const FIRST_BACKOFF_MS = 500
const MAX_BACKOFF_MS = 60_000
/** How many due runs one look takes in. More come when these are done. */
const PAGE = 64
/** How many runs are sorted before the first one is driven. */
const OPENING_PAGE = 10_000
const READS_AT_ONCE = 50

export class Wake {
  readonly #init: WakeInit
  /** Wanted and not yet visited, by rank, in order. */
  readonly #queues: readonly [asked: Queue, due: Queue, rest: Queue] = [new Map(), new Map(), new Map()]
  readonly #visiting = new Set<string>()
  /** Wanted again while it was being visited. */
  readonly #again = new Map<string, VisitOptions>()
  readonly #left = new Set<string>()
  readonly #backoff = new Map<string, { readonly times: number; readonly until: number }>()
  #isOpen = false
  #timer: HostTimer | undefined
  #armedAt = Infinity
  #looking: Promise<void> | undefined
  #lookAgain = false
  /** The last look did not reach the end of the due runs. */
  #isMoreDue = false
  #failures = 0

  constructor(init: WakeInit) {
    this.#init = init
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** A run may be taken in right now. */
  get hasRoom(): boolean {
    return this.#isOpen && this.#visiting.size < this.#init.maxDrives
  }

  /**
   * Takes in every run that is not ended: due timers first, then those whose driver is dead or which have never begun; the rest
   * is armed. Resolves when they are known, not when they were driven.
   */
  async open(): Promise<void> {
    this.#isOpen = true
    this.#left.clear()
    this.#backoff.clear()
    try {
      await this.#takeIn()
    } catch (error) {
      this.#failed(error)
    }
    await this.look()
  }

  close(): void {
    this.#isOpen = false
    this.#timer?.cancel()
    this.#timer = undefined
    this.#armedAt = Infinity
    for (const queue of this.#queues) queue.clear()
    this.#again.clear()
  }

  /** Visits the run as soon as there is room. */
  want(runId: string, options: VisitOptions = {}, rank: Rank = 0): void {
    if (!this.#isOpen) return
    this.#left.delete(runId)
    if (this.#visiting.has(runId)) {
      this.#again.set(runId, { ...this.#again.get(runId), ...options })
      return
    }
    const at = this.#queues.findIndex((queue) => queue.has(runId))
    const before = this.#queues[at]?.get(runId)
    if (at > rank) this.#queues[at]?.delete(runId)
    this.#queues[at >= 0 && at < rank ? (at as Rank) : rank].set(runId, { ...before, ...options })
    this.#pump()
  }

  /** Looks again at that time at the latest. */
  arm(at: number): void {
    if (!this.#isOpen || at >= this.#armedAt) return
    this.#timer?.cancel()
    this.#armedAt = at
    const ms = Math.min(Math.max(0, at - this.#init.host.now()), LOOK_MS)
    this.#timer = this.#init.host.timer(ms, () => {
      this.#armedAt = Infinity
      void this.look()
    })
  }

  /** Compares due times with the clock; a look that is under way is followed by another. */
  look(): Promise<void> {
    if (this.#looking !== undefined) {
      this.#lookAgain = true
      return this.#looking
    }
    this.#looking = (async () => {
      do {
        this.#lookAgain = false
        try {
          await this.#look()
          this.#failures = 0
        } catch (error) {
          this.#failed(error)
        }
      } while (this.#lookAgain && this.#isOpen)
    })().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<void> {
    const { shelf, host } = this.#init
    if (!this.#isOpen) return
    this.#init.onLook()
    // Those that are left or driven stay due in the index: the page must reach past them.
    const limit = Math.min(OPENING_PAGE, PAGE + this.#left.size + this.#visiting.size + this.#backoff.size)
    const page = await shelf.due(limit)
    const now = host.now()
    let next = now + LOOK_MS
    this.#isMoreDue = page.length === limit
    for (const { runId, wakeAt } of page) {
      if (this.#left.has(runId) || this.#backoff.has(runId) || this.#isTakenIn(runId)) continue
      if (wakeAt <= now) this.want(runId, {}, 1)
      else next = Math.min(next, wakeAt)
    }
    // Whatever its row says: a drive that the store cut off has left a wake time that lies ahead.
    for (const [runId, { until }] of this.#backoff) {
      if (this.#isTakenIn(runId)) continue
      if (until <= now) this.want(runId, {}, 2)
      else next = Math.min(next, until)
    }
    this.arm(next)
  }

  #isTakenIn(runId: string): boolean {
    return this.#visiting.has(runId) || this.#queues.some((queue) => queue.has(runId))
  }

  async #takeIn(): Promise<void> {
    const { shelf, look, host } = this.#init
    const all = await shelf.due(OPENING_PAGE)
    const timers: string[] = []
    const others: string[] = []
    const options: VisitOptions = { isOpening: true, isSeen: true }
    const wantAll = (): void => {
      for (const runId of timers.splice(0)) this.want(runId, options, 1)
      for (const runId of others.splice(0)) this.want(runId, options, 2)
    }
    for (let at = 0; at < all.length; at += READS_AT_ONCE) {
      const part = all.slice(at, at + READS_AT_ONCE)
      const looks = await Promise.all(part.map(({ runId }) => look(runId)))
      if (!this.#isOpen) return
      for (const [i, { runId }] of part.entries()) {
        if (looks[i] === 'left') this.#left.add(runId)
        else if (looks[i] === 'timer') timers.push(runId)
        else if (looks[i] === 'due') others.push(runId)
      }
      // Soonest first: every timer that is due is known now. What comes is mostly ended runs that wait for their sweep, perhaps thousands.
      if ((part.at(-1)?.wakeAt ?? 0) > host.now()) wantAll()
    }
    wantAll()
  }

  #pump(): void {
    while (this.hasRoom) {
      const queue = this.#queues.find(({ size }) => size > 0)
      const [entry] = queue ?? []
      if (queue === undefined || entry === undefined) return
      const [runId, options] = entry
      queue.delete(runId)
      this.#visiting.add(runId)
      void this.#init.visit(runId, options).then((visit) => this.#visited(runId, visit))
    }
  }

  #visited(runId: string, visit: Visit): void {
    this.#visiting.delete(runId)
    if (!this.#isOpen) return
    const again = this.#again.get(runId)
    this.#again.delete(runId)
    if (visit.kind === 'retry') {
      const times = (this.#backoff.get(runId)?.times ?? 0) + 1
      const now = this.#init.host.now()
      const until = Math.max(visit.at ?? 0, now + Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(times - 1, 10)))
      this.#backoff.set(runId, { times, until })
      this.arm(until)
    } else {
      this.#backoff.delete(runId)
      if (visit.kind === 'left') this.#left.add(runId)
      else if (visit.at !== null) this.arm(visit.at)
    }
    if (again !== undefined) this.want(runId, again)
    else this.#pump()
    if (this.#isMoreDue && this.#queues.every(({ size }) => size === 0)) void this.look()
  }

  #failed(error: unknown): void {
    if (!this.#isOpen) return
    const ms = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failures++, 10))
    const code = isStepwellError(error) ? ` (${error.code})` : ''
    this.#init.host.log({ level: 'warn', runId: '*', message: `the store could not be read, again in ${ms} ms${code}`, data: error })
    this.arm(this.#init.host.now() + ms)
  }
}
