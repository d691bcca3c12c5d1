// Run ids and tokens: what is legal, and how they are made.

import { StepwellError } from './errors.ts'
import { hashParts, hex } from './hash.ts'

const legal = /^[A-Za-z0-9._~:-]{1,128}$/

/** The id itself. Throws `invalid_id`: nothing that is not 1 to 128 legal characters ever reaches a store. */
export function runId(id: unknown): string {
  if (typeof id === 'string' && legal.test(id)) return id
  const shown = typeof id === 'string' ? JSON.stringify(id.slice(0, 140)) : typeof id
  throw new StepwellError('invalid_id', `${shown} is not a run id: use 1 to 128 letters, digits, "." "_" "-" "~" ":"`)
}

/** The id that a start with this token gets, so that a repeated start finds the same run (G23). */
export function idFromToken(workflow: string, token: unknown): string {
  if (typeof token !== 'string' || token.length < 1 || token.length > 256) {
    throw new StepwellError('invalid_token', 'a start token is a string of 1 to 256 characters')
  }
  return `t-${hex(hashParts('stepwell.token', workflow, token)).slice(0, 40)}`
}

/** A fresh id: 128 random bits. */
export function randomId(random: (bytes: number) => Uint8Array): string {
  return `r-${hex(random(16))}`
}
