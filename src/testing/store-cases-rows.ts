// The cases of the store contract about what a run has beside its journal: messages, rows of the other tables, and values of any size.

import { maxValueBytes } from '../store/batch.ts'
import type { Batch, RunStore } from '../store/store.ts'
import { inboxKey } from '../store/store.ts'
import { equal, throws } from './assert.ts'
import { bytes, commits, entry, head, refused, row, type SceneCase, snapshot, start, tables, text } from './store-scene.ts'

const side: SceneCase[] = [
  { id: 'G17', title: 'messages are numbered in the commit, and no number is given twice', run: async ({ open, harness, runId }) => {
    const store = await open()
    await start(store)
    const post = (...messages: string[]): Batch => ({ expect: { kind: 'exists' }, post: messages.map(text) })
    equal(await commits(store, post('a')), [1], 'the first number')
    equal(await commits(store, post('b', 'c')), [2, 3], 'the next numbers')
    await commits(store, head(0, { take: [1, 2, 3] }))
    equal(await store.rows('inbox', { limit: 9 }), [], 'the inbox when all were taken')
    equal(await commits(await open(), post('d')), [4], 'the number after all were taken')
    await commits(store, head(0, { take: [4], entries: [entry(1)] }))
    equal(await commits(await harness.reopen(runId), post('e')), [5], 'the number after a restart')
    equal((await (await open()).read())?.inbox, 5, 'the number in the row')
  } },
  { id: 'G17', title: 'a hundred messages sent at once get a hundred numbers in a row', run: async ({ open }) => {
    const handles = await Promise.all([open(), open(), open()])
    await start(handles[0])
    const numbers = await Promise.all(Array.from({ length: 100 }, (_, i) =>
      commits(handles[i % 3] as RunStore, { expect: { kind: 'exists' }, post: [text(`message ${i}`)] })))
    equal(numbers.flat().sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i + 1), 'the numbers')
    const rows = await handles[0].rows('inbox', { limit: 200 })
    equal(rows.map(({ key }) => key), Array.from({ length: 100 }, (_, i) => inboxKey(i + 1)), 'the keys')
    for (const [i, [n]] of numbers.entries()) {
      equal(rows[(n as number) - 1]?.value, text(`message ${i}`), `message ${n}`)
    }
  } },
  { id: 'G5', title: 'a commit can require that no message came since the inbox was read', run: async (scene) => {
    const store = await scene.open()
    await start(store, 1)
    const park = (inbox: number): Batch => ({ expect: { kind: 'head', epoch: 1, seq: 1, inbox }, row: row({ record: text('parked') }) })
    await commits(await scene.open(), { expect: { kind: 'exists' }, post: [text('m')] })
    await refused(scene, store, park(0), 'inbox')
    await refused(scene, store, { expect: { kind: 'head', epoch: 1, seq: 1, inbox: 0 }, entries: [entry(2)] }, 'inbox')
    await commits(store, park(1))
    await commits(store, { expect: { kind: 'head', epoch: 1, seq: 1, inbox: 1 }, entries: [entry(2)] })
  } },
  { id: 'G17', title: 'a driver that writes the row forgets no message', run: async ({ open }) => {
    const store = await open()
    await start(store)
    await commits(await open(), { expect: { kind: 'exists' }, post: [text('1'), text('2')] })
    await commits(store, head(0, { row: row({ record: text('next') }), entries: [entry(1)] }))
    equal((await store.read())?.inbox, 2, 'the number in the row')
    equal(await commits(store, { expect: { kind: 'exists' }, post: [text('3')] }), [3], 'the next number')
  } },
  { id: 'G17', title: 'a run from another host goes on with its numbers', run: async ({ open }) => {
    const store = await open()
    const posted = await commits(store, { expect: { kind: 'absent' }, row: row({ inbox: 41 }), post: [text('pending')] })
    equal(posted, [42], 'the number of the pending message')
    equal((await store.read())?.inbox, 42, 'the number in the row')
    equal(await store.keys('inbox', { limit: 9 }), [inboxKey(42)], 'the keys')
  } },
  { id: 'G17', title: 'take removes the messages that it names, others stay', run: async ({ open }) => {
    const store = await open()
    await start(store)
    await commits(store, { expect: { kind: 'exists' }, post: Array.from({ length: 12 }, (_, i) => text(`${i + 1}`)) })
    await commits(store, head(0, { take: [2, 10, 99] }))
    await commits(store, head(0, { take: [2] }))
    const left = [1, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    equal(await store.keys('inbox', { limit: 20 }), left.map(inboxKey), 'the keys, in the order of the numbers')
    equal(await store.row('inbox', inboxKey(11)), text('11'), 'one message')
    equal(await store.row('inbox', inboxKey(10)), undefined, 'a message that was taken')
  } },
  { id: 'T-005', title: 'rows are put, replaced and deleted, each table by itself', run: async ({ open }) => {
    const store = await open()
    await start(store)
    const put = (value: string | null): Batch => ({ expect: { kind: 'none' }, rows: tables.slice(1)
      .map((table) => ({ table: table as 'chunk', key: 'k', value: value === null ? null : text(table + value) })) })
    await commits(store, put(' 1'))
    await commits(store, put(' 2'))
    for (const table of tables.slice(1)) equal(await store.row(table, 'k'), text(`${table} 2`), table)
    await commits(store, { expect: { kind: 'none' }, rows: [{ table: 'chunk', key: 'k', value: null }, { table: 'chunk', key: 'x', value: null }] })
    equal(await store.row('chunk', 'k'), undefined, 'the row that was deleted')
    equal(await store.row('outbox', 'k'), text('outbox 2'), 'the same key in another table')
    await commits(store, { expect: { kind: 'none' }, rows: [
      { table: 'chunk', key: 'a', value: text('1') }, { table: 'chunk', key: 'a', value: null }, { table: 'chunk', key: 'b', value: null },
      { table: 'chunk', key: 'b', value: text('1') }, { table: 'chunk', key: 'b', value: text('2') },
    ] })
    equal(await store.rows('chunk', { limit: 9 }), [{ key: 'b', value: text('2') }], 'the last write of each key')
  } },
  { id: 'T-005', title: 'rows and keys come in the order of their keys, in exact pages', run: async ({ open }) => {
    const store = await open()
    const keys = [' ', '!', '-', '0', '1', '10', '2', ':', 'A', 'Z', '_', 'a', 'a!', 'a0', 'aa', 'b', 'k'.repeat(512), '~']
    const shuffled = [...keys].reverse()
    await commits(store, { expect: { kind: 'none' }, rows: shuffled.map((key) => ({ table: 'outbox', key, value: text(key) })) })
    equal(await store.keys('outbox', { limit: 99 }), keys, 'the keys')
    equal(await store.rows('outbox', { limit: 99 }), keys.map((key) => ({ key, value: text(key) })), 'the rows')
    equal(await store.keys('outbox', { limit: keys.length }), keys, 'a page with an exact limit')
    const walked: string[] = []
    for (;;) {
      const after = walked.at(-1)
      const page = await store.keys('outbox', { limit: 5, ...(after === undefined ? undefined : { after }) })
      walked.push(...page)
      if (page.length < 5) break
    }
    equal(walked, keys, 'the pages one after the other')
    equal((await store.rows('outbox', { after: 'a', limit: 2 })).map(({ key }) => key), ['a!', 'a0'], 'a page behind a key')
    equal(await store.keys('outbox', { after: 'B', limit: 1 }), ['Z'], 'a page behind a key that is not there')
    equal(await store.keys('outbox', { after: '~', limit: 5 }), [], 'the page behind the end')
    equal(await store.keys('chunk', { limit: 5 }), [], 'another table')
  } },
  { id: 'G27', title: 'a batch can require side rows, as they were before it', run: async (scene) => {
    const store = await scene.open()
    await start(store)
    const require = [{ table: 'manifest', key: 'a' }, { table: 'chunk', key: 'b' }] as const
    const rows: Batch['rows'] = [{ table: 'manifest', key: 'a', value: text('m') }, { table: 'chunk', key: 'b', value: text('c') }]
    await refused(scene, store, head(0, { entries: [entry(1)], require }), 'missing')
    await refused(scene, store, head(0, { entries: [entry(1)], require, rows }), 'missing')
    await commits(store, { expect: { kind: 'none' }, rows: rows.slice(0, 1) })
    await refused(scene, store, head(0, { entries: [entry(1)], require }), 'missing')
    await commits(store, { expect: { kind: 'none' }, rows })
    await commits(store, head(0, { entries: [entry(1)], require, rows: rows.map((write) => ({ ...write, value: null })) }))
    await refused(scene, store, head(1, { entries: [entry(2)], require }), 'missing')
    await commits(store, { expect: { kind: 'exists' }, post: [text('m')] })
    await commits(store, head(1, { require: [{ table: 'inbox', key: inboxKey(1) }] }))
  } },
  { id: 'G27', title: 'chunks may be there before their run, which then is still absent', run: async (scene) => {
    const store = await scene.open()
    const rows: Batch['rows'] = [{ table: 'chunk', key: 'c', value: text('c') }, { table: 'manifest', key: 'm', value: text('m') }]
    await commits(store, { expect: { kind: 'none' }, rows })
    equal(await store.read(), undefined, 'the row')
    await refused(scene, store, head(0, { entries: [entry(1)] }), 'absent')
    await refused(scene, store, { expect: { kind: 'exists' }, post: [text('m')] }, 'absent')
    if (scene.harness.shelf !== undefined) {
      equal(await scene.harness.shelf.runs({ limit: 9 }), [...scene.others].sort(), 'the runs of the shelf')
    }
    await commits(await scene.harness.reopen(scene.runId), {
      expect: { kind: 'absent' }, row: row(), entries: [entry(1)], require: [{ table: 'manifest', key: 'm' }],
    })
    equal(await (await scene.open()).row('chunk', 'c'), text('c'), 'the chunk')
  } },
]

