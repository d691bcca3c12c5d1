// The page of the kill tests: bundled by test/kill/site.ts, run in a real Chromium. All that it does to the outside is a request to /act,
// which the test's own server writes down.

import { type BlobRef, type Schema, services, workflow } from 'stepwell'
import { browser, type BrowserClient } from 'stepwell/web'
import { bytesOf, type PageApi } from '../kill/page-api.ts'

interface Outside {
  /** Asks the outside for `action`; it may take its time, or never answer. */
  act(action: string, call: { runId: string; idempotencyKey: string; attempt: number; abortSignal: AbortSignal }): Promise<number>
}

function any<T>(): Schema<T> {
  return { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as T }) } }
}

const outside = services<{ browser: { outside: Outside } }>()

/** The requests of its steps are its outside effects, one after the other with a short sleep in between. */
const order = workflow({ name: 'order', input: any<{ sleep?: number }>(), services: outside }, async (ctx, input) => {
  const amounts: number[] = []
  for (const action of ['price', 'reserve', 'charge']) {
    amounts.push(await ctx.step(action, (call) => call.services.outside.act(action, call), { at: 'browser' }))
  }
  await ctx.sleep(input.sleep ?? 60)
  const both = await ctx.all({
    ship: (c) => c.step('ship', (call) => call.services.outside.act('ship', call), { at: 'browser' }),
    mail: (c) => c.step('mail', (call) => call.services.outside.act('mail', call), { at: 'browser' }),
  })
  return { amounts, ...both }
})

/** Sums a blob, a part at a time. */
const digest = workflow({ name: 'digest', input: any<{ blob: BlobRef; parts: number }>(), services: outside }, async (ctx, { blob, parts }) => {
  const size = Math.ceil(blob.size / parts)
  const sums = await ctx.map('parts', Array.from({ length: parts }, (_, i) => i), { concurrency: 2 }, (c, i) =>
    c.step('sum', async (call) => {
      const offset = i * size
      const bytes = await call.readBlob(blob, { offset, length: Math.min(size, blob.size - offset) })
      await call.services.outside.act(`sum-${i}`, call)
      return bytes.reduce((sum, byte) => (sum + byte) % 65_521, 0)
    }, { at: 'browser', input: i }))
  return sums.reduce((sum, part) => (sum + part) % 65_521, 0)
})

const tab = crypto.randomUUID()

const service: Outside = {
  act: async (action, { runId, idempotencyKey, attempt, abortSignal }) => {
    const response = await fetch('/act', {
      method: 'POST', body: JSON.stringify({ tab, runId, action, key: idempotencyKey, attempt }), signal: abortSignal,
    })
    return (await response.json()) as number
  },
}

const open = (): Promise<BrowserClient<typeof order | typeof digest>> => browser({
  name: 'kill', workflows: [order, digest], services: { outside: service },
  // Runs park as soon as they wait, so that wakes are part of what is tested.
  limits: { stayAwakeMs: 20 },
})

class Page implements PageApi {
  readonly #well = open()

  async ready(): Promise<void> {
    await this.#well
  }

  async start(id: string, input: { sleep?: number } = {}): Promise<string> {
    return (await (await this.#well).start(order, input, { id })).id
  }

  async startDigest(id: string, bytes: number, parts: number): Promise<number> {
    const well = await this.#well
    const file = new File([bytesOf(bytes)], 'photo.raw')
    let told = 0
    const blob = await well.putBlob(id, file, { progress: (done) => (told = done) })
    await well.start(digest, { blob, parts }, { id })
    return told
  }

  async result(name: 'order' | 'digest', id: string): Promise<unknown> {
    return (await this.#well).get(name, id).result()
  }

  async status(id: string): Promise<string> {
    const found = (await (await this.#well).runs()).find((run) => run.id === id)
    return found?.status ?? 'none'
  }

  async cancel(id: string): Promise<unknown> {
    return (await this.#well).get('order', id).cancel()
  }

  async kinds(id: string): Promise<string[]> {
    return (await (await this.#well).get('order', id).journal({ limit: 1000 })).items.map(({ kind }) => kind)
  }
}

globalThis.page = new Page()
