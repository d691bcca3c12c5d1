// A webhook for every end: `onEnd` starts a run that delivers it. The host tells an end at least once; the token makes one delivery
// of it, and from then on the delivery is a workflow like any other: retried, journaled, there to be looked at when it fails.

import { type Client, isStepwellError, permanent, type RunEnd, services, workflow } from 'stepwell'
import { z } from 'zod'

/** Where deliveries go, lent by the host: an address and its secret are no business of a journal. */
export interface Webhook {
  /** Resolves when it was taken; throws `permanent(…)` when it never will be. */
  post(body: object, options: { readonly idempotencyKey: string; readonly abortSignal: AbortSignal }): Promise<void>
}

const input = z.object({
  runId: z.string(), workflow: z.string(), generation: z.number(), status: z.enum(['completed', 'failed', 'cancelled']), endedAt: z.number(),
})

export const deliver = workflow({
  name: 'deliver', input, services: services<{ any: { webhook: Webhook } }>(), retention: { completed: '1 day', failed: '30 days' },
}, async (ctx, end) => {
  // A day of tries, ever more rarely. The receiver drops what it has seen by the same key.
  await ctx.step('post', ({ services: { webhook }, input: body, idempotencyKey, abortSignal }) => webhook.post(body, { idempotencyKey, abortSignal }), {
    input: end, timeout: '20 seconds', retry: { limit: 50, delay: '1 second', maxDelay: '30 minutes' },
  })
})

/**
 * For a host's `onEnd`. Deliveries have ends too: those are told to nobody. What a run has given stays where it is: the receiver asks
 * for it by the id, if it may.
 */
export async function announce(client: Pick<Client<typeof deliver>, 'start'>, end: RunEnd): Promise<void> {
  if (end.workflow === deliver.name) return
  const { id: runId, workflow: of, generation, status, endedAt } = end
  try {
    await client.start(deliver, { runId, workflow: of, generation, status, endedAt }, { token: `${runId}/${generation}` })
  } catch (error) {
    // Told before, so long ago that the delivery has been removed since: its token is still known, and it is not made again.
    if (!isStepwellError(error, 'run_swept')) throw error
  }
}

/** Posts to `url`. What the receiver refuses (4xx) is final; 408, 425, 429, 5xx and a broken connection are tried again. */
export function httpWebhook(url: string): Webhook {
  return {
    async post(body, { idempotencyKey, abortSignal }) {
      const { ok, status } = await fetch(url, {
        method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey }, body: JSON.stringify(body), signal: abortSignal,
      })
      if (ok) return
      const error = new Error(`the webhook answered ${status}`)
      throw status >= 500 || status === 408 || status === 425 || status === 429 ? error : permanent(error)
    },
  }
}
