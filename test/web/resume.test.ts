import { afterEach, describe, expect, test, vi } from 'vitest'
import { defaultLimits, workflow } from '../../src/index.ts'
import { startRun } from '../../src/engine/start.ts'
import { createBrowserHost } from '../../web/host.ts'
import { any, freshName, Gate, Ledger, logs, open, openShelf, sleep, until } from './support.ts'

afterEach(() => void vi.restoreAllMocks())

describe('opening again', () => {
  test('G2: goes on in the middle; no committed step runs again, the open one does, with its key', async () => {
    const ledger = new Ledger()
    let gate = new Gate()
    const keys: string[] = []
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
      const a = await ctx.step('a', () => { ledger.note('a'); return 1 })
      const b = await ctx.step('b', async ({ idempotencyKey }) => {
        ledger.note('b')
        keys.push(idempotencyKey)
        await gate.pass()
        return 2
      })
      const c = await ctx.step('c', () => { ledger.note('c'); return 3 })
      return a + b + c
    })
    const name = freshName()
    const first = await open({ name, workflows: [flow] })
    const run = await first.start(flow, null)
    await gate.reached()
    const waiting = run.result()
    await Promise.all([
      expect(waiting).rejects.toMatchObject({ code: 'store_unavailable' }),
      first.close(),
    ])
    gate.open()
    await sleep(50)
    gate = new Gate()
    const second = await open({ name, workflows: [flow] })
    await gate.reached()
    gate.open()
    expect(await second.get(flow, run.id).result()).toBe(6)
    expect(ledger.lines).toEqual(['a', 'b', 'b', 'c'])
    expect(new Set(keys).size).toBe(1)
  })

  test('a step that ends after close() writes nothing', async () => {
    const gate = new Gate()
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', () => gate.pass()))
    const name = freshName()
    const well = await open({ name, workflows: [flow] })
    const run = await well.start(flow, null)
    await gate.reached()
    await well.close()
    gate.open()
    await sleep(50)
    const shelf = await openShelf(name)
    expect(await shelf.open(run.id).entries(0, 10)).toHaveLength(1)
    await expect(well.start(flow, null)).rejects.toMatchObject({ code: 'store_unavailable' })
    await expect(run.status()).rejects.toMatchObject({ code: 'store_unavailable' })
  })

  test('G19: a timer that came due while everything was closed fires once, on open', async () => {
    const ledger = new Ledger()
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
      await ctx.sleep(150)
      await ctx.step('after', () => ledger.note('after'))
    })
    const name = freshName()
    const limits = { stayAwakeMs: 20 }
    const first = await open({ name, workflows: [flow], limits })
    const run = await first.start(flow, null)
    await until(async () => (await run.status()).status === 'waiting')
    await first.close()
    await sleep(250)
    expect(ledger.lines).toEqual([])
    const second = await open({ name, workflows: [flow], limits })
    const again = second.get(flow, run.id)
    await again.result()
    expect(ledger.lines).toEqual(['after'])
    expect((await again.journal()).items.filter(({ kind }) => kind === 'timer_fired')).toHaveLength(1)
  })

  test('G19: a timer that is half over keeps its remaining time', async () => {
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.sleep(2_400))
    const name = freshName()
    const limits = { stayAwakeMs: 20 }
    const first = await open({ name, workflows: [flow], limits })
    const run = await first.start(flow, null)
    await until(async () => (await run.status()).status === 'waiting')
    const due = (await run.status()).waitingFor[0]?.dueAt as number
    await first.close()
    await sleep(1_800)
    const opened = Date.now()
    const second = await open({ name, workflows: [flow], limits })
    await second.get(flow, run.id).result()
    const { items } = await second.get(flow, run.id).journal()
    const fired = items.find(({ kind }) => kind === 'timer_fired')
    expect(fired?.dueAt).toBe(due)
    expect(fired?.at).toBeGreaterThanOrEqual(due)
    // The whole time again would not be over before that.
    expect(fired?.at).toBeLessThan(opened + 2_400)
  })

  test('G6: a run whose version or workflow this page does not know is not touched: same row, same epoch', async () => {
    let gate = new Gate()
    const one = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('old', () => 1))
    const two = workflow({ name: 'flow', version: 2, input: any<null>() }, async (ctx) => ctx.step('new', async () => {
      await gate.pass()
      return 2
    }))
    const other = workflow({ name: 'other', version: 2, input: any<null>() }, async (ctx) => ctx.step('o', () => 3))
    const name = freshName()
    const limits = { recoveryMs: 100 }
    const newer = await open({ name, workflows: [two, other], limits })
    const run = await newer.start(two, null)
    await gate.reached()
    const later = await newer.start(other, null, { delay: 150 })
    await newer.close()
    gate.open()
    const shelf = await openShelf(name)
    const before = [await shelf.open(run.id).read(), await shelf.open(later.id).read()]
    const older = await open({ name, workflows: [one], limits })
    await sleep(400)
    // Not even when it is asked to: a cancel is stored for whoever knows the run.
    expect(await older.get(one, run.id).cancel()).toMatchObject({ outcome: 'requested', status: 'running' })
    const after = [await shelf.open(run.id).read(), await shelf.open(later.id).read()]
    expect(after[0]).toEqual({ ...before[0], inbox: 1 })
    expect(after[1]).toEqual(before[1])
    expect(logs.filter(({ runId, level }) => runId === run.id && level === 'warn')).toHaveLength(1)
    gate = new Gate()
    const again = await open({ name, workflows: [two, other], limits })
    await expect(again.get(two, run.id).result()).rejects.toMatchObject({ code: 'cancelled' })
    expect(await again.get(other, later.id).result()).toBe(3)
  })

  test('a damaged run is blocked or left by itself; every other run goes on', async () => {
    const flow = workflow({ name: 'flow', input: any<number>() }, async (ctx, n) => {
      await ctx.sleep(100)
      return ctx.step('s', () => n)
    })
    const name = freshName()
    const limits = { stayAwakeMs: 20 }
    const first = await open({ name, workflows: [flow], limits })
    const runs = await Promise.all([1, 2, 3].map((n) => first.start(flow, n, { id: `run-${n}` })))
    await until(async () => (await first.runs()).every(({ status }) => status === 'waiting' || status === 'completed'))
    await first.close()
    const db = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(name)
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(request.error)
    })
    const tx = db.transaction('run', 'readwrite')
    const row = await new Promise<object>((resolve) => (tx.objectStore('run').get('run-2').onsuccess = (event) => resolve((event.target as IDBRequest<object>).result)))
    tx.objectStore('run').put({ ...row, record: new Uint8Array([1, 2, 3]), wakeAt: 1 })
    await new Promise((resolve) => (tx.oncomplete = resolve))
    db.close()
    const second = await open({ name, workflows: [flow], limits })
    expect(await second.get(flow, 'run-1').result()).toBe(1)
    expect(await second.get(flow, 'run-3').result()).toBe(3)
    await expect(second.get(flow, 'run-2').status()).rejects.toMatchObject({ code: 'corrupt_run' })
    expect((await second.runs()).find(({ id }) => id === 'run-2')).toMatchObject({ status: 'blocked', blocked: { code: 'corrupt_run' } })
    expect(runs).toHaveLength(3)
  })

  test('a workflow with a bug is blocked, and the next page with a fixed one goes on', async () => {
    const ledger = new Ledger()
    const define = (isFixed: boolean) => workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
      await ctx.step('once', () => ledger.note('once'))
      if (!isFixed) (undefined as unknown as { x(): void }).x()
      return ctx.step('then', () => 7)
    })
    const name = freshName()
    const broken = define(false)
    const first = await open({ name, workflows: [broken] })
    const run = await first.start(broken, null)
    await until(async () => (await run.status()).status === 'blocked')
    expect((await run.status()).blocked).toMatchObject({ code: 'workflow_bug', curable: true })
    await first.close()
    const fixed = define(true)
    const second = await open({ name, workflows: [fixed] })
    expect(await second.get(fixed, run.id).result()).toBe(7)
    expect(ledger.lines).toEqual(['once'])
  })

  test('due timers go before runs that were cut off, and these before what must wait', async () => {
    const order: string[] = []
    const flow = workflow({ name: 'flow', input: any<string>() }, async (ctx, what) => {
      if (what === 'timer') await ctx.sleep('1 hour')
      await ctx.step('s', () => order.push(what))
    })
    const name = freshName()
    const limits = { stayAwakeMs: 10 }
    const first = await open({ name, workflows: [flow], limits })
    const timers = await Promise.all([1, 2, 3].map((n) => first.start(flow, 'timer', { id: `timer-${n}` })))
    await until(async () => (await first.runs()).every(({ status }) => status === 'waiting'))
    await first.close()
    const shelf = await openShelf(name)
    // Two hours later, so that the timers are due: a real wait would race with a slow machine.
    const { now } = Date
    vi.spyOn(Date, 'now').mockImplementation(() => now() + 7_200_000)
    for (let n = 0; n < 3; n++) {
      await startRun(shelf.open(`a-queued-${n}`), { ...createBrowserHost(), now: () => Date.now() - 60_000 }, defaultLimits, flow, 'queued')
    }
    const second = await open({ name, workflows: [flow], limits, maxDrives: 1 })
    await Promise.all([...timers.map(({ id }) => second.get(flow, id).result()), second.get(flow, 'a-queued-2').result()])
    expect(order).toEqual(['timer', 'timer', 'timer', 'queued', 'queued', 'queued'])
  })

  test('bfcache: on pagehide everything is let go, on pageshow the page reads again and goes on', async () => {
    const ledger = new Ledger()
    let gate = new Gate()
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
      await ctx.step('a', () => ledger.note('a'))
      await ctx.step('b', async () => {
        ledger.note('b')
        await gate.pass()
      })
    })
    const name = freshName()
    const well = await open({ name, workflows: [flow] })
    const run = await well.start(flow, null)
    const result = run.result()
    await gate.reached()
    const lock = `stepwell:${JSON.stringify(name)}:${run.id}`
    const isHeld = async (): Promise<boolean> => (await navigator.locks.query()).held?.some((held) => held.name === lock) === true
    expect(await isHeld()).toBe(true)
    const old = gate
    gate = new Gate()
    dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))
    await until(async () => !(await isHeld()))
    // The database is free: it can be deleted, or upgraded, by others.
    old.open()
    await sleep(50)
    expect(ledger.lines).toEqual(['a', 'b'])
    dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))
    await gate.reached()
    gate.open()
    await result
    expect(ledger.lines).toEqual(['a', 'b', 'b'])
  })
})

