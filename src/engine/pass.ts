// One trip over a run: calls the workflow function, delivers outcomes one at a time in journal order, and says when the run must
// be parked, ended or blocked. Live and replay use this one loop and the one rule of docs/journal.md, "Delivery" (G8).

import type { Ctx } from '../context.ts'
import type { AnyWorkflow } from '../define.ts'
import { StepwellError } from '../errors.ts'
import type { Host } from '../host.ts'
import type { Cursor } from '../journal/cursor.ts'
import { type Entry, same } from '../journal/entry.ts'
import type { CancelPayload, StartPayload } from '../journal/record.ts'
import type { Writer } from '../journal/writer.ts'
import { type Limits, within } from '../limits.ts'
import { isPromise, type MaybePromise, type RunStore } from '../store/store.ts'
import type { Attempts } from './attempt.ts'
import type { Pending, Uses } from './call.ts'
import { createContext } from './context.ts'
import { freshEvent } from './events.ts'
import { bugOf } from './finish.ts'
import { History } from './history.ts'
import { Scope } from './key.ts'
import type { Effects } from './effects.ts'
import type { Live } from './live.ts'
import { answerOf } from './once.ts'
import { fromPayload, inlineValue } from './outcome.ts'
import { received } from './signal.ts'
import { wind, type Winding } from './winding.ts'
import { DeliveryWindow } from './delivery-window.ts'

/** Step functions that were asked for start at this turn after a delivery. */
const START_TURN = 12
/** A lone outcome that is there by this turn is delivered at it. Both numbers are part of the journal's format 1. */
const PROMPT_TURN = 24
/** Prompt deliveries in a row. Below the 512 that docs/journal.md promises. */
const PROMPT_RUN = 256
/** So many calls that were delivered before they were started may be remembered. */
const FRESH_SLACK = 64

export type PassEnd =
  | { readonly kind: 'ended' }
  | { readonly kind: 'parked'; readonly wakeAt: number | null }
  | { readonly kind: 'blocked'; readonly error: StepwellError }
  | { readonly kind: 'diverged'; readonly error: StepwellError }
  /** The pass was dropped and nothing is wrong: begin another, which must make these calls by itself before it goes on. */
  | { readonly kind: 'again'; readonly mustAsk?: ReadonlySet<string> }
  | { readonly kind: 'stopped' }

/** What quiescence leads to: the end of the pass, or a delivery, to be made synchronously. */
export type Next = PassEnd | (() => void)

export interface PassInit {
  readonly definition: AnyWorkflow
  readonly start: StartPayload
  readonly runId: string
  readonly createdAt: number
  readonly generation: number
  readonly startedAt: number
  readonly store: RunStore
  readonly host: Host
  readonly limits: Limits
  readonly cursor: Cursor
  readonly writer: Writer
  readonly attempts: Attempts
  /** Reads and commits that answer at once: outcomes may be delivered at the fixed turn. */
  readonly isSynchronous: boolean
  readonly live: Live
  /** Calls that the pass before this one made at a moment when they could have come from inside a step. */
  readonly mustAsk: ReadonlySet<string>
  readonly changed: () => void
}

export type FunctionEnd = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: unknown }

export class Pass {
  readonly init: PassInit
  readonly outstanding: Map<string, Pending> = new Map()
  /** Asked for and not yet started; in call order. */
  fresh: Pending[] = []
  readonly uses: Uses = new Map()
  readonly abort: AbortController = new AbortController()
  /** How many ctx calls were made in this generation. */
  calls = 0
  /** The recorded time of the last delivery. */
  now: number
  ended: FunctionEnd | undefined
  readonly effects: Effects
  readonly history: History
  /** A cancel or the run's deadline was delivered: only cleanup may call. */
  winding: Winding | undefined
  isDead = false
  /** A message may be in the inbox. */
  isPoked = true
  readonly #window: DeliveryWindow
  #isLive = false
  #delivered = new WeakSet<object>()
  #promptRun = 0
  #wake: (() => void) | undefined

  constructor(init: PassInit) {
    this.init = init
    this.now = init.startedAt
    this.effects = init.live.effectsOf(this)
    this.history = new History(this)
    this.#window = new DeliveryWindow(init.attempts, init.mustAsk)
  }

