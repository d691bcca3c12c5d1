// The codec on any host (G26): the same values come back, the same bytes are written, the same things are refused.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BlobRef } from '../../src/blob-ref.ts'
import { canonicalBytes, copy, decode, encode, fromWire, toWire } from '../../src/codec.ts'
import type { StepwellError } from '../../src/errors.ts'
import { createHasher, hex } from '../../src/hash.ts'
import { damaged, refusals, values } from './codec-values.ts'

const text = new TextDecoder()
const json = (bytes: Uint8Array): string => text.decode(bytes.subarray(1))
const utf8 = (form: number, value: string): Uint8Array => Uint8Array.from([form, ...new TextEncoder().encode(value)])

/** Equal as values, types and bytes, whatever keys the objects have. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return Object.is(a, b)
  if (Object.getPrototypeOf(a) !== (Object.getPrototypeOf(b) ?? Object.prototype)) return false
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => isSame(item, b[i]))
  if (a instanceof Date && b instanceof Date) return Object.is(a.getTime(), b.getTime())
  if (a instanceof Map && b instanceof Map) return isSame([...a], [...b])
  if (a instanceof Set && b instanceof Set) return isSame([...a], [...b])
  if (a instanceof ArrayBuffer && b instanceof ArrayBuffer) return hex(new Uint8Array(a)) === hex(new Uint8Array(b))
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) return hex(bytesOf(a)) === hex(bytesOf(b))
  if (a instanceof Error && b instanceof Error) {
    return [
      'name',
      'message',
      'code',
      'kind',
      'retryable',
      'retryAfterMs',
      'details',
      'cause',
      'errors',
      'truncated',
    ].every((field) =>
      isSame((a as unknown as Record<string, unknown>)[field], (b as unknown as Record<string, unknown>)[field]),
    )
  }
  const fields = (x: object): unknown =>
    Object.entries(Object.getOwnPropertyDescriptors(x)).map(([name, { value }]) => [name, value as unknown])
  return isSame(fields(a), fields(b))
}

const bytesOf = (view: ArrayBufferView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength)

function expectSame(actual: unknown, expected: unknown): void {
  expect(isSame(actual, expected) || { actual, expected }).toBe(true)
}

const SEED = 20261120
/** Over the payloads of all values above. Another digest means that stored bytes changed: that takes a new form. */
const ALL_VALUES = 'cb57107bfb7d33eef8af50c8687f8d2154fecf774e0c7ed276d7e57c5cab387a'
/** For a busy machine. */
const SLOW = 60_000

