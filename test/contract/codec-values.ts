// What the codec carries, what it refuses and where, and payloads that nobody wrote: the tables of codec.contract.ts.

import { BlobRef } from '../../src/blob-ref.ts'
import { permanent, retryAfter, StepwellError } from '../../src/errors.ts'

const named = (name: string, build: (error: Error) => void = () => undefined): Error => {
  const error = new Error(`a ${name}`)
  error.name = name
  build(error)
  return error
}

/** Each by a name, so that a failing one is found. */
export const values: Readonly<Record<string, unknown>> = {
  null: null,
  true: true,
  false: false,
  zero: 0,
  one: 1,
  minus: -1,
  ten: 10,
  'int32 max': 2 ** 31 - 1,
  'int32 min': -(2 ** 31),
  'uint32 max': 2 ** 32 - 1,
  'safe max': Number.MAX_SAFE_INTEGER,
  fraction: 0.1,
  tiny: 5e-324,
  huge: 1.7976931348623157e308,
  '1e21': 1e21,
  undefined,
  NaN: Number.NaN,
  Infinity,
  '-Infinity': -Infinity,
  '-0': -0,
  bigint: 0n,
  'negative bigint': -(10n ** 40n),
  'large bigint': 2n ** 4000n,
  'no text': '',
  text: 'plain',
  quotes: '"\\/\b\f\n\r\t\u0000\u001f\u007f',
  'Latin text': 'Zürich',
  'CJK text': '東京',
  emoji: '😀👩‍👩‍👧',
  separators: '\u2028\u2029\ufeff',
  'high surrogate': 'a\ud800b',
  'low surrogate': '\udc00',
  'swapped surrogates': '\udc00\ud800',
  'BOM first': '\ufeffx',
  'long text': 'abc '.repeat(1000),
  'long Latin text': 'äöü '.repeat(40_000),
  'surrogates on a border': `${'x'.repeat(32_766)}😀${'x'.repeat(40_000)}`,
  'long text with lone surrogates': `${'x'.repeat(500)}\ud83d`,
  array: [],
  'nested arrays': [[[]], [1, [2]]],
  'array of undefined': [undefined, null, undefined],
  object: {},
  'undefined property': { a: undefined, b: null },
  'object in array': [{ a: [{ b: 1 }] }],
  'no prototype': Object.assign(Object.create(null) as object, { a: 1 }),
  'integer keys': { 2: 'b', 1: 'a', x: 'c' },
  'odd keys': { '': 1, ' ': 2, 'a.b': { c: 3 }, a: { b: 4 }, '\ud800': 5, '"': 6 },
  'dotted and nested': { 'a.b': 1, a: { b: 2 } },
  'same object twice': ((shared) => [shared, shared, { shared }])({ x: [1] }),
  'own __proto__': JSON.parse('{"__proto__":{"polluted":true},"a":1}') as unknown,
  'special in own __proto__': Object.fromEntries([
    ['__proto__', new Date(5)],
    ['b', 1n],
  ]),
  'names of Object.prototype': {
    constructor: 1,
    toString: 'x',
    hasOwnProperty: null,
    valueOf: undefined,
    toJSON: 'no function',
  },
  date: new Date(1),
  'first date': new Date(-8.64e15),
  'last date': new Date(8.64e15),
  'invalid date': new Date(Number.NaN),
  map: new Map<unknown, unknown>([
    ['a', 1],
    [1, 'a'],
    [undefined, Number.NaN],
    [Number.NaN, undefined],
    [new Date(3), new Map()],
    [{ k: 1 }, new Set([[]])],
  ]),
  'empty map': new Map(),
  set: new Set([1, '1', undefined, Number.NaN, { a: 1 }, { a: 1 }, 0]),
  'empty set': new Set(),
  'map by bigint': new Map([[1n, 2n]]),
  'no bytes': new Uint8Array(0),
  bytes: Uint8Array.from({ length: 256 }, (_, i) => i),
  'one byte': new Uint8Array([255]),
  'two bytes': new Uint8Array([254, 255]),
  'many bytes': Uint8Array.from({ length: 70_001 }, (_, i) => i * 7),
  'part of a buffer': Uint8Array.from({ length: 50 }, (_, i) => i).subarray(7, 20),
  'bytes in an object': { a: new Uint8Array([1]), b: [new Uint8Array(600).fill(251)] },
  buffer: new Uint8Array([1, 2, 3]).buffer,
  'empty buffer': new ArrayBuffer(0),
  Int8Array: new Int8Array([-1, 127]),
  Uint8ClampedArray: new Uint8ClampedArray([255, 0]),
  Int16Array: new Int16Array([-2, 3]),
  Uint16Array: new Uint16Array([65535]),
  Int32Array: new Int32Array([-(2 ** 31)]),
  Uint32Array: new Uint32Array([2 ** 32 - 1]),
  BigInt64Array: new BigInt64Array([-1n]),
  BigUint64Array: new BigUint64Array([2n ** 64n - 1n]),
  Float32Array: new Float32Array([0.5, Number.NaN]),
  Float64Array: new Float64Array([-0, Infinity, 0.1]),
  'offset Float64Array': new Float64Array(new Float64Array([1, 2, 3, 4]).buffer, 8, 2),
  DataView: new DataView(new Uint8Array([9, 8, 7]).buffer, 1, 1),
  error: new Error('boom'),
  'no message': new Error(),
  TypeError: new TypeError('t'),
  RangeError: new RangeError('r'),
  SyntaxError: new SyntaxError('s'),
  ReferenceError: new ReferenceError('f'),
  EvalError: new EvalError('e'),
  URIError: new URIError('u'),
  'with a cause': new Error('outer', { cause: new TypeError('inner', { cause: new Error('last') }) }),
  AggregateError: new AggregateError([new Error('a'), new TypeError('b')], 'both'),
  'named error': named('PaymentError'),
  'error with a code': named('Error', (error) =>
    Object.assign(error, { code: 'ECONNRESET', details: { host: 'example.org', port: 443 } }),
  ),
  'marked error': permanent(retryAfter(new Error('later'), '3 seconds')),
  StepwellError: new StepwellError('limit_exceeded', 'too many', {
    details: { limit: 'outstanding', measured: 3, allowed: 2 },
    cause: new Error('why'),
  }),
  'retryable StepwellError': new StepwellError('failed', 'odd', { retryable: true }),
  'error in an object': { problem: [new Error('inside')] },
  blob: new BlobRef('0f'.repeat(32), 123_456_789, 49_152),
  'empty blob': [new BlobRef('00'.repeat(32), 0, 1)],
  'like a marker': { $: ['date', 1] },
  'like an escape': { $: ['obj', { $: ['obj', { $: 1 }] }] },
  'like undefined': { $: ['undefined'] },
  '$ and more': { $: 1, a: undefined },
  'only $': { $: undefined },
  '$ with a value': { $: [new Date(1), { $: [1n] }] },
  'like a marker in a map': new Map([[{ $: ['bytes', 'AA=='] }, { $: null }]]),
  'like a marker in a set': new Set([{ $: [] }]),
  'unknown marker': { a: [{ $: ['future', 1] }] },
  $$: { $$: ['date', 1] },
  'a marker as text': '{"$":["date",1]}',
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
  'hidden symbol as key': [
    { a: Object.defineProperty({}, Symbol('x'), { value: 1 }) },
    '$.a',
    'an object with a symbol as key',
  ],
  instance: [{ p: new Point() }, '$.p', 'an instance of Point'],
  'instance of a class without a name': [new (class {})(), '$', 'an object of an unknown class'],
  'instance with toJSON': [
    {
      p: new (class Money {
        toJSON() {
          return 1
        }
      })(),
    },
    '$.p',
    'an instance of Money',
  ],
  'plain toJSON': [{ p: { toJSON: () => 1 } }, '$.p.toJSON', 'a function'],
  'object with a prototype of its own': [Object.create({ inherited: 1 }), '$', 'an instance of Object'],
  'object over an object without a prototype': [
    Object.create(Object.create(null) as object),
    '$',
    'an object of an unknown class',
  ],
  'kind of Map': [new Sheet(), '$', 'an instance of Sheet'],
  'kind of Array': [List.of(1), '$', 'an instance of List'],
  'kind of Float32Array': [new Floats(1), '$', 'an instance of Floats'],
  'what only looks like a Map': [
    { m: Object.create(Map.prototype) as unknown },
    '$.m',
    'something that throws when it is read',
  ],
  'what only looks like a Date': [[Object.create(Date.prototype)], '$[0]', 'something that throws when it is read'],
  'what only looks like a buffer': [Object.create(ArrayBuffer.prototype), '$', 'something that throws when it is read'],
  'what only looks like a blob': [Object.create(BlobRef.prototype), '$', 'an invalid blob reference'],
  WeakMap: [{ w: new WeakMap() }, '$.w', 'an instance of WeakMap'],
  WeakSet: [new WeakSet(), '$', 'an instance of WeakSet'],
  WeakRef: [new WeakRef({}), '$', 'an instance of WeakRef'],
  RegExp: [{ r: /x/ }, '$.r', 'an instance of RegExp'],
  URL: [{ u: new URL('https://example.org/') }, '$.u', 'an instance of URL'],
  promise: [{ p: Promise.resolve(1) }, '$.p', 'a promise (await it first)'],
  thenable: [
    new (class Query {
      then() {
        return 1
      }
    })(),
    '$',
    'a promise (await it first)',
  ],
  generator: [
    (function* () {
      yield 1
    })(),
    '$',
    'an object of an unknown class',
  ],
  'boxed number': [Object(1), '$', 'an instance of Number'],
  'boxed string': [[Object('x')], '$[0]', 'an instance of String'],
  'boxed bigint': [Object(1n), '$', 'an instance of BigInt'],
  arguments: [
    (function (..._: number[]) {
      return arguments
    })(1),
    '$',
    'an object with a symbol as key',
  ],
  Math: [{ m: Math }, '$.m', 'an object with a symbol as key'],
  hole: [{ list: [1, , 3] }, '$.list[1]', 'a hole in an array'], // eslint-disable-line no-sparse-arrays
  'long empty array': [new Array(5), '$[0]', 'a hole in an array'],
  cycle: [looped, '$.deep.list[1]', 'a cycle: the object that is also at $'],
  'cycle through a map': [
    ((map) => map.set('self', [map]))(new Map<string, unknown>()),
    '$<value 0>[0]',
    'a cycle: the object that is also at $',
  ],
  'cycle through a set': [
    ((set) => set.add({ set }))(new Set<unknown>()),
    '$<item 0>.set',
    'a cycle: the object that is also at $',
  ],
  'key of a map': [
    {
      m: new Map<unknown, unknown>([
        [1, 1],
        [Symbol('x'), 2],
      ]),
    },
    '$.m<key 1>',
    'a symbol',
  ],
  'value of a map': [new Map([[1, { f: () => 1 }]]), '$<value 0>.f', 'a function'],
  'item of a set': [[new Set([1, 2, () => 1])], '$[0]<item 2>', 'a function'],
  'odd names': [{ 'a.b': { '': { 'é"': { class: Symbol.iterator } } } }, '$["a.b"][""]["é\\""].class', 'a symbol'],
  'long name': [
    { ['k'.repeat(300)]: { 'x y': { ['-'.repeat(300)]: () => 1 } } },
    `$.${'k'.repeat(100)}….["x y"]`,
    'a function',
  ],
  'after an escape': [{ $: { f: () => 1 } }, '$.$.f', 'a function'],
  'getter that throws': [
    {
      a: {
        get b() {
          throw new Error('secret text')
        },
      },
    },
    '$.a.b',
    'something that throws when it is read',
  ],
  'revoked proxy': [{ a: [revoked.proxy] }, '$.a[0]', 'something that throws when it is read'],
  'detached buffer': [{ b: detached }, '$.b', 'a detached ArrayBuffer'],
  'detached view': [[detachedView], '$[0]', 'a detached ArrayBuffer'],
}

