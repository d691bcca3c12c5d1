// Pausing, going on, beginning again and deciding: durable messages in a run's inbox, like a cancel. Only the driver that owns the
// run acts on them (G3); here they are checked against what is stored, so that a refused one writes nothing.

import type { ControlOutcome, ControlRequest } from '../client.ts'
import { canonicalBytes, decode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { decodeEntry, type Entry, same } from '../journal/entry.ts'
import { before, type Range } from '../journal/cursor.ts'
import { refuseSwept, unswept } from '../journal/tombstone.ts'
import { decodeRecord, isEnded, type Message, type RunRecord } from '../journal/record.ts'
import type { Bound } from '../store/bounded.ts'
import type { RunStore } from '../store/store.ts'
import type { Decided } from './ambiguity.ts'
import { notFound, post } from './post.ts'
import { entriesOf, holds } from './generation.ts'
import { unreachableIn } from './undo.ts'

/**
 * Posts what was asked; durable when it resolves. The caller then pokes the driver. Repeats are harmless. Throws `run_not_found`, `run_swept`,
 * `already_ended` (a cancelled run stays cancelled), `not_ended` (a retry of what has not failed), `nothing_to_resolve`,
 * `already_resolved` (another decision was made), `invalid_argument`: nothing written.
 */
export async function requestControl(store: RunStore, now: number, request: ControlRequest, principal?: string, bound?: Bound): Promise<ControlOutcome> {
  const row = await store.read()
  if (row === undefined) throw notFound(store)
  const record = decodeRecord(row)
  const { status } = record
  const waiting = await messagesOf(store)
  const who = principal === undefined ? { at: now } : { at: now, principal }
  const posted = async (message: Message): Promise<ControlOutcome> => {
    await post(store, now, message, bound)
    return { outcome: 'requested', status }
  }
  switch (request.kind) {
    case 'pause':
      if (isEnded(status)) return { outcome: 'ended', status }
      if (request.kind === lastSwitch(waiting, record)) return { outcome: 'already_requested', status }
      return posted({ kind: 'pause', ...who })
    case 'resume':
      if (isEnded(status)) return { outcome: 'ended', status }
      // A blocked run is looked at again: what has blocked it may be repaired, or was a read that went wrong once.
      if (request.kind === lastSwitch(waiting, record) && (status !== 'blocked' || waiting.some(({ kind }) => kind === 'resume'))) return { outcome: 'not_paused', status }
      return posted({ kind: 'resume', ...who })
    case 'restart': case 'retry': {
      const { id } = request
      if (id !== undefined && (typeof id !== 'string' || id.length === 0 || id.length > 128)) throw new StepwellError('invalid_argument', 'the id of a restart is a string of 1 to 128 characters')
      if (id !== undefined && record.restartId === id) return { outcome: 'already_requested', status }
      if (waiting.some((message) => message.kind === 'restart')) return { outcome: 'already_requested', status }
      if (status === 'cancelled' || (!isEnded(status) && await holds(store, record, ['cancel_requested']))) throw new StepwellError('already_ended', `run ${store.runId} was cancelled, and stays so: start another`)
      if (request.kind === 'retry' && status !== 'failed') throw new StepwellError('not_ended', `run ${store.runId} has not failed: it is ${status}`)
      const inherited = await unswept(store, record, () => past(store, record, request))
      const answer = await posted({
        kind: 'restart', because: request.kind, generation: record.generation, inherited, ...who, ...(id === undefined ? undefined : { id }),
        ...(request.kind === 'restart' && request.from !== undefined ? { from: request.from } : undefined),
      })
      // A sweep that began before the message was stored takes it with the rest; one that had not begun is refused because of it.
      await refuseSwept(store)
      return answer
    }
    case 'resolve': {
      const { seq, decision } = request
      if (!['happened', 'rerun', 'skip', 'fail'].includes(decision)) throw new StepwellError('invalid_argument', 'a decision is "happened", "rerun", "skip" or "fail"')
      if (!Number.isSafeInteger(seq) || seq < 1) throw new StepwellError('invalid_argument', 'what is resolved is named by the sequence number of its entry')
      const pending = waiting.find((message) => message.kind === 'resolve' && message.seq === seq)
      if (pending?.kind === 'resolve') {
        const isSame = pending.decision === decision && same(canonicalBytes(pending.value ?? null), canonicalBytes(valueOf(request) ?? null))
        if (isSame) return { outcome: 'already_requested', status }
        throw new StepwellError('already_resolved', `entry ${seq} of run ${store.runId} is decided already: ${pending.decision}`)
      }
      if (decision === 'rerun' && unreachableIn(record.blocked).some((each) => each.seq === seq)) {
        throw new StepwellError('invalid_argument', `nothing asks for what entry ${seq} tells of, so its undo can't be called: deploy code that asks for it, or decide "happened" or "skip"`)
      }
      if (!isAsking(record, seq)) {
        const word = await decisionOf(store, seq)
        if (word === decision) return { outcome: 'already_requested', status }
        if (word !== undefined) throw new StepwellError('already_resolved', `entry ${seq} of run ${store.runId} is decided already: ${word}`, { details: { decision: word } })
        throw new StepwellError('nothing_to_resolve', `run ${store.runId} waits for no decision about entry ${seq}`, { details: { seq } })
      }
      return posted({ kind: 'resolve', seq, decision, ...(record.blocked?.code === 'ambiguous_effect' ? undefined : { undo: true }), ...who, ...('value' in request ? { value: valueOf(request) } : undefined) })
    }
    default:
      throw new StepwellError('invalid_argument', `there is no request ${JSON.stringify((request as { kind: unknown }).kind)}`)
  }
}

async function messagesOf(store: RunStore): Promise<readonly Message[]> {
  return (await store.rows('inbox', { limit: 256 })).map(({ value }) => decode(value) as Message)
}

/** What was asked for last, of pausing and going on. */
function lastSwitch(waiting: readonly Message[], record: RunRecord): 'pause' | 'resume' {
  const last = waiting.findLast(({ kind }) => kind === 'pause' || kind === 'resume')
  return last === undefined ? record.paused === undefined ? 'resume' : 'pause' : last.kind as 'pause' | 'resume'
}

/** Whether the run waits for somebody to decide about this entry. */
function isAsking(record: RunRecord, seq: number): boolean {
  const details = record.blocked?.details as { readonly effects?: readonly { readonly seq: number }[]; readonly seq?: number } | undefined
  if (record.blocked?.code === 'undo_failed') return details?.seq === seq
  if (unreachableIn(record.blocked).some((each) => each.seq === seq)) return true
  return record.blocked?.code === 'ambiguous_effect' && details?.effects?.some((effect) => effect.seq === seq) === true
}

const valueOf = (request: object): unknown => (request as { readonly value?: unknown }).value

const words: Readonly<Record<Decided['decision'], string>> = {
  happened: 'happened', did_not_happen: 'rerun', rerun: 'rerun', skip: 'skip', fail: 'fail',
}

/** What was decided about the intent `seq` last, if anything was: whoever asks for a key again (`ctx.once`) may have it decided again. */
async function decisionOf(store: RunStore, seq: number): Promise<string | undefined> {
  if (((await store.last())?.seq ?? 0) < seq) return undefined
  let word: string | undefined
  let { hash } = await before(store, seq)
  for (let after = seq - 1; ;) {
    const page = await store.entries(after, 256)
    for (const stored of page) {
      const entry = decodeEntry(stored.seq, stored.bytes, hash)
      hash = entry.hash
      after = stored.seq
      if (entry.kind !== 'effect_decided') continue
      const decided = decode(entry.payload) as Decided
      if (decided.intent === seq) word = words[decided.decision]
    }
    if (page.length < 256) return word
  }
}

/**
 * What the next generation inherits: for a restart from a call, everything before that call's first entry; for a retry, everything
 * before the failure, or the deadline, that ended the run. Nothing, where something was undone: what follows from it is no longer true.
 */
async function past(store: RunStore, record: RunRecord, request: Extract<ControlRequest, { kind: 'restart' | 'retry' }>): Promise<readonly Range[]> {
  const from = request.kind === 'restart' ? request.from : undefined
  if (request.kind === 'restart' && from === undefined) return []
  if (from !== undefined && typeof from !== 'string') throw new StepwellError('invalid_argument', 'from is the key of a call, as the journal shows it')
  const ranges: readonly Range[] = [...record.inherited, { from: record.generationSeq, to: Infinity }]
  let cut: number | undefined
  let failure: Entry | undefined
  let timedOut: number | undefined
  let isUndone = false
  for await (const entry of entriesOf(store, ranges)) {
    if (entry.kind === 'undo_completed') isUndone = true
    if (from !== undefined && cut === undefined && entry.key === from) cut = entry.seq
    if (entry.kind === 'step_failed' || entry.kind === 'effect_failed') failure = entry
    if (from === undefined && (entry.kind === 'run_failed' || entry.kind === 'run_completed')) cut ??= failure?.seq ?? entry.seq
    // It has failed here, whatever came before and behind: with this in its past it could only fail again.
    if (entry.kind === 'deadline_passed') timedOut ??= entry.seq
  }
  if (from !== undefined && cut === undefined) throw new StepwellError('invalid_argument', `run ${store.runId} has no entry of a call ${JSON.stringify(from)}`, { details: { from } })
  if (isUndone || cut === undefined) return []
  const end = timedOut === undefined ? cut : from === undefined ? timedOut : Math.min(cut, timedOut)
  return ranges.filter((range) => range.from < end).map((range) => ({ from: range.from, to: Math.min(range.to, end - 1) }))
}
