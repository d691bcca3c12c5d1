import { describe, expect, test } from 'vitest'
import { cancelOutcome, requestCancel } from '../../src/engine/cancel.ts'
import { workflow } from '../../src/index.ts'
import type { Batch } from '../../src/store/store.ts'
import { anything, errorOf, gate, ID, open, override, type Process, World } from './support.ts'

const forever = (): Promise<never> => new Promise(() => {})

/** Posts a cancel and lets the driver, if there is one, hear of it. */
async function cancel(process: Process, reason?: string): Promise<void> {
  await process.runs.cancel(ID, reason)
  await process.idle()
}

describe('G21: cancel', () => {
  test('G21: a queued run ends in one commit, and its function does nothing', async () => {
    const executed: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('s', () => {
        executed.push('s')
      })
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID, delay: '1 hour' })
    await process.runs.cancel(ID, 'not needed')
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.world.kinds()).toEqual(['run_started', 'cancel_requested', 'run_cancelled'])
    expect(executed).toEqual([])
    expect(process.world.row()).toMatchObject({ wakeAt: null })
    expect((await process.runs.summary(ID)).error).toMatchObject({
      code: 'cancelled',
      message: 'the run was cancelled: not needed',
    })
  })

  test('G21: a sleeping run ends in one commit with the cancel; its timers are gone (T-080)', async () => {
    const batches: Batch[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('30 days')
      return 1
    })
    const process = open(w, {
      faults: {
        committed: (batch) => {
          batches.push(batch)
        },
      },
    })
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await cancel(process)
    expect(process.world.record().status).toBe('cancelled')
    expect(process.world.row().wakeAt).toBe(null)
    const last = batches.at(-1) as Batch
    expect(last.entries).toHaveLength(2)
    expect(last.take).toEqual([1])
    expect(last.durability).toBe('strict')
    expect(process.world.kinds().slice(-2)).toEqual(['cancel_requested', 'run_cancelled'])
    expect(process.world.shelf.open(ID).keys('inbox', { limit: 10 })).toEqual([])
  })

  test('G21: a running step\'s signal aborts; a step that ignores it is not waited for, and what it gives later is dropped (T-081, B-107)', async () => {
    const held = gate<string>()
    const seen: unknown[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', async (call) => {
        call.abortSignal.addEventListener('abort', () => {
          seen.push((call.abortSignal.reason as { code: string }).code)
        })
        return held.promise
      }),
    )
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    await cancel(process)
    expect(await end).toEqual({ kind: 'ended', status: 'cancelled' })
    const kinds = process.world.kinds()
    held.open('late success')
    await process.idle()
    expect(seen).toEqual(['cancelled'])
    expect(process.world.kinds()).toEqual(kinds)
    expect(kinds).toEqual(['run_started', 'cancel_requested', 'run_cancelled'])
    expect((await process.runs.summary(ID)).status).toBe('cancelled')
  })

  test('G21: while it cleans up, the step that was under way is aborted already, and what it gives is dropped', async () => {
    const held = gate<string>()
    const cleaning = gate<string>()
    const seen: unknown[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      try {
        return await ctx.step('s', ({ abortSignal }) => {
          abortSignal.addEventListener('abort', () => { seen.push((abortSignal.reason as { code: string }).code) })
          return held.promise
        })
      } finally {
        await ctx.cleanup((c) => c.step('tidy', () => cleaning.promise))
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    await cancel(process)
    await process.idle()
    expect(seen).toEqual(['cancelled'])
    held.open('late success')
    await process.idle()
    cleaning.open('tidy')
    expect(await end).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.world.kinds()).toEqual(['run_started', 'cancel_requested', 'step_completed cleanup/tidy', 'run_cancelled'])
  })

  test('G21: during a back-off, and no attempt comes after it', async () => {
    let attempts = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step(
        's',
        () => {
          attempts++
          throw new Error('busy')
        },
        { retry: { delay: '1 hour' } },
      ),
    )
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    expect((await process.runs.drive(ID)).kind).toBe('parked')
    await cancel(process)
    expect(process.world.record().status).toBe('cancelled')
    await process.pass(7_200_000)
    expect(attempts).toBe(1)
  })

  test('G21: outstanding calls reject in call order, in one delivery, with `cancelled`; ctx.abortSignal aborts before them', async () => {
    const order: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      ctx.abortSignal.addEventListener('abort', () => {
        order.push(`signal ${(ctx.abortSignal.reason as { code: string }).code}`)
      })
      const note = (name: string) => (error: { code: string }) => {
        order.push(`${name} ${error.code} ${ctx.now()}`)
      }
      await Promise.allSettled([
        ctx.step('c', forever).catch(note('c')),
        ctx.sleep('1 day').catch(note('sleep')),
        ctx.step('a', forever).catch(note('a')),
        ctx
          .step(
            'b',
            () => {
              throw new Error('busy')
            },
            { retry: { delay: '1 day' } },
          )
          .catch(note('b')),
      ])
      order.push(`aborted ${ctx.abortSignal.aborted}`)
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    process.host.jump(5)
    await cancel(process)
    expect(await end).toEqual({ kind: 'ended', status: 'cancelled' })
    const at = process.now
    expect(order).toEqual([
      'signal cancelled',
      `c cancelled ${at}`,
      `sleep cancelled ${at}`,
      `a cancelled ${at}`,
      `b cancelled ${at}`,
      'aborted true',
    ])
    expect(process.world.entries().filter(({ kind }) => kind === 'cancel_requested')).toHaveLength(1)
  })

  test('G21: after it only ctx.cleanup may call; other calls reject at once and write nothing', async () => {
    const order: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx
          .step('forbidden', () => {
            order.push('forbidden ran')
          })
          .catch((error: { code: string }) => {
            order.push(`step ${error.code}`)
          })
        await ctx.sleep(1).catch((error: { code: string }) => {
          order.push(`sleep ${error.code}`)
        })
        await ctx.all({ a: (c) => c.step('forbidden', () => 1) }).catch((error: { code: string }) => {
          order.push(`all ${error.code}`)
        })
        await ctx.cleanup(async (c) => {
          await c.step('release', () => {
            order.push('release')
          })
          await c.sleep(1000)
          await c.all({
            x: (d) =>
              d.step('one', () => {
                order.push('one')
              }),
            y: (d) =>
              d.step('two', async () => {
                order.push('two')
              }),
          })
          await c.map('m', [1, 2], {}, (d, i) =>
            d.step('item', () => {
              order.push(`item ${i}`)
            }),
          )
        })
        order.push('cleaned up')
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(order).toEqual([
      'step cancelled',
      'sleep cancelled',
      'all cancelled',
      'release',
      'one',
      'two',
      'item 1',
      'item 2',
      'cleaned up',
    ])
    expect(process.world.kinds()).toEqual(
      [
        'run_started',
        'timer_set ctx.sleep',
        'cancel_requested',
        'step_completed cleanup/release',
        'timer_set cleanup/ctx.sleep',
        'timer_fired cleanup/ctx.sleep',
        'step_completed cleanup/all/x/one',
        'step_completed cleanup/all/y/two',
        'step_completed cleanup/m[1]/item',
        'step_completed cleanup/m[0]/item',
        'run_cancelled',
      ]
        .map((kind) => kind.replace('m[1]', 'm[?]').replace('m[0]', 'm[?]'))
        .map((kind, i) => (kind.includes('m[?]') ? process.world.kinds()[i] : kind)),
    )
  })

  test('G21: a cleanup that was under way before the cancel goes on', async () => {
    const held = gate<string>()
    const seen: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const cleaning = ctx.cleanup(async (c) => {
        seen.push(await c.step('under way', () => held.promise))
        await c.step('next', () => {
          seen.push('next')
        })
      })
      await ctx.sleep('1 day').catch(() => {
        seen.push('sleep rejected')
      })
      await cleaning
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    await cancel(process)
    expect(process.world.record().status).toBe('cancelling')
    held.open('done')
    expect(await end).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(seen).toEqual(['sleep rejected', 'done', 'next'])
  })

  test('G21: the grace deadline is persisted; past it the pass is dropped and the run ends, also when it was dead meanwhile', async () => {
    const held = gate<string>()
    let aborted = 0
    const w = workflow({ name: 'w', input: anything, grace: '10 minutes' }, async (ctx) => {
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx.cleanup((c) =>
          c.step(
            'never ends',
            (call) => {
              call.abortSignal.addEventListener('abort', () => {
                aborted++
              })
              return held.promise
            },
            { timeout: '1 day' },
          ),
        )
      }
    })
    for (const dies of [false, true]) {
      aborted = 0
      const world = new World()
      let process = world.boot(w)
      await process.runs.start(w, 0, { id: ID })
      await process.runs.drive(ID)
      const cancelledAt = process.now
      await cancel(process)
      expect(world.record().status).toBe('cancelling')
      const [requested] = world.entries().filter(({ kind }) => kind === 'cancel_requested')
      expect(requested?.due).toBe(cancelledAt + 600_000)
      await process.pass(599_000)
      expect(world.record().status).toBe('cancelling')
      if (dies) {
        await process.crash()
        process = world.boot(w)
        await process.begin()
        expect(world.record().status).toBe('cancelling')
      }
      await process.pass(1000)
      expect(world.record().status).toBe('cancelled')
      expect(aborted).toBe(1)
      expect(world.kinds().at(-1)).toBe('run_cancelled')
    }
  })

  test('G21: the default grace is 30 seconds, and `grace` of the workflow is another', async () => {
    for (const [options, grace] of [
      [{}, 30_000],
      [{ grace: '2 minutes' as const }, 120_000],
      [{ grace: 0 }, 0],
    ] as const) {
      const w = workflow({ name: 'w', input: anything, ...options }, async (ctx) => {
        try {
          await ctx.sleep('1 day')
        } finally {
          await ctx.cleanup((c) => c.sleep('1 day'))
        }
      })
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      await process.runs.drive(ID)
      await process.runs.cancel(ID)
      const began = process.now
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
      expect(process.now - began).toBe(grace)
    }
  })

  test('G21: a cleanup that awaits something foreign is dropped at the grace deadline, and the run is cancelled', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx.cleanup(async (c) => {
          await c.step('release', () => 1)
          await forever()
        })
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.cancel(ID)
    const began = process.now
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.now - began).toBe(30_000)
  })

  test('G21: twice is once; the second call says so (B-002, T-084)', async () => {
    const held = gate<string>()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx.cleanup((c) => c.step('slow', () => held.promise))
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    const store = process.world.shelf.open(ID)
    const first = await requestCancel(store, process.now)
    const second = await requestCancel(store, process.now)
    expect([first, second]).toEqual([
      { outcome: 'requested', status: 'waiting' },
      { outcome: 'already_requested', status: 'waiting' },
    ])
    const { end } = await process.begin()
    expect(await requestCancel(store, process.now)).toEqual({ outcome: 'already_requested', status: 'cancelling' })
    held.open('ok')
    expect(await end).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(await requestCancel(store, process.now)).toEqual({ outcome: 'ended', status: 'cancelled' })
    expect(process.world.kinds().filter((kind) => kind === 'cancel_requested')).toHaveLength(1)
  })

  test('G21: two requests posted at once are one cancel', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('1 day')
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    const store = process.world.shelf.open(ID)
    await Promise.all([
      requestCancel(store, process.now, { reason: 'one' }),
      requestCancel(store, process.now, { reason: 'two' }),
    ])
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.world.kinds()).toEqual(['run_started', 'timer_set ctx.sleep', 'cancel_requested', 'run_cancelled'])
    expect((await process.runs.summary(ID)).error).toMatchObject({ message: 'the run was cancelled: one' })
    expect(store.keys('inbox', { limit: 10 })).toEqual([])
  })

  test('G21: of an ended run, of an unknown one, and with a bad reason: an answer or a typed error, and nothing is written (B-106)', async () => {
    const w = workflow({ name: 'w', input: anything }, async () => 1)
    const process = open(w)
    await process.run(w)
    const before = process.world.row()
    const store = process.world.shelf.open(ID)
    expect(await requestCancel(store, process.now)).toEqual({ outcome: 'ended', status: 'completed' })
    expect(process.world.row()).toEqual(before)
    const unknown = process.world.shelf.open('unknown')
    expect((await errorOf(() => requestCancel(unknown, process.now))).code).toBe('run_not_found')
    expect((await errorOf(() => cancelOutcome(unknown))).code).toBe('run_not_found')
    expect(unknown.read()).toBeUndefined()
    for (const reason of ['x'.repeat(1025), 5, null] as never[]) {
      expect((await errorOf(() => requestCancel(store, process.now, { reason }))).code).toBe('invalid_argument')
    }
  })

  test('G21: where the store never says whether it was stored, it is asked for three times, and then refused', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => { await ctx.sleep('1 day') })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    let commits = 0
    const cause = new Error('the line is dead')
    const dumb = override(process.world.shelf.open(ID), { commit: () => {
      if (++commits > 9) throw new Error('it asks without end')
      return { kind: 'unknown', error: cause }
    } })
    expect(await errorOf(() => requestCancel(dumb, process.now))).toMatchObject({ code: 'store_unavailable', retryable: true, cause })
    expect(commits).toBe(3)
  })

  test('G21: durable: posted, then a crash before anybody drove; the run ends cancelled and starts no step (T-086, 5.2 no. 10)', async () => {
    const executed: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('one', async () => {
        executed.push('one')
        if (executed.length === 1) await forever()
      })
      await ctx.step('two', () => {
        executed.push('two')
      })
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.crash()
    await requestCancel(world.shelf.open(ID), first.now)
    const again = world.boot(w)
    expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(executed).toEqual(['one'])
    // Nothing brings it back.
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(executed).toEqual(['one'])
  })

  test.each(['before', 'after'] as const)(
    'G21: a crash %s the commit of the cancel, with and without cleanup',
    async (when) => {
      for (const cleans of [false, true]) {
        const executed: string[] = []
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          try {
            await ctx.step('one', () => {
              executed.push('one')
            })
            await ctx.sleep('1 day')
          } finally {
            if (cleans)
              await ctx.cleanup((c) =>
                c.step('release', () => {
                  executed.push('release')
                }),
              )
          }
        })
        const world = new World()
        const first = world.boot(w)
        await first.runs.start(w, 0, { id: ID })
        await first.runs.drive(ID)
        await requestCancel(world.shelf.open(ID), first.now)
        await first.crash()
        const dying = world.boot(w, {
          faults: { fault: ({ batch }) => (batch?.entries?.[0]?.seq === 4 ? { do: 'crash', when } : undefined) },
        })
        await dying.begin()
        await dying.crash()
        const kept = world.kinds()
        expect(kept.includes('cancel_requested')).toBe(when === 'after')
        const again = world.boot(w)
        expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
        expect(world.kinds()).toEqual([
          'run_started',
          'step_completed one',
          'timer_set ctx.sleep',
          'cancel_requested',
          ...(cleans ? ['step_completed cleanup/release'] : []),
          'run_cancelled',
        ])
        expect(world.kinds().slice(0, kept.length)).toEqual(kept)
        expect(executed.filter((name) => name === 'one')).toHaveLength(1)
        expect(executed.filter((name) => name === 'release').length).toBeLessThanOrEqual(cleans ? 2 : 0)
        expect(world.shelf.open(ID).keys('inbox', { limit: 10 })).toEqual([])
      }
    },
  )

  test('G21: a crash in the middle of the cleanup: committed cleanup steps do not run again, the others do', async () => {
    const executed: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx.cleanup(async (c) => {
          for (const name of ['a', 'b', 'c'])
            await c.step(name, async () => {
              executed.push(name)
              if (name === 'b' && executed.length === 2) await forever()
            })
        })
      }
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    await first.runs.cancel(ID)
    await first.begin()
    expect(executed).toEqual(['a', 'b'])
    await first.crash()
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(executed).toEqual(['a', 'b', 'b', 'c'])
  })

  test('G21: of a blocked run: its function cannot be reached, so it ends in one commit', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('a', () => 1)
      throw new TypeError('typo')
    })
    const process = open(w)
    await process.run(w)
    expect(process.world.record().status).toBe('blocked')
    await process.runs.cancel(ID, 'never mind')
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.world.kinds()).toEqual(['run_started', 'step_completed a', 'cancel_requested', 'run_cancelled'])
    expect(process.world.record()).toMatchObject({ status: 'cancelled', blocked: undefined })
  })

  test.each(['unknown_version', 'not_registered', 'divergence', 'no_progress'])(
    'G21: of a run that is blocked by %s',
    async (code) => {
      const make = (name: string, version: number, steps: readonly string[]) =>
        workflow({ name, version, input: anything }, async (ctx) => {
          for (const step of steps) await ctx.step(step, () => 1)
          await ctx.sleep('1 day')
        })
      const world = new World()
      const first = world.boot(make('w', 1, ['a']))
      await first.runs.start(make('w', 1, ['a']), 0, { id: ID })
      await first.runs.drive(ID)
      await first.crash()
      const deployed = {
        unknown_version: make('w', 2, ['a']),
        not_registered: make('v', 1, ['a']),
        divergence: make('w', 1, ['b']),
        no_progress: make('w', 1, ['a']),
      }[code]
      if (code === 'no_progress') world.rewrite({ status: 'running', wakes: 50, wokenSeq: 3 })
      const second = world.boot(deployed as ReturnType<typeof make>)
      expect(await second.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code } })
      await second.runs.cancel(ID)
      await second.idle()
      expect(world.record().status).toBe('cancelled')
      expect(world.row().wakeAt).toBe(null)
    },
  )

  test('G21: a cancel that comes in the very moment in which the run is blocked is not forgotten', async () => {
    const w = workflow({ name: 'w', input: anything }, async () => {
      throw new TypeError('typo')
    })
    const world = new World()
    let posted = false
    const process = world.boot(w, {
      faults: {
        fault: ({ batch }) => {
          if (
            batch?.row === undefined ||
            posted ||
            world.shelf.open(ID).read() === undefined ||
            world.record().status !== 'running'
          )
            return undefined
          posted = true
          // Durable, and the driver is told, while its commit is on the way.
          return { do: 'delay', when: 'before', until: process.runs.cancel(ID) }
        },
      },
    })
    await process.runs.start(w, 0, { id: ID })
    await process.runs.settle(ID)
    await process.idle()
    expect(posted).toBe(true)
    expect(world.record().status).toBe('cancelled')
  })

  test('G21: a cancel that is read together with a foreign await is not lost', async () => {
    const timer = gate()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      void timer.promise.then(() => ctx.sleep(1).catch(() => {}))
      await ctx.step('held', forever)
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    await requestCancel(process.world.shelf.open(ID), process.now)
    void (await process.runs.driver(ID)).poke()
    timer.open()
    expect(await end).toEqual({ kind: 'ended', status: 'cancelled' })
  })

  test('G21: outranks the outcomes that are there at the same moment, and the end of the function', async () => {
    const held = gate<string>()
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', () => held.promise).catch(() => 'caught'),
    )
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    await requestCancel(process.world.shelf.open(ID), process.now)
    held.open('value')
    await (await process.runs.driver(ID)).poke()
    // The function catches the rejection and returns: it can only end cancelled all the same.
    expect(await end).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(process.world.kinds()).toEqual(['run_started', 'cancel_requested', 'run_cancelled'])
  })

  test('G21: a bug in the cleanup does not block a cancelled run', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx.cleanup(() => {
          throw new TypeError('typo')
        })
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
  })

  test('G21: a step function gets a signal and no controller; its own abort cancels nothing (T-083)', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', (call) => {
        const own = new AbortController()
        own.abort()
        return [Object.hasOwn(call, 'controller'), 'abort' in call.abortSignal, call.abortSignal.aborted]
      }),
    )
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toEqual([false, false, false])
  })

  test('G21: the cancelled run replays to the same end from every prefix of its journal', async () => {
    const seen: string[][] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const trace: string[] = []
      seen.push(trace)
      try {
        await Promise.all([
          ctx.sleep('1 day').catch((e: { code: string }) => {
            trace.push(`sleep ${e.code}`)
            throw e
          }),
          ctx
            .step('s', async () => 1)
            .then(() => {
              trace.push('s')
            }),
        ])
      } finally {
        await ctx.cleanup(async (c) => {
          trace.push(`clean ${await c.step('one', async () => 1)}`)
          await c.sleep(10)
          trace.push(`clean ${await c.step('two', () => 2)}`)
        })
      }
    })
    const world = new World()
    let process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.cancel(ID)
    for (let i = 0; i < 20 && world.record().status !== 'cancelled'; i++) {
      const entries = world.kinds().length
      await process.crash()
      process = world.boot(w, {
        faults: {
          fault: ({ batch }) =>
            batch?.entries !== undefined && batch.entries[0]?.seq !== entries + 1
              ? { do: 'crash', when: 'before' }
              : undefined,
        },
      })
      await process.begin()
      await process.pass(100)
    }
    expect(world.record().status).toBe('cancelled')
    expect(seen.at(-1)).toEqual(['s', 'sleep cancelled', 'clean 1', 'clean 2'])
    expect(seen.length).toBeGreaterThan(4)
  })
})

