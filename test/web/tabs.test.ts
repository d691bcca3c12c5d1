import { afterEach, describe, expect, test, vi } from 'vitest'
import { Driver } from '../../src/engine/drive.ts'
import { startRun } from '../../src/engine/start.ts'
import { registry } from '../../src/define.ts'
import { defaultLimits, workflow } from '../../src/index.ts'
import { createBrowserHost } from '../../web/host.ts'
import { createRunLocks } from '../../web/locks.ts'
import { any, freshName, Gate, Ledger, logs, open, openShelf, sleep, until } from './support.ts'

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

/** Web Locks, the database and BroadcastChannel know hosts, not tabs: two of them in one page are strangers, as two tabs are. */
describe('two hosts over one database', () => {
  test('never both drive one run, and each step runs once', async () => {
    const inside = new Map<string, number>()
    const ledger = new Ledger()
    let most = 0
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
      for (let i = 0; i < 4; i++) {
        await ctx.step(`s${i}`, async ({ runId }) => {
          const now = (inside.get(runId) ?? 0) + 1
          inside.set(runId, now)
          most = Math.max(most, now)
          ledger.note(`${runId} s${i}`)
          await sleep(i * 3)
          inside.set(runId, (inside.get(runId) ?? 0) - 1)
        })
        await ctx.sleep(60)
      }
    })
    const name = freshName()
    // Runs park after each step, so each wake is a new race for the lock.
    const limits = { stayAwakeMs: 10 }
    const [a, b] = [await open({ name, workflows: [flow], limits }), await open({ name, workflows: [flow], limits })]
    const runs = await Promise.all(Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? a : b).start(flow, null)))
    await Promise.all(runs.map((run, i) => (i % 2 === 0 ? b : a).get(flow, run.id).result()))
    expect(most).toBe(1)
    expect(ledger.lines).toHaveLength(24 * 4)
    expect(new Set(ledger.lines).size).toBe(24 * 4)
  })

  test('fail-over: when the one that drives goes, the other goes on at once, without waiting for the run\'s timer', async () => {
    const ledger = new Ledger()
    let gate = new Gate()
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
      await ctx.step('a', () => ledger.note('a'))
      await ctx.step('b', async () => {
        ledger.note('b')
        await gate.pass()
      })
      return 'done'
    })
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const b = await open({ name, workflows: [flow] })
    const run = await a.start(flow, null)
    await gate.reached()
    const lock = `stepwell:${JSON.stringify(name)}:${run.id}`
    await until(async () => (await navigator.locks.query()).pending?.some((request) => request.name === lock) === true)
    const result = b.get(flow, run.id).result()
    gate = new Gate()
    const from = performance.now()
    await a.close()
    await gate.reached()
    // Its timer, for those whose driver has died, is half a minute away.
    expect(performance.now() - from).toBeLessThan(15_000)
    gate.open()
    expect(await result).toBe('done')
    expect(ledger.lines).toEqual(['a', 'b', 'b'])
  })

  test('a stolen lock stops the drive; the thief\'s epoch fences what is still under way, and the step\'s late end is not written', async () => {
    const gates = [new Gate(), new Gate()]
    let times = 0
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', async () => {
      const mine = times++
      await gates[mine]?.pass()
      return mine
    }))
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const run = await a.start(flow, null)
    await gates[0]?.reached()
    const lock = `stepwell:${JSON.stringify(name)}:${run.id}`
    let release = (): void => {}
    await new Promise<void>((resolve) => {
      void navigator.locks.request(lock, { steal: true }, () => {
        resolve()
        return new Promise<void>((done) => (release = done))
      })
    })
    await until(() => logs.some(({ message }) => message.includes('taken by another tab')))
    gates[0]?.open()
    await sleep(50)
    expect((await a.get(flow, run.id).status()).status).toBe('running')
    // The thief dies: whoever waits in line takes over.
    release()
    await gates[1]?.reached()
    gates[1]?.open()
    expect(await run.result()).toBe(1)
  })

  test('G6: a superseded driver\'s late commit is refused, and it ends as superseded', async () => {
    const gates = [new Gate(), new Gate()]
    let times = 0
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', async () => {
      const mine = times++
      await gates[mine]?.pass()
      return mine
    }))
    const name = freshName()
    const host = createBrowserHost({ onLog: () => {} })
    const driver = async (): Promise<Driver> => new Driver({
      store: (await openShelf(name)).open('r'), host, registry: registry([flow]), services: {}, limits: defaultLimits, takesEpoch: true,
    })
    await startRun((await openShelf(name)).open('r'), host, defaultLimits, flow, null)
    const frozen = (await driver()).drive()
    await gates[0]?.reached()
    const second = (await driver()).drive()
    await gates[1]?.reached()
    gates[0]?.open()
    expect(await frozen).toEqual({ kind: 'superseded' })
    gates[1]?.open()
    expect(await second).toEqual({ kind: 'ended', status: 'completed' })
    const well = await open({ name, workflows: [flow] })
    expect(await well.get(flow, 'r').result()).toBe(1)
    expect((await well.get(flow, 'r').journal()).items).toHaveLength(3)
  })

  test('without Web Locks the epoch alone decides: one warning, one writer, and the other leaves it alone', async () => {
    vi.spyOn(navigator, 'locks', 'get').mockReturnValue(undefined as never)
    const gates = [new Gate(), new Gate()]
    let times = 0
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', async () => {
      const mine = times++
      await gates[mine]?.pass()
      return mine
    }))
    const name = freshName()
    const limits = { recoveryMs: 300 }
    const a = await open({ name, workflows: [flow], limits })
    expect(logs.filter(({ message }) => message.includes('no Web Locks here'))).toHaveLength(1)
    const run = await a.start(flow, null)
    await gates[0]?.reached()
    const b = await open({ name, workflows: [flow], limits: { recoveryMs: 60_000 } })
    // Nobody can tell whether its driver lives, before its wake time has passed.
    await sleep(100)
    expect(times).toBe(1)
    await gates[1]?.reached()
    gates[0]?.open()
    await until(() => logs.some(({ message }) => message.includes('another tab drives it now')))
    gates[1]?.open()
    expect(await b.get(flow, run.id).result()).toBe(1)
    expect(times).toBe(2)
  })

  test('cancel from the other one ends a run whose step is running here', async () => {
    const gate = new Gate()
    const ledger = new Ledger()
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', async ({ abortSignal }) => {
      abortSignal.addEventListener('abort', () => ledger.note('aborted'))
      await gate.pass()
    }))
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const b = await open({ name, workflows: [flow] })
    const run = await a.start(flow, null)
    const result = run.result()
    await gate.reached()
    const [outcome] = await Promise.all([b.get(flow, run.id).cancel({ reason: 'no' }), expect(result).rejects.toMatchObject({ code: 'cancelled' })])
    expect(outcome).toEqual({ outcome: 'cancelled', status: 'cancelled' })
    expect(ledger.lines).toEqual(['aborted'])
  })

  test('cancel from the other one ends a run that nobody drives', async () => {
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.sleep('2 days'))
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const b = await open({ name, workflows: [flow] })
    const run = await a.start(flow, null)
    await until(async () => (await run.status()).status === 'waiting')
    expect(await b.get(flow, run.id).cancel()).toEqual({ outcome: 'cancelled', status: 'cancelled' })
  })

  test('a message whose hint is lost is found: when the run parks, and when its page looks again', async () => {
    vi.stubGlobal('BroadcastChannel', undefined)
    const gates = [new Gate(), new Gate()]
    const flow = workflow({ name: 'flow', input: any<number>() }, async (ctx, n) => {
      await ctx.step('s', () => gates[n]?.pass())
      await ctx.sleep('1 day')
    })
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const b = await open({ name, workflows: [flow] })
    const run = await a.start(flow, 0)
    await gates[0]?.reached()
    expect(await b.get(flow, run.id).cancel()).toMatchObject({ outcome: 'requested' })
    gates[0]?.open()
    await expect(run.result()).rejects.toMatchObject({ code: 'cancelled' })
    const stuck = await a.start(flow, 1)
    await gates[1]?.reached()
    expect(await b.get(flow, stuck.id).cancel()).toMatchObject({ outcome: 'requested' })
    dispatchEvent(new Event('focus'))
    await expect(stuck.result()).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('result is told of an end in the other one; without BroadcastChannel it finds it by looking', async () => {
    const gates = [new Gate(), new Gate()]
    const flow = workflow({ name: 'flow', input: any<number>() }, async (ctx, n) => ctx.step('s', async () => {
      await gates[n]?.pass()
      return n
    }))
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const b = await open({ name, workflows: [flow] })
    const first = await a.start(flow, 0)
    const told = b.get(flow, first.id).result()
    const changes: string[] = []
    b.subscribe((runIds) => changes.push(...runIds))
    gates[0]?.open()
    expect(await told).toBe(0)
    await until(() => changes.includes(first.id))
    vi.stubGlobal('BroadcastChannel', undefined)
    const c = await open({ name, workflows: [flow] })
    const second = await a.start(flow, 1)
    const found = c.get(flow, second.id).result()
    gates[1]?.open()
    expect(await found).toBe(1)
  })

  test('a run that another one started with a delay, and left, is noticed', async () => {
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', () => 'ran'))
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const b = await open({ name, workflows: [flow] })
    const run = await a.start(flow, null, { delay: 1_500 })
    await a.close()
    expect(await b.get(flow, run.id).result()).toBe('ran')
  })

  test('destroy deletes the database though another one has it open; that one then has no runs', async () => {
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', () => 1))
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const b = await open({ name, workflows: [flow] })
    await (await a.start(flow, null)).result()
    expect(await b.runs()).toHaveLength(1)
    await a.destroy()
    expect(await b.runs()).toEqual([])
    expect(await (await b.start(flow, null)).result()).toBe(1)
  })
})

