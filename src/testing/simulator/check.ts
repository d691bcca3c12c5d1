// What must hold whatever fails: the guarantees, each as a check on what was committed, called and done outside.

import type { Call } from '../../context.ts'
import type { RunEvent } from '../../client.ts'
import { decode } from '../../codec.ts'
import type { Decided } from '../../engine/ambiguity.ts'
import type { IntentPayload } from '../../engine/effect-intent.ts'
import { deferredChannel } from '../../engine/deferred.ts'
import { type Sent, signalChannel } from '../../engine/signal.ts'
import type { Range } from '../../journal/cursor.ts'
import { decodeEntry, type Entry, GENESIS, isTerminal } from '../../journal/entry.ts'
import type { Batch } from '../../store/store.ts'
import type { Outside } from './outside.ts'
import { type Answer, type Note, SIGNAL } from './program.ts'
import type { Settled } from './script.ts'
import type { Actor } from './world.ts'

interface Intent {
  readonly seq: number
  readonly startBy: number
}

/** What is on the disk of one run, as the checks need it: rebuilt when a part of it is lost. */
class History {
  entries: Entry[] = []
  /** By generation and key. */
  readonly outcomes = new Map<string, number>()
  /** What calls have an outcome, by the last word of their keys, in any generation; all of them once the run is wound up. */
  readonly settled = new Set<string>()
  readonly due = new Map<string, number>()
  /** Without an outcome yet, by idempotency key. */
  readonly open = new Map<string, Intent>()
  /** By idempotency key. */
  readonly policies = new Map<string, string>()
  /** Events so far. */
  events = 0
  /** What the function has told, by generation. */
  readonly told = new Set<string>()
  /** By call: its idempotency key. */
  readonly keys = new Map<string, string>()
}

export class Checks {
  /** The first thing that did not hold. */
  violation: string | undefined
  commits = 0
  readonly #runs = new Map<string, History>()
  /** How often a function was called, by idempotency key. Never forgotten: what is done is done. */
  readonly #called = new Map<string, number>()
  readonly #intended = new Map<string, number>()
  readonly #steps = new Map<string, string>()

  fail(what: string): void {
    this.violation ??= what
  }

  entries(runId: string): readonly Entry[] {
    return this.#runs.get(runId)?.entries ?? []
  }

  committed(runId: string, batch: Batch, by: Actor): void {
    if (batch.entries !== undefined) this.commits++
    for (const { seq, bytes } of batch.entries ?? []) {
      const history = this.#history(runId)
      const last = history.entries.at(-1)
      if (seq !== (last?.seq ?? 0) + 1) return this.fail(`G3: entry ${seq} of ${runId} follows entry ${last?.seq ?? 0}`)
      let entry: Entry
      try {
        entry = decodeEntry(seq, bytes, last?.hash ?? GENESIS)
      } catch (error) {
        return this.fail(`G4: entry ${seq} of ${runId} breaks the chain: ${String(error)}`)
      }
      if (entry.host !== by.name) this.fail(`entry ${seq} of ${runId} names the host ${entry.host} and was written by ${by.label}`)
      if (last !== undefined && entry.at < last.at) this.fail(`G11: entry ${seq} of ${runId} is older than the one before it`)
      if (last !== undefined && isTerminal(last.kind) && entry.kind !== 'generation_started') this.fail(`${entry.kind} of ${runId} follows ${last.kind}`)
      if (entry.kind === 'timer_fired' && entry.at < (entry.due ?? 0)) this.fail(`G19: ${entry.key} of ${runId} fired ${(entry.due ?? 0) - entry.at} ms early`)
      this.#add(history, entry)
      if (entry.kind === 'effect_intended') this.#count((decode(entry.payload) as IntentPayload).idempotencyKey)
      if (entry.kind === 'undo_intended') this.#count(`undo ${runId} ${entry.key}`)
    }
  }

