import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type ErrorCode, type ErrorData, ERRORS, fromErrorData, isErrorCode, isStepwellError, permanent, retryAfter, retryHint, StepwellError, toErrorData } from '../src/errors.ts'

const codes = Object.keys(ERRORS) as ErrorCode[]
const through = (error: unknown): Error => fromErrorData(JSON.parse(JSON.stringify(toErrorData(error))))

describe('the table of errors', () => {
  test.each(codes)('G28: every code has a kind, a status and help: %s', (code) => {
    const { kind, status, help } = ERRORS[code]
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/)
    expect(['usage', 'conflict', 'transient', 'permanent', 'integrity', 'operator']).toContain(kind)
    expect(Number.isInteger(status) && status >= 400 && status < 600).toBe(true)
    expect(help).toMatch(/^[A-Z`].{10,130}\.$/)
    const error = new StepwellError(code, 'what happened')
    expect(error).toMatchObject({ code, kind, name: 'StepwellError', message: 'what happened', retryable: kind === 'transient' })
    expect(through(error)).toMatchObject({ code, kind, message: 'what happened', retryable: kind === 'transient' })
    expect(isStepwellError(through(error), code)).toBe(true)
  })

  test('G28: the list is closed: frozen, every kind is used, no two helps are equal', () => {
    expect(Object.isFrozen(ERRORS) && codes.every((code) => Object.isFrozen(ERRORS[code]))).toBe(true)
    expect(new Set(codes.map((code) => ERRORS[code].kind)).size).toBe(6)
    expect(new Set(codes.map((code) => ERRORS[code].help)).size).toBe(codes.length)
    expect(codes.every(isErrorCode)).toBe(true)
    for (const other of ['', 'toString', '__proto__', 'no_such_code', 1, null, undefined]) expect(isErrorCode(other)).toBe(false)
  })

  test('G28: the statuses that HTTP clients act on', () => {
    const expected: Partial<Record<ErrorCode, number>> = {
      run_not_found: 404, run_swept: 410, input_invalid: 422, input_mismatch: 409, not_found: 404, method_not_allowed: 405, unsupported_media_type: 415, body_too_large: 413,
      malformed_json: 400, unauthorized: 401, forbidden: 403, overloaded: 503, internal: 500, payload_too_large: 413, quota_exceeded: 507,
    }
    for (const [code, status] of Object.entries(expected)) expect(ERRORS[code as ErrorCode].status, code).toBe(status)
  })
})

describe('StepwellError', () => {
  test('G28: carries details and cause, and says whether to try again', () => {
    const cause = new Error('why')
    const error = new StepwellError('store_unavailable', 'm', { details: { n: 1 }, cause, retryable: false })
    expect(error).toMatchObject({ details: { n: 1 }, cause, retryable: false, kind: 'transient' })
    expect(error).toBeInstanceOf(Error)
    expect(error.stack).toContain('errors.test')
    expect(String(error)).toBe('StepwellError: m')
    const bare = new StepwellError('failed', 'm')
    expect([Object.hasOwn(bare, 'details'), Object.hasOwn(bare, 'cause')]).toEqual([false, false])
  })

  test('G28: is known by its brand, whatever copy of the package made it', () => {
    const copy = Object.assign(Object.create({ [Symbol.for('stepwell.error')]: true }) as object, { code: 'locked' })
    expect(isStepwellError(copy)).toBe(true)
    expect(isStepwellError(copy, 'locked')).toBe(true)
    expect(isStepwellError(copy, 'failed')).toBe(false)
    for (const other of [new Error('x'), { code: 'locked', name: 'StepwellError', message: 'x' }, 'locked', null, undefined, () => 1]) expect(isStepwellError(other)).toBe(false)
  })

  test('G28: the guard narrows to the code', () => {
    const error: unknown = new StepwellError('locked', 'm')
    if (!isStepwellError(error, 'locked')) throw new Error('not narrowed')
    const code: 'locked' = error.code
    expect(code).toBe('locked')
  })
})

describe('errors as data', () => {
  test('G26: name, message, code, details, cause and errors come back, as the class of the name', () => {
    for (const Class of [Error, TypeError, RangeError, SyntaxError, ReferenceError, EvalError, URIError]) {
      const back = through(Object.assign(new Class('m', { cause: new Class('c') }), { code: 'E_X', details: { a: [1, null, { b: 'c' }] } }))
      expect(back.constructor).toBe(Class)
      expect(back).toMatchObject({ name: Class.name, message: 'm', code: 'E_X', details: { a: [1, null, { b: 'c' }] }, cause: { message: 'c' } })
      expect((back.cause as Error).constructor).toBe(Class)
    }
    const all = through(new AggregateError([new TypeError('a'), 'b'], 'm')) as AggregateError
    expect(all).toBeInstanceOf(AggregateError)
    expect(all.errors.map(String)).toEqual(['TypeError: a', 'Error: b'])
    expect(Object.keys(all)).not.toContain('errors')
  })

  test('G26: an error of any other name is an Error with that name', () => {
    class PaymentError extends TypeError {
      override name = 'PaymentError'
    }
    const back = through(new PaymentError('declined'))
    expect([back.constructor, back.name, String(back)]).toEqual([Error, 'PaymentError', 'PaymentError: declined'])
    expect(through(new (class extends AggregateError { override name = 'Many' })([new Error('a')], 'm'))).toBeInstanceOf(AggregateError)
  })

  test('G26: a second trip changes nothing', () => {
    const error = new StepwellError('step_failed', 'm', {
      details: { a: 1 }, cause: Object.assign(new AggregateError([new Error('x'.repeat(10_000)), permanent('p')], 'n'), { code: 7 }),
    })
    const once = toErrorData(error)
    expect(toErrorData(fromErrorData(once))).toEqual(once)
    expect(JSON.parse(JSON.stringify(once))).toEqual(once)
  })

  test('G26: it is a StepwellError again only when it was one', () => {
    expect(isStepwellError(through(Object.assign(new Error('m'), { code: 'locked' })))).toBe(false)
    expect(isStepwellError(through(Object.assign(new Error('m'), { code: 'locked', kind: 'conflict' })))).toBe(false)
    const back = through(new StepwellError('locked', 'm', { retryable: true, details: { a: 1 }, cause: new Error('c') }))
    expect(isStepwellError(back, 'locked')).toBe(true)
    expect(back).toMatchObject({ name: 'StepwellError', retryable: true, details: { a: 1 }, cause: { message: 'c' } })
  })

  test('G28: a code that only a newer version knows keeps its code and kind', () => {
    const data: ErrorData = { version: 1, name: 'StepwellError', message: 'm', code: 'from_the_future', kind: 'operator', retryable: false }
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
    ['an error that lost its class', { name: 'TypeError', message: 'm', code: 'E', details: { a: 1 } }, { name: 'TypeError', message: 'm', code: 'E', details: { a: 1 } }],
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
      Object.defineProperties(new Error('m'), { message: { get() { throw new Error('no') } }, name: { get() { throw new Error('no') } }, cause: { get() { throw new Error('no') } } }),
      Object.assign(new Error('m'), { details: { get a() { throw new Error('no') }, b: revoked.proxy }, toStructuredError() { throw new Error('no') } }),
      Object.assign(new Error('m'), { name: 5, message: { toString: () => 'sly' }, code: {}, details: 'text', errors: 'none', retryable: 'yes', retryAfterMs: -1 }),
      { a: revoked.proxy },
    ]
    for (const error of hostile) expect(fromErrorData(JSON.parse(JSON.stringify(toErrorData(error))))).toBeInstanceOf(Error)
    expect(toErrorData(hostile[1])).toMatchObject({ details: { b: '[unreadable]' } })
    expect(toErrorData(hostile[2])).toEqual({ version: 1, name: 'Error', message: 'sly' })
  })

  test('G26: details hold what JSON can say, the rest becomes a marker in brackets (B-071)', () => {
    const circular: Record<string, unknown> = { a: 1 }
    circular['self'] = circular
    circular['list'] = [circular]
    const details = {
      circular, f: () => 1, s: Symbol('x'), u: undefined, n: Number.NaN, i: -Infinity, z: -0, big: 10n ** 50n, date: new Date(0), bad: new Date(Number.NaN), map: new Map([[1, 2]]),
      bytes: new Uint8Array(3), error: new TypeError('inner'), url: new URL('https://example.org/'), p: Promise.resolve(), nested: { ok: [true, null] },
    }
    const data = toErrorData(Object.assign(new Error('m'), { details }))
    expect(data.details).toEqual({
      circular: { a: 1, self: '[circular]', list: ['[circular]'] }, f: '[function]', s: '[symbol]', u: '[undefined]', n: '[NaN]', i: '[-Infinity]', z: 0,
      big: '[bigint 1000000000000000000000000000000000000000]', date: '1970-01-01T00:00:00.000Z', bad: '[invalid Date]', map: '[Map]', bytes: '[Uint8Array]',
      error: '[TypeError: inner]', url: '[URL]', p: '[Promise]', nested: { ok: [true, null] },
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

  test('G25: a message is cut at 8 KiB on a UTF-8 border, and marked (B-073)', () => {
    for (const [character, bytes] of [['a', 1], ['é', 2], ['東', 3], ['😀', 4]] as const) {
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
    expect(toErrorData(new Error('abcdef'), { maxBytes: 3 })).toEqual({ version: 1, name: 'Err', message: 'abc', truncated: true })
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
    expect(toErrorData(a)).toEqual({ version: 1, name: 'Error', message: 'a', cause: { version: 1, name: 'Error', message: 'b', truncated: true } })
    const self = new AggregateError([], 'self')
    self.errors.push(self, new Error('other'))
    expect(toErrorData(self)).toMatchObject({ truncated: true, errors: [{ message: 'other' }] })
  })

  test('G25: a tree of errors and its details stay small however large they were', () => {
    let wide: Error = new Error('leaf')
    for (let i = 0; i < 8; i++) wide = new AggregateError(Array.from({ length: 50 }, () => wide), 'wide')
    const detailed = Object.assign(new Error('m'), { details: { list: Array.from({ length: 100_000 }, (_, i) => ({ i, text: 'x'.repeat(1000) })), ['k'.repeat(100_000)]: 1 } })
    let deep: unknown = 'bottom'
    for (let i = 0; i < 100; i++) deep = { deep }
    for (const error of [wide, detailed, Object.assign(new Error('m'), { details: deep })]) {
      const data = toErrorData(error)
      expect(JSON.stringify(data).length).toBeLessThan(100_000)
      expect(JSON.stringify(data)).toContain('"truncated":true')
      expect(toErrorData(fromErrorData(data)).message).toBe(data.message)
    }
  })

  test('G26: no stack unless asked for; without one, the error that comes back shows its first line only', () => {
    const error = new TypeError('m')
    expect(toErrorData(error).stack).toBeUndefined()
    expect(through(error).stack).toBe('TypeError: m')
    const data = toErrorData(error, { stack: true })
    expect(data.stack).toBe(error.stack)
    expect(fromErrorData(data).stack).toBe(error.stack)
    expect(toErrorData(error, { stack: true, maxBytes: 20 })).toMatchObject({ stack: error.stack?.slice(0, 20), truncated: true })
  })

  test('redact: no secret is in the data: message, details, causes, stack (B-073)', () => {
    const secret = 'Bearer abc.def.ghi'
    const redact = (text: string, key: string): string => (key === 'password' ? '[redacted]' : text.replace(/Bearer \S+/g, 'Bearer [redacted]'))
    const error = Object.assign(new Error(`call with ${secret}`, { cause: new Error(`x${'y'.repeat(8180)} ${secret}`) }), {
      details: { headers: { authorization: secret, list: [secret] }, password: 'hunter2', inner: new Error(secret) }, code: secret,
    })
    for (const each of [error, secret, { thrown: secret }, new AggregateError([error], secret)]) {
      const json = JSON.stringify(toErrorData(each, { redact, stack: true }))
      expect(json).not.toContain('abc.def')
      expect(json).not.toContain('Bearer a') // cutting comes after redacting, so no half of a secret is left
      expect(json).not.toContain('hunter2')
    }
    expect(toErrorData(error, { redact })).toMatchObject({ message: 'call with Bearer [redacted]', details: { password: '[redacted]' } })
    expect(toErrorData(new Error('secret'), { redact: () => { throw new Error('oops') } }).message).toBe('[redaction failed]')
  })

  test('toStructuredError: an error of the chain may offer the data (B-072)', () => {
    class ApiError extends Error {
      toStructuredError(): object {
        return { name: 'ApiError', code: 'card_declined', message: 'declined', retryable: false, retryAfterMs: 50, details: { id: 7 } }
      }
    }
    const own = { version: 1, name: 'ApiError', message: 'declined', code: 'card_declined', retryable: false, retryAfterMs: 50, details: { id: 7 } }
    expect(toErrorData(new ApiError('raw'))).toEqual(own)
    const wrapped = new Error('outer', { cause: new Error('middle', { cause: new ApiError('raw') }) })
    const lent = { version: 1, code: 'card_declined', retryable: false, retryAfterMs: 50, details: { id: 7 } }
    expect(toErrorData(wrapped)).toEqual({ ...lent, name: 'Error', message: 'outer', cause: { ...lent, name: 'Error', message: 'middle', cause: own } })
    // Who has a code of his own keeps all of his own.
    expect(toErrorData(Object.assign(new Error('m', { cause: new ApiError('raw') }), { code: 'mine' }))).toEqual({ version: 1, name: 'Error', message: 'm', code: 'mine', cause: own })
    expect(toErrorData(new StepwellError('step_failed', 'm', { cause: new ApiError('raw') }))).toMatchObject({ code: 'step_failed', retryable: false })
  })

  test('G26: plain issues under the name `errors` are not taken for errors', () => {
    const validation = Object.assign(new Error('invalid'), { errors: [{ path: 'a', message: 'required' }] })
    expect(toErrorData(validation)).toEqual({ version: 1, name: 'Error', message: 'invalid' })
    expect(toErrorData(Object.assign(new Error('m'), { errors: [new Error('a')] })).errors).toHaveLength(1)
  })

  test.each<[string, unknown]>([
    ['nothing', undefined], ['null', null], ['a text', 'x'], ['another version', { version: 2, name: 'Error', message: 'm' }], ['no version', { name: 'Error', message: 'm' }],
    ['no name', { version: 1, message: 'm' }], ['no message', { version: 1, name: 'Error' }], ['a code of another type', { version: 1, name: 'E', message: 'm', code: {} }],
    ['an unknown kind', { version: 1, name: 'E', message: 'm', kind: 'x' }], ['a wrong mark', { version: 1, name: 'E', message: 'm', retryable: 1 }],
    ['a wrong delay', { version: 1, name: 'E', message: 'm', retryAfterMs: -1 }], ['a list as details', { version: 1, name: 'E', message: 'm', details: [] }],
    ['null as details', { version: 1, name: 'E', message: 'm', details: null }], ['a cause that is none', { version: 1, name: 'E', message: 'm', cause: 'x' }],
    ['errors that are none', { version: 1, name: 'E', message: 'm', errors: {} }], ['an error in errors that is none', { version: 1, name: 'E', message: 'm', errors: [1] }],
    ['a wrong stack', { version: 1, name: 'E', message: 'm', stack: 1 }], ['a wrong mark of truncation', { version: 1, name: 'E', message: 'm', truncated: false }],
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
    fc.assert(fc.property(fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true, withNullPrototype: true, withSparseArray: true }), (thrown) => {
      if (typeof thrown === 'object') objects++
      for (const error of [thrown, Object.assign(new Error('m'), { details: thrown, cause: thrown, code: thrown, errors: [thrown], retryable: thrown })]) {
        const data = toErrorData(error)
        expect(JSON.parse(JSON.stringify(data))).toEqual(data)
        expect(toErrorData(fromErrorData(data))).toEqual(data)
      }
    }), { seed, numRuns: 1000 })
    expect(objects).toBeGreaterThan(200)
  }, 60_000)
})

describe('marks about retrying', () => {
  test('permanent and retryAfter mark the error itself', () => {
    const error = new TypeError('m')
    expect(permanent(error)).toBe(error)
    expect(retryAfter(error, '2 seconds')).toBe(error)
    expect(retryHint(error)).toEqual({ retryable: false, retryAfterMs: 2000 })
    expect(retryHint(retryAfter(new Error('m'), 250))).toEqual({ retryAfterMs: 250 })
    expect(retryHint(permanent(new StepwellError('overloaded', 'm')))).toEqual({ retryable: false })
    expect(() => retryAfter(error, 'soon' as never)).toThrow(expect.objectContaining({ code: 'invalid_duration' }))
  })

  test('what can take no mark becomes the cause of an error that can', () => {
    const frozen = Object.freeze(new RangeError('cold'))
    const error = permanent(frozen)
    expect(error).not.toBe(frozen)
    expect(error).toMatchObject({ message: 'cold', cause: frozen })
    expect(retryHint(error)).toEqual({ retryable: false })
    for (const thrown of ['text', undefined, null, 5, { a: 1 }]) {
      expect(permanent(thrown)).toBeInstanceOf(Error)
      expect(retryHint(retryAfter(thrown, 5))).toEqual({ retryAfterMs: 5 })
    }
    expect(permanent('text').message).toBe('text')
  })

  test('a hint is read through causes, the nearest wins, each field by itself', () => {
    const inner = retryAfter(permanent(new Error('inner')), 100)
    expect(retryHint(new Error('outer', { cause: new Error('middle', { cause: inner }) }))).toEqual({ retryable: false, retryAfterMs: 100 })
    expect(retryHint(Object.assign(new Error('outer', { cause: inner }), { retryable: true }))).toEqual({ retryable: true, retryAfterMs: 100 })
    expect(retryHint(new StepwellError('store_unavailable', 'm', { cause: inner }))).toEqual({ retryable: true, retryAfterMs: 100 })
    expect(retryHint(new Error('m', { cause: { toStructuredError: () => ({ retryable: false }) } }))).toEqual({ retryable: false })
  })

  test('the table of hints: the mark decides, then a cause, then nothing; the text never (B-074)', () => {
    const marks = [undefined, true, false, 'no', 1, null]
    for (const outer of marks) {
      for (const inner of marks) {
        for (const text of ['permanent failure, do not retry', 'timeout, please retry after 5 s', '429']) {
          const cause = Object.assign(new Error(text), inner === undefined ? {} : { retryable: inner })
          const error = Object.assign(new Error(text, { cause }), outer === undefined ? {} : { retryable: outer })
          const expected = typeof outer === 'boolean' ? outer : typeof inner === 'boolean' ? inner : undefined
          expect(retryHint(error)).toEqual(expected === undefined ? {} : { retryable: expected })
        }
      }
    }
  })

  test('a hint ignores delays that are none, and survives cycles and values that are no errors', () => {
    for (const retryAfterMs of [-1, Number.NaN, Infinity, '5', null]) expect(retryHint(Object.assign(new Error('m'), { retryAfterMs }))).toEqual({})
    const a = new Error('a')
    a.cause = new Error('b', { cause: a })
    for (const thrown of [a, undefined, null, 'x', 5, Symbol('x')]) expect(retryHint(thrown)).toEqual({})
  })

  test('G26: marks survive being stored', () => {
    expect(retryHint(through(retryAfter(permanent(new Error('m')), 100)))).toEqual({ retryable: false, retryAfterMs: 100 })
    expect(retryHint(through(new StepwellError('network', 'm')))).toEqual({ retryable: true })
  })
})

test('nothing of a host is in the leaves: no import but of each other', () => {
  for (const file of ['duration.ts', 'errors.ts', 'error/table.ts', 'error/stepwell-error.ts', 'error/data.ts', 'error/retry.ts', 'base64.ts', 'utf8.ts', 'blob-ref.ts']) {
    const source = readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8')
    for (const [, from] of source.matchAll(/from '([^']+)'/g)) expect(from, file).toMatch(/^\.{1,2}\/(error\/|duration\.ts|table\.ts|stepwell-error\.ts|data\.ts|retry\.ts)/)
  }
})
