// What the run row has forgotten is read from the journal, the only authority for what happened (G1): how the run ended, and
// which of its histories is the current one. Both are in the row for speed; nothing may be appended as if they were not known.

import { before } from '../journal/cursor.ts'
import { claim, decodeEntry, isTerminal } from '../journal/entry.ts'
import { decode } from '../codec.ts'
import type { GenerationPayload, RunRecord } from '../journal/record.ts'
import type { StoredEntry } from '../store/store.ts'
import { recountEvents, restoreEvents } from './events.ts'
import { patchesIn } from './generation.ts'
import { expiry } from './notice.ts'
import type { RunState } from './state.ts'

const ends: Readonly<Record<string, RunRecord['status']>> = {
  run_completed: 'completed',
  run_failed: 'failed',
  run_cancelled: 'cancelled',
}

/** Answers how the run ended, if the journal says so and the row does not. Throws `corrupt_entry`. */
export async function rebuild(
  state: RunState,
  last: StoredEntry | undefined,
): Promise<RunRecord['status'] | undefined> {
  if (last === undefined) return undefined
  const { store, record, writer } = state
  let claimed: ReturnType<typeof claim>
  try {
    claimed = claim(last.bytes)
  } catch {
    // Damaged: the pass that reads it names it.
    return undefined
  }
  const hasEnded = claimed.kind !== undefined && isTerminal(claimed.kind)
  if (!hasEnded && claimed.generation <= record.generation) return undefined
  // The row is changed only by what is verified.
  const entry = decodeEntry(last.seq, last.bytes, (await before(store, last.seq)).hash)
  if (hasEnded) {
    const status = ends[entry.kind] as RunRecord['status']
    await restoreEvents(state)
    await state.commit([], {
      durability: 'strict',
      change: {
        record: {
          status, endedAt: entry.at, waitingFor: [], blocked: undefined, paused: undefined, lastSeq: last.seq, expiresAt: expiry(state, status, entry.at),
        },
        // Its notice, if it has one left, is in the outbox.
        wakeAt: state.host.now(),
        mark: false,
      },
    })
    return status
  }
  let { seq, hash } = await before(store, record.generationSeq)
  let { generationSeq, inherited, deadline } = record
  while (seq < last.seq) {
    const page = await store.entries(seq, 100)
    if (page.length === 0) break
    for (const { bytes } of page) {
      const each = decodeEntry(++seq, bytes, hash)
      hash = each.hash
      if (each.kind === 'generation_started') {
        generationSeq = seq
        const payload = decode(each.payload) as GenerationPayload
        inherited = payload.inherited ?? []
        if (payload.deadline !== undefined) deadline = payload.deadline ?? undefined
      }
    }
  }
  writer.generation = entry.generation
  const patches = await patchesIn(store, [...inherited, { from: generationSeq, to: Infinity }])
  await recountEvents(state, record.generationSeq)
  await state.commit([], {
    change: { record: { generation: entry.generation, generationSeq, inherited, patches, deadline, status: 'running', endedAt: undefined, expiresAt: undefined, lastSeq: undefined }, wakeAt: state.wakeAt, mark: false },
  })
  return undefined
}
