// A ctx in front of another one, in every branch that the function opens: what the kit does to see a call before the engine does.

import type { Ctx } from '../context.ts'

export type Method = (...args: unknown[]) => unknown
type AnyFunction = (...args: never[]) => unknown

/** `ctx`, with `inFront` asked first for each method: what takes its place, or undefined. The same again for the ctx of each branch. */
export function frontOf(ctx: Ctx, inFront: (name: string, method: Method, ctx: Ctx) => Method | undefined): Ctx {
  const branch = (fn: unknown): unknown =>
    typeof fn === 'function' ? (inner: Ctx, ...rest: never[]) => (fn as AnyFunction)(frontOf(inner, inFront) as never, ...rest) : fn
  const branches = (fns: unknown): unknown =>
    typeof fns === 'object' && fns !== null ? Object.fromEntries(Object.entries(fns).map(([label, fn]) => [label, branch(fn)])) : fns
  return new Proxy(ctx, {
    get: (target, name): unknown => {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function' || typeof name !== 'string') return value
      const method = value.bind(target) as Method
      const instead = inFront(name, method, target)
      if (instead !== undefined) return instead
      switch (name) {
        case 'all': case 'race': case 'any': case 'settled':
          return (fns: unknown) => method(branches(fns))
        case 'map':
          return (label: unknown, items: unknown, options: unknown, fn: unknown) => method(label, items, options, branch(fn))
        case 'scope':
          return (label: unknown, fn: unknown) => method(label, branch(fn))
        case 'cleanup':
          return (fn: unknown) => method(branch(fn))
        default:
          return method
      }
    },
  })
}