const values: SceneCase[] = [
  { id: 'G26', title: 'bytes are copied on the way in and on the way out', run: async ({ open, harness }) => {
    const store = await open()
    const whole = bytes(64)
    const view = (): Uint8Array => whole.subarray(16, 48)
    await commits(store, {
      expect: { kind: 'absent' }, row: row({ record: view() }), entries: [{ seq: 1, bytes: view() }], post: [view()],
      rows: [{ table: 'chunk', key: 'k', value: view() }],
    })
    await commits(store, head(1, { entries: [{ seq: 2, bytes: view() }] }))
    whole.fill(0)
    const expected = bytes(64).slice(16, 48)
    const read = async (): Promise<(Uint8Array | undefined)[]> => [
      (await store.read())?.record, (await store.last())?.bytes, ...(await store.entries(0, 9)).map((e) => e.bytes),
      await store.row('chunk', 'k'), ...(await store.rows('chunk', { limit: 1 })).map(({ value }) => value),
      await store.row('inbox', inboxKey(1)),
    ]
    const first = await read()
    equal(first, Array(7).fill(expected), 'what was stored before the caller changed its buffer')
    equal(first.map((part) => part?.buffer.byteLength), Array(7).fill(32), 'the size of the buffers')
    const before = await snapshot(store, harness)
    for (const part of first) part?.fill(1)
    equal(await snapshot(store, harness), before, 'what is stored after the reader changed its buffer')
  } },
  { id: 'G27', title: 'empty values and values of 300 KB come back whole', run: async ({ open, harness, runId }) => {
    const store = await open()
    const big = bytes(300_000)
    const none = new Uint8Array(0)
    await commits(store, {
      expect: { kind: 'absent' }, row: row({ record: none }), entries: [{ seq: 1, bytes: none }, { seq: 2, bytes: big }],
      post: [none, big], rows: [{ table: 'chunk', key: 'big', value: big }, { table: 'chunk', key: 'none', value: none }],
    })
    await commits(store, head(2, { entries: [{ seq: 3, bytes: big }] }))
    await commits(store, head(3, { entries: [{ seq: 4, bytes: none }] }))
    const again = await harness.reopen(runId)
    equal((await again.read())?.record, none, 'an empty record')
    equal((await again.entries(0, 9)).map((e) => e.bytes), [none, big, big, none], 'the entries')
    equal((await again.rows('inbox', { limit: 9 })).map(({ value }) => value), [none, big], 'the messages')
    equal(await again.row('chunk', 'none'), none, 'an empty row')
    equal(await again.row('chunk', 'big'), big, 'a big row')
    await commits(again, head(4, { row: row({ record: big }) }))
    equal((await again.read())?.record, big, 'a big record')
  } },
  { id: 'G25', title: 'a value over the limit is refused with its size, and nothing is written', run: async (scene) => {
    const store = await scene.open()
    await start(store, 1)
    const over = new Uint8Array(maxValueBytes + 1)
    const before = await snapshot(store, scene.harness)
    const batches: Batch[] = [
      head(1, { entries: [{ seq: 2, bytes: over }] }), head(1, { entries: [entry(2), { seq: 3, bytes: over }] }),
      head(1, { row: row({ record: over }) }), { expect: { kind: 'exists' }, post: [text('m'), over] },
      { expect: { kind: 'none' }, rows: [{ table: 'chunk', key: 'k', value: over }] },
    ]
    for (const batch of batches) await throws('payload_too_large', () => store.commit(batch), 'a value over the limit')
    equal(await snapshot(store, scene.harness), before, 'what is stored')
    await commits(store, head(1, { entries: [{ seq: 2, bytes: over.subarray(1) }] }))
    equal((await store.last())?.bytes.length, maxValueBytes, 'the size of a value of exactly the limit')
  } },
]

export const rowCases: readonly SceneCase[] = [...side, ...values]
