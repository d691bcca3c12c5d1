// The run's state, as a step sees it: what is committed, and what this attempt has staged. Staged rows go into the commit of the
// step's outcome, all of them with it or none (T-106); this file writes nothing by itself.

import { encode } from '../codec.ts'
import type { StepState } from '../context.ts'
import { StepwellError } from '../errors.ts'
import { hashParts, hex } from '../hash.ts'
import { within } from '../limits.ts'
import type { RowWrite } from '../store/store.ts'
import { CHECK_BYTES, type KeepHost, type KeepPlace, openValue, sealValue, storeError } from './kept.ts'
import { checkName } from './key.ts'

const RESERVED = 'stepwell.'
/** 32 bytes in hexadecimal. */
const ROW_KEY_CHARS = 64

/** What one attempt wants to change, of the generation in which its outcome is committed: an effect may outlive the one that called it. */
export class StagedState {
  readonly #host: KeepHost
  readonly #place: () => KeepPlace
  readonly #over: () => StepwellError | undefined
  /** By name: what is to be stored, or null. */
  readonly #writes = new Map<string, Uint8Array | null>()
  /** What its rows take in a commit. */
  bytes = 0

  constructor(host: KeepHost, place: () => KeepPlace, over: () => StepwellError | undefined) {
    this.#host = host
    this.#place = place
    this.#over = over
  }

  /** In the order in which the keys were first named. */
  get rows(): readonly RowWrite[] {
    return [...this.#writes].map(([name, payload]) => {
      const key = this.#row(name)
      return { table: 'state', key, value: payload === null ? null : sealValue(key, payload) }
    })
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
    const name = this.#name(key)
    const row = this.#row(name)
    const staged = this.#writes.get(name)
    if (staged !== undefined) return staged === null ? undefined : valueOf(row, sealValue(row, staged))
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
    const { step } = this.#place()
    const before = this.#writes.get(name)
    if (before !== undefined && (before === null) !== (payload === null)) {
      throw new StepwellError('state_conflict', `state ${JSON.stringify(name)} was set and deleted in one attempt of step ${step}`, {
        details: { key: name, step },
      })
    }
    const bytes = this.bytes - sizeOf(before) + sizeOf(payload)
    within(this.#host.limits, 'stagedBytes', bytes, `state of step ${step}`)
    this.bytes = bytes
    this.#writes.set(name, payload)
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
    const { incarnation, generation } = this.#place()
    return hex(hashParts('stepwell.state', incarnation, generation, name))
  }
}

function valueOf(row: string, bytes: Uint8Array): unknown {
  return (openValue(row, bytes) as { readonly value: unknown }).value
}

/** Of a row with this in it. */
function sizeOf(payload: Uint8Array | null | undefined): number {
  return payload === undefined ? 0 : ROW_KEY_CHARS + (payload === null ? 0 : CHECK_BYTES + payload.length)
}
