// The run's state, as a step sees it: what is committed, and what this attempt has staged. Staged rows go into the commit of the
// step's outcome, all of them with it or none (T-106); this file writes nothing by itself.

import { encode } from '../codec.ts'
import type { StepState } from '../context.ts'
import { StepwellError } from '../errors.ts'
import { hashParts, hex } from '../hash.ts'
import { within } from '../limits.ts'
import type { RowWrite } from '../store/store.ts'
import { type KeepHost, type KeepPlace, openValue, sealValue, storeError } from './kept.ts'
import { checkName } from './key.ts'

const RESERVED = 'stepwell.'

/** What one attempt wants to change. */
export class StagedState {
  readonly #host: KeepHost
  readonly #place: KeepPlace
  readonly #over: () => StepwellError | undefined
  readonly #writes = new Map<string, RowWrite>()
  /** What its rows take in a commit. */
  bytes = 0

  constructor(host: KeepHost, place: KeepPlace, over: () => StepwellError | undefined) {
    this.#host = host
    this.#place = place
    this.#over = over
  }

  /** In the order in which the keys were first named. */
  get rows(): readonly RowWrite[] {
    return [...this.#writes.values()]
  }

  /** For the step's function, which may take it apart. */
  get view(): StepState {
    return {
      get: async <V>(key: string) => (await this.#get(key)) as V | undefined,
      set: (key, value) => this.#set(key, value),
      delete: (key) => this.#stage(this.#name(key), null),
    }
  }

  async #get(key: string): Promise<unknown> {
    const row = this.#row(this.#name(key))
    const staged = this.#writes.get(row)
    if (staged !== undefined) return staged.value === null ? undefined : valueOf(row, staged.value)
    const { store } = this.#host
    let bytes: Uint8Array | undefined
    try {
      bytes = await store.row('state', row)
    } catch (error) {
      throw storeError(store.runId, error)
    }
    return bytes === undefined ? undefined : valueOf(row, bytes)
  }

  #set(key: string, value: unknown): void {
    const name = this.#name(key)
    const payload = encode(value, { at: 'state' })
    within(this.#host.limits, 'stateBytes', payload.length, `state ${JSON.stringify(name)}`)
    // With its key, which the row's own hides: whoever reads an export wants to know what it is.
    this.#stage(name, encode({ key: name, value }))
  }

  #stage(name: string, payload: Uint8Array | null): void {
    const row = this.#row(name)
    const before = this.#writes.get(row)
    if (before !== undefined && (before.value === null) !== (payload === null)) {
      throw new StepwellError('state_conflict', `state ${JSON.stringify(name)} was set and deleted in one attempt of step ${this.#place.step}`, {
        details: { key: name, step: this.#place.step },
      })
    }
    const value = payload === null ? null : sealValue(row, payload)
    const bytes = this.bytes - sizeOf(before) + sizeOf({ key: row, value })
    within(this.#host.limits, 'stagedBytes', bytes, `state of step ${this.#place.step}`)
    this.bytes = bytes
    this.#writes.set(row, { table: 'state', key: row, value })
  }

  /** Throws `attempt_over`, `invalid_argument`, `limit_exceeded`, `reserved_name`. */
  #name(key: string): string {
    const error = this.#over()
    if (error !== undefined) throw error
    const name = checkName(this.#host.limits, key, 'state')
    if (name.startsWith(RESERVED)) {
      throw new StepwellError('reserved_name', `state ${JSON.stringify(name)}: keys that begin with "${RESERVED}" are reserved`, { details: { key: name } })
    }
    return name
  }

  #row(name: string): string {
    const { incarnation, generation } = this.#place
    return hex(hashParts('stepwell.state', incarnation, generation, name))
  }
}

function valueOf(row: string, bytes: Uint8Array): unknown {
  return (openValue(row, bytes) as { readonly value: unknown }).value
}

function sizeOf(write: Pick<RowWrite, 'key' | 'value'> | undefined): number {
  return write === undefined ? 0 : write.key.length + (write.value?.length ?? 0)
}
