// A workflow that is watched: every ctx call is remembered with the line that made it, and every function that a call brings (of a
// step, an effect, a probe, an undo) goes through one place, where a test may count it, replace it or hold its answer back.

import type { Ctx } from '../context.ts'
import type { AnyWorkflow } from '../define.ts'
import { CallSite } from './call-site.ts'
import { frontOf, type Method } from './inner-ctx.ts'

/** A ctx call of the workflow function. */
export interface AskedCall {
  /** The method of ctx: 'step', 'effect', 'sleep', … */
  readonly method: string
  /** Its first argument, where that is text. */
  readonly name: string | undefined
  readonly options: Readonly<Record<string, unknown>>
  readonly site: CallSite
  readonly generation: number
  /** As in the journal; undefined when it was refused. */
  key: string | undefined
}

/** Which function of a call it is. A new kind of call needs no more here than its word. */
export type Role = (typeof allRoles)[number]

export const allRoles = ['step', 'effect', 'once', 'probe', 'undo'] as const

/** What has no function of its own in the workflow, and is answered by others (stand-ins.ts). */
export type StandInRole = (typeof standInRoles)[number]

export const standInRoles = ['signal', 'child'] as const

/** Of the call object that every such function gets, what the kit needs. */
export interface FunctionCall {
  readonly key: string
  readonly attempt: number
  readonly idempotencyKey: string
  readonly input: unknown
  readonly services: object
  readonly runId: string
}

export interface Watcher {
  /** Runs a function that a call brought, and gives its answer or another one. */
  readonly run: (asked: AskedCall, role: Role, call: FunctionCall, run: () => unknown) => unknown
  /** The workflow function is about to be called: a pass begins. */
  readonly began?: () => void
  /** The workflow function returned or threw. */
  readonly ended?: (end: { readonly ok: boolean; readonly value: unknown }) => void
}

type AnyFunction = (...args: never[]) => unknown
const roles: Readonly<Record<string, Role>> = { step: 'step', effect: 'effect', once: 'once' }
const journaled: ReadonlySet<string> = new Set(['step', 'effect', 'once', 'hasEffect', 'recordEffect', 'sleep', 'sleepUntil', 'signal', 'child', 'moveTo'])

/** Remembers what the functions of one process have asked for. Give `called` to the host that runs them. */
export class Watch {
  /** By key: as it was asked for last. */
  readonly byKey: Map<string, AskedCall> = new Map()
  /** The call that was made last, refused or not. */
  last: AskedCall | undefined
  /** The last that was not refused. */
  lastTaken: AskedCall | undefined
  #making: AskedCall | undefined
  readonly #watcher: Watcher

  constructor(watcher: Watcher) {
    this.#watcher = watcher
  }

  /** For `TestHostOptions.called`. */
  readonly called = (_kind: string, key: string): void => {
    if (this.#making === undefined) return
    this.#making.key = key
    this.lastTaken = this.#making
    this.byKey.set(key, this.#making)
  }

  /** Where the call of this key was made; ` (file:line)` or nothing. */
  place(key: string | undefined): string {
    return (key === undefined ? undefined : this.byKey.get(key))?.site.behind ?? ''
  }

  /** The same workflow, watched. */
  of<D extends AnyWorkflow>(workflow: D): D {
    const run = workflow.run as (ctx: Ctx, input: unknown) => unknown
    const watched = (ctx: Ctx, input: unknown): unknown => {
      const { began, ended } = this.#watcher
      began?.()
      let result: unknown
      try {
        result = run(this.#ctx(ctx), input)
      } catch (error) {
        ended?.({ ok: false, value: error })
        throw error
      }
      // Beside the engine's own look at it: the engine gets what the function gave, at the turn at which it gave it.
      if (ended !== undefined) Promise.resolve(result).then((value) => ended({ ok: true, value }), (error: unknown) => ended({ ok: false, value: error }))
      return result
    }
    return { ...workflow, run: watched as unknown as AnyWorkflow['run'] }
  }

  #ctx(ctx: Ctx): Ctx {
    return frontOf(ctx, (name, method, target) => journaled.has(name) ? (...args) => this.#ask(name, method, target, args) : undefined)
  }

  #ask(name: string, method: Method, ctx: Ctx, args: readonly unknown[]): unknown {
    const role = roles[name]
    const [first, fn, options] = args
    const given = role !== undefined && typeof options === 'object' && options !== null ? options as Readonly<Record<string, unknown>> : {}
    const asked: AskedCall = {
      method: name, name: typeof first === 'string' ? first : undefined, options: given, site: new CallSite(), generation: ctx.info.generation, key: undefined,
    }
    this.last = asked
    const outer = this.#making
    this.#making = asked
    try {
      if (role === undefined) return method(...args)
      const watched = (of: Role, each: unknown): unknown => typeof each === 'function' ? this.#function(asked, of, each as AnyFunction) : each
      const functions = Object.fromEntries((['probe', 'undo'] as const).filter((of) => of in given).map((of) => [of, watched(of, given[of])]))
      return method(first, watched(role, fn), typeof options === 'object' && options !== null ? { ...given, ...functions } : options)
    } finally {
      this.#making = outer
    }
  }

  /** The call object is the last argument of each: an undo gets the outcome before it. */
  #function(asked: AskedCall, role: Role, fn: AnyFunction): AnyFunction {
    return (...args) => this.#watcher.run(asked, role, args.at(-1) as unknown as FunctionCall, () => fn(...args))
  }
}

/** Tells the first time that the function reads its idempotency key from the call. */
export function watchKey(call: FunctionCall, read: () => void): void {
  const value = call.idempotencyKey
  Object.defineProperty(call, 'idempotencyKey', {
    configurable: true,
    enumerable: true,
    get: () => {
      read()
      return value
    },
  })
}