export function codecContract(host: string): void {
  describe(`the codec (${host})`, () => {
    for (const [name, value] of Object.entries(values)) {
      test(`G26: comes back as it was: ${name}`, () => {
        const bytes = encode(value)
        expectSame(decode(bytes), value)
        expect(hex(encode(decode(bytes)))).toBe(hex(bytes))
        expectSame(fromWire(JSON.parse(JSON.stringify(toWire(value)))), value)
        expect(hex(canonicalBytes(decode(bytes)))).toBe(hex(canonicalBytes(value)))
        const copied = copy(value)
        expect(hex(copied.bytes)).toBe(hex(bytes))
        expectSame(copied.value, value)
        if (typeof value === 'object' && value !== null) expect(copied.value).not.toBe(value)
        expect(bytes[0]).toBe(json(bytes).includes('"$":') ? 2 : 1)
        expect(bytes.buffer.byteLength).toBe(bytes.length)
        expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
      })
    }

    for (const [name, [value, path, what]] of Object.entries(refusals)) {
      test(`G26: refused with its path: ${name}`, () => {
        for (const write of [encode, canonicalBytes, copy, toWire]) {
          expect(() => write(value)).toThrow(
            expect.objectContaining({
              code: 'not_serializable',
              kind: 'permanent',
              details: { path: expectedPath(path), what },
            }),
          )
        }
        // The writer that is kept is not spoilt by it.
        expect(json(encode({ a: [1] }))).toBe('{"a":[1]}')
      })
    }

    for (const [name, [text, path]] of Object.entries(damaged)) {
      test(`G26: a damaged payload is refused with its path: ${name}`, () => {
        expect(() => decode(utf8(2, text))).toThrow(
          expect.objectContaining({
            code: 'corrupt_payload',
            kind: 'integrity',
            details: expect.objectContaining({ path }) as unknown,
          }),
        )
        expect(() => fromWire(JSON.parse(text))).toThrow(
          expect.objectContaining({
            code: 'invalid_argument',
            kind: 'usage',
            details: expect.objectContaining({ path }) as unknown,
          }),
        )
      })
    }

    test(
      'G26: every host writes the same bytes, in every release',
      () => {
        const hasher = createHasher()
        for (const value of Object.values(values)) hasher.update(encode(value)).update(canonicalBytes(value))
        expect(hex(hasher.digest())).toBe(ALL_VALUES)
      },
      SLOW,
    )

    test(
      'G26: plain JSON is written as JSON.stringify writes it, and read back (random)',
      () => {
        const seen = { plain: 0 }
        check(
          fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' }),
          (value) => {
            const bytes = encode(value)
            if (bytes[0] !== 1) return // it holds -0 or a key "$"
            seen.plain++
            expect(json(bytes)).toBe(JSON.stringify(value))
          },
          300,
        )
        expect(seen.plain).toBeGreaterThan(150)
      },
      SLOW,
    )

    test(
      'G26: any text comes back, and is written as JSON.stringify writes it (random)',
      () => {
        const seen = { lone: 0, long: 0 }
        check(
          fc.array(codeUnit, { maxLength: 400, size: 'max' }).map((units) => String.fromCharCode(...units)),
          (value) => {
            if (!value.isWellFormed()) seen.lone++
            if (value.length > 200) seen.long++
            expect(json(encode(value))).toBe(JSON.stringify(value))
            expect(decode(encode(value))).toBe(value)
          },
          500,
        )
        expect(seen.lone).toBeGreaterThan(50)
        expect(seen.long).toBeGreaterThan(50)
      },
      SLOW,
    )

    test(
      'G26: any number comes back to the bit (random)',
      () => {
        check(
          fc.oneof(fc.double(), fc.integer(), fc.maxSafeInteger()),
          (value) => {
            expect(Object.is(decode(encode(value)), value)).toBe(true)
            if (Number.isFinite(value) && !Object.is(value, -0)) expect(json(encode(value))).toBe(JSON.stringify(value))
          },
          2000,
        )
      },
      SLOW,
    )

    test(
      'G26: any value comes back, also when it is shaped like our markers (random)',
      () => {
        const seen = { markerLike: 0, proto: 0, undefinedField: 0, bytes: 0, map: 0, marked: 0 }
        check(
          fc.array(anyValue, { minLength: 2, maxLength: 6 }),
          (value) => {
            count(value, seen)
            const bytes = encode(value)
            if (bytes[0] === 2) seen.marked++
            const back = decode(bytes)
            expect(hex(encode(back))).toBe(hex(bytes))
            expectSame(back, value)
            expectSame(fromWire(toWire(value)), value)
            expect(hex(canonicalBytes(back))).toBe(hex(canonicalBytes(value)))
          },
          1000,
        )
        for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(50)
        expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
      },
      SLOW,
    )

    test(
      'G26: any base64 that is accepted is the one text of its bytes (random)',
      () => {
        const seen = { accepted: 0, refused: 0 }
        check(
          fc.array(fc.constantFrom(...'AQIgw/+9z=_- é'), { maxLength: 12 }).map((all) => all.join('')),
          (base64) => {
            let bytes: unknown
            try {
              bytes = fromWire({ $: ['bytes', base64] })
            } catch {
              seen.refused++
              return
            }
            seen.accepted++
            expect(toWire(bytes)).toEqual({ $: ['bytes', base64] })
          },
          3000,
        )
        expect(seen.accepted).toBeGreaterThan(100)
        expect(seen.refused).toBeGreaterThan(100)
      },
      SLOW,
    )

    test(
      'G26: any bytes as a payload give a value or a typed error, never another (random)',
      () => {
        const seen = { value: 0, corrupt: 0, tooNew: 0 }
        const parts = fc.array(
          fc.constantFrom(
            '{"$":[',
            '"map",',
            '"obj",',
            '{',
            '}',
            '[',
            ']',
            '"a":',
            '1',
            ',',
            '"',
            '"bytes",',
            '"AQ=="',
            'null',
            '\ud800',
          ),
          { maxLength: 12 },
        )
        const payload = fc.oneof(
          fc.uint8Array({ maxLength: 20 }),
          parts.map((all) => utf8(2, all.join(''))),
          fc.json().map((text) => utf8(2, text)),
        )
        check(
          payload,
          (bytes) => {
            try {
              decode(bytes)
              seen.value++
            } catch (error) {
              expect(error).toMatchObject({
                code: expect.stringMatching(/^(corrupt_payload|format_too_new)$/) as string,
              })
              if ((error as StepwellError).code === 'corrupt_payload') seen.corrupt++
              else seen.tooNew++
            }
          },
          2000,
        )
        for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(50)
      },
      SLOW,
    )
  })
}

