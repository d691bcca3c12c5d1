// How an effect comes to be called (G12): its intent is put into a commit, and when that is durable, and nothing forbids it, its function
// is called.

import { encode } from '../codec.ts'
import { Superseded } from '../journal/writer.ts'
import { isPromise } from '../store/store.ts'
import type { Pending, StepPart } from './call.ts'
import type { EffectPart } from './effect.ts'
import type { Effects } from './effects.ts'
import { type Group, nextSeq } from './group.ts'
import { idempotencyKey } from './key.ts'
import { type Intent, ledgerWrite, type LedgerRow } from './ledger.ts'
import type { Live } from './live.ts'
import { baseOf, named, opened, type OpenEffect } from './open-effect.ts'
import type { Pass } from './pass.ts'

/** The payload of `effect_intended`. */
export interface IntentPayload { readonly startBy: number; readonly timeoutMs: number; readonly idempotencyKey: string; readonly policy: string }

export class Intents {
  #pass: Pass
  #live: Live
  #effects: Effects

  constructor(pass: Pass, live: Live, effects: Effects) {
    this.#pass = pass
    this.#live = live
    this.#effects = effects
  }

  intend(group: Group, call: Pending, attempt: number, ledger: LedgerRow | undefined, now: number): void {
    const { state } = this.#live
    const effect = call.effect as EffectPart
    const step = call.step as StepPart
    const at = Math.max(now, state.writer.lastAt)
    const startBy = at + state.limits.startByMs
    const until = startBy + step.timeoutMs
    const undos = ledger?.undos ?? 0
    const intent: Intent = { seq: nextSeq(group, state.writer), attempt, at, startBy, until }
    const payload: IntentPayload = { startBy, timeoutMs: step.timeoutMs, idempotencyKey: this.idempotencyKey(call, undos), policy: effect.policy }
    const row: LedgerRow = {
      status: 'in_progress', key: call.key, kind: effect.kind, generation: state.record.generation, intent, outcome: undefined,
      hasUndo: step.undo !== undefined, undos, updatedAt: at,
    }
    group.rows.push(ledgerWrite(effect.base, ledger, row))
    group.drafts.push({ ...named(call), kind: 'effect_intended', calls: this.#pass.calls, attempt, due: until, payload: encode(payload) })
    group.isStrict = true
    group.after.push(() => {
      step.attempt = attempt
      if (ledger === undefined) state.effects++
      this.#effects.open.set(effect.base, opened(call, intent, row, 'running'))
      this.#effects.history.stands(call, { seq: intent.seq, phase: 'intended', attempt, due: undefined, intent })
    })
    group.launch.push(call)
  }

  /** Calls the functions whose intents were just committed, after one more look at everything that forbids it. */
  async launch(calls: readonly Pending[]): Promise<void> {
    const { state, attempts } = this.#live
    const flushed = state.store.flush?.()
    if (flushed !== undefined && isPromise(flushed)) await flushed
    const read = state.store.read()
    const row = isPromise(read) ? await read : read
    if (row === undefined) throw new Superseded('absent')
    if (row.epoch !== state.writer.epoch) throw new Superseded('epoch')
    if (row.inbox !== state.inboxSeen || this.#pass.isPoked) await this.#live.inbox.read(this.#pass)
    const now = state.host.now()
    const missed: Pending[] = []
    for (const call of calls) {
      const open = this.#effects.open.get(baseOf(call)) as OpenEffect
      if (this.#live.isStopping(this.#pass, call, now) || now > open.intent.startBy) {
        missed.push(call)
        continue
      }
      const step = call.step as StepPart
      attempts.start(call.key, { ...step, attempt: open.intent.attempt, undos: open.ledger.undos }, this.#live.incarnation, now, 'effect', baseOf(call))
    }
    if (missed.length > 0) await this.#notCalled(missed, now)
  }

  async #notCalled(missed: readonly Pending[], now: number): Promise<void> {
    const { open: all, history } = this.#effects
    await this.#live.state.commit(missed.map((call) => ({ ...named(call), kind: 'effect_not_called', calls: this.#pass.calls })), {
      rows: missed.map((call) => {
        const open = all.get(baseOf(call)) as OpenEffect
        return ledgerWrite(baseOf(call), open.ledger, { ...open.ledger, status: 'failed', updatedAt: now })
      }),
    })
    for (const call of missed) {
      const { intent } = all.get(baseOf(call)) as OpenEffect
      all.delete(baseOf(call))
      history.stands(call, { seq: intent.seq, phase: 'free', attempt: intent.attempt, due: undefined, intent })
      if (this.#effects.isWanted(call)) this.#effects.begin(call)
      else this.#effects.release(baseOf(call))
    }
  }

  /** By which the outside world knows its requests, once it was undone `undos` times. */
  idempotencyKey(call: Pending, undos: number): string {
    const { labels, name, own, inputBytes, nth } = call.step as StepPart
    return idempotencyKey({ incarnation: this.#live.incarnation, labels, name, own, input: inputBytes, nth, undos })
  }
}
