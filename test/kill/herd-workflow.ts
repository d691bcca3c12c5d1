// The workflow of the tests that kill a host with many runs in flight: a step, an effect that is probed, one that is called again,
// a sleep, and a step behind it. All that it does to the outside is a request to the upstream (examples/upstream).

import type { Schema } from '../../src/schema.ts'
import { services, workflow } from '../../src/index.ts'
import { type httpBank, limits as payLimits } from './pay.ts'

export interface HerdInput {
  readonly orderId: string
  readonly sleepMs: number
  /** Of each effect. A successor waits so long: much longer than the upstream takes, on a busy machine too, so that its answers are final. */
  readonly timeoutMs: number
}

export interface HerdOutput {
  readonly orderId: string
  readonly totalCents: number
  readonly chargeId: string
  readonly reservationId: string
  readonly shipmentId: string
}

export interface JournalEntry { readonly seq: number; readonly kind: string; readonly key?: string; readonly at: number }

const bank = services<{ any: { bank: ReturnType<typeof httpBank> } }>()

function any<T>(): Schema<T> {
  return { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as T }) } }
}

/** So many kills without an entry between are possible, and no sign of a broken run. `stayAwakeMs`: every sleep is an alarm. */
export const limits = { ...payLimits, wakes: 1000, stayAwakeMs: 20 }

export const herd = workflow({ name: 'herd', input: any<HerdInput>(), services: bank }, async (ctx, { orderId, sleepMs, timeoutMs }): Promise<HerdOutput> => {
  const items = [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }]
  // A refused connection, or one that a kill has cut: tried again as long as it takes.
  const retry = { limit: 1000, delay: 200, maxDelay: 1000 } as const
  const { totalCents } = await ctx.step('price', (call) =>
    call.services.bank.post('price', { orderId, items }, call) as unknown as Promise<{ totalCents: number }>, { retry, timeout: '1 hour' })
  const chargeId = await ctx.effect('charge', async (call) =>
    (await call.services.bank.post('charge', { orderId, totalCents }, call))['chargeId'] as string, {
    kind: 'money', input: { orderId, totalCents }, timeout: timeoutMs, retry, onAmbiguous: 'probe',
    probe: async ({ services: { bank: asked }, idempotencyKey }) => {
      const found = await asked.find(idempotencyKey)
      return found === undefined ? 'did-not-happen' : { happened: found['chargeId'] as string }
    },
  })
  const reservationId = await ctx.effect('reserve', async (call) =>
    (await call.services.bank.post('reserve', { orderId, items }, call))['reservationId'] as string, {
    kind: 'custom', input: { orderId }, timeout: timeoutMs, retry, onAmbiguous: 'rerun',
  })
  await ctx.sleep(sleepMs)
  const { shipmentId } = await ctx.step('ship', (call) => call.services.bank.post('ship', { orderId }, call) as unknown as Promise<{ shipmentId: string }>, { retry, timeout: '1 hour' })
  return { orderId, totalCents, chargeId, reservationId, shipmentId }
})
