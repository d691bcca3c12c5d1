// Calls to run objects: a fresh stub for every attempt, what may be repeated is repeated, and what failed is a typed error.

import type { CancelOutcome, ControlOutcome, ControlRequest, EffectPage, EventPage, JournalPage, PageOptions, SignalOutcome, StartOptions } from '../src/client.ts'
import type { Standing } from '../src/client/handle.ts'
import { decode, encode } from '../src/codec.ts'
import type { SignalRequest } from '../src/engine/send.ts'
import { isStepwellError, StepwellError } from '../src/errors.ts'
import type { RunSummary } from '../src/journal/summary.ts'
import type { RowWrite } from '../src/store/store.ts'
import { type RunNamespace, stubOf, type Where } from './namespace.ts'
import { type Answer, type CancelRequest, fromTransfer, PROTOCOL, type RunRpc, type SettleRequest, type StartAnswer, toTransfer, unwrap } from './rpc.ts'

const ATTEMPTS = 5
const DELAY_MS = 40

/** One run, at its object. Every method may be repeated, so a call that may have been lost is. */
export class RunCaller {
  readonly id: string
  readonly #namespace: () => RunNamespace
  readonly #where: Where

  constructor(namespace: () => RunNamespace, id: string, where: Where) {
    this.#namespace = namespace
    this.id = id
    this.#where = where
  }

  async start(workflow: string, input: unknown, options: StartOptions): Promise<StartAnswer> {
    const { tags, metadata, delay, token } = options
    const request = encode({ workflow, input, options: defined({ id: this.id, token, tags, metadata, delay }) })
    return this.#call((run) => run.start(PROTOCOL, toTransfer(request)))
  }

  async summary(): Promise<RunSummary> {
    return decode(await fromTransfer(await this.#call((run) => run.summary(PROTOCOL)))) as RunSummary
  }

  async result(waitMs: number): Promise<Standing> {
    const { status, outcome } = await this.#call((run) => run.result(PROTOCOL, waitMs))
    return { status, ...(outcome === undefined ? undefined : decode(await fromTransfer(outcome)) as object) }
  }

  cancel(request: CancelRequest): Promise<CancelOutcome> {
    return this.#call((run) => run.cancel(PROTOCOL, request))
  }

  control(request: ControlRequest, principal?: string): Promise<ControlOutcome> {
    const bytes = encode({ request, principal })
    return this.#call((run) => run.control(PROTOCOL, toTransfer(bytes)))
  }

  signal(request: SignalRequest, principal?: string): Promise<SignalOutcome> {
    const bytes = encode({ request, principal })
    return this.#call((run) => run.signal(PROTOCOL, toTransfer(bytes)))
  }

  clearSignals(name: string): Promise<{ readonly cleared: number }> {
    return this.#call((run) => run.clearSignals(PROTOCOL, name))
  }

  settle(request: SettleRequest): Promise<SignalOutcome> {
    const bytes = encode(request)
    return this.#call((run) => run.settle(PROTOCOL, toTransfer(bytes)))
  }

  async effects(options: PageOptions): Promise<EffectPage> {
    return decode(await fromTransfer(await this.#call((run) => run.effects(PROTOCOL, options)))) as EffectPage
  }

  async events(options: PageOptions, waitMs: number): Promise<EventPage> {
    return decode(await fromTransfer(await this.#call((run) => run.events(PROTOCOL, options, waitMs)))) as EventPage
  }

  async journal(options: PageOptions & { readonly reveal?: boolean }): Promise<JournalPage> {
    return decode(await fromTransfer(await this.#call((run) => run.journal(PROTOCOL, options)))) as JournalPage
  }

  exportRun(): Promise<ReadableStream<Uint8Array>> {
    return this.#call((run) => run.exportRun(PROTOCOL))
  }

  async putBlob(rows: readonly RowWrite[]): Promise<void> {
    await this.#call((run) => run.putBlob(PROTOCOL, rows))
  }

  async #call<T>(run: (stub: RunRpc) => Promise<Answer<T>>): Promise<T> {
    const namespace = this.#namespace()
    for (let attempt = 1; ; attempt++) {
      const stub = stubOf(namespace, this.id, this.#where)
      try {
        return unwrap(await run(stub))
      } catch (error) {
        if (isStepwellError(error)) throw error
        const { retryable, overloaded, durableObjectReset } = error as { readonly retryable?: unknown; readonly overloaded?: unknown; readonly durableObjectReset?: unknown }
        // An object that was replaced during the call is there again at once, and knows all that it had answered.
        if ((retryable !== true && durableObjectReset !== true) || overloaded === true || attempt === ATTEMPTS) throw translate(error, this.id)
      }
      await new Promise((resolve) => setTimeout(resolve, DELAY_MS * 2 ** attempt * (0.5 + Math.random())))
    }
  }
}

/**
 * What the platform throws, by its flags (platform fact 49); the object's own errors are data and never thrown. Its text may hold
 * anything and stays the cause.
 */
function translate(cause: unknown, id: string): StepwellError {
  const { overloaded } = cause as { readonly overloaded?: unknown }
  if (overloaded === true) return new StepwellError('overloaded', `run ${id}: its object has more requests than it can serve`, { cause })
  // A call that can't be made at all: an argument that can't be sent, a method that the object lacks.
  if (cause instanceof TypeError || (cause instanceof Error && cause.name === 'DataCloneError')) {
    return new StepwellError('internal', `run ${id}: the call to its object could not be made`, { cause })
  }
  return new StepwellError('network', `run ${id}: its object could not be reached, or was reset during the call`, { cause })
}

function defined<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>
}
