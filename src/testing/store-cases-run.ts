// The cases of the store contract about a run itself: its authority, its beginning, its wake time and its end.

import type { Batch, CommitAnswer } from '../store/store.ts'
import { equal, throws } from './assert.ts'
import {
  commits, entriesAfter, entry, fill, head, illegal, ofStep, refused, row, type SceneCase, snapshot, start, tables, text,
} from './store-scene.ts'

const authority: SceneCase[] = [
  { id: 'G6', title: 'a driver whose epoch was taken over cannot write, whatever it writes', run: async (scene) => {
    const [old, next] = [await scene.open(), await scene.open()]
    await start(old, 2)
    await commits(old, head(2, { entries: [entry(3)] }))
    await commits(next, head(3, { row: row({ epoch: 2 }) }))
    await refused(scene, old, head(3, { entries: [entry(4)] }), 'epoch')
    await refused(scene, old, head(3, { entries: entriesAfter(3, 2) }), 'epoch')
    await refused(scene, old, head(3, { row: row() }), 'epoch')
    await refused(scene, old, head(3, { row: row({ epoch: 3 }) }), 'epoch')
    await refused(scene, old, head(3, { rows: [{ table: 'outbox', key: 'k', value: text('o') }] }), 'epoch')
    await refused(scene, old, head(3, { entries: [entry(4)], durability: 'strict' }), 'epoch')
    await commits(next, head(3, { entries: [entry(4)] }, 2))
    await refused(scene, old, head(4, { entries: [entry(5)] }), 'epoch')
    equal(await commits(old, { expect: { kind: 'exists' }, post: [text('m')] }), [1], 'a message, which anyone may send')
  } },
  { id: 'G6', title: 'what a running step writes needs the epoch alone, wherever the journal stands', run: async (scene) => {
    const [driver, step] = [await scene.open(), await scene.open()]
    const put = (key: string, value: string | null = key): Batch => ({
      ...ofStep(), rows: [{ table: 'memo', key, value: value === null ? null : text(value) }],
    })
    await refused(scene, step, put('a'), 'absent')
    await start(driver, 1)
    await commits(step, put('a'))
    await commits(driver, head(1, { entries: [entry(2)] }))
    await commits(step, put('b'))
    await commits(driver, head(2, { entries: [entry(3)] }))
    await commits(await scene.open(), { expect: { kind: 'exists' }, post: [text('m')] })
    await commits(step, put('a', null))
    await commits(step, put('b', 'again'))
    // Neither what the driver appends nor what it knows of the inbox is moved by it.
    await commits(driver, { ...head(3, { entries: [entry(4)] }), expect: { kind: 'head', epoch: 1, seq: 3, inbox: 1 } })
    equal(await driver.rows('memo', { limit: 9 }), [{ key: 'b', value: text('again') }], 'the rows')
    equal(await (await scene.harness.reopen(scene.runId)).row('memo', 'b'), text('again'), 'the row after a restart')
  } },
  { id: 'G6', title: 'a step of a driver that was taken over cannot write, nor one whose run is gone', run: async (scene) => {
    const [driver, step] = [await scene.open(), await scene.open()]
    await start(driver, 1)
    const rows: Batch['rows'] = [{ table: 'memo', key: 'k', value: text('v') }]
    await commits(step, ofStep({ rows }))
    // With an entry and without one: both change what the row says.
    await commits(await scene.open(), head(1, { row: row({ epoch: 2 }) }))
    await refused(scene, step, ofStep({ rows }), 'epoch')
    await refused(scene, step, ofStep({ rows, durability: 'strict' }), 'epoch')
    await refused(scene, step, ofStep({ rows: [{ table: 'memo', key: 'k', value: null }] }), 'epoch')
    await commits(step, ofStep({ rows }, 2))
    await commits(await scene.open(), head(1, { row: row({ epoch: 3 }), entries: [entry(2)] }, 2))
    await refused(scene, step, ofStep({ rows }, 2), 'epoch')
    await refused(scene, step, ofStep({ rows }, 4), 'epoch')
    await commits(step, ofStep({ rows }, 3))
    await refused(scene, step, ofStep({ rows, require: [{ table: 'chunk', key: 'none' }] }, 3), 'missing')
    await refused(scene, step, ofStep({ rows, require: [{ table: 'chunk', key: 'none' }] }, 2), 'epoch')
    await driver.destroy()
    await refused(scene, step, ofStep({ rows }, 3), 'absent')
    equal(await step.rows('memo', { limit: 9 }), [], 'the rows of a run that is gone')
  } },
  { id: 'G6', title: 'of a step\'s write and a take-over, asked for at once, none is torn', run: async ({ open }) => {
    for (const isFirst of [true, false]) {
      const [driver, step] = [await open(), await open()]
      await driver.destroy()
      await start(driver, 1)
      const take = (): unknown => driver.commit(head(1, { row: row({ epoch: 2 }) }))
      const write = (): unknown => step.commit(ofStep({ rows: [
        { table: 'memo', key: 'a', value: text('a') }, { table: 'memo', key: 'b', value: text('b') },
      ] }))
      const [one, two] = isFirst ? [write(), take()] : [take(), write()]
      const [written, taken] = isFirst ? [await one, await two] : [await two, await one]
      equal(taken, { kind: 'committed' }, 'the answer to the take-over')
      const isIn = (written as CommitAnswer).kind === 'committed'
      equal(written, isIn ? { kind: 'committed' } : { kind: 'stale', reason: 'epoch' }, 'the answer to the write')
      equal(await step.keys('memo', { limit: 9 }), isIn ? ['a', 'b'] : [], 'the rows')
    }
  } },
  { id: 'G6', title: 'of two take-overs of one epoch exactly one is written', run: async ({ open }) => {
    const [one, two] = [await open(), await open()]
    await start(one, 1)
    const take = (by: string): Batch => head(1, { row: row({ epoch: 2, record: text(by) }) })
    const answers = await Promise.all([one.commit(take('one')), two.commit(take('two'))])
    equal(answers.map(({ kind }) => kind).sort(), ['committed', 'stale'], 'the answers')
    const winner = answers[0].kind === 'committed' ? 'one' : 'two'
    equal((await one.read())?.record, text(winner), 'the record')
  } },
  { id: 'G23', title: 'of ten starts exactly one is written', run: async ({ open }) => {
    const handles = await Promise.all(Array.from({ length: 10 }, open))
    const answers = await Promise.all(handles.map((handle, i) =>
      handle.commit({ expect: { kind: 'absent' }, row: row({ record: text(`by ${i}`) }), entries: [entry(1)] })))
    const winner = answers.findIndex(({ kind }) => kind === 'committed')
    equal(answers.filter((_, i) => i !== winner), Array(9).fill({ kind: 'stale', reason: 'exists' }), 'the answers of the losers')
    equal((await (await open()).read())?.record, text(`by ${winner}`), 'the record')
  } },
]

