// An order: price → reserve → charge → wait → ship. The same function runs at the edge and in a page; only the shop differs.

import { services, workflow } from 'stepwell'
import type { StepOptions } from 'stepwell'
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

export const order = workflow({
  name: 'order',
  input: OrderInput,
  output: OrderOutput,
  services: services<{ any: { shop: Shop } }>(),
}, async (ctx, { orderId, email, items, waitMs }) => {
  const { totalCents } = await ctx.step('price', (call) => call.services.shop.price(call.input, call), patient({ orderId, items }))
  const { reservationId } = await ctx.step('reserve', (call) => call.services.shop.reserve(call.input, call), patient({ orderId, items }))

  let chargeId: string | undefined
  try {
    const charge = await ctx.step('charge', (call) => call.services.shop.charge(call.input, call), patient({ orderId, email, totalCents }))
    chargeId = charge.chargeId
    await ctx.sleep(waitMs)
    const { shipmentId } = await ctx.step('ship',
      (call) => call.services.shop.ship(call.input, call), patient({ orderId, email, reservationId }))
    return { orderId, totalCents, reservationId, chargeId, shipmentId }
  } catch (error) {
    // Declined, cancelled, or nothing to ship: nobody keeps what was taken. `cleanup` may call even after a cancel.
    await ctx.cleanup(async (ctx) => {
      await ctx.step('release', (call) => call.services.shop.release(call.input, call), patient({ orderId, reservationId }))
      if (chargeId === undefined) return
      await ctx.step('refund', (call) => call.services.shop.refund(call.input, call), patient({ orderId, chargeId }))
    })
    throw error
  }
})

/** The shop is remote: an attempt that hangs is given up after a while, and a shop that is down for some minutes is waited for. */
function patient<I>(input: I): StepOptions<'any', I> {
  return { input, timeout: '20 seconds', retry: { limit: 20, delay: '250 ms', maxDelay: '15 seconds' } }
}
