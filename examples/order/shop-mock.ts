// The page's own shop: works without a network and without a secret, so its charge is a mock and says so in its id.

import { ambiguous, permanent } from 'stepwell'
import type { CallOptions, Item, Shop } from './shop.ts'

/** In every bundle that holds this shop: shows that the test that looks for the edge's canary looks at the right bytes. */
export const BROWSER_CANARY = 'stepwell-browser-shop-canary-8c3a'

/** Every id that this shop makes up begins so. */
export const MOCK = 'mock_'

export type Trouble = 'none' | 'busy' | 'declined' | 'silent' | 'sold-out'

export interface MockShopOptions {
  /** What goes wrong, asked at each charge and each shipment. `busy`: the first two charges of an order fail.
   * `silent`: the first gets no answer, and the bank cannot say what became of it. */
  readonly trouble?: (orderId: string) => Trouble
  /** Where every action is also sent to: a test's upstream, which writes it down. The charge still is a mock. */
  readonly upstream?: string
  /** How long an action takes. Default 600 ms, so that a person can watch. */
  readonly delayMs?: number
}

export function mockShop({ trouble = () => 'none', upstream, delayMs = 600 }: MockShopOptions = {}): Shop {
  const charged = new Set<string>()
  const act = async <T extends object>(action: string, request: { readonly orderId: string }, options: CallOptions, result: T): Promise<T> => {
    if (upstream === undefined) await pause(delayMs, options.abortSignal)
    else await tell(upstream, action, request, options)
    return result
  }
  return {
    price: (request, options) => act('price', request, options, { totalCents: totalOf(request.items) }),
    reserve: (request, options) => act('reserve', request, options, { reservationId: idFor('res', options) }),
    charge: async (request, options) => {
      const { orderId } = request
      const result = await act('charge', request, options, { chargeId: idFor('charge', options), canary: BROWSER_CANARY })
      if (trouble(orderId) === 'silent' && options.attempt === 1) throw ambiguous(new Error('the (mock) bank did not answer'))
      if (trouble(orderId) === 'busy' && options.attempt <= 2) throw new Error('the (mock) bank is busy')
      if (trouble(orderId) === 'declined') throw permanent(new Error('the (mock) card was declined'))
      charged.add(options.idempotencyKey)
      return { chargeId: result.chargeId }
    },
    // Nothing of the page's own outlives it, and nothing else has heard of its charges: what is not here was not made.
    findCharge: async ({ orderId }, options) => {
      if (trouble(orderId) === 'silent') return 'unknown'
      const isKnown = upstream === undefined ? charged.has(options.idempotencyKey) : await wasTold(upstream, options)
      return isKnown ? { chargeId: idFor('charge', options) } : undefined
    },
    ship: async (request, options) => {
      const result = await act('ship', request, options, { shipmentId: idFor('shipment', options) })
      if (trouble(request.orderId) === 'sold-out') throw permanent(new Error('the (mock) warehouse has nothing left to ship'))
      return result
    },
    release: (request, options) => act('release', request, options, { released: true }),
    refund: (request, options) => act('refund', request, options, { refundId: idFor('refund', options) }),
  }
}

function totalOf(items: readonly Item[]): number {
  return items.reduce((sum, { quantity, unitPriceCents }) => sum + quantity * unitPriceCents, 0)
}

/** The same for the same key: this shop deduplicates by making nothing up. */
function idFor(what: string, { idempotencyKey }: CallOptions): string {
  return `${MOCK}${what}_${idempotencyKey.slice(0, 12)}`
}

async function tell(upstream: string, action: string, request: object, { idempotencyKey, abortSignal }: CallOptions): Promise<void> {
  const response = await fetch(`${upstream.replace(/\/$/, '')}/${action}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
    body: JSON.stringify(request),
    signal: abortSignal,
  })
  await response.text()
  if (response.status >= 500 || response.status === 429) throw new Error(`the shop answered ${response.status} to ${action}`)
  if (!response.ok) throw permanent(new Error(`the shop answered ${response.status} to ${action}`))
}

/** Whether a test's upstream has seen a charge under this key. */
async function wasTold(upstream: string, { idempotencyKey, abortSignal }: CallOptions): Promise<boolean> {
  const response = await fetch(`${upstream.replace(/\/$/, '')}/charges/${encodeURIComponent(idempotencyKey)}`, { signal: abortSignal })
  await response.text()
  if (response.ok || response.status === 404) return response.ok
  throw new Error(`the shop answered ${response.status} when it was asked for a charge`)
}

function pause(ms: number, abortSignal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer)
      reject(abortSignal.reason as Error)
    }
    const timer = setTimeout(() => {
      abortSignal.removeEventListener('abort', stop)
      resolve()
    }, ms)
    if (abortSignal.aborted) stop()
    else abortSignal.addEventListener('abort', stop, { once: true })
  })
}
