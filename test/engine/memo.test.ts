// Memos where the world fails. What they are on every store is in test/contract/kept.contract.ts.

import { describe, expect, test } from 'vitest'
import type { Call, Ctx, Memo, Services } from '../../src/context.ts'
import { createMemo } from '../../src/engine/memo.ts'
import { isStepwellError, StepwellError } from '../../src/errors.ts'
import { workflow } from '../../src/index.ts'
import { defaultLimits } from '../../src/limits.ts'
import type { RunStore } from '../../src/store/store.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import type { Fault } from '../../src/testing/fault-store.ts'
import { clearMemos } from '../../src/testing/index.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { anything, errorOf, gate, ID, open, override, quiesce, World, type WorldOptions } from './support.ts'

type AnyCall = Call<Services, 'any', unknown>

/** A run of one step, tried again soon. */
function stepping(body: (call: AnyCall) => unknown, limit = 5) {
  return workflow({ name: 'w', input: anything }, async (ctx) =>
    (ctx as unknown as Ctx).step('s', (call) => body(call as unknown as AnyCall), { retry: { limit, delay: 1, jitter: 0 } }))
}

const isMemo = (batch: { readonly rows?: readonly { readonly table: string }[] } | undefined): boolean =>
  batch?.rows?.some(({ table }) => table === 'memo') === true

/** What the one step hears, and how often it ran, when these faults meet its writes of memos one after the other. */
async function putUnder(faults: readonly (Fault | undefined)[], options: WorldOptions = {}) {
  let writes = 0
  let attempts = 0
  const errors: StepwellError[] = []
  const w = stepping(async ({ memo }) => {
    attempts++
    try {
      await memo.put('k', attempts)
    } catch (error) {
      if (isStepwellError(error)) errors.push(error)
      throw error
    }
    return memo.get('k')
  })
  const process = open(w, { ...options, faults: { fault: ({ batch }) => (isMemo(batch) ? faults[writes++] : undefined) } })
  const end = await process.run(w)
  return { process, end, writes, attempts, errors, output: (await process.runs.summary(ID)).output }
}

