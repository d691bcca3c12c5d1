// The runs of this browser: the workflows run in this page, over its IndexedDB, with the page's own shop.

import { browser } from 'stepwell/web'
import { mockShop, type Trouble } from '../order/shop-mock.ts'
import { workflows } from '../workflows.ts'
import type { Source } from './feed.ts'
import type { RunRef } from './keep.ts'

export interface BrowserSourceOptions {
  readonly trouble: (orderId: string) => Trouble
  /** A test's upstream, told what the mock shop does. */
  readonly upstream: string | undefined
}

/** Opens the database and goes on with every run in it that has not ended. */
export async function browserSource({ trouble, upstream }: BrowserSourceOptions): Promise<Source> {
  const well = await browser({
    name: 'stepwell-example',
    workflows,
    // After a reload in the middle of a charge nobody asks what became of it before this and the charge's timeout have passed.
    limits: { startByMs: 1000 },
    services: { shop: mockShop({ trouble, ...(upstream === undefined ? undefined : { upstream }) }) },
  })
  const names: ReadonlySet<string> = new Set(workflows.map(({ name }) => name))
  return {
    where: 'browser',
    client: well,
    list: async () => (await well.runs({ limit: 100, values: false }))
      .filter(({ workflow }) => names.has(workflow)).map(({ id, workflow }) => ({ id, workflow }) as RunRef),
    started: () => {},
    lost: () => {},
    subscribe: (changed) => well.subscribe(changed),
    pollMs: 2000,
  }
}
