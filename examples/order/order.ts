// An order: price → reserve → charge → wait → ship. The same function runs at the edge and in a page; only the shop differs.

import { services, workflow } from 'stepwell'
import type { RetryPolicy } from 'stepwell'
import { z } from 'zod'
import type { Shop } from './shop.ts'

const positive = z.number().int().positive().max(1_000_000_000)

export const OrderInput = z.object({
  orderId: z.string().min(1).max(100),
  email: z.email().max(254),
  items: z.array(z.object({ sku: z.string().min(1).max(100), quantity: positive, unitPriceCents: positive })).min(1).max(100),
  /** Between the charge and the shipment: the time in which the customer may still cancel. */
  waitMs: z.number().int().min(0).max(30 * 86_400_000).default(1000),
})

export const OrderOutput = z.object({
  orderId: z.string(), totalCents: z.number(), reservationId: z.string(), chargeId: z.string(), shipmentId: z.string(),
})

/** The shop is remote: an attempt that hangs is given up after a while, and a shop that is down for some minutes is waited for. */
const patient: { readonly timeout: '20 seconds'; readonly retry: RetryPolicy } = {
  timeout: '20 seconds', retry: { limit: 20, delay: '250 ms', maxDelay: '15 seconds' },
}

// When the order fails, or is cancelled with `undo`, what was done is taken back by the `undo` of each call: the money first.
export const order = workflow({
  name: 'order',
  input: OrderInput,
  output: OrderOutput,
  services: services<{ any: { shop: Shop } }>(),
}, async (ctx, { orderId, email, items, waitMs }) => {
  const { totalCents } = await ctx.step('price', (call) => call.services.shop.price(call.input, call), { ...patient, input: { orderId, items } })
  const { reservationId } = await ctx.step('reserve', (call) => call.services.shop.reserve(call.input, call), {
    ...patient, input: { orderId, items },
    undo: async (made, call) => { await call.services.shop.release({ orderId, reservationId: made.reservationId }, call) },
  })
  // Money: no request without an intent on the disk, and what nobody knows is asked of the shop instead of tried again.
  const { chargeId } = await ctx.effect('charge', (call) => call.services.shop.charge(call.input, call), {
    ...patient, kind: 'money', input: { orderId, email, totalCents },
    // Whoever goes on after a crash waits for this long before it asks.
    timeout: '3 seconds',
    onAmbiguous: 'probe',
    probe: async (call) => {
      const found = await call.services.shop.findCharge(call.input, call)
      return found === undefined ? 'did-not-happen' : found === 'unknown' ? 'unknown' : { happened: found }
    },
    undo: async (made, call) => { await call.services.shop.refund({ orderId, chargeId: made.chargeId }, call) },
  })
  await ctx.sleep(waitMs)
  const { shipmentId } = await ctx.step('ship', (call) => call.services.shop.ship(call.input, call), { ...patient, input: { orderId, email, reservationId } })
  return { orderId, totalCents, reservationId, chargeId, shipmentId }
})
