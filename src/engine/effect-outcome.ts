// What became of an attempt at an effect, put into a commit: it happened, it failed, or nobody knows. With it goes its row of the ledger.

import { encode } from '../codec.ts'
import { redactError, StepwellError } from '../errors.ts'
import { readField } from '../error/data.ts'
import type { Draft } from '../journal/writer.ts'
import { ambiguityOf } from './ambiguity.ts'
import type { Attempt, Outcome } from './attempt.ts'
import type { Pending, StepPart } from './call.ts'
import type { Effects } from './effects.ts'
import { addOutcome, type Group, nextSeq } from './group.ts'
import { type EffectStatus, ledgerWrite, type LedgerRow, readLedger } from './ledger.ts'
import type { Live } from './live.ts'
import { baseOf, named, opened, type OpenEffect, strange } from './open-effect.ts'
import { describe, encodeInline, offload } from './outcome.ts'
import type { Pass } from './pass.ts'
import { drawn, nextDelay } from './retry.ts'

export class EffectOutcomes {
  #pass: Pass
  #live: Live
  #effects: Effects

  constructor(pass: Pass, live: Live, effects: Effects) {
    this.#pass = pass
    this.#live = live
    this.#effects = effects
  }

  /** An attempt at an effect, or a probe, has settled. */
  async settled(group: Group, attempt: Attempt, now: number): Promise<void> {
    if (attempt.role === 'probe') return this.#effects.ambiguities.probed(group, attempt, now)
    const open = this.#effects.open.get(attempt.base as string) ?? await this.#orphan(attempt)
    if (open === undefined) return
    const outcome = attempt.outcome as Outcome
    if (outcome.ok) {
      if (attempt.staged !== undefined) group.rows.push(...attempt.staged.rows)
      return this.happened(group, open, outcome.value, attempt.number)
    }
    if (open.late !== undefined) {
      const { attempt: { number }, outcome: known } = open.late
      this.#effects.ambiguities.audit(group, open, { by: 'late', decision: known.ok ? 'happened' : 'did_not_happen' })
      return known.ok ? this.happened(group, open, known.value, number) : this.failed(group, open, known.error, number, now)
    }
    const why = ambiguityOf(outcome.error)
    if (why === undefined) return this.failed(group, open, outcome.error, attempt.number, now)
    this.#ambiguous(group, open, why, outcome.error, attempt.number, now)
  }

