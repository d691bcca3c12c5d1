// An expense that somebody has to approve: it waits for a signal, for days if need be, at the edge or in a page that is closed meanwhile, and
// tells what happens by events. Then, in one step, a letter to each who must know: those that were written are kept over its attempts.

import { blake3, hex, workflow } from 'stepwell'
import { z } from 'zod'

const DAY = 86_400_000

export const ApprovalInput = z.object({
  what: z.string().trim().min(1).max(200),
  cents: z.number().int().positive(),
  /** How long it waits for a decision. */
  waitMs: z.number().int().min(1).max(30 * DAY).default(2 * DAY),
  /** Who gets a letter. */
  tell: z.array(z.string().trim().min(1).max(100)).max(20).default(['Books', 'Travel desk', 'Claimant']),
})

export const Decision = z.object({
  approved: z.boolean(),
  by: z.string().trim().min(1).max(100),
  why: z.string().trim().max(500).optional(),
})

export const ApprovalOutput = z.object({
  outcome: z.enum(['approved', 'rejected', 'expired']),
  by: z.string().optional(),
  why: z.string().optional(),
  letters: z.array(z.object({ to: z.string(), id: z.string() })),
})

export const approval = workflow({
  name: 'approval',
  input: ApprovalInput,
  output: ApprovalOutput,
  signals: { decide: Decision },
}, async (ctx, { what, cents, waitMs, tell }) => {
  ctx.emit('asked', { what, cents })
  const decision = await ctx.signal('decide', { timeout: waitMs })
  const outcome: 'approved' | 'rejected' | 'expired' = decision === undefined ? 'expired' : decision.approved ? 'approved' : 'rejected'
  ctx.emit('decided', { outcome, ...(decision !== undefined && { by: decision.by }) })
  const letters = await ctx.step('letters', async ({ input, memo, progress, emit }) => {
    let done = 0
    return Promise.all(input.tell.map(async (to) => {
      // Written once, also when the host dies among the others: the next attempt finds it.
      const id = await memo(to, () => letter(to, input.what, input.outcome))
      progress(++done, input.tell.length)
      emit('written', { to })
      return { to, id }
    }))
  }, { input: { what, outcome, tell } })
  return { outcome, letters, ...(decision !== undefined && { by: decision.by }), ...(decision?.why !== undefined && { why: decision.why }) }
})

/** Its number: what a real one would be sent under. */
function letter(to: string, what: string, outcome: string): string {
  return hex(blake3(new TextEncoder().encode(`${to}\n${what}\n${outcome}`))).slice(0, 12)
}