  /** Runs until the run ends, parks or blocks. Throws `Superseded`, and the store's errors. */
  async run(): Promise<PassEnd> {
    const { host, attempts, cursor } = this.init
    attempts.onSettled = () => this.signal()
    try {
      const filled = cursor.fill()
      if (isPromise(filled)) await filled
      this.#begin()
      for (;;) {
        for (let turn = 0; turn < START_TURN; turn++) await resolved
        // Not in the window of the last replayed entry: the function may end in it, and a race's loser must not run once more for nothing.
        if (this.#isLive && this.isCaughtUp) this.startFresh()
        for (let turn = START_TURN; turn < PROMPT_TURN; turn++) await resolved
        if (this.isDead) return { kind: 'stopped' }
        const prompt = this.#deliverPrompt()
        if (prompt === true) continue
        if (prompt !== false) return await prompt
        await host.quiesce()
        this.#window.close()
        this.#promptRun = 0
        if (this.isDead) return { kind: 'stopped' }
        const found = this.#atQuiescence()
        const next = isPromise(found) ? await found : found
        if (typeof next !== 'function') return next
        // Turn 0 is here, on the loop's own stack: on the way out of nested async functions turns would pass, not equally many
        // live and in replay, and a prompt delivery would come at another link of a plain chain.
        next()
      }
    } catch (error) {
      if (error instanceof StepwellError && error.code === 'divergence') return { kind: 'diverged', error }
      throw error
    } finally {
      this.isDead = true
      attempts.onSettled = () => {}
    }
  }

  /** Drops the pass: nothing more is written, and calls of its ctx stay pending for ever. */
  stop(): void {
    this.isDead = true
    this.signal()
  }

  /** Look at the inbox. Answers false when the pass is over and will not. */
  poke(): boolean {
    if (this.isDead) return false
    this.isPoked = true
    this.signal()
    return true
  }

  signal(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  /** A call, or the function's end, came from outside a delivery window (G30). */
  get foreign(): StepwellError | undefined {
    return this.#window.foreign
  }

  /** Everything that the journal holds was delivered. */
  get isCaughtUp(): boolean {
    return this.init.cursor.exhausted
  }

  /** Waits for something to happen, `untilMs` at most. At quiescence only. */
  async event(untilMs: number | undefined): Promise<void> {
    let timer: { cancel(): void } | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      if (untilMs !== undefined) timer = this.init.host.timer(Math.max(0, untilMs), () => this.signal())
    })
    timer?.cancel()
  }

  // --- calls

  /** Throws unless user code may call now. `kind` and `name` say which call it is to the one who must find it. */
  check(kind: string, name?: unknown): void {
    if (this.isDead) return
    const error = this.#window.refusal(kind, name)
    if (error === undefined) return
    this.signal()
    throw error
  }

  /** Registers a call. Its promise settles when its outcome is delivered, and never when the pass is dropped. */
  ask(call: Pending): Promise<unknown> {
    const promise = new Promise<unknown>((resolve, reject) => {
      call.resolve = resolve
      call.reject = reject
    })
    call.promise = promise
    if (this.isDead) return promise
    if (this.winding !== undefined && !call.isCleanup) {
      reject(call, this.winding.error)
      return promise
    }
    if (this.outstanding.size >= this.init.limits.outstanding) {
      within(this.init.limits, 'outstanding', this.outstanding.size + 1, `run ${this.init.runId}: calls at once`)
    }
    this.calls++
    this.#window.asked(call.key)
    this.outstanding.set(call.key, call)
    this.fresh.push(call)
    this.init.host.called?.(call.kind, call.key)
    if (call.effect !== undefined) this.effects.history.asked(call)
    // In a replay nothing starts, and what was delivered must not stay reachable from here (G10).
    if (this.fresh.length > 2 * this.outstanding.size + FRESH_SLACK) {
      this.fresh = this.fresh.filter((each) => this.outstanding.get(each.key) === each)
    }
    this.history.asked(call)
    return promise
  }

  /** Stores an event, unless the journal has it. No call: nothing waits for it. */
  emit(type: string, data: unknown): void {
    this.check('emit', type)
    if (this.isDead) return
    const event = freshEvent(this.init.limits, type, data)
    this.#window.asked(`emit ${type}`)
    this.init.live.events.emit(event)
  }

  // --- the loop's parts

