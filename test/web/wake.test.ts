// G19, G29: when the runs of a page are looked at, and in which order. The scheduler alone: what a visit finds is the test's word, and
// time is virtual.

import { beforeEach, describe, expect, test } from 'vitest'
import type { Shelf } from '../../src/store/store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { createBrowserHost } from '../../web/host.ts'
import { type Look, type Visit, type VisitOptions, Wake, type WakeInit } from '../../web/wake.ts'

const SECOND = 1000
const MINUTE = 60_000
const never: Visit = { kind: 'at', at: null }

let host: TestHost
/** Due times, as the index of the database has them. */
let due: Map<string, number>
let visits: string[]
let given: VisitOptions[]
let looks: number

beforeEach(() => {
  host = new TestHost({ quiesce: createBrowserHost().quiesce })
  due = new Map()
  visits = []
  given = []
  looks = 0
})

/** By default a visit ends the run. */
function scheduler(init: Partial<WakeInit> = {}): Wake {
  const shelf: Pick<Shelf, 'due'> = {
    due: async (limit) => [...due].map(([runId, wakeAt]) => ({ runId, wakeAt })).sort((a, b) => a.wakeAt - b.wakeAt).slice(0, limit),
  }
  const { visit = (runId) => { due.delete(runId); return Promise.resolve(never) }, ...more } = init
  return new Wake({
    shelf: shelf as Shelf, host, maxDrives: 4, look: (runId) => Promise.resolve((due.get(runId) ?? 0) <= host.now() ? 'due' : 'later'), onLook: () => { looks++ }, ...more,
    visit: (runId, options) => {
      visits.push(runId)
      given.push(options)
      return visit(runId, options)
    },
  })
}

async function idle(): Promise<void> {
  for (let i = 0; i < 20; i++) await host.quiesce()
}

async function pass(ms: number): Promise<void> {
  const end = host.now() + ms
  for (;;) {
    await idle()
    if (!host.fireNext(end)) break
  }
  host.advanceTo(end)
  await idle()
}

const runs = (n: number, at: number): string[] => Array.from({ length: n }, (_, i) => {
  due.set(`run-${i}`, at + i)
  return `run-${i}`
})

/** Visits that the test ends. */
function held(): { readonly visit: WakeInit['visit']; end(runId: string, visit?: Visit): void; readonly open: () => readonly string[] } {
  const open = new Map<string, (visit: Visit) => void>()
  return {
    visit: (runId) => new Promise((resolve) => { open.set(runId, resolve) }),
    end: (runId, visit = never) => {
      const resolve = open.get(runId)
      open.delete(runId)
      due.delete(runId)
      resolve?.(visit)
    },
    open: () => [...open.keys()],
  }
}

describe('when', () => {
  test('G19: a run is visited when its time has come, and not before', async () => {
    const wake = scheduler()
    due.set('a', host.now() + 90 * SECOND)
    await wake.open()
    await pass(90 * SECOND - 1)
    expect(visits).toEqual([])
    await pass(1)
    expect(visits).toEqual(['a'])
  })

  test('G19: due times are compared with the clock once a minute at least: what another tab has left behind, and a clock that jumped, are noticed', async () => {
    const wake = scheduler()
    await wake.open()
    await pass(10 * SECOND)
    const before = looks
    due.set('late', host.now() + 5 * SECOND)
    await pass(50 * SECOND)
    expect(looks).toBeGreaterThan(before)
    expect(visits).toEqual(['late'])
    const far = looks
    await pass(10 * MINUTE)
    expect(looks - far).toBeGreaterThanOrEqual(10)
    expect(looks - far).toBeLessThanOrEqual(11)
  })

  test('a visit that says when to look again is looked at then, and one that says nothing never', async () => {
    const visit: WakeInit['visit'] = (runId) => {
      const at = visits.length < 3 ? host.now() + 7 * SECOND : null
      if (at === null) due.delete(runId)
      else due.set(runId, at)
      return Promise.resolve({ kind: 'at', at })
    }
    const wake = scheduler({ visit })
    due.set('a', host.now())
    await wake.open()
    await pass(7 * SECOND - 1)
    expect(visits).toEqual(['a'])
    await pass(1)
    expect(visits).toEqual(['a', 'a'])
    await pass(7 * SECOND)
    expect(visits).toEqual(['a', 'a', 'a'])
    await pass(10 * MINUTE)
    expect(visits).toEqual(['a', 'a', 'a'])
  })

  test('what comes while the store is read is looked for once more, and not by two at once', async () => {
    const answers: (() => void)[] = []
    const shelf = { due: () => new Promise((resolve) => {
      const page = [...due].map(([runId, wakeAt]) => ({ runId, wakeAt }))
      answers.push(() => { resolve(page) })
    }) } as unknown as Shelf
    const wake = scheduler({ shelf })
    void wake.open()
    await idle()
    answers.shift()?.()
    await idle()
    expect(answers).toHaveLength(1)
    due.set('a', host.now())
    void wake.look()
    void wake.look()
    await idle()
    expect(answers).toHaveLength(1)
    answers.shift()?.()
    await idle()
    answers.shift()?.()
    await idle()
    expect(visits).toEqual(['a'])
    expect(answers).toEqual([])
  })

  test('G29: far more due runs than one look takes in are all visited, without a wait', async () => {
    const all = runs(300, host.now() - 10 * SECOND)
    const wake = scheduler()
    // They came due after the page was opened, and while nobody looked.
    const stored = new Map(due)
    due.clear()
    await wake.open()
    for (const [runId, at] of stored) due.set(runId, at)
    await wake.look()
    await idle()
    for (let i = 0; i < 300 && due.size > 0; i++) await idle()
    expect(visits).toEqual(all)
  })
})

