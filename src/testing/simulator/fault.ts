// Every way in which the simulated world can fail, the cells of its coverage, and which of them cannot be.

import { type EntryKind, kindCodes } from '../../journal/entry.ts'
import type { Batch } from '../../store/store.ts'

/** Each one strikes at a commit; those of the network strike the next message of the host that commits. */
export const faults = [
  /** The process dies, and the commit did not happen, or did. */
  'crash before', 'crash after',
  /** The machine loses its power, and with it what was written and not flushed. */
  'power loss',
  /** The answer of the commit is "unknown", although it happened, or because it did not. */
  'answer lost', 'not written',
  'store fails', 'quota',
  /** No answer ever comes. */
  'hang',
  /** The host stops for minutes, before the commit or after it; another one takes over; then it goes on. */
  'freeze before', 'freeze after',
  /** The code is replaced by newer, or by older code. */
  'deploy', 'roll back',
  'clock forward', 'clock back',
  'message dropped', 'message repeated', 'message delayed', 'messages reordered',
  /** The browser throws away what the site has stored. */
  'storage lost',
] as const

export type Fault = (typeof faults)[number]
export type SimulatedHost = 'edge' | 'browser'
export const hosts: readonly SimulatedHost[] = ['edge', 'browser']
export const kinds = Object.keys(kindCodes) as EntryKind[]

export interface Cell {
  readonly fault: Fault
  readonly kind: EntryKind
  readonly host: SimulatedHost
}

/** Why a cell cannot be reached, or undefined. */
export function impossible({ fault, host }: Cell): string | undefined {
  if (host === 'edge' && fault === 'hang') return 'SQLite in a Durable Object answers in the turn of the call'
  if (host === 'edge' && fault === 'freeze before') return 'a write in SQLite cannot be waited for, so an object is frozen behind it'
  if (host === 'edge' && fault === 'storage lost') return 'what a Durable Object has confirmed is kept'
  return undefined
}

export const cells: readonly Cell[] = hosts.flatMap((host) => kinds.flatMap((kind) => faults.map((fault) => ({ fault, kind, host }))))
  .filter((cell) => impossible(cell) === undefined)

const names: readonly (EntryKind | undefined)[] = (() => {
  const all: (EntryKind | undefined)[] = []
  for (const kind of kinds) all[kindCodes[kind]] = kind
  return all
})()

/** What is in a commit, without decoding it: the second byte of an entry is its kind (docs/journal.md). */
export function kindsOf(batch: Batch): readonly EntryKind[] {
  return batch.entries === undefined ? [] : batch.entries.map(({ bytes }) => names[bytes[1] as number] as EntryKind)
}

export const cellKey = ({ fault, kind, host }: Cell): string => `${fault} | ${kind} | ${host}`
