// Whether code can go on with what a run has recorded: its export is replayed against a workflow, and nothing is executed.

import { fromBase64 } from '../base64.ts'
import { fromWire } from '../codec.ts'
import type { AnyWorkflow } from '../define.ts'
import { Attempts } from '../engine/attempt.ts'
import { divergence } from '../engine/divergence.ts'
import { misfit } from '../engine/drive.ts'
import { startOf } from '../engine/start.ts'
import { bugOf } from '../engine/finish.ts'
import { Live } from '../engine/live.ts'
import { type Next, Pass, type PassEnd } from '../engine/pass.ts'
import { RunState } from '../engine/state.ts'
import { isStepwellError, maskSecrets, StepwellError } from '../errors.ts'
import type { Host } from '../host.ts'
import { Cursor } from '../journal/cursor.ts'
import { decodeEntry, type Entry, GENESIS } from '../journal/entry.ts'
import { decodeRecord, encodeRecord, recordOf, type RunRecord } from '../journal/record.ts'
import { Writer } from '../journal/writer.ts'
import { type Limits, limits as limitsOf } from '../limits.ts'
import { createMemoryShelf, type MemoryRunStore } from '../store/memory.ts'
import type { Batch } from '../store/store.ts'
import { createQuiesce } from './quiesce.ts'
import { TestHost } from './test-host.ts'

export type ReplayCheck =
  /** `entries`: of the whole journal, all verified. `generation`: the one that was replayed. */
  | { readonly ok: true; readonly entries: number; readonly generation: number }
  /**
   * `divergence` (what was recorded and what was asked for, side by side, in `message` and `details`), `unknown_version`,
   * `not_registered`, `workflow_bug`, `foreign_await`, `corrupt_entry` and the other codes of damage, `limit_exceeded`, …
   */
  | { readonly ok: false; readonly error: StepwellError }

export interface ReplayOptions {
  /** As of a test host. Default: what has proved to empty the microtask queue of this runtime. */
  readonly quiesce?: () => Promise<void>
  /** Told of each call that the workflow function makes, while it makes it. */
  readonly called?: (kind: string, key: string) => void
  /** Those of the host, where they are not the defaults. */
  readonly limits?: Partial<Limits>
}

/**
 * Replays what `run.export()` gave against `workflow`, as a host would that opens the run: in memory, to the end of what is
 * recorded, without executing a step, an effect, a probe or an undo, and without waiting for anything. So a deploy can be checked
 * against the runs that it will meet. Never rejects for what the file or the code holds.
 */
export async function checkReplay(lines: AsyncIterable<string> | Iterable<string>, workflow: AnyWorkflow, options: ReplayOptions = {}): Promise<ReplayCheck> {
  try {
    if (typeof workflow?.run !== 'function') throw new StepwellError('invalid_argument', 'the second argument is the workflow, as workflow() made it')
    const { store, record, last } = await load(lines)
    return await checkStored(store, record, last, workflow, options)
  } catch (error) {
    if (isStepwellError(error) && error.code !== 'internal') return { ok: false, error }
    throw error
  }
}

/** The same of a store in memory, whose record and last entry are known. Writes nothing. */
export async function checkStored(store: MemoryRunStore, record: RunRecord, last: Entry, workflow: AnyWorkflow, options: ReplayOptions): Promise<ReplayCheck> {
  try {
    const wrong = misfit(workflow, record, store.runId)
    if (wrong !== undefined) return { ok: false, error: wrong }
    const limits = limitsOf(options.limits)
    const quiesce = options.quiesce ?? createQuiesce()
    let mustAsk: ReadonlySet<string> = new Set()
    for (;;) {
      const end = await replay(store, record, last, workflow, limits, options, quiesce, mustAsk)
      if (end.kind === 'parked') return { ok: true, entries: last.seq, generation: record.generation }
      if (end.kind === 'blocked' || end.kind === 'diverged') return { ok: false, error: end.error }
      if (end.kind !== 'again') throw new StepwellError('internal', `a replay ended as ${end.kind}`)
      mustAsk = end.mustAsk ?? new Set()
    }
  } catch (error) {
    if (isStepwellError(error) && error.code !== 'internal') return { ok: false, error }
    throw error
  }
}

async function replay(
  store: MemoryRunStore, record: RunRecord, last: Entry, workflow: AnyWorkflow, limits: Limits,
  { called }: ReplayOptions, quiesce: () => Promise<void>, mustAsk: ReadonlySet<string>,
): Promise<PassEnd> {
  // Time stands still: nothing is due in a replay.
  const host: Host = new TestHost({ quiesce, startAt: last.at, name: last.host, ...(called === undefined ? undefined : { called }) })
  const writer = new Writer({ store, host: host.name, limits, now: () => host.now(), timer: (ms, run) => host.timer(ms, run) },
    store.read()?.epoch ?? 0, record.generation, { seq: last.seq, hash: last.hash }, last.at)
  const state = new RunState(
    { store, host, limits, definition: workflow, redact: maskSecrets, isNoticed: false, committed: () => {}, emitted: () => {} },
    writer, record, { wakeAt: null, inbox: 0 },
  )
  const attempts = new Attempts({ store, host, limits, services: {}, changed: () => {}, authority: () => writer, generation: () => record.generation })
  const cursor = new Cursor(store, [...record.inherited, { from: record.generationSeq, to: Infinity }], record.head, limits.pageEntries)
  const start = await startOf(store)
  await cursor.fill()
  const first = cursor.peek()
  if (first === undefined) throw new StepwellError('corrupt_entry', `entry ${record.generationSeq} of the journal is missing`, { details: { seq: record.generationSeq } })
  cursor.shift()
  return new Pass({
    definition: workflow, start, runId: store.runId, createdAt: record.createdAt, generation: record.generation, startedAt: first.at,
    store, host, limits, cursor, writer, attempts, isSynchronous: false, live: new End(state, attempts, last), mustAsk, changed: () => {},
  }).run()
}

