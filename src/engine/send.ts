// Sending a signal: a durable message into a run, from anyone. It is numbered and checked against its id in the commit that stores it, so
// it is there once, however often it is sent (G17).

import type { SignalOutcome } from '../client.ts'
import { canonicalBytes, copy, decode, encode } from '../codec.ts'
import type { AnyWorkflow, Registry } from '../define.ts'
import { StepwellError } from '../errors.ts'
import { hashParts, hex } from '../hash.ts'
import type { Host } from '../host.ts'
import { decodeRecord, isEnded, type RunRecord } from '../journal/record.ts'
import { type Limits, within } from '../limits.ts'
import { validate } from '../schema.ts'
import { rowsUpTo } from '../store/batch.ts'
import { bounded, type Bound } from '../store/bounded.ts'
import type { RowWrite, RunStore } from '../store/store.ts'
import { checkName } from './key.ts'
import { notFound } from './post.ts'
import { type Sent, sentOf, signalChannel, signalRow } from './signal.ts'

export interface SignalRequest {
  readonly name: string
  readonly payload: unknown
  /** The same id again is the same signal. Default: a random one. */
  readonly id?: string
}

/** Where a message goes, and from where. */
export interface Sender {
  readonly store: RunStore
  readonly host: Pick<Host, 'now' | 'random'>
  readonly limits: Limits
  readonly principal: string | undefined
  readonly bound?: Bound | undefined
}

/**
 * Durable when it resolves: the run takes it when it asks for one, also if that is much later, in the order of the numbers. The caller then
 * pokes the driver. Throws `run_not_found`, `run_swept`, `not_registered`, `invalid_argument` for a signal that is not declared,
 * `input_invalid`, `input_mismatch` (the id was used for something else), `already_ended`, `limit_exceeded` (`signals`, `signalBytes`),
 * `store_unavailable`: nothing written.
 */
export async function sendSignal(sender: Sender, registry: Registry, { name, payload, id }: SignalRequest): Promise<SignalOutcome> {
  const { store, limits } = sender
  const known = checkId(id) ?? hex(sender.host.random(16))
  checkName(limits, name, 'signal')
  const { value: raw } = copy(payload)
  const row = await store.read()
  if (row === undefined) throw notFound(store)
  const definition = definitionOf(registry, decodeRecord(row), store)
  if (!Object.hasOwn(definition.signals, name)) throw new StepwellError('invalid_argument', `workflow ${definition.name} declares no signal ${JSON.stringify(name)}`)
  const digest = hashParts('stepwell.signal', name, canonicalBytes(raw))
  return send(sender, {
    channel: signalChannel(name), receipt: hex(hashParts('stepwell.signal.id', known)), digest: hex(digest),
    mismatch: () => new StepwellError('input_mismatch', `run ${store.runId}: the id ${JSON.stringify(known.slice(0, 40))} was used for another signal`),
    // Once, and before anything is written; what is delivered is what it gave, whatever the schema says by then.
    value: async () => copy(await validate(definition.signals[name], raw, 'input_invalid', `the payload of signal ${JSON.stringify(name)}`)).value,
  })
}

/**
 * Takes back the signals of this name that the run has not taken yet, and answers how many. Durable when it resolves: none of them is given to
 * the run any more. Their ids stay used. Throws `run_not_found`, `run_swept`, `store_unavailable`.
 */
