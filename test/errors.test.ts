import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  type ErrorCode,
  ERRORS,
  fromErrorData,
  isErrorCode,
  isStepwellError,
  permanent,
  retryAfter,
  retryHint,
  StepwellError,
  toErrorData,
} from '../src/errors.ts'

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
    expect(error).toMatchObject({
      code,
      kind,
      name: 'StepwellError',
      message: 'what happened',
      retryable: kind === 'transient',
    })
    expect(through(error)).toMatchObject({ code, kind, message: 'what happened', retryable: kind === 'transient' })
    expect(isStepwellError(through(error), code)).toBe(true)
  })

  test('G28: the list is closed: frozen, every kind is used, no two helps are equal', () => {
    expect(Object.isFrozen(ERRORS) && codes.every((code) => Object.isFrozen(ERRORS[code]))).toBe(true)
    expect(new Set(codes.map((code) => ERRORS[code].kind)).size).toBe(6)
    expect(new Set(codes.map((code) => ERRORS[code].help)).size).toBe(codes.length)
    expect(codes.every(isErrorCode)).toBe(true)
    for (const other of ['', 'toString', '__proto__', 'no_such_code', 1, null, undefined])
      expect(isErrorCode(other)).toBe(false)
  })

  test('G28: the statuses that HTTP clients act on', () => {
    const expected: Partial<Record<ErrorCode, number>> = {
      run_not_found: 404,
      run_swept: 410,
      input_invalid: 422,
      input_mismatch: 409,
      not_found: 404,
      method_not_allowed: 405,
      unsupported_media_type: 415,
      body_too_large: 413,
      malformed_json: 400,
      unauthorized: 401,
      forbidden: 403,
      overloaded: 503,
      internal: 500,
      payload_too_large: 413,
      quota_exceeded: 507,
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
    const copy = Object.assign(Object.create({ [Symbol.for('stepwell.error')]: true }) as object, { code: 'stale_epoch' })
    expect(isStepwellError(copy)).toBe(true)
    expect(isStepwellError(copy, 'stale_epoch')).toBe(true)
    expect(isStepwellError(copy, 'failed')).toBe(false)
    for (const other of [
      new Error('x'),
      { code: 'stale_epoch', name: 'StepwellError', message: 'x' },
      'stale_epoch',
      null,
      undefined,
      () => 1,
    ])
      expect(isStepwellError(other)).toBe(false)
  })

  test('G28: the guard narrows to the code', () => {
    const error: unknown = new StepwellError('stale_epoch', 'm')
    if (!isStepwellError(error, 'stale_epoch')) throw new Error('not narrowed')
    const code: 'stale_epoch' = error.code
    expect(code).toBe('stale_epoch')
  })
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
    expect(retryHint(new Error('outer', { cause: new Error('middle', { cause: inner }) }))).toEqual({
      retryable: false,
      retryAfterMs: 100,
    })
    expect(retryHint(Object.assign(new Error('outer', { cause: inner }), { retryable: true }))).toEqual({
      retryable: true,
      retryAfterMs: 100,
    })
    expect(retryHint(new StepwellError('store_unavailable', 'm', { cause: inner }))).toEqual({
      retryable: true,
      retryAfterMs: 100,
    })
    expect(retryHint(new Error('m', { cause: { toStructuredError: () => ({ retryable: false }) } }))).toEqual({
      retryable: false,
    })
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

  test('the table of exit classes: the class beats the flag, and only terminal is final; the nearest error that says anything wins (B-074, B-075)', () => {
    const classes = [undefined, 'retry', 'terminal', 'rateLimited', 'unknown', 'success', 5]
    const marks = [undefined, true, false]
    let said = 0
    for (const exitClass of classes) {
      for (const retryable of marks) {
        for (const inner of [undefined, 'retry', 'terminal']) {
          const fields = { ...(exitClass === undefined ? {} : { exitClass }), ...(retryable === undefined ? {} : { retryable }) }
          const cause = Object.assign(new Error('inner'), inner === undefined ? {} : { exitClass: inner })
          const isClass = typeof exitClass === 'string' && exitClass !== 'success'
          const expected = isClass ? exitClass !== 'terminal' : retryable ?? (inner === undefined ? undefined : inner !== 'terminal')
          if (expected !== undefined) said++
          const hint = expected === undefined ? {} : { retryable: expected }
          expect(retryHint(Object.assign(new Error('permanent', { cause }), fields))).toEqual(hint)
          // Offered by another class of errors, it is the same, and it is the same after it was stored.
          expect(retryHint(new Error('outer', { cause: { toStructuredError: () => fields, cause } }))).toEqual(hint)
          expect(retryHint(through(Object.assign(new Error('permanent', { cause }), fields)))).toEqual(hint)
        }
      }
    }
    expect(said).toBeGreaterThan(40)
  })

  test('a hint ignores delays that are none, and survives cycles and values that are no errors', () => {
    for (const retryAfterMs of [-1, Number.NaN, Infinity, '5', null])
      expect(retryHint(Object.assign(new Error('m'), { retryAfterMs }))).toEqual({})
    const a = new Error('a')
    a.cause = new Error('b', { cause: a })
    for (const thrown of [a, undefined, null, 'x', 5, Symbol('x')]) expect(retryHint(thrown)).toEqual({})
  })

  test('G26: marks survive being stored', () => {
    expect(retryHint(through(retryAfter(permanent(new Error('m')), 100)))).toEqual({
      retryable: false,
      retryAfterMs: 100,
    })
    expect(retryHint(through(new StepwellError('network', 'm')))).toEqual({ retryable: true })
  })
})

test('the leaves know nothing but each other', () => {
  const leaves = [
    'duration.ts',
    'errors.ts',
    'base64.ts',
    'utf8.ts',
    'blob-ref.ts',
    'error/table.ts',
    'error/kind.ts',
    'error/stepwell-error.ts',
    'error/data.ts',
    'error/retry.ts',
    'error/redact.ts',
  ]
  for (const file of leaves) {
    const at = new URL(`../src/${file}`, import.meta.url)
    const imports = [...readFileSync(at, 'utf8').matchAll(/from '([^']+)'/g)].map(
      ([, from]) => new URL(from ?? '', at).pathname,
    )
    for (const path of imports)
      expect(
        leaves.some((leaf) => path.endsWith(`/src/${leaf}`)),
        `${file}: ${path}`,
      ).toBe(true)
  }
})
