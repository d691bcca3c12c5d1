// Answers in place of a call's own function, by the name of the call or by its full key; and calls whose answers never come.

import { StepwellError } from '../errors.ts'
import { given, needed } from '../given.ts'
import { standInName } from './stand-ins.ts'
import { type FunctionCall, type Role, type StandInRole, allRoles, standInRoles } from './watch.ts'

/**
 * What a call gives instead of running its function: a function of the call (its answer may be a promise, and it may throw), an error
 * that is thrown, or any other value.
 */
export type Mock = ((call: FunctionCall) => unknown) | object | string | number | boolean | bigint | null | undefined

/**
 * Mocks by kind of call, then by the name of the call, or by its key as the journal shows it, which goes first. Every function that a ctx
 * call brings can be mocked, and so can a signal (its payload, as a sender gives it) and a child (its output), by their names.
 */
export type Mocks = { readonly [role in Role | StandInRole]?: Readonly<Record<string, Mock>> }

const mockable: readonly (Role | StandInRole)[] = [...allRoles, ...standInRoles]

export interface ForcedTimeout {
  /** How many attempts of a call never answer. Default 1. */
  readonly attempts?: number
  /** Whether the function (or its mock) is called all the same, and only its answer is lost. Default false. */
  readonly called?: boolean
}

/** Names or keys of calls whose first attempt never answers, or what becomes of each in detail. */
export type ForcedTimeouts = readonly string[] | Readonly<Record<string, ForcedTimeout>>

export class MockTable {
  readonly #mocks: ReadonlyMap<string, Mock>
  readonly #timeouts: ReadonlyMap<string, ForcedTimeout>
  readonly #unused: Set<string>

  constructor(mocks: Mocks, timeouts: ForcedTimeouts) {
    needed(mocks, 'mocks')
    for (const role of Object.keys(mocks)) {
      if (!mockable.includes(role as Role)) throw new StepwellError('invalid_argument', `mocks: there is no kind of call ${JSON.stringify(role)}: ${mockable.join(', ')} are`)
      given(mocks[role as Role], `mocks.${role}`)
    }
    if (!Array.isArray(timeouts)) needed(timeouts, 'timeouts')
    this.#mocks = new Map(Object.entries(mocks).flatMap(([role, byName]) => Object.entries(byName ?? {}).map(([name, mock]) => [`${role} ${name}`, mock] as const)))
    this.#timeouts = new Map(Array.isArray(timeouts)
      ? (timeouts as readonly string[]).map((name) => [name, {}] as const)
      : Object.entries(timeouts as Readonly<Record<string, ForcedTimeout>>))
    for (const [name, forced] of this.#timeouts) {
      const { attempts = 1 } = needed(forced, `timeouts.${String(name)}`)
      if (typeof name !== 'string') throw new StepwellError('invalid_argument', 'timeouts are names of calls')
      if (!(attempts >= 1)) throw new StepwellError('invalid_argument', `timeouts: ${name}: attempts is a number from 1`)
    }
    this.#unused = new Set([...[...this.#mocks.keys()].map((name) => `mock of ${name}`), ...[...this.#timeouts.keys()].map((name) => `timeout of ${name}`)])
  }

  /** The function to run: the mock, or the call's own. */
  body(role: Role, name: string | undefined, key: string, call: FunctionCall, own: () => unknown): () => unknown {
    const found = [key, name].find((each) => each !== undefined && this.has(role, each))
    return found === undefined ? own : () => this.answer(role, found, call)
  }

  /** A signal or child whose answer never comes needs no answer. */
  has(role: Role | StandInRole, name: string): boolean {
    return this.#mocks.has(`${role} ${name}`) || (standInRoles.includes(role as StandInRole) && this.#timeouts.has(standInName(role as StandInRole, name)))
  }

  /** What the mock gives; throws what it throws. */
  answer(role: Role | StandInRole, name: string, call: FunctionCall): unknown {
    this.#unused.delete(`mock of ${role} ${name}`)
    const mock = this.#mocks.get(`${role} ${name}`)
    if (typeof mock === 'function') return (mock as (call: FunctionCall) => unknown)(call)
    if (mock instanceof Error) throw mock
    return mock
  }

  /** Whether this attempt never answers. */
  timeout(role: Role, name: string | undefined, key: string, attempt: number): ForcedTimeout | undefined {
    if (role === 'probe' || role === 'undo') return undefined
    const found = [key, name].find((each) => each !== undefined && this.#timeouts.has(each))
    const forced = found === undefined ? undefined : this.#timeouts.get(found)
    if (forced === undefined || attempt > (forced.attempts ?? 1)) return undefined
    this.#unused.delete(`timeout of ${found}`)
    return forced
  }

  /** What was never asked for: a name that is spelled otherwise, or a call that was not made. */
  get unused(): readonly string[] {
    return [...this.#unused]
  }
}
