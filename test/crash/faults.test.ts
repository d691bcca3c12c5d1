import { describe, expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import { isPromise as isLater } from '../../src/store/store.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { type Fault, FaultStore, type StoreMethod } from '../../src/testing/fault-store.ts'
import { anything, gate, ID, quiesce, World } from '../engine/support.ts'

const row = { epoch: 1, wakeAt: null, record: new Uint8Array([1]) }
const start = { expect: { kind: 'absent' as const }, row }

function wrap(fault: (nth: number) => Fault | undefined) {
  const inner = createMemoryShelf().open(ID)
  const committed: string[] = []
  let crashes = 0
  const store = new FaultStore(inner, {
    fault: ({ method, nth }) => (method === 'commit' ? fault(nth) : undefined),
    committed: ({ expect: { kind } }) => {
      committed.push(kind)
    },
    crashed: () => {
      crashes++
    },
  })
  return { inner, store, committed, crashes: () => crashes }
}

async function isPending(promise: unknown): Promise<boolean> {
  if (!isLater(promise)) return false
  let settled = false
  promise.then(
    () => {
      settled = true
    },
    () => {
      settled = true
    },
  )
  await quiesce()
  return !settled
}

describe('the fault store', () => {
  test('without a fault it is the store that it wraps, and answers at once where that does', () => {
    const { inner, store, committed } = wrap(() => undefined)
    expect(store.commit(start)).toEqual({ kind: 'committed' })
    expect(store.read()).toEqual(inner.read())
    expect([
      store.entries(0, 1),
      store.last(),
      store.row('chunk', 'x'),
      store.rows('chunk', { limit: 1 }),
      store.keys('chunk', { limit: 1 }),
    ]).toEqual([[], undefined, undefined, [], []])
    expect(committed).toEqual(['absent'])
    expect([store.calls('commit'), store.calls('read'), store.calls('last')]).toEqual([1, 1, 1])
    void store.destroy()
    expect(inner.read()).toBeUndefined()
  })

  test('fail, stale and unknown before: nothing was done', async () => {
    const faults: readonly (readonly [Fault, unknown])[] = [
      [
        { do: 'stale', reason: 'epoch' },
        { kind: 'stale', reason: 'epoch' },
      ],
      [
        { do: 'unknown', when: 'before', error: 5 },
        { kind: 'unknown', error: 5 },
      ],
    ]
    for (const [fault, answer] of faults) {
      const { inner, store, committed } = wrap(() => fault)
      expect(store.commit(start)).toEqual(answer)
      expect([inner.read(), committed]).toEqual([undefined, []])
    }
    const { inner, store } = wrap(() => ({ do: 'fail' }))
    expect(() => store.commit(start)).toThrow(expect.objectContaining({ code: 'store_unavailable' }))
    expect(inner.read()).toBeUndefined()
    const own = wrap(() => ({ do: 'fail', error: new RangeError('mine') }))
    expect(() => own.store.commit(start)).toThrow(RangeError)
  })

  test('unknown after: it was committed, and told', () => {
    const { inner, store, committed } = wrap(() => ({ do: 'unknown', when: 'after' }))
    expect(store.commit(start)).toMatchObject({ kind: 'unknown' })
    expect(inner.read()).toBeDefined()
    expect(committed).toEqual(['absent'])
  })

  test('hang and delay, before and after', async () => {
    for (const when of ['before', 'after'] as const) {
      const hung = wrap(() => ({ do: 'hang', when }))
      expect(await isPending(hung.store.commit(start))).toBe(true)
      expect(hung.inner.read() === undefined).toBe(when === 'before')
      const until = gate()
      const late = wrap(() => ({ do: 'delay', when, until: until.promise }))
      const answer = late.store.commit(start)
      expect(await isPending(answer)).toBe(true)
      expect(late.inner.read() === undefined).toBe(when === 'before')
      until.open()
      expect(await answer).toEqual({ kind: 'committed' })
      expect(late.inner.read()).toBeDefined()
    }
  })

  test('crash, before and after: from then on nothing answers and nothing is done; what is delayed is not done either', async () => {
    for (const when of ['before', 'after'] as const) {
      const { inner, store, crashes } = wrap((nth) => (nth === 1 ? { do: 'crash', when } : undefined))
      expect(await isPending(store.commit(start))).toBe(true)
      expect(inner.read() === undefined).toBe(when === 'before')
      expect([store.isDead, crashes()]).toEqual([true, 1])
      for (const answer of [store.read(), store.commit(start), store.entries(0, 1), store.destroy()])
        expect(await isPending(answer)).toBe(true)
      store.kill()
      expect(crashes()).toBe(1)
      expect(inner.read() === undefined).toBe(when === 'before')
    }
    const until = gate()
    const { inner, store } = wrap(() => ({ do: 'delay', when: 'before', until: until.promise }))
    const answer = store.commit(start)
    store.kill()
    until.open()
    expect(await isPending(answer)).toBe(true)
    expect(inner.read()).toBeUndefined()
  })

  test('what only a commit can answer is refused for a read', () => {
    const store = new FaultStore(createMemoryShelf().open(ID), { fault: () => ({ do: 'stale', reason: 'seq' }) })
    expect(() => store.read()).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
  })
})

describe('reads that fail', () => {
  const make = (executed: string[]) =>
    workflow({ name: 'w', input: anything }, async (ctx) => {
      await Promise.all([
        ctx.step('a', async () => {
          executed.push('a')
        }),
        ctx.step('b', async () => {
          executed.push('b')
        }),
      ])
      await ctx.step(
        'flaky',
        (call) => {
          executed.push(`flaky ${call.attempt}`)
          if (call.attempt === 1) throw new Error('busy')
        },
        { retry: { delay: '1 minute', jitter: 0 } },
      )
      const large = await ctx.step('large', () => {
        executed.push('large')
        return 'x'.repeat(70_000)
      })
      await ctx.sleep('1 hour')
      await ctx.step('last', () => {
        executed.push('last')
      })
      return large.length
    })
  const calls = ['a', 'b', 'flaky 1', 'flaky 2', 'large', 'last']
  const methods: readonly StoreMethod[] = ['read', 'entries', 'last', 'row', 'rows']

  async function countReads(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {}
    const world = new World()
    const w = make([])
    const process = world.boot(w, {
      faults: {
        fault: ({ method }) => {
          counts[method] = (counts[method] ?? 0) + 1
          return undefined
        },
      },
    })
    await process.runs.start(w, 0, { id: ID })
    await process.runs.settle(ID)
    return counts
  }

  test('5.2 no. 14: any read fails once: the drive says so, nothing is lost, and the next one goes on', async () => {
    const counts = await countReads()
    let struck = 0
    for (const method of methods) {
      expect(counts[method], method).toBeGreaterThan(0)
      for (let n = 1; n <= (counts[method] ?? 0); n++) {
        const executed: string[] = []
        const w = make(executed)
        const world = new World()
        let isStruck = false
        const process = world.boot(w, {
          faults: {
            fault: (call) => {
              if (call.method !== method || call.nth !== n) return undefined
              isStruck = true
              struck++
              return { do: 'fail' }
            },
          },
        })
        for (let tries = 0; tries < 2; tries++)
          await process.runs.start(w, 0, { id: ID }).catch((error: { code: string }) => {
            expect(error.code).toBe('store_unavailable')
          })
        const ends: string[] = []
        for (let tries = 0; tries < 3 && ends.at(-1) !== 'ended'; tries++)
          ends.push((await process.runs.settle(ID)).kind)
        expect(ends.at(-1), `${method} ${n}`).toBe('ended')
        expect(isStruck, `${method} ${n}`).toBe(true)
        expect(executed, `${method} ${n}`).toEqual(calls)
        expect(world.record().status).toBe('completed')
      }
    }
    expect(struck).toBeGreaterThan(20)
  })

  test('any read never answers: the process is killed, and the next one goes on', async () => {
    const counts = await countReads()
    for (const method of methods) {
      for (let n = 2; n <= (counts[method] ?? 0); n++) {
        const executed: string[] = []
        const w = make(executed)
        const world = new World()
        const dying = world.boot(w, {
          stepsUseHostTime: true,
          faults: {
            fault: (call) => (call.method === method && call.nth === n ? { do: 'crash', when: 'before' } : undefined),
          },
        })
        const store = await dying.handle()
        const living = dying.runs.start(w, 0, { id: ID }).then(() => dying.runs.settle(ID))
        living.catch(() => {})
        for (let i = 0; i < 500 && !store.isDead; i++) await quiesce()
        expect(store.isDead, `${method} ${n}`).toBe(true)
        world.tell(dying.now)
        const next = world.boot(w)
        await next.runs.start(w, 0, { id: ID })
        expect(await next.runs.settle(ID), `${method} ${n}`).toEqual({ kind: 'ended', status: 'completed' })
        expect([...new Set(executed)].sort()).toEqual([...calls].sort())
      }
    }
  })
})
