// Events (G18): what the function and its steps tell the outside world. Each is an entry of the journal, numbered in its commit, and a
// row of the table `event`, which readers page through. The rows are a projection: the journal gives them back.

import type { RunEvent } from '../client.ts'
import { decode, encode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { before } from '../journal/cursor.ts'
import { decodeEntry, type Entry, kindCodes } from '../journal/entry.ts'
import type { Draft } from '../journal/writer.ts'
import { type Limits, within } from '../limits.ts'
import { maxPageRows, maxValueBytes } from '../store/batch.ts'
import { inboxKey, type RowWrite, type RunStore } from '../store/store.ts'
import type { Emitted } from './attempt.ts'
import { checkName } from './key.ts'
import type { Live } from './live.ts'
import type { Pass } from './pass.ts'
import type { RunState } from './state.ts'

/** The payload of `event_emitted`: the time is in its header. */
type EventPayload = Omit<RunEvent, 'at'>

/** What was emitted and has no number yet. `data` is encoded: as it was at the call. */
export interface FreshEvent {
  readonly type: string
  readonly data: Uint8Array
}

/** Data that any store takes, with the key, type and header that go with it. */
const MAX_DATA_BYTES = maxValueBytes - 16 * 1024

const RESERVED = 'stepwell.'
/** A type is a field of one line wherever events are sent as text. */
const control = /[\u0000-\u001f\u007f]/

/** Throws `invalid_argument`, `reserved_name`, `not_serializable`, `limit_exceeded` (`eventBytes`), `payload_too_large`. */
export function freshEvent(limits: Limits, type: string, data: unknown): FreshEvent {
  checkName(limits, type, 'emit')
  if (control.test(type)) throw new StepwellError('invalid_argument', `emit: the type ${JSON.stringify(type.slice(0, 40))} has a control character`)
  if (type.startsWith(RESERVED)) throw new StepwellError('reserved_name', `emit: types that begin with "${RESERVED}" are reserved`, { details: { type } })
  const bytes = encode(data, { at: 'data' })
  within(limits, 'eventBytes', bytes.length, `event ${JSON.stringify(type)}`)
  // Refused by the store it would be tried again and again.
  if (bytes.length > MAX_DATA_BYTES) {
    throw new StepwellError('payload_too_large', `event ${JSON.stringify(type)} has ${bytes.length} bytes, ${MAX_DATA_BYTES} are allowed`, {
      details: { limit: 'maxValueBytes', measured: bytes.length, allowed: MAX_DATA_BYTES },
    })
  }
  return { type, data: bytes }
}

/**
 * The events of one pass. In a replay the function emits what the journal holds: those are told apart by counting, between two
 * deliveries. Whatever is left when history is exhausted was never stored.
 */
export class Events {
  readonly #live: Live
  /** Emitted by the function, and not found in the journal. */
  #fresh: FreshEvent[] = []
  /** Found in the journal, and not emitted by this pass yet. */
  #credit = 0
  #isChecked = false

  constructor(live: Live) {
    this.#live = live
  }

  /** The function has emitted. */
  emit(event: FreshEvent): void {
    if (this.#credit > 0) this.#credit--
    else this.#fresh.push(event)
  }

  /** The journal holds one. */
  note(entry: Entry): void {
    const { state } = this.#live
    const { number, key } = decode(entry.payload) as EventPayload
    state.events = Math.max(state.events, number)
    if (key !== undefined) return
    if (this.#fresh.length > 0) this.#fresh.shift()
    else this.#credit++
  }

  /**
   * An outcome is delivered. What was emitted before it was stored before it: what differs comes from code that is newer than this
   * history, and is silent. Not so in a group, which is committed as a whole before its first member is delivered: what was emitted
   * between two of them is stored behind the last.
   */
  delivered(isGrouped: boolean): void {
    if (isGrouped) return
    this.#credit = 0
    if (this.#fresh.length > 0) this.#fresh = []
  }

  /** They are stored before anything that follows from them. */
  get isUnstored(): boolean {
    return this.#fresh.length > 0 || this.#live.attempts.emitted.length > 0
  }

  /** Stores what there is, the function's own first. At the end of history only: there nothing of it is in the journal. */
  async commit(pass: Pass): Promise<void> {
    const fresh = this.#fresh
    this.#fresh = []
    await this.#commit([...fresh, ...this.#ofAttempts(pass)], pass.calls)
  }

  /** Stores what attempts have emitted, wherever the pass stands. */
  async commitOfAttempts(pass: Pass): Promise<void> {
    await this.#commit(this.#ofAttempts(pass), pass.calls)
  }

  /** Only of those that can still settle: while this host did not drive, another may have brought the step to its outcome. */
  #ofAttempts(pass: Pass): readonly Emitted[] {
    const { attempts } = this.#live
    attempts.emitted = attempts.emitted.filter(({ by }) => attempts.live.get(by.key) === by && (by.role !== 'step' || pass.outstanding.has(by.key)))
    return [...attempts.emitted]
  }

  async #commit(all: readonly (FreshEvent | Emitted)[], calls: number): Promise<void> {
    const { state, attempts } = this.#live
    const { limits } = state
    for (let next = 0; next < all.length;) {
      const drafts: Draft[] = []
      const rows: RowWrite[] = []
      const at = Math.max(state.host.now(), state.writer.lastAt)
      let { events } = state
      for (let bytes = 0; next < all.length && drafts.length < limits.batchEntries && bytes < limits.batchBytes; next++) {
        const { type, data, ...whose } = all[next] as FreshEvent | Emitted
        const { key, attempt } = whose as Partial<Emitted>
        const event: EventPayload = { number: ++events, type, data: decode(data), ...(key === undefined ? undefined : { key, attempt: attempt as number }) }
        drafts.push({ kind: 'event_emitted', calls, at, payload: encode(event) })
        rows.push(rowOf({ ...event, at }))
        if (events > limits.events) rows.push({ table: 'event', key: inboxKey(events - limits.events), value: null })
        bytes += 2 * data.length
      }
      await state.commit(drafts, { rows })
      state.events = events
      attempts.told(all.slice(next - drafts.length, next))
      state.emitted()
    }
  }

  /** Whether its rows are there was not looked at in this pass. */
  get isUnchecked(): boolean {
    return !this.#isChecked && this.#live.state.events > 0
  }

  /** Rows that somebody has deleted are written anew. At the end of history, where their number is known. */
  async check(): Promise<void> {
    const { state } = this.#live
    this.#isChecked = true
    if (await state.store.row('event', inboxKey(state.events)) === undefined) await restoreEvents(state)
  }
}

function rowOf(event: RunEvent): RowWrite & { readonly value: Uint8Array } {
  return { table: 'event', key: inboxKey(event.number), value: encode(event) }
}

/**
 * The run row counts the events, as of its last write. Where whoever drove the run did not come to write it, the rows say how many
 * there are; where those are lost, replay does.
 */
export async function countEvents(state: RunState): Promise<void> {
  for (;;) {
    const page = await state.store.keys('event', { after: inboxKey(state.events), limit: maxPageRows })
    if (page.length === 0) return
    state.events = Number(page.at(-1))
  }
}

/** Reads from the journal how many events there are, from entry `from` on: before something is numbered that no replay comes before. */
export async function recountEvents(state: RunState, from: number): Promise<void> {
  for await (const entry of eventsFrom(state.store, from)) state.events = Math.max(state.events, numberOf(entry))
}

/** Writes the rows that should be there, all from the journal. */
export async function restoreEvents(state: RunState): Promise<void> {
  await recountEvents(state, 1)
  const oldest = state.events - state.limits.events + 1
  let rows: RowWrite[] = []
  let bytes = 0
  for await (const entry of eventsFrom(state.store, 1)) {
    if (numberOf(entry) < oldest) continue
    const row = rowOf({ ...decode(entry.payload) as EventPayload, at: entry.at })
    rows.push(row)
    bytes += row.value.length
    if (rows.length < state.limits.batchEntries && bytes < state.limits.batchBytes) continue
    await state.commit([], { rows })
    rows = []
    bytes = 0
  }
  if (rows.length > 0) await state.commit([], { rows })
  state.emitted()
}

function numberOf(entry: Entry): number {
  return (decode(entry.payload) as EventPayload).number
}

/** Only what is verified: entries of events and what they are chained to. */
async function* eventsFrom(store: RunStore, from: number): AsyncIterable<Entry> {
  for (let after = from - 1; ;) {
    const page = await store.entries(after, 256)
    for (const { seq, bytes } of page) {
      if (bytes[1] === kindCodes.event_emitted) yield decodeEntry(seq, bytes, (await before(store, seq)).hash)
      after = seq
    }
    if (page.length < 256) return
  }
}
