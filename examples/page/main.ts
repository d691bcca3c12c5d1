// The page: opens both sides. `?upstream=/` makes the mock shop tell a server on this origin what it does (tests).

import './zod-policy.ts'
import type { Trouble } from '../order/shop-mock.ts'
import { mount } from './app.ts'
import { browserSource } from './browser-source.ts'
import { edgeSource } from './edge-source.ts'
import { Kept } from './keep.ts'

interface Told {
  readonly orderId: string
  readonly trouble: Trouble
}

// Remembered, so that a reload in the middle of an order changes nothing about its fate.
const troubles = new Kept('trouble', (x): x is Told => typeof (x as Partial<Told> | null)?.orderId === 'string')

mount({
  browser: browserSource({
    trouble: (orderId) => troubles.items.find((told) => told.orderId === orderId)?.trouble ?? 'none',
    upstream: new URLSearchParams(location.search).get('upstream') ?? undefined,
  }),
  edge: edgeSource(location.origin),
  setTrouble: (orderId, trouble) => troubles.add({ orderId, trouble }, (told) => told.orderId === orderId),
})

// So that the page itself opens without a network, too. Only the built page has it.
if (import.meta.env.PROD) navigator.serviceWorker?.register('/sw.js').catch((error: unknown) => console.warn(error))