describe('the locks', () => {
  test('take answers undefined while it is held; wait gets it when it is given back, and gives up when told to', async () => {
    const name = freshName()
    const [a, b] = [createRunLocks(name, navigator.locks), createRunLocks(name, navigator.locks)]
    const held = await a.take('r', () => {})
    expect(held).toBeDefined()
    expect(await b.take('r', () => {})).toBeUndefined()
    expect(await b.take('r:2', () => {})).toBeDefined()
    const abort = new AbortController()
    const given = b.wait('r', () => {}, abort.signal)
    abort.abort()
    expect(await given).toBeUndefined()
    const waiting = b.wait('r', () => {}, new AbortController().signal)
    held?.release()
    const got = await waiting
    expect(got).toBeDefined()
    expect(await a.take('r', () => {})).toBeUndefined()
    got?.release()
    held?.release()
    // Giving it back takes a moment.
    await until(async () => (await a.take('r', () => {})) !== undefined)
  })

  test('a database and a run whose names could be read in two ways share no lock', async () => {
    const one = createRunLocks('a', navigator.locks)
    const two = createRunLocks('a":"b', navigator.locks)
    const held = [await one.take('b":c', () => {}), await two.take('c', () => {})]
    expect(held.every((lock) => lock !== undefined)).toBe(true)
    for (const lock of held) lock?.release()
  })
})
