// The next generation of a run: after a divergence, if its workflow wants that (G9), or because somebody has asked for it. Its history
// begins with `generation_started`; nothing of an older one is changed.

import { decode, encode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { before, type Range } from '../journal/cursor.ts'
import { claim, decodeEntry, type Entry, type EntryKind } from '../journal/entry.ts'
import type { GenerationPayload, RunRecord } from '../journal/record.ts'
import type { RowWrite, RunStore } from '../store/store.ts'
import type { Attempts } from './attempt.ts'
import { recountEvents } from './events.ts'
import { startOf } from './start.ts'
import { resent } from './signal.ts'
import type { RunState } from './state.ts'

/**
 * Whether a divergence begins one: a bounded number of times. Not of a run that is cancelled or undoes what it did, or is to be: in the
 * next generation the cancel would be forgotten (G21), and what is to be undone not asked for yet. It waits for code that fits.
 */
export async function mayRestart(state: RunState): Promise<boolean> {
  const { record, definition, limits } = state
  if (definition.onDivergence !== 'restart' || record.divergences >= limits.restarts) return false
  if ((await state.messages()).some(({ message }) => message.kind === 'cancel')) return false
  return !await holds(state.store, record, ['cancel_requested', 'deadline_passed', 'undo_started'])
}

/**
 * Whether this generation has an entry of one of these kinds. Where the row's status does not tell, because the run may have been blocked
 * since, and it is rarely asked: every entry is read.
 */
export async function holds(store: RunStore, { generationSeq }: RunRecord, kinds: readonly EntryKind[]): Promise<boolean> {
  for (let after = generationSeq; ;) {
    const page = await store.entries(after, 256)
    for (const { bytes } of page) {
      const { kind } = claim(bytes)
      if (kind !== undefined && kinds.includes(kind)) return true
    }
    const last = page.at(-1)
    if (last === undefined) return false
    after = last.seq
  }
}

/** The entries of a generation's history, verified. Throws `corrupt_entry`. */
export async function* entriesOf(store: RunStore, ranges: readonly Range[]): AsyncIterable<Entry> {
  for (const range of ranges) {
    let { hash } = await before(store, range.from)
    for (let after = range.from - 1; after < range.to;) {
      const limit = Math.min(256, range.to - after)
      const page = await store.entries(after, limit)
      for (const { seq, bytes } of page) {
        const entry = decodeEntry(seq, bytes, hash)
        hash = entry.hash
        after = seq
        yield entry
      }
      if (page.length < limit) break
    }
  }
}

/** The patches that these parts of the journal were made with. What a generation does not inherit of the one before says nothing about it. */
export async function patchesIn(store: RunStore, ranges: readonly Range[]): Promise<readonly string[]> {
  const names = new Set<string>()
  for await (const { kind, payload } of entriesOf(store, ranges)) if (kind === 'patch_applied') names.add((decode(payload) as { readonly name: string }).name)
  return [...names]
}

export async function restartDiverged(state: RunState, attempts: Attempts, error: StepwellError): Promise<void> {
  const { record } = state
  const generation = record.generation + 1
  state.host.log({ level: 'warn', runId: state.store.runId, message: `generation ${generation} begins: ${error.message}` })
  leaveBehind(attempts, error)
  await recountEvents(state, record.generationSeq)
  const rows = await sentAgain(state, [])
  state.writer.generation = generation
  await state.commit([{
    kind: 'generation_started', calls: 0,
    payload: encode({ generation, because: 'divergence', report: error.details }),
  }], {
    rows,
    change: { record: { generation, generationSeq: state.writer.head.seq + 1, inherited: [], patches: [], divergences: record.divergences + 1 }, wakeAt: state.wakeAt, mark: false },
  })
}

/** Acts on a message `restart`: of a run that goes on, is blocked or has ended. False: it was about a generation that is over. */
export async function restartAsked(state: RunState, attempts: Attempts, epoch: number): Promise<boolean> {
  const { record, host, limits } = state
  const asked = (await state.messages()).filter(({ message }) => message.kind === 'restart')
  const take = asked.map(({ number }) => number)
  const message = asked.find((each) => each.message.kind === 'restart' && each.message.generation === record.generation)?.message
  if (message?.kind !== 'restart') {
    await state.commit([], { take, change: { record: {}, wakeAt: state.wakeAt, epoch, mark: false } })
    return false
  }
  leaveBehind(attempts, new StepwellError('cancelled', 'the run begins again'))
  await recountEvents(state, record.generationSeq)
  const generation = record.generation + 1
  const rows = await sentAgain(state, message.inherited)
  const patches = record.patches.length === 0 ? [] : await patchesIn(state.store, message.inherited)
  state.writer.generation = generation
  const deadline = await deadlineAnew(state)
  const payload: GenerationPayload = {
    generation, because: message.because, inherited: message.inherited, deadline: deadline ?? null,
    ...(message.from === undefined ? undefined : { from: message.from }), ...(message.principal === undefined ? undefined : { principal: message.principal }),
  }
  await state.commit([{ kind: 'generation_started', calls: 0, payload: encode(payload) }], {
    take, rows, durability: 'strict',
    change: {
      record: {
        generation, generationSeq: state.writer.head.seq + 1, inherited: message.inherited, patches,
        status: 'running', deadline, blocked: undefined, paused: undefined, endedAt: undefined, expiresAt: undefined, lastSeq: undefined, notBefore: undefined, waitingFor: [], wakes: 0,
        restartId: message.id ?? record.restartId,
      },
      wakeAt: host.now() + limits.recoveryMs, epoch, mark: false,
    },
  })
  return true
}

/**
 * The messages that a generation has taken and the next one does not inherit, to be taken again in their order: whoever sent one was told
 * that it counts (G17), and is not asked twice because the code has changed.
 */
async function sentAgain({ store, record, inboxSeen }: RunState, inherited: RunRecord['inherited']): Promise<readonly RowWrite[]> {
  const rows: RowWrite[] = []
  if (inboxSeen === 0) return rows
  for await (const entry of entriesOf(store, [...record.inherited, { from: record.generationSeq, to: Infinity }])) {
    if (entry.kind !== 'signal_received' || inherited.some(({ from, to }) => from <= entry.seq && entry.seq <= to)) continue
    rows.push(resent(entry))
  }
  return rows
}

/**
 * Whoever restarts a run gives it its whole timeout again: a run that its deadline has ended could not be restarted otherwise. As the code
 * of today says, which may have been deployed to give it more; where nobody knows the workflow, as it was started.
 */
async function deadlineAnew({ store, record, definition, host }: RunState): Promise<number | undefined> {
  const now = host.now()
  if (definition !== undefined) return definition.timeoutMs === undefined ? undefined : now + definition.timeoutMs
  const { deadline } = await startOf(store)
  return deadline === undefined ? undefined : now + deadline - record.createdAt
}

/** A key may mean another call in a new generation: of the old one's attempts only effects go on, found by their ledger's key. */
function leaveBehind(attempts: Attempts, error: unknown): void {
  attempts.abandon(error, ({ role }) => role !== 'effect')
  for (const attempt of [...attempts.live.values()]) attempts.adopt(attempt, `generation before: ${attempt.base}`)
}
