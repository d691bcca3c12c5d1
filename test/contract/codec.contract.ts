// The codec on any host (G26): the same values come back, the same bytes are written, the same things are refused.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BlobRef } from '../../src/blob-ref.ts'
import { canonicalBytes, copy, decode, encode, fromWire, toWire } from '../../src/codec.ts'
import { permanent, retryAfter, StepwellError } from '../../src/errors.ts'
import { createHasher, hex } from '../../src/hash.ts'

const text = new TextDecoder()
const json = (bytes: Uint8Array): string => text.decode(bytes.subarray(1))
const utf8 = (form: number, value: string): Uint8Array => Uint8Array.from([form, ...new TextEncoder().encode(value)])
const named = (name: string, build: (error: Error) => void = () => undefined): Error => {
  const error = new Error(`a ${name}`)
  error.name = name
  build(error)
  return error
}

/** Each by a name, so that a failing one is found. */
export const values: Readonly<Record<string, unknown>> = {
  null: null, true: true, false: false, zero: 0, one: 1, minus: -1, ten: 10, 'int32 max': 2 ** 31 - 1, 'int32 min': -(2 ** 31), 'uint32 max': 2 ** 32 - 1,
  'safe max': Number.MAX_SAFE_INTEGER, fraction: 0.1, tiny: 5e-324, huge: 1.7976931348623157e308, '1e21': 1e21,
  undefined, NaN: Number.NaN, Infinity, '-Infinity': -Infinity, '-0': -0, bigint: 0n, 'negative bigint': -(10n ** 40n), 'large bigint': 2n ** 4000n,
  'no text': '', text: 'plain', quotes: '"\\/\b\f\n\r\t\u0000\u001f\u007f', 'Latin text': 'Zürich', 'CJK text': '東京', emoji: '😀👩‍👩‍👧', separators: '\u2028\u2029\ufeff',
  'high surrogate': 'a\ud800b', 'low surrogate': '\udc00', 'swapped surrogates': '\udc00\ud800', 'BOM first': '\ufeffx',
  'long text': 'abc '.repeat(1000), 'long Latin text': 'äöü '.repeat(40_000), 'surrogates on a border': `${'x'.repeat(32_766)}😀${'x'.repeat(40_000)}`,
  'long text with lone surrogates': `${'x'.repeat(500)}\ud83d`,
  array: [], 'nested arrays': [[[]], [1, [2]]], 'array of undefined': [undefined, null, undefined], object: {}, 'undefined property': { a: undefined, b: null },
  'object in array': [{ a: [{ b: 1 }] }], 'no prototype': Object.assign(Object.create(null) as object, { a: 1 }),
  'integer keys': { 2: 'b', 1: 'a', x: 'c' }, 'odd keys': { '': 1, ' ': 2, 'a.b': { c: 3 }, a: { b: 4 }, '\ud800': 5, '"': 6 },
  'dotted and nested': { 'a.b': 1, a: { b: 2 } }, 'same object twice': ((shared) => [shared, shared, { shared }])({ x: [1] }),
  'own __proto__': JSON.parse('{"__proto__":{"polluted":true},"a":1}') as unknown,
  'special in own __proto__': Object.fromEntries([['__proto__', new Date(5)], ['b', 1n]]),
  'names of Object.prototype': { constructor: 1, toString: 'x', hasOwnProperty: null, valueOf: undefined, toJSON: 'no function' },
  date: new Date(1), 'first date': new Date(-8.64e15), 'last date': new Date(8.64e15), 'invalid date': new Date(Number.NaN),
  map: new Map<unknown, unknown>([['a', 1], [1, 'a'], [undefined, Number.NaN], [Number.NaN, undefined], [new Date(3), new Map()], [{ k: 1 }, new Set([[]])]]), 'empty map': new Map(),
  set: new Set([1, '1', undefined, Number.NaN, { a: 1 }, { a: 1 }, 0]), 'empty set': new Set(), 'map by bigint': new Map([[1n, 2n]]),
  'no bytes': new Uint8Array(0), bytes: Uint8Array.from({ length: 256 }, (_, i) => i), 'one byte': new Uint8Array([255]), 'two bytes': new Uint8Array([254, 255]),
  'many bytes': Uint8Array.from({ length: 70_001 }, (_, i) => i * 7), 'part of a buffer': Uint8Array.from({ length: 50 }, (_, i) => i).subarray(7, 20),
  'bytes in an object': { a: new Uint8Array([1]), b: [new Uint8Array(600).fill(251)] },
  buffer: new Uint8Array([1, 2, 3]).buffer, 'empty buffer': new ArrayBuffer(0), Int8Array: new Int8Array([-1, 127]), Uint8ClampedArray: new Uint8ClampedArray([255, 0]),
  Int16Array: new Int16Array([-2, 3]), Uint16Array: new Uint16Array([65535]), Int32Array: new Int32Array([-(2 ** 31)]), Uint32Array: new Uint32Array([2 ** 32 - 1]),
  BigInt64Array: new BigInt64Array([-1n]), BigUint64Array: new BigUint64Array([2n ** 64n - 1n]), Float32Array: new Float32Array([0.5, Number.NaN]),
  Float64Array: new Float64Array([-0, Infinity, 0.1]), 'offset Float64Array': new Float64Array(new Float64Array([1, 2, 3, 4]).buffer, 8, 2), DataView: new DataView(new Uint8Array([9, 8, 7]).buffer, 1, 1),
  error: new Error('boom'), 'no message': new Error(), TypeError: new TypeError('t'), RangeError: new RangeError('r'), SyntaxError: new SyntaxError('s'),
  ReferenceError: new ReferenceError('f'), EvalError: new EvalError('e'), URIError: new URIError('u'), 'with a cause': new Error('outer', { cause: new TypeError('inner', { cause: new Error('last') }) }),
  AggregateError: new AggregateError([new Error('a'), new TypeError('b')], 'both'), 'named error': named('PaymentError'),
  'error with a code': named('Error', (error) => Object.assign(error, { code: 'ECONNRESET', details: { host: 'example.org', port: 443 } })),
  'marked error': permanent(retryAfter(new Error('later'), '3 seconds')),
  StepwellError: new StepwellError('limit_exceeded', 'too many', { details: { limit: 'outstanding', measured: 3, allowed: 2 }, cause: new Error('why') }),
  'retryable StepwellError': new StepwellError('failed', 'odd', { retryable: true }), 'error in an object': { problem: [new Error('inside')] },
  blob: new BlobRef('0f'.repeat(32), 123_456_789, 49_152), 'empty blob': [new BlobRef('00'.repeat(32), 0, 1)],
  'like a marker': { $: ['date', 1] }, 'like an escape': { $: ['obj', { $: ['obj', { $: 1 }] }] }, 'like undefined': { $: ['undefined'] }, '$ and more': { $: 1, a: undefined },
  'only $': { $: undefined }, '$ with a value': { $: [new Date(1), { $: [1n] }] }, 'like a marker in a map': new Map([[{ $: ['bytes', 'AA=='] }, { $: null }]]),
  'like a marker in a set': new Set([{ $: [] }]), 'unknown marker': { a: [{ $: ['future', 1] }] }, '$$': { $$: ['date', 1] }, 'a marker as text': '{"$":["date",1]}',
}

