// An effect that was intended and whose end is not in the journal, as a pass knows it; and how an effect is named.

import { FINGERPRINT_BYTES } from '../journal/entry.ts'
import type { Draft } from '../journal/writer.ts'
import type { Ambiguity } from './ambiguity.ts'
import type { Attempt, Outcome } from './attempt.ts'
import { nothing, type Pending } from './call.ts'
import type { EffectPart } from './effect.ts'
import type { Intent, LedgerRow } from './ledger.ts'

export interface OpenEffect {
  readonly call: Pending
  readonly intent: Intent
  ledger: LedgerRow
  /**
   * `waiting`: for the time at which a successor may decide, or at which it is run or asked for again. `decided`: what was decided is in the
   * group that is put together now, and nobody decides it a second time.
   */
  phase: 'running' | 'waiting' | 'ambiguous' | 'probing' | 'asking' | 'decided'
  why: Ambiguity
  error: unknown
  probes: number
  /** How it is being decided: set with the audit entry, for the row in the same commit. */
  decision?: LedgerRow['decision']
  /** What an attempt that had timed out reported while another one, or the word of its timeout, was under way. */
  late?: { readonly attempt: Attempt; readonly outcome: Outcome }
}

export function opened(call: Pending, intent: Intent, ledger: LedgerRow, phase: OpenEffect['phase'], why: Ambiguity = 'lost', error?: unknown): OpenEffect {
  return { call, intent, ledger, phase, why, error, probes: 0 }
}

/** The call of an effect that this pass has not asked for, as the ledger knows it. */
export function strange(ledger: LedgerRow, base: string): Pending {
  const kind = ledger.kind as EffectPart['kind']
  return {
    kind, key: ledger.key, fingerprint: new Uint8Array(FINGERPRINT_BYTES), isCleanup: false,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, until: undefined, step: undefined,
    effect: { kind, policy: 'fail', otherwise: 'fail', fallback: undefined, probe: undefined, base },
  }
}

/** Its key in the ledger. */
export const baseOf = (call: Pending): string => (call.effect as EffectPart).base

/** As its entries name it. */
export function named(call: Pending): Pick<Draft, 'key' | 'fingerprint'> {
  return { key: call.key, fingerprint: call.fingerprint }
}
