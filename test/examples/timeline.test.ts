import { expect, test } from 'vitest'
import { z } from 'zod'
import { digest } from '../../examples/digest/digest.ts'
import { order } from '../../examples/order/order.ts'
import type { Shop } from '../../examples/order/shop.ts'
import { mockShop, type Trouble } from '../../examples/order/shop-mock.ts'
import { explain, reason } from '../../examples/page/explain.ts'
import { count, countdown, money, size, span } from '../../examples/page/format.ts'
import { type Line, story } from '../../examples/page/story.ts'
import { type Seen, seenKey, timeline } from '../../examples/page/timeline.ts'
import { writeBlob } from '../../src/blob.ts'
import { permanent, StepwellError, defaultLimits, type EntryView, type RunSummary, workflow } from '../../src/index.ts'
import { journalPage } from '../../src/journal/view.ts'
import type { TestRuns } from '../../src/testing/test-runs.ts'
import { nodeRuns } from '../support/node.ts'

const nobody: Seen = new Map()
const input = { orderId: 'A-1', email: 'ada@example.com', items: [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }] }

/** What the page reads of a run. */
async function read(runs: TestRuns, id: string): Promise<{ entries: EntryView[]; summary: RunSummary }> {
  const { items } = await journalPage(await runs.store(id), { reveal: true, limit: 1000 })
  return { entries: [...items], summary: await runs.summary(id) }
}

const shown = (lines: readonly Line[]): (readonly [string, string])[] => lines.map(({ label, state }) => [label, state] as const)
const orders = (trouble: Trouble = 'none', shop: Shop = mockShop({ delayMs: 1, trouble: () => trouble })): TestRuns =>
  nodeRuns({ workflows: [order], services: { shop } })

test('an order before it has run shows its steps as planned, in their order', () => {
  expect(shown(story('order', timeline([], undefined, nobody), undefined))).toEqual([
    ['Work out the price', 'planned'], ['Reserve the items', 'planned'], ['Charge the card', 'planned'], ['Wait before shipping', 'planned'], ['Ship', 'planned'],
  ])
})

test('a completed order shows each step with its time', async () => {
  const runs = orders()
  const { id } = await runs.start(order, { ...input, waitMs: 5000 })
  await runs.settle(id)
  const { entries, summary } = await read(runs, id)
  const { rows } = timeline(entries, summary, nobody)
  expect(rows.map(({ key, state }) => [key, state])).toEqual([['price', 'done'], ['reserve', 'done'], ['charge', 'done'], ['ctx.sleep', 'done'], ['ship', 'done']])
  for (const { startedAt, endedAt } of rows) expect(startedAt).toBeLessThanOrEqual(endedAt ?? 0)
  const sleep = rows.find(({ key }) => key === 'ctx.sleep')
  expect((sleep?.endedAt ?? 0) - (sleep?.startedAt ?? 0)).toBeGreaterThanOrEqual(5000)
})

test('while it waits, the wait has a due time, and what comes after it is planned', async () => {
  const runs = orders()
  const { id } = await runs.start(order, { ...input, waitMs: 60_000 })
  await runs.drive(id)
  const { entries, summary } = await read(runs, id)
  for (const known of [entries, []]) {
    // Also before the journal was read: the summary tells as much.
    const wait = story('order', timeline(known, summary, nobody), summary).find(({ label }) => label === 'Wait before shipping')
    expect(wait).toMatchObject({ state: 'waiting', dueAt: summary.waitingFor[0]?.dueAt })
  }
  expect(shown(story('order', timeline(entries, summary, nobody), summary)).at(-1)).toEqual(['Ship', 'planned'])
})

test('a signal is waited for, and came', async () => {
  const asking = workflow({ name: 'asking', input: z.any(), signals: { go: z.any() } }, async (ctx) => ctx.signal('go'))
  const runs = nodeRuns({ workflows: [asking], services: {} })
  const { id } = await runs.start(asking, null)
  const states = async (): Promise<unknown> => {
    await runs.settle(id)
    const { entries, summary } = await read(runs, id)
    return timeline(entries, summary, nobody).rows.map(({ key, state }) => [key, state])
  }
  expect(await states()).toEqual([['signal:go', 'waiting']])
  await runs.signal(id, { name: 'go', payload: 1 })
  expect(await states()).toEqual([['signal:go', 'done']])
})

