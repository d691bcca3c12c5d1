// Watches the process' own clock, randomness, timers and network while a workflow function is replayed. In a replay no step runs, so
// whoever uses one of them then is the workflow function itself: what it gets is another value than it got before.

import { CallSite } from './call-site.ts'

/** One use of something that a workflow function must not use. */
export interface ForeignUse {
  /** As one writes it: `Math.random()`. */
  readonly what: string
  /** What to write instead. */
  readonly instead: string
  readonly site: CallSite
}

type AnyFunction = (...args: unknown[]) => unknown

const clock = 'ctx.now()'
const timer = 'ctx.sleep()'
const inStep = 'a step'
/** What is watched, by the object that has it; '' is the global object itself. */
const watched: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Math: { random: 'ctx.random()' },
  performance: { now: clock },
  crypto: { getRandomValues: 'ctx.random()', randomUUID: 'ctx.uuid()' },
  'crypto.subtle': { digest: inStep, sign: inStep, verify: inStep, encrypt: inStep, decrypt: inStep, generateKey: inStep, importKey: inStep, deriveBits: inStep, deriveKey: inStep },
  '': { setTimeout: timer, setInterval: timer, setImmediate: timer, fetch: inStep, requestAnimationFrame: inStep },
}
/** Enough to fix a workflow by; each one holds a stack. */
const MOST = 100

// The globals are the process' own, so two replays must not watch them at the same time.
let free: Promise<unknown> = Promise.resolve()

/** Runs `run` with the globals watched, and tells what it used of them. They are what they were when it resolves or rejects. */
export function guarded<T>(run: () => Promise<T>): Promise<{ readonly value: T; readonly used: readonly ForeignUse[] }> {
  const turn = free.then(async () => {
    const used: ForeignUse[] = []
    const restore = watchGlobals((what, instead) => { if (used.length < MOST) used.push({ what, instead, site: new CallSite() }) })
    try {
      const value = await run()
      // Without a line of the user's it was the test runner, or the runtime itself.
      return { value, used: used.filter(({ site }) => site.text !== undefined) }
    } finally {
      restore()
    }
  })
  free = turn.catch(() => {})
  return turn
}

/** One sentence for each place. */
export function sayUsed(used: readonly ForeignUse[]): string[] {
  return [...new Set(used.map(({ what, instead, site }) =>
    `the workflow function calls ${what}${site.behind}, which no replay can repeat: use ${instead} instead`))]
}

function watchGlobals(note: (what: string, instead: string) => void): () => void {
  const undo: (() => void)[] = []
  const replace = (owner: object, name: string, value: unknown): void => {
    const before = Object.getOwnPropertyDescriptor(owner, name)
    try {
      Object.defineProperty(owner, name, { configurable: true, enumerable: before?.enumerable ?? false, writable: true, value })
    } catch {
      // This runtime does not let it be replaced, so it is not watched here.
      return
    }
    undo.push(() => {
      if (before === undefined) Reflect.deleteProperty(owner, name)
      else Object.defineProperty(owner, name, before)
    })
  }
  for (const [path, names] of Object.entries(watched)) {
    let owner: unknown = globalThis
    for (const part of path.split('.')) if (part !== '') owner = (owner as Record<string, unknown> | undefined)?.[part]
    if (typeof owner !== 'object' || owner === null) continue
    for (const [name, instead] of Object.entries(names)) {
      const original = (owner as Record<string, unknown>)[name]
      if (typeof original !== 'function') continue
      const what = `${path === '' ? '' : `${path}.`}${name}()`
      const self = owner
      replace(owner, name, function (this: unknown, ...args: unknown[]): unknown {
        note(what, instead)
        return (original as AnyFunction).apply(this === undefined ? self : this, args)
      })
    }
  }
  const globals = globalThis as unknown as { Date: new () => object }
  const own = (globals.Date as unknown as { now: () => number }).now
  const now = (): number => {
    note('Date.now()', clock)
    return own()
  }
  replace(globals, 'Date', new Proxy(globals.Date, {
    get: (target, name): unknown => (name === 'now' ? now : Reflect.get(target, name)),
    construct: (target, args, as): object => {
      // A date that is made of something is no clock.
      if (args.length === 0) note('new Date()', clock)
      return Reflect.construct(target, args, as) as object
    },
    apply: (target): unknown => {
      note('Date()', clock)
      return String(Reflect.construct(target, []))
    },
  }))
  return () => { for (const each of undo.reverse()) each() }
}