class Point {
  x = 1
}
class Sheet extends Map<string, number> {}
class List extends Array<number> {}
class Floats extends Float32Array {}

const looped: Record<string, unknown> = { deep: { list: [1] } }
;(looped['deep'] as Record<string, unknown>)['list'] = [0, looped]
const revoked = Proxy.revocable({}, {})
revoked.revoke()
const detached = new ArrayBuffer(8)
const detachedView = new Uint8Array(detached)
structuredClone(detached, { transfer: [detached] })

/** What is refused: the value, the path that the error names, and what it says is there. */
export const refusals: Readonly<Record<string, readonly [value: unknown, path: string, what: string]>> = {
  function: [() => 1, '$', 'a function'],
  'function in a list': [{ items: [0, 1, 2, { when: () => 1 }] }, '$.items[3].when', 'a function'],
  'class as a value': [{ Point }, '$.Point', 'a function'],
  'proxy of a function': [[new Proxy(() => 1, {})], '$[0]', 'a function'],
  symbol: [{ a: Symbol('x') }, '$.a', 'a symbol'],
  'symbol as key': [{ a: { [Symbol('x')]: 1 } }, '$.a', 'an object with a symbol as key'],
  'hidden symbol as key': [{ a: Object.defineProperty({}, Symbol('x'), { value: 1 }) }, '$.a', 'an object with a symbol as key'],
  instance: [{ p: new Point() }, '$.p', 'an instance of Point'],
  'instance of a class without a name': [new (class {})(), '$', 'an object of an unknown class'],
  'instance with toJSON': [{ p: new (class Money { toJSON() { return 1 } })() }, '$.p', 'an instance of Money'],
  'plain toJSON': [{ p: { toJSON: () => 1 } }, '$.p.toJSON', 'a function'],
  'object with a prototype of its own': [Object.create({ inherited: 1 }), '$', 'an instance of Object'],
  'object over an object without a prototype': [Object.create(Object.create(null) as object), '$', 'an object of an unknown class'],
  'kind of Map': [new Sheet(), '$', 'an instance of Sheet'],
  'kind of Array': [List.of(1), '$', 'an instance of List'],
  'kind of Float32Array': [new Floats(1), '$', 'an instance of Floats'],
  'what only looks like a Map': [{ m: Object.create(Map.prototype) as unknown }, '$.m', 'something that throws when it is read'],
  'what only looks like a Date': [[Object.create(Date.prototype)], '$[0]', 'something that throws when it is read'],
  'what only looks like a buffer': [Object.create(ArrayBuffer.prototype), '$', 'something that throws when it is read'],
  'what only looks like a blob': [Object.create(BlobRef.prototype), '$', 'an invalid blob reference'],
  WeakMap: [{ w: new WeakMap() }, '$.w', 'an instance of WeakMap'],
  WeakSet: [new WeakSet(), '$', 'an instance of WeakSet'],
  WeakRef: [new WeakRef({}), '$', 'an instance of WeakRef'],
  RegExp: [{ r: /x/ }, '$.r', 'an instance of RegExp'],
  URL: [{ u: new URL('https://example.org/') }, '$.u', 'an instance of URL'],
  promise: [{ p: Promise.resolve(1) }, '$.p', 'a promise (await it first)'],
  thenable: [new (class Query { then() { return 1 } })(), '$', 'a promise (await it first)'],
  generator: [(function* () { yield 1 })(), '$', 'an object of an unknown class'],
  'boxed number': [Object(1), '$', 'an instance of Number'],
  'boxed string': [[Object('x')], '$[0]', 'an instance of String'],
  'boxed bigint': [Object(1n), '$', 'an instance of BigInt'],
  arguments: [(function (..._: number[]) { return arguments })(1), '$', 'an object with a symbol as key'],
  Math: [{ m: Math }, '$.m', 'an object with a symbol as key'],
  hole: [{ list: [1, , 3] }, '$.list[1]', 'a hole in an array'], // eslint-disable-line no-sparse-arrays
  'long empty array': [new Array(5), '$[0]', 'a hole in an array'],
  cycle: [looped, '$.deep.list[1]', 'a cycle: the object that is also at $'],
  'cycle through a map': [((map) => map.set('self', [map]))(new Map<string, unknown>()), '$<value 0>[0]', 'a cycle: the object that is also at $'],
  'cycle through a set': [((set) => set.add({ set }))(new Set<unknown>()), '$<item 0>.set', 'a cycle: the object that is also at $'],
  'key of a map': [{ m: new Map<unknown, unknown>([[1, 1], [Symbol('x'), 2]]) }, '$.m<key 1>', 'a symbol'],
  'value of a map': [new Map([[1, { f: () => 1 }]]), '$<value 0>.f', 'a function'],
  'item of a set': [[new Set([1, 2, () => 1])], '$[0]<item 2>', 'a function'],
  'odd names': [{ 'a.b': { '': { 'é"': { class: Symbol.iterator } } } }, '$["a.b"][""]["é\\""].class', 'a symbol'],
  'long name': [{ ['k'.repeat(300)]: { 'x y': { ['-'.repeat(300)]: () => 1 } } }, `$.${'k'.repeat(100)}….["x y"]`, 'a function'],
  'after an escape': [{ $: { f: () => 1 } }, '$.$.f', 'a function'],
  'getter that throws': [{ a: { get b() { throw new Error('secret text') } } }, '$.a.b', 'something that throws when it is read'],
  'revoked proxy': [{ a: [revoked.proxy] }, '$.a[0]', 'something that throws when it is read'],
  'detached buffer': [{ b: detached }, '$.b', 'a detached ArrayBuffer'],
  'detached view': [[detachedView], '$[0]', 'a detached ArrayBuffer'],
}