test('failed attempts stay with their step, with what each of them said', async () => {
  const runs = orders('busy')
  const { id } = await runs.start(order, input)
  await runs.settle(id)
  const { entries, summary } = await read(runs, id)
  const charge = story('order', timeline(entries, summary, nobody), summary).find(({ id }) => id === 'charge')
  expect(charge).toMatchObject({ state: 'done', attempt: 3, failures: ['Attempt 1: the (mock) bank is busy', 'Attempt 2: the (mock) bank is busy'] })
  // Between two attempts it counts down.
  const cut = entries.slice(0, entries.findLastIndex(({ kind }) => kind === 'effect_attempt_failed') + 1)
  const waiting = timeline(cut, undefined, nobody).rows.at(-1)
  expect(waiting).toMatchObject({ key: 'charge', state: 'retrying', attempt: 3, dueAt: cut.at(-1)?.dueAt })
})

test('a declined card: the failed step, what was given back, and nothing planned any more', async () => {
  const runs = orders('declined')
  const { id } = await runs.start(order, input)
  await runs.settle(id)
  const { entries, summary } = await read(runs, id)
  const lines = story('order', timeline(entries, summary, nobody), summary)
  expect(shown(lines)).toEqual([
    ['Work out the price', 'done'], ['Reserve the items', 'done'], ['Charge the card', 'failed'], ['Give the reservation back', 'done'],
  ])
  expect(lines[2]?.failures).toEqual(['the (mock) card was declined'])
  expect(explain(summary.error)).toMatchObject({ title: '“Charge the card” failed', text: 'the (mock) card was declined' })
})

test('a cancelled order: what stopped, who asked, and what was given back', async () => {
  const runs = orders()
  const { id } = await runs.start(order, { ...input, waitMs: 60_000 })
  await runs.drive(id)
  await runs.cancel(id, 'changed my mind', { undo: true })
  await runs.settle(id)
  const { entries, summary } = await read(runs, id)
  const lines = story('order', timeline(entries, summary, nobody), summary)
  expect(shown(lines)).toEqual([
    ['Work out the price', 'done'], ['Reserve the items', 'done'], ['Charge the card', 'done'], ['Wait before shipping', 'stopped'],
    ['Cancel requested', 'note'], ['Refund the charge', 'done'], ['Give the reservation back', 'done'],
  ])
  expect(lines[4]?.detail).toBe('changed my mind')
})

test('every prefix of a journal makes a timeline, and rows only ever move forward', async () => {
  const runs = orders('busy')
  const { id } = await runs.start(order, { ...input, waitMs: 60_000 })
  await runs.settle(id)
  const { entries } = await read(runs, id)
  let before: string[] = []
  for (let n = 0; n <= entries.length; n++) {
    const keys = timeline(entries.slice(0, n), undefined, nobody).rows.map(({ key }) => key)
    expect(keys.slice(0, before.length)).toEqual(before)
    before = keys
  }
  expect(before).toEqual(['price', 'reserve', 'charge', 'ctx.sleep', 'ship'])
})

test('what was seen live is not overruled by what an older summary says, and gives times that the journal has not', () => {
  const summary = {
    status: 'running', waitingFor: [], authority: { host: 'edge', epoch: 1 },
    steps: [{ key: 'price', attempt: 1, startedAt: 50, progress: { done: 1, of: 4 } }, { key: 'reserve', attempt: 1, startedAt: 150 }],
  } as unknown as RunSummary
  const entries = [
    { seq: 1, kind: 'run_started', at: 10, calls: 0 }, { seq: 2, kind: 'step_completed', key: 'price', attempt: 1, at: 100, calls: 2 },
  ] as unknown as EntryView[]
  const seen = new Map([[seenKey('price', 1), 40]])
  expect(timeline(entries, summary, seen).rows).toMatchObject([
    { key: 'price', state: 'done', startedAt: 40, endedAt: 100 }, { key: 'reserve', state: 'running', startedAt: 150 },
  ])
  expect(timeline([], summary, nobody).rows[0]).toMatchObject({ state: 'running', progress: { done: 1, of: 4 } })
  // Two calls were outstanding and nobody watched: when the first began is not known.
  expect(timeline(entries, undefined, nobody).rows[0]?.startedAt).toBeUndefined()
})

