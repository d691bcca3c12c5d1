// Every limit of the engine: its name, its default, and the one function that enforces it (G25).

import { StepwellError } from './errors.ts'
import { given, shown } from './given.ts'

export interface Limits {
  /** A step's or run's value larger than this (encoded bytes) is stored as a blob beside the journal. */
  readonly inlineBytes: number
  /** The largest value at all, encoded. */
  readonly valueBytes: number
  /** A chunk of a blob. Below 48 KiB Chromium keeps a record in its database file. */
  readonly chunkBytes: number
  /** The largest blob that is written directly (`putBlob`). */
  readonly blobBytes: number
  /** One value that a step keeps with `memo`, encoded. */
  readonly memoBytes: number
  /** One value of the run's state, encoded. */
  readonly stateBytes: number
  /** All that one attempt stages of the run's state: it goes into one commit. */
  readonly stagedBytes: number
  /** A step's name, its own key, a branch's or scope's label, a key of the run's state (characters). */
  readonly nameLength: number
  /** A structural key (characters): how deep scopes can nest. */
  readonly keyLength: number
  /** One signal with what tells of it, encoded. */
  readonly signalBytes: number
  /** Signals that were sent to a run and not taken yet. */
  readonly signals: number
  /** Tokens that a run has issued for its deferreds. */
  readonly tokens: number
  /** Calls outstanding at once. */
  readonly outstanding: number
  /** Entries in one run's journal. */
  readonly entries: number
  /** Retries of one step. */
  readonly retries: number
  /** Wakes in a row that add no entry, before the run is blocked as `no_progress` (G29). */
  readonly wakes: number
  /** Restarts after a divergence under `onDivergence: 'restart'`. */
  readonly restarts: number
  /** Entries that one commit holds at most. */
  readonly batchEntries: number
  /** Bytes of entries that one commit holds at most. */
  readonly batchBytes: number
  /** Entries of one read of the journal. */
  readonly pageEntries: number
  readonly tags: number
  readonly tagLength: number
  readonly metadataBytes: number
  /** How long a function may wait for something that is not a ctx call before the run is blocked as `foreign_await`. */
  readonly stallMs: number
  /** A commit that has no answer after this long counts as unknown. */
  readonly commitMs: number
  /** A wait no longer than this is spent in memory; a longer one parks the run. */
  readonly stayAwakeMs: number
  /**
   * While a run is `running`, its alarm is at most this far away (G29). In a browser also: a tab that holds a run and does not answer
   * for so long has its run taken by another one.
   */
  readonly recoveryMs: number
  /** Names that `ctx.patched` answers with true in one generation. */
  readonly patches: number
  /** One event: its data, encoded. */
  readonly eventBytes: number
  /** Events of one run that readers can still get. Older ones stay in the journal. */
  readonly events: number
  /** How long after its intent was committed an effect's function may still be called. */
  readonly startByMs: number
  /** Details that `ctx.recordEffect` gives back as they are, encoded; of larger ones it gives a digest. */
  readonly detailsBytes: number
  /** How long one delivery of a terminal notice may take before it counts as failed. */
  readonly noticeMs: number
  /** Deliveries of one terminal notice that are tried, before it is kept as dead. */
  readonly noticeTries: number
  /** Rows and entries that one commit of a sweep removes at most. */
  readonly sweepRows: number
}

export const defaultLimits: Limits = Object.freeze({
  inlineBytes: 64 * 1024,
  valueBytes: 32 * 1024 * 1024,
  chunkBytes: 48 * 1024,
  blobBytes: 1024 * 1024 * 1024,
  memoBytes: 1024 * 1024,
  stateBytes: 256 * 1024,
  stagedBytes: 4 * 1024 * 1024,
  nameLength: 128,
  keyLength: 2048,
  signalBytes: 64 * 1024,
  signals: 1_000,
  tokens: 1_000,
  outstanding: 10_000,
  entries: 10_000_000,
  retries: 10_000,
  wakes: 50,
  restarts: 3,
  batchEntries: 512,
  batchBytes: 1024 * 1024,
  pageEntries: 512,
  tags: 16,
  tagLength: 128,
  metadataBytes: 4096,
  stallMs: 10_000,
  commitMs: 30_000,
  stayAwakeMs: 2_000,
  recoveryMs: 30_000,
  patches: 256,
  eventBytes: 64 * 1024,
  events: 10_000,
  startByMs: 10_000,
  detailsBytes: 8 * 1024,
  noticeMs: 30_000,
  noticeTries: 20,
  sweepRows: 500,
})

/** The defaults with `overrides`. Throws `invalid_argument` for a name that is no limit or a value that is no positive number. */
export function limits(overrides?: Partial<Limits>): Limits {
  for (const [name, value] of Object.entries(given(overrides, 'limits'))) {
    if (!(name in defaultLimits)) throw new StepwellError('invalid_argument', `there is no limit named ${name}`)
    if (typeof value !== 'number' || !(value > 0)) {
      throw new StepwellError('invalid_argument', `limit ${name}: ${shown(value)} is not a positive number`)
    }
  }
  return Object.freeze({ ...defaultLimits, ...overrides })
}

/** Throws `limit_exceeded` with the limit's name, what was measured and what is allowed. */
export function within(all: Limits, name: keyof Limits, measured: number, what: string): void {
  const allowed = all[name]
  if (measured > allowed) {
    throw new StepwellError('limit_exceeded', `${what}: ${measured} is over the limit ${name} of ${allowed}`, {
      details: { limit: name, measured, allowed },
    })
  }
}