/** Payloads that no encoder wrote, as JSON after the first byte 2; and where the fault is. */
export const damaged: Readonly<Record<string, readonly [json: string, path: string]>> = {
  'unknown tag': ['{"a":{"$":["future",1]}}', '$.a'], 'no tag': ['{"$":[]}', '$'], 'tag of another type': ['[{"$":[1]}]', '$[0]'],
  'no array': ['{"$":1}', '$'], 'no array but an object': ['{"$":{"0":"date"}}', '$'], 'other keys': ['{"$":["date",1],"a":1}', '$'],
  'too few parts': ['{"$":["date"]}', '$'], 'too many parts': ['{"$":["undefined",1]}', '$'], 'a number that needs no marker': ['{"$":["number","1"]}', '$'],
  'number as a number': ['{"$":["number",0]}', '$'], 'bigint with a leading zero': ['{"$":["bigint","01"]}', '$'], 'bigint in hex': ['{"$":["bigint","0x1"]}', '$'],
  'bigint of space': ['{"$":["bigint"," "]}', '$'], 'negative zero bigint': ['{"$":["bigint","-0"]}', '$'], 'bigint as a number': ['{"$":["bigint",1]}', '$'],
  'date as text': ['{"$":["date","2026"]}', '$'], 'date out of range': ['{"$":["date",9e15]}', '$'], 'date with a fraction': ['{"$":["date",1.5]}', '$'],
  'base64 without padding': ['{"$":["bytes","AQ"]}', '$'], 'base64 with white space': ['{"$":["bytes","AQ= ="]}', '$'], 'base64 for URLs': ['{"$":["bytes","_-8="]}', '$'],
  'base64 with spare bits': ['{"$":["bytes","AR=="]}', '$'], 'base64 with spare bits (2)': ['{"$":["bytes","AQJ="]}', '$'], 'base64 padded inside': ['{"$":["bytes","AQ==AQ=="]}', '$'],
  'base64 with another letter': ['{"$":["bytes","AQé="]}', '$'], 'base64 of padding': ['{"$":["bytes","===="]}', '$'], 'base64 as a number': ['[{"$":["bytes",1]}]', '$[0]'],
  'long base64 with white space': [`{"$":["bytes","${'AAAA'.repeat(300)} AAA"]}`, '$'], 'long base64 broken': [`[{"$":["bytes","${'AAAA'.repeat(300)}A?AA"]}]`, '$[0]'],
  'long base64 with spaces': [`[{"$":["bytes","${'AAAA'.repeat(300)}    "]}]`, '$[0]'],
  'unknown view': ['{"$":["view","Uint8Array","AQ=="]}', '$'], 'view of a global': ['{"$":["view","Function","AQ=="]}', '$'], 'view of another length': ['{"$":["view","Int16Array","AQ=="]}', '$'],
  'view without a name': ['{"$":["view",1,"AQ=="]}', '$'], 'map of no list': ['{"$":["map",{}]}', '$'], 'map of no pairs': ['{"$":["map",[["a",1],["a"]]]}', '$'],
  'map with a key twice': ['{"$":["map",[["a",1],["a",2]]]}', '$'], 'set of no list': ['{"$":["set",1]}', '$'], 'set with an item twice': ['{"$":["set",[1,1]]}', '$'],
  'inside a map': ['{"a":{"$":["map",[[1,{"$":["x"]}]]]}}', '$.a<value 0>'], 'inside a set': ['{"$":["set",[1,{"$":["x"]}]]}', '$<item 1>'],
  'error of another version': ['{"$":["error",{"version":2,"name":"Error","message":"x"}]}', '$'], 'error without data': ['{"$":["error",null]}', '$'],
  'error with a wrong cause': ['{"$":["error",{"version":1,"name":"Error","message":"x","cause":1}]}', '$'], 'blob with another hash': ['{"$":["blob","AB",1,1]}', '$'],
  'blob of no size': [`{"$":["blob","${'ab'.repeat(32)}",-1,1]}`, '$'], 'blob of no chunks': [`{"$":["blob","${'ab'.repeat(32)}",1,0]}`, '$'],
  'escape of nothing': ['{"$":["obj",null]}', '$'], 'escape of a list': ['{"$":["obj",[1]]}', '$'], 'escape without need': ['{"$":["obj",{"a":1}]}', '$'],
  'inside an escape': ['{"$":["obj",{"$":1,"b":{"$":["x"]}}]}', '$.b'], 'too deep': ['['.repeat(300) + ']'.repeat(300), `$${'[0]'.repeat(200)}`],
}

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
    return ['name', 'message', 'code', 'kind', 'retryable', 'retryAfterMs', 'details', 'cause', 'errors', 'truncated']
      .every((field) => isSame((a as unknown as Record<string, unknown>)[field], (b as unknown as Record<string, unknown>)[field]))
  }
  const fields = (x: object): unknown => Object.entries(Object.getOwnPropertyDescriptors(x)).map(([name, { value }]) => [name, value as unknown])
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
          expect(() => write(value)).toThrow(expect.objectContaining({
            code: 'not_serializable', kind: 'permanent', details: { path: expectedPath(path), what },
          }))
        }
        // The writer that is kept is not spoilt by it.
        expect(json(encode({ a: [1] }))).toBe('{"a":[1]}')
      })
    }

    for (const [name, [text, path]] of Object.entries(damaged)) {
      test(`G26: a damaged payload is refused with its path: ${name}`, () => {
        expect(() => decode(utf8(2, text))).toThrow(expect.objectContaining({ code: 'corrupt_payload', kind: 'integrity', details: expect.objectContaining({ path }) as unknown }))
        expect(() => fromWire(JSON.parse(text))).toThrow(expect.objectContaining({ code: 'invalid_argument', kind: 'usage', details: expect.objectContaining({ path }) as unknown }))
      })
    }

    test('G26: every host writes the same bytes, in every release', () => {
      const hasher = createHasher()
      for (const value of Object.values(values)) hasher.update(encode(value)).update(canonicalBytes(value))
      expect(hex(hasher.digest())).toBe(ALL_VALUES)
    })

    test('G26: plain JSON is written as JSON.stringify writes it, and read back (random)', () => {
      const seen = { plain: 0 }
      check(fc.jsonValue({ maxDepth: 5, stringUnit: 'binary' }), (value) => {
        const bytes = encode(value)
        if (bytes[0] !== 1) return // it holds -0 or a key "$"
        seen.plain++
        expect(json(bytes)).toBe(JSON.stringify(value))
      }, 300)
      expect(seen.plain).toBeGreaterThan(150)
    }, SLOW)

    test('G26: any text comes back, and is written as JSON.stringify writes it (random)', () => {
      const seen = { lone: 0, long: 0 }
      check(fc.array(codeUnit, { maxLength: 400, size: 'max' }).map((units) => String.fromCharCode(...units)), (value) => {
        if (!value.isWellFormed()) seen.lone++
        if (value.length > 200) seen.long++
        expect(json(encode(value))).toBe(JSON.stringify(value))
        expect(decode(encode(value))).toBe(value)
      }, 500)
      expect(seen.lone).toBeGreaterThan(50)
      expect(seen.long).toBeGreaterThan(50)
    }, SLOW)

    test('G26: any number comes back to the bit (random)', () => {
      check(fc.oneof(fc.double(), fc.integer(), fc.maxSafeInteger()), (value) => {
        expect(Object.is(decode(encode(value)), value)).toBe(true)
        if (Number.isFinite(value) && !Object.is(value, -0)) expect(json(encode(value))).toBe(JSON.stringify(value))
      }, 2000)
    }, SLOW)

    test('G26: any value comes back, also when it is shaped like our markers (random)', () => {
      const seen = { markerLike: 0, proto: 0, undefinedField: 0, bytes: 0, map: 0, marked: 0 }
      check(fc.array(anyValue, { minLength: 2, maxLength: 6 }), (value) => {
        count(value, seen)
        const bytes = encode(value)
        if (bytes[0] === 2) seen.marked++
        const back = decode(bytes)
        expect(hex(encode(back))).toBe(hex(bytes))
        expectSame(back, value)
        expectSame(fromWire(toWire(value)), value)
        expect(hex(canonicalBytes(back))).toBe(hex(canonicalBytes(value)))
      }, 1000)
      for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(50)
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
    }, SLOW)

    test('G26: any base64 that is accepted is the one text of its bytes (random)', () => {
      const seen = { accepted: 0, refused: 0 }
      check(fc.array(fc.constantFrom(...'AQIgw/+9z=_- é'), { maxLength: 12 }).map((all) => all.join('')), (base64) => {
        let bytes: unknown
        try {
          bytes = fromWire({ $: ['bytes', base64] })
        } catch {
          seen.refused++
          return
        }
        seen.accepted++
        expect(toWire(bytes)).toEqual({ $: ['bytes', base64] })
      }, 3000)
      expect(seen.accepted).toBeGreaterThan(100)
      expect(seen.refused).toBeGreaterThan(100)
    }, SLOW)

    test('G26: any bytes as a payload give a value or a typed error, never another (random)', () => {
      const seen = { value: 0, corrupt: 0, tooNew: 0 }
      const parts = fc.array(fc.constantFrom('{"$":[', '"map",', '"obj",', '{', '}', '[', ']', '"a":', '1', ',', '"', '"bytes",', '"AQ=="', 'null', '\ud800'), { maxLength: 12 })
      const payload = fc.oneof(fc.uint8Array({ maxLength: 20 }), parts.map((all) => utf8(2, all.join(''))), fc.json().map((text) => utf8(2, text)))
      check(payload, (bytes) => {
        try {
          decode(bytes)
          seen.value++
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^(corrupt_payload|format_too_new)$/) as string })
          if ((error as StepwellError).code === 'corrupt_payload') seen.corrupt++
          else seen.tooNew++
        }
      }, 2000)
      for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(50)
    }, SLOW)
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

