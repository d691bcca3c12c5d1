// A crash at every commit of workflows that use what the engine has: races, timers, parallel steps, retries, cleanups, blobs.

import { expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import { workflow } from '../../src/index.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { exploreCrashes, type ExploreCounts } from '../../src/testing/crash-explorer.ts'
import type { Explored } from '../../src/testing/trial.ts'
import type { TestHost } from '../../src/testing/test-host.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { anything, override } from '../engine/support.ts'

/** What the outside world has seen: it survives every crash. */
class Ledger {
  readonly calls: { readonly action: string; readonly key: string }[] = []
  readonly done = new Map<string, number>()

  /** Does something once for each key, as a server that deduplicates does. */
  act(action: string, key: string): number {
    this.calls.push({ action, key })
    const known = this.done.get(key)
    if (known !== undefined) return known
    this.done.set(key, this.done.size + 1)
    return this.done.size
  }

  keysOf(action: string): Set<string> {
    return new Set(this.calls.filter((call) => call.action === action).map(({ key }) => key))
  }
}

interface Lent {
  readonly ledger: Ledger
  readonly wait: (ms: number) => Promise<void>
}
const lend = (ledger: Ledger, host: TestHost): Lent => ({
  ledger,
  wait: (ms) =>
    new Promise((resolve) => {
      host.timer(ms, resolve)
    }),
})
const servicesOf = (call: { services: object }): Lent => call.services as Lent

function log(name: string, counts: ExploreCounts): void {
  // How much was explored is part of the result of this test.
  console.log(
    `crash explorer: ${name}: ${counts.commits} commits, ${counts.singles} + ${counts.quiets} + ${counts.pairs} schedules, ${counts.crashes} crashes, ${counts.lost} lost answers, ${counts.executions} calls`,
  )
}

test('a sequential run: every action has one key, and is asked for at most once more for each crash', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    const values: number[] = []
    for (const action of ['a', 'b', 'c', 'd']) {
      values.push(
        await ctx.step(action, async (call) => {
          const { ledger, wait } = servicesOf(call)
          await wait(5)
          return ledger.act(action, call.idempotencyKey)
        }),
      )
    }
    await ctx.sleep('1 hour')
    values.push(await ctx.step('e', (call) => servicesOf(call).ledger.act('e', call.idempotencyKey)))
    return values
  })
  const counts = await exploreCrashes(w, 0, {
    outside: () => new Ledger(),
    services: lend,
    maxPairs: 40,
    check: (ledger) => {
      expect(ledger.done.size).toBe(5)
      for (const action of 'abcde') expect(ledger.keysOf(action).size).toBe(1)
    },
  })
  log('sequential', counts)
  expect(counts).toMatchObject({ commits: 12, singles: 36, pairs: 40 })
}, 60_000)

test('races, timers and parallel steps: the same winner, whatever crashes', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    const step = (c: Ctx, name: string, ms: number): Promise<string> =>
      c.step(name, async (call) => {
        await servicesOf(call).wait(ms)
        return name
      })
    const all = await ctx.all({ x: (c) => step(c, 'x', 30), y: (c) => step(c, 'y', 10), z: (c) => c.sleep(20) })
    const drawn = ctx.uuid()
    // By far, so that a crash in between changes no winner.
    const race = await ctx.race({ slow: (c) => c.sleep('1 day'), quick: (c) => step(c, 'quick', 10) })
    const timer = await ctx.race({ timer: (c) => c.sleep('1 hour'), never: (c) => c.sleep('2 days') })
    const map = await ctx.map('items', ['p', 'q', 'r'], { key: (item) => item, concurrency: 2 }, async (c, item) => {
      await c.sleep(10)
      return step(c, 'each', item === 'p' ? 50 : 5)
    })
    const settled = await ctx.settled({
      bad: (c) =>
        c.step(
          'bad',
          () => {
            throw new Error('no')
          },
          { retry: { limit: 0 } },
        ),
      good: (c) => step(c, 'good', 5),
    })
    return { all, drawn: drawn.length, race, timer, map, settled: settled.bad.status }
  })
  const counts = await exploreCrashes(w, 0, {
    outside: () => new Ledger(),
    services: lend,
    maxPairs: 40,
  })
  log('races and timers', counts)
  expect(counts.commits).toBeGreaterThan(20)
}, 120_000)

