// The page of test/kill/effects-browser-kill.test.ts, served by the upstream itself. Run in a real Chromium.

import { browser, type BrowserClient } from '../../web/index.ts'
import { httpBank, limits, pay, type PayInput } from '../kill/pay.ts'

const opening: Promise<BrowserClient<typeof pay>> = browser({
  name: 'pay', workflows: [pay], services: { bank: httpBank(location.origin) }, limits,
})

const paying = {
  async ready(): Promise<true> {
    await opening
    return true
  },
  async start(id: string, input: PayInput): Promise<string> {
    return (await (await opening).start(pay, input, { id })).id
  },
  async status(id: string): Promise<unknown> {
    return (await opening).get(pay, id).status()
  },
  async journal(id: string): Promise<unknown> {
    return (await (await opening).get(pay, id).journal({ limit: 1000 })).items.map(({ seq, kind, key, at }) => ({ seq, kind, key, at }))
  },
}

Object.assign(globalThis, { paying })
