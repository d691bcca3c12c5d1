// The page of the tests that freeze tabs, kill Chromium with many runs in flight, fill its disk and set its clock (test/kill/flock.ts),
// served by the upstream itself. Run in a real Chromium.

import { browser, type BrowserClient } from '../../web/index.ts'
import type { FreezePoint, FlockApi } from '../kill/flock-api.ts'
import { herd, type HerdOutput, limits } from '../kill/herd-workflow.ts'
import { httpBank } from '../kill/pay.ts'

/** Where this tab freezes: the debugger is attached, and stops it there in the middle of a turn. */
let freezeAt: FreezePoint | undefined
/** The charge's intent is the next strict transaction that completes. */
let isIntentNext = false

function freeze(point: FreezePoint): void {
  if (freezeAt !== point) return
  freezeAt = undefined
  // eslint-disable-next-line no-debugger -- the test's debugger freezes the tab here
  debugger
}

// Before the store hears of the commit: its own listener is added later.
const { transaction } = IDBDatabase.prototype
IDBDatabase.prototype.transaction = function (this: IDBDatabase, names, mode, options) {
  const made = transaction.call(this, names, mode, options)
  if (isIntentNext && options?.durability === 'strict') {
    isIntentNext = false
    made.addEventListener('complete', () => freeze('intended'))
  }
  return made
}

const bank = httpBank(location.origin)
const logs: string[] = []

const opening: Promise<BrowserClient<typeof herd>> = browser({
  name: 'herd', workflows: [herd], limits: { ...limits, recoveryMs: 1500 },
  onLog: ({ runId, message }) => logs.push(`${runId}: ${message}`),
  services: {
    bank: {
      find: bank.find,
      async post(action, body, options) {
        const answer = bank.post(action, body, options)
        const result = await answer
        if (action === 'charge') freeze('called')
        if (action === 'price') isIntentNext = freezeAt === 'intended'
        return result
      },
    },
  },
})

const flock: FlockApi = {
  async ready() {
    await opening
    return true
  },
  async start(id, input) {
    return (await (await opening).start(herd, input, { id })).id
  },
  async startAll(inputs) {
    const well = await opening
    await Promise.all(inputs.map((input) => well.start(herd, input, { id: input.orderId })))
  },
  async status(id) {
    const { status, output, authority } = await (await opening).get(herd, id).status()
    return { status, output: output as HerdOutput | undefined, epoch: authority.epoch }
  },
  async statuses() {
    return (await (await opening).runs({ values: false })).map(({ id, status }) => ({ id, status }))
  },
  async result(id) {
    return (await opening).get(herd, id).result()
  },
  async journal(id) {
    return (await (await opening).get(herd, id).journal({ limit: 1000 })).items.map(({ seq, kind, key, at }) => ({ seq, kind, at, ...(key === undefined ? undefined : { key }) }))
  },
  freezeAt(point) {
    freezeAt = point
  },
  async fill() {
    const opened = indexedDB.open('filler')
    opened.onupgradeneeded = () => opened.result.createObjectStore('filler', { autoIncrement: true })
    await new Promise((resolve, reject) => { opened.onsuccess = resolve; opened.onerror = reject })
    let records = 0
    for (const bytes of [100_000, 10_000, 1000, 100, 10]) {
      for (let isFull = false; !isFull; records++) {
        const putting = opened.result.transaction('filler', 'readwrite')
        putting.objectStore('filler').put(crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65_536))))
        isFull = await new Promise((resolve) => { putting.oncomplete = () => resolve(false); putting.onabort = () => resolve(true) })
      }
    }
    opened.result.close()
    return records
  },
  logs: () => logs,
  lost: async () => (await (await opening).storage()).lost,
  spin(ms) {
    const until = performance.now() + ms
    let n = 0
    while (performance.now() < until) n++
    return n
  },
}

Object.assign(globalThis, { flock })