  #begin(): void {
    const { definition, start } = this.init
    const ctx = createContext(this, new Scope(this.init.limits))
    this.#window.open()
    const end = (result: FunctionEnd): void => {
      if (this.isDead) return
      this.ended = result
      this.#window.ended()
      this.signal()
    }
    let result: unknown
    try {
      result = (definition.run as (ctx: Ctx, input: unknown) => unknown)(ctx, start.parsed)
    } catch (error) {
      end({ ok: false, error })
      return
    }
    Promise.resolve(result).then((value) => end({ ok: true, value }), (error: unknown) => end({ ok: false, error }))
  }

  /** Starts what was asked for: live only, and only when history is exhausted. */
  startFresh(): void {
    if (this.fresh.length === 0) return
    const { fresh } = this
    this.fresh = []
    const { attempts } = this.init
    const before = attempts.started
    for (const call of fresh) if (this.outstanding.get(call.key) === call) this.init.live.begin(call)
    if (attempts.started > before) this.#window.started()
  }

  /** True: delivered. False: wait for quiescence. */
  #deliverPrompt(): boolean | Promise<PassEnd> {
    if (this.ended !== undefined || this.outstanding.size !== 1 || this.foreign !== undefined || this.#window.isSuspect || this.winding?.isCommitted === false) return false
    const entry = this.history.next()
    if (entry !== undefined) {
      if (!entry.prompt || entry.calls !== this.calls || entry.key === undefined) return false
      const call = this.outstanding.get(entry.key)
      if (call === undefined || !same(call.fingerprint, entry.fingerprint as Uint8Array)) return false
      this.init.cursor.shift()
      this.#settle(call, entry, inlineValue(entry))
      return true
    }
    if (!this.isCaughtUp || !this.init.isSynchronous || this.isPoked || !this.history.isPlaced || this.#promptRun >= PROMPT_RUN) return false
    const outcome = this.init.live.collector.promptOutcome(this)
    if (outcome === undefined) return false
    const { call, attempt, payload, value } = outcome
    const { writer } = this.init
    const answer = writer.appendOne({ key: call.key, fingerprint: call.fingerprint, calls: this.calls, attempt, payload, prompt: true })
    // The answer was lost, so it came late: this turn is over. A new pass delivers the entry, if it is there, at its turn.
    if (isPromise(answer)) return answer.then(() => ({ kind: 'again' }))
    if (answer.kind !== 'committed') return false
    this.#promptRun++
    this.init.attempts.collected(1)
    this.#settle(call, { kind: 'step_completed', seq: writer.head.seq, at: writer.lastAt, attempt }, value)
    return true
  }

  /** Answers at once where that is possible: a promise on the way costs a replayed entry 1 µs. */
  #atQuiescence(): MaybePromise<Next> {
    if (this.foreign !== undefined && this.isCaughtUp) return { kind: 'blocked', error: this.foreign }
    if (this.ended !== undefined && this.isCaughtUp) return this.#atTheEnd()
    const filled = this.init.cursor.fill()
    return isPromise(filled) ? filled.then(() => this.#fromHistory()) : this.#fromHistory()
  }

  #fromHistory(): MaybePromise<Next> {
    if (this.history.next() === undefined) return this.#atTheEnd()
    if (this.ended === undefined) return this.nextDelivery()
    // A typo that ends the function early is no other history: no restart because of it.
    const bug = bugOf(this)
    if (bug !== undefined) return { kind: 'blocked', error: bug }
    return this.history.skipLeftovers().then(() => this.#atTheEnd())
  }

  /** Everything that the journal holds was delivered. */
  #atTheEnd(): MaybePromise<Next> {
    const verdict = this.#window.verdict()
    if (verdict !== undefined) return verdict
    this.history.check()
    this.effects.history.check()
    this.init.live.patches.check(this)
    this.#isLive = true
    return this.init.live.step(this)
  }

  /** The delivery of the next entry, which opens a new window. At quiescence only. */
  nextDelivery(): MaybePromise<Next> {
    const entry = this.history.next() as Entry
    this.history.verify(entry)
    if (entry.blob) return fromPayload(this.init.store, entry).then((value) => this.#delivery(entry, value))
    return this.#delivery(entry, inlineValue(entry))
  }

  #delivery(entry: Entry, value: unknown): () => void {
    this.init.cursor.shift()
    return () => {
      if (entry.key === undefined) wind(this, this.init.live, entry, value as CancelPayload, undefined)
      else this.#settle(this.outstanding.get(entry.key) as Pending, entry, value)
    }
  }

  #settle(call: Pending, { kind, seq, at, attempt, grouped }: Pick<Entry, 'kind' | 'seq' | 'at' | 'attempt'> & { readonly grouped?: boolean }, value: unknown): void {
    this.outstanding.delete(call.key)
    this.init.live.events.delivered(grouped === true)
    this.now = at
    this.#window.open()
    if (call.effect !== undefined || call.step?.undo !== undefined) this.effects.history.delivered(call, kind, seq)
    if (kind === 'step_failed' || kind === 'effect_failed') {
      this.#remember(value)
      reject(call, value)
    } else if (kind === 'signal_received') {
      const sent = received(value)
      if (sent.isError !== true) return call.resolve(sent.value)
      this.#remember(sent.value)
      reject(call, sent.value)
    } else if (call.kind === 'once') call.resolve({ value, replayed: attempt === 0 })
    else call.resolve(kind === 'effect_noted' ? answerOf(value) : value)
  }

  /** Whether this error came out of a step, so that a TypeError in it is no bug of the workflow function (G22). */
  isDelivered(error: unknown): boolean {
    return typeof error === 'object' && error !== null && this.#delivered.has(error)
  }

  #remember(error: unknown): void {
    let at = error
    for (let depth = 0; depth < 8 && typeof at === 'object' && at !== null; depth++) {
      this.#delivered.add(at)
      at = (at as { cause?: unknown }).cause
    }
  }

  /** A cancel or deadline: outstanding calls reject in call order, in one delivery (G21). */
  rejectOutstanding(at: number, error: StepwellError): void {
    const calls = [...this.outstanding.values()].filter((call) => !call.isCleanup)
    for (const call of calls) this.outstanding.delete(call.key)
    this.init.live.events.delivered(false)
    this.now = at
    this.#window.open()
    this.abort.abort(error)
    for (const call of calls) reject(call, error)
  }
}

/** Nobody may await it for a while, or ever: that is no unhandled rejection (platform fact 130). Most calls never need this. */
function reject(call: Pending, error: unknown): void {
  call.promise?.then(undefined, ignore)
  call.reject(error)
}

function ignore(): void {}

/** To await it is one turn, as with any other value, and needs no new promise. */
const resolved: Promise<void> = Promise.resolve()