describe('memo', () => {
  test('T-012: a store that fails fails the attempt, which is tried again', async () => {
    const { end, attempts, errors, output, process } = await putUnder([{ do: 'fail' }])
    expect(end).toEqual({ kind: 'ended', status: 'completed' })
    expect(attempts).toBe(2)
    expect(errors).toMatchObject([{ code: 'store_unavailable', kind: 'transient', retryable: true }])
    expect(output).toBe(2)
    expect(process.world.kinds()).toEqual(['run_started', 'attempt_failed s', 'step_completed s', 'run_completed'])
  })

  test('T-012: what a store throws untyped, writing or reading, is typed', async () => {
    const wrong = await putUnder([{ do: 'fail', error: new TypeError('of the platform') }])
    expect(wrong.errors).toMatchObject([{ code: 'store_unavailable', retryable: true, cause: { message: 'of the platform' } }])
    expect(wrong.output).toBe(2)
    let reads = 0
    const w = stepping(({ memo }) => memo.get('k'))
    const process = open(w, {
      wrap: (store) => override(store, { row: (table, key) => {
        if (table === 'memo' && reads++ === 0) throw new RangeError('of the platform')
        return store.row(table, key)
      } }),
    })
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(reads).toBe(2)
  })

  test('T-012: a full store is tried again later; a value that no store takes is not', async () => {
    const { attempts, errors } = await putUnder([{ do: 'fail', error: new StepwellError('quota_exceeded', 'full') }])
    expect(attempts).toBe(2)
    expect(errors).toMatchObject([{ code: 'quota_exceeded', retryable: true }])
    const w = stepping(({ memo }) => memo.put('k', { fn: () => 1 }))
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).error).toMatchObject({
      code: 'step_failed', cause: { code: 'not_serializable', details: { path: 'memo.fn' } },
    })
    expect(process.world.kinds()).toEqual(['run_started', 'step_failed s', 'run_failed'])
  })

  test.each(['before', 'after'] as const)('T-003: an answer that is lost %s the write: it is written again, once is enough', async (when) => {
    const { writes, attempts, output } = await putUnder([{ do: 'unknown', when }])
    expect([writes, attempts, output]).toEqual([2, 1, 1])
  })

  test('T-003: a store that never says is asked three times, then the attempt fails and is tried again', async () => {
    const { writes, attempts, errors, output } = await putUnder(Array.from({ length: 3 }, () => ({ do: 'unknown', when: 'before' }) as const))
    expect([writes, attempts, output]).toEqual([4, 2, 2])
    expect(errors).toMatchObject([{ code: 'commit_unknown', retryable: true, cause: { message: 'the answer was lost, as the test wanted' } }])
  })

  test('Z-041: a write that is never answered counts as unknown after the deadline of a commit', async () => {
    const { writes, output, process } = await putUnder([{ do: 'hang', when: 'after' }], { stepsUseHostTime: true, limits: { commitMs: 5000 } })
    expect([writes, output]).toEqual([2, 1])
    expect(process.now).toBeGreaterThanOrEqual(Date.UTC(2026, 0, 1) + 5000)
  })

  test('T-003: a crash right after a put leaves what was put', async () => {
    const seen: unknown[] = []
    const w = stepping(async ({ memo }) => {
      seen.push(await memo.get('k'))
      await memo.put('k', 'put')
      return 1
    })
    let writes = 0
    const process = open(w, { faults: { fault: ({ batch }) => (isMemo(batch) && ++writes === 1 ? { do: 'crash', when: 'after' } : undefined) } })
    await process.runs.start(w, 0, { id: ID })
    await process.begin()
    const world = await process.crash()
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(seen).toEqual([undefined, 'put'])
  })

  test('T-007: all memos may be deleted while the run goes on, and a damaged one counts as missing', async () => {
    let paid = 0
    const world = new World()
    const w = stepping(async ({ memo, attempt }) => {
      const value = await memo('k', () => ++paid)
      const store = world.shelf.open(ID)
      const [row] = store.rows('memo', { limit: 1 })
      if (attempt === 1) expect(await clearMemos(store)).toBe(1)
      if (attempt === 2) {
        const damaged = (row?.value ?? new Uint8Array()).slice()
        damaged[damaged.length - 1] = 0x39
        store.commit({ expect: { kind: 'none' }, rows: [{ table: 'memo', key: row?.key ?? '', value: damaged }] })
        expect(await memo.has('k')).toBe(false)
      }
      if (attempt < 4) throw new Error('again')
      return value
    })
    const process = world.boot(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toBe(3)
    expect(paid).toBe(3)
    expect(process.host.logs.filter(({ level }) => level === 'warn')).toHaveLength(2)
  })

  test('T-008: two handles on one store see each other at once', async () => {
    const shelf = createMemoryShelf()
    const [one, two] = [memoOn(shelf.open(ID)), memoOn(shelf.open(ID))]
    await start(shelf.open(ID))
    await one.put('k', 1)
    expect(await two.get('k')).toBe(1)
    await two.put('k', 2)
    expect(await one.get('k')).toBe(2)
    expect(await memoOn(shelf.open(ID), { step: 'other' }).get('k')).toBeUndefined()
    expect(await memoOn(shelf.open(ID), { generation: 2 }).get('k')).toBeUndefined()
    expect(await memoOn(shelf.open(ID), { incarnation: 'b' }).get('k')).toBeUndefined()
    await two.delete('k')
    expect(await one.has('k')).toBe(false)
  })

  test('T-009: clearMemos removes the memos of its run alone and says how many', async () => {
    const shelf = createMemoryShelf()
    for (const id of ['run-1', 'run-10', 'run-']) {
      const store = shelf.open(id)
      await start(store)
      store.commit({ expect: { kind: 'none' }, rows: Array.from({ length: id === 'run-1' ? 2500 : 3 }, (_, i) => ({ table: 'memo', key: `${i}`, value: new Uint8Array(1) })) })
      store.commit({ expect: { kind: 'none' }, rows: [{ table: 'state', key: 'k', value: new Uint8Array(1) }] })
    }
    let commits = 0
    const store = shelf.open('run-1')
    // An answer that was lost is asked for again.
    const flaky = override(store, { commit: (batch) => {
      const answer = store.commit(batch)
      return commits++ === 0 ? { kind: 'unknown', error: undefined } : answer
    } })
    expect(await clearMemos(flaky)).toBe(2500)
    expect(await clearMemos(store)).toBe(0)
    expect(store.keys('state', { limit: 9 })).toHaveLength(1)
    for (const id of ['run-10', 'run-']) expect(shelf.open(id).keys('memo', { limit: 9 })).toHaveLength(3)
    await memoOn(store).put('k', 1)
    const lost = override(store, { commit: () => ({ kind: 'unknown', error: undefined }) })
    expect(await errorOf(() => clearMemos(lost))).toMatchObject({ code: 'commit_unknown' })
    expect(await clearMemos(shelf.open('unknown'))).toBe(0)
    expect(shelf.runs({ limit: 9 })).toEqual(['run-', 'run-1', 'run-10'])
  })

  test('T-006: a step can read whose memo it is', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.scope('outer', (inner) => inner.step('s', ({ runId, key, attempt }) => [runId, key, attempt])))
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toEqual([ID, 'outer/s', 1])
    expect(process.world.entries()[1]).toMatchObject({ key: 'outer/s', attempt: 1 })
  })

  test('T-010: equal keys of one attempt are made one after the other; when the first fails, the next one tries', async () => {
    let made = 0
    const w = stepping(async ({ memo }) => {
      const make = async (): Promise<object> => {
        await quiesce()
        if (++made === 1) throw new Error('the first one fails')
        return { made }
      }
      const results = await Promise.allSettled([memo('k', make), memo('k', make), memo('k', make), memo('other', () => 'x')])
      const values = results.map((result) => (result.status === 'fulfilled' ? result.value : (result.reason as Error).message))
      expect(values[1]).not.toBe(values[2])
      return values
    })
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toEqual(['the first one fails', { made: 2 }, { made: 2 }, 'x'])
    expect(made).toBe(2)
  })

  test('T-010: what make throws, at once or later, is what the step hears, and nothing is kept', async () => {
    const thrown = new Error('no')
    const w = stepping(async ({ memo }) => {
      const errors: unknown[] = []
      await memo('k', () => { throw thrown }).catch((error: unknown) => errors.push(error))
      await memo('k', () => Promise.reject(thrown)).catch((error: unknown) => errors.push(error))
      expect(errors).toEqual([thrown, thrown])
      return memo.has('k')
    })
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toBe(false)
  })

  test('G28: a key that is missing and a function that is none are typed errors', async () => {
    const shelf = createMemoryShelf()
    await start(shelf.open(ID))
    const memo = memoOn(shelf.open(ID))
    const wrong: readonly (() => unknown)[] = [
      () => memo.get(undefined as never), () => memo.put(undefined as never, 1), () => memo.has(undefined as never), () => memo.delete(undefined as never),
      () => memo(undefined as never, () => 1), () => memo('k', undefined as never), () => memo('k', 5 as never),
    ]
    for (const call of wrong) expect(await errorOf(call)).toMatchObject({ code: 'invalid_argument' })
    expect(await errorOf(() => memo.get((() => 1) as never))).toMatchObject({ code: 'not_serializable', details: { path: 'key' } })
    expect(shelf.open(ID).keys('memo', { limit: 9 })).toEqual([])
  })

  test('T-004: every row has a key that all stores take', async () => {
    const shelf = createMemoryShelf()
    await start(shelf.open(ID))
    for (const key of ['', 'ä'.repeat(10_000), { deep: ['x'] }]) await memoOn(shelf.open(ID), { step: 'ä/'.repeat(1000) }).put(key, 1)
    for (const key of shelf.open(ID).keys('memo', { limit: 9 })) expect(key).toMatch(/^[0-9a-f]{32}-[0-9a-f]{64}$/)
  })

  test('T-005: a new generation finds no memo of the one before', async () => {
    const seen: unknown[] = []
    const step = async ({ memo }: AnyCall): Promise<number> => {
      seen.push(await memo.get('k'))
      await memo.put('k', 1)
      return 1
    }
    const definition = (name: string) => workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
      await ctx.step('s', (call) => step(call as unknown as AnyCall))
      await ctx.step(name, () => 1)
      await ctx.sleep('1 hour')
    })
    const process = open(definition('a'))
    await process.runs.start(definition('a'), 0, { id: ID })
    await process.runs.drive(ID)
    const world = await process.crash()
    const next = world.boot(definition('b'))
    expect(await next.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(world.record().generation).toBe(2)
    expect(seen).toEqual([undefined, undefined])
  })

  test('a step that never waits for anything but memos still lets the host work', async () => {
    let turns = 0
    const w = stepping(async ({ memo }) => {
      const tick = (): void => { turns++; timer = setImmediate(tick) }
      let timer = setImmediate(tick)
      for (let i = 0; i < 1000; i++) await memo.get(i)
      clearImmediate(timer)
      return 1
    })
    const process = open(w)
    await process.run(w)
    expect(turns).toBeGreaterThan(3)
  })
})

