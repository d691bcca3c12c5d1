// When a failed attempt is tried again.

import type { RetryPolicy } from '../context.ts'
import { toMs } from '../duration.ts'
import { retryHint, StepwellError } from '../errors.ts'
import type { Host } from '../host.ts'
import { type Limits, within } from '../limits.ts'

export interface Retry {
  readonly limit: number
  readonly delayMs: number
  readonly backoff: 'constant' | 'linear' | 'exponential'
  readonly maxDelayMs: number
  readonly jitter: number
}

export const defaultRetry: Retry = Object.freeze({
  limit: 5, delayMs: 1000, backoff: 'exponential', maxDelayMs: 300_000, jitter: 0.25,
})

/** Throws `invalid_argument`, `invalid_duration`, `limit_exceeded`: before anything is written. */
export function retryOf(policy: RetryPolicy | undefined, limits: Limits): Retry {
  if (policy === undefined) return defaultRetry
  const limit = policy.limit ?? defaultRetry.limit
  const jitter = policy.jitter ?? defaultRetry.jitter
  const backoff = policy.backoff ?? defaultRetry.backoff
  if (!Number.isSafeInteger(limit) || limit < 0) throw new StepwellError('invalid_argument', `retry.limit: ${String(limit)} is not a whole number from 0`)
  within(limits, 'retries', limit, 'retry.limit')
  if (!(jitter >= 0 && jitter <= 1)) throw new StepwellError('invalid_argument', `retry.jitter: ${String(jitter)} is not between 0 and 1`)
  if (backoff !== 'constant' && backoff !== 'linear' && backoff !== 'exponential') {
    throw new StepwellError('invalid_argument', `retry.backoff: ${String(backoff)} is none of constant, linear, exponential`)
  }
  return {
    limit, jitter, backoff,
    delayMs: policy.delay === undefined ? defaultRetry.delayMs : toMs(policy.delay, 'retry.delay'),
    maxDelayMs: policy.maxDelay === undefined ? defaultRetry.maxDelayMs : toMs(policy.maxDelay, 'retry.maxDelay'),
  }
}

/** In place of the error of an attempt whose host did not survive it. */
export function attemptLost(): StepwellError {
  return new StepwellError('failed', 'the host was gone before the attempt was over')
}

/** In [0, 1), for the jitter of one delay: nothing replays it, its sum is stored. */
export function drawn(host: Host): number {
  const bytes = host.random(4)
  return ((bytes[0] as number) + (bytes[1] as number) * 256 + (bytes[2] as number) * 65536) / 16777216
}

/**
 * How long to wait after attempt number `attempt` (0: one of an earlier generation) failed with `error`, or undefined when there is no further attempt. The
 * error's own word comes first: a permanent one ends it, its own delay wins over the policy's (and over `maxDelay`). Never guessed from text.
 * `draw` is in [0, 1): full delay minus up to the jitter's share, so the cap holds.
 */
export function nextDelay(retry: Retry, attempt: number, error: unknown, draw: number): number | undefined {
  const hint = retryHint(error)
  if (hint.retryable === false) return undefined
  if (attempt > retry.limit) return undefined
  if (hint.retryAfterMs !== undefined) return hint.retryAfterMs
  const nth = Math.max(1, attempt)
  const factor = retry.backoff === 'constant' ? 1 : retry.backoff === 'linear' ? nth : 2 ** Math.min(nth - 1, 52)
  const delay = Math.min(retry.delayMs * factor, retry.maxDelayMs)
  return Math.round(delay * (1 - retry.jitter * draw))
}