  async happened(group: Group, open: OpenEffect, value: unknown, attempt: number): Promise<void> {
    if (!this.#effects.isWanted(open.call)) return this.record(group, open, value, attempt)
    const { call } = open
    const draft = await this.valueOf(group, call, value)
    const common = { ...named(call), calls: this.#pass.calls, attempt }
    this.write(group, open, 'done', nextSeq(group, this.#live.state.writer))
    // It did happen, so it must not happen again, also if its value is lost.
    if (draft instanceof StepwellError) addOutcome(group, { ...common, kind: 'effect_failed', payload: encode(this.safe(draft)) })
    else addOutcome(group, { ...common, kind: 'effect_completed', ...draft })
    group.isStrict = true
    this.end(group, open)
  }

  /** Its value for the record alone: nobody waits for it any more. */
  async record(group: Group, open: OpenEffect, value: unknown, attempt: number): Promise<void> {
    const { call } = open
    const draft = await this.valueOf(group, call, value)
    const seq = nextSeq(group, this.#live.state.writer)
    this.write(group, open, 'done', seq)
    group.drafts.push({
      ...named(call), kind: 'effect_recorded', calls: this.#pass.calls, attempt,
      ...(draft instanceof StepwellError ? { payload: encode(undefined) } : draft),
    })
    group.isStrict = true
    group.after.push(() => this.#effects.undo.add(call, seq))
    this.end(group, open)
  }

  failed(group: Group, open: OpenEffect, error: unknown, attempt: number, now: number): void {
    const { call } = open
    const step = call.step as StepPart
    const isWanted = this.#effects.isWanted(call)
    const delay = isWanted ? this.#delay(call, attempt, error) : undefined
    const seq = nextSeq(group, this.#live.state.writer)
    group.isStrict = true
    if (isWanted && delay === undefined) {
      const attempts = attempt === 1 ? '' : ` after ${attempt} attempts`
      this.write(group, open, 'failed', seq)
      const payload = encode(this.safe(new StepwellError('effect_failed',
        `effect "${call.key}" failed${attempts}: ${describe(error)}`, { cause: error, details: { key: call.key, attempts: attempt } })))
      addOutcome(group, { ...named(call), kind: 'effect_failed', calls: this.#pass.calls, attempt, payload })
      this.end(group, open, payload)
      return
    }
    const due = delay === undefined ? undefined : now + delay
    this.write(group, open, 'failed', undefined)
    group.drafts.push({
      ...named(call), kind: 'effect_attempt_failed', calls: this.#pass.calls, attempt, payload: encode(this.safe(error)),
      ...(due === undefined ? undefined : { due }),
    })
    group.after.push(() => {
      const { history, open: all } = this.#effects
      if (call.step !== undefined) history.stands(call, { seq, phase: 'failed', attempt: attempt + 1, due, intent: open.intent })
      all.delete(baseOf(call))
      if (due === undefined) {
        this.#effects.release(baseOf(call))
        return
      }
      step.attempt = attempt + 1
      this.#effects.postpone(call, due)
    })
  }

  /** Nobody knows: its policy decides, in a commit that follows. */
  #ambiguous(group: Group, open: OpenEffect, why: OpenEffect['why'], error: unknown, attempt: number, now: number): void {
    const { call } = open
    // Called again at once it would fail again, and the journal would grow as fast as the disk can write.
    const delay = call.effect?.policy === 'rerun' && this.#effects.isWanted(call)
      ? this.#delay(call, attempt, error) : undefined
    const due = delay === undefined ? undefined : now + delay
    this.write(group, open, 'ambiguous', undefined)
    group.drafts.push({
      ...named(call), kind: 'effect_ambiguous', calls: this.#pass.calls, attempt, payload: encode({ why, error: this.safe(error) }),
      ...(due === undefined ? undefined : { due }),
    })
    group.isStrict = true
    group.after.push(() => {
      Object.assign(open, { phase: 'ambiguous', why, error })
      if (due !== undefined && due > now) this.#effects.wait(open, due)
    })
  }

  /** How long to wait before it is called again; undefined: it is not. */
  #delay(call: Pending, attempt: number, error: unknown): number | undefined {
    return nextDelay((call.step as StepPart).retry, this.#effects.history.tries(call, attempt), error, drawn(this.#live.state.host))
  }

  /** A live attempt of an earlier generation, for which this one has not asked: known all the same, and delivered to nobody. */
  async #orphan(attempt: Attempt): Promise<OpenEffect | undefined> {
    const base = attempt.base as string
    const ledger = await readLedger(this.#live.state.store, base)
    // What an earlier attempt reported late has settled it meanwhile: nothing that this one says changes that.
    if (ledger?.intent === undefined || ledger.kind === 'step' || ledger.status === 'done' || ledger.status === 'undone') return undefined
    const open = opened(strange(ledger, base), ledger.intent, ledger, 'running')
    this.#effects.open.set(base, open)
    return open
  }

  // --- parts of what is committed, also of what is decided without an attempt

  write(group: Group, open: OpenEffect, status: EffectStatus, outcome: number | undefined): void {
    const row: LedgerRow = {
      ...open.ledger, status, outcome, generation: this.#live.state.record.generation, updatedAt: this.#live.state.host.now(),
      ...(open.decision === undefined ? undefined : { decision: open.decision }),
    }
    group.rows.push(ledgerWrite(baseOf(open.call), open.ledger, row))
    group.after.push(() => { open.ledger = row })
  }

  /** Nothing of it is open behind this commit. `refusal`: the error that it ends with. */
  end(group: Group, open: OpenEffect, refusal?: Uint8Array): void {
    group.after.push(() => {
      this.#effects.answered(open.call)
      this.#effects.open.delete(baseOf(open.call))
      this.#effects.history.standings.delete(open.call.key)
      this.#live.timed.delete(open.call)
      this.#effects.release(baseOf(open.call), refusal)
    })
  }

  /** The value as it is stored; or the error with which the call rejects, because it cannot be. */
  async valueOf(group: Group, call: Pending, value: unknown): Promise<Pick<Draft, 'payload' | 'blob'> | StepwellError> {
    const { state } = this.#live
    try {
      const inline = encodeInline(state.limits, value, `value of effect ${call.key}`)
      if (inline instanceof Uint8Array) {
        group.bytes += inline.length
        return { payload: inline }
      }
      const { payload, blob, require } = await offload(state.blobs, state.limits, state.host.now(), inline.large)
      group.require.push(...(require ?? []))
      return { payload, blob }
    } catch (error) {
      const code = readField(error, 'code')
      if (code !== 'not_serializable' && code !== 'limit_exceeded') throw error
      return new StepwellError(code, `effect "${call.key}" happened, and its value cannot be kept: ${describe(error)}`, { cause: error, details: { key: call.key } })
    }
  }

  /** An error as it may be stored. */
  safe(error: unknown): Error {
    return redactError(asError(error), this.#live.state.redact)
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new StepwellError('failed', `something that is no Error was thrown: ${describe(error)}`)
}
