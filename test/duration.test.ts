import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { type Duration, MAX_DURATION_MS, toMs } from '../src/duration.ts'

const refused = (name: string) =>
  expect.objectContaining({
    code: 'invalid_duration',
    kind: 'usage',
    message: expect.stringContaining(`${name}: `) as string,
  })

describe('durations', () => {
  test.each<[Duration, number]>([
    [0, 0],
    [1, 1],
    [1.4, 1],
    [1.5, 2],
    [0.4, 0],
    [-0, 0],
    [30_000, 30_000],
    [MAX_DURATION_MS, MAX_DURATION_MS],
    ['0 ms', 0],
    ['250 ms', 250],
    ['1 second', 1000],
    ['30 seconds', 30_000],
    ['1 minute', 60_000],
    ['5 minutes', 300_000],
    ['1 hour', 3_600_000],
    ['1.5 hours', 5_400_000],
    ['2 days', 172_800_000],
    ['1 day', 86_400_000],
    ['1 week', 604_800_000],
    ['2 weeks', 1_209_600_000],
    ['.5 seconds', 500],
    ['1. seconds', 1000],
    ['1e3 ms', 1000],
    ['1.5e-3 seconds', 2],
    ['36525 days', MAX_DURATION_MS],
  ])('G25: %s is %d ms', (duration, ms) => {
    expect(toMs(duration, 'timeout')).toBe(ms)
  })

  test.each<unknown>([
    Number.NaN,
    -1,
    -0.1,
    Infinity,
    -Infinity,
    MAX_DURATION_MS + 1,
    '-1 second',
    '+1 second',
    '1',
    '',
    ' ',
    'second',
    '1second',
    '1  second',
    ' 1 second',
    '1 second ',
    '1 Second',
    '1 month',
    '1 years',
    '1 s',
    'NaN ms',
    'Infinity days',
    '0x10 ms',
    '1,5 hours',
    '1_000 ms',
    '1e999 ms',
    '36526 days',
    `${'1'.repeat(400)} ms`,
    null,
    undefined,
    true,
    5n,
    {},
    [],
    ['1 second'],
    new Date(),
    () => 1,
    Symbol('1 second'),
  ])('G25: %s is refused', (duration) => {
    expect(() => toMs(duration as Duration, 'my setting')).toThrow(refused('my setting'))
  })

  test('G25: a refusal says what is allowed, and quotes no long text whole', () => {
    try {
      toMs('x'.repeat(100_000) as Duration, 'delay')
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ details: { name: 'delay', allowed: MAX_DURATION_MS } })
      expect((error as Error).message.length).toBeLessThan(300)
    }
  })

  test('G25: a long hostile text is refused in no time', () => {
    const started = performance.now()
    expect(() => toMs(`${'1'.repeat(100_000)}x` as Duration, 'delay')).toThrow(refused('delay'))
    expect(performance.now() - started).toBeLessThan(1000)
  })

  test('G25: any allowed number and unit give whole milliseconds, never below 0', () => {
    const seed = 20261120
    console.log(`fast-check seed ${seed}`)
    const units = {
      ms: 1,
      seconds: 1000,
      minutes: 60_000,
      hours: 3_600_000,
      days: 86_400_000,
      weeks: 604_800_000,
    } as const
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 5000, noNaN: true }),
        fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[])),
        (n, unit) => {
          const ms = toMs(`${n} ${unit}`, 'x')
          expect(Number.isSafeInteger(ms) && ms >= 0 && !Object.is(ms, -0)).toBe(true)
          expect(ms).toBe(Math.round(n * units[unit]))
        },
      ),
      { seed, numRuns: 500 },
    )
  })

  test('the compiler refuses what has no such form', () => {
    expectTypeOf<'5 minutes'>().toExtend<Duration>()
    expectTypeOf<'1.5 hours'>().toExtend<Duration>()
    expectTypeOf<number>().toExtend<Duration>()
    expectTypeOf<'5 fortnights'>().not.toExtend<Duration>()
    expectTypeOf<'soon'>().not.toExtend<Duration>()
    expectTypeOf<'5minutes'>().not.toExtend<Duration>()
  })
})