describe('a computer that slept', () => {

  const events: readonly [string, () => void][] = [
    ['visibilitychange', () => document.dispatchEvent(new Event('visibilitychange'))],
    ['resume', () => document.dispatchEvent(new Event('resume'))],
    ['pageshow', () => dispatchEvent(new PageTransitionEvent('pageshow'))],
    ['online', () => dispatchEvent(new Event('online'))],
    ['focus', () => dispatchEvent(new Event('focus'))],
    ['online, focus and visibilitychange together', () => {
      for (const event of [new Event('online'), new Event('focus'), new Event('online')]) dispatchEvent(event)
      document.dispatchEvent(new Event('visibilitychange'))
    }],
  ]
  for (const [name, happen] of events) {
    test(`notices on ${name} that an hour has passed, though no timer fired: once`, async () => {
      const ledger = new Ledger()
      const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
        await ctx.sleep('1 hour')
        await ctx.step('after', () => ledger.note('after'))
      })
      const well = await open({ name: freshName(), workflows: [flow] })
      const run = await well.start(flow, null)
      await until(async () => (await run.status()).status === 'waiting')
      const { now } = Date
      vi.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000)
      await sleep(50)
      expect(ledger.lines).toEqual([])
      happen()
      await run.result()
      expect(ledger.lines).toEqual(['after'])
    })
  }
})

