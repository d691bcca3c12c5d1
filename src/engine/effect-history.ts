// What the journal says of each effect, for one pass: the notes that are not delivered, put beside the calls that they name.

import { decode } from '../codec.ts'
import { type Entry, type EntryKind, same } from '../journal/entry.ts'
import type { Ambiguity, Decided } from './ambiguity.ts'
import type { Pending } from './call.ts'
import { divergence } from './divergence.ts'
import type { IntentPayload } from './effect-intent.ts'
import type { Intent } from './ledger.ts'
import type { Pass } from './pass.ts'
import type { Undo } from './undo.ts'

/** What the notes of this generation say of an effect. */
export interface Standing {
  readonly fingerprint: Uint8Array
  readonly seq: number
  readonly phase: 'intended' | 'free' | 'failed' | 'ambiguous' | 'recorded'
  /** Of the next attempt. */
  readonly attempt: number
  /** Of its first attempt in this generation: those before it are none of its budget. */
  readonly first: number | undefined
  /** When that may begin. */
  readonly due: number | undefined
  readonly intent: Intent | undefined
  /** Why nobody knows, where that is known. */
  readonly why?: Ambiguity
  readonly error?: unknown
}

export class EffectHistory {
  /** Every effect that this pass asked for and that may still matter, by the call's key. */
  readonly calls: Map<string, Pending> = new Map()
  /** By the call's key: effects whose outcome was not delivered. */
  readonly standings: Map<string, Standing> = new Map()
  /** Effects that were taken for happened: there is nothing to take back. */
  readonly skipped: Set<string> = new Set()
  #everAsked = new Set<string>()
  #pass: Pass
  #undo: Undo

  constructor(pass: Pass, undo: Undo) {
    this.#pass = pass
    this.#undo = undo
  }

  /** A call was made. Its function is not called yet. */
  asked(call: Pending): void {
    this.#everAsked.add(call.key)
    this.calls.set(call.key, call)
  }

  /** What an entry says that is not delivered. */
  note(entry: Entry): void {
    const key = entry.key as string
    if (entry.kind.startsWith('undo_')) {
      this.#undo.note(entry)
      return
    }
    const before = this.standings.get(key)
    // What became of an attempt of the generation before, for which this one had not asked then: its row of the ledger holds it, and
    // answers when it is asked for.
    if (isStrange(entry) && entry.kind !== 'effect_recorded') return
    const common = { fingerprint: entry.fingerprint as Uint8Array, seq: entry.seq, attempt: before?.attempt ?? 1, first: before?.first, due: undefined, intent: before?.intent }
    switch (entry.kind) {
      case 'effect_intended': {
        const { startBy, timeoutMs } = decode(entry.payload) as IntentPayload
        const intent: Intent = { seq: entry.seq, attempt: entry.attempt, at: entry.at, startBy, until: startBy + timeoutMs }
        const first = common.first ?? (entry.generation === this.#pass.init.generation ? entry.attempt : undefined)
        this.standings.set(key, { ...common, phase: 'intended', attempt: entry.attempt, first, intent })
        break
      }
      case 'effect_not_called':
        this.standings.set(key, { ...common, phase: 'free' })
        break
      case 'effect_attempt_failed':
        // A new generation has a budget of its own.
        if (entry.generation !== this.#pass.init.generation) this.standings.set(key, { ...common, phase: 'free', attempt: 1 })
        else this.standings.set(key, { ...common, phase: 'failed', attempt: entry.attempt + 1, due: entry.due })
        break
      case 'effect_ambiguous':
        this.standings.set(key, { ...common, phase: 'ambiguous', due: entry.due, ...(decode(entry.payload) as { why: Ambiguity; error: unknown }) })
        break
      case 'effect_decided': {
        const { decision } = decode(entry.payload) as Decided
        if (decision === 'rerun' || decision === 'did_not_happen') this.standings.set(key, { ...common, phase: 'free', attempt: common.attempt + 1 })
        else this.standings.delete(key)
        if (decision === 'skip') this.skipped.add(key)
        break
      }
      case 'effect_recorded': {
        const call = this.calls.get(key)
        // Of another act that had this key in the generation before: nothing that this call did.
        if (call !== undefined && !same(call.fingerprint, common.fingerprint)) break
        this.standings.set(key, { ...common, phase: 'recorded' })
        if (call !== undefined) this.#undo.add(call, entry.seq)
        break
      }
      default:
        break
    }
  }

  /** What was committed about it in this pass. */
  stands(call: Pending, standing: Pick<Standing, 'seq' | 'phase' | 'attempt' | 'due' | 'intent'>): void {
    const first = this.standings.get(call.key)?.first ?? (standing.phase === 'intended' ? standing.attempt : undefined)
    this.standings.set(call.key, { ...standing, fingerprint: call.fingerprint, first })
  }

  /** How many attempts of this generation it has had with attempt number `attempt`, however they ended. */
  tries(call: Pending, attempt: number): number {
    const first = this.standings.get(call.key)?.first
    return first === undefined ? 0 : attempt - first + 1
  }

  /** An outcome was delivered to whoever waits. */
  delivered(call: Pending, kind: EntryKind, seq: number): void {
    this.standings.delete(call.key)
    if (call.step?.undo === undefined) this.calls.delete(call.key)
    // What was skipped has no outcome that could be taken back.
    else if ((kind === 'effect_completed' || kind === 'step_completed') && !this.skipped.has(call.key)) this.#undo.add(call, seq)
  }

  /** G9: notes about effects that the code does not ask for now, or not as they were. At the end of history. */
  check(): void {
    const { calls, outstanding } = this.#pass
    for (const [key, { fingerprint, phase, seq }] of this.standings) {
      if (phase === 'recorded') continue
      const recorded = { seq, kind: 'effect_intended' as const, key, calls, fingerprint }
      if (!this.#everAsked.has(key)) throw divergence(recorded, 'it was never asked for', calls, outstanding.values())
      const call = this.calls.get(key)
      if (call !== undefined && !same(call.fingerprint, fingerprint)) {
        throw divergence(recorded, 'its kind, key or declared input is another one now', calls, outstanding.values())
      }
    }
  }
}

/** Written of an effect for which this generation had not asked: there was no call to take a fingerprint from. */
function isStrange({ fingerprint }: Entry): boolean {
  return fingerprint?.every((byte) => byte === 0) === true
}