test('retries: attempts are counted on, back-offs end when they would have', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    const started = ctx.now()
    const value = await ctx.step(
      'flaky',
      (call) => {
        servicesOf(call).ledger.act('flaky', call.idempotencyKey)
        if (call.attempt < 4) throw new Error(`busy ${call.attempt}`)
        return call.attempt
      },
      { retry: { limit: 5, delay: '10 minutes', maxDelay: '1 hour', jitter: 0 } },
    )
    const last = await ctx
      .step(
        'hopeless',
        () => {
          throw new Error('never')
        },
        { retry: { limit: 2, delay: '1 minute', jitter: 0 } },
      )
      .catch((error: Error) => error.message)
    return { value, last, took: ctx.now() - started }
  })
  const counts = await exploreCrashes(w, 0, {
    outside: () => new Ledger(),
    services: lend,
    maxPairs: 40,
    check: (ledger) => {
      expect(ledger.done.size).toBe(1)
    },
  })
  log('retries', counts)
  expect(counts.commits).toBeGreaterThan(15)
}, 60_000)

test('a cancel with a cleanup: it ends cancelled, and what was taken is given back once', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    try {
      await ctx.step('take', (call) => servicesOf(call).ledger.act('take', call.idempotencyKey))
      await ctx.sleep('1 day')
    } finally {
      await ctx.cleanup(async (c) => {
        await c.step('give back', async (call) => {
          await servicesOf(call).wait(20)
          return servicesOf(call).ledger.act('give back', call.idempotencyKey)
        })
        await c.sleep(100)
        await c.step('tell', (call) => servicesOf(call).ledger.act('tell', call.idempotencyKey))
      })
    }
  })
  const counts = await exploreCrashes(w, 0, {
    cancelAt: 3,
    outside: () => new Ledger(),
    services: lend,
    maxPairs: 40,
    check: (ledger, end) => {
      expect(end.summary.status).toBe('cancelled')
      expect([...ledger.done.values()]).toEqual([1, 2, 3])
      expect(end.entries.filter(({ kind }) => kind === 'cancel_requested')).toHaveLength(1)
    },
  })
  log('cancel with cleanup', counts)
  expect(counts.commits).toBeGreaterThan(9)
}, 60_000)

test('a cancel in the middle of a running step, with nothing to clean up', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('first', () => 1)
    await ctx.step('endless', () => new Promise(() => {}), { timeout: '1 day' })
  })
  const counts = await exploreCrashes(w, 0, {
    cancelAt: 2,
    maxPairs: 40,
    check: (_, { summary }) => {
      expect(summary.status).toBe('cancelled')
    },
  })
  log('cancel of a running step', counts)
  expect(counts.singles).toBeGreaterThanOrEqual(12)
}, 60_000)

test('a run\'s own timeout: it fails once, after its cleanup', async () => {
  const w = workflow({ name: 'w', input: anything, timeout: '1 hour' }, async (ctx) => {
    try {
      await ctx.sleep('1 day')
    } finally {
      await ctx.cleanup((c) => c.step('release', (call) => servicesOf(call).ledger.act('release', call.idempotencyKey)))
    }
  })
  const counts = await exploreCrashes(w, 0, {
    outside: () => new Ledger(),
    services: lend,
    maxPairs: 40,
    check: (ledger, { summary }) => {
      expect([summary.status, ledger.done.size]).toEqual(['failed', 1])
    },
  })
  log('run timeout', counts)
  expect(counts.commits).toBeGreaterThan(6)
}, 60_000)

test('large values: input, outcome and output are blobs', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx, input: string) => {
    const value = await ctx.step('large', () => input + 'y'.repeat(80_000))
    const bytes = await ctx.step('bytes', () => new Uint8Array(70_000).fill(3))
    return { value, sum: bytes.reduce((a, b) => a + b, 0) }
  })
  const counts = await exploreCrashes(w, 'x'.repeat(70_000), { maxPairs: 40 })
  log('large values', counts)
  expect(counts.commits).toBeGreaterThan(8)
}, 120_000)