describe('many runs', () => {
  test('1,000 runs that wait for this page: at most 16 at once, and the page does not freeze', async () => {
    let inside = 0
    let most = 0
    const flow = workflow({ name: 'flow', input: any<number>() }, async (ctx, n) => ctx.step('s', async () => {
      most = Math.max(most, ++inside)
      await sleep(0)
      inside--
      return n
    }))
    const name = freshName()
    const shelf = await openShelf(name)
    const host = createBrowserHost()
    const ids = Array.from({ length: 1_000 }, (_, i) => `run-${i}`)
    for (let at = 0; at < ids.length; at += 100) {
      await Promise.all(ids.slice(at, at + 100).map((id, i) => startRun(shelf.open(id), host, defaultLimits, flow, at + i)))
    }
    let longest = 0
    let last = performance.now()
    const ticks = setInterval(() => {
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }, 5)
    const from = performance.now()
    const well = await open({ name, workflows: [flow] })
    const opened = performance.now() - from
    await until(async () => (await shelf.due(1)).length === 0, 120_000)
    const ms = performance.now() - from
    clearInterval(ticks)
    console.info(`1,000 runs: open ${opened.toFixed(0)} ms, all ended ${ms.toFixed(0)} ms, longest pause ${longest.toFixed(0)} ms, ${most} at once`)
    expect(await well.get(flow, 'run-999').result()).toBe(999)
    expect(most).toBeLessThanOrEqual(16)
    expect(longest).toBeLessThan(10_000)
  }, 150_000)
})
