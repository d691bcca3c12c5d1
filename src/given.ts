// What a caller hands over, looked at before anything is done with it, so that what is wrong with it is said by name and not by
// a TypeError somewhere below. Each throws `invalid_argument`.

import { StepwellError } from './error/stepwell-error.ts'

/** Options: an object, or left out. */
export function given<T extends object>(options: T | undefined, what = 'the last argument'): T | Record<never, never> {
  return options === undefined ? {} : needed(options, `${what} (options)`)
}

/** An object that has to be there. */
export function needed<T extends object>(value: T, what: string): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new StepwellError('invalid_argument', `${what}: give an object, not ${shown(value)}`)
  return value
}

/** A function, or left out. */
export function givenFunction(value: unknown, what: string): void {
  if (value !== undefined) neededFunction(value, what)
}

export function neededFunction(value: unknown, what: string): void {
  if (typeof value !== 'function') throw new StepwellError('invalid_argument', `${what}: give a function, not ${shown(value)}`)
}

/** What was given, for a message: an object may hold anything, so never more of it than that it is one. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80))
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}
