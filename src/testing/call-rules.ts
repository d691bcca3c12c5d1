// What must hold of every run, however often it was killed: the journal only grew, and no function was called more often than what was
// committed before allows. Told of each entry as it is committed and of each call as it is made.

import type { Decided } from '../engine/ambiguity.ts'
import type { IntentPayload } from '../engine/effect-intent.ts'
import { decode } from '../codec.ts'
import { type Entry, isTerminal } from '../journal/entry.ts'
import type { Role } from './watch.ts'

/** One call of a function that a ctx call brought. */
export interface Execution {
  readonly role: Role
  /** The key of the ctx call, also for its probe and its undo. */
  readonly key: string
  readonly attempt: number
  readonly idempotencyKey: string
  readonly generation: number
  readonly process: number
}

/** One act of the outside world, by its idempotency key. */
interface Act {
  intents: number
  calls: number
  /** Known failures and decisions to call it again. */
  granted: number
  isDone: boolean
}

export class CallRules {
  readonly entries: Entry[] = []
  readonly executions: Execution[] = []
  /** The first that was broken. */
  violation: Error | undefined
  /** Outcomes, by generation and key. */
  readonly #outcomes = new Set<string>()
  readonly #failed = new Set<string>()
  readonly #keys = new Map<string, string>()
  readonly #acts = new Map<string, Act>()
  /** The idempotency key of an effect's last intent, by generation and key. */
  readonly #actOf = new Map<string, string>()
  readonly #undos = new Map<string, Act>()

  #fail(what: string): void {
    this.violation ??= new Error(what)
  }

  committed(entry: Entry): void {
    const last = this.entries.at(-1)
    const { seq, kind, key, generation, attempt, at, payload } = entry
    if (last !== undefined && isTerminal(last.kind) && kind !== 'generation_started') this.#fail(`${kind} was committed after ${last.kind}`)
    if (last !== undefined && at < last.at) this.#fail(`entry ${seq} is older than the one before it`)
    this.entries.push(entry)
    if (key === undefined) return
    const call = `${generation} ${key}`
    switch (kind) {
      case 'attempt_failed':
        if (this.#failed.has(`${call} ${attempt}`)) this.#fail(`attempt ${attempt} of ${key} was recorded twice`)
        this.#failed.add(`${call} ${attempt}`)
        return
      case 'step_completed': case 'step_failed': case 'timer_fired': case 'effect_completed': case 'effect_failed':
        if (this.#outcomes.has(call)) this.#fail(`${key} has two outcomes`)
        this.#outcomes.add(call)
        break
      default:
    }
    switch (kind) {
      case 'effect_intended': {
        const { idempotencyKey } = decode(payload) as IntentPayload
        this.#actOf.set(call, idempotencyKey)
        this.#act(this.#acts, idempotencyKey).intents++
        return
      }
      case 'effect_attempt_failed': case 'effect_failed':
        this.#grant(generation, key)
        return
      case 'effect_decided': {
        const { decision } = decode(payload) as Decided
        if (decision === 'rerun' || decision === 'did_not_happen') this.#grant(generation, key)
        return
      }
      case 'effect_completed': {
        const act = this.#actOf.get(call)
        if (act !== undefined) this.#act(this.#acts, act).isDone = true
        return
      }
      case 'undo_intended':
        this.#act(this.#undos, call).intents++
        return
      case 'undo_completed':
        this.#act(this.#undos, call).isDone = true
        return
      default:
    }
  }

  #act(acts: Map<string, Act>, name: string): Act {
    let act = acts.get(name)
    if (act === undefined) acts.set(name, act = { intents: 0, calls: 0, granted: 1, isDone: false })
    return act
  }

  /** The intent that it is about may be of an earlier generation. */
  #grant(generation: number, key: string): void {
    for (let of = generation; of > 0; of--) {
      const act = this.#actOf.get(`${of} ${key}`)
      if (act === undefined) continue
      this.#act(this.#acts, act).granted++
      return
    }
  }

  executed(execution: Execution): void {
    this.executions.push(execution)
    const { role, key, attempt, generation, idempotencyKey } = execution
    const call = `${generation} ${key}`
    switch (role) {
      case 'step': {
        if (this.#outcomes.has(call)) this.#fail(`${key} was called after its outcome was committed`)
        if (this.#failed.has(`${call} ${attempt}`)) this.#fail(`attempt ${attempt} of ${key} was called after its failure was committed`)
        const known = this.#keys.get(call)
        if (known !== undefined && known !== idempotencyKey) this.#fail(`${key} has two idempotency keys`)
        this.#keys.set(call, idempotencyKey)
        return
      }
      case 'effect': case 'once': {
        const act = this.#act(this.#acts, idempotencyKey)
        act.calls++
        if (act.isDone) this.#fail(`effect ${key} was called after its outcome was committed`)
        if (act.calls > act.intents) this.#fail(`effect ${key} was called ${act.calls} times with ${act.intents} intents under this idempotency key`)
        if (act.calls > act.granted) this.#fail(`effect ${key} was called ${act.calls} times: no known failure and no decision allows the last`)
        return
      }
      case 'probe': {
        const act = this.#acts.get(idempotencyKey)
        if (act === undefined || act.intents === 0) this.#fail(`the probe of ${key} was called, and there is no intent under its idempotency key`)
        if (act?.isDone === true) this.#fail(`the probe of ${key} was called after the outcome was committed`)
        return
      }
      case 'undo': {
        const act = this.#act(this.#undos, call)
        act.calls++
        if (act.isDone) this.#fail(`the undo of ${key} was called after it was committed as done`)
        if (act.calls > act.intents) this.#fail(`the undo of ${key} was called ${act.calls} times with ${act.intents} intents`)
      }
    }
  }

  /** At least once: each attempt at a step may be called once more for each process that died, and never by one process twice. */
  ended(crashes: number): void {
    const byAttempt = new Map<string, Execution[]>()
    for (const execution of this.executions) {
      if (execution.role !== 'step') continue
      const id = `${execution.generation} ${execution.key} ${execution.attempt}`
      byAttempt.set(id, [...(byAttempt.get(id) ?? []), execution])
    }
    for (const calls of byAttempt.values()) {
      const [{ key, attempt }] = calls as [Execution]
      if (calls.length > 1 + crashes) this.#fail(`attempt ${attempt} of ${key} was called ${calls.length} times with ${crashes} crashes`)
      if (new Set(calls.map(({ process }) => process)).size < calls.length) this.#fail(`attempt ${attempt} of ${key} was called twice by one process`)
    }
    for (let generation = 1; ; generation++) {
      const keys = [...this.#keys].filter(([call]) => call.startsWith(`${generation} `)).map(([, key]) => key)
      if (keys.length === 0) break
      if (new Set(keys).size < keys.length) this.#fail('two steps have one idempotency key')
    }
  }
}
