import { describe, expect, test } from 'vitest'
import { requestCancel } from '../../src/engine/cancel.ts'
import { workflow } from '../../src/index.ts'
import type { Batch } from '../../src/store/store.ts'
import type { Fault } from '../../src/testing/fault-store.ts'
import { anything, errorOf, gate, ID, open, World } from './support.ts'

/** Every kind of commit that an engine makes: wake, group, prompt, timer, attempt, park, end. */
function everyCommit(executed: string[]) {
  return workflow({ name: 'every', input: anything }, async (ctx) => {
    await Promise.all([
      ctx.step('p', async () => {
        executed.push('p')
      }),
      ctx.step('q', async () => {
        executed.push('q')
      }),
    ])
    await ctx.step('a', () => {
      executed.push('a')
    })
    await ctx.step('b', () => {
      executed.push('b')
    })
    await ctx.step(
      'flaky',
      (call) => {
        executed.push(`flaky ${call.attempt}`)
        if (call.attempt === 1) throw new Error('busy')
      },
      { retry: { limit: 1, delay: '1 minute', jitter: 0 } },
    )
    await ctx.sleep('1 hour')
    const large = await ctx.step('large', () => {
      executed.push('large')
      return 'x'.repeat(70_000)
    })
    return large.length
  })
}

const journal = [
  'run_started',
  'step_completed p',
  'step_completed q',
  'step_completed a',
  'step_completed b',
  'attempt_failed flaky',
  'step_completed flaky',
  'timer_set ctx.sleep',
  'timer_fired ctx.sleep',
  'step_completed large',
  'run_completed',
]
const steps = ['p', 'q', 'a', 'b', 'flaky 1', 'flaky 2', 'large']

/** How many commits it takes without a fault. */
async function countCommits(): Promise<number> {
  let commits = 0
  const w = everyCommit([])
  const process = open(w, {
    faults: {
      fault: ({ method }) => {
        if (method === 'commit') commits++
        return undefined
      },
    },
  })
  await process.run(w)
  expect(process.world.kinds()).toEqual(journal)
  return commits
}

/** Runs with one fault at commit `n`; starts and drives again as a host does when the store failed. */
async function withFault(n: number, fault: (batch: Batch) => Fault) {
  const executed: string[] = []
  const w = everyCommit(executed)
  let commits = 0
  let struck: Batch | undefined
  const ends: string[] = []
  const process = open(w, {
    stepsUseHostTime: true,
    faults: {
      fault: ({ method, batch }) => {
        if (method !== 'commit' || batch === undefined || ++commits !== n) return undefined
        struck = batch
        return fault(batch)
      },
    },
  })
  for (let tries = 0; tries < 3; tries++) {
    try {
      await process.runs.start(w, 0, { id: ID })
      break
    } catch (error) {
      ends.push((error as { code: string }).code)
    }
  }
  for (let tries = 0; tries < 3; tries++) {
    const end = await process.runs.settle(ID)
    ends.push(end.kind)
    if (end.kind === 'ended') break
  }
  return { process, executed, ends, struck: struck as Batch | undefined, isChunk: struck?.expect.kind === 'none' }
}