const life: SceneCase[] = [
  { id: 'G29', title: 'an unknown run reads as nothing, and reading it writes nothing', run: async ({ open, harness, others, runId }) => {
    const store = await open()
    equal(store.runId, runId, 'the id of the handle')
    equal(await store.read(), undefined, 'the row')
    equal(await store.entries(0, 9), [], 'the entries')
    equal(await store.last(), undefined, 'the last entry')
    for (const table of tables) {
      equal(await store.row(table, 'k'), undefined, `a row of ${table}`)
      equal(await store.rows(table, { limit: 9 }), [], `the rows of ${table}`)
      equal(await store.keys(table, { limit: 9 }), [], `the keys of ${table}`)
    }
    if (harness.shelf !== undefined) equal(await harness.shelf.runs({ limit: 9 }), [...others].sort(), 'the runs of the shelf')
    if (harness.alarm !== undefined) equal(await harness.alarm(runId), null, 'the alarm')
    await start(await harness.reopen(runId), 1)
  } },
  { id: 'T-033', title: 'ids of every legal form are kept apart, others are refused', run: async ({ harness }) => {
    const ids = ['.', '..', '-', '_', '~', ':', 'a:b', 'a:b:', 'a', 'A', '1', '01', `${'x'.repeat(127)}1`, `${'x'.repeat(127)}2`]
    for (const id of ids) await start(await harness.open(id), 1, { record: text(id) })
    for (const id of ids) equal((await (await harness.open(id)).read())?.record, text(id), `the record of ${id}`)
    for (const id of ['', ' ', 'a/b', 'a b', 'é', 'x'.repeat(129), '\u0000']) {
      await throws('invalid_id', () => harness.open(id), JSON.stringify(id))
    }
    for (const id of ids) await (await harness.open(id)).destroy()
  } },
  { id: 'Z-124', title: 'destroy removes all of its run', run: async (scene) => {
    const [store, driver] = [await scene.open(), await scene.open()]
    const nothing = await snapshot(store, scene.harness)
    await store.destroy()
    await fill(store)
    await commits(driver, head(3, { entries: [entry(4)], row: row({ epoch: 7, wakeAt: 9_000_000_000_000 }) }, 7))
    await commits(driver, head(4, { entries: [entry(5)] }, 7))
    await store.destroy()
    equal(await snapshot(store, scene.harness), nothing, 'what is left')
    await refused(scene, driver, head(5, { entries: [entry(6)] }, 7), 'absent')
    await refused(scene, driver, { expect: { kind: 'exists' }, post: [text('m')] }, 'absent')
    await start(await scene.open(), 2)
    await refused(scene, driver, head(5, { entries: [entry(6)] }, 7), 'epoch')
    await refused(scene, driver, head(5, { entries: [entry(6)] }), 'seq')
    equal(await (await scene.open()).entries(0, 9), entriesAfter(0, 2), 'the entries of a new run with the id')
    await store.destroy()
    equal(await snapshot(await scene.harness.reopen(scene.runId), scene.harness), nothing, 'what is left after a restart')
  } },
  { id: 'G19', title: 'a run is due by the time in its row, soonest first', run: async ({ open, harness, others }) => {
    const { shelf } = harness
    if (shelf === undefined) return
    const store = await open()
    await start(store, 0, { wakeAt: 300 })
    for (const [id, wakeAt] of [['b', 100], ['c', null], ['a', 300], ['d', 200], ['run-11', 0]] as const) {
      await start(await harness.open(id), 0, { wakeAt })
    }
    const due = async (limit = 99): Promise<unknown> => (await shelf.due(limit)).map(({ runId, wakeAt }) => `${runId} ${wakeAt}`)
    equal(await due(), ['run-11 0', 'b 100', 'd 200', 'a 300', 'run-1 300'], 'what is due')
    equal(await due(2), ['run-11 0', 'b 100'], 'the first two')
    await commits(store, head(0, { row: row({ wakeAt: 50 }) }))
    await commits(await harness.open('b'), head(0, { row: row() }))
    await commits(await harness.open('d'), { expect: { kind: 'exists' }, post: [text('m')] })
    await (await harness.open('run-11')).destroy()
    equal(await due(), ['run-1 50', 'd 200', 'a 300'], 'what is due after changes')
    await throws('invalid_argument', () => shelf.due(0), 'a limit of 0')
    const all = ['a', 'b', 'c', 'd', 'run-1', ...others].sort()
    equal(await shelf.runs({ limit: 99 }), all, 'the runs')
    equal(await shelf.runs({ limit: 2 }), all.slice(0, 2), 'the first page of runs')
    equal(await shelf.runs({ after: 'b', limit: 2 }), ['c', 'd'], 'a page of runs')
    equal(await shelf.runs({ after: all.at(-1) as string, limit: 2 }), [], 'the page behind the end')
    equal(await shelf.runs({ limit: all.length }), all, 'a page with an exact limit')
  } },
  { id: 'G29', title: 'the timer of the host is the time in the row, and stays with it', run: async ({ open, harness, runId }) => {
    if (harness.alarm === undefined) return
    const store = await open()
    const [soon, later] = [8_000_000_000_000, 9_000_000_000_000]
    await start(store, 0, { wakeAt: later })
    equal(await harness.alarm(runId), later, 'after the start')
    await commits(store, head(0, { entries: [entry(1)] }))
    await commits(store, head(1, { row: row({ wakeAt: later }) }))
    equal(await harness.alarm(runId), later, 'after commits that leave it')
    await commits(await open(), head(1, { row: row({ wakeAt: soon }) }))
    equal(await harness.alarm(runId), soon, 'after another handle moved it')
    await commits(store, head(1, { row: row({ wakeAt: later }) }))
    equal(await harness.alarm(runId), later, 'after this handle moved it back')
    await store.commit(head(0, { row: row({ wakeAt: soon }) }))
    equal(await harness.alarm(runId), later, 'after a stale commit')
    await commits(await harness.reopen(runId), head(1, { row: row() }))
    equal(await harness.alarm(runId), null, 'after a row without a time')
  } },
]

