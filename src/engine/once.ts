// Effects by the caller's own key, which is one key in the whole run: `ctx.once`, and what asks the ledger or notes something in it
// (`ctx.hasEffect`, `ctx.recordEffect`).

import type { At, EffectRecord, OnceOptions } from '../context.ts'
import { decode, encode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { blake3, hex } from '../hash.ts'
import type { Draft } from '../journal/writer.ts'
import { type Limits, within } from '../limits.ts'
import { nothing, type Pending, type StepPart } from './call.ts'
import { calling, declared, type Given } from './effect.ts'
import { type Group, nextSeq } from './group.ts'
import { type CallKind, checkName, declaredInput, fingerprint, idempotencyKey, type Scope } from './key.ts'
import { checkLedger, type LedgerRow, RECORD } from './ledger.ts'
import { toPayload } from './outcome.ts'
import type { RunState } from './state.ts'

/** Throws typed usage errors before anything is counted or written. */
export function onceCall(
  limits: Limits, scope: Scope, hostName: string, incarnation: string,
  wanted: unknown, run: unknown, options: OnceOptions<{}, At, unknown> | undefined,
): Pending {
  const own = keyOf(limits, wanted, 'once')
  const what = `once ${own}`
  if (typeof run !== 'function') throw new StepwellError('invalid_argument', `${what}: the second argument is the function to run`)
  const given = (options ?? {}) as Given
  const base = onceKey(incarnation, own)
  const effect = declared(what, 'custom', given.onAmbiguous ?? 'ask', given, base)
  const how = calling(what, own, given, limits, hostName)
  return {
    ...keyed('once', scope, own, undefined),
    step: { name: NAME, own, labels: LABELS, input: undefined, inputBytes: undefined, attempt: 1, nth: 0, run: run as StepPart['run'], ...how },
    effect,
  }
}

export interface NotePart {
  /** Of the effect by this key. */
  readonly base: string
  /** Of the record by this key. */
  readonly record: string
  /** What is to be noted; without it the ledger is only asked. */
  readonly write?: { readonly status: string; readonly details: Uint8Array }
}

export function hasEffectCall(limits: Limits, scope: Scope, incarnation: string, wanted: unknown): Pending {
  const own = keyOf(limits, wanted, 'hasEffect')
  return { ...keyed('has_effect', scope, own, undefined), step: undefined, note: notePart(incarnation, own) }
}

export function recordEffectCall(limits: Limits, scope: Scope, incarnation: string, wanted: unknown, status: unknown, details: unknown): Pending {
  const own = keyOf(limits, wanted, 'recordEffect')
  checkName(limits, status, `status of effect ${own}`)
  const bytes = encode(details)
  within(limits, 'valueBytes', bytes.length, `details of effect ${own}`)
  // Its details are for people: to word them anew is no other history.
  return {
    ...keyed('record_effect', scope, own, declaredInput(status)), step: undefined,
    note: { ...notePart(incarnation, own), write: { status: status as string, details: bytes } },
  }
}

/** Answers from the ledger, as it will be behind `group`. The answer is an entry, so that every replay gives it again. */
export async function answerNote(state: RunState, group: Group, call: Pending, calls: number): Promise<Draft> {
  const { base, record, write } = call.note as NotePart
  const common = { key: call.key, fingerprint: call.fingerprint, calls }
  const known = await rowOf(state, group, record) as RecordRow | undefined
  if (write === undefined) {
    const row = await rowOf(state, group, base) as LedgerRow | undefined
    if (known === undefined && row === undefined) await checkLedger(state)
    const has = known !== undefined || row?.status === 'done' || row?.status === 'skipped'
    return { ...common, kind: 'effect_looked_up', payload: encode(has) }
  }
  group.isStrict = true
  if (known !== undefined) {
    const { status, details, at } = known
    return { ...common, kind: 'effect_noted', payload: encode({ answer: { replayed: true, record: { status, details, at } } }) }
  }
  const { limits, host, writer } = state
  const at = Math.max(host.now(), writer.lastAt)
  const isSmall = write.details.length <= limits.detailsBytes
  const details = isSmall ? decode(write.details) : digest(write.details)
  const answer: { replayed: boolean; record: EffectRecord } = { replayed: false, record: { status: write.status, details, at } }
  const value = isSmall ? { answer } : { answer, details: decode(write.details) }
  const { payload, blob, require } = await toPayload(state.blobs, { ...limits, valueBytes: Infinity }, host.now(), value, `details of effect ${call.key}`)
  group.require.push(...(require ?? []))
  const row: RecordRow = { ...answer.record, seq: nextSeq(group, writer) }
  group.rows.push({ table: 'effect', key: record, value: encode(row) })
  return { ...common, kind: 'effect_noted', at, payload, blob }
}

/** What the waiting function gets of such an entry. */
export function answerOf(value: unknown): unknown {
  return (value as { readonly answer: unknown }).answer
}

/** A row of the ledger that `ctx.recordEffect` has written. */
interface RecordRow extends EffectRecord {
  /** The entry with all of the details. */
  readonly seq: number
}

async function rowOf(state: RunState, group: Group, key: string): Promise<unknown> {
  const staged = group.rows.findLast((row) => row.table === 'effect' && row.key === key)
  const bytes = staged === undefined ? await state.store.row('effect', key) : staged.value
  return bytes == null ? undefined : decode(bytes)
}

/** Instead of details that are too large for the ledger: what they were, and how to tell them from others (B-032). */
function digest(bytes: Uint8Array): { readonly truncated: true; readonly bytes: number; readonly blake3: string; readonly type: string; readonly size?: number } {
  const value = decode(bytes)
  const type = typeof value === 'object' ? Object.prototype.toString.call(value).slice(8, -1).toLowerCase() : typeof value
  const size = typeof value === 'string' || Array.isArray(value) ? value.length : type === 'object' ? Object.keys(value as object).length : undefined
  return { truncated: true, bytes: bytes.length, blake3: hex(blake3(bytes)), type, ...(size === undefined ? undefined : { size }) }
}

// No scope has such a label: in one, "#" would be escaped.
const LABELS = '#once'
const NAME = 'ctx.once'
const names: Readonly<Record<'once' | 'has_effect' | 'record_effect', string>> = { once: NAME, has_effect: 'ctx.hasEffect', record_effect: 'ctx.recordEffect' }

function onceKey(incarnation: string, own: string): string {
  return idempotencyKey({ incarnation, labels: LABELS, name: NAME, own, input: undefined, nth: 0, undos: 0 })
}

function notePart(incarnation: string, own: string): NotePart {
  const record = idempotencyKey({ incarnation, labels: LABELS, name: RECORD, own, input: undefined, nth: 0, undos: 0 })
  return { base: onceKey(incarnation, own), record: RECORD + record }
}

function keyed(kind: CallKind & keyof typeof names, scope: Scope, own: string, input: Uint8Array | undefined): Omit<Pending, 'step'> {
  const { key } = scope.next(names[kind], own)
  return {
    kind, key, fingerprint: fingerprint(kind, key, input), isCleanup: scope.isCleanup,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, until: undefined,
  }
}

function keyOf(limits: Limits, key: unknown, what: string): string {
  if (typeof key !== 'string') throw new StepwellError('invalid_argument', `${what}: the key is a string`)
  return checkName(limits, key.trim(), `key of ${what}`)
}
