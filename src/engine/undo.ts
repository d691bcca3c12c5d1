// Taking back what was done: when a run fails, or is cancelled with `undo`, the undos of its completed steps and effects run in
// reverse order of completion, each one journaled. One that fails for good stops the line, and the run waits for a person.

import { decode, encode } from '../codec.ts'
import { redactError, StepwellError } from '../errors.ts'
import { entryAt } from '../journal/cursor.ts'
import { type Entry, FINGERPRINT_BYTES, same } from '../journal/entry.ts'
import type { Blocked, Resolution } from '../journal/record.ts'
import type { Attempt, Outcome } from './attempt.ts'
import type { Pending, StepPart } from './call.ts'
import { checkLedger, ledgerKept, type LedgerRow, ledgerRows, ledgerWrite, readLedger } from './ledger.ts'
import type { Live } from './live.ts'
import type { Draft } from '../journal/writer.ts'
import { describe, fromPayload } from './outcome.ts'
import type { Pass, PassEnd } from './pass.ts'
import { attemptLost, drawn, nextDelay } from './retry.ts'

interface Target {
  readonly call: Pending
  /** The entry with the outcome. */
  readonly seq: number
}

/** What happened in an earlier generation, is to be undone, and was not asked for in this one. */
interface Unreachable {
  readonly base: string
  readonly row: LedgerRow
}

type Common = Pick<Draft, 'key' | 'fingerprint' | 'calls'>

/** Who has decided about an undo that failed, or that nothing can reach. */
interface Who {
  readonly decision: 'happened' | 'rerun' | 'skip' | 'fail'
  readonly principal?: string
}

interface Standing {
  readonly isDone: boolean
  readonly attempt: number
  readonly due: number | undefined
  readonly isFinal: boolean
  /** An attempt was begun, and nothing more is known of it. */
  readonly isLost?: boolean
  /** Of the last attempt, as it was stored. */
  readonly error?: unknown
}

/** The fingerprint of what nothing has asked for. */
const unknown = new Uint8Array(FINGERPRINT_BYTES)

const fresh: Standing = { isDone: false, attempt: 1, due: undefined, isFinal: false }

export class Undo {
  #pass: Pass
  #live: Live
  /** In order of completion. */
  #targets: Target[] = []
  /** Of the targets: the calls' keys, and the ledger's of their effects. */
  #known = new Set<string>()
  #standings = new Map<string, Standing>()
  #isStarted = false
  /** By the entry that tells of what is to be undone: decisions that wait in the inbox. */
  #decided = new Set<number>()
  /** Somebody has said that the undo that failed is to be tried again: noted with the intent that follows. */
  #again: { readonly numbers: readonly number[]; readonly who: Who } | undefined

  constructor(pass: Pass, live: Live) {
    this.#pass = pass
    this.#live = live
  }

