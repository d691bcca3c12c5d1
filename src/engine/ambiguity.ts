// Nobody knows whether an effect happened: when that is so, and who decides it (G13): its policy, its probe, a person, or the outcome
// itself when it comes late. Each decision is an audit entry in the commit of what follows from it.

import { encode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { chainOf, readField } from '../error/data.ts'
import type { AskedEffect, Resolution } from '../journal/record.ts'
import type { Attempt, Outcome } from './attempt.ts'
import type { StepPart } from './call.ts'
import type { EffectPart } from './effect.ts'
import type { Effects } from './effects.ts'
import { addOutcome, type Group, hasRoom, nextSeq } from './group.ts'
import { readLedger } from './ledger.ts'
import type { Live } from './live.ts'
import { baseOf, named, opened, type OpenEffect, strange } from './open-effect.ts'
import type { Pass } from './pass.ts'
import { attemptLost, drawn, nextDelay } from './retry.ts'

export type Ambiguity = 'timeout' | 'abort' | 'transport' | 'marked' | 'lost'

/** How the runtimes word a request that broke: there is no code for it. Taken for known by mistake it could be paid twice. */
const brokenRequest = /^(fetch failed|failed to fetch|networkerror|load failed|network connection lost|network error|terminated|other side closed|internal error; reference)/i

/**
 * G13: why it is not known whether an effect that threw `error` has happened, or undefined when the throw means that it has not.
 * A mark (`ambiguous(error)`, or a field `ambiguous`) comes first, the nearest in the chain of causes; `false` makes it known.
 */
export function ambiguityOf(error: unknown): Ambiguity | undefined {
  const chain = chainOf(error)
  for (const each of chain) {
    const mark = readField(each, 'ambiguous')
    if (typeof mark === 'boolean') return mark ? 'marked' : undefined
  }
  for (const each of chain) {
    const name = readField(each, 'name')
    const code = readField(each, 'code')
    if (code === 'step_timeout') return 'timeout'
    if (name === 'AbortError' || name === 'TimeoutError') return 'abort'
    if (code === 'network' || readField(each, 'remote') === true || readField(each, 'overloaded') === true) return 'transport'
    // Another object was replaced under the call: by a deploy, by the platform, by its own `abort`.
    if (readField(each, 'durableObjectReset') === true) return 'transport'
    if (typeof code === 'string' && /^(E(CONN|PIPE|TIMEDOUT|HOSTUNREACH|NETUNREACH|AI_AGAIN)|UND_ERR_)/.test(code)) return 'transport'
    const message = readField(each, 'message')
    if (typeof message === 'string' && brokenRequest.test(message)) return 'transport'
  }
  return undefined
}

/** The payload of `effect_decided`: the audit of how an ambiguity ended. */
export interface Decided {
  /** The intent that it is about. */
  readonly intent: number
  readonly why: Ambiguity
  readonly policy: string
  readonly by: 'policy' | 'probe' | 'person' | 'late'
  readonly decision: 'happened' | 'did_not_happen' | 'rerun' | 'skip' | 'fail'
  readonly principal?: string
  /** Why the probe could not tell. */
  readonly error?: unknown
}


/** Decides what `effects` has open. */
export class Ambiguities {
  #pass: Pass
  #live: Live
  #effects: Effects
  #resolutions: { readonly number: number; readonly message: Resolution }[] = []

  constructor(pass: Pass, live: Live, effects: Effects) {
    this.#pass = pass
    this.#live = live
    this.#effects = effects
  }

  /** Something can be decided at once. */
  get isBusy(): boolean {
    return this.#resolutions.length > 0 || [...this.#effects.open.values()].some(({ phase }) => phase === 'ambiguous')
  }

  /** A person has decided. */
  resolve(number: number, message: Resolution): void {
    if (message.undo === true) this.#effects.undo.resolve(message)
    else this.#resolutions.push({ number, message })
  }

  /** What waits for a person. */
  asking(): readonly AskedEffect[] {
    return [...this.#effects.open.values()].filter(({ phase }) => phase === 'asking').map(({ call, intent, why, ledger }) => ({
      seq: intent.seq, key: call.key, kind: call.kind, why, intendedAt: intent.at, attempt: intent.attempt,
      idempotencyKey: this.#effects.intents.idempotencyKey(call, ledger.undos), input: shown(call.step?.input),
    }))
  }

  /** Adds to `group` what can be decided now. */
  async collect(group: Group, now: number): Promise<void> {
    // People first: what they were asked for counts, also where the code of today would not ask them.
    for (const { number, message } of this.#resolutions.splice(0)) await this.#byPerson(group, number, message, now)
    for (const open of this.#effects.open.values()) {
      if (!hasRoom(group, this.#live.state.limits)) break
      if (open.phase === 'ambiguous') await this.#decide(group, open, now)
    }
  }

  /** Something is decided about it in the group that is put together now: what an attempt of it reported late is for the next one. */
  isDecided({ base }: Attempt): boolean {
    return this.#effects.open.get(base as string)?.phase === 'decided'
  }

  /** G13: an outcome after the attempt's timeout, under the same authority. It is recorded, and delivered only if nothing was decided yet. */
  async late(group: Group, attempt: Attempt, outcome: Outcome): Promise<void> {
    const base = attempt.base as string
    const open = this.#effects.open.get(base)
    if (!outcome.ok && ambiguityOf(outcome.error) !== undefined) return
    if (open !== undefined) {
      const isLast = open.intent.attempt === attempt.number
      if (open.phase === 'running') {
        // Another attempt is under way, or this one's timeout was not written yet: known when that settles, whatever it says.
        if (outcome.ok || isLast) open.late = { attempt, outcome }
      } else if (isLast || outcome.ok) {
        this.#dropProbe(open)
        this.audit(group, open, { by: 'late', decision: outcome.ok ? 'happened' : 'did_not_happen' })
        if (outcome.ok) await this.#effects.outcomes.happened(group, open, outcome.value, attempt.number)
        else this.#effects.outcomes.failed(group, open, outcome.error, attempt.number, this.#live.state.host.now())
      }
      return
    }
    if (!outcome.ok) return
    const ledger = await readLedger(this.#live.state.store, base)
    if (ledger?.intent === undefined || ledger.status === 'done' || ledger.status === 'undone') return
    const asked = this.#effects.history.calls.get(attempt.key)
    const call = asked !== undefined && baseOf(asked) === base ? asked : strange(ledger, base)
    const known = opened(call, ledger.intent, ledger, 'ambiguous', 'timeout')
    if (this.#effects.isWanted(call)) {
      // It waits for its next attempt, which is not needed any more.
      this.#effects.withdraw(call)
      this.audit(group, known, { by: 'late', decision: 'happened' })
      return this.#effects.outcomes.happened(group, known, outcome.value, attempt.number)
    }
    // It was decided without it: known from now on, and undone with the rest.
    await this.#effects.outcomes.record(group, known, outcome.value, attempt.number)
  }

  async #decide(group: Group, open: OpenEffect, now: number): Promise<void> {
    const effect = open.call.effect as EffectPart
    switch (effect.policy) {
      case 'rerun':
        // Nobody waits: to call it again would do what nobody wants any more.
        if (!this.#effects.isWanted(open.call) || this.#isExhausted(open)) return this.#giveUp(group, open, 'policy')
        this.audit(group, open, { by: 'policy', decision: 'rerun' })
        return this.#effects.intents.intend(group, open.call, open.intent.attempt + 1, open.ledger, now)
      case 'skip': return this.#skip(group, open, 'policy', effect.fallback)
      case 'fail': return this.#giveUp(group, open, 'policy')
      case 'ask':
        open.phase = 'asking'
        return
      case 'probe': return this.#probe(open, now)
    }
  }

  #probe(open: OpenEffect, now: number): void {
    const { call } = open
    const step = call.step as StepPart
    // Of a pass that could not write what it was answered, or did not wait for it: two answers would be two outcomes.
    this.#dropProbe(open)
    open.phase = 'probing'
    open.probes++
    const run = (call.effect as EffectPart).probe as StepPart['run']
    this.#live.attempts.start(probeKey(call.key), { ...step, run, attempt: open.probes, undos: open.ledger.undos }, this.#live.incarnation, now, 'probe')
  }

  async probed(group: Group, attempt: Attempt, now: number): Promise<void> {
    const open = [...this.#effects.open.values()].find(({ call, phase }) => phase === 'probing' && probeKey(call.key) === attempt.key)
    if (open === undefined) return
    const { call, intent } = open
    const outcome = attempt.outcome as Outcome
    const answer = outcome.ok ? outcome.value : undefined
    if (typeof answer === 'object' && answer !== null && 'happened' in answer) {
      this.audit(group, open, { by: 'probe', decision: 'happened' })
      return this.#effects.outcomes.happened(group, open, (answer as { happened: unknown }).happened, intent.attempt)
    }
    if (answer === 'did-not-happen') {
      this.audit(group, open, { by: 'probe', decision: 'did_not_happen' })
      if (this.#effects.isWanted(call)) {
        // A crash is no fault of the other side. Anything else is a failure that is known now, and retried like one.
        return open.why === 'lost' && !this.#isExhausted(open) ? this.#effects.intents.intend(group, call, intent.attempt + 1, open.ledger, now)
          : this.#effects.outcomes.failed(group, open, open.why === 'lost' ? attemptLost() : open.error, intent.attempt, now)
      }
      this.#effects.outcomes.write(group, open, 'failed', undefined)
      this.#effects.outcomes.end(group, open)
      return
    }
    const error = outcome.ok
      ? answer === 'unknown' ? undefined : new StepwellError('invalid_argument', `the probe of effect ${call.key} answers { happened }, "did-not-happen" or "unknown"`)
      : outcome.error
    const delay = outcome.ok ? undefined : nextDelay((call.step as StepPart).retry, open.probes, outcome.error, drawn(this.#live.state.host))
    if (delay !== undefined) {
      // It only reads, so it may be repeated without a word in the journal.
      open.phase = 'waiting'
      call.due = now + delay
      this.#live.timed.add(call)
      return
    }
    open.error = error
    if ((call.effect as EffectPart).otherwise === 'fail') this.#giveUp(group, open, 'probe')
    else open.phase = 'asking'
  }

  /** Rejects, if somebody waits: nobody knows whether it happened, and it stays so in the ledger. */
  #giveUp(group: Group, open: OpenEffect, by: Decided['by'], principal?: string, reason?: string): void {
    const { call, why, error } = open
    this.audit(group, open, { by, decision: 'fail', ...(principal === undefined ? undefined : { principal }) })
    this.#effects.outcomes.write(group, open, 'ambiguous', undefined)
    const payload = encode(this.#effects.outcomes.safe(new StepwellError('effect_ambiguous',
      `effect "${call.key}": ${reason ?? `nobody knows whether it happened (${why})`}`, { cause: error, details: { key: call.key, why, seq: open.intent.seq } })))
    if (this.#effects.isWanted(call)) {
      addOutcome(group, { ...named(call), kind: 'effect_failed', calls: this.#pass.calls, attempt: open.intent.attempt, payload })
    }
    group.isStrict = true
    this.#effects.outcomes.end(group, open, payload)
  }

  async #skip(group: Group, open: OpenEffect, by: Decided['by'], value: unknown, principal?: string): Promise<void> {
    const { call } = open
    this.#effects.history.skipped.add(call.key)
    this.audit(group, open, { by, decision: 'skip', ...(principal === undefined ? undefined : { principal }) })
    if (this.#effects.isWanted(call)) {
      const draft = await this.#effects.outcomes.valueOf(group, call, value)
      if (draft instanceof StepwellError) throw draft
      this.#effects.outcomes.write(group, open, 'skipped', nextSeq(group, this.#live.state.writer))
      addOutcome(group, { ...named(call), kind: 'effect_completed', calls: this.#pass.calls, attempt: 0, ...draft })
    } else this.#effects.outcomes.write(group, open, 'ambiguous', undefined)
    group.isStrict = true
    this.#effects.outcomes.end(group, open)
  }

  async #byPerson(group: Group, number: number, message: Resolution, now: number): Promise<void> {
    const { principal } = message
    group.take.push(number)
    const open = [...this.#effects.open.values()].find(({ intent, phase }) => intent.seq === message.seq && phase !== 'running' && phase !== 'decided')
    if (open === undefined) {
      this.#live.state.host.log({ level: 'warn', runId: this.#live.state.store.runId, message: `a decision about entry ${message.seq} came when none was asked for` })
      return
    }
    this.#dropProbe(open)
    const who = principal === undefined ? {} : { principal }
    switch (message.decision) {
      case 'happened':
        this.audit(group, open, { by: 'person', decision: 'happened', ...who })
        return this.#effects.outcomes.happened(group, open, message.value, open.intent.attempt)
      case 'skip': return this.#skip(group, open, 'person', 'value' in message ? message.value : (open.call.effect as EffectPart).fallback, principal)
      case 'fail': return this.#giveUp(group, open, 'person', principal, 'a person decided that it failed')
      case 'rerun':
        if (!this.#effects.isWanted(open.call)) return this.#giveUp(group, open, 'person', principal)
        this.audit(group, open, { by: 'person', decision: 'rerun', ...who })
        return this.#effects.intents.intend(group, open.call, open.intent.attempt + 1, open.ledger, now)
    }
  }

  /** Every attempt counts, also one that its host did not survive: what kills each host that calls it must come to an end (G29). */
  #isExhausted({ call, error, intent }: OpenEffect): boolean {
    return nextDelay((call.step as StepPart).retry, this.#effects.history.tries(call, intent.attempt), error, 0) === undefined
  }

  #dropProbe({ call }: OpenEffect): void {
    this.#live.attempts.abandon(undefined, ({ role, key }) => role === 'probe' && key === probeKey(call.key))
  }

  audit(group: Group, open: OpenEffect, how: Pick<Decided, 'by' | 'decision' | 'principal'>): void {
    const { call, intent, why, error } = open
    const payload: Decided = {
      intent: intent.seq, why, policy: (call.effect as EffectPart).policy, ...how, ...(error === undefined ? undefined : { error: this.#effects.outcomes.safe(error) }),
    }
    const { decision: word, ...who } = how
    open.decision = { word, ...who }
    // Whatever else is there for it: another message, an answer of the probe, the policy.
    open.phase = 'decided'
    group.drafts.push({ ...named(call), kind: 'effect_decided', calls: this.#pass.calls, attempt: intent.attempt, payload: encode(payload) })
    group.isStrict = true
  }
}

const probeKey = (key: string): string => `probe of ${key}`

/** What a person needs to decide, and not a megabyte of it. */
function shown(input: unknown): unknown {
  if (input === undefined) return undefined
  try {
    return encode(input).length <= 4096 ? input : '(larger than 4 KiB)'
  } catch {
    return undefined
  }
}