describe('in which order', () => {
  test('what the user asks for comes before what is due, and that before what was cut off; at most so many at once', async () => {
    const { visit, end, open } = held()
    const wake = scheduler({ visit, maxDrives: 1 })
    await wake.open()
    wake.want('first', {}, 0)
    wake.want('cut off', {}, 2)
    wake.want('due', {}, 1)
    wake.want('asked', {}, 0)
    await idle()
    for (const next of ['first', 'asked', 'due', 'cut off']) {
      expect(open()).toEqual([next])
      expect(wake.hasRoom).toBe(false)
      end(next)
      await idle()
    }
    expect(wake.hasRoom).toBe(true)
  })

  test('a run that is wanted twice is visited once, with all that was said, at the better of its two places', async () => {
    const { visit, end } = held()
    const wake = scheduler({ visit, maxDrives: 1 })
    await wake.open()
    wake.want('busy')
    wake.want('other', {}, 1)
    wake.want('a', { isOpening: true }, 2)
    wake.want('a', { isPoked: true }, 0)
    wake.want('b', { isPoked: true }, 0)
    wake.want('b', { isSeen: true }, 2)
    for (const runId of ['busy', 'a', 'b', 'other']) {
      end(runId)
      await idle()
    }
    expect(visits).toEqual(['busy', 'a', 'b', 'other'])
    expect(given[1]).toEqual({ isOpening: true, isPoked: true })
    expect(given[2]).toEqual({ isPoked: true, isSeen: true })
  })

  test('one that is wanted while it is visited is visited once more, and not at the same time', async () => {
    const { visit, end, open } = held()
    const wake = scheduler({ visit })
    await wake.open()
    wake.want('a')
    wake.want('a', { isPoked: true })
    wake.want('a', { isSeen: true })
    await idle()
    expect(visits).toEqual(['a'])
    end('a')
    await idle()
    expect(visits).toEqual(['a', 'a'])
    expect(given[1]).toEqual({ isPoked: true, isSeen: true })
    end('a')
    await idle()
    expect([visits, open()]).toEqual([['a', 'a'], []])
  })

  test('at the opening: timers that are due first, then the others, what is not ours not at all', async () => {
    const looked: Readonly<Record<string, Look>> = { 'run-0': 'due', 'run-1': 'left', 'run-2': 'timer', 'run-3': 'later', 'run-4': 'due', 'run-5': 'timer' }
    runs(6, host.now() - 10)
    due.set('run-3', host.now() + MINUTE)
    const { visit, end } = held()
    const wake = scheduler({ visit, maxDrives: 1, look: (runId) => Promise.resolve(looked[runId] as Look) })
    await wake.open()
    await idle()
    for (const runId of ['run-2', 'run-5', 'run-0', 'run-4']) {
      expect(visits.at(-1)).toBe(runId)
      expect(given.at(-1)).toEqual({ isOpening: true, isSeen: true })
      end(runId)
      await idle()
    }
    await pass(30 * SECOND)
    expect(visits).toEqual(['run-2', 'run-5', 'run-0', 'run-4'])
    end('run-3')
    // Ours again when somebody says so.
    wake.want('run-1')
    await idle()
    expect(visits.at(-1)).toBe('run-1')
  })
})