  /** It has completed, as entry `seq`. */
  add(call: Pending, seq: number): void {
    if (call.step?.undo === undefined) return
    // Several calls may have asked for one effect.
    const effect = call.effect === undefined ? undefined : `effect ${call.effect.base}`
    const key = `call ${call.key}`
    if (this.#known.has(key) || (effect !== undefined && this.#known.has(effect))) return
    this.#known.add(key)
    if (effect !== undefined) this.#known.add(effect)
    this.#targets.push({ call, seq })
  }

  note(entry: Entry): void {
    this.#isStarted = true
    // Of something that was not asked for, and whose key may be another call's now: its row of the ledger says what became of it.
    if (entry.key === undefined || same(entry.fingerprint as Uint8Array, unknown)) return
    const before = this.#standings.get(entry.key) ?? fresh
    if (entry.kind === 'undo_completed') this.#standings.set(entry.key, { ...before, isDone: true })
    else if (entry.kind === 'undo_intended') this.#standings.set(entry.key, { isDone: false, attempt: entry.attempt + 1, due: undefined, isFinal: false, isLost: true })
    else this.#standings.set(entry.key, { isDone: false, attempt: entry.attempt + 1, due: entry.due, isFinal: entry.due === undefined, error: decode(entry.payload) })
  }

  /** A person has decided about the undo of what entry `message.seq` tells of: the message waits in the inbox until that is its turn. */
  resolve(message: Resolution): void {
    this.#decided.add(message.seq)
  }

  /** Something has to be taken back, as the run ends. */
  get isWanted(): boolean {
    const { winding, ended } = this.#pass
    const isFailure = winding === undefined ? ended?.ok === false : winding.cause === 'deadline_passed' || winding.payload.undo === true
    return isFailure && (this.#targets.length > 0 || this.#live.state.record.generation > 1)
  }

  /** Undoes all that is left. Answers undefined when all is undone, else why not now. A crash goes on where it was. */
  async run(): Promise<PassEnd | undefined> {
    const unreachable = await this.#byHand(await this.#unreachable())
    if (unreachable.length > 0) {
      const effects = unreachable.map(({ row: { key, kind, outcome, generation } }) => ({ seq: outcome as number, key, kind, generation }))
      return { kind: 'blocked', error: new StepwellError('undo_unreachable',
        `this generation ends before its code asks for what has to be undone: ${effects.map(({ key }) => key).join(', ')}. Deploy code that asks for it, ` +
        'or decide with resolve(seq, …): "happened" says that it was taken back by hand, "skip" leaves what was done', { details: { effects } }) }
    }
    if (this.#targets.length === 0) return undefined
    await this.#begin()
    const left = this.#targets.filter(({ call }) => this.#standings.get(call.key)?.isDone !== true).toSorted((a, b) => b.seq - a.seq)
    for (const target of left) {
      const end = await this.#one(target, left)
      if (end !== undefined) return end
    }
    return undefined
  }

  async #begin(): Promise<void> {
    const { state } = this.#live
    if (!this.#isStarted) {
      await state.commit([{ kind: 'undo_started', calls: this.#pass.calls }], {
        durability: 'strict', change: { record: { status: 'undoing', waitingFor: [] }, wakeAt: this.#live.recovery(), mark: true },
      })
      this.#isStarted = true
    } else if (state.record.status !== 'undoing') {
      await state.commit([], { change: { record: { status: 'undoing', waitingFor: [] }, wakeAt: this.#live.recovery(), mark: false } })
    }
    this.#pass.init.changed()
  }

  async #one(target: Target, left: readonly Target[]): Promise<PassEnd | undefined> {
    const { state, attempts } = this.#live
    const { call } = target
    const step = call.step as StepPart
    const outcome = await fromPayload(state.store, await entryAt(state.store, target.seq))
    const common = { key: call.key, fingerprint: call.fingerprint, calls: this.#pass.calls }
    for (;;) {
      if (this.#pass.isDead) return { kind: 'stopped' }
      const standing = this.#standings.get(call.key) ?? fresh
      if (standing.isDone) return undefined
      if (standing.isLost === true && nextDelay(step.retry, standing.attempt - 1, undefined, 0) === undefined) {
        // Each host that tried it is gone: it must come to an end (G29).
        this.#standings.set(call.key, { ...standing, isLost: false, isFinal: true, error: attemptLost() })
        continue
      }
      if (standing.isFinal || this.#decided.has(target.seq)) {
        const decided = await this.#byPerson(target, common)
        if (decided === 'done') return undefined
        if (decided === 'again') continue
        if (standing.isFinal) return this.#stuck(target, left)
      }
      const now = state.host.now()
      if (standing.due !== undefined && standing.due > now) {
        if (standing.due - now > state.limits.stayAwakeMs) {
          await state.commit([], { change: { record: { status: 'undoing', waitingFor: [{ kind: 'retry', key: call.key, dueAt: standing.due, attempt: standing.attempt }] }, wakeAt: standing.due, mark: true } })
          return { kind: 'parked', wakeAt: standing.due }
        }
        await this.#pass.event(standing.due - now)
        continue
      }
      const asked = this.#again
      this.#again = undefined
      await state.commit([{ ...common, kind: 'undo_intended', attempt: standing.attempt, ...(asked === undefined ? undefined : { payload: encode(asked.who) }) }], {
        durability: 'strict', ...(asked === undefined ? undefined : { take: asked.numbers }),
      })
      const flushed = state.store.flush?.()
      if (flushed !== undefined) await flushed
      attempts.start(`undo of ${call.key}`, {
        // Its own act to the outside world, told from the one that it takes back.
        ...step, labels: `undo of ${step.labels}`, attempt: standing.attempt, undos: await this.#undos(call),
        run: (undoCall) => (step.undo as NonNullable<StepPart['undo']>)(outcome, undoCall),
      }, this.#live.incarnation, now, 'undo')
      const attempt = await this.#settled()
      if (attempt === undefined) return { kind: 'stopped' }
      await this.#outcome(target, attempt, common)
    }
  }

  async #settled(): Promise<Attempt | undefined> {
    const { attempts } = this.#live
    for (;;) {
      if (this.#pass.isDead) return undefined
      if (attempts.emitted.length > 0) {
        await this.#live.events.commitOfAttempts(this.#pass)
        continue
      }
      const settled = attempts.settled.findIndex(({ role }) => role === 'undo')
      if (settled >= 0) {
        const [attempt] = attempts.settled.splice(settled, 1)
        attempts.live.delete((attempt as Attempt).key)
        return attempt
      }
      if (attempts.armTimeouts()) this.#pass.init.changed()
      await this.#pass.event(undefined)
    }
  }

  async #outcome(target: Target, attempt: Attempt, common: Common): Promise<void> {
    const { state } = this.#live
    const { call } = target
    const outcome = attempt.outcome as Outcome
    if (outcome.ok) {
      await this.#done(common, call.effect?.base)
      this.#standings.set(call.key, { ...fresh, isDone: true })
      return
    }
    const { error } = outcome
    const delay = nextDelay((call.step as StepPart).retry, attempt.number, error, drawn(state.host))
    const due = delay === undefined ? undefined : state.host.now() + delay
    const stored = redactError(error instanceof Error ? error : new StepwellError('failed', describe(error)), state.redact)
    await state.commit([{
      ...common, kind: 'undo_attempt_failed', attempt: attempt.number, ...(due === undefined ? undefined : { due }), payload: encode(stored),
    }], { durability: 'strict' })
    this.#standings.set(call.key, { isDone: false, attempt: attempt.number + 1, due, isFinal: due === undefined, error: stored })
  }

  /** `base`: of an effect, in the ledger. */
  async #done(common: Common, base: string | undefined, who?: Who, take: readonly number[] = []): Promise<void> {
    const { state } = this.#live
    const row = base === undefined ? undefined : await readLedger(state.store, base)
    const decision = who === undefined ? undefined : { word: who.decision, by: 'person', ...(who.principal === undefined ? undefined : { principal: who.principal }) }
    // Left as it is, it has still happened: no later generation may do it a second time (G15).
    const isUndone = decision === undefined || decision.word === 'happened'
    const now = state.host.now()
    await state.commit([{ ...common, kind: 'undo_completed', ...(who === undefined ? undefined : { payload: encode(who) }) }], {
      durability: 'strict', ...(take.length === 0 ? undefined : { take }),
      ...(base === undefined || row?.status !== 'done' ? undefined : {
        rows: [isUndone
          ? ledgerWrite(base, row, { ...row, status: 'undone', outcome: undefined, undos: row.undos + 1, ...(decision === undefined ? undefined : { decision }), updatedAt: now })
          : ledgerKept(base, row, decision, now)],
      }),
      ...(base === undefined && isUndone ? { change: { record: { undos: state.record.undos + 1 }, wakeAt: state.wakeAt, mark: false } } : undefined),
    })
  }

  /** Somebody has decided about the undo that failed. */
  async #byPerson({ call, seq }: Target, common: Common): Promise<'done' | 'again' | undefined> {
    const found = await this.#decision(seq)
    if (found === undefined) return undefined
    if (found.who.decision === 'rerun') {
      this.#standings.set(call.key, fresh)
      this.#again = found
      this.#decided.delete(seq)
      return 'again'
    }
    await this.#done(common, call.effect?.base, found.who, found.numbers)
    this.#standings.set(call.key, { ...fresh, isDone: true })
    return 'done'
  }

  /** Records what somebody has decided about what nothing can reach. Answers what is left. */
  async #byHand(unreachable: readonly Unreachable[]): Promise<readonly Unreachable[]> {
    const left: Unreachable[] = []
    for (const each of unreachable) {
      const { base, row } = each
      const found = await this.#decision(row.outcome as number)
      if (found === undefined) {
        left.push(each)
        continue
      }
      await this.#begin()
      await this.#done({ key: row.key, fingerprint: unknown, calls: this.#pass.calls }, base, found.who, found.numbers)
    }
    return left
  }

  /** Who has decided about the undo of what entry `seq` tells of: the first message, and the numbers of all that are there, which are of the same question. */
  async #decision(seq: number): Promise<{ readonly numbers: readonly number[]; readonly who: Who } | undefined> {
    let who: Who | undefined
    const numbers: number[] = []
    for (const { number, message } of await this.#live.state.messages()) {
      if (message.kind !== 'resolve' || message.seq !== seq) continue
      const { decision, principal } = message
      who ??= { decision, ...(principal === undefined ? undefined : { principal }) }
      numbers.push(number)
    }
    return who && { numbers, who }
  }

  #stuck(target: Target, left: readonly Target[]): PassEnd {
    const all = this.#targets.map(({ call }) => call.key)
    const open = left.filter(({ call }) => this.#standings.get(call.key)?.isDone !== true).map(({ call }) => call.key)
    const { attempt = 1, error } = this.#standings.get(target.call.key) ?? {}
    return { kind: 'blocked', error: new StepwellError('undo_failed',
      `the undo of "${target.call.key}" failed (${describe(error)}); ${open.length - 1} more wait behind it. Decide with resolve(${target.seq}, …): "rerun" tries it again, "happened" says that it was taken back by hand, "skip" leaves what was done`, {
        details: { seq: target.seq, key: target.call.key, attempts: attempt - 1, why: describe(error), undone: all.filter((key) => !open.includes(key)), left: open },
      }) }
  }

  /**
   * Effects that the ledger says happened and can be undone, and for which this pass has not asked, the last one first. Those that it has asked for, and
   * whose outcome was not delivered before it ended, can be undone like the others.
   */
  async #unreachable(): Promise<readonly Unreachable[]> {
    if (this.#live.state.record.generation === 1) return []
    await checkLedger(this.#live.state)
    const asked = new Map([...this.#pass.effects.history.calls.values()].map((call) => [call.effect?.base, call]))
    const known = new Set(this.#targets.map(({ call }) => call.effect?.base))
    const unreachable: Unreachable[] = []
    for await (const { base, row } of ledgerRows(this.#live.state.store)) {
      if (!row.hasUndo || row.status !== 'done' || known.has(base)) continue
      const call = asked.get(base)
      if (call?.step?.undo === undefined) unreachable.push({ base, row })
      else this.add(call, row.outcome as number)
    }
    return unreachable.sort((a, b) => (b.row.outcome as number) - (a.row.outcome as number))
  }

  async #undos(call: Pending): Promise<number> {
    const base = call.effect?.base
    return base === undefined ? this.#live.state.record.undos : (await readLedger(this.#live.state.store, base))?.undos ?? 0
  }
}

/** What a blocked run waits for code to ask for, or for a person to decide. */
export function unreachableIn(blocked: Blocked | undefined): readonly { readonly seq: number }[] {
  if (blocked?.code !== 'undo_unreachable') return []
  return (blocked.details as { readonly effects?: readonly { readonly seq: number }[] } | undefined)?.effects ?? []
}
