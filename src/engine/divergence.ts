// The report of a divergence: what the journal recorded and what the code asked for, side by side (G9).

import { StepwellError } from '../errors.ts'
import { hex } from '../hash.ts'
import type { Entry } from '../journal/entry.ts'
import type { Pending } from './call.ts'

export interface DivergenceReport {
  readonly seq: number
  readonly why: string
  readonly recorded: { readonly kind: string; readonly key: string; readonly calls: number; readonly fingerprint?: string }
  readonly asked: readonly { readonly kind: string; readonly key: string; readonly fingerprint: string }[]
  readonly calls: number
}

/**
 * The `divergence` error. `why` is one sentence; the message shows both sides, so that a reader sees which line changed
 * without opening the journal.
 */
export function divergence(entry: Pick<Entry, 'seq' | 'kind' | 'key' | 'calls' | 'fingerprint'>, why: string, calls: number, outstanding: Iterable<Pending>): StepwellError {
  const asked: DivergenceReport['asked'][number][] = []
  for (const call of outstanding) {
    if (asked.length === 20) break
    asked.push({ kind: call.kind, key: call.key, fingerprint: hex(call.fingerprint) })
  }
  const report: DivergenceReport = {
    seq: entry.seq, why, calls, asked,
    recorded: {
      kind: entry.kind, key: entry.key ?? '', calls: entry.calls,
      ...(entry.fingerprint === undefined ? undefined : { fingerprint: hex(entry.fingerprint) }),
    },
  }
  const recorded = `${entry.kind}${entry.key === undefined ? '' : ` "${entry.key}"`} (after ${entry.calls} calls)`
  const shown = asked.length === 0 ? 'nothing' : asked.map((call) => `${call.kind} "${call.key}"`).join(', ')
  return new StepwellError('divergence',
    `the code no longer fits the journal at entry ${entry.seq}: ${why}\n  recorded: ${recorded}\n  asked:    ${shown} (after ${calls} calls)`,
    { details: { ...report } })
}
