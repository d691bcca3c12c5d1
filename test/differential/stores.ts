// What each runtime checks: its digests are those that Node has pinned (digests.json), over seeds that ran something of everything.

import type { EntryKind } from '../../src/journal/entry.ts'
import { type DifferentialHarness, runWorkload } from './journal.ts'

export const SEEDS = 50

export interface Digests {
  readonly digests: Readonly<Record<string, string>>
  readonly kinds: Readonly<Partial<Record<EntryKind, number>>>
  readonly statuses: Readonly<Record<string, number>>
}

export async function digestsOf(harness: DifferentialHarness): Promise<Digests> {
  const digests: Record<string, string> = {}
  const kinds: Partial<Record<EntryKind, number>> = {}
  const statuses: Record<string, number> = {}
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { digest, status, entries } = await runWorkload(harness, seed)
    if (status === 'blocked') throw new Error(`seed ${seed}: the run is blocked`)
    digests[seed] = `${digest} ${entries.length} ${status}`
    statuses[status] = (statuses[status] ?? 0) + 1
    for (const { kind } of entries) kinds[kind] = (kinds[kind] ?? 0) + 1
  }
  return { digests, kinds, statuses }
}
