// The examples, killed at every commit: from the shop's own ledger, one key for each action, and nothing after its commit.

import { expect, test } from 'vitest'
import { digest } from '../../examples/digest/digest.ts'
import { order } from '../../examples/order/order.ts'
import type { CallOptions, Shop } from '../../examples/order/shop.ts'
import { writeBlob } from '../../src/blob.ts'
import { permanent } from '../../src/index.ts'
import { limits } from '../../src/limits.ts'
import { exploreCrashes, type ExploreCounts } from '../../src/testing/crash-explorer.ts'
import type { TestHost } from '../../src/testing/test-host.ts'

const input = {
  orderId: 'o-1',
  email: 'a@example.org',
  items: [{ sku: 'A', quantity: 2, unitPriceCents: 500 }],
  waitMs: 60_000,
}

/** The shop, outside of everything that crashes. `isDeduplicating`: off, as a shop that ignores the key. */
class Outside {
  readonly requests: { readonly action: string; readonly key: string }[] = []
  /** What was done, by action and key, as often as it was done. */
  readonly acts: { readonly action: string; readonly key: string }[] = []
  readonly #answers = new Map<string, object>()
  readonly #isDeduplicating: boolean
  declined = false

  constructor(isDeduplicating = true) {
    this.#isDeduplicating = isDeduplicating
  }