describe('run timeouts', () => {
  const timed = (executed: string[] = []) =>
    workflow({ name: 'w', input: anything, timeout: '1 hour' }, async (ctx) => {
      try {
        await ctx.step('a', () => {
          executed.push('a')
        })
        await ctx.sleep('1 day')
        return 'never'
      } finally {
        await ctx.cleanup((c) =>
          c.step('release', () => {
            executed.push('release')
          }),
        )
      }
    })

  test('G21: at its deadline the run is wound up like a cancel and fails with run_timeout', async () => {
    const executed: string[] = []
    const process = open(timed(executed))
    const began = process.now
    expect(await process.run(timed(executed))).toEqual({ kind: 'ended', status: 'failed' })
    expect(process.now - began).toBe(3_600_000)
    expect(executed).toEqual(['a', 'release'])
    expect(process.world.kinds()).toEqual([
      'run_started',
      'step_completed a',
      'timer_set ctx.sleep',
      'deadline_passed',
      'step_completed cleanup/release',
      'run_failed',
    ])
    expect((await process.runs.summary(ID)).error).toMatchObject({
      code: 'run_timeout',
      details: { deadline: began + 3_600_000 },
    })
  })

  test('G21: passed while nothing was running: noticed when it is opened, before any step', async () => {
    const executed: string[] = []
    const w = workflow({ name: 'w', input: anything, timeout: '1 hour' }, async (ctx) => {
      await ctx.step('a', async () => {
        executed.push('a')
        await forever()
      })
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.crash()
    world.tell(first.now + 7_200_000)
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(executed).toEqual(['a'])
    expect(world.kinds()).toEqual(['run_started', 'deadline_passed', 'run_failed'])
  })

  test('G21: counted from the start of the run, not of the process; kept by a delay', async () => {
    const process = open(timed())
    const began = process.now
    await process.runs.start(timed(), 0, { id: ID, delay: '30 minutes' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(process.now - began).toBe(3_600_000)
    expect((await process.runs.summary(ID)).deadline).toBe(began + 3_600_000)
  })

  test('G21: a step under way is aborted, and a run that ends in time has none', async () => {
    let reason: unknown
    const slow = workflow({ name: 'w', input: anything, timeout: '1 minute' }, async (ctx) =>
      ctx.step(
        's',
        (call) =>
          new Promise(() => {
            call.abortSignal.addEventListener('abort', () => {
              reason = call.abortSignal.reason
            })
          }),
      ),
    )
    const process = open(slow, { stepsUseHostTime: true })
    expect(await process.run(slow)).toEqual({ kind: 'ended', status: 'failed' })
    expect(reason).toMatchObject({ code: 'run_timeout' })
    const quick = workflow({ name: 'w', input: anything, timeout: '1 minute' }, async () => 1)
    expect(await open(quick).run(quick)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('G21: a cancel after the deadline changes nothing: it ends failed', async () => {
    const w = workflow({ name: 'w', input: anything, timeout: '1 hour', grace: '1 hour' }, async (ctx) => {
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx.cleanup((c) => c.sleep('10 minutes'))
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    process.host.advance(3_600_000)
    await process.runs.drive(ID)
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(process.world.kinds().filter((kind) => kind === 'cancel_requested')).toEqual([])
  })
})