test('on a store that answers later, as IndexedDB does', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    const both = await ctx.all({
      a: async (c) => {
        await c.step('s', () => 1)
        return c.step('t', async () => 2)
      },
      b: (c) => c.sleep(50),
    })
    await ctx.step(
      'flaky',
      (call) => {
        if (call.attempt < 3) throw new Error('busy')
      },
      { retry: { delay: '1 minute', jitter: 0 } },
    )
    return both.a
  })
  const counts = await exploreCrashes(w, 0, {
    open: (id) => answeringLater(createMemoryShelf().open(id)),
    maxPairs: 40,
  })
  log('answering later', counts)
  expect(counts.commits).toBeGreaterThan(9)
}, 120_000)

test('where the platform gives authority and the epoch stays', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    for (let i = 0; i < 4; i++)
      await ctx.step('s', async (call) => servicesOf(call).ledger.act('s', call.idempotencyKey))
    await ctx.sleep('1 hour')
  })
  const counts = await exploreCrashes(w, 0, {
    takesEpoch: false,
    outside: () => new Ledger(),
    services: lend,
    maxPairs: 40,
    deadMs: 40_000,
    check: (ledger) => {
      expect(ledger.done.size).toBe(4)
    },
  })
  log('one epoch', counts)
  expect(counts.commits).toBeGreaterThan(8)
}, 60_000)

test('a group of 30 parallel steps whose outcomes share commits', async () => {
  const w = workflow(
    { name: 'w', input: anything },
    async (ctx) =>
      (
        await Promise.all(
          Array.from({ length: 30 }, (_, i) =>
            ctx.step('s', async (call) => {
              if (i % 7 === 0) await servicesOf(call).wait(i)
              return servicesOf(call).ledger.act('s', call.idempotencyKey)
            }),
          ),
        )
      ).length,
  )
  const counts = await exploreCrashes(w, 0, {
    outside: () => new Ledger(),
    services: lend,
    maxPairs: 40,
    check: (ledger) => {
      expect(ledger.done.size).toBe(30)
    },
  })
  log('30 at once', counts)
  expect(counts.executions).toBeGreaterThan(30 * counts.schedules)
}, 60_000)

test('plain chains that are longer than the engine\'s turns, beside steps: dropped passes lose and repeat nothing', async () => {
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    const links = async (n: number): Promise<void> => {
      for (let i = 0; i < n; i++) await undefined
    }
    const out: unknown[] = []
    for (const n of [13, 18, 30]) {
      out.push(
        await Promise.all([
          ctx.step('a', async (call) => {
            await servicesOf(call).wait(n)
            return n
          }),
          links(n).then(() => ctx.step('b', async () => n)),
          links(n).then(() => ctx.uuid().length),
        ]),
      )
    }
    return out
  })
  const counts = await exploreCrashes(w, 0, {
    outside: () => new Ledger(),
    services: lend,
    maxPairs: 40,
  })
  log('long chains', counts)
  expect(counts.commits).toBeGreaterThan(8)
}, 60_000)

test('code that is changed in the middle, under policy restart: the new generation ends as it would', async () => {
  // The first process has the old code, which the journal of the later ones does not fit.
  let boots = 0
  const w = workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
    const isOld = boots === 1
    await ctx.step(isOld ? 'old' : 'new', (call) =>
      servicesOf(call).ledger.act(isOld ? 'old' : 'new', call.idempotencyKey),
    )
    await ctx.sleep('1 hour')
    await ctx.step('last', (call) => servicesOf(call).ledger.act('last', call.idempotencyKey))
    return 'done'
  })
  const counts = await exploreCrashes(w, 0, {
    maxPairs: 40,
    outside: () => {
      boots = 0
      return new Ledger()
    },
    services: (ledger, host) => {
      boots++
      return lend(ledger, host)
    },
    check: (ledger, { summary, processes }) => {
      expect(summary.status).toBe('completed')
      expect(summary.generation).toBeLessThanOrEqual(2)
      if (processes === 1) expect(summary.generation).toBe(1)
      expect(ledger.keysOf('last').size).toBe(1)
    },
  })
  log('restart', counts)
  expect(counts.commits).toBeGreaterThan(7)
}, 60_000)