describe('an attempt that is over', () => {
  test('T-107: keeps nothing more: it returned, timed out, was cancelled, or the run ended', async () => {
    const calls: { readonly why: string; readonly memo: Memo }[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx, why: string) => {
      const body = ({ memo }: AnyCall): unknown => {
        calls.push({ why, memo })
        return why === 'returns' || why === 'throws' ? undefined : new Promise(() => {})
      }
      const step = ctx.step('s', (call) => {
        const value = body(call as unknown as AnyCall)
        if (why === 'throws') throw new Error('no')
        return value
      }, { timeout: '1 minute', retry: { limit: 0 } })
      if (why === 'ends') await ctx.sleep('1 second')
      else await step.catch(() => {})
    })
    const causes: Record<string, string | undefined> = { returns: undefined, throws: 'no', 'times out': 'step_timeout', cancelled: 'cancelled', ends: 'cancelled' }
    for (const why of Object.keys(causes)) {
      const process = open(w)
      await process.runs.start(w, why, { id: ID })
      const drive = await process.begin()
      if (why === 'times out') await process.pass(60_000)
      if (why === 'cancelled') await process.runs.cancel(ID)
      if (why === 'ends') await process.pass(1000)
      await drive.end
      const memo = calls.at(-1)?.memo as Memo
      for (const call of [() => memo.get('k'), () => memo.has('k'), () => memo.put('k', 1), () => memo.delete('k'), () => memo('k', () => 1)]) {
        const error = await errorOf(call)
        expect(error, why).toMatchObject({ code: 'attempt_over', kind: 'conflict', details: { key: 's', attempt: 1 } })
        const cause = error.cause as { code?: string; message: string } | undefined
        expect(cause?.code ?? cause?.message, why).toBe(causes[why])
      }
      expect(process.world.shelf.open(ID).keys('memo', { limit: 9 }), why).toEqual([])
    }
    expect(calls.map(({ why }) => why)).toEqual(Object.keys(causes))
  })

  test('T-107: what was made too late is not kept', async () => {
    const made = gate<string>()
    const heard = gate<unknown>()
    const w = stepping(({ memo, attempt }) => {
      if (attempt > 1) return memo.get('k')
      memo('k', () => made.promise).catch(heard.open)
      return new Promise(() => {})
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.pass(600_000)
    made.open('late')
    expect(await heard.promise).toMatchObject({ code: 'attempt_over', cause: { code: 'step_timeout' } })
    await process.pass(5)
    await drive.end
    expect((await process.runs.summary(ID))).toMatchObject({ status: 'completed', output: undefined })
  })

  test('T-107: a write that waits in line when the attempt ends is not made', async () => {
    const slow = gate()
    let writes = 0
    const results: Promise<PromiseSettledResult<void>[]>[] = []
    const w = stepping(({ memo }) => {
      results.push(Promise.allSettled([memo.put('a', 1), memo.put('b', 2), memo.delete('a')]))
      return 'done'
    })
    const process = open(w, { faults: { fault: ({ batch }) => (isMemo(batch) && ++writes === 1 ? { do: 'delay', when: 'after', until: slow.promise } : undefined) } })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await drive.end
    slow.open()
    const outcomes = (await Promise.all(results))[0]?.map((each) => (each.status === 'fulfilled' ? 'written' : (each.reason as StepwellError).code))
    expect(writes).toBeLessThanOrEqual(1)
    expect(outcomes?.slice(1)).toEqual(['attempt_over', 'attempt_over'])
  })
})

describe('whose write it is', () => {
  /** A process whose drive has failed while its step `s` goes on; that step calls `next` whenever its gate opens. */
  async function outlived(next: (call: AnyCall) => unknown) {
    const other = gate()
    const go = [gate(), gate()]
    const results: unknown[] = []
    let isFirst = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await Promise.all([
        ctx.step('s', async (call) => {
          // Another process' attempt only waits.
          if (!isFirst) return new Promise(() => {})
          isFirst = false
          for (const each of go) {
            await each.promise
            results.push(await (async () => next(call as unknown as AnyCall))().catch((error: unknown) => (isStepwellError(error) ? error.code : error)))
          }
          return 'done'
        }),
        ctx.step('other', () => other.promise),
      ])
    })
    const faults: { taking: Fault | undefined; fails: boolean } = { taking: undefined, fails: true }
    const world = new World()
    const process = world.boot(w, { faults: { fault: ({ batch }) => {
      if (batch?.expect.kind === 'head' && batch.entries !== undefined && faults.fails) {
        faults.fails = false
        return { do: 'fail' }
      }
      if (batch?.row !== undefined && batch.entries === undefined && faults.taking !== undefined) {
        const fault = faults.taking
        faults.taking = undefined
        return fault
      }
      return undefined
    } } })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    other.open()
    expect(await drive.end).toMatchObject({ kind: 'unavailable' })
    expect(world.row().epoch).toBe(2)
    return { process, world, w, go, results, faults }
  }

  const put = async ({ memo }: AnyCall): Promise<string> => {
    await memo.put('k', 1)
    return 'written'
  }

  test('G6: a step that outlived its drive goes on writing while its driver takes the next epoch, and after', async () => {
    const { process, world, go, results, faults } = await outlived(put)
    const answer = gate()
    faults.taking = { do: 'delay', when: 'after', until: answer.promise }
    const drive = await process.begin()
    expect(world.row().epoch).toBe(3)
    go[0]?.open()
    await process.idle()
    // The epoch is in the store and its driver has not heard of it.
    expect(results).toEqual([])
    answer.open()
    await process.idle()
    expect(results).toEqual(['written'])
    go[1]?.open()
    expect(await drive.end).toEqual({ kind: 'ended', status: 'completed' })
    expect(results).toEqual(['written', 'written'])
  })

  test('G6: a write that meets the take-over in the store is made again with the new epoch', async () => {
    const { process, world, go, results } = await outlived(put)
    // The store is at the next epoch when it looks at the write, and the driver knows it when the answer comes.
    const store = world.shelf.open(ID)
    const commit = store.commit.bind(store)
    const handle = await process.handle()
    let raced = false
    handle.commit = (batch) => {
      if (batch.expect.kind !== 'epoch' || raced) return commit(batch)
      raced = true
      const epoch = batch.expect.epoch
      return process.begin().then(() => {
        expect(epoch).toBe(2)
        return commit(batch)
      })
    }
    go[0]?.open()
    await process.idle(20)
    expect(results).toEqual(['written'])
    go[1]?.open()
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('G6: an epoch that was read and not taken is somebody else\'s: the step does not write with it', async () => {
    const { process, world, w, go, results, faults } = await outlived(put)
    const elsewhere = world.boot(w)
    await elsewhere.begin()
    expect(world.row().epoch).toBe(3)
    go[0]?.open()
    await process.idle()
    expect(results).toEqual(['stale_epoch'])
    // Its own driver has read epoch 3 and can't take the next one.
    const refused = gate()
    faults.taking = { do: 'delay', when: 'before', until: refused.promise }
    const drive = await process.begin()
    go[1]?.open()
    await process.idle()
    expect(results).not.toContain('written')
    await elsewhere.crash()
    const third = world.boot(w)
    await third.begin()
    expect(world.row().epoch).toBe(4)
    refused.open()
    expect(await drive.end).toEqual({ kind: 'superseded' })
    await process.idle()
    expect(results).toEqual(['stale_epoch', 'stale_epoch'])
    expect(world.shelf.open(ID).keys('memo', { limit: 9 })).toEqual([])
  })

  test('G6: a run that was removed takes no memo, and a new one of its id finds none', async () => {
    const { process, world, go, results } = await outlived(put)
    world.shelf.open(ID).destroy()
    go[0]?.open()
    await process.idle()
    expect(results).toEqual(['run_not_found'])
    expect(world.shelf.open(ID).keys('memo', { limit: 9 })).toEqual([])
  })
})

function memoOn(store: RunStore, place: { step?: string; generation?: number; incarnation?: string } = {}): Memo {
  const within = <T>(answer: T): T => answer
  return createMemo(
    { store, host: new TestHost({ quiesce }), limits: defaultLimits, authority: () => ({ epoch: 1, within }) },
    { incarnation: 'a', generation: 1, step: 's', ...place },
    () => undefined,
  )
}

async function start(store: RunStore): Promise<void> {
  expect(await store.commit({ expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: null, record: new Uint8Array(0) } })).toEqual({ kind: 'committed' })
}
