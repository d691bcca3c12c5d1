// Every fault of the store at every call of every method, once: how the run stands then, and that it ends right when the fault is gone.

import { expect, test } from 'vitest'
import { z } from 'zod'
import { workflow } from '../../src/index.ts'
import { CommitLog, type Fault, FaultStore, createMemoryShelf, type StoreMethod, testHost, type TestRun } from '../../src/testing/index.ts'

const reads: readonly StoreMethod[] = ['read', 'entries', 'last', 'row', 'rows']

/** All that touches a store: an inline and a large value, an effect, a retry, a timer. */
const make = (calls: string[]) => workflow({ name: 'w', input: z.any() }, async (ctx) => {
  const large = await ctx.step('large', () => {
    calls.push('large')
    return 'x'.repeat(70_000)
  })
  const paid = await ctx.effect('pay', ({ idempotencyKey }) => {
    calls.push(`pay ${idempotencyKey}`)
    return 'paid'
  }, { kind: 'money', input: 1, onAmbiguous: 'rerun', timeout: '1 second' })
  await ctx.step('flaky', ({ attempt }) => {
    calls.push(`flaky ${attempt}`)
    if (attempt === 1) throw new Error('busy')
  }, { retry: { delay: '1 minute', jitter: 0 } })
  await ctx.sleep('1 hour')
  await ctx.step('last', () => { calls.push('last') })
  return `${paid} ${large.length}`
})
type Made = ReturnType<typeof make>

async function countCalls(): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {}
  const w = make([])
  const t = testHost({ workflows: [w], faults: { fault: ({ method }) => {
    counts[method] = (counts[method] ?? 0) + 1
    return undefined
  } } })
  await (await t.start(w, 0)).result()
  return counts
}

interface Line {
  readonly name: string
  readonly fault: Fault
  readonly methods: readonly StoreMethod[]
  /** How the run may stand before anybody does anything: `completed` always among them. */
  readonly stands: readonly string[]
  /** What a start that was struck may throw; the caller asks again. */
  readonly refused?: string
}

const table: readonly Line[] = [
  { name: 'fail', fault: { do: 'fail' }, methods: [...reads, 'commit', 'flush'], stands: [], refused: 'store_unavailable' },
  { name: 'quota', fault: { do: 'quota' }, methods: ['commit'], stands: [], refused: 'quota_exceeded' },
  { name: 'crash before', fault: { do: 'crash', when: 'before' }, methods: [...reads, 'commit', 'flush'], stands: [] },
  { name: 'crash after', fault: { do: 'crash', when: 'after' }, methods: [...reads, 'commit', 'flush'], stands: [] },
  { name: 'unknown before', fault: { do: 'unknown', when: 'before' }, methods: ['commit'], stands: [], refused: 'store_unavailable' },
  { name: 'unknown after', fault: { do: 'unknown', when: 'after' }, methods: ['commit'], stands: [] },
  { name: 'stale epoch', fault: { do: 'stale', reason: 'epoch' }, methods: ['commit'], stands: [], refused: 'store_unavailable' },
  { name: 'stale seq', fault: { do: 'stale', reason: 'seq' }, methods: ['commit'], stands: [], refused: 'store_unavailable' },
  { name: 'hang before', fault: { do: 'hang', when: 'before' }, methods: ['commit'], stands: [], refused: 'store_unavailable' },
  { name: 'hang after', fault: { do: 'hang', when: 'after' }, methods: ['commit'], stands: [] },
  { name: 'delay before', fault: { do: 'delay', when: 'before', until: Promise.resolve() }, methods: [...reads, 'commit', 'flush'], stands: [] },
  { name: 'delay after', fault: { do: 'delay', when: 'after', until: Promise.resolve() }, methods: [...reads, 'commit', 'flush'], stands: [] },
  // A row that can't be trusted is never written: the run stands as it stood.
  { name: 'damage of the row', fault: { do: 'damage' }, methods: ['read'], stands: ['queued', 'running', 'waiting'] },
  { name: 'damage of entries', fault: { do: 'damage' }, methods: ['entries', 'last'], stands: ['blocked corrupt_entry'] },
  { name: 'damage of side rows', fault: { do: 'damage' }, methods: ['row', 'rows'], stands: ['blocked blob_mismatch'] },
  { name: 'old by 1', fault: { do: 'old', commits: 1 }, methods: reads, stands: ['queued', 'running'] },
  { name: 'old by 3', fault: { do: 'old', commits: 3 }, methods: reads, stands: ['queued', 'running', 'waiting', 'blocked corrupt_entry', 'blocked blob_missing'] },
]

