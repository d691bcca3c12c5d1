// What an error says about being tried again: marks that a step's function puts on it, and how they are read. Never
// its text.

import { type Duration, toMs } from '../duration.ts'
import { chainOf, isDelay, isExitClass, readField, structuredBy, toErrorData } from './data.ts'

/** What is known about trying again; a field that is missing was not said. */
export interface RetryHint {
  readonly retryable?: boolean
  readonly retryAfterMs?: number
}

/** Marks an error as final: `throw permanent(new Error('card declined'))` ends the step without another attempt. */
export function permanent(error: unknown): Error {
  return marked(error, 'retryable', false)
}

/**
 * Marks an error of an effect's function: nobody knows whether it happened, so its policy decides (G13). Without the mark a throw
 * means that it did not happen.
 */
export function ambiguous(error: unknown): Error {
  return marked(error, 'ambiguous', true)
}

/**
 * Marks an error with the least time until the next attempt, as a `Retry-After` header says. Throws
 * `invalid_duration`.
 */
export function retryAfter(error: unknown, delay: Duration): Error {
  return marked(error, 'retryAfterMs', toMs(delay, 'retryAfter'))
}

/**
 * Reads `exitClass`, `retryable` and `retryAfterMs` from the error, its `toStructuredError()` and its causes; the nearest wins, and of
 * one error its `exitClass`.
 */
export function retryHint(error: unknown): RetryHint {
  let retryable: boolean | undefined
  let retryAfterMs: number | undefined
  for (const each of chainOf(error)) {
    const offered = structuredBy(each)
    const exit = offered?.['exitClass'] ?? readField(each, 'exitClass')
    const flag = isExitClass(exit) ? exit !== 'terminal' : offered?.['retryable'] ?? readField(each, 'retryable')
    const delay = offered?.['retryAfterMs'] ?? readField(each, 'retryAfterMs')
    if (retryable === undefined && typeof flag === 'boolean') retryable = flag
    if (retryAfterMs === undefined && isDelay(delay)) retryAfterMs = delay
  }
  return { ...(retryable !== undefined && { retryable }), ...(retryAfterMs !== undefined && { retryAfterMs }) }
}

/** The error itself with one own field more; what cannot take it becomes the cause of an error that can. */
function marked(error: unknown, key: 'retryable' | 'retryAfterMs' | 'ambiguous', value: boolean | number): Error {
  const property = { value, enumerable: true, writable: true, configurable: true }
  if (error instanceof Error && Reflect.defineProperty(error, key, property)) return error
  const wrapper = new Error(toErrorData(error).message, error instanceof Error ? { cause: error } : undefined)
  Object.defineProperty(wrapper, key, property)
  return wrapper
}