test('a digest has one line for each file, however many chunks it has', async () => {
  const runs = nodeRuns({ workflows: [digest] })
  const store = await runs.store('d')
  const files = []
  for (const [name, length] of [['big.bin', 200 * 1024], ['empty.txt', 0]] as const) {
    files.push({ name, type: '', blob: await writeBlob(store, defaultLimits, runs.host.now(), new Uint8Array(length)) })
  }
  await runs.start(digest, { files, chunkBytes: 64 * 1024 }, { id: 'd' })
  const queued = await read(runs, 'd')
  expect(shown(story('digest', timeline(queued.entries, queued.summary, nobody), queued.summary))).toEqual([['big.bin', 'planned'], ['empty.txt', 'planned']])
  await runs.settle('d')
  const { entries, summary } = await read(runs, 'd')
  const lines = story('digest', timeline(entries, summary, nobody), summary)
  expect(shown(lines)).toEqual([['big.bin', 'done'], ['empty.txt', 'done'], ['Digest of all files', 'done']])
  expect(lines[0]?.detail).toBe('205 kB in 4 chunks')
  // Half-way: two chunks done, one a quarter through.
  const half = entries.slice(0, entries.findIndex(({ key }) => key === 'files[0]/chunks[1]/hash') + 1).filter(({ key }) => key === undefined || /chunks\[[01]\]/.test(key))
  const live = { ...summary, status: 'running', endedAt: undefined, steps: [{ key: 'files[0]/chunks[2]/hash', attempt: 1, startedAt: 1, progress: { done: 1, of: 4 } }] } as unknown as RunSummary
  const line = story('digest', timeline(half, live, nobody), live)[0]
  expect(line).toMatchObject({ state: 'running', detail: '205 kB, 2 of 4 chunks hashed' })
  expect(line?.progress).toBeCloseTo(2.25 / 4)
})

test('errors are told in words, from the nearest cause, with what to do; unknown ones as they are', () => {
  expect(explain(new StepwellError('input_invalid', 'x', { details: { issues: [{ path: '$.items[0].quantity', message: 'Too small' }] } }))).toEqual({
    title: 'Something in the form is not right', text: 'items 1 quantity: Too small', todo: expect.stringContaining('Correct'),
  })
  expect(explain(new StepwellError('overloaded', 'busy')).todo).toContain('Wait')
  expect(explain(new Error('odd')).text).toBe('odd')
  expect(explain('odd').text).toBe('odd')
  expect(explain(undefined).title).toBe('Something went wrong')
  expect(explain({ code: 'toString' }).title).toBe('Something went wrong')
  expect(reason(new Error('outer', { cause: permanent(new Error('inner')) }))).toBe('inner')
})

test('numbers as people read them', () => {
  expect([money(0), money(123456)]).toEqual(['€0.00', '€1,234.56'])
  expect([size(0), size(1), size(999), size(1000), size(9_400_000), size(5e12)]).toEqual(['0 bytes', '1 byte', '999 bytes', '1.00 kB', '9.40 MB', '5.00 TB'])
  expect([span(12.4), span(2400), span(12_001), span(185_000)]).toEqual(['12 ms', '2.4 s', '13 s', '3 min 5 s'])
  expect([countdown(-5), countdown(1), countdown(61_000), countdown(600_000), countdown(7_800_000), countdown(3 * 86_400_000)])
    .toEqual(['0 s', '1 s', '1 min 1 s', '10 min', '2 h 10 min', '3 days'])
  expect([count(1, 'file'), count(0, 'file'), count(2000, 'file')]).toEqual(['1 file', '0 files', '2,000 files'])
})
