// The workflow of the test that kills the edge while signals are sent: it takes one note after the other, and tells the outside of each.

import type { Schema } from '../../src/schema.ts'
import { services, workflow } from '../../src/index.ts'

export interface Note {
  readonly note: string
  readonly isLast: boolean
}

interface Outside {
  post(action: string, body: object, options: { readonly idempotencyKey: string; readonly abortSignal: AbortSignal }): Promise<Record<string, string>>
}

function any<T>(): Schema<T, T> {
  return { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as T }) } }
}

export const notes = workflow({ name: 'notes', input: any<{ run: string }>(), signals: { note: any<Note>() }, services: services<{ any: { bank: Outside } }>() }, async (ctx, { run }) => {
  const taken: string[] = []
  for await (const { note, isLast } of ctx.signals('note')) {
    await ctx.step('tell', (call) => call.services.bank.post('reserve', { orderId: `${run} ${note}`, items: [{ sku: 'tea', quantity: 1 }] }, call), { input: note, retry: { limit: 50, delay: 50 } })
    taken.push(note)
    if (isLast) break
  }
  return taken
})
