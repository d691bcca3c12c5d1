import { expect, test } from 'vitest'
import { decodeEntry, GENESIS } from '../../src/journal/entry.ts'
import { exportRun } from '../../src/journal/export.ts'
import { journalPage } from '../../src/journal/view.ts'
import { ambiguous, workflow } from '../../src/index.ts'
import { anything, errorOf, ID, open } from '../engine/support.ts'

const long = workflow({ name: 'long', input: anything }, async (ctx, n: number) => {
  for (let i = 0; i < n; i++) await ctx.step('s', () => ({ secret: `canary-${i}` }))
  await ctx.step('large', () => 'x'.repeat(70_000))
  await ctx.sleep('1 hour')
})

test('all pages of a journal of 1000 entries: no gap, no repeat, also while entries are added (Y-047)', async () => {
  const process = open(long)
  await process.runs.start(long, 1000, { id: ID })
  await process.runs.drive(ID)
  const store = process.world.shelf.open(ID)
  const seen: number[] = []
  for (let after: number | undefined = 0; after !== undefined;) {
    const page = await journalPage(store, { after, limit: 97 })
    seen.push(...page.items.map(({ seq }) => seq))
    if (after === 97) {
      await process.runs.cancel(ID)
      await process.runs.settle(ID)
    }
    after = page.next
  }
  expect(seen).toEqual(Array.from({ length: 1005 }, (_, i) => i + 1))
  expect(await journalPage(store, { after: 1005 })).toEqual({ items: [], next: undefined })
  expect(await journalPage(store, { after: 5000 })).toEqual({ items: [], next: undefined })
  expect((await journalPage(store, {})).items).toHaveLength(100)
})

test('payloads are hidden unless they are asked for (Z-066)', async () => {
  const process = open(long)
  await process.runs.start(long, 3, { id: ID })
  await process.runs.drive(ID)
  const store = process.world.shelf.open(ID)
  const hidden = await journalPage(store)
  expect(JSON.stringify(hidden)).not.toContain('canary')
  expect(hidden.items.some((item) => 'payload' in item)).toBe(false)
  const shown = await journalPage(store, { reveal: true })
  expect(
    shown.items.slice(1, 5).map(({ payload, isBlob, payloadBytes }) => [payload, isBlob, payloadBytes > 0]),
  ).toEqual([
    [{ secret: 'canary-0' }, false, true],
    [{ secret: 'canary-1' }, false, true],
    [{ secret: 'canary-2' }, false, true],
    ['x'.repeat(70_000), true, true],
  ])
  expect(shown.items[5]).toMatchObject({
    kind: 'timer_set',
    key: 'ctx.sleep',
    dueAt: process.now + 3_600_000,
    generation: 1,
    host: 'test',
    calls: 5,
  })
})

test('reading a journal drives nothing and writes nothing (Z-067), and an unknown run is a typed error', async () => {
  const process = open(long)
  await process.runs.start(long, 3, { id: ID })
  const before = process.world.row()
  const page = await journalPage(process.world.shelf.open(ID), { reveal: true })
  expect(page.items.map(({ kind }) => kind)).toEqual(['run_started'])
  expect(process.world.row()).toEqual(before)
  expect((await errorOf(() => journalPage(process.world.shelf.open('unknown')))).code).toBe('run_not_found')
})

test('an export of a long run holds every entry, chunk and manifest; its entries verify by themselves; cut anywhere it is a prefix (Y-068)', async () => {
  const process = open(long)
  await process.runs.start(long, 300, { id: ID })
  await process.runs.drive(ID)
  await process.runs.cancel(ID, 'x')
  const lines: string[] = []
  for await (const line of exportRun(process.world.shelf.open(ID))) lines.push(line)
  const records = lines.map(
    (line) => JSON.parse(line) as { seq?: number; entry?: string; table?: string; end?: boolean; entries?: number },
  )
  let hash = GENESIS
  const seqs: number[] = []
  for (const { seq, entry } of records) {
    if (seq === undefined) continue
    const decoded = decodeEntry(seq, Buffer.from(entry as string, 'base64'), hash)
    hash = decoded.hash
    seqs.push(seq)
  }
  expect(seqs).toEqual(Array.from({ length: 303 }, (_, i) => i + 1))
  expect(records.filter(({ table }) => table === 'manifest')).toHaveLength(1)
  expect(records.filter(({ table }) => table === 'chunk')).toHaveLength(2)
  expect(records.filter(({ table }) => table === 'inbox')).toHaveLength(1)
  expect(records.at(-1)).toEqual({ end: true, entries: 303 })
  expect(records.filter(({ end }) => end === true)).toHaveLength(1)
})

test('G13: every decision about an effect is listed, with who made it, and without a value or an error of it', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    for (const [name, onAmbiguous] of [['a', 'fail'], ['b', 'ask']] as const) {
      await ctx.effect(name, () => { throw ambiguous(new Error('canary')) }, { kind: 'money', input: 1, onAmbiguous }).catch(() => {})
    }
  })
  const process = open(w)
  const end = await process.run(w)
  const { effects } = (end as { blocked: { details: { effects: readonly { seq: number }[] } } }).blocked.details
  const seq = effects[0]?.seq as number
  await process.runs.control(ID, { kind: 'resolve', seq, decision: 'happened', value: 'canary' }, 'ann')
  await process.runs.settle(ID)
  const { items } = await journalPage(process.world.shelf.open(ID))
  expect(items.flatMap(({ key, decision }) => decision === undefined ? [] : [{ key, ...decision }])).toEqual([
    { key: 'a', intent: 2, why: 'marked', policy: 'fail', by: 'policy', decision: 'fail' },
    { key: 'b', intent: seq, why: 'marked', policy: 'ask', by: 'person', decision: 'happened', principal: 'ann' },
  ])
  expect(JSON.stringify(items)).not.toContain('canary')
})
