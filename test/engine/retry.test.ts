import { describe, expect, test } from 'vitest'
import type { RetryPolicy } from '../../src/context.ts'
import { defaultRetry, nextDelay, retryOf } from '../../src/engine/retry.ts'
import { permanent, retryAfter, workflow } from '../../src/index.ts'
import { limits } from '../../src/limits.ts'
import { anything, errorOf, gate, ID, open, World } from './support.ts'

const plain = { jitter: 0 } as const

/** Runs a step that always fails: the attempts' times, relative to the first, and the entries. */
async function attemptsOf(
  retry: RetryPolicy | undefined,
  fail: (attempt: number) => unknown = () => {
    throw new Error('busy')
  },
) {
  const times: number[] = []
  const w = workflow({ name: 'w', input: anything }, async (ctx) =>
    ctx.step(
      's',
      (call) => {
        times.push(process.now)
        return fail(call.attempt)
      },
      retry === undefined ? {} : { retry },
    ),
  )
  const process = open(w)
  const end = await process.run(w)
  const [first = 0] = times
  return {
    times: times.map((time) => time - first),
    kinds: process.world.kinds(),
    end,
    error: (await process.runs.summary(ID)).error,
  }
}

describe('retries', () => {
  const tables: readonly (readonly [string, RetryPolicy, readonly number[]])[] = [
    ['constant', { ...plain, limit: 3, delay: 1000, backoff: 'constant' }, [0, 1000, 2000, 3000]],
    ['linear', { ...plain, limit: 4, delay: 1000, backoff: 'linear' }, [0, 1000, 3000, 6000, 10_000]],
    ['exponential', { ...plain, limit: 4, delay: 1000, backoff: 'exponential' }, [0, 1000, 3000, 7000, 15_000]],
    [
      'exponential, capped',
      { ...plain, limit: 4, delay: '1 second', maxDelay: '3 seconds' },
      [0, 1000, 3000, 6000, 9000],
    ],
    ['linear, capped', { ...plain, limit: 3, delay: 1000, backoff: 'linear', maxDelay: 1500 }, [0, 1000, 2500, 4000]],
    ['no delay', { ...plain, limit: 2, delay: 0 }, [0, 0, 0]],
    ['none', { limit: 0 }, [0]],
    ['long', { ...plain, limit: 1, delay: '2 days', maxDelay: '3 days' }, [0, 172_800_000]],
  ]
  for (const [what, retry, times] of tables) {
    test(`B-076: ${what}: attempts at the times that the policy names, then the failure is final`, async () => {
      const done = await attemptsOf(retry)
      expect(done.times).toEqual(times)
      expect(done.end).toEqual({ kind: 'ended', status: 'failed' })
      expect(done.kinds).toEqual([
        'run_started',
        ...Array.from({ length: times.length - 1 }, () => 'attempt_failed s'),
        'step_failed s',
        'run_failed',
      ])
      expect(done.error).toMatchObject({
        code: 'step_failed',
        details: { key: 's', attempts: times.length },
        cause: { message: 'busy' },
      })
    })
  }

  test('B-076: the default: 5 retries, 1 second doubling to 5 minutes, a quarter of jitter', async () => {
    expect(defaultRetry).toEqual({ limit: 5, delayMs: 1000, backoff: 'exponential', maxDelayMs: 300_000, jitter: 0.25 })
    const { times } = await attemptsOf(undefined)
    expect(times).toHaveLength(6)
    for (const [i, most] of [1000, 2000, 4000, 8000, 16_000].entries()) {
      const waited = (times[i + 1] as number) - (times[i] as number)
      expect(waited).toBeLessThanOrEqual(most)
      expect(waited).toBeGreaterThanOrEqual(most * 0.75)
    }
  })

  test('B-076: jitter takes from the delay and never adds, so the cap holds; 100 % may take all of it', () => {
    const retry = retryOf({ delay: 1000, jitter: 1, backoff: 'constant' }, limits())
    const draws = [0, 0.25, 0.5, 0.999999]
    expect(draws.map((draw) => nextDelay(retry, 1, new Error('x'), draw))).toEqual([1000, 750, 500, 0])
    const some = retryOf({ delay: 1000, jitter: 0.1, maxDelay: 1500 }, limits())
    for (const draw of draws) {
      const delay = nextDelay(some, 3, new Error('x'), draw) as number
      expect(delay).toBeLessThanOrEqual(1500)
      expect(delay).toBeGreaterThanOrEqual(1350)
    }
  })

  test('B-076: exponential does not overflow, however many attempts', () => {
    const retry = retryOf({ limit: 10_000, delay: '1 second', jitter: 0, maxDelay: '1 day' }, limits())
    for (const attempt of [1, 10, 53, 54, 1000, 10_000])
      expect(nextDelay(retry, attempt, new Error('x'), 0)).toBe(
        Math.min(1000 * 2 ** Math.min(attempt - 1, 52), 86_400_000),
      )
    expect(nextDelay(retry, 10_001, new Error('x'), 0)).toBeUndefined()
  })

  test('B-076: an error\'s own delay wins over the policy, also over its cap; and it uses up an attempt (B-075)', async () => {
    const { times } = await attemptsOf({ ...plain, limit: 2, delay: 1000, maxDelay: 2000 }, (attempt) => {
      throw attempt === 1 ? retryAfter(new Error('429'), '10 seconds') : new Error('busy')
    })
    expect(times).toEqual([0, 10_000, 12_000])
    const soon = await attemptsOf({ ...plain, limit: 3, delay: '1 hour' }, () => {
      throw retryAfter(new Error('429'), 0)
    })
    expect(soon.times).toEqual([0, 0, 0, 0])
  })

  test('B-075: what decides whether there is another attempt: the error\'s word, its cause\'s, then the policy; never its text', async () => {
    const wrapped = (): never => {
      throw new Error('outer', { cause: permanent(new Error('inner')) })
    }
    const overruled = (): never => {
      const error = new Error('outer', { cause: permanent(new Error('inner')) }) as Error & { retryable?: boolean }
      error.retryable = true
      throw error
    }
    const table: readonly (readonly [string, () => never, number])[] = [
      [
        'an error that says nothing',
        () => {
          throw new Error('x')
        },
        3,
      ],
      [
        'permanent',
        () => {
          throw permanent(new Error('x'))
        },
        1,
      ],
      [
        'permanent, and a delay',
        () => {
          throw retryAfter(permanent(new Error('x')), 5)
        },
        1,
      ],
      [
        'retryable: false as a field',
        () => {
          throw Object.assign(new Error('x'), { retryable: false })
        },
        1,
      ],
      [
        'retryable: true',
        () => {
          throw Object.assign(new Error('x'), { retryable: true })
        },
        3,
      ],
      [
        'exit class terminal, over its own flag',
        () => {
          throw Object.assign(new Error('x'), { exitClass: 'terminal', retryable: true })
        },
        1,
      ],
      [
        'exit class retry, over its own flag',
        () => {
          throw Object.assign(new Error('x'), { exitClass: 'retry', retryable: false })
        },
        3,
      ],
      ['a permanent cause', wrapped, 1],
      ['retryable, with a permanent cause: the nearest wins', overruled, 3],
      [
        'toStructuredError()',
        () => {
          throw Object.assign(new Error('x'), { toStructuredError: () => ({ retryable: false }) })
        },
        1,
      ],
      [
        'a text about fatality',
        () => {
          throw new Error('fatal, permanent, do not retry')
        },
        3,
      ],
      [
        'a TypeError',
        () => {
          throw new TypeError('x')
        },
        3,
      ],
      [
        'something that is no error',
        () => {
          throw 'x'
        },
        3,
      ],
      [
        'undefined',
        () => {
          throw undefined
        },
        3,
      ],
    ]
    for (const [what, fail, attempts] of table) {
      expect((await attemptsOf({ ...plain, limit: 2, delay: 1 }, fail)).times.length, what).toBe(attempts)
    }
  })

  test('a step that gives what cannot be stored fails at once, naming the path (T-048)', async () => {
    const { kinds, error } = await attemptsOf({ limit: 5 }, () => ({ a: { b: [1, Symbol('x')] } }))
    expect(kinds).toEqual(['run_started', 'step_failed s', 'run_failed'])
    expect(error).toMatchObject({
      code: 'step_failed',
      cause: { code: 'not_serializable', details: { path: expect.stringContaining('a.b[1]') as unknown } },
    })
  })

  test('B-076: attempt numbers and the next time survive a crash during the back-off (Z-072)', async () => {
    const attempts: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step(
        's',
        (call) => {
          attempts.push(`${call.attempt} ${process.now - began}`)
          throw new Error('busy')
        },
        { retry: { ...plain, limit: 3, delay: '1 hour', backoff: 'constant', maxDelay: '1 day' } },
      ),
    )
    const world = new World()
    let process = world.boot(w)
    const began = process.now
    await process.runs.start(w, 0, { id: ID })
    for (let i = 0; i < 3; i++) {
      const end = await process.runs.drive(ID)
      expect(end).toEqual({ kind: 'parked', wakeAt: began + (i + 1) * 3_600_000 })
      // Half of the back-off passes, then everything dies; what is left of it is what is waited for.
      process.host.advance(1_800_000)
      await process.crash()
      process = world.boot(w)
      expect(await process.runs.drive(ID)).toEqual(end)
      process.host.advance(1_800_000)
    }
    expect(await process.runs.drive(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(attempts).toEqual(['1 0', '2 3600000', '3 7200000', '4 10800000'])
    // The budget is durable: it does not begin again.
    await process.crash()
    expect(await world.boot(w).runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(attempts).toHaveLength(4)
  })

  test.each(['before', 'after', 'lost'] as const)(
    'B-076: a crash %s an attempt_failed: the attempt\'s number is right',
    async (when) => {
      const attempts: number[] = []
      const w = workflow({ name: 'w', input: anything }, async (ctx) =>
        ctx.step(
          's',
          (call) => {
            attempts.push(call.attempt)
            if (call.attempt < 3) throw new Error('busy')
            return call.attempt
          },
          { retry: { ...plain, delay: '1 hour' } },
        ),
      )
      const world = new World()
      const first = world.boot(w, {
        faults: {
          fault: ({ batch }) =>
            batch?.entries?.[0]?.seq !== 2
              ? undefined
              : when === 'lost'
                ? { do: 'unknown', when: 'after' }
                : { do: 'crash', when },
        },
      })
      await first.runs.start(w, 0, { id: ID })
      await first.begin()
      await first.crash()
      const again = world.boot(w)
      expect(await again.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      expect(attempts).toEqual(when === 'before' ? [1, 1, 2, 3] : [1, 2, 3])
      expect(
        world
          .entries()
          .filter(({ kind }) => kind === 'attempt_failed')
          .map(({ attempt }) => attempt),
      ).toEqual([1, 2])
    },
  )

  test('B-076: an attempt whose failure was recorded, although the store could not say so, is not recorded twice', async () => {
    const attempts: number[] = []
    let strikes = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step(
        's',
        (call) => {
          attempts.push(call.attempt)
          if (call.attempt < 2) throw new Error('busy')
          return 1
        },
        { retry: { ...plain, delay: '1 hour', maxDelay: '1 day' } },
      ),
    )
    const process = open(w, {
      faults: {
        fault: ({ method, batch }) => {
          if (batch?.entries?.[0]?.seq === 2) return { do: 'unknown', when: strikes++ === 0 ? 'after' : 'before' }
          // Nor can the head be read: the drive gives up, and the attempt stays in memory.
          return strikes > 0 && strikes < 4 && method === 'read' ? (strikes++, { do: 'fail' }) : undefined
        },
      },
    })
    await process.runs.start(w, 0, { id: ID })
    const began = process.now
    expect((await process.runs.drive(ID)).kind).toBe('unavailable')
    process.host.advance(60_000)
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: began + 3_600_000 })
    expect(process.world.kinds()).toEqual(['run_started', 'attempt_failed s'])
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(attempts).toEqual([1, 2])
    expect(process.now).toBe(began + 3_600_000)
  })

  test('a bad policy is a usage error before anything is written', async () => {
    const bad: readonly (readonly [string, object])[] = [
      ['invalid_argument', { limit: -1 }],
      ['invalid_argument', { limit: 1.5 }],
      ['invalid_argument', { limit: '3' }],
      ['invalid_argument', { jitter: 2 }],
      ['invalid_argument', { jitter: NaN }],
      ['invalid_argument', { backoff: 'random' }],
      ['invalid_duration', { delay: 'soon' }],
      ['invalid_duration', { maxDelay: -1 }],
      ['limit_exceeded', { limit: 10_001 }],
    ]
    for (const [code, retry] of bad) {
      expect((await errorOf(() => retryOf(retry as RetryPolicy, limits()))).code, JSON.stringify(retry)).toBe(code)
      const { kinds } = await attemptsOf(retry as RetryPolicy)
      expect(
        kinds.filter((kind) => kind !== 'run_failed'),
        JSON.stringify(retry),
      ).toEqual(['run_started'])
    }
  })
})

