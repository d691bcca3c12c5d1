// The effects of one pass: which of them can be begun, from what is known of each: journal, then ledger, then a live attempt, and only
// then an intent (G15); and that none is open when the run ends (G16). What the journal says of each is in effect-history.ts, how one is
// called in effect-intent.ts, what became of it in effect-outcome.ts, who decides when nobody knows in ambiguity.ts. All at quiescence.

import { entryAt } from '../journal/cursor.ts'
import { Ambiguities } from './ambiguity.ts'
import type { Pending } from './call.ts'
import type { EffectPart } from './effect.ts'
import { EffectHistory, type Standing } from './effect-history.ts'
import { Intents } from './effect-intent.ts'
import { Joins } from './effect-join.ts'
import { EffectOutcomes } from './effect-outcome.ts'
import { addOutcome, type Group, hasRoom } from './group.ts'
import { checkLedger, type Intent, isFree, type LedgerRow, readLedger } from './ledger.ts'
import type { Live } from './live.ts'
import { baseOf, named, opened, type OpenEffect } from './open-effect.ts'
import type { Pass } from './pass.ts'
import { Undo } from './undo.ts'

export class Effects {
  readonly undo: Undo
  readonly history: EffectHistory
  readonly intents: Intents
  readonly outcomes: EffectOutcomes
  readonly ambiguities: Ambiguities
  /** By ledger key: intended, and their end is not in the journal. */
  readonly open: Map<string, OpenEffect> = new Map()
  #pass: Pass
  #live: Live
  #queue: Pending[] = []
  /** Their outcome is in the journal, and perhaps not delivered yet. Weak: what was delivered stays reachable from nowhere (G10). */
  readonly #answered = new WeakSet<Pending>()
  #joins = new Joins()

  constructor(pass: Pass, live: Live) {
    this.#pass = pass
    this.#live = live
    this.undo = new Undo(pass, live)
    this.history = new EffectHistory(pass, this.undo)
    this.intents = new Intents(pass, live, this)
    this.outcomes = new EffectOutcomes(pass, live, this)
    this.ambiguities = new Ambiguities(pass, live, this)
  }

  begin(call: Pending): void {
    this.#queue.push(call)
  }

  /** It is known already: nothing is to be begun. */
  withdraw(call: Pending): void {
    this.#queue = this.#queue.filter((queued) => queued !== call)
  }

  /** Something can be done at once. */
  get isBusy(): boolean {
    return this.#queue.length > 0 || this.ambiguities.isBusy
  }