describe('what can\'t be done', () => {
  test('a run that another tab has is left until it is wanted, though it stays due, and keeps no other from being found', async () => {
    const all = runs(200, host.now() - MINUTE)
    const wake = scheduler({ visit: (runId) => {
      if (runId === 'run-199') due.delete(runId)
      return Promise.resolve(runId === 'run-199' ? never : { kind: 'left' })
    } })
    due.delete('run-199')
    await wake.open()
    await idle()
    expect(visits.toSorted()).toEqual(all.slice(0, 199).toSorted())
    due.set('run-199', host.now())
    await pass(3 * MINUTE)
    expect(visits.slice(199)).toEqual(['run-199'])
    wake.want('run-7')
    await idle()
    expect(visits.slice(200)).toEqual(['run-7'])
  })

  test('G29: a run that fails is tried again after a back-off that doubles up to a minute, and begins anew after a success; others are not kept', async () => {
    let fails = 9
    const times: number[] = []
    const wake = scheduler({ visit: (runId) => {
      if (runId !== 'bad') {
        due.delete(runId)
        return Promise.resolve(never)
      }
      times.push(host.now())
      if (fails-- > 0) return Promise.resolve({ kind: 'retry' })
      due.delete('bad')
      return Promise.resolve(never)
    } })
    due.set('bad', host.now())
    await wake.open()
    due.set('good', host.now() + 3 * SECOND)
    await pass(3 * SECOND)
    expect(visits.filter((runId) => runId === 'good')).toEqual(['good'])
    await pass(5 * MINUTE)
    expect(times.slice(1).map((at, i) => at - (times[i] as number))).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000])
    fails = 1
    times.length = 0
    wake.want('bad')
    await pass(MINUTE)
    expect(times.map((at) => at - (times[0] as number))).toEqual([0, 500])
  })

  test('one that says when to try again is not tried before', async () => {
    let tries = 0
    const wake = scheduler({ visit: () => Promise.resolve(tries++ === 0 ? { kind: 'retry', at: host.now() + 20 * SECOND } : never) })
    await wake.open()
    wake.want('a')
    await pass(20 * SECOND - 1)
    expect(tries).toBe(1)
    await pass(1)
    expect(tries).toBe(2)
  })

  test('G29: a store that can\'t be read is read again, ever more rarely, and what is due is found then', async () => {
    let fails = 4
    const reads: number[] = []
    const shelf = { due: () => {
      reads.push(host.now())
      return fails-- > 0 ? Promise.reject(new Error('gone')) : Promise.resolve([...due].map(([runId, wakeAt]) => ({ runId, wakeAt })))
    } } as unknown as Shelf
    const wake = scheduler({ shelf })
    due.set('a', host.now())
    await wake.open()
    await pass(20 * SECOND)
    expect(visits).toEqual(['a'])
    // Twice at the opening: what is to be taken in, and what is due.
    expect(reads.slice(0, 5).map((at) => at - (reads[0] as number))).toEqual([0, 0, 500, 2500, 6500])
    expect(host.logs.map(({ level, runId }) => [level, runId])).toEqual([['warn', '*'], ['warn', '*'], ['warn', '*'], ['warn', '*']])
  })

  test('closed, nothing is visited any more and no time is waited for; opened again, all of it is taken in', async () => {
    const { visit, end } = held()
    const wake = scheduler({ visit, maxDrives: 1 })
    due.set('a', host.now())
    due.set('b', host.now())
    await wake.open()
    await idle()
    expect(visits).toEqual(['a'])
    wake.close()
    wake.want('c')
    wake.arm(host.now() + 1)
    end('a', { kind: 'retry' })
    await pass(10 * MINUTE)
    expect([visits, wake.isOpen, wake.hasRoom, host.nextTimer]).toEqual([['a'], false, false, undefined])
    await wake.open()
    await idle()
    expect(visits).toEqual(['a', 'b'])
  })
})
