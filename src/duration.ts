// Durations: a number of milliseconds, or a number and a unit as text.

import { StepwellError } from './error/stepwell-error.ts'

export type Unit =
  | 'ms' | 'second' | 'seconds' | 'minute' | 'minutes' | 'hour' | 'hours' | 'day' | 'days' | 'week' | 'weeks'

/** Milliseconds, or text: `'30 seconds'`, `'1.5 hours'`, `'2 days'`. */
export type Duration = number | `${number} ${Unit}`

/** The longest duration: 100 years of 365.25 days. */
export const MAX_DURATION_MS: number = 36_525 * 24 * 3_600_000

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour
const week = 7 * day

const unitMs: ReadonlyMap<string, number> = new Map<Unit, number>([
  ['ms', 1], ['second', second], ['seconds', second], ['minute', minute], ['minutes', minute],
  ['hour', hour], ['hours', hour], ['day', day], ['days', day], ['week', week], ['weeks', week],
])

const form = /^(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d+)? ([a-z]+)$/

/** Whole milliseconds, rounded. `name` says in the error which setting it was. Throws `invalid_duration`. */
export function toMs(duration: Duration, name: string): number {
  const ms = typeof duration === 'number' ? duration : parse(duration, name)
  if (!(ms >= 0)) throw refused(name, duration, 'must be a number from 0')
  if (ms > MAX_DURATION_MS) throw refused(name, duration, `is over the limit of 100 years (${MAX_DURATION_MS} ms)`)
  return Math.round(ms) + 0 // + 0: never -0
}

function parse(duration: unknown, name: string): number {
  if (typeof duration !== 'string') throw refused(name, duration, 'must be a number of milliseconds or text')
  const match = form.exec(duration)
  const unit = match === null ? undefined : unitMs.get(match[3] ?? '')
  if (match === null || unit === undefined) {
    throw refused(name, duration, `must be a number, one space and a unit (${[...unitMs.keys()].join(', ')})`)
  }
  return Number((match[1] ?? '') + (match[2] ?? '')) * unit
}

function refused(name: string, duration: unknown, why: string): StepwellError {
  const shown = typeof duration === 'string' ? JSON.stringify(duration.slice(0, 64))
    : typeof duration === 'number' || duration == null ? String(duration) : `a value of type ${typeof duration}`
  const details = { name, allowed: MAX_DURATION_MS }
  return new StepwellError('invalid_duration', `${name}: ${shown} ${why}`, { details })
}