// --- the explorer itself

const flaky = (): ReturnType<typeof workflow> =>
  workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1)
    return ctx.step('b', (call) => (call.services as { boots: number }).boots)
  }) as never

test('the explorer finds what ends otherwise, prints the smallest schedule, and repeats it', async () => {
  const w = flaky()
  const options = {
    outside: () => ({ boots: 0 }),
    services: (outside: { boots: number }) => ({ boots: ++outside.boots }),
  }
  const failure = await exploreCrashes(w, 0, options).catch((error: Error) => error)
  expect(failure).toBeInstanceOf(Error)
  const { message } = failure as Error
  expect(message).toContain('it ended otherwise than without a crash')
  const seed = /only: '(.*?)'/.exec(message)?.[1]
  // The first crash that lets the second process see another world: before the start is committed the first has done nothing yet.
  expect(seed).toMatch(/^(before|after|lost):\d+$/)
  await expect(exploreCrashes(w, 0, { ...options, only: seed as string })).rejects.toThrow('it ended otherwise')
  // The same workflow without a crash at that commit is fine.
  expect((await exploreCrashes(w, 0, { ...options, only: '' })).schedules).toBe(2)
})

test('the explorer finds a store that forgets what it has committed', async () => {
  const forgetful = (id: string) => {
    const store = createMemoryShelf().open(id)
    return Object.assign(answeringLater(store), {
      entries: async (after: number, limit: number) =>
        store
          .entries(after, limit)
          .map(({ seq, bytes }) => ({
            seq,
            bytes: seq === 3 ? bytes.map((byte, i) => (i === 5 ? byte ^ 1 : byte)) : bytes,
          })),
    })
  }
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1)
    await ctx.step('b', () => 1)
  })
  await expect(exploreCrashes(w, 0, { open: forgetful})).rejects.toThrow(
    'entry 3 is not what was committed',
  )
})

test('the explorer finds a step that is called after its outcome was committed', async () => {
  // A store that answers `committed` and forgets its last entry when the next process opens it.
  const losing = (id: string) => {
    let inner = createMemoryShelf().open(id)
    let isLost = false
    return override(inner, {
      read: () => {
        const entries = inner.entries(0, 100)
        const row = inner.read()
        if (!isLost && row !== undefined && entries.at(-1)?.seq === 2) {
          isLost = true
          inner = createMemoryShelf().open(id)
          inner.commit({
            expect: { kind: 'absent' },
            entries: entries.slice(0, 1),
            row: { epoch: row.epoch, wakeAt: row.wakeAt, record: row.record },
          })
        }
        return inner.read()
      },
      entries: (after, limit) => inner.entries(after, limit),
      last: () => inner.last(),
      rows: (table, page) => inner.rows(table, page),
      commit: (batch) => inner.commit(batch),
    })
  }
  const w = workflow({ name: 'w', input: anything }, async (ctx) => {
    await ctx.step('a', () => 1)
    await ctx.sleep('1 hour')
  })
  await expect(exploreCrashes(w, 0, { open: losing})).rejects.toThrow(
    /entry 2 was committed after entry 2|a was called after its outcome was committed/,
  )
})

test('what the explorer hands to `check` is how the schedule ended', async () => {
  const seen: Explored[] = []
  const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('a', () => 'value'))
  const counts = await exploreCrashes(w, 0, {
    maxPairs: 0,
    check: (_, end) => {
      seen.push(end)
    },
  })
  expect(counts).toMatchObject({ commits: 4, points: 2, schedules: 15, singles: 12, quiets: 2, pairs: 0, crashes: 10, lost: 4 })
  expect(new Set(seen.map(({ processes }) => processes))).toEqual(new Set([1, 2]))
  for (const { summary, entries } of seen) {
    expect(summary.output).toBe('value')
    expect(entries.map(({ kind }) => kind)).toEqual(['run_started', 'step_completed', 'run_completed'])
  }
})
