// G28: whatever is given to a public function, it is taken or refused by a typed error. The functions are those that a module exports
// and the methods of what they make: the tables name all of them, so that a new one can't be forgotten.

import { isStepwellError } from '../../src/index.ts'

export const junk: readonly unknown[] = [
  undefined, null, true, 0, -1, 5, Number.NaN, '', 'x', 'x y', {}, [], [null], () => {}, Symbol('s'), 5n, new Date(Number.NaN), Object.create(null),
]

type Any = (...args: readonly any[]) => unknown
export type Lists = readonly (readonly unknown[])[]

export interface Given {
  readonly calls: number
  readonly refused: number
  /** What it threw that is no typed error, or one that blames the data or stepwell. */
  readonly wrong: readonly string[]
}

export async function give(call: Any, lists: Lists): Promise<Given> {
  let refused = 0
  const wrong: string[] = []
  for (const args of lists) {
    try {
      await call(...args)
    } catch (error) {
      if (isStepwellError(error) && error.kind !== 'integrity') refused++
      else wrong.push(`${args.map(show).join(', ')}: ${String(error)}`)
    }
  }
  return { calls: lists.length, refused, wrong }
}

function show(value: unknown): string {
  if (typeof value !== 'object' || value === null) return typeof value === 'function' ? 'a function' : String(value)
  if (value instanceof Date) return 'a Date'
  try {
    return JSON.stringify(value) ?? 'undefined'
  } catch {
    return 'an object'
  }
}

/** Every argument in turn replaced by junk, and every field of arguments that are plain objects. */
export function spoiled(valid: readonly unknown[]): Lists {
  const places = Math.max(valid.length, 1)
  const lists: unknown[][] = []
  for (let at = 0; at < places; at++) {
    for (const one of junk) lists.push(Array.from({ length: places }, (_, i) => i === at ? one : valid[i]))
    const own = valid[at]
    // A frozen one was made by stepwell.
    if (typeof own !== 'object' || own === null || Object.getPrototypeOf(own) !== Object.prototype || Object.isFrozen(own)) continue
    for (const field of Object.keys(own)) for (const one of junk) lists.push(valid.map((arg, i) => i === at ? { ...own, [field]: one } : arg))
  }
  return lists
}

/** Arguments that are taken, or what makes them for each call of the list: for what a call uses up. */
export type Valid = readonly unknown[] | (() => readonly unknown[] | Promise<readonly unknown[]>)

export interface Table {
  readonly [name: string]: Valid
}

/** The functions of a module, by name; a class is the function that makes one. */
export function exportsOf(module: object): Map<string, Any> {
  return new Map(Object.entries(module).filter(([, value]) => typeof value === 'function').map(([name, value]) => {
    const isClass = Function.prototype.toString.call(value).startsWith('class')
    return [name, isClass ? (...args) => new (value as new (...args: readonly unknown[]) => unknown)(...args) : value as Any]
  }))
}

/** The methods of an object: its own, and those of its class. */
export function methodsOf(object: object): Map<string, Any> {
  const found = new Map<string, Any>()
  for (let at: object = object; at !== Object.prototype && at !== null; at = Object.getPrototypeOf(at) as object) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (name !== 'constructor' && typeof value === 'function') found.set(name, (...args) => Reflect.apply(value, object, args))
    }
  }
  return found
}

/**
 * What does not hold of these functions: one that the table lacks, one that does not take what the table calls valid, one that throws
 * what is no typed error, one that refuses nothing although it is not among those that `take` anything, or the other way round.
 */
export async function wrongWith(functions: ReadonlyMap<string, Any>, table: Table, take: readonly string[]): Promise<string[]> {
  const wrong: string[] = []
  for (const name of Object.keys(table)) if (!functions.has(name)) wrong.push(`${name} is in the table, and is not there`)
  for (const [name, call] of functions) {
    const valid = table[name]
    if (valid === undefined) {
      wrong.push(`${name} is public, and not in the table`)
      continue
    }
    const fresh = async (): Promise<readonly unknown[]> => typeof valid === 'function' ? valid() : valid
    try {
      await call(...await fresh())
    } catch (error) {
      wrong.push(`${name} refuses what is valid: ${String(error)}`)
    }
    const given = await give(call, spoiled(await fresh()))
    wrong.push(...given.wrong.map((each) => `${name}(${each}`))
    if ((given.refused === 0) !== take.includes(name)) wrong.push(`${name} refused ${given.refused} of ${given.calls}`)
  }
  return wrong
}