const cut: SceneCase[] = [
  { id: 'G23', title: 'a cut removes the oldest entries, and what is left keeps its numbers', run: async ({ open, harness, runId }) => {
    const [store, other] = [await open(), await open()]
    await start(store, 3)
    await commits(store, head(3, { entries: entriesAfter(3, 70) }))
    await commits(store, head(73, { entries: [entry(74)] }))
    await commits(other, head(74, { cut: 0 }))
    equal((await other.entries(0, 1))[0], entry(1), 'the first entry after a cut of nothing')
    for (const at of [1, 3, 4, 40, 72]) {
      await commits(store, head(74, { cut: at, row: row({ record: text(`cut at ${at}`) }), rows: [{ table: 'memo', key: 'k', value: text(`${at}`) }] }))
      for (const handle of [store, other, await open()]) {
        equal(await handle.entries(0, 99), entriesAfter(at, 74 - at), `what is left of a cut at ${at}`)
        equal(await handle.entries(at + 1, 2), entriesAfter(at + 1, Math.min(2, 73 - at)), `a page of what is left of a cut at ${at}`)
        equal((await handle.last())?.seq, 74, 'the last entry')
      }
      equal((await other.read())?.record, text(`cut at ${at}`), 'the record that came with it')
      equal(await other.row('memo', 'k'), text(`${at}`), 'the row that came with it')
    }
    await commits(await open(), head(74, { cut: 5 }))
    equal(await other.entries(0, 99), entriesAfter(72, 2), 'what is left of a cut of what was cut before')
    await commits(other, head(74, { entries: [entry(75)] }))
    await commits(await open(), head(75, { entries: entriesAfter(75, 2) }))
    equal(await store.entries(0, 99), entriesAfter(72, 5), 'what is left, and what was appended')
    equal(await (await harness.reopen(runId)).entries(0, 99), entriesAfter(72, 5), 'the same after a restart')
  } },
  { id: 'G23', title: 'a run of which every entry was cut keeps its row, and nobody appends to what it was', run: async (scene) => {
    const [store, zombie] = [await scene.open(), await scene.open()]
    await start(store, 2)
    await commits(zombie, head(2, { entries: [entry(3)] }))
    await commits(store, { expect: { kind: 'exists' }, post: [text('m')] })
    await commits(store, head(3, { cut: 3, take: [1], row: row({ epoch: 2, record: text('tombstone') }) }))
    await refused(scene, zombie, head(3, { entries: [entry(4)] }), 'epoch')
    await refused(scene, zombie, head(3, { entries: entriesAfter(3, 2), row: row() }), 'epoch')
    await refused(scene, await scene.open(), head(3, { row: row({ epoch: 2 }) }, 2), 'seq')
    await refused(scene, zombie, ofStep({ rows: [{ table: 'memo', key: 'k', value: text('v') }] }), 'epoch')
    await refused(scene, store, { expect: { kind: 'absent' }, row: row() }, 'exists')
    const left = await scene.harness.reopen(scene.runId)
    equal(await left.entries(0, 99), [], 'the entries')
    equal(await left.last(), undefined, 'the last entry')
    equal(await left.keys('inbox', { limit: 9 }), [], 'the messages')
    equal(await left.read(), { runId: scene.runId, epoch: 2, inbox: 1, wakeAt: null, record: text('tombstone') }, 'the row')
    equal(await commits(left, { expect: { kind: 'exists' }, post: [text('m')] }), [2], 'the number of the next message')
    await commits(left, head(0, { take: [2], row: row({ epoch: 3 }) }, 2))
    await left.destroy()
    equal(await (await scene.open()).read(), undefined, 'the row after it was destroyed')
  } },
  { id: 'G23', title: 'a cut belongs to the driver, without entries and within the journal; a stale one removes nothing', run: async (scene) => {
    const store = await scene.open()
    await refused(scene, store, head(2, { cut: 1 }), 'absent')
    await start(store, 2)
    await refused(scene, store, head(2, { cut: 1 }, 2), 'epoch')
    await refused(scene, store, head(3, { cut: 1 }), 'seq')
    await refused(scene, store, { expect: { kind: 'head', epoch: 1, seq: 2, inbox: 4 }, cut: 2, row: row() }, 'inbox')
    await refused(scene, store, head(2, { cut: 2, require: [{ table: 'chunk', key: 'none' }] }), 'missing')
    await illegal(scene, store, head(2, { cut: 3 }), 'a cut behind the end')
    await illegal(scene, store, head(2, { cut: 1, entries: [entry(3)] }), 'a cut with entries')
    for (const expect of [{ kind: 'absent' }, { kind: 'exists' }, { kind: 'none' }, { kind: 'epoch', epoch: 1 }] as const) {
      await illegal(scene, store, { expect, cut: 1, ...(expect.kind === 'absent' && { row: row() }) }, `a cut with ${expect.kind}`)
    }
    for (const at of [-1, 0.5, NaN, null as unknown as number]) await illegal(scene, store, head(2, { cut: at }), `a cut at ${at}`)
  } },
]