/** Payloads that no encoder wrote, as JSON after the first byte 2; and where the fault is. */
export const damaged: Readonly<Record<string, readonly [json: string, path: string]>> = {
  'unknown tag': ['{"a":{"$":["future",1]}}', '$.a'],
  'no tag': ['{"$":[]}', '$'],
  'tag of another type': ['[{"$":[1]}]', '$[0]'],
  'no array': ['{"$":1}', '$'],
  'no array but an object': ['{"$":{"0":"date"}}', '$'],
  'other keys': ['{"$":["date",1],"a":1}', '$'],
  'too few parts': ['{"$":["date"]}', '$'],
  'too many parts': ['{"$":["undefined",1]}', '$'],
  'a number that needs no marker': ['{"$":["number","1"]}', '$'],
  'number as a number': ['{"$":["number",0]}', '$'],
  'bigint with a leading zero': ['{"$":["bigint","01"]}', '$'],
  'bigint in hex': ['{"$":["bigint","0x1"]}', '$'],
  'bigint of space': ['{"$":["bigint"," "]}', '$'],
  'negative zero bigint': ['{"$":["bigint","-0"]}', '$'],
  'bigint as a number': ['{"$":["bigint",1]}', '$'],
  'date as text': ['{"$":["date","2026"]}', '$'],
  'date out of range': ['{"$":["date",9e15]}', '$'],
  'date with a fraction': ['{"$":["date",1.5]}', '$'],
  'base64 without padding': ['{"$":["bytes","AQ"]}', '$'],
  'base64 with white space': ['{"$":["bytes","AQ= ="]}', '$'],
  'base64 for URLs': ['{"$":["bytes","_-8="]}', '$'],
  'base64 with spare bits': ['{"$":["bytes","AR=="]}', '$'],
  'base64 with spare bits (2)': ['{"$":["bytes","AQJ="]}', '$'],
  'base64 padded inside': ['{"$":["bytes","AQ==AQ=="]}', '$'],
  'base64 with another letter': ['{"$":["bytes","AQé="]}', '$'],
  'base64 of padding': ['{"$":["bytes","===="]}', '$'],
  'base64 as a number': ['[{"$":["bytes",1]}]', '$[0]'],
  'long base64 with white space': [`{"$":["bytes","${'AAAA'.repeat(300)} AAA"]}`, '$'],
  'long base64 broken': [`[{"$":["bytes","${'AAAA'.repeat(300)}A?AA"]}]`, '$[0]'],
  'long base64 with spaces': [`[{"$":["bytes","${'AAAA'.repeat(300)}    "]}]`, '$[0]'],
  'unknown view': ['{"$":["view","Uint8Array","AQ=="]}', '$'],
  'view of a global': ['{"$":["view","Function","AQ=="]}', '$'],
  'view of another length': ['{"$":["view","Int16Array","AQ=="]}', '$'],
  'view without a name': ['{"$":["view",1,"AQ=="]}', '$'],
  'map of no list': ['{"$":["map",{}]}', '$'],
  'map of no pairs': ['{"$":["map",[["a",1],["a"]]]}', '$'],
  'map with a key twice': ['{"$":["map",[["a",1],["a",2]]]}', '$'],
  'set of no list': ['{"$":["set",1]}', '$'],
  'set with an item twice': ['{"$":["set",[1,1]]}', '$'],
  'inside a map': ['{"a":{"$":["map",[[1,{"$":["x"]}]]]}}', '$.a<value 0>'],
  'inside a set': ['{"$":["set",[1,{"$":["x"]}]]}', '$<item 1>'],
  'error of another version': ['{"$":["error",{"version":2,"name":"Error","message":"x"}]}', '$'],
  'error without data': ['{"$":["error",null]}', '$'],
  'error with a wrong cause': ['{"$":["error",{"version":1,"name":"Error","message":"x","cause":1}]}', '$'],
  'blob with another hash': ['{"$":["blob","AB",1,1]}', '$'],
  'blob of no size': [`{"$":["blob","${'ab'.repeat(32)}",-1,1]}`, '$'],
  'blob of no chunks': [`{"$":["blob","${'ab'.repeat(32)}",1,0]}`, '$'],
  'escape of nothing': ['{"$":["obj",null]}', '$'],
  'escape of a list': ['{"$":["obj",[1]]}', '$'],
  'escape without need': ['{"$":["obj",{"a":1}]}', '$'],
  'inside an escape': ['{"$":["obj",{"$":1,"b":{"$":["x"]}}]}', '$.b'],
  'too deep': ['['.repeat(300) + ']'.repeat(300), `$${'[0]'.repeat(200)}`],
}