describe('G5: a commit has three answers', () => {
  test('G5: the answer of any commit is lost although it was committed: read again, found, nothing is done twice', async () => {
    const commits = await countCommits()
    for (let n = 1; n <= commits; n++) {
      const { process, executed, ends } = await withFault(n, () => ({ do: 'unknown', when: 'after' }))
      expect(ends, `commit ${n}`).toEqual(['ended'])
      expect(process.world.kinds(), `commit ${n}`).toEqual(journal)
      expect(executed, `commit ${n}`).toEqual(steps)
    }
    expect(commits).toBeGreaterThan(10)
  })

  test('G5: the answer of any commit is lost and it was not committed: it is made once', async () => {
    const commits = await countCommits()
    for (let n = 2; n <= commits; n++) {
      const { process, executed, ends } = await withFault(n, () => ({ do: 'unknown', when: 'before' }))
      expect(ends, `commit ${n}`).toEqual(['ended'])
      expect(process.world.kinds(), `commit ${n}`).toEqual(journal)
      expect(executed, `commit ${n}`).toEqual(steps)
    }
    // A start is the caller's to repeat.
    const { ends } = await withFault(1, () => ({ do: 'unknown', when: 'before' }))
    expect(ends).toEqual(['store_unavailable', 'ended'])
  })

  test.each(['before', 'after'] as const)(
    'G5: any commit that hangs %s it was made is given up after commitMs and learned',
    async (when) => {
      const commits = await countCommits()
      for (let n = 2; n <= commits; n++) {
        const { process, executed, ends } = await withFault(n, () => ({ do: 'hang', when }))
        expect(ends, `commit ${n}`).toEqual(['ended'])
        expect(process.world.kinds(), `commit ${n}`).toEqual(journal)
        expect(executed, `commit ${n}`).toEqual(steps)
      }
    },
  )

  test('G5: a commit that lands after it was given up is one\'s own, and the driver goes on', async () => {
    const commits = await countCommits()
    for (let n = 2; n <= commits; n++) {
      // It lands while the second try is under way.
      const late = gate()
      const executed: string[] = []
      const w = everyCommit(executed)
      let count = 0
      const process = open(w, {
        stepsUseHostTime: true,
        faults: {
          fault: ({ method, batch }): Fault | undefined => {
            if (method !== 'commit' || batch?.expect.kind === 'none') return undefined
            count++
            if (count === n) return { do: 'delay', when: 'before', until: late.promise }
            if (count === n + 1) {
              late.open()
              return {
                do: 'delay',
                when: 'before',
                until: late.promise.then(async () => {
                  for (let i = 0; i < 20; i++) await undefined
                }),
              }
            }
            return undefined
          },
        },
      })
      await process.runs.start(w, 0, { id: ID })
      const end = await process.runs.settle(ID)
      late.open()
      expect(end, `commit ${n}`).toEqual({ kind: 'ended', status: 'completed' })
      expect(process.world.kinds(), `commit ${n}`).toEqual(journal)
      expect(executed, `commit ${n}`).toEqual(steps)
    }
  })

  test.each(['epoch', 'seq', 'absent'] as const)(
    'G5: any commit refused as stale (%s) stops the driver, which writes no more',
    async (reason) => {
      const commits = await countCommits()
      for (let n = 2; n <= commits; n++) {
        const { process, ends, isChunk } = await withFault(n, () => ({ do: 'stale', reason }))
        if (isChunk) continue
        // Nobody else drives it, so the next drive takes it up again.
        expect(ends, `commit ${n}`).toEqual(['superseded', 'ended'])
        expect(process.world.kinds(), `commit ${n}`).toEqual(journal)
      }
    },
  )

  test('G5: any commit that fails has written nothing and changed nothing in memory: the next drive makes it exactly once (Y-061)', async () => {
    const commits = await countCommits()
    for (let n = 2; n <= commits; n++) {
      const { process, executed, ends, isChunk } = await withFault(n, () => ({ do: 'fail' }))
      expect(
        process.world.kinds().filter((kind) => !isChunk || kind !== 'attempt_failed large'),
        `commit ${n}`,
      ).toEqual(journal)
      if (isChunk) continue
      expect(ends, `commit ${n}`).toEqual(['unavailable', 'ended'])
      // The attempt whose commit failed is still there and is adopted.
      expect(executed, `commit ${n}`).toEqual(steps)
    }
  })

  test('G5: a store that never says what became of a commit is unavailable, typed, and not asked for ever (Z-041)', async () => {
    const w = everyCommit([])
    let asked = 0
    const process = open(w, {
      faults: {
        fault: ({ method, batch }) =>
          method === 'commit' && batch?.entries?.[0]?.seq === 2
            ? (asked++, { do: 'unknown', when: 'before' })
            : undefined,
      },
    })
    await process.runs.start(w, 0, { id: ID })
    const end = await process.runs.settle(ID)
    expect(end).toMatchObject({ kind: 'unavailable', error: { code: 'commit_unknown', kind: 'transient' } })
    expect(asked).toBe(4)
    expect(process.world.kinds()).toEqual(['run_started'])
  })

  test('G5: a commit beyond commitMs with a store that cannot be read either ends as unavailable', async () => {
    const w = everyCommit([])
    let isBroken = false
    const process = open(w, {
      limits: { commitMs: 5000 },
      stepsUseHostTime: true,
      faults: {
        fault: ({ method, batch }) => {
          if (batch?.entries?.[0]?.seq === 2) {
            isBroken = true
            return { do: 'hang', when: 'before' }
          }
          return isBroken && method === 'read' ? { do: 'fail' } : undefined
        },
      },
    })
    await process.runs.start(w, 0, { id: ID })
    const began = process.now
    expect(await process.runs.drive(ID)).toMatchObject({ kind: 'unavailable', error: { code: 'store_unavailable' } })
    expect(process.now - began).toBe(5000)
  })

  test('G5: the entries of a turn and what goes with them are one commit', async () => {
    const batches: Batch[] = []
    const w = everyCommit([])
    const process = open(w, {
      faults: {
        committed: (batch) => {
          batches.push(batch)
        },
      },
    })
    await process.run(w)
    const of = (seq: number): Batch =>
      batches.find(({ entries }) => entries?.some((entry) => entry.seq === seq)) as Batch
    expect(of(1)).toMatchObject({ expect: { kind: 'absent' }, row: { epoch: 1 } })
    expect(of(2)).toBe(of(3))
    expect(of(4)).not.toHaveProperty('row')
    expect(of(10).require).toHaveLength(1)
    expect(of(11)).toMatchObject({ row: { wakeAt: null }, durability: 'strict', expect: { inbox: 0 } })
    const parks = batches.filter(
      ({ entries, row }) =>
        entries === undefined && row !== undefined && row.wakeAt !== null && row.wakeAt - process.now > -3_600_000,
    )
    expect(parks.length).toBeGreaterThan(2)
  })

  test('G5: a run does not park over a message that came meanwhile', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('1 hour')
    })
    const world = new World()
    let posted = false
    const process = world.boot(w, {
      faults: {
        fault: ({ batch }) => {
          const isPark = batch?.expect.kind === 'head' && batch.expect.inbox !== undefined
          if (isPark && !posted) {
            posted = true
            const answer = requestCancel(world.shelf.open(ID), 0)
            return { do: 'delay', when: 'before', until: answer }
          }
          return undefined
        },
      },
    })
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(posted).toBe(true)
    expect(world.kinds()).toEqual(['run_started', 'timer_set ctx.sleep', 'cancel_requested', 'run_cancelled'])
  })

  test('G21: a cancel that was acknowledged before the end was committed outranks it', async () => {
    const w = workflow({ name: 'w', input: anything }, async () => 1)
    const world = new World()
    let posted = false
    const process = world.boot(w, {
      faults: {
        fault: ({ batch }) => {
          if (batch?.entries === undefined || batch.expect.kind !== 'head' || posted) return undefined
          posted = true
          return { do: 'delay', when: 'before', until: requestCancel(world.shelf.open(ID), 0) }
        },
      },
    })
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(world.kinds()).toEqual(['run_started', 'cancel_requested', 'run_cancelled'])
    expect(world.shelf.open(ID).keys('inbox', { limit: 10 })).toEqual([])
    expect(world.row().inbox).toBe(1)
  })
})

