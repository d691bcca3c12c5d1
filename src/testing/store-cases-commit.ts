// The cases of the store contract about what a commit is: its numbers, its checks, its atomicity.

import { maxPageRows } from '../store/batch.ts'
import { createMemoryShelf } from '../store/memory.ts'
import type { Batch, RunRow } from '../store/store.ts'
import { inboxKey } from '../store/store.ts'
import { equal, ok, throws } from './assert.ts'
import { randomBatch, randomSource } from './store-random.ts'
import {
  commits, entriesAfter, entry, everything, fill, head, illegal, ofStep, refused, row, type SceneCase, snapshot, start, text,
} from './store-scene.ts'

const journal: SceneCase[] = [
  { id: 'G3', title: 'a start writes its row and its entries, numbered from 1', run: async ({ open, runId }) => {
    const store = await open()
    await start(store, 3, { epoch: 4, wakeAt: 12_345, record: text('r') })
    equal(await store.read(), { runId, epoch: 4, inbox: 0, wakeAt: 12_345, record: text('r') }, 'the row')
    equal(await store.entries(0, 10), [entry(1), entry(2), entry(3)], 'the entries')
    equal(await store.last(), entry(3), 'the last entry')
  } },
  { id: 'G3', title: 'one entry after the other is appended, and batches of several', run: async ({ open }) => {
    const store = await open()
    await start(store)
    for (let seq = 0; seq < 5; seq++) await commits(store, head(seq, { entries: [entry(seq + 1)] }))
    await commits(store, head(5, { entries: entriesAfter(5, 3) }))
    await commits(store, head(8, { entries: [entry(9)], row: row() }))
    await commits(store, head(9, { entries: [entry(10)] }))
    equal(await store.entries(0, 20), entriesAfter(0, 10), 'the entries')
  } },
  { id: 'G3', title: 'entries that do not follow what is expected are no legal batch', run: async (scene) => {
    const store = await scene.open()
    await start(store, 2)
    await illegal(scene, store, head(2, { entries: [entry(4)] }), 'a gap')
    await illegal(scene, store, head(2, { entries: [entry(2)] }), 'a seq used again')
    await illegal(scene, store, head(2, { entries: [entry(3), entry(5)] }), 'a gap inside')
    await illegal(scene, store, head(2, { entries: [entry(3), entry(3)] }), 'a seq twice')
    await illegal(scene, store, head(2, { entries: [entry(4), entry(3)] }), 'entries in another order')
    await illegal(scene, store, head(2.5, { entries: [entry(3.5)] }), 'a seq that is no whole number')
    await illegal(scene, store, head(-1, { entries: [entry(0)] }), 'a negative seq')
    await illegal(scene, store, head(2, { entries: [entry(3)] }, 1.5), 'an epoch that is no whole number')
    await illegal(scene, store, head(2, { entries: [entry(3)] }, '1 OR 1 = 1' as unknown as number), 'an epoch that is no number')
    await illegal(scene, store, { expect: { kind: 'absent' }, row: row(), entries: [entry(2)] }, 'a start at 2')
  } },
  { id: 'G3', title: 'a number is never used again and none is left out', run: async (scene) => {
    const store = await scene.open()
    await start(store, 3)
    for (const seq of [0, 1, 2, 4, 10]) {
      await refused(scene, store, head(seq, { entries: [entry(seq + 1, 'other')] }), 'seq')
      await refused(scene, store, head(seq, { entries: entriesAfter(seq, 2) }), 'seq')
      await refused(scene, store, head(seq, { row: row() }), 'seq')
    }
    await commits(store, head(3, { entries: [entry(4)] }))
    await refused(scene, store, head(3, { entries: [entry(4)] }), 'seq')
    await refused(scene, await scene.open(), head(3, { entries: [entry(4)] }), 'seq')
    await refused(scene, await scene.open(), head(5, { entries: [entry(6)] }), 'seq')
  } },
  { id: 'G3', title: 'of ten commits of the same number exactly one is written', run: async ({ open }) => {
    const store = await open()
    await start(store, 1)
    const handles = await Promise.all(Array.from({ length: 10 }, open))
    for (let seq = 1; seq < 6; seq++) {
      const answers = await Promise.all(handles.map((handle, i) => handle.commit(head(seq, { entries: [entry(seq + 1, `by ${i}`)] }))))
      const winner = answers.findIndex(({ kind }) => kind === 'committed')
      equal(answers.filter((_, i) => i !== winner), Array(9).fill({ kind: 'stale', reason: 'seq' }), 'the answers of the losers')
      equal(await store.last(), entry(seq + 1, `by ${winner}`), 'the last entry')
    }
  } },
  { id: 'G3', title: 'handles that take turns see each other', run: async (scene) => {
    const [one, two] = [await scene.open(), await scene.open()]
    await start(one, 1)
    await commits(two, head(1, { entries: [entry(2)] }))
    await refused(scene, one, head(1, { entries: [entry(2)] }), 'seq')
    await commits(one, head(2, { entries: [entry(3)] }))
    await commits(two, head(3, { entries: [entry(4)], row: row({ record: text('by two') }) }))
    equal((await one.read())?.record, text('by two'), 'the record')
    equal(await one.entries(0, 9), await two.entries(0, 9), 'the entries of both')
  } },
  { id: 'G3', title: 'a page of entries is exact', run: async ({ open }) => {
    const store = await open()
    await start(store, 7)
    equal(await store.entries(0, 7), entriesAfter(0, 7), 'all, with an exact limit')
    equal(await store.entries(0, 3), entriesAfter(0, 3), 'the first page')
    equal(await store.entries(3, 3), entriesAfter(3, 3), 'the second page')
    equal(await store.entries(6, 3), [entry(7)], 'the last page')
    equal(await store.entries(7, 3), [], 'the page behind the end')
    equal(await store.entries(0, 1), [entry(1)], 'a page of one')
    equal(await store.entries(0, maxPageRows), entriesAfter(0, 7), 'the largest page')
  } },
  { id: 'G3', title: 'pages have no gap and no repeat while the journal grows', run: async ({ open }) => {
    const store = await open()
    await start(store, 100)
    const seen: number[] = []
    for (let last = 100; ;) {
      const page = await store.entries(seen.length, 10)
      seen.push(...page.map(({ seq }) => seq))
      if (page.length < 10) break
      if (last === 150) continue
      await commits(store, head(last, { entries: entriesAfter(last, 5) }))
      last += 5
    }
    equal(seen, Array.from({ length: 150 }, (_, i) => i + 1), 'the numbers')
  } },
  { id: 'G25', title: 'a limit that is none is refused, and one too large is named', run: async ({ open }) => {
    const store = await open()
    await start(store, 2)
    for (const limit of [0, -1, 1.5, NaN]) {
      await throws('invalid_argument', () => store.entries(0, limit), `entries with limit ${limit}`)
      await throws('invalid_argument', () => store.rows('chunk', { limit }), `rows with limit ${limit}`)
      await throws('invalid_argument', () => store.keys('chunk', { limit }), `keys with limit ${limit}`)
    }
    await throws('limit_exceeded', () => store.entries(0, maxPageRows + 1), 'too many entries')
    await throws('limit_exceeded', () => store.rows('chunk', { limit: maxPageRows + 1 }), 'too many rows')
    await throws('limit_exceeded', () => store.keys('chunk', { limit: maxPageRows + 1 }), 'too many keys')
  } },
]

