import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ErrorData, fromErrorData, isStepwellError, permanent, StepwellError, toErrorData } from '../src/errors.ts'

const through = (error: unknown): Error => fromErrorData(JSON.parse(JSON.stringify(toErrorData(error))))

describe('errors as data', () => {
  test('G26: name, message, code, details, cause and errors come back, as the class of the name', () => {
    for (const Class of [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError]) {
      const back = through(
        Object.assign(new Class('m', { cause: new Class('c') }), {
          code: 'E_X',
          details: { a: [1, null, { b: 'c' }] },
        }),
      )
      expect(back.constructor).toBe(Class)
      expect(back).toMatchObject({
        name: Class.name,
        message: 'm',
        code: 'E_X',
        details: { a: [1, null, { b: 'c' }] },
        cause: { message: 'c' },
      })
      expect((back.cause as Error).constructor).toBe(Class)
    }
    const all = through(new AggregateError([new TypeError('a'), 'b'], 'm')) as AggregateError
    expect(all).toBeInstanceOf(AggregateError)
    expect(all.errors.map(String)).toEqual(['TypeError: a', 'Error: b'])
    expect(Object.keys(all)).not.toContain('errors')
  })

  test('G26: an exit class comes back, and one that is none is left out (B-071, B-075)', () => {
    for (const exitClass of ['retry', 'terminal', 'rateLimited', 'unknown'] as const) {
      expect(through(Object.assign(new Error('m'), { exitClass }))).toMatchObject({ exitClass })
      expect(toErrorData(new Error('m', { cause: { name: 'E', message: 'm', toStructuredError: () => ({ exitClass }) } }))).toMatchObject({ exitClass })
    }
    expect('exitClass' in toErrorData(Object.assign(new Error('m'), { exitClass: 'success' }))).toBe(false)
    expect(() => fromErrorData({ version: 1, name: 'Error', message: 'm', exitClass: 'success' })).toThrow(/not the data of an error/)
  })

  test('G26: an error of any other name is an Error with that name', () => {
    class PaymentError extends TypeError {
      override name = 'PaymentError'
    }
    const back = through(new PaymentError('declined'))
    expect([back.constructor, back.name, String(back)]).toEqual([Error, 'PaymentError', 'PaymentError: declined'])
    expect(
      through(
        new (class extends AggregateError {
          override name = 'Many'
        })([new Error('a')], 'm'),
      ),
    ).toBeInstanceOf(AggregateError)
  })

  test('G26: a second trip changes nothing', () => {
    const error = new StepwellError('step_failed', 'm', {
      details: { a: 1 },
      cause: Object.assign(new AggregateError([new Error('x'.repeat(10_000)), permanent('p')], 'n'), { code: 7 }),
    })
    const once = toErrorData(error)
    expect(toErrorData(fromErrorData(once))).toEqual(once)
    expect(JSON.parse(JSON.stringify(once))).toEqual(once)
  })

  test('G26: it is a StepwellError again only when it was one', () => {
    expect(isStepwellError(through(Object.assign(new Error('m'), { code: 'stale_epoch' })))).toBe(false)
    expect(isStepwellError(through(Object.assign(new Error('m'), { code: 'stale_epoch', kind: 'conflict' })))).toBe(false)
    const back = through(
      new StepwellError('stale_epoch', 'm', { retryable: true, details: { a: 1 }, cause: new Error('c') }),
    )
    expect(isStepwellError(back, 'stale_epoch')).toBe(true)
    expect(back).toMatchObject({ name: 'StepwellError', retryable: true, details: { a: 1 }, cause: { message: 'c' } })
  })

  test('G28: a code that only a newer version knows keeps its code and kind', () => {
    const data: ErrorData = {
      version: 1,
      name: 'StepwellError',
      message: 'm',
      code: 'from_the_future',
      kind: 'operator',
      retryable: false,
    }
    const back = fromErrorData(data)
    expect(isStepwellError(back)).toBe(false)
    expect(back).toMatchObject({ name: 'StepwellError', code: 'from_the_future', kind: 'operator' })
    expect(toErrorData(back)).toEqual(data)
  })

  test.each<[string, unknown, Partial<ErrorData>]>([
    ['a text', 'boom', { name: 'Error', message: 'boom' }],
    ['an empty text', '', { message: '' }],
    ['undefined', undefined, { message: 'undefined was thrown' }],
    ['null', null, { message: 'null was thrown' }],
    ['a number', 42, { message: '42 was thrown' }],
    ['a bigint', 42n, { message: '42 was thrown' }],
    ['a symbol', Symbol('x'), { message: 'Symbol(x) was thrown' }],
    ['a function', () => 1, { message: 'a function was thrown' }],
    ['an object', { a: 1 }, { message: 'an object that is not an Error was thrown', details: { thrown: { a: 1 } } }],
    ['a list', [1, 'x'], { message: 'an object that is not an Error was thrown', details: { thrown: [1, 'x'] } }],
    ['an object without a prototype', Object.create(null), { details: { thrown: {} } }],
    [
      'an error that lost its class',
      { name: 'TypeError', message: 'm', code: 'E', details: { a: 1 } },
      { name: 'TypeError', message: 'm', code: 'E', details: { a: 1 } },
    ],
    ['a DOMException', new DOMException('stop', 'AbortError'), { name: 'AbortError', message: 'stop' }],
  ])('G26: whatever is thrown is data: %s', (_, thrown, expected) => {
    const data = toErrorData(thrown)
    expect(data).toMatchObject({ version: 1, name: 'Error', ...expected })
    expect(Object.hasOwn(data, 'code')).toBe(expected.code !== undefined) // a DOMException's legacy number is no code
    expect(fromErrorData(data)).toBeInstanceOf(Error)
  })

  test('G26: errors that fight back are data too', () => {
    const revoked = Proxy.revocable(new Error('gone'), {})
    revoked.revoke()
    const hostile = [
      Object.defineProperties(new Error('m'), {
        message: {
          get() {
            throw new Error('no')
          },
        },
        name: {
          get() {
            throw new Error('no')
          },
        },
        cause: {
          get() {
            throw new Error('no')
          },
        },
      }),
      Object.assign(new Error('m'), {
        details: {
          get a() {
            throw new Error('no')
          },
          b: revoked.proxy,
        },
        toStructuredError() {
          throw new Error('no')
        },
      }),
      Object.assign(new Error('m'), {
        name: 5,
        message: { toString: () => 'no text' },
        code: {},
        details: 'text',
        errors: 'none',
        retryable: 'yes',
        retryAfterMs: -1,
      }),
      { a: revoked.proxy },
      revoked.proxy,
      new Error('m', { cause: revoked.proxy }),
      new AggregateError([revoked.proxy], 'm'),
      Object.assign(new Error('m'), {
        message: {
          toString() {
            throw new Error('no')
          },
        },
        errors: [revoked.proxy],
      }),
    ]
    for (const error of hostile)
      expect(fromErrorData(JSON.parse(JSON.stringify(toErrorData(error))))).toBeInstanceOf(Error)
    expect(toErrorData(hostile[1])).toMatchObject({ details: { b: '[unreadable]' } })
    expect(toErrorData(hostile[2])).toEqual({ version: 1, name: 'Error', message: '' })
    expect(toErrorData(hostile[4])).toEqual({
      version: 1,
      name: 'Error',
      message: 'an error that throws when it is read',
    })
  })

  test('G26: details hold what JSON can say, the rest becomes a marker in brackets (B-071)', () => {
    const circular: Record<string, unknown> = { a: 1 }
    circular['self'] = circular
    circular['list'] = [circular]
    const details = {
      circular,
      f: () => 1,
      s: Symbol('x'),
      u: undefined,
      n: Number.NaN,
      i: -Infinity,
      z: -0,
      big: 10n ** 50n,
      date: new Date(0),
      bad: new Date(Number.NaN),
      map: new Map([[1, 2]]),
      bytes: new Uint8Array(3),
      error: new TypeError('inner'),
      url: new URL('https://example.org/'),
      p: Promise.resolve(),
      nested: { ok: [true, null] },
    }
    const data = toErrorData(Object.assign(new Error('m'), { details }))
    expect(data.details).toEqual({
      circular: { a: 1, self: '[circular]', list: ['[circular]'] },
      f: '[function]',
      s: '[symbol]',
      u: '[undefined]',
      n: '[NaN]',
      i: '[-Infinity]',
      z: 0,
      big: '[bigint 1000000000000000000000000000000000000000]',
      date: '1970-01-01T00:00:00.000Z',
      bad: '[invalid Date]',
      map: '[Map]',
      bytes: '[Uint8Array]',
      error: '[TypeError: inner]',
      url: '[URL]',
      p: '[Promise]',
      nested: { ok: [true, null] },
    })
    expect(Object.is(data.details?.['z'], 0)).toBe(true)
  })

  test('G26: a field named __proto__ stays a field, on the way there and back', () => {
    const details: unknown = JSON.parse('{"__proto__":{"polluted":true},"constructor":1}')
    const back = through(Object.assign(new Error('m'), { details })) as unknown as { details: object }
    expect(JSON.stringify(back.details)).toBe('{"__proto__":{"polluted":true},"constructor":1}')
    expect(Object.getPrototypeOf(back.details)).toBe(Object.prototype)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  test('G26: no stack unless asked for; without one, the error that comes back shows its first line only', () => {
    const error = new TypeError('m')
    expect(toErrorData(error).stack).toBeUndefined()
    expect(through(error).stack).toBe('TypeError: m')
    const data = toErrorData(error, { stack: true })
    expect(data.stack).toBe(error.stack)
    expect(fromErrorData(data).stack).toBe(error.stack)
    expect(toErrorData(error, { stack: true, maxBytes: 20 })).toMatchObject({
      stack: error.stack?.slice(0, 20),
      truncated: true,
    })
  })

  test('redact: no secret is in the data: message, details, causes, stack (B-073)', () => {
    const secret = 'Bearer abc.def.ghi'
    const redact = (text: string, key: string): string =>
      key === 'password' ? '[redacted]' : text.replace(/Bearer \S+/g, 'Bearer [redacted]')
    const error = Object.assign(
      new Error(`call with ${secret}`, { cause: new Error(`x${'y'.repeat(8180)} ${secret}`) }),
      {
        details: { headers: { authorization: secret, list: [secret] }, password: 'hunter2', inner: new Error(secret) },
        code: secret,
      },
    )
    for (const each of [error, secret, { thrown: secret }, new AggregateError([error], secret)]) {
      const json = JSON.stringify(toErrorData(each, { redact, stack: true }))
      expect(json).not.toContain('abc.def')
      expect(json).not.toContain('Bearer a') // cutting comes after redacting, so no half of a secret is left
      expect(json).not.toContain('hunter2')
    }
    expect(toErrorData(error, { redact })).toMatchObject({
      message: 'call with Bearer [redacted]',
      details: { password: '[redacted]' },
    })
    expect(
      toErrorData(new Error('secret'), {
        redact: () => {
          throw new Error('oops')
        },
      }).message,
    ).toBe('[redaction failed]')
  })

  test('toStructuredError: an error of the chain may offer the data (B-072)', () => {
    class ApiError extends Error {
      toStructuredError(): object {
        return {
          name: 'ApiError',
          code: 'card_declined',
          message: 'declined',
          retryable: false,
          retryAfterMs: 50,
          details: { id: 7 },
        }
      }
    }
    const own = {
      version: 1,
      name: 'ApiError',
      message: 'declined',
      code: 'card_declined',
      retryable: false,
      retryAfterMs: 50,
      details: { id: 7 },
    }
    expect(toErrorData(new ApiError('raw'))).toEqual(own)
    const wrapped = new Error('outer', { cause: new Error('middle', { cause: new ApiError('raw') }) })
    const lent = { version: 1, code: 'card_declined', retryable: false, retryAfterMs: 50, details: { id: 7 } }
    expect(toErrorData(wrapped)).toEqual({
      ...lent,
      name: 'Error',
      message: 'outer',
      cause: { ...lent, name: 'Error', message: 'middle', cause: own },
    })
    // Who has a code of his own keeps all of his own.
    expect(toErrorData(Object.assign(new Error('m', { cause: new ApiError('raw') }), { code: 'mine' }))).toEqual({
      version: 1,
      name: 'Error',
      message: 'm',
      code: 'mine',
      cause: own,
    })
    expect(toErrorData(new StepwellError('step_failed', 'm', { cause: new ApiError('raw') }))).toMatchObject({
      code: 'step_failed',
      retryable: false,
    })
  })

  test('G26: plain issues under the name `errors` are not taken for errors', () => {
    const validation = Object.assign(new Error('invalid'), { errors: [{ path: 'a', message: 'required' }] })
    expect(toErrorData(validation)).toEqual({ version: 1, name: 'Error', message: 'invalid' })
    expect(toErrorData(Object.assign(new Error('m'), { errors: [new Error('a')] })).errors).toHaveLength(1)
  })

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'x'],
    ['another version', { version: 2, name: 'Error', message: 'm' }],
    ['no version', { name: 'Error', message: 'm' }],
    ['no name', { version: 1, message: 'm' }],
    ['no message', { version: 1, name: 'Error' }],
    ['a code of another type', { version: 1, name: 'E', message: 'm', code: {} }],
    ['an unknown kind', { version: 1, name: 'E', message: 'm', kind: 'x' }],
    ['a wrong mark', { version: 1, name: 'E', message: 'm', retryable: 1 }],
    ['a wrong delay', { version: 1, name: 'E', message: 'm', retryAfterMs: -1 }],
    ['a list as details', { version: 1, name: 'E', message: 'm', details: [] }],
    ['null as details', { version: 1, name: 'E', message: 'm', details: null }],
    ['a cause that is none', { version: 1, name: 'E', message: 'm', cause: 'x' }],
    ['errors that are none', { version: 1, name: 'E', message: 'm', errors: {} }],
    ['an error in errors that is none', { version: 1, name: 'E', message: 'm', errors: [1] }],
    ['a wrong stack', { version: 1, name: 'E', message: 'm', stack: 1 }],
    ['a wrong mark of truncation', { version: 1, name: 'E', message: 'm', truncated: false }],
  ])('G26: what is not the data of an error is refused: %s', (_, data) => {
    expect(() => fromErrorData(data)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
  })

  test('G26: an endless chain of data is refused, not followed', () => {
    const data: Record<string, unknown> = { version: 1, name: 'E', message: 'm' }
    data['cause'] = data
    expect(() => fromErrorData(data)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
  })

  test('G26: any thrown value gives data that JSON keeps and that comes back (random)', () => {
    const seed = 20261120
    console.log(`fast-check seed ${seed}`)
    let objects = 0
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withNullPrototype: true,
          withSparseArray: true,
        }),
        (thrown) => {
          if (typeof thrown === 'object') objects++
          for (const error of [
            thrown,
            Object.assign(new Error('m'), {
              details: thrown,
              cause: thrown,
              code: thrown,
              errors: [thrown],
              retryable: thrown,
            }),
          ]) {
            const data = toErrorData(error)
            expect(JSON.parse(JSON.stringify(data))).toEqual(data)
            expect(toErrorData(fromErrorData(data))).toEqual(data)
          }
        },
      ),
      { seed, numRuns: 1000 },
    )
    expect(objects).toBeGreaterThan(200)
  }, 60_000)
})