  #count(what: string): void {
    this.#intended.set(what, (this.#intended.get(what) ?? 0) + 1)
  }

  lost(runId: string, entries: number | undefined): void {
    const before = this.#runs.get(runId)
    this.#runs.delete(runId)
    if (entries === undefined || before === undefined) return
    const history = this.#history(runId)
    for (const entry of before.entries.slice(0, entries)) this.#add(history, entry)
  }

  /** `durable`: entries of the run that would survive the loss of power now. */
  executed(by: Actor, call: Call<{}, 'any', unknown>, role: 'step' | 'effect' | 'undo' | 'probe', durable: number): void {
    if (by.isDying) return
    if (by.isDead) return this.fail(`${role} ${call.key} was called by ${by.label}, which is dead`)
    const history = this.#history(call.runId)
    const { idempotencyKey: id, key } = call
    if (role === 'probe') return
    if (role === 'step') {
      const generation = history.entries.at(-1)?.generation ?? 1
      // A frozen host may thaw in the middle of a step that another has finished: at least once.
      if (history.outcomes.has(`${generation} ${key}`) && !by.wasFrozen) this.fail(`G2: step ${key} of ${call.runId} was called after its outcome was committed`)
      const other = this.#steps.get(id)
      if (other !== undefined && other !== key) this.fail(`G15: the steps ${other} and ${key} of ${call.runId} have one idempotency key`)
      this.#steps.set(id, key)
      return
    }
    // Intents of undos name what they take back, and no idempotency key.
    const what = role === 'undo' ? `undo ${call.runId} ${key.replace(/^undo of /, '')}` : id
    const called = (this.#called.get(what) ?? 0) + 1
    const intended = this.#intended.get(what) ?? 0
    this.#called.set(what, called)
    if (called > intended) return this.fail(`G12: ${role} ${key} of ${call.runId} was called ${called} times and intended ${intended} times`)
    if (role !== 'effect') return
    const intent = history.open.get(id)
    // Whoever was frozen may come late, but not later than `startBy`: until then the intent is not decided.
    if (intent === undefined) return this.fail(`G12: effect ${key} of ${call.runId} was called by ${by.label} without an open intent`)
    if (intent.seq > durable) this.fail(`G12: effect ${key} of ${call.runId} was called before its intent was durable`)
    if (by.now() > intent.startBy) this.fail(`G12: effect ${key} of ${call.runId} was called ${by.now() - intent.startBy} ms after startBy`)
  }

  /** The function of a run has got the outcome of a call for `item`. */
  seen(runId: string, item: string): void {
    const { settled } = this.#history(runId)
    if (!settled.has(item)) this.fail(`G2: the function of ${runId} has seen what became of ${item}, and no entry says it`)
  }

  /** What was done outside, of this run. `isExact`: no clock was moved forward while a request was on its way. */
  outside(runId: string, outside: Outside, isExact: boolean): void {
    const history = this.#history(runId)
    const done = new Map<string, number>()
    for (const { act, request } of outside.happened) if (act === 'do' && request.runId === runId) done.set(request.key, (done.get(request.key) ?? 0) + 1)
    for (const [key, policy] of history.policies) {
      const times = done.get(key) ?? 0
      if (times > 1 && policy !== 'rerun' && isExact) this.fail(`G13: an effect of ${runId} with policy ${policy} happened ${times} times`)
    }
    // What nothing reaches any more has no fingerprint, and is taken back by hand, in any order.
    const undone = history.entries.filter(({ kind, fingerprint }) => kind === 'undo_completed' && fingerprint?.some((byte) => byte !== 0) === true)
    for (let i = 1; i < undone.length; i++) {
      const [before, after] = [undone[i - 1] as Entry, undone[i] as Entry]
      if (before.generation !== after.generation) continue
      const [first, second] = [before, after].map(({ key, seq }) => history.entries.findLast((entry) => entry.seq < seq && entry.key === key && completes(entry.kind))?.seq ?? 0) as [number, number]
      // What was recorded when the other was being taken back already, because an attempt reported late, has its turn behind it.
      const chosen = history.entries.findLast((entry) => entry.kind === 'undo_intended' && entry.seq < before.seq && entry.key === before.key)?.seq ?? before.seq
      if (first < second && second < chosen) this.fail(`G21: ${before.key} of ${runId} was undone before ${after.key}, which completed after it`)
    }
  }

  /**
   * Every signal that was acknowledged was taken in this history, or is there to be taken: once, and in the order of their numbers (G17).
   * `left`: the numbers of those that are there.
   */
  signals(runId: string, history: readonly Range[], acknowledged: readonly { readonly note: number; readonly seq: number }[], left: readonly number[]): void {
    const taken = this.#taken(runId, history).filter(({ channel }) => channel === signalChannel(SIGNAL))
    for (let i = 1; i < taken.length; i++) {
      const [before, after] = [taken[i - 1] as Sent, taken[i] as Sent]
      if (after.number <= before.number) this.fail(`G17: signal ${after.number} of ${runId} was taken behind signal ${before.number}`)
    }
    for (const { note, seq } of acknowledged) {
      const found = taken.find(({ number }) => number === seq)
      if (found === undefined && !left.includes(seq)) this.fail(`G17: signal ${seq} of ${runId} was acknowledged, and is gone`)
      if (found !== undefined && left.includes(seq)) this.fail(`G17: signal ${seq} of ${runId} was taken, and is there once more`)
      if (found !== undefined && (found.value as Note).note !== note) this.fail(`G17: signal ${seq} of ${runId} is another one than was sent`)
    }
    const numbers = acknowledged.map(({ seq }) => seq)
    if (new Set(numbers).size < numbers.length) this.fail(`G17: two signals to ${runId} got one number: ${numbers.join(', ')}`)
    const notes = taken.map(({ value }) => (value as Note).note)
    if (new Set(notes).size < notes.length) this.fail(`G17: a signal to ${runId} was taken twice: ${notes.join(', ')}`)
  }

  /**
   * Each deferred has one settlement, of those that were acknowledged, and the function was given that one, or it is there to be given: once, and as
   * it was said (G20).
   */
  settlements(runId: string, history: readonly Range[], acknowledged: readonly Settled[], left: readonly number[]): void {
    for (const { id, seq, answer } of acknowledged) {
      const other = acknowledged.find((each) => each.id === id && (each.seq !== seq || each.answer.mail !== answer.mail))
      if (other !== undefined) this.fail(`G20: deferred ${id} of ${runId} was settled twice: ${JSON.stringify([answer, other.answer])}`)
      const [taken, again] = this.#taken(runId, history).filter(({ channel }) => channel === deferredChannel(id))
      if (again !== undefined) this.fail(`G20: the function of ${runId} was given deferred ${id} twice`)
      if ((taken === undefined) !== left.includes(seq)) this.fail(`G20: settlement ${seq} of ${runId}, for ${id}, was acknowledged, and is ${taken === undefined ? 'gone' : 'there once more'}`)
      if (taken === undefined) continue
      const given = (taken.isError === true ? JSON.parse((taken.value as Error).message) : taken.value) as Answer
      if (taken.number !== seq || given.mail !== answer.mail || given.item !== answer.item) this.fail(`G20: deferred ${id} of ${runId} was settled by ${JSON.stringify(answer)}, and the function was given ${JSON.stringify(taken)}`)
    }
  }

  /** What the function was given of what was sent to it. */
  #taken(runId: string, history: readonly Range[]): readonly Sent[] {
    return this.entries(runId).filter(({ kind, seq }) => kind === 'signal_received' && history.some(({ from, to }) => from <= seq && seq <= to))
      .map(({ payload }) => decode(payload) as Sent)
  }

  #history(runId: string): History {
    let history = this.#runs.get(runId)
    if (history === undefined) this.#runs.set(runId, history = new History())
    return history
  }

  #event(history: History, { generation, payload, seq }: Entry): void {
    const { number, data, key } = decode(payload) as Omit<RunEvent, 'at'>
    if (number !== ++history.events) this.fail(`G18: entry ${seq} is event ${number}, and ${history.events - 1} came before it`)
    if (key !== undefined) {
      if (history.outcomes.has(`${generation} ${key}`)) this.fail(`G18: event ${number} of ${key} comes behind its outcome`)
      return
    }
    const what = `${generation} ${String(data)}`
    if (history.told.has(what)) this.fail(`G18: event ${number} was told before in generation ${generation}`)
    history.told.add(what)
  }

  #add(history: History, entry: Entry): void {
    history.entries.push(entry)
    const { kind, key, generation, seq } = entry
    if (kind === 'effect_decided') {
      const { intent } = decode(entry.payload) as Decided
      for (const [id, open] of history.open) if (open.seq === intent) history.open.delete(id)
      return
    }
    if (kind === 'event_emitted') return this.#event(history, entry)
    if (key === undefined) return
    const call = `${generation} ${key}`
    switch (kind) {
      case 'timer_set': history.due.set(call, entry.due as number); break
      case 'signal_received':
        if (history.outcomes.has(call)) this.fail(`G2: ${key} has two outcomes in generation ${generation}: entries ${history.outcomes.get(call)} and ${seq}`)
        history.outcomes.set(call, seq)
        break
      case 'step_completed': case 'step_failed': case 'timer_fired': case 'effect_completed': case 'effect_failed':
        if (history.outcomes.has(call)) this.fail(`G2: ${key} has two outcomes in generation ${generation}: entries ${history.outcomes.get(call)} and ${seq}`)
        history.outcomes.set(call, seq)
        history.settled.add(key.slice(key.lastIndexOf(' ') + 1))
        if (kind === 'timer_fired' && history.due.has(call) && history.due.get(call) !== entry.due) this.fail(`G19: ${key} fired by another time than the one that was stored`)
        history.open.delete(history.keys.get(key) ?? '')
        break
      case 'effect_intended': {
        const { idempotencyKey, startBy, policy } = decode(entry.payload) as IntentPayload
        const open = history.open.get(idempotencyKey)
        if (open !== undefined) this.fail(`G13: ${key} was intended again in entry ${seq}, and nothing was decided about entry ${open.seq}`)
        history.open.set(idempotencyKey, { seq, startBy })
        history.policies.set(idempotencyKey, policy)
        history.keys.set(key, idempotencyKey)
        break
      }
      case 'effect_not_called': case 'effect_attempt_failed': case 'effect_recorded':
        history.open.delete(history.keys.get(key) ?? '')
        break
      default: break
    }
  }
}

const completes = (kind: Entry['kind']): boolean => kind === 'step_completed' || kind === 'effect_completed' || kind === 'effect_recorded'
