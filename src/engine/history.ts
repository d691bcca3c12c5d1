// What the journal has for a pass, in its order: outcomes to be delivered, and the notes between them, which are put beside the calls
// that they are about. Whatever does not fit what the function asks for is a divergence (G9).

import type { StepwellError } from '../errors.ts'
import { type Entry, isDelivered, isEffectNote, same } from '../journal/entry.ts'
import type { CancelPayload } from '../journal/record.ts'
import { isPromise } from '../store/store.ts'
import { applyNote, type Pending } from './call.ts'
import { divergence } from './divergence.ts'
import { inlineValue } from './outcome.ts'
import type { Pass } from './pass.ts'
import { wind } from './winding.ts'

const OTHER_CALL = 'its kind, key or declared input is another one now'

export class History {
  readonly #pass: Pass
  /** Notes whose calls have not been made yet. */
  readonly #notes = new Map<string, Entry>()

  constructor(pass: Pass) {
    this.#pass = pass
  }

  /** No note waits for its call. */
  get isPlaced(): boolean {
    return this.#notes.size === 0
  }

  /** The next entry that is delivered; the notes before it are put beside their calls. Undefined: none is in memory. */
  next(): Entry | undefined {
    const { cursor } = this.#pass.init
    for (;;) {
      const entry = cursor.peek()
      if (entry === undefined || isDelivered(entry.kind)) return entry
      cursor.shift()
      const { outstanding, effects, init: { live, generation } } = this.#pass
      if (isEffectNote(entry.kind)) {
        effects.history.note(entry)
        continue
      }
      if (entry.kind === 'patch_applied') live.patches.expect(entry)
      else if (entry.kind === 'event_emitted') live.events.note(entry)
      if (entry.key === undefined) continue
      const call = outstanding.get(entry.key)
      if (call === undefined || !applyNote(call, entry, generation)) this.#notes.set(entry.key, entry)
    }
  }

  /** A call was made: the note that waited for it is its own. */
  asked(call: Pending): void {
    if (this.#notes.size === 0) return
    const note = this.#notes.get(call.key)
    if (note !== undefined && applyNote(call, note, this.#pass.init.generation)) this.#notes.delete(call.key)
  }

  /** Throws unless this entry can be delivered now. */
  verify(entry: Entry): void {
    const why = this.#misfit(entry)
    if (why !== undefined) throw this.#divergence(entry, why)
  }

  /** At the end of history: throws when a note was left whose call was never made. */
  check(): void {
    for (const note of this.#notes.values()) {
      throw this.#divergence(note, this.#pass.outstanding.has(note.key as string) ? OTHER_CALL : 'it was never asked for')
    }
  }

  /** At the function's end: what is left of history must have been asked for (a race's loser), else the code is another one. */
  async skipLeftovers(): Promise<void> {
    const pass = this.#pass
    const { cursor, live } = pass.init
    for (;;) {
      const entry = this.next()
      if (entry === undefined) {
        const filled = cursor.fill()
        if (isPromise(filled)) await filled
        if (cursor.exhausted) return
        continue
      }
      if (entry.key !== undefined) {
        const call = pass.outstanding.get(entry.key)
        if (call === undefined) throw this.#divergence(entry, 'the function ended without asking for it')
        if (!same(call.fingerprint, entry.fingerprint as Uint8Array)) throw this.#divergence(entry, OTHER_CALL)
      }
      cursor.shift()
      if (entry.key === undefined) {
        // A cancel that came when the function had ended, and before its end was committed.
        wind(pass, live, entry, inlineValue(entry) as CancelPayload, undefined)
        continue
      }
      const loser = pass.outstanding.get(entry.key)
      if (loser?.step !== undefined) pass.effects.history.delivered(loser, entry.kind, entry.seq)
    }
  }

  /** Why this entry cannot be delivered now. */
  #misfit(entry: Entry): string | undefined {
    const { outstanding, calls } = this.#pass
    if (entry.key !== undefined) {
      const call = outstanding.get(entry.key)
      if (call === undefined) return 'it is not asked for now'
      if (!same(call.fingerprint, entry.fingerprint as Uint8Array)) return OTHER_CALL
    }
    // A grouped entry's count was taken before the earlier members of its group were delivered: a lower bound.
    if (entry.grouped ? calls >= entry.calls : calls === entry.calls) return undefined
    return calls > entry.calls ? 'more calls were made before it than were recorded' : 'fewer calls were made before it than were recorded'
  }

  #divergence(entry: Entry, why: string): StepwellError {
    return divergence(entry, why, this.#pass.calls, this.#pass.outstanding.values())
  }
}
