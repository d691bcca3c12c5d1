// What the order workflow asks of the world. A host lends one: shop-http.ts calls the upstream, shop-mock.ts is the page's own.

export interface Item {
  readonly sku: string
  readonly quantity: number
  readonly unitPriceCents: number
}

/** What every call gives: the key by which the shop deduplicates, the signal that aborts it, and which attempt it is. */
export interface CallOptions {
  readonly idempotencyKey: string
  readonly abortSignal: AbortSignal
  readonly attempt: number
}

/**
 * Each method throws `permanent(…)` when trying again can't help, and `ambiguous(…)` when the answer says nothing about whether it was
 * done; any other error is worth another attempt.
 */
export interface Shop {
  price(request: { readonly orderId: string; readonly items: readonly Item[] }, options: CallOptions): Promise<{ totalCents: number }>
  reserve(request: { readonly orderId: string; readonly items: readonly Item[] }, options: CallOptions): Promise<{ reservationId: string }>
  charge(
    request: { readonly orderId: string; readonly email: string; readonly totalCents: number }, options: CallOptions,
  ): Promise<{ chargeId: string }>
  /** The charge that was made under this key, undefined when there is none, or that the shop cannot say. */
  findCharge(request: { readonly orderId: string }, options: CallOptions): Promise<{ chargeId: string } | undefined | 'unknown'>
  ship(
    request: { readonly orderId: string; readonly email: string; readonly reservationId: string }, options: CallOptions,
  ): Promise<{ shipmentId: string }>
  release(request: { readonly orderId: string; readonly reservationId: string }, options: CallOptions): Promise<{ released: boolean }>
  refund(request: { readonly orderId: string; readonly chargeId: string }, options: CallOptions): Promise<{ refundId: string }>
}