  /** G16: some effect was intended and its end is not known. */
  get isOpen(): boolean {
    return this.open.size > 0 || [...this.#live.attempts.live.values()].some((attempt) => attempt.role === 'effect')
  }

  isOpenAt(call: Pending): boolean {
    return call.effect !== undefined && this.open.has(call.effect.base)
  }

  /** The function has ended, or may not go on: what was not intended yet never will be; the rest is settled or decided. */
  close(): void {
    this.releaseUnwanted()
    this.#queue = this.#queue.filter(({ key }) => this.history.standings.get(key)?.phase === 'intended' || this.history.standings.get(key)?.phase === 'ambiguous')
    // Intended in an earlier pass, and asked for by a function that did not wait for it.
    for (const [key, { phase }] of this.history.standings) {
      if (phase !== 'intended' && phase !== 'ambiguous') continue
      const call = this.history.calls.get(key)
      if (call !== undefined && !this.open.has(baseOf(call)) && !this.#queue.includes(call)) this.#queue.push(call)
    }
  }

  /** Who had joined a call that nobody answers any more is free to act. */
  releaseUnwanted(): void {
    for (const [base, holder] of this.#joins.holders) if (!this.isWanted(holder) && !this.open.has(base)) this.release(base)
  }

  /** Its time has come: the next attempt, or the end of the wait for a predecessor. */
  due(call: Pending): void {
    const open = this.open.get(baseOf(call))
    if (open === undefined) this.#queue.push(call)
    else open.phase = 'ambiguous'
  }

  /** Adds to `group` what can be committed of effects now. */
  async collect(group: Group, now: number): Promise<void> {
    const { limits } = this.#live.state
    const queue = this.#queue
    this.#queue = []
    for (const [i, call] of queue.entries()) {
      if (!hasRoom(group, limits)) {
        this.#queue.push(...queue.slice(i))
        break
      }
      await this.#enter(group, call, now)
    }
    await this.ambiguities.collect(group, now)
  }

  /** Somebody waits for it, and may still be answered. */
  isWanted(call: Pending): boolean {
    const { ended, outstanding } = this.#pass
    return ended === undefined && outstanding.get(call.key) === call && !this.#answered.has(call) && !this.#live.isOver(this.#pass, this.#live.state.host.now())
  }

  /** Its outcome is committed. While the run is paused it is delivered later, and nothing else may be in the meantime. */
  answered(call: Pending): void {
    this.#answered.add(call)
  }

  /** Nobody acts under this key any more: whoever waited for that is begun. `refusal`: the error that they get instead. */
  release(base: string, refusal?: Uint8Array): void {
    this.#queue.push(...this.#joins.release(base, refusal))
  }

  /** Nothing is decided about it before `due`. */
  wait(open: OpenEffect, due: number): void {
    open.phase = 'waiting'
    this.postpone(open.call, due)
  }

  /** Until `due`, which is in the journal. */
  postpone(call: Pending, due: number): void {
    call.due = due
    call.isDueStored = true
    this.#live.timed.add(call)
  }

  /** One call for each ledger key; the others wait for its outcome, which is theirs too. */
  async #enter(group: Group, call: Pending, now: number): Promise<void> {
    if (call.kind !== 'once') return this.#begin(group, call, now)
    const refusal = this.#joins.refusal(call)
    if (refusal !== undefined) {
      if (this.isWanted(call)) addOutcome(group, { ...named(call), kind: 'effect_failed', calls: this.#pass.calls, payload: refusal })
      group.bytes += refusal.length
      return
    }
    if (!this.#joins.enter(call)) return
    await this.#begin(group, call, now)
    if (!this.isWanted(call) && !this.open.has(baseOf(call))) this.release(baseOf(call))
  }

  /** G15: journal, then ledger, then a live attempt, and only then an intent. */
  async #begin(group: Group, call: Pending, now: number): Promise<void> {
    const { attempts, state } = this.#live
    const effect = call.effect as EffectPart
    const isWanted = this.isWanted(call)
    const standing = this.history.standings.get(call.key)
    const isIntended = standing?.phase === 'intended' || standing?.phase === 'ambiguous'
    // What the ledger says is newer than notes that a generation inherits: its past may have been cut between intent and outcome.
    const ledger = await readLedger(state.store, effect.base) ?? (isIntended ? this.#unlisted(call, standing) : undefined)
    if (ledger?.status === 'done' || ledger?.status === 'skipped') {
      if (isWanted) await this.#found(group, call, ledger)
      else this.history.standings.delete(call.key)
      return
    }
    if (ledger === undefined || isFree(ledger)) {
      if (!isWanted) {
        this.history.standings.delete(call.key)
        return
      }
      if (standing?.phase === 'failed' && standing.due !== undefined && standing.due > now) {
        if (call.step !== undefined) call.step.attempt = standing.attempt
        this.postpone(call, standing.due)
        return
      }
      // In the first generation whatever happened is in the journal that was replayed, by its own key.
      if (ledger === undefined && (state.record.generation > 1 || call.kind === 'once')) await checkLedger(state)
      return this.intents.intend(group, call, standing?.phase === 'failed' || standing?.phase === 'free' ? standing.attempt : 1, ledger, now)
    }
    // Intended, in this pass' history or in an earlier generation.
    const intent = ledger.intent as Intent
    const attempt = attempts.ofEffect(effect.base)
    if (attempt !== undefined && attempt.key !== call.key) attempts.adopt(attempt, call.key)
    const known = isIntended && standing.intent?.seq === intent.seq ? standing : undefined
    const isAmbiguous = ledger.status === 'ambiguous' || known?.phase === 'ambiguous'
    const open = opened(call, intent, ledger, attempt !== undefined ? 'running' : 'ambiguous', known?.why, known?.error)
    this.open.set(effect.base, open)
    if (attempt !== undefined) return
    const due = isAmbiguous ? known?.due : intent.until
    if (due !== undefined && due > now) this.wait(open, due)
  }

  /** G1: the journal tells of an intent for which the ledger has no row. */
  #unlisted(call: Pending, { intent }: Standing): LedgerRow | undefined {
    if (intent === undefined) return undefined
    const { kind } = call.effect as EffectPart
    return {
      status: 'in_progress', key: call.key, kind, generation: this.#live.state.record.generation, intent, outcome: undefined,
      hasUndo: call.step?.undo !== undefined, undos: 0, updatedAt: intent.at,
    }
  }

  /** It happened in an earlier generation: the same outcome, under this generation's key. Attempt 0: nothing was called. */
  async #found(group: Group, call: Pending, row: LedgerRow): Promise<void> {
    const entry = await entryAt(this.#live.state.store, row.outcome as number)
    const isFailure = entry.kind === 'effect_failed'
    if (row.status === 'skipped') {
      this.ambiguities.audit(group, opened(call, row.intent as Intent, row, 'ambiguous'), { by: 'policy', decision: 'skip' })
      this.history.skipped.add(call.key)
    }
    addOutcome(group, {
      ...named(call), kind: isFailure ? 'effect_failed' : 'effect_completed', calls: this.#pass.calls, attempt: 0, payload: entry.payload, blob: entry.blob,
    })
    group.bytes += entry.payload.length
    group.after.push(() => {
      this.answered(call)
      this.release(baseOf(call))
    })
  }
}