const wake: SceneCase[] = [
  { id: 'G29', title: 'a message with wakeBy wakes the run then, or sooner if it is due sooner', run: async ({ open, harness, runId }) => {
    const [soon, later, last] = [8_000_000_000_000, 9_000_000_000_000, 9_100_000_000_000]
    const driver = await open()
    const post = (wakeBy?: number): Batch => ({ expect: { kind: 'exists' }, post: [text('m')], ...(wakeBy === undefined ? undefined : { wakeBy }) })
    const wakes = async (at: number | null, when: string): Promise<void> => {
      equal((await (await open()).read())?.wakeAt, at, `the time in the row ${when}`)
      if (harness.alarm !== undefined) equal(await harness.alarm(runId), at, `the alarm ${when}`)
      if (harness.shelf !== undefined) {
        equal((await harness.shelf.due(99)).filter((run) => run.runId === runId).map(({ wakeAt }) => wakeAt), at === null ? [] : [at], `the index ${when}`)
      }
    }
    await start(driver, 1)
    await commits(await open(), post())
    await wakes(null, 'after a message without it')
    equal(await commits(await open(), post(later)), [2], 'the number')
    await wakes(later, 'of a run that waited for nothing')
    await commits(await open(), post(last))
    await wakes(later, 'after a message that could wait longer')
    await commits(await open(), { ...post(soon), rows: [{ table: 'outbox', key: 'k', value: text('o') }], durability: 'strict' })
    await wakes(soon, 'after a message that could not wait so long')
    equal(await driver.row('outbox', 'k'), text('o'), 'the row that came with it')
    const again = await harness.reopen(runId)
    await wakes(soon, 'after a restart')
    equal((await again.read())?.record, text('record'), 'the record')
    await commits(again, head(1, { entries: [entry(2)] }))
    await wakes(soon, 'after an entry')
    await commits(again, head(2, { row: row({ wakeAt: last }) }))
    await wakes(last, 'after the driver set it anew')
    await commits(again, head(2, { row: row() }))
    await wakes(null, 'after the driver took it back')
    await commits(again, head(2, { row: row({ epoch: 2 }) }))
    await commits(await open(), post(soon))
    await wakes(soon, 'after a take-over')
    await commits(again, head(2, { entries: [entry(3)] }, 2))
  } },
  { id: 'G29', title: 'wakeBy goes with a message from anyone and with nothing else', run: async (scene) => {
    const store = await scene.open()
    await refused(scene, store, { expect: { kind: 'exists' }, post: [text('m')], wakeBy: 5 }, 'absent')
    await start(store, 1, { wakeAt: 9_000_000_000_000 })
    await refused(scene, store, { expect: { kind: 'exists' }, post: [text('m')], wakeBy: 5, require: [{ table: 'chunk', key: 'none' }] }, 'missing')
    await illegal(scene, store, { expect: { kind: 'exists' }, wakeBy: 5 }, 'wakeBy without a message')
    await illegal(scene, store, { expect: { kind: 'exists' }, post: [], wakeBy: 5 }, 'wakeBy with no messages')
    await illegal(scene, store, head(1, { post: [text('m')], wakeBy: 5 }), 'wakeBy of a driver')
    await illegal(scene, store, { expect: { kind: 'absent' }, row: row(), post: [text('m')], wakeBy: 5 }, 'wakeBy of a start')
    await illegal(scene, store, { expect: { kind: 'none' }, wakeBy: 5 }, 'wakeBy with none')
    await illegal(scene, store, ofStep({ wakeBy: 5 }), 'wakeBy with epoch')
    for (const wakeBy of [-1, 1.5, NaN, null as unknown as number]) {
      await illegal(scene, store, { expect: { kind: 'exists' }, post: [text('m')], wakeBy }, `wakeBy ${wakeBy}`)
    }
  } },
]

export const runCases: readonly SceneCase[] = [...authority, ...life, ...wake, ...cut]
