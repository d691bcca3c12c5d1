// When the workflow function may call (G30): in the turns after a delivery, until the engine's tasks are at rest. A call in between may
// also come out of a step's function that has begun there; nothing tells the two apart at that moment, so the next pass decides.

import { StepwellError } from '../errors.ts'
import type { Attempts } from './attempt.ts'
import type { PassEnd } from './pass.ts'

export class DeliveryWindow {
  /** A call, or the function's end, came from outside. */
  foreign: StepwellError | undefined
  /** A call was made that may have come from inside a step: nothing of this pass may be committed. */
  isSuspect = false
  readonly #attempts: Attempts
  readonly #mustAsk: ReadonlySet<string>
  readonly #suspects = new Set<string>()
  /** What was asked for, as long as something must be. */
  #asked: Set<string> | undefined
  #isOpen = false
  /** Step functions were started in this window: a call made now may come from one of them. */
  #hasStarted = false

  constructor(attempts: Attempts, mustAsk: ReadonlySet<string>) {
    this.#attempts = attempts
    this.#mustAsk = mustAsk
    if (mustAsk.size > 0) this.#asked = new Set()
  }

  /** Something is delivered now. */
  open(): void {
    this.#isOpen = true
    this.#hasStarted = false
  }

  close(): void {
    this.#isOpen = false
  }

  /** Step functions have begun. */
  started(): void {
    if (this.#isOpen) this.#hasStarted = true
  }

  /** The error of a call that user code may not make now. `kind` and `name` say which call it is to the one who must find it. */
  refusal(kind: string, name: unknown): StepwellError | undefined {
    if (this.#isOpen && !this.#attempts.isInFunction) {
      // The asynchronous part of a step's function that began a few turns ago, or a plain chain of as many links? Nothing tells
      // them apart here, so this pass is dropped and the next one decides: there the step is not called again, and a call that
      // the workflow function itself makes comes again.
      if (this.#hasStarted) this.isSuspect = true
      return undefined
    }
    const what = name === undefined ? kind : `${kind} "${String(name)}"`
    const error = this.#attempts.isInFunction ? calledInStep(what) : new StepwellError('foreign_await',
      `${what} was called after the workflow function awaited something that is neither a ctx call nor a plain promise, or from inside a step: ` +
      'await such things in a step, and do not use ctx in a step', { details: { call: what } })
    this.foreign ??= error
    return error
  }

  /** This call was made, and not refused. */
  asked(key: string): void {
    if (this.isSuspect) this.#suspects.add(key)
    this.#asked?.add(key)
  }

  /** The workflow function has returned or thrown. */
  ended(): void {
    if (this.#isOpen) return
    this.foreign ??= new StepwellError('foreign_await',
      'the workflow function ended after it awaited something that is neither a ctx call nor a plain promise: put that into a step', {
        details: { call: 'return' },
      })
  }

  /** When all of history was delivered: why the pass must not go on, if it must not. */
  verdict(): PassEnd | undefined {
    if (this.isSuspect) return { kind: 'again', mustAsk: this.#suspects }
    if (this.#asked === undefined) return undefined
    for (const key of this.#mustAsk) {
      if (!this.#asked.has(key)) return { kind: 'blocked', error: calledInStep(`the call "${key}"`) }
    }
    this.#asked = undefined
    return undefined
  }
}

function calledInStep(what: string): StepwellError {
  return new StepwellError('foreign_await',
    `${what} was made from inside a step's function: a step's function gets its own call object, and ctx is not for it`, { details: { call: what } })
}