describe('G6: a driver that was superseded is refused', () => {
  test('G6: the tab that thaws finds another epoch, writes nothing, and its step\'s signal is aborted', async () => {
    const held = gate<string>()
    let aborted = 0
    let executed = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('quick', () => 1)
      return ctx.step('slow', async (call) => {
        call.abortSignal.addEventListener('abort', () => {
          aborted++
        })
        return executed++ === 0 ? held.promise : 'second'
      })
    })
    const world = new World()
    const frozen = world.boot(w)
    await frozen.runs.start(w, 0, { id: ID })
    const { end } = await frozen.begin()
    const { epoch } = world.row()
    const other = world.boot(w)
    expect(await other.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    const after = { kinds: world.kinds(), row: world.row() }
    expect(after.row.epoch).toBe(epoch + 1)
    held.open('first')
    expect(await end).toEqual({ kind: 'superseded' })
    expect({ kinds: world.kinds(), row: world.row() }).toEqual(after)
    expect((await other.runs.summary(ID)).output).toBe('second')
    expect(aborted).toBe(1)
  })

  test('G6: two drivers at once: one journal, no gap, no entry twice (Z-044, 5.2 no. 4)', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const all: string[] = []
      for (let i = 0; i < 5; i++)
        all.push(
          await ctx.step('s', async (call) => {
            await new Promise((resolve) => setImmediate(resolve))
            return call.key
          }),
        )
      return all
    })
    const world = new World()
    const one = world.boot(w)
    const two = world.boot(w)
    await one.runs.start(w, 0, { id: ID })
    const ends = await Promise.all([one.runs.settle(ID), two.runs.settle(ID)])
    expect(ends.map(({ kind }) => kind).sort()).toEqual(['ended', 'superseded'])
    expect(world.kinds()).toEqual([
      'run_started',
      'step_completed s',
      'step_completed s#1',
      'step_completed s#2',
      'step_completed s#3',
      'step_completed s#4',
      'run_completed',
    ])
  })

  test('G6: every batch of a driver carries its epoch and the head it knows', async () => {
    const expects: Batch['expect'][] = []
    const w = everyCommit([])
    const process = open(w, {
      faults: {
        committed: (batch) => {
          if (batch.expect.kind !== 'none') expects.push(batch.expect)
        },
      },
    })
    await process.run(w)
    expect(expects[0]).toEqual({ kind: 'absent' })
    let epoch = 1
    for (const expectation of expects.slice(1)) {
      if (expectation.kind !== 'head') throw new Error(expectation.kind)
      expect(expectation.epoch - epoch).toBeLessThanOrEqual(1)
      epoch = expectation.epoch
    }
    expect(epoch).toBeGreaterThan(2)
  })

  test('G6: where the platform gives authority, the epoch stays', async () => {
    const w = everyCommit([])
    const process = open(w, { takesEpoch: false })
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.world.row().epoch).toBe(1)
  })
})

