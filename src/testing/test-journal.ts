// The journal of one run as a test asks about it: by the names of calls, with what became of each.

import { decode } from '../codec.ts'
import type { Decided } from '../engine/ambiguity.ts'
import { fromPayload } from '../engine/outcome.ts'
import { StepwellError } from '../errors.ts'
import { decodeEntry, type Entry, GENESIS } from '../journal/entry.ts'
import type { RunStore } from '../store/store.ts'

export interface JournaledCall {
  /** As the journal shows it: the name, with its scopes before it and, for a second use, its number behind it. */
  readonly key: string
  readonly kind: 'step' | 'effect' | 'timer' | 'other'
  /** `open`: no outcome is committed. */
  readonly state: 'open' | 'completed' | 'failed'
  /** Attempts that were committed: of a step those that settled, of an effect those that were intended. */
  readonly attempts: number
  /** Of one that completed. */
  readonly value: unknown
  /** Of one that failed. */
  readonly error: unknown
  /** How it was decided what became of it when nobody knew: `by: decision` each. */
  readonly decisions: readonly string[]
  readonly isUndone: boolean
  /** Of a timer: when it was or is due, ms since 1970. */
  readonly dueAt: number | undefined
  /** Of the entry with its outcome; undefined while it is open. */
  readonly seq: number | undefined
}

type Draft = { -readonly [K in keyof JournaledCall]: K extends 'decisions' ? string[] : JournaledCall[K] }

/** A snapshot: what comes later is not in it. Of the newest generation. Every method that names a call takes its name or its key. */
export class TestJournal {
  readonly runId: string
  readonly entries: readonly Entry[]
  /** In the order of their first entries. */
  readonly calls: readonly JournaledCall[]
  readonly #nameOf: (key: string) => string | undefined

  constructor(runId: string, entries: readonly Entry[], calls: readonly JournaledCall[], nameOf: (key: string) => string | undefined) {
    this.runId = runId
    this.entries = entries
    this.calls = calls
    this.#nameOf = nameOf
  }

  /** Keys of the steps and effects that have completed, in the order of their outcomes. */
  get completed(): readonly string[] {
    return this.#settled('completed')
  }

  get failed(): readonly string[] {
    return this.#settled('failed')
  }

  #settled(state: JournaledCall['state']): readonly string[] {
    return this.calls.filter((call) => call.state === state && (call.kind === 'step' || call.kind === 'effect'))
      .sort((a, b) => (a.seq ?? 0) - (b.seq ?? 0)).map(({ key }) => key)
  }

  /** The calls of this name, or the one with this key. */
  all(name: string): readonly JournaledCall[] {
    const exact = this.calls.filter(({ key }) => key === name)
    return exact.length > 0 ? exact : this.calls.filter(({ key }) => this.#nameOf(key) === name)
  }

  /** The one call of this name or key. Throws when there is none, or when there are several. */
  call(name: string): JournaledCall {
    const [first, ...more] = this.all(name)
    if (first === undefined) throw new Error(`the journal of run ${this.runId} has no call "${name}"${this.text}`)
    if (more.length > 0) throw new Error(`the journal of run ${this.runId} has ${more.length + 1} calls "${name}": name one by its key${this.text}`)
    return first
  }

  has(name: string): boolean {
    return this.all(name).length > 0
  }

  attempts(name: string): number {
    return this.call(name).attempts
  }

  /** Its value. Throws its error when it failed, and when it has no outcome. */
  outcome(name: string): unknown {
    const { state, value, error } = this.call(name)
    if (state === 'failed') throw error
    if (state === 'open') throw new Error(`"${name}" has no outcome yet${this.text}`)
    return value
  }

  /** When a timer is or was due: of `sleep` and `sleepUntil`, in the order in which they were set. */
  get timers(): readonly { readonly key: string; readonly dueAt: number | undefined; readonly hasFired: boolean }[] {
    return this.calls.filter(({ kind }) => kind === 'timer').map(({ key, dueAt, state }) => ({ key, dueAt, hasFired: state === 'completed' }))
  }

  /** One line for each entry. */
  get text(): string {
    return this.entries.map(({ seq, kind, key, attempt }) => `\n  ${seq} ${kind}${key === undefined ? '' : ` ${key}`}${attempt > 1 ? ` (attempt ${attempt})` : ''}`).join('')
  }
}

/** Throws what is wrong with an entry, naming it. */
export async function readJournal(store: RunStore, nameOf: (key: string) => string | undefined): Promise<TestJournal> {
  const entries: Entry[] = []
  let hash = GENESIS
  for (;;) {
    const page = await store.entries(entries.length, 500)
    for (const { seq, bytes } of page) {
      if (seq !== entries.length + 1) throw new StepwellError('corrupt_entry', `entry ${entries.length + 1} of the journal is missing`, { details: { seq: entries.length + 1 } })
      const entry = decodeEntry(seq, bytes, hash)
      hash = entry.hash
      entries.push(entry)
    }
    if (page.length < 500) break
  }
  const generation = entries.at(-1)?.generation ?? 1
  const calls = new Map<string, Draft>()
  for (const entry of entries) if (entry.key !== undefined && entry.generation === generation) await note(store, calls, entry, entry.key)
  return new TestJournal(store.runId, entries, [...calls.values()], nameOf)
}

async function note(store: RunStore, calls: Map<string, Draft>, entry: Entry, key: string): Promise<void> {
  let call = calls.get(key)
  if (call === undefined) {
    calls.set(key, call = {
      key, kind: kindOf(entry), state: 'open', attempts: 0, value: undefined, error: undefined, decisions: [], isUndone: false, dueAt: undefined, seq: undefined,
    })
  }
  switch (entry.kind) {
    case 'step_completed': case 'effect_completed': case 'timer_fired': case 'effect_looked_up': case 'effect_noted':
      Object.assign(call, { state: 'completed', seq: entry.seq })
      call.value = await fromPayload(store, entry)
      if (call.kind === 'step') call.attempts = Math.max(call.attempts, entry.attempt)
      break
    case 'step_failed': case 'effect_failed':
      Object.assign(call, { state: 'failed', seq: entry.seq })
      call.error = await fromPayload(store, entry)
      if (call.kind === 'step') call.attempts = Math.max(call.attempts, entry.attempt)
      break
    case 'attempt_failed':
      call.attempts = Math.max(call.attempts, entry.attempt)
      break
    case 'effect_intended':
      call.attempts++
      break
    case 'effect_not_called':
      call.attempts--
      break
    case 'effect_decided': {
      const { by, decision } = decode(entry.payload) as Decided
      call.decisions.push(`${by}: ${decision}`)
      break
    }
    case 'timer_set':
      call.dueAt = entry.due
      break
    case 'undo_completed':
      call.isUndone = true
      break
    default:
  }
}

function kindOf({ kind }: Entry): JournaledCall['kind'] {
  if (kind === 'step_completed' || kind === 'step_failed' || kind === 'attempt_failed') return 'step'
  if (kind === 'timer_set' || kind === 'timer_fired') return 'timer'
  return kind === 'effect_looked_up' || kind === 'effect_noted' ? 'other' : 'effect'
}
