// A request to a run from somebody who does not drive it: a durable message in its inbox, and the time by which the run is woken to
// read it. Whoever posted may be gone before anybody has read it, and it was acknowledged.

import { encode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import type { Message } from '../journal/record.ts'
import { bounded, type Bound } from '../store/bounded.ts'
import type { RunStore } from '../store/store.ts'

/**
 * Durable when it resolves. A message whose commit has no answer is posted again, so it may be there twice: whoever drives acts on the
 * first. Throws `run_not_found`, `store_unavailable`.
 */
export async function post(store: RunStore, now: number, message: Message, bound: Bound | undefined): Promise<void> {
  const batch = { expect: { kind: 'exists' }, post: [encode(message)], wakeBy: now, durability: 'strict' } as const
  for (let attempt = 1; ; attempt++) {
    const sent = store.commit(batch)
    const answer = await (bound === undefined ? sent : bounded(sent, bound))
    if (answer.kind === 'committed') return
    if (answer.kind === 'stale') throw notFound(store)
    if (attempt >= 3) throw new StepwellError('store_unavailable', `run ${store.runId}: the request could not be stored`, { cause: answer.error })
  }
}

/** For whom a client acts. Throws `invalid_argument` for what is no text of 1 to 256 characters. */
export function knownPrincipal(principal: unknown): string | undefined {
  if (principal === undefined || (typeof principal === 'string' && principal.length >= 1 && principal.length <= 256)) return principal
  throw new StepwellError('invalid_argument', 'a principal is a string of 1 to 256 characters')
}

export function notFound(store: RunStore): StepwellError {
  return new StepwellError('run_not_found', `there is no run ${store.runId}`, { details: { runId: store.runId } })
}
