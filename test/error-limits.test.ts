import { describe, expect, test } from 'vitest'
import { type ErrorData, fromErrorData, toErrorData } from '../src/errors.ts'

const through = (error: unknown): Error => fromErrorData(JSON.parse(JSON.stringify(toErrorData(error))))

describe('errors as data, cut to size', () => {
  test('G25: a message is cut at 8 KiB on a UTF-8 border, and marked (B-073)', () => {
    for (const [character, bytes] of [
      ['a', 1],
      ['é', 2],
      ['東', 3],
      ['😀', 4],
    ] as const) {
      for (const before of ['', 'x', 'xy', 'xyz']) {
        const fits = before + character.repeat((8192 - before.length) / bytes)
        const exact = toErrorData(new Error(fits))
        expect(exact.message).toBe(fits)
        expect(exact.truncated).toBeUndefined()
        const cut = toErrorData(new Error(before + character.repeat(9000)))
        expect(cut.truncated).toBe(true)
        expect(new TextEncoder().encode(cut.message).length).toBeLessThanOrEqual(8192)
        expect(cut.message).toBe(before + character.repeat(Math.floor((8192 - before.length) / bytes)))
        expect(through(new Error(before + character.repeat(9000)))).toMatchObject({ truncated: true })
      }
    }
    expect(toErrorData(new Error('abcdef'), { maxBytes: 3 })).toEqual({
      version: 1,
      name: 'Err',
      message: 'abc',
      truncated: true,
    })
  })

  test('G25: only the error whose text was cut is marked', () => {
    const data = toErrorData(new Error('short', { cause: new Error('x'.repeat(9000)) }))
    expect([data.truncated, data.cause?.truncated]).toEqual([undefined, true])
  })

  test('G25: causes end after the eighth, cycles at once, and both are marked', () => {
    let error = new Error('0')
    for (let i = 1; i <= 20; i++) error = new Error(String(i), { cause: error })
    const messages: string[] = []
    let last: ErrorData | undefined
    for (let at: ErrorData | undefined = toErrorData(error); at !== undefined; at = at.cause) {
      messages.push(at.message)
      last = at
    }
    expect(messages).toEqual(['20', '19', '18', '17', '16', '15', '14', '13', '12'])
    expect(last?.truncated).toBe(true)

    const a = new Error('a')
    const b = new Error('b', { cause: a })
    a.cause = b
    expect(toErrorData(a)).toEqual({
      version: 1,
      name: 'Error',
      message: 'a',
      cause: { version: 1, name: 'Error', message: 'b', truncated: true },
    })
    const self = new AggregateError([], 'self')
    self.errors.push(self, new Error('other'))
    expect(toErrorData(self)).toMatchObject({ truncated: true, errors: [{ message: 'other' }] })
  })

  test('G25: a tree of errors and its details stay small however large they were', () => {
    let wide: Error = new Error('leaf')
    for (let i = 0; i < 8; i++)
      wide = new AggregateError(
        Array.from({ length: 50 }, () => wide),
        'wide',
      )
    const long = new AggregateError(
      Array.from({ length: 10_000 }, () => new Error('one of many')),
      'long',
    )
    const detailed = Object.assign(new Error('m'), {
      details: {
        list: Array.from({ length: 100_000 }, (_, i) => ({ i, text: 'x'.repeat(1000) })),
        ['k'.repeat(100_000)]: 1,
      },
    })
    let deep: unknown = 'bottom'
    for (let i = 0; i < 100; i++) deep = { deep }
    expect(toErrorData(long).errors).toHaveLength(63)
    for (const error of [wide, long, detailed, Object.assign(new Error('m'), { details: deep })]) {
      const data = toErrorData(error)
      expect(JSON.stringify(data).length).toBeLessThan(100_000)
      expect(JSON.stringify(data)).toContain('"truncated":true')
      expect(toErrorData(fromErrorData(data)).message).toBe(data.message)
    }
  })
})
