// A host with a virtual clock and seeded randomness: a sleep of 30 days takes no time, and every run of a test is the same.

import { StepwellError } from '../errors.ts'
import { given, givenFunction, neededFunction } from '../given.ts'
import { hashParts } from '../hash.ts'
import type { Host, HostName, HostTimer, LogRecord } from '../host.ts'
import { createQuiesce } from './quiesce.ts'

export interface TestHostOptions {
  /** How this runtime empties its microtask queue. Default: what has proved to do so (`createQuiesce`). */
  readonly quiesce?: () => Promise<void>
  /** Default: 2026-01-01T00:00:00Z. */
  readonly startAt?: number
  /** Default 1. */
  readonly seed?: number
  /** Default 'test', which may run calls of every `at`. */
  readonly name?: HostName
  readonly log?: (record: LogRecord) => void
  /** Told of each call that a workflow function makes, while it makes it. */
  readonly called?: (kind: string, key: string) => void
}

const names: readonly unknown[] = ['edge', 'browser', 'test'] satisfies readonly HostName[]

interface Timer {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export class TestHost implements Host {
  readonly name: HostName
  readonly logs: LogRecord[] = []
  #now: number
  #seed: number
  #draws = 0
  #order = 0
  #timers: Timer[] = []
  #quiesce: () => Promise<void>
  #turning = 0
  #log: ((record: LogRecord) => void) | undefined
  #called: ((kind: string, key: string) => void) | undefined

  /** Throws `invalid_argument` for options that are none. */
  constructor(init?: TestHostOptions) {
    const options: TestHostOptions = given(init)
    for (const hook of ['quiesce', 'log', 'called'] as const) givenFunction(options[hook], hook)
    for (const number of ['startAt', 'seed'] as const) {
      if (options[number] !== undefined && !Number.isFinite(options[number])) throw new StepwellError('invalid_argument', `${number} is a number`)
    }
    if (options.name !== undefined && !names.includes(options.name)) throw new StepwellError('invalid_argument', `the name of a host is one of ${names.join(', ')}`)
    this.name = options.name ?? 'test'
    this.#quiesce = options.quiesce ?? createQuiesce()
    this.#called = options.called
    this.#now = options.startAt ?? Date.UTC(2026, 0, 1)
    this.#seed = options.seed ?? 1
    this.#log = options.log
  }

  now(): number {
    return this.#now
  }

  random(bytes: number): Uint8Array {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new StepwellError('invalid_argument', 'bytes is a whole number from 0')
    const out = new Uint8Array(bytes)
    for (let at = 0; at < bytes; at += 32) {
      out.set(hashParts('stepwell.test', this.#seed, this.#draws++).subarray(0, Math.min(32, bytes - at)), at)
    }
    return out
  }

  quiesce(): Promise<void> {
    this.#turning++
    const turn = this.#quiesce()
    // Beside it: whoever waits must go on at the same turn as on a host.
    const turned = (): void => { this.#turning-- }
    turn.then(turned, turned)
    return turn
  }

  /**
   * Somebody waits for `quiesce` and goes on after it, so it is too early to let time pass: on some runtimes one turn takes as long as
   * many others.
   */
  get isTurning(): boolean {
    return this.#turning > 0
  }

  timer(ms: number, run: () => void): HostTimer {
    if (typeof ms !== 'number' || Number.isNaN(ms)) throw new StepwellError('invalid_argument', 'a timer takes its milliseconds as a number')
    neededFunction(run, 'what a timer runs')
    const timer: Timer = { at: this.#now + Math.max(0, ms), order: this.#order++, run }
    this.#timers.push(timer)
    return { cancel: () => { this.#timers = this.#timers.filter((other) => other !== timer) } }
  }

  log(record: LogRecord): void {
    this.logs.push(record)
    this.#log?.(record)
  }

  called(kind: string, key: string): void {
    this.#called?.(kind, key)
  }

  /** When the next timer is due. */
  get nextTimer(): number | undefined {
    return this.#timers.length === 0 ? undefined : Math.min(...this.#timers.map((timer) => timer.at))
  }

  /** Moves the clock forward and runs what is due, in order of time, then of arming. Never backward. */
  advanceTo(time: number): void {
    checkTime(time)
    while (this.fireNext(time)) { /* one after the other */ }
    if (time > this.#now) this.#now = time
  }

  /** Runs the one timer that is due next, at its time, unless that is after `until`; whether there was one. */
  fireNext(until: number = Infinity): boolean {
    checkTime(until)
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.at <= until && (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order))) next = timer
    }
    if (next === undefined) return false
    this.#timers = this.#timers.filter((timer) => timer !== next)
    if (next.at > this.#now) this.#now = next.at
    next.run()
    return true
  }

  advance(ms: number): void {
    checkTime(ms)
    this.advanceTo(this.#now + ms)
  }

  /** Forgets all timers: they belong to the process that has just died. */
  forgetTimers(): void {
    this.#timers = []
  }

  /** A wall clock that jumps, also backward: timers stay where they are. */
  jump(ms: number): void {
    checkTime(ms)
    this.#now += ms
  }
}

function checkTime(time: unknown): void {
  if (typeof time !== 'number' || Number.isNaN(time)) throw new StepwellError('invalid_argument', 'a time is a number of ms')
}
