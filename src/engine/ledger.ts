// The effect ledger: what has become of each effect of a run, found by its idempotency key in every later generation (G15). A
// projection of the journal: each row is written in the commit of the entry that it tells of.

import type { EffectPage, EffectView, PageOptions } from '../client.ts'
import { decode, encode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { readable, unswept } from '../journal/tombstone.ts'
import { pageOf } from '../journal/view.ts'
import type { RowWrite, RunStore } from '../store/store.ts'
import type { EffectKind } from './key.ts'
import { notFound } from './post.ts'
import type { RunState } from './state.ts'

/**
 * `in_progress`: intended, and no outcome is known. `ambiguous`: the same, and nobody is at it any more. `done`: it happened, its
 * outcome is entry `outcome`. `skipped`: taken for happened by policy or person. `failed`: it did not happen. `undone`.
 */
export type EffectStatus = 'in_progress' | 'ambiguous' | 'done' | 'skipped' | 'failed' | 'undone'

/** The last intent of an effect. */
export interface Intent {
  readonly seq: number
  readonly attempt: number
  /** When it was committed, ms since 1970. */
  readonly at: number
  /** The function is not called after it. */
  readonly startBy: number
  /** `startBy` and the effect's timeout: before it a successor decides nothing (G12). */
  readonly until: number
}

export interface LedgerRow {
  readonly status: EffectStatus
  /** The structural key of the call, in the generation that wrote this. */
  readonly key: string
  readonly kind: EffectKind | 'step'
  readonly generation: number
  readonly intent: Intent | undefined
  /** The entry with its value, or with its failure. */
  readonly outcome: number | undefined
  /** An undo is declared, and nobody has said after it failed that it stays as it is. */
  readonly hasUndo: boolean
  /** How often it was undone: part of the next idempotency key. */
  readonly undos: number
  /** How an ambiguity was decided, and by whom. */
  readonly decision?: { readonly word: string; readonly by: string; readonly principal?: string }
  readonly updatedAt: number
}

/** What the ledger answers to somebody who wants to act. */
export function isFree(row: LedgerRow | undefined): boolean {
  return row === undefined || row.status === 'failed' || row.status === 'undone'
}

const next: Readonly<Record<EffectStatus | 'free', readonly EffectStatus[]>> = {
  free: ['in_progress'],
  in_progress: ['in_progress', 'ambiguous', 'done', 'skipped', 'failed'],
  // A late outcome settles an ambiguity, also one that a policy has decided.
  ambiguous: ['in_progress', 'ambiguous', 'done', 'skipped', 'failed'],
  skipped: ['done', 'failed', 'skipped'],
  failed: ['in_progress', 'failed', 'done'],
  done: ['undone'],
  undone: ['in_progress'],
}

/** The row as it is written. The one place that says which state may follow which: what is done stays done until it is undone. */
export function ledgerWrite(base: string, from: LedgerRow | undefined, to: LedgerRow): RowWrite {
  if (!next[from?.status ?? 'free'].includes(to.status)) {
    throw new StepwellError('internal', `the effect ${to.key} cannot become ${to.status}: it is ${from?.status ?? 'free'}`)
  }
  return { table: 'effect', key: base, value: encode(to) }
}

/** What a person has decided about the undo of what stays as it is: nobody is to take it back any more. */
export function ledgerKept(base: string, row: LedgerRow, decision: NonNullable<LedgerRow['decision']>, updatedAt: number): RowWrite {
  return { table: 'effect', key: base, value: encode({ ...row, hasUndo: false, decision, updatedAt }) }
}

export async function readLedger(store: RunStore, base: string): Promise<LedgerRow | undefined> {
  const bytes = await store.row('effect', base)
  return bytes === undefined ? undefined : decode(bytes) as LedgerRow
}

/** What `ctx.recordEffect` has written, in the same table. */
export const RECORD = 'record:'

/** All rows of effects, in no order that means anything. */
export async function* ledgerRows(store: RunStore): AsyncIterable<{ readonly base: string; readonly row: LedgerRow }> {
  for (let after = ''; ;) {
    const page = await store.rows('effect', { after, limit: 100 })
    for (const { key, value } of page) if (!key.startsWith(RECORD)) yield { base: key, row: decode(value) as LedgerRow }
    const last = page.at(-1)
    if (last === undefined || page.length < 100) return
    after = last.key
  }
}

/**
 * The run row counts the effects that have rows, as of its last write. Where whoever drove the run did not come to write it, the rows
 * themselves are counted.
 */
export async function recountLedger(state: RunState): Promise<void> {
  state.effects = Math.max(state.effects, await count(state.store))
}

/**
 * Before something is taken for new that another generation, or another call of its key, may have done: throws `corrupt_run` when rows
 * are missing. What one of them told of would happen a second time. Counted once for each pass.
 */
export async function checkLedger(state: RunState): Promise<void> {
  if (state.isLedgerWhole) return
  const { store, effects } = state
  const found = await count(store)
  if (found < effects) {
    throw new StepwellError('corrupt_run', `the ledger of run ${store.runId} has lost rows: ${effects} effects were intended, and ${found} are there`, {
      details: { runId: store.runId, intended: effects, found },
    })
  }
  state.isLedgerWhole = true
}

async function count(store: RunStore): Promise<number> {
  let found = 0
  for (let after = ''; ;) {
    const page = await store.keys('effect', { after, limit: 1000 })
    for (const key of page) if (!key.startsWith(RECORD)) found++
    const last = page.at(-1)
    if (last === undefined || page.length < 1000) return found
    after = last
  }
}

/** What `effects()` shows: the ledger without a value. Every row is looked at, and no more than a page is kept. Throws `run_not_found`, `run_swept`. */
export async function effectPage(store: RunStore, options: PageOptions = {}): Promise<EffectPage> {
  const { after, limit } = pageOf(options)
  const run = await store.read()
  if (run === undefined) throw notFound(store)
  return unswept(store, readable(run), () => readPage(store, after, limit))
}

async function readPage(store: RunStore, after: number, limit: number): Promise<EffectPage> {
  let items: EffectView[] = []
  let isCut = false
  for await (const { row } of ledgerRows(store)) {
    if ((row.intent?.seq ?? 0) <= after) continue
    items.push(viewOf(row))
    if (items.length < 2 * limit) continue
    items = items.sort(byIntent).slice(0, limit)
    isCut = true
  }
  items.sort(byIntent)
  if (items.length > limit) isCut = true
  items = items.slice(0, limit)
  return { items, next: isCut ? items.at(-1)?.seq : undefined }
}

const byIntent = (a: EffectView, b: EffectView): number => a.seq - b.seq

function viewOf({ key, kind, status, generation, intent, outcome, hasUndo, undos, decision, updatedAt }: LedgerRow): EffectView {
  return {
    seq: intent?.seq ?? 0, key, kind, status, generation, attempt: intent?.attempt, intendedAt: intent?.at, startBy: intent?.startBy, until: intent?.until,
    outcome, hasUndo, undos, ...(decision === undefined ? undefined : { decision }), updatedAt,
  }
}
