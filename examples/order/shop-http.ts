// The shop over HTTP: what the edge lends to the order workflow. It calls the upstream (examples/upstream), a process of its own.

import { ambiguous, permanent, retryAfter } from 'stepwell'
import type { CallOptions, Shop } from './shop.ts'

/**
 * Sent with every request, so that it is in every bundle that holds this shop. A browser's bundle must not
 * (test/examples/bundle.test.ts): what a service knows never reaches the page.
 */
export const EDGE_CANARY = 'stepwell-edge-service-canary-5d1f'

/**
 * A shop at `url`. Refusals (4xx) are final; 408, 425, 429, 5xx and a broken connection are tried again, at the time that `Retry-After` names.
 * Whether it was done is not known after a broken connection, nor after 408, 500, 502 and 504, which anything in between may have said.
 */
export function httpShop(url: string): Shop {
  const base = url.replace(/\/+$/, '')
  const post = async <T>(action: string, body: object, { idempotencyKey, abortSignal }: CallOptions): Promise<T> => {
    const response = await fetch(`${base}/${action}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey, 'user-agent': EDGE_CANARY },
      body: JSON.stringify(body),
      signal: abortSignal,
    })
    const text = await response.text()
    if (response.ok) return JSON.parse(text) as T
    throw refusal(action, response.status, response.headers.get('retry-after'), text)
  }
  return {
    price: (request, options) => post('price', request, options),
    reserve: (request, options) => post('reserve', request, options),
    charge: (request, options) => post('charge', request, options),
    findCharge: async (_, { idempotencyKey, abortSignal }) => {
      const response = await fetch(`${base}/charges/${encodeURIComponent(idempotencyKey)}`, { headers: { 'user-agent': EDGE_CANARY }, signal: abortSignal })
      const text = await response.text()
      if (response.status === 404) return undefined
      // Whatever this is, it is no answer to the question: it is asked again.
      if (!response.ok) throw new Error(`the shop answered ${response.status} when it was asked for a charge: ${reason(text)}`)
      return { chargeId: (JSON.parse(text) as { chargeId: string }).chargeId }
    },
    ship: (request, options) => post('ship', request, options),
    release: (request, options) => post('release', request, options),
    refund: (request, options) => post('refund', request, options),
  }
}

const unsure: ReadonlySet<number> = new Set([408, 500, 502, 504])

function refusal(action: string, status: number, after: string | null, text: string): Error {
  const error = new Error(`the shop answered ${status} to ${action}: ${reason(text)}`)
  const mayHelp = status >= 500 || status === 408 || status === 425 || status === 429
  if (!mayHelp) return permanent(error)
  if (unsure.has(status)) return ambiguous(error)
  const seconds = after === null || after.trim() === '' ? NaN : Number(after)
  const delayMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(after ?? '') - Date.now()
  return delayMs >= 0 ? retryAfter(error, Math.min(delayMs, 3_600_000)) : error
}

/** What the shop itself says, else the start of what came. */
function reason(text: string): string {
  try {
    const body: unknown = JSON.parse(text)
    if (typeof body === 'object' && body !== null && 'error' in body && typeof body.error === 'string') return body.error
  } catch {
    // Not JSON: an intermediary answered.
  }
  return text.slice(0, 200)
}