describe('step timeouts', () => {
  test('B-078: at its timeout the signal aborts, the attempt counts as failed, and it is tried again', async () => {
    const seen: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step(
        's',
        (call) =>
          new Promise<string>((resolve) => {
            call.abortSignal.addEventListener('abort', () => {
              seen.push(`${call.attempt} ${(call.abortSignal.reason as { code: string }).code}`)
            })
            if (call.attempt === 3) resolve('third time')
          }),
        { timeout: '10 seconds', retry: { ...plain, limit: 2, delay: '1 minute', backoff: 'constant' } },
      ),
    )
    const process = open(w, { stepsUseHostTime: true })
    const began = process.now
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(seen).toEqual(['1 step_timeout', '2 step_timeout'])
    expect(process.now - began).toBe(2 * 10_000 + 2 * 60_000)
    expect((await process.runs.summary(ID)).output).toBe('third time')
  })

  test('B-078: on the last attempt it is a step_timeout with the limit and the cause', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', () => new Promise(() => {}), { timeout: 5000, retry: { limit: 0 } }),
    )
    const process = open(w, { stepsUseHostTime: true })
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
    expect((await process.runs.summary(ID)).error).toMatchObject({
      code: 'step_timeout',
      cause: { code: 'step_timeout', details: { timeoutMs: 5000, attempt: 1, key: 's' } },
    })
    expect(process.world.kinds()).toEqual(['run_started', 'step_failed s', 'run_failed'])
  })

  test('B-080: a late result of an attempt that timed out is fenced off, also when the next attempt is under way', async () => {
    const gates = [gate<string>(), gate<string>()]
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', (call) => (gates[call.attempt - 1] as { promise: Promise<string> }).promise, {
        timeout: 5000,
        retry: { limit: 1, delay: 0, jitter: 0 },
      }),
    )
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end, isOver } = await process.begin()
    await process.pass(5000)
    expect(process.world.kinds()).toEqual(['run_started', 'attempt_failed s'])
    gates[0]?.open('too late')
    await process.idle()
    expect(isOver()).toBe(false)
    gates[1]?.open('in time')
    expect(await end).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toBe('in time')
  })

  test('B-080: a late rejection of an abandoned attempt is no unhandled rejection and changes nothing', async () => {
    const first = gate<string>()
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', (call) => (call.attempt === 1 ? first.promise : 'second'), {
        timeout: 5000,
        retry: { limit: 1, delay: 0, jitter: 0 },
      }),
    )
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    await process.pass(5000)
    expect(await end).toEqual({ kind: 'ended', status: 'completed' })
    first.fail(new Error('late'))
    await process.idle()
    expect((await process.runs.summary(ID)).output).toBe('second')
  })

  test('the default timeout is 10 minutes, of one attempt', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', () => new Promise(() => {}), { retry: { limit: 0 } }),
    )
    const process = open(w, { stepsUseHostTime: true })
    const began = process.now
    await process.run(w)
    expect(process.now - began).toBe(600_000)
  })

  test('a timeout that passes while a parallel step is delivered is not forgotten', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.settled({
        slow: (c) => c.step('slow', () => new Promise(() => {}), { timeout: 1000, retry: { limit: 0 } }),
        busy: async (c) => {
          for (let i = 0; i < 10; i++) await c.sleep(150)
        },
      }),
    )
    const process = open(w, { stepsUseHostTime: true })
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toMatchObject({
      slow: { status: 'rejected', reason: { code: 'step_timeout' } },
      busy: { status: 'fulfilled' },
    })
    const failed = process.world.entries().find(({ kind }) => kind === 'step_failed')
    expect((failed?.at ?? 0) - (process.world.entries()[0]?.at ?? 0)).toBe(1000)
  })

  test('steps still open when the function ends are aborted, and their results are dropped (G16)', async () => {
    const held = gate<string>()
    let reason: unknown
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      void ctx.step('open', (call) => {
        call.abortSignal.addEventListener('abort', () => {
          reason = call.abortSignal.reason
        })
        return held.promise
      })
      await ctx.step('done', async () => 1)
      return 'end'
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    expect(await end).toEqual({ kind: 'ended', status: 'completed' })
    expect(reason).toMatchObject({ code: 'cancelled' })
    held.open('late')
    await process.idle()
    expect(process.world.kinds()).toEqual(['run_started', 'step_completed done', 'run_completed'])
  })

  test('what a step\'s function gets can be taken apart', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step(
        's',
        ({ input, attempt, idempotencyKey, abortSignal, key, runId, services, progress, log, readBlob }) => {
          progress(1, 2)
          log('half', { done: 1 })
          return [input, attempt, idempotencyKey.length, abortSignal.aborted, key, runId, services, typeof readBlob]
        },
        { input: { a: 1 } },
      ),
    )
    const process = open(w, { services: { lent: true } })
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual([
      { a: 1 },
      1,
      40,
      false,
      's',
      ID,
      { lent: true },
      'function',
    ])
    expect(process.host.logs).toEqual([{ level: 'info', runId: ID, key: 's', message: 'half', data: { done: 1 } }])
  })

  test('progress is shown to who watches, and bad numbers are a typed error', async () => {
    const held = gate()
    const w = workflow({ name: 'w', input: anything }, async (ctx) =>
      ctx.step('s', async (call) => {
        call.progress(3, 10)
        await held.promise
        for (const bad of [[-1], [NaN], ['1'], [1, -1]] as unknown as [number][])
          expect(
            (
              await errorOf(() => {
                call.progress(...bad)
              })
            ).code,
          ).toBe('invalid_argument')
      }),
    )
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const { end } = await process.begin()
    expect((await process.runs.driver(ID)).liveness()).toEqual({
      isDriving: true,
      steps: [{ key: 's', attempt: 1, startedAt: process.now, progress: { done: 3, of: 10 } }],
    })
    held.open()
    expect(await end).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.driver(ID)).liveness()).toEqual({ isDriving: false, steps: [] })
  })
})
