// The ctx object: every method is one engine call, or plain promise logic over branches that have their own ctx.

import type { At, Branches, Ctx, Deferred, EffectOptions, OnceOptions, RunInfo, Settled, SignalOptions, StepOptions } from '../context.ts'
import { type Duration, toMs } from '../duration.ts'
import { StepwellError } from '../errors.ts'
import { hashParts, hex } from '../hash.ts'
import { sleepCall, stepCall } from './call.ts'
import { createDeferred } from './deferred.ts'
import { effectCall } from './effect.ts'
import { checkName, Scope } from './key.ts'
import { signalCall } from './signal.ts'
import { hasEffectCall, onceCall, recordEffectCall } from './once.ts'
import type { Pass } from './pass.ts'

type AnyFn = (ctx: Ctx, ...rest: never[]) => unknown
const DEFAULT_CONCURRENCY = 6

/** A ctx for `scope`. The ctx of a dropped pass is dead: its calls stay pending for ever. */
export function createContext(pass: Pass, scope: Scope): Ctx {
  return new Context(pass, scope) as unknown as Ctx
}

class Context {
  #pass: Pass
  #scope: Scope

  constructor(pass: Pass, scope: Scope) {
    this.#pass = pass
    this.#scope = scope
  }

  step(name: string, run: unknown, options?: StepOptions<At, unknown>): Promise<unknown> {
    // The one call that loops are made of: no closure, and no text for an error that there is not.
    try {
      const pass = this.#pass
      const { limits, host } = pass.init
      pass.check('step', name)
      return pass.ask(stepCall(limits, this.#scope, pass.uses, host.name, name, run, options))
    } catch (error) {
      return rejected(error)
    }
  }

  sleep(duration: Duration): Promise<unknown> {
    return this.#call('sleep', () => {
      const ms = toMs(duration, 'sleep')
      return sleepCall(this.#scope, 'ctx.sleep', (now) => now + ms, ms)
    })
  }

  sleepUntil(time: number | Date): Promise<unknown> {
    return this.#call('sleepUntil', () => {
      const at = typeof time === 'number' ? time : time instanceof Date ? time.getTime() : NaN
      if (!Number.isFinite(at)) throw new StepwellError('invalid_argument', 'sleepUntil takes a time: a Date or ms since 1970')
      return sleepCall(this.#scope, 'ctx.sleepUntil', () => at, at)
    })
  }