export async function clearSignals({ store, limits, bound }: Sender, name: string): Promise<{ readonly cleared: number }> {
  checkName(limits, name, 'signal')
  let lost = 0
  for (let cleared = 0; ;) {
    const row = await store.read()
    if (row === undefined) throw notFound(store)
    decodeRecord(row)
    const rows: RowWrite[] = []
    for (let after = ''; ;) {
      const page = await store.rows('signal', { after, limit: 64 })
      for (const each of page) if (sentOf(each).channel === signalChannel(name)) rows.push({ table: 'signal', key: each.key, value: null })
      const last = page.at(-1)
      if (last === undefined) break
      after = last.key
    }
    // After a lost answer: whoever else could have removed them is the run, and then the commit was refused.
    if (rows.length === 0) return { cleared }
    const commit = store.commit({ expect: { kind: 'next', inbox: row.inbox }, rows, durability: 'strict' })
    const answer = await (bound === undefined ? commit : bounded(commit, bound))
    if (answer.kind === 'committed') return { cleared: rows.length }
    if (answer.kind === 'unknown') {
      cleared = rows.length
      if (++lost >= 3) throw new StepwellError('store_unavailable', `run ${store.runId}: its signals could not be cleared`, { cause: answer.error })
    }
  }
}

export interface Outgoing {
  readonly channel: string
  /** The key of its receipt: whatever has the same one is the same message. */
  readonly receipt: string
  /** Of what was sent, before any schema. */
  readonly digest: string
  readonly mismatch: () => StepwellError
  readonly value: () => Promise<unknown>
  readonly isError?: true
}

interface Receipt {
  readonly number: number
  readonly digest: string
}

/** Answers only what is stored: a message whose commit has no answer is looked for before it is sent again. */
export async function send({ store, host, limits, principal, bound }: Sender, message: Outgoing): Promise<SignalOutcome> {
  let value: { readonly of: unknown } | undefined
  let lost = 0
  for (;;) {
    // The row first: a receipt that is written behind this look takes a number, and the commit below is refused.
    const row = await store.read()
    if (row === undefined) throw notFound(store)
    const record = decodeRecord(row)
    const found = await store.row('receipt', message.receipt)
    if (found !== undefined) {
      const { number, digest } = decode(found) as Receipt
      if (digest !== message.digest) throw message.mismatch()
      return { seq: number, duplicate: true }
    }
    if (isEnded(record.status)) throw new StepwellError('already_ended', `run ${store.runId} has ended, and takes no more signals`)
    if (value === undefined) {
      // A schema may take its time, and what was read is old by then.
      value = { of: await message.value() }
      continue
    }
    within(limits, 'signals', await rowsUpTo(store, 'signal', limits.signals) + 1, `run ${store.runId}: signals that nobody has taken`)
    const at = host.now()
    const number = row.inbox + 1
    const sent: Sent = {
      number, channel: message.channel, at, ...(principal === undefined ? undefined : { principal }), value: value.of, ...(message.isError === true ? { isError: true } : undefined),
    }
    const bytes = signalRow(sent)
    within(limits, 'signalBytes', bytes.value?.length ?? 0, `run ${store.runId}: a signal`)
    const commit = store.commit({
      expect: { kind: 'next', inbox: row.inbox }, wakeBy: at, durability: 'strict',
      rows: [bytes, { table: 'receipt', key: message.receipt, value: encode({ number, digest: message.digest } satisfies Receipt) }],
    })
    const answer = await (bound === undefined ? commit : bounded(commit, bound))
    if (answer.kind === 'committed') return { seq: number, duplicate: false }
    if (answer.kind === 'unknown' && ++lost >= 3) {
      throw new StepwellError('store_unavailable', `run ${store.runId}: the signal could not be stored`, { cause: answer.error })
    }
  }
}

/** Throws `not_registered`. */
export function definitionOf(registry: Registry, { workflow }: RunRecord, store: RunStore): AnyWorkflow {
  const definition = registry.get(workflow)
  if (definition === undefined) throw new StepwellError('not_registered', `this host knows no workflow named ${workflow}, of which run ${store.runId} is one`)
  return definition
}

function checkId(id: unknown): string | undefined {
  if (id === undefined || (typeof id === 'string' && id.length >= 1 && id.length <= 256 && id.isWellFormed())) return id
  throw new StepwellError('invalid_argument', 'the id of a signal is a string of 1 to 256 characters')
}