/** What is live of a pass, where nothing is: at the end of history it says how that fits. */
class End extends Live {
  #last: Entry

  constructor(state: RunState, attempts: Attempts, last: Entry) {
    super(state, attempts)
    this.#last = last
  }

  override begin(): void {}

  override async step(pass: Pass): Promise<Next> {
    if (pass.foreign !== undefined) return { kind: 'blocked', error: pass.foreign }
    const bug = bugOf(pass)
    if (bug !== undefined) return { kind: 'blocked', error: bug }
    const { ended, outstanding, calls } = pass
    if (ended === undefined && outstanding.size === 0 && pass.winding === undefined) {
      return { kind: 'blocked', error: new StepwellError('foreign_await',
        'the workflow function waits for something that is neither a ctx call nor a plain promise: put that into a step', { details: { call: 'await' } }) }
    }
    const last = this.#last
    if (pass.winding === undefined && (last.kind === 'run_completed' || last.kind === 'run_failed')) {
      if (ended === undefined) return { kind: 'diverged', error: divergence(last, 'the run had ended here, and the code goes on', calls, outstanding.values()) }
      if (last.kind === 'run_completed' && !ended.ok) return { kind: 'diverged', error: divergence(last, 'the run had completed here, and the code throws', calls, outstanding.values()) }
    }
    return { kind: 'parked', wakeAt: null }
  }
}

interface Loaded {
  readonly store: MemoryRunStore
  readonly record: RunRecord
  readonly last: Entry
}

/** The file as a store. Every entry is verified, of every generation. */
async function load(lines: AsyncIterable<string> | Iterable<string>): Promise<Loaded> {
  let store: MemoryRunStore | undefined
  let epoch = 0
  let last: Entry | undefined
  let isWhole = false
  const write = (batch: Batch): void => { store?.commit(batch) }
  const isList = typeof lines === 'object' && lines !== null && (Symbol.iterator in lines || Symbol.asyncIterator in lines)
  if (!isList) throw new StepwellError('invalid_argument', 'the first argument is the lines of an export')
  for await (const line of lines) {
    if (typeof line !== 'string') throw damaged('a line of it is no text')
    if (line.trim() === '') continue
    const value = parse(line)
    if (isWhole) throw damaged('it goes on behind its last line')
    if (store === undefined) {
      if (value['stepwell'] !== 'run' || typeof value['runId'] !== 'string') throw damaged('its first line is not that of an export')
      if (typeof value['format'] !== 'number') throw damaged('its first line names no format')
      if (value['format'] !== 1) throw new StepwellError('format_too_new', `the export has format ${value['format']}; this version reads 1`)
      store = createMemoryShelf().open(value['runId'])
      if (typeof value['epoch'] !== 'number') throw damaged('its first line names no epoch')
      epoch = value['epoch']
      write({ expect: { kind: 'absent' }, row: { epoch, wakeAt: null, record: encodeRecord(recordOf(fromWire(value['record']), store.runId)) } })
    } else if (value['end'] === true) {
      if (value['entries'] !== (last?.seq ?? 0)) throw missing((last?.seq ?? 0) + 1)
      isWhole = true
    } else if (typeof value['entry'] === 'string') {
      const seq = (last?.seq ?? 0) + 1
      if (value['seq'] !== seq) throw missing(seq)
      const bytes = bytesOf(value['entry'])
      last = decodeEntry(seq, bytes, last?.hash ?? GENESIS)
      write({ expect: { kind: 'head', epoch, seq: seq - 1 }, entries: [{ seq, bytes }] })
    } else if (value['table'] !== 'inbox') {
      if (typeof value['table'] !== 'string' || typeof value['key'] !== 'string') throw damaged('a line of it is neither an entry nor a row')
      write({ expect: { kind: 'exists' }, rows: [{ table: value['table'] as 'effect', key: value['key'], value: bytesOf(value['value']) }] })
    }
  }
  if (store === undefined || !isWhole) throw damaged('its last line is missing')
  if (last === undefined) throw missing(1)
  const row = store.read()
  if (row === undefined) throw damaged('it has no run')
  return { store, record: decodeRecord(row), last }
}

function parse(line: string): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new StepwellError('malformed_json', 'a line of the export is no JSON', { cause })
  }
  if (typeof value !== 'object' || value === null) throw damaged('a line of it is no object')
  return value as Readonly<Record<string, unknown>>
}

function bytesOf(text: unknown): Uint8Array {
  const bytes = typeof text === 'string' ? fromBase64(text) : undefined
  if (bytes === undefined) throw damaged('a value of it is no base64')
  return bytes
}

function damaged(why: string): StepwellError {
  return new StepwellError('corrupt_run', `this is no whole export of a run: ${why}`)
}

function missing(seq: number): StepwellError {
  return new StepwellError('corrupt_entry', `entry ${seq} of the journal is missing`, { details: { seq, why: 'missing' } })
}