const commit: SceneCase[] = [
  { id: 'G5', title: 'a batch with every part writes every part', run: async ({ open, runId, harness }) => {
    const store = await open()
    await start(store, 2)
    await commits(store, { expect: { kind: 'exists' }, post: [text('1'), text('2')], rows: [
      { table: 'manifest', key: 'k', value: text('m') }, { table: 'chunk', key: 'k', value: text('c') },
    ] })
    const posted = await commits(store, head(2, everything(2)))
    equal(posted, [3], 'the numbers of the messages')
    equal(await store.read(), { runId, epoch: 2, inbox: 3, wakeAt: 9_000_000_000_000, record: text('next') }, 'the row')
    equal(await store.entries(0, 9), entriesAfter(0, 4), 'the entries')
    equal(await store.rows('inbox', { limit: 9 }), [
      { key: inboxKey(2), value: text('2') }, { key: inboxKey(3), value: text('m') },
    ], 'the inbox')
    equal(await store.rows('outbox', { limit: 9 }), [{ key: 'new', value: text('o') }], 'the outbox')
    equal(await store.rows('chunk', { limit: 9 }), [], 'the chunks')
    equal(await store.rows('state', { limit: 9 }), [{ key: 'new', value: text('s') }], 'the state')
    if (harness.alarm !== undefined) equal(await harness.alarm(runId), 9_000_000_000_000, 'the alarm')
  } },
  { id: 'G5', title: 'a batch that is stale writes nothing of its many parts', run: async (scene) => {
    const store = await scene.open()
    await refused(scene, store, head(0, everything(0)), 'absent')
    await refused(scene, store, head(0, { entries: [entry(1)] }), 'absent')
    await refused(scene, store, { expect: { kind: 'exists' }, post: [text('m')] }, 'absent')
    await start(store, 3)
    await commits(store, { expect: { kind: 'exists' }, post: [text('1'), text('2')] })
    const { take: _, ...startable } = everything(0)
    await refused(scene, store, { expect: { kind: 'absent' }, ...startable, row: row() }, 'exists')
    await refused(scene, store, head(3, everything(3), 0), 'epoch')
    await refused(scene, store, head(3, everything(3), 2), 'epoch')
    await refused(scene, store, head(2, everything(2)), 'seq')
    await refused(scene, store, { ...everything(3), expect: { kind: 'head', epoch: 1, seq: 3, inbox: 1 } }, 'inbox')
    await refused(scene, store, { ...everything(3), expect: { kind: 'head', epoch: 1, seq: 3, inbox: 3 } }, 'inbox')
    await refused(scene, store, head(3, everything(3)), 'missing')
    await refused(scene, store, { expect: { kind: 'none' }, rows: [{ table: 'chunk', key: 'c', value: text('c') }],
      require: [{ table: 'manifest', key: 'k' }] }, 'missing')
  } },
  { id: 'G17', title: 'a commit that expects to be the next message takes its number, once', run: async (scene) => {
    const { open, harness, runId } = scene
    const next = (inbox: number, more: Partial<Batch> = {}): Batch => ({ expect: { kind: 'next', inbox }, ...more })
    const signal = (n: number, name = 's'): Batch => next(n, { rows: [{ table: 'signal', key: inboxKey(n + 1), value: text(`${name}${n + 1}`) }] })
    const store = await open()
    await refused(scene, store, signal(0), 'absent')
    await start(store, 1)
    await refused(scene, store, signal(1), 'inbox')
    await commits(store, signal(0))
    equal((await store.read())?.inbox, 1, 'the number of the last message')
    await refused(scene, await open(), signal(0, 'other'), 'inbox')
    equal(await commits(await open(), { expect: { kind: 'exists' }, post: [text('m')] }), [2], 'the number of a message in the inbox')
    await refused(scene, store, signal(1), 'inbox')
    const wakeAt = 8_000_000_000_000
    await commits(await open(), { ...signal(2), wakeBy: wakeAt, durability: 'strict' })
    const again = await harness.reopen(runId)
    const { record: _, ...found } = await again.read() as RunRow
    equal(found, { runId, epoch: 1, inbox: 3, wakeAt }, 'the row')
    if (harness.alarm !== undefined) equal(await harness.alarm(runId), wakeAt, 'the alarm')
    equal(await again.rows('signal', { limit: 9 }), [{ key: inboxKey(1), value: text('s1') }, { key: inboxKey(3), value: text('s3') }], 'the rows')
    const seen = (seq: number, inbox: number, rest: Omit<Batch, 'expect'>, epoch = 1): Batch => ({ ...rest, expect: { kind: 'head', epoch, seq, inbox } })
    await refused(scene, again, seen(1, 2, { entries: [entry(2)] }), 'inbox')
    await refused(scene, again, { ...signal(3), require: [{ table: 'chunk', key: 'none' }] }, 'missing')
    await commits(again, seen(1, 3, { entries: [entry(2)], rows: [{ table: 'signal', key: inboxKey(1), value: null }] }))
    // Also where the run was taken over, and nothing was appended since.
    await commits(again, head(2, { row: row({ epoch: 2 }) }))
    await commits(await open(), signal(3))
    await refused(scene, again, head(2, { entries: [entry(3)] }, 1), 'epoch')
    await commits(again, seen(2, 4, { entries: [entry(3)] }, 2))
    const answers = await Promise.all(Array.from({ length: 5 }, async (_, i) => (await open()).commit(signal(4, `${i}`))))
    equal(answers.filter(({ kind }) => kind === 'committed').length, 1, 'how many of five writers got one number')
    equal((await again.read())?.inbox, 5, 'the number of the last message, after five writers')
    for (const [more, what] of [
      [{ post: [text('m')] }, 'a message besides'], [{ entries: [entry(4)] }, 'an entry'], [{ row: row() }, 'a row'], [{ take: [1] }, 'taking'], [{ cut: 1 }, 'a cut'],
    ] as const) await illegal(scene, again, next(5, more), what)
    for (const inbox of [-1, 0.5, NaN, undefined as unknown as number]) await illegal(scene, again, next(inbox), `number ${inbox}`)
  } },
  { id: 'G5', title: 'the first check that fails gives the reason', run: async (scene) => {
    const store = await scene.open()
    const require = [{ table: 'manifest', key: 'k' }] as const
    await refused(scene, store, { expect: { kind: 'exists' }, require }, 'absent')
    await start(store, 1)
    await refused(scene, store, { expect: { kind: 'absent' }, row: row(), require }, 'exists')
    await refused(scene, store, { expect: { kind: 'head', epoch: 2, seq: 2, inbox: 2 }, require }, 'epoch')
    await refused(scene, store, { expect: { kind: 'head', epoch: 1, seq: 2, inbox: 2 }, require }, 'seq')
    await refused(scene, store, { expect: { kind: 'head', epoch: 1, seq: 1, inbox: 2 }, require }, 'inbox')
    await refused(scene, store, { expect: { kind: 'head', epoch: 1, seq: 1, inbox: 0 }, require }, 'missing')
    // The same for a handle that made the last commit it knows of, and then others came.
    await commits(store, head(1, { entries: [entry(2)] }))
    const late: Batch = { ...head(2, { entries: [entry(3)], row: row(), require }), expect: { kind: 'head', epoch: 1, seq: 2, inbox: 0 } }
    await refused(scene, store, late, 'missing')
    await commits(await scene.open(), { expect: { kind: 'exists' }, post: [text('m')] })
    await refused(scene, store, late, 'inbox')
    await commits(await scene.open(), head(2, { entries: [entry(3, 'other')] }))
    await refused(scene, store, { ...late, require: [] }, 'seq')
    await refused(scene, store, late, 'seq')
    await commits(await scene.open(), head(3, { row: row({ epoch: 2 }) }))
    await refused(scene, store, late, 'epoch')
  } },
  { id: 'G5', title: 'a batch that is illegal in its last part writes nothing', run: async (scene) => {
    const store = await scene.open()
    await start(store, 2)
    const legal = { ...everything(2), require: [] }
    const chunk = (key: string): NonNullable<Batch['rows']> => [...(legal.rows ?? []), { table: 'chunk', key, value: text('c') }]
    await illegal(scene, store, head(2, { ...legal, rows: chunk('') }), 'an empty key')
    await illegal(scene, store, head(2, { ...legal, rows: chunk('k\u00e9') }), 'a key that is not ASCII')
    await illegal(scene, store, head(2, { ...legal, rows: chunk('k'.repeat(513)) }), 'a key of 513 characters')
    await illegal(scene, store, head(2, { ...legal, rows: [{ table: 'inbox' as 'chunk', key: 'k', value: text('m') }] }), 'an inbox row')
    await illegal(scene, store, head(2, { ...legal, take: [1, -1] }), 'a message -1')
    await illegal(scene, store, head(2, { ...legal, row: row({ epoch: 0 }) }), 'an epoch that shrinks')
    await illegal(scene, store, head(2, { ...legal, row: row({ wakeAt: 1.5 }) }), 'a time that is no whole number')
    await illegal(scene, store, head(2, { ...legal, row: row({ inbox: 5 }) }), 'an inbox number set later')
    await commits(store, head(2, legal))
  } },
  { id: 'G5', title: 'parts that do not belong to what is expected are refused', run: async (scene) => {
    const store = await scene.open()
    await start(store, 2)
    for (const expect of [{ kind: 'exists' }, { kind: 'none' }, { kind: 'epoch', epoch: 1 }] as const) {
      await illegal(scene, store, { expect, entries: [entry(3)] }, `entries with ${expect.kind}`)
      await illegal(scene, store, { expect, row: row() }, `a row with ${expect.kind}`)
      await illegal(scene, store, { expect, take: [1] }, `take with ${expect.kind}`)
    }
    await illegal(scene, store, { expect: { kind: 'none' }, post: [text('m')] }, 'post with none')
    await illegal(scene, store, ofStep({ post: [text('m')] }), 'post with epoch')
    await illegal(scene, store, ofStep({ rows: [{ table: 'memo', key: 'k', value: text('v') }] }, 1.5), 'an epoch that is no whole number')
    await illegal(scene, store, { expect: { kind: 'absent' }, entries: [entry(1)] }, 'a start without a row')
    await illegal(scene, store, { expect: { kind: 'absent' }, row: row(), take: [1] }, 'take with absent')
  } },
  { id: 'G5', title: 'a batch of 1,000 entries is written whole or not at all', run: async (scene) => {
    const store = await scene.open()
    await start(store, 1)
    await refused(scene, store, head(2, { entries: entriesAfter(2, 1_000) }), 'seq')
    await refused(scene, store, head(1, { entries: entriesAfter(1, 1_000), require: [{ table: 'chunk', key: 'k' }] }), 'missing')
    await commits(store, head(1, { entries: entriesAfter(1, 1_000), row: row({ record: text('after') }) }))
    equal(await store.entries(0, 2_000), entriesAfter(0, 1_001), 'the entries')
    equal((await store.read())?.record, text('after'), 'the record')
  } },
  { id: 'G5', title: 'a batch with nothing in it is a check', run: async (scene) => {
    const store = await scene.open()
    await start(store, 2)
    const before = await snapshot(store, scene.harness)
    equal(await store.commit(head(2)), { kind: 'committed' }, 'the answer')
    equal(await store.commit(head(2, { entries: [], rows: [], post: [], take: [], require: [] })), { kind: 'committed' }, 'the answer to empty lists')
    equal(await snapshot(store, scene.harness), before, 'what is stored')
    await refused(scene, store, head(1), 'seq')
  } },
  { id: 'G5', title: 'three hundred random batches have the answers and the outcome of the memory store', run: async ({ open, harness }) => {
    for (const seed of [1, 20_261_120]) {
      const [store, model] = [await open(), createMemoryShelf().open('run-1')]
      await store.destroy()
      const random = randomSource(seed)
      const answers: Record<string, number> = {}
      for (let i = 0; i < 300; i++) {
        const batch = randomBatch(random, model)
        const answer = await store.commit(batch)
        equal(answer, model.commit(batch), `seed ${seed}: the answer to batch ${i}`)
        const name = answer.kind === 'stale' ? answer.reason : answer.kind
        answers[name] = (answers[name] ?? 0) + 1
        if (answer.kind === 'committed' && (batch.cut ?? 0) > 0) answers['cut'] = (answers['cut'] ?? 0) + 1
      }
      const { alarm: _, ...stored } = (await snapshot(store, harness)) as Record<string, unknown>
      const { alarm: __, ...expected } = (await snapshot(model, { ...harness, alarm: () => null })) as Record<string, unknown>
      equal(stored, expected, `seed ${seed}: what is stored`)
      for (const name of ['committed', 'cut', 'epoch', 'seq', 'inbox', 'missing', 'exists']) {
        ok((answers[name] ?? 0) > 0, `seed ${seed}: no batch was ${name}, so the test shows too little`)
      }
    }
  } },
  { id: 'G5', title: 'a strict commit gives the same answers', run: async (scene) => {
    const store = await scene.open()
    await commits(store, { expect: { kind: 'absent' }, row: row(), durability: 'strict' })
    await commits(store, head(0, { entries: [entry(1)], durability: 'strict' }))
    await commits(store, head(1, { entries: entriesAfter(1, 2), row: row(), durability: 'strict' }))
    await refused(scene, store, head(1, { entries: [entry(2)], durability: 'strict' }), 'seq')
    equal(await store.entries(0, 9), entriesAfter(0, 3), 'the entries')
  } },
  { id: 'G5', title: 'after a restart everything committed is there, and the run goes on', run: async ({ open, harness, runId }) => {
    const store = await open()
    await fill(store)
    await commits(store, head(3, { entries: [entry(4)], row: row({ epoch: 8, wakeAt: 8_000_000_000_000 }), take: [1] }, 7))
    await commits(store, head(4, { entries: [entry(5)] }, 8))
    const before = await snapshot(store, harness)
    const again = await harness.reopen(runId)
    equal(await snapshot(again, harness), before, 'what is stored')
    await commits(again, head(5, { entries: [entry(6)] }, 8))
    equal(await commits(again, { expect: { kind: 'exists' }, post: [text('m')] }), [3], 'the number of a message')
  } },
]

export const commitCases: readonly SceneCase[] = [...journal, ...commit]