  shop(host: TestHost): Shop {
    const act = async <T extends object>(
      action: string,
      { idempotencyKey }: CallOptions,
      answer: (n: number) => T,
    ): Promise<T> => {
      this.requests.push({ action, key: idempotencyKey })
      await new Promise<void>((resolve) => {
        host.timer(20, resolve)
      })
      if (action === 'ship' && this.declined) throw permanent(new Error('sold out'))
      const id = `${action} ${idempotencyKey}`
      const known = this.#isDeduplicating ? this.#answers.get(id) : undefined
      if (known === undefined) this.acts.push({ action, key: idempotencyKey })
      const made = known ?? answer(this.#isDeduplicating ? this.#answers.size : 0)
      this.#answers.set(id, made)
      return made as T
    }
    return {
      price: (_, options) => act('price', options, () => ({ totalCents: 1000 })),
      reserve: (_, options) => act('reserve', options, () => ({ reservationId: 'res' })),
      charge: (_, options) => act('charge', options, () => ({ chargeId: 'charge' })),
      findCharge: async (_, { idempotencyKey }) => this.answerTo('charge', idempotencyKey) as { chargeId: string } | undefined,
      ship: (_, options) => act('ship', options, () => ({ shipmentId: 'shipment' })),
      release: (_, options) => act('release', options, () => ({ released: true })),
      refund: (_, options) => act('refund', options, () => ({ refundId: 'refund' })),
    }
  }

  answerTo(action: string, key: string): object | undefined {
    return this.#answers.get(`${action} ${key}`)
  }

  times(action: string): number {
    return this.acts.filter((act) => act.action === action).length
  }

  expectOneKeyEach(...actions: readonly string[]): void {
    expect([...new Set(this.requests.map(({ action }) => action))].sort()).toEqual([...actions].sort())
    for (const action of actions) {
      expect(
        new Set(this.requests.filter((request) => request.action === action).map(({ key }) => key)).size,
        action,
      ).toBe(1)
    }
    expect(new Set(this.requests.map(({ key }) => key)).size).toBe(actions.length)
  }
}

function log(name: string, counts: ExploreCounts): void {
  console.log(
    `crash explorer: ${name}: ${counts.commits} commits, ${counts.singles} + ${counts.quiets} + ${counts.pairs} schedules, ${counts.crashes} crashes, ${counts.lost} lost answers, ${counts.executions} calls`,
  )
}

test.each([true, false])(
  'order, killed at every commit: it completes, with one key for each action (the shop deduplicates: %s)',
  async (isDeduplicating) => {
    const counts = await exploreCrashes(order, input, {
      outside: () => new Outside(isDeduplicating),
      services: (outside, host) => ({ shop: outside.shop(host) }),
      maxPairs: 40,
      check: (outside, { summary }) => {
        expect(summary).toMatchObject({
          status: 'completed',
          output: { orderId: 'o-1', totalCents: 1000, chargeId: 'charge', shipmentId: 'shipment' },
        })
        outside.expectOneKeyEach('price', 'reserve', 'charge', 'ship')
        // Also where the shop knows no key: what nobody knows is asked for, not done again.
        expect(outside.times('charge')).toBe(1)
      },
    })
    log('order', counts)
    expect(counts.commits).toBeGreaterThan(9)
  },
  120_000,
)

test('order that cannot be shipped, killed at every commit: what was taken is given back', async () => {
  const counts = await exploreCrashes(order, input, {
    maxPairs: 40,
    outside: () => {
      const outside = new Outside()
      outside.declined = true
      return outside
    },
    services: (outside, host) => ({ shop: outside.shop(host) }),
    check: (outside, { summary }) => {
      expect(summary.status).toBe('failed')
      outside.expectOneKeyEach('price', 'reserve', 'charge', 'ship', 'release', 'refund')
      expect(outside.times('charge')).toBe(1)
    },
  })
  log('order, sold out', counts)
  expect(counts.commits).toBeGreaterThan(11)
}, 120_000)

test('order, cancelled while it waits and killed at every commit: released and refunded, never shipped', async () => {
  let refunds = 0
  const counts = await exploreCrashes(order, input, {
    cancelAt: 6,
    cancelOptions: { undo: true },
    outside: () => new Outside(),
    services: (outside, host) => ({ shop: outside.shop(host) }),
    maxPairs: 40,
    check: (outside, { summary }) => {
      expect(summary.status).toBe('cancelled')
      // A crash in the middle of the charge may let the cancel come before it was made.
      const isCharged = outside.times('charge') === 1
      if (!isCharged) expect(outside.times('charge')).toBe(0)
      const asked = outside.requests.some(({ action }) => action === 'charge')
      outside.expectOneKeyEach('price', 'reserve', ...(asked ? ['charge'] : []), 'release', ...(isCharged ? ['refund'] : []))
      if (isCharged) refunds++
    },
  })
  log('order, cancelled', counts)
  expect(refunds).toBeGreaterThan(50)
  expect(counts.commits).toBeGreaterThan(11)
}, 120_000)

test('order, cancelled after each of its entries and killed at every commit: nothing that was taken is kept', async () => {
  let refunds = 0
  for (let cancelAt = 1; cancelAt <= 7; cancelAt++) {
    const counts = await exploreCrashes(order, input, {
      cancelAt,
      cancelOptions: { undo: true },
      outside: () => new Outside(),
      services: (outside, host) => ({ shop: outside.shop(host) }),
      maxPairs: 40,
      check: (outside, { summary }) => {
        expect(summary.status).toBe('cancelled')
        const done = new Set(outside.requests.map(({ action }) => action))
        // What was committed as reserved is given back; what was only asked for when the cancel came may be unknown. Of money
        // everything is known: it is given back if and only if it was taken, whatever was cut off.
        if (cancelAt >= 3) expect(done.has('release')).toBe(true)
        expect(outside.times('charge')).toBeLessThanOrEqual(1)
        expect(done.has('refund')).toBe(outside.times('charge') === 1)
        if (done.has('refund')) refunds++
        for (const action of done)
          expect(
            new Set(outside.requests.filter((request) => request.action === action).map(({ key }) => key)).size,
          ).toBe(1)
      },
    })
    expect(counts.singles).toBeGreaterThan(8)
  }
  expect(refunds).toBeGreaterThan(100)
}, 120_000)

test('digest, killed at every commit, those of its blobs among them: the same digest, each chunk hashed at most once more', async () => {
  const file = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255)
  const files = [file(7000, 1), file(1500, 2)]
  let last: string | undefined
  const counts = await exploreCrashes(digest, async (store) => {
      const blobs = []
      for (const bytes of files) blobs.push(await writeBlob(store, limits({ chunkBytes: 1024 }), 0, bytes))
      return { files: blobs.map((blob, i) => ({ name: `f${i}`, blob })), chunkBytes: 1024 }
    }, {
    maxPairs: 100,
    stepsUseHostTime: false,
    limits: { chunkBytes: 1024 },
    check: (_, { summary, executions }) => {
      const { output } = summary as { output: { digest: string; files: { size: number }[] } }
      expect(output.files.map(({ size }) => size)).toEqual([7000, 1500])
      expect(output.digest).toBe((last ??= output.digest))
      expect(new Set(executions.map(({ key }) => key)).size).toBe(7 + 2 + 2 + 1)
    },
  })
  log('digest', counts)
  expect(counts.commits).toBeGreaterThan(9)
}, 240_000)