// A path may be shortened in the test's table by "…": then only its beginning and end are compared.
function expectedPath(path: string): unknown {
  const [start, end] = path.split('….')
  if (end === undefined) return path
  return expect.stringMatching(new RegExp(`^${escapeRegExp(start ?? '')}k*${escapeRegExp(end)}\\["-{100}…"\\]$`))
}

const escapeRegExp = (text: string): string => text.replace(/[$.[\]"]/g, '\\$&')

function check<T>(arbitrary: fc.Arbitrary<T>, property: (value: T) => void, numRuns: number): void {
  console.log(`fast-check seed ${SEED}, ${numRuns} runs`)
  fc.assert(fc.property(arbitrary, property), { seed: SEED, numRuns })
}

const codeUnit = fc.oneof(
  fc.integer({ min: 32, max: 126 }),
  fc.integer({ min: 0, max: 0xffff }),
  fc.integer({ min: 0xd800, max: 0xdfff }),
)
const anyText = fc.array(codeUnit, { maxLength: 8 }).map((units) => String.fromCharCode(...units))
const tag = fc.constantFrom(
  'undefined',
  'number',
  'bigint',
  'date',
  'bytes',
  'buffer',
  'view',
  'map',
  'set',
  'error',
  'blob',
  'obj',
  'future',
)
const key = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('$', '__proto__', 'constructor', 'toJSON', 'a', 'b', '', '0', '10', 'then') },
  { weight: 1, arbitrary: anyText },
)

const anyValue = fc.letrec<{ value: unknown; object: object; markerLike: object }>((tie) => ({
  object: fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  markerLike: fc.tuple(tag, fc.array(tie('value'), { maxLength: 3 })).map(([name, parts]) => ({ $: [name, ...parts] })),
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    fc.constantFrom<unknown>(undefined, null, true, false, Number.NaN, -0, 0, Infinity, -Infinity),
    fc.double(),
    fc.integer(),
    fc.bigInt(),
    anyText,
    fc.date({ noInvalidDate: false }),
    fc.uint8Array({ maxLength: 9 }),
    fc.float32Array({ maxLength: 3 }),
    fc.bigInt64Array({ maxLength: 2 }),
    fc.tuple(fc.nat(), fc.integer({ min: 1 })).map(([size, chunk]) => new BlobRef('5a'.repeat(32), size, chunk)),
    fc.array(tie('value'), { maxLength: 4 }),
    tie('object'),
    tie('object'),
    tie('markerLike'),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 3 }).map((entries) => new Map(entries)),
    fc.array(tie('value'), { maxLength: 3 }).map((items) => new Set(items)),
  ),
})).value

function count(
  value: unknown,
  seen: { markerLike: number; proto: number; undefinedField: number; bytes: number; map: number },
): void {
  if (value instanceof Map) {
    seen.map++
    for (const [a, b] of value) [a, b].forEach((each) => count(each, seen))
  } else if (value instanceof Set || Array.isArray(value)) for (const each of value) count(each, seen)
  else if (value instanceof Uint8Array) seen.bytes++
  else if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    if (Object.hasOwn(value, '$')) seen.markerLike++
    if (Object.hasOwn(value, '__proto__')) seen.proto++
    for (const name of Object.keys(value)) {
      const each: unknown = Object.getOwnPropertyDescriptor(value, name)?.value
      if (each === undefined) seen.undefinedField++
      count(each, seen)
    }
  }
}