  all(branches: Branches<{}, {}, {}>): Promise<unknown> {
    return this.#combine('all', branches, async (started) => {
      const values = await Promise.all(started.map(([, promise]) => promise))
      return named(started.map(([label], i) => [label, values[i]]))
    })
  }

  race(branches: Branches<{}, {}, {}>): Promise<unknown> {
    return this.#combine('race', branches, (started) =>
      Promise.race(started.map(([winner, promise]) => promise.then((value) => ({ winner, value })))))
  }

  any(branches: Branches<{}, {}, {}>): Promise<unknown> {
    return this.#combine('any', branches, (started) =>
      Promise.any(started.map(([winner, promise]) => promise.then((value) => ({ winner, value })))))
  }

  settled(branches: Branches<{}, {}, {}>): Promise<unknown> {
    return this.#combine('settled', branches, async (started) => {
      const results: PromiseSettledResult<unknown>[] = await Promise.allSettled(started.map(([, promise]) => promise))
      return named(started.map(([label], i) => [label, results[i] as Settled<unknown>]))
    })
  }

  map(name: string, items: readonly unknown[], options: { key?: (item: unknown, index: number) => string; concurrency?: number }, fn: AnyFn): Promise<unknown> {
    return this.#run(`map "${String(name)}"`, () => {
      const { limits } = this.#pass.init
      checkName(limits, name, 'map')
      if (!Array.isArray(items)) throw new StepwellError('invalid_argument', `map ${name}: the items are an array`)
      if (typeof fn !== 'function') throw new StepwellError('invalid_argument', `map ${name}: the fourth argument is the function to run on each item`)
      const concurrency = options?.concurrency ?? DEFAULT_CONCURRENCY
      if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
        throw new StepwellError('invalid_argument', `map ${name}: concurrency ${String(concurrency)} is not a whole number from 1`)
      }
      const keys = items.map((item, i) => options?.key === undefined ? String(i) : checkName(limits, options.key(item, i), `key of an item of map ${name}`))
      const seen = new Set<string>()
      for (const key of keys) {
        if (seen.has(key)) throw new StepwellError('duplicate_key', `map ${name}: two items have the key ${JSON.stringify(key)}`, { details: { key } })
        seen.add(key)
      }
      const nth = this.#scope.group(name)
      const results: unknown[] = new Array(items.length)
      let next = 0
      // The first rejection rejects the map, and no further item begins; those under way go on until the function ends.
      let isRejected = false
      const lane = async (): Promise<void> => {
        while (next < items.length && !isRejected) {
          const i = next++
          try {
            results[i] = await fn(createContext(this.#pass, this.#scope.branch(name, nth, undefined, keys[i])), items[i] as never, i as never)
          } catch (error) {
            isRejected = true
            throw error
          }
        }
      }
      return Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, lane)).then(() => results)
    })
  }

  scope(label: string, fn: AnyFn): Promise<unknown> {
    return this.#run(`scope "${String(label)}"`, () => {
      checkName(this.#pass.init.limits, label, 'scope')
      if (typeof fn !== 'function') throw new StepwellError('invalid_argument', `scope ${label}: the second argument is the function to run`)
      return this.#branch(this.#scope.child(label, undefined, undefined), fn)
    })
  }

  cleanup(fn: AnyFn): Promise<unknown> {
    return this.#run('cleanup', () => {
      if (typeof fn !== 'function') throw new StepwellError('invalid_argument', 'cleanup takes the function to run')
      return this.#branch(this.#scope.child('cleanup', undefined, undefined, true), fn)
    })
  }

  now(): number {
    this.#pass.check('now()')
    return this.#pass.now
  }

  random(): number {
    this.#pass.check('random()')
    const bytes = this.#draw()
    let high = 0
    for (let i = 0; i < 6; i++) high = high * 256 + (bytes[i] as number)
    return (high * 32 + ((bytes[6] as number) >>> 3)) / 2 ** 53
  }

  uuid(): string {
    this.#pass.check('uuid()')
    const bytes = this.#draw()
    bytes[6] = ((bytes[6] as number) & 15) | 64
    bytes[8] = ((bytes[8] as number) & 63) | 128
    const text = hex(bytes.subarray(0, 16))
    return `${text.slice(0, 8)}-${text.slice(8, 12)}-${text.slice(12, 16)}-${text.slice(16, 20)}-${text.slice(20)}`
  }

  /** From the seed, the scope and a counter in it: what another branch draws changes nothing here. */
  #draw(): Uint8Array {
    return hashParts('stepwell.random', this.#pass.init.start.seed, this.#scope.path, this.#scope.draws++)
  }

  log(message: string, data?: unknown): void {
    const { host, runId } = this.#pass.init
    this.#pass.check('log()')
    if (!this.#pass.isCaughtUp || this.#pass.isDead) return
    host.log({ level: 'info', runId, message, ...(data === undefined ? undefined : { data }) })
  }

  emit(type: string, data?: unknown): void {
    this.#pass.emit(type, data)
  }

  fail(message: string, details?: object): never {
    throw new StepwellError('failed', message, details === undefined ? {} : { details: details as never })
  }

  get abortSignal(): AbortSignal {
    return this.#pass.abort.signal
  }

  get info(): RunInfo {
    const { runId, definition, start, generation, createdAt, host, live } = this.#pass.init
    return {
      runId, workflow: definition.name, version: start.version, generation, createdAt, deadline: live.state.record.deadline,
      tags: start.tags, metadata: start.metadata, host: host.name,
    }
  }

  moveTo(at: string): Promise<unknown> {
    return this.#run('moveTo', () => {
      const { host } = this.#pass.init
      if (at !== 'edge') throw new StepwellError('invalid_argument', 'moveTo takes "edge"')
      if (host.name !== 'browser') return Promise.resolve()
      throw new StepwellError('unsupported', 'moving a run from a browser to the edge is not in this version')
    })
  }

  effect(name: string, run: unknown, options?: EffectOptions<{}, At, unknown, unknown>): Promise<unknown> {
    return this.#call(`effect "${String(name)}"`, () => {
      const { limits, host, start } = this.#pass.init
      return effectCall(limits, this.#scope, this.#pass.uses, host.name, start.incarnation, name, run, options)
    })
  }

  once(key: string, run: unknown, options?: OnceOptions<{}, At, unknown>): Promise<unknown> {
    return this.#call(`once "${String(key)}"`, () => {
      const { limits, host, start } = this.#pass.init
      return onceCall(limits, this.#scope, host.name, start.incarnation, key, run, options)
    })
  }

  hasEffect(key: string): Promise<unknown> {
    return this.#call(`hasEffect "${String(key)}"`, () => {
      const { limits, start } = this.#pass.init
      return hasEffectCall(limits, this.#scope, start.incarnation, key)
    })
  }

  recordEffect(key: string, status: string, details?: unknown): Promise<unknown> {
    return this.#call(`recordEffect "${String(key)}"`, () => {
      const { limits, start } = this.#pass.init
      return recordEffectCall(limits, this.#scope, start.incarnation, key, status, details)
    })
  }

  patched(name: string): boolean {
    this.#pass.check('patched()')
    checkName(this.#pass.init.limits, name, 'patch')
    return this.#pass.init.live.patches.applies(this.#pass, name)
  }

  signal(name: string, options?: SignalOptions): Promise<unknown> {
    return this.#call(`signal "${String(name)}"`, () => {
      const { limits, definition } = this.#pass.init
      return signalCall(limits, this.#scope, definition.signals, definition.name, name, options)
    })
  }

  signals(name: string, options?: SignalOptions): AsyncIterable<unknown> {
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          const value = await this.signal(name, options)
          return value === undefined && options?.timeout !== undefined ? { done: true, value } : { done: false, value }
        },
      }),
    }
  }

  deferred(name: string): Deferred<unknown> {
    const { limits, definition } = this.#pass.init
    this.#pass.check('deferred', name)
    return createDeferred(limits, this.#scope, definition.deferreds, definition.name, name, (call) => this.#call(`deferred "${String(name)}"`, call))
  }

  child(): Promise<unknown> {
    return this.#run('child', () => { throw new StepwellError('unsupported', 'ctx.child is not in this version: start a run in a step; a test answers it with a mock') })
  }

  #call(what: string, make: () => Parameters<Pass['ask']>[0]): Promise<unknown> {
    try {
      this.#pass.check(what)
      return this.#pass.ask(make())
    } catch (error) {
      return rejected(error)
    }
  }

  #run(what: string, run: () => Promise<unknown>): Promise<unknown> {
    if (this.#pass.isDead) return new Promise(() => {})
    try {
      this.#pass.check(what)
      return handled(run())
    } catch (error) {
      return rejected(error)
    }
  }

  #branch(scope: Scope, fn: AnyFn): Promise<unknown> {
    try {
      return handled(Promise.resolve(fn(createContext(this.#pass, scope))))
    } catch (error) {
      return rejected(error)
    }
  }

  #combine(
    name: 'all' | 'race' | 'any' | 'settled', branches: Branches<{}, {}, {}>,
    join: (started: readonly (readonly [string, Promise<unknown>])[]) => Promise<unknown>,
  ): Promise<unknown> {
    return this.#run(name, () => {
      const entries = Object.entries(branches ?? {})
      if ((name === 'race' || name === 'any') && entries.length === 0) {
        throw new StepwellError('invalid_argument', `${name} of no branches would never settle`)
      }
      for (const [label, fn] of entries) {
        checkName(this.#pass.init.limits, label, `branch of ${name}`)
        if (typeof fn !== 'function') {
          throw new StepwellError('invalid_argument', `${name}: branch ${label} is a function that gets its own ctx, not a promise`)
        }
      }
      const nth = this.#scope.group(name)
      return join(entries.map(([label, fn]) => [label, this.#branch(this.#scope.branch(name, nth, label, undefined), fn)] as const))
    })
  }
}

/** Branch labels are user text: `__proto__` must become a property, not a prototype. */
function named(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  return Object.fromEntries(entries)
}

function handled<T>(promise: Promise<T>): Promise<T> {
  promise.then(undefined, () => {})
  return promise
}

function rejected(error: unknown): Promise<never> {
  return handled(Promise.reject(error) as Promise<never>)
}