test.each(table)('G2, G4, G5, G6: $name, at each call: nothing is half-written, and the run ends right after it', async ({ name, fault, methods, stands, refused }) => {
  const counts = await countCalls()
  const seen = new Set<string>()
  for (const method of methods) {
    expect(counts[method], method).toBeGreaterThan(0)
    for (let nth = 1; nth <= (counts[method] ?? 0); nth++) {
      const where = `${name}, ${method} ${nth}`
      const calls: string[] = []
      const w = make(calls)
      let struck = 0
      const t = testHost({ workflows: [w], faults: { log: new CommitLog(), fault: (call) => {
        if (call.method !== method || call.nth !== nth) return undefined
        struck++
        return fault
      } } })
      const start = (): Promise<TestRun<Made>> => t.start(w, 0, { id: 'r' })
      const run = await start().catch((error: { code: string }) => {
        expect(error.code, where).toBe(refused)
        return start()
      })
      const { status, blocked } = await run.settle()
      const stand = blocked === undefined ? status : `${status} ${blocked.code}`
      seen.add(stand)
      if (stand !== 'completed') {
        expect(stands, where).toContain(stand)
        // Reading it verifies every entry and the chain: what was answered damaged is stored whole.
        await run.journal()
        await run.resume()
      }
      expect(await run.result(), where).toBe('paid 70000')
      expect(struck, where).toBe(1)
      await run.expect({ completed: ['large', 'pay', 'flaky', 'last'], attempts: { flaky: 2 } })
      expect([...new Set(calls.map((call) => call.split(' ')[0]))], where).toEqual(['large', 'pay', 'flaky', 'last'])
      expect(calls.length, where).toBeLessThanOrEqual(6)
      expect(new Set(calls.filter((call) => call.startsWith('pay'))).size, where).toBe(1)
    }
  }
  for (const stand of stands.filter((each) => each.startsWith('blocked'))) expect(seen, `${name} did what it should`).toContain(stand)
}, 60_000)

test('a read that never answers: the process is killed, and the next one goes on', async () => {
  const counts = await countCalls()
  let hung = 0
  for (const method of reads) {
    for (let nth = 2; nth <= (counts[method] ?? 0); nth++) {
      const calls: string[] = []
      const w = make(calls)
      const t = testHost({ workflows: [w], faults: { fault: (call) => (call.method === method && call.nth === nth ? { do: 'hang', when: 'after' } : undefined) } })
      const run = await t.start(w, 0)
      if ((await run.settle()).status !== 'completed') {
        hung++
        await t.crash()
      }
      expect(await run.result(), `${method} ${nth}`).toBe('paid 70000')
    }
  }
  expect(hung).toBeGreaterThan(3)
}, 60_000)

test('what a method cannot answer is refused, and so is an old answer without a log', () => {
  const shelf = createMemoryShelf()
  const refuse = (fault: Fault, log?: CommitLog) => {
    const store = new FaultStore(shelf.open('r'), { fault: () => fault, ...(log === undefined ? undefined : { log }) })
    const batch = { expect: { kind: 'none' } } as const
    return { read: () => store.read(), keys: () => store.keys('chunk', { limit: 1 }), commit: () => store.commit(batch) }
  }
  const invalid = expect.objectContaining({ code: 'invalid_argument' }) as Error
  expect(refuse({ do: 'quota' }).read).toThrow(invalid)
  expect(refuse({ do: 'damage' }).commit).toThrow(invalid)
  expect(refuse({ do: 'damage' }).keys).toThrow(invalid)
  expect(refuse({ do: 'old', commits: 1 }).read).toThrow(invalid)
  expect(refuse({ do: 'old', commits: 1 }, new CommitLog()).commit).toThrow(invalid)
  expect(refuse({ do: 'old', commits: 1 }, new CommitLog()).read()).toBeUndefined()
})