const codeUnit = fc.oneof(fc.integer({ min: 32, max: 126 }), fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0xd800, max: 0xdfff }))
const anyText = fc.array(codeUnit, { maxLength: 8 }).map((units) => String.fromCharCode(...units))
const tag = fc.constantFrom('undefined', 'number', 'bigint', 'date', 'bytes', 'buffer', 'view', 'map', 'set', 'error', 'blob', 'obj', 'future')
const key = fc.oneof({ weight: 3, arbitrary: fc.constantFrom('$', '__proto__', 'constructor', 'toJSON', 'a', 'b', '', '0', '10', 'then') }, { weight: 1, arbitrary: anyText })

const anyValue = fc.letrec<{ value: unknown; object: object; markerLike: object }>((tie) => ({
  object: fc.array(fc.tuple(key, tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  markerLike: fc.tuple(tag, fc.array(tie('value'), { maxLength: 3 })).map(([name, parts]) => ({ $: [name, ...parts] })),
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    fc.constantFrom<unknown>(undefined, null, true, false, Number.NaN, -0, 0, Infinity, -Infinity),
    fc.double(), fc.integer(), fc.bigInt(), anyText, fc.date({ noInvalidDate: false }), fc.uint8Array({ maxLength: 9 }), fc.float32Array({ maxLength: 3 }),
    fc.bigInt64Array({ maxLength: 2 }), fc.tuple(fc.nat(), fc.integer({ min: 1 })).map(([size, chunk]) => new BlobRef('5a'.repeat(32), size, chunk)),
    fc.array(tie('value'), { maxLength: 4 }), tie('object'), tie('object'), tie('markerLike'),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 3 }).map((entries) => new Map(entries)),
    fc.array(tie('value'), { maxLength: 3 }).map((items) => new Set(items)),
  ),
})).value

function count(value: unknown, seen: { markerLike: number; proto: number; undefinedField: number; bytes: number; map: number }): void {
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