describe('G3: sequence numbers', () => {
  test('G3: no gap and no reuse over crashes, restarts of the process and generations', async () => {
    const make = (version: number) =>
      workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
        await ctx.step(`s${version}`, () => version)
        await ctx.sleep('1 hour')
      })
    const world = new World()
    for (let version = 1; version <= 3; version++) {
      const process = world.boot(make(version))
      if (version === 1) await process.runs.start(make(version), 0, { id: ID })
      expect((await process.runs.drive(ID)).kind).toBe('parked')
      await process.crash()
    }
    const entries = world.entries()
    expect(entries.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(entries.map(({ generation }) => generation)).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3])
    expect(entries.map(({ kind }) => kind).filter((kind) => kind === 'generation_started')).toHaveLength(2)
  })

  test('G3: anyone else writes inbox rows only', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('1 hour')
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const before = process.world.kinds()
    await requestCancel(process.world.shelf.open(ID), process.now)
    expect(process.world.kinds()).toEqual(before)
    expect(process.world.row().inbox).toBe(1)
  })

  test('G3: a quota that is full is a typed answer, and the step that ran is recorded once there is room (5.2 no. 14)', async () => {
    let executed = 0
    let isFull = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('s', () => ++executed))
    const { StepwellError } = await import('../../src/errors.ts')
    const process = open(w, {
      faults: {
        fault: ({ batch }) =>
          isFull && batch?.entries?.[0]?.seq === 2
            ? { do: 'fail', error: new StepwellError('quota_exceeded', 'full') }
            : undefined,
      },
    })
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.drive(ID)).toMatchObject({ kind: 'unavailable', error: { code: 'quota_exceeded' } })
    isFull = false
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(executed).toBe(1)
  })
})

test('G5: a start whose commit fails leaves nothing, and repeats with the same token to the one run', async () => {
  const w = workflow({ name: 'w', input: anything }, async () => 1)
  let isDown = true
  const process = open(w, {
    faults: { fault: ({ method }) => (isDown && method === 'commit' ? { do: 'fail' } : undefined) },
  })
  expect((await errorOf(() => process.runs.start(w, 0, { token: 't' }))).code).toBe('store_unavailable')
  expect(process.world.shelf.runs({ limit: 10 })).toEqual([])
  isDown = false
  const first = await process.runs.start(w, 0, { token: 't' })
  expect(first.created).toBe(true)
  expect(await process.runs.start(w, 0, { token: 't' })).toEqual({ id: first.id, created: false })
})
