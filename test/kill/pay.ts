// The workflow of the tests that kill a host in the middle of effects: three effects with three policies, each with an undo. All
// that they do to the outside is a request to the upstream (examples/upstream), a process of its own.

import type { Schema } from '../../src/schema.ts'
import { permanent, services, workflow } from '../../src/index.ts'

export interface PayInput {
  readonly orderId: string
  /** It ends by a throw, and all that happened is undone. */
  readonly fails: boolean
}

export interface PayOutput {
  readonly reservation: string
  readonly charge: string
  readonly shipment: string
}

interface CallOptions {
  readonly idempotencyKey: string
  readonly abortSignal: AbortSignal
}

interface Bank {
  post(action: string, body: object, options: CallOptions): Promise<Record<string, string>>
  /** What became of a charge. */
  find(idempotencyKey: string): Promise<Record<string, string> | undefined>
}

/** A successor waits for this and `startByMs` before it decides. Much longer than the upstream takes, so that its answers are final. */
export const TIMEOUT_MS = 2000
export const limits = { startByMs: 500, recoveryMs: 1000 }

const bank = services<{ any: { bank: Bank } }>()

function any<T>(): Schema<T> {
  return { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as T }) } }
}

export const pay = workflow({ name: 'pay', input: any<PayInput>(), services: bank }, async (ctx, { orderId, fails }): Promise<PayOutput> => {
  // An attempt that was killed counts: more of them than there are kills.
  const common = { timeout: TIMEOUT_MS, retry: { limit: 50, delay: 100 } } as const
  const reservation = await ctx.effect('reserve', async (call) =>
    (await call.services.bank.post('reserve', { orderId, items: [{ sku: 'tea', quantity: 1 }] }, call))['reservationId'] as string, {
    ...common, kind: 'custom', input: { orderId }, onAmbiguous: 'rerun',
    undo: async (outcome, call) => { await call.services.bank.post('release', { orderId, reservationId: outcome }, call) },
  })
  const charge = await ctx.effect('charge', async (call) =>
    (await call.services.bank.post('charge', { orderId, totalCents: 900 }, call))['chargeId'] as string, {
    ...common, kind: 'money', input: { orderId, totalCents: 900 }, onAmbiguous: 'probe',
    probe: async ({ services: { bank: asked }, idempotencyKey }) => {
      const found = await asked.find(idempotencyKey)
      return found === undefined ? 'did-not-happen' : { happened: found['chargeId'] as string }
    },
    undo: async (outcome, call) => { await call.services.bank.post('refund', { orderId, chargeId: outcome }, call) },
  })
  const shipment = await ctx.effect('ship', async (call) => (await call.services.bank.post('ship', { orderId }, call))['shipmentId'] as string, {
    ...common, kind: 'destructive', input: { orderId }, onAmbiguous: 'skip', fallback: 'skipped',
    undo: async (outcome, call) => { await call.services.bank.post('release', { orderId, reservationId: outcome }, call) },
  })
  if (fails) throw new Error('nobody wants it')
  return { reservation, charge, shipment }
})

export function httpBank(url: string): Bank {
  return {
    async post(action, body, { idempotencyKey, abortSignal }) {
      const response = await fetch(`${url}/${action}`, {
        method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey }, body: JSON.stringify(body), signal: abortSignal,
      })
      const text = await response.text()
      if (!response.ok) throw permanent(new Error(`${action}: ${response.status} ${text}`))
      return JSON.parse(text) as Record<string, string>
    },
    async find(idempotencyKey) {
      const response = await fetch(`${url}/charges/${idempotencyKey}`)
      const text = await response.text()
      if (response.status === 404) return undefined
      if (!response.ok) throw new Error(`${response.status} ${text}`)
      return JSON.parse(text) as Record<string, string>
    },
  }
}
