import { expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { CommitLog } from '../../src/testing/commit-log.ts'
import { type Fault, FaultStore } from '../../src/testing/fault-store.ts'

test('an old answer is that of so many commits ago, over all handles, for every read', () => {
  const shelf = createMemoryShelf()
  const log = new CommitLog()
  let fault: Fault | undefined
  const open = (): FaultStore => new FaultStore(shelf.open('r'), { log, fault: ({ method }) => (method === 'commit' ? undefined : fault) })
  const [first, second] = [open(), open()]
  const value = new Uint8Array([1])
  void first.commit({ expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: null, record: value }, entries: [{ seq: 1, bytes: value }] })
  void first.commit({ expect: { kind: 'head', epoch: 1, seq: 1 }, row: { epoch: 2, wakeAt: 5, record: value }, rows: [{ table: 'chunk', key: 'c', value }] })
  // What the writer does with its buffer later is no change of what was committed.
  value[0] = 9
  void second.commit({ expect: { kind: 'head', epoch: 2, seq: 1 }, entries: [{ seq: 2, bytes: value }] })
  void second.commit({ expect: { kind: 'head', epoch: 1, seq: 2 }, entries: [{ seq: 3, bytes: value }] })
  expect(log.commits('r')).toBe(3)
  const seen = [0, 1, 2, 3, 4].map((commits) => {
    fault = { do: 'old', commits }
    const row = second.read() as { epoch: number } | undefined
    const entries = second.entries(0, 9) as readonly { seq: number; bytes: Uint8Array }[]
    return [row?.epoch, entries.map(({ seq, bytes }) => `${seq}:${bytes[0]}`).join(' '), (second.last() as { seq: number } | undefined)?.seq, second.row('chunk', 'c') !== undefined, (second.keys('chunk', { limit: 1 }) as readonly string[]).length]
  })
  expect(seen).toEqual([
    [2, '1:1 2:9', 2, true, 1],
    [2, '1:1', 1, true, 1],
    [1, '1:1', 1, false, 0],
    [undefined, '', undefined, false, 0],
    [undefined, '', undefined, false, 0],
  ])
  fault = undefined
  expect(second.read()).toMatchObject({ epoch: 2 })
})
