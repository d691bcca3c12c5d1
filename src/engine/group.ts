// What goes into one commit of a live pass, as it is put together: by collect.ts, effects.ts and
// its parts, and once.ts.

import type { Draft, Writer } from '../journal/writer.ts'
import type { Limits } from '../limits.ts'
import type { Batch, RowWrite } from '../store/store.ts'
import type { Pending } from './call.ts'

export interface Group {
  readonly drafts: Draft[]
  /** How many of the drafts will be delivered. */
  outcomes: number
  readonly require: NonNullable<Batch['require']>[number][]
  /** Settled attempts that the drafts hold. */
  collected: number
  /** Late outcomes that they hold. */
  late: number
  readonly after: (() => void)[]
  bytes: number
  /** Of the effect ledger, and what the settled attempts have staged of the run's state. */
  readonly rows: RowWrite[]
  /** Messages that the drafts decide. */
  readonly take: number[]
  /** Effects to be called when their intents, which are among the drafts, are committed. */
  readonly launch: Pending[]
  /** On the disk before the answer: whatever tells of an effect, or takes a message. */
  isStrict: boolean
  /** The commit also requires that no message came behind this number: it says that there is none. */
  inbox: number | undefined
}

export function emptyGroup(): Group {
  return { drafts: [], outcomes: 0, require: [], collected: 0, late: 0, after: [], bytes: 0, rows: [], take: [], launch: [], isStrict: false, inbox: undefined }
}

export function hasRoom(group: Group, limits: Limits): boolean {
  return group.drafts.length < limits.batchEntries && group.bytes < limits.batchBytes
}

export function addOutcome(group: Group, draft: Draft): void {
  group.drafts.push(group.outcomes++ > 0 ? { ...draft, grouped: true } : draft)
}

/** The number that the next draft of `group` gets. */
export function nextSeq(group: Group, writer: Writer): number {
  return writer.head.seq + group.drafts.length + 1
}
