import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { canonicalBytes, copy, decode, encode, fromWire, MAX_PAYLOAD_BYTES } from '../src/codec.ts'
import { StepwellError } from '../src/errors.ts'
import { hex } from '../src/hash.ts'
import { codecContract } from './contract/codec.contract.ts'

codecContract('Node')

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.subarray(1))
const payload = (form: number, json: string): Uint8Array => Uint8Array.from([form, ...new TextEncoder().encode(json)])

describe('the codec', () => {
  test('G26: a payload of another form is typed: newer, empty, zero, not UTF-8, not JSON', () => {
    for (const form of [3, 4, 34, 91, 123, 255]) {
      expect(() => decode(payload(form, '1'))).toThrow(
        expect.objectContaining({ code: 'format_too_new', kind: 'integrity', details: { path: '$', form } }),
      )
    }
    const broken = [
      [],
      [0],
      [0, 49],
      [1],
      [2],
      [1, 0xff],
      [1, 0xc3],
      [1, 34, 0xed, 0xa0, 0x80, 34],
      [1, 0xef, 0xbb, 0xbf, 49],
      [2, 123],
      [1, 49, 49, 44],
      [1, 39, 39],
    ]
    for (const bytes of broken) {
      expect(() => decode(Uint8Array.from(bytes))).toThrow(
        expect.objectContaining({ code: 'corrupt_payload', kind: 'integrity' }),
      )
    }
  })

  test('G26: an error about a damaged payload does not quote it', () => {
    for (const form of [1, 2]) {
      try {
        decode(payload(form, '{"password":"hunter2"'))
        expect.unreachable()
      } catch (error) {
        expect(JSON.stringify([(error as Error).message, (error as StepwellError).details])).not.toContain('hunter')
        expect((error as Error).cause).toBeUndefined()
      }
    }
  })

  test('G25: the length is checked before anything is read (Z-040, Z-094)', () => {
    const bytes = payload(1, 'no JSON at all')
    const limited = expect.objectContaining({
      code: 'payload_too_large',
      details: { limit: 'maxBytes', measured: 15, allowed: 14, path: 'entry 7' },
    })
    expect(() => decode(bytes, { maxBytes: 14, at: 'entry 7' })).toThrow(limited)
    expect(() => decode(bytes, { maxBytes: 15, at: 'entry 7' })).toThrow(
      expect.objectContaining({ code: 'corrupt_payload' }),
    )
    expect(MAX_PAYLOAD_BYTES).toBe(64 * 1024 * 1024)
  })

  test.each<[string, unknown]>([
    ['a text', 'x'.repeat(50)],
    ['a long text', 'x'.repeat(5000)],
    ['a long text of others', 'é'.repeat(5000)],
    ['bytes', new Uint8Array(5000)],
    ['a list', Array(5000).fill(1)],
    ['an object', Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`k${i}`, i]))],
    ['an error', new Error('x'.repeat(5000))],
    ['a map', new Map(Array.from({ length: 900 }, (_, i) => [i, i]))],
  ])('G25: a value that is too large is refused with what was measured: %s', (_, value) => {
    const full = encode(value).length
    expect(encode(value, { maxBytes: full })).toHaveLength(full)
    for (const maxBytes of [full - 1, Math.floor(full / 2), 1]) {
      try {
        encode(value, { maxBytes, at: 'output' })
        expect.unreachable()
      } catch (error) {
        expect(error).toMatchObject({
          code: 'payload_too_large',
          details: { limit: 'maxBytes', allowed: maxBytes, path: 'output' },
        })
        const measured = Number((error as StepwellError).details?.['measured'])
        expect(measured).toBeGreaterThan(maxBytes)
        expect(measured).toBeLessThanOrEqual(full)
      }
    }
  })

  test('G25: an object that is shared over and over stops at the limit, not at the end of memory', () => {
    let value: unknown = 'x'.repeat(100)
    for (let i = 0; i < 40; i++) value = [value, value]
    expect(() => encode(value, { maxBytes: 1_000_000 })).toThrow(expect.objectContaining({ code: 'payload_too_large' }))
  })

  test('G25: nested 200 deep is carried, 201 is a typed error with the path; so for every kind of nesting', () => {
    const kinds: Record<string, (inner: unknown) => unknown> = {
      array: (inner) => [inner],
      object: (inner) => ({ a: inner }),
      map: (inner) => new Map([[1, inner]]),
      'map key': (inner) => new Map([[inner, 1]]),
      set: (inner) => new Set([inner]),
      escaped: (inner) => ({ $: inner }),
    }
    for (const [kind, wrap] of Object.entries(kinds)) {
      const nest = (depth: number): unknown => {
        let value: unknown = 1
        for (let i = 0; i < depth; i++) value = wrap(value)
        return value
      }
      expect(hex(encode(decode(encode(nest(200))))), kind).toBe(hex(encode(nest(200))))
      expect(() => encode(nest(201)), kind).toThrow(
        expect.objectContaining({
          code: 'limit_exceeded',
          details: expect.objectContaining({
            limit: 'depth',
            measured: 201,
            allowed: 200,
            path: expect.stringMatching(/^\$.{200}/) as string,
          }) as unknown,
        }),
      )
      expect(() => encode(nest(100_000)), kind).toThrow(expect.objectContaining({ code: 'limit_exceeded' }))
    }
  })

  test('G26: a hostile depth of JSON is a typed error, never a stack overflow', () => {
    for (const deep of [`${'['.repeat(200_000)}${']'.repeat(200_000)}`, '{"$":["map",[['.repeat(5000)]) {
      expect(() => decode(payload(2, deep))).toThrow(expect.objectContaining({ code: 'corrupt_payload' }))
    }
  })

  test('G26: every property is read once, so what was checked is what is written', () => {
    let reads = 0
    const sly = {
      get a() {
        return reads++ === 0 ? 1 : () => 1
      },
      b: 2,
    }
    expect(text(encode(sly))).toBe('{"a":1,"b":2}')
    expect(reads).toBe(1)
    const gets: string[] = []
    const watched = new Proxy(
      { x: 1, y: [2] },
      { get: (target, key) => (gets.push(String(key)), Reflect.get(target, key)) },
    )
    expect(text(encode(watched))).toBe('{"x":1,"y":[2]}')
    expect(gets).toEqual(['x', 'y'])
  })

  test('G26: toJSON is never called, wherever it is put', () => {
    const prototypes = [
      Object.prototype,
      Array.prototype,
      Date.prototype,
      BigInt.prototype,
      String.prototype,
      Number.prototype,
    ] as object[]
    for (const prototype of prototypes)
      Object.defineProperty(prototype, 'toJSON', { value: () => 'called', configurable: true })
    try {
      const value = { a: [1n, 'x', 2, new Date(1)] }
      expect(text(encode(value))).toBe('{"a":[{"$":["bigint","1"]},"x",2,{"$":["date",1]}]}')
    } finally {
      for (const prototype of prototypes) delete (prototype as { toJSON?: unknown }).toJSON
    }
  })

  test('G26: a getter may encode in turn', () => {
    const value = {
      before: 'b',
      get inner() {
        return text(encode({ deep: [1, 2, 3] }))
      },
      after: new Uint8Array([1]),
    }
    expect(decode(encode(value))).toEqual({ before: 'b', inner: '{"deep":[1,2,3]}', after: new Uint8Array([1]) })
  })

  test('G26: a typed error that a getter throws comes through as it is', () => {
    const error = new StepwellError('attempt_over', 'too late')
    expect(() =>
      encode({
        get a() {
          throw error
        },
      }),
    ).toThrow(error)
  })

  test('G26: the error names the place given by `at`', () => {
    expect(() => encode({ a: [() => 1] }, { at: 'output of step "charge"' })).toThrow(
      'output of step "charge".a[0] is a function',
    )
    expect(() => fromWire({ a: { $: 1 } }, { at: 'input' })).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ path: 'input.a' }) as unknown }),
    )
  })

  test('G26: a property that throws keeps the reason as cause', () => {
    const reason = new Error('not now')
    try {
      encode({
        get a() {
          throw reason
        },
      })
      expect.unreachable()
    } catch (error) {
      expect((error as Error).cause).toBe(reason)
      expect((error as Error).message).not.toContain('not now')
    }
  })

  test('G26: values of another realm are carried like ours', () => {
    const foreign = runInNewContext(`({
      list: [1, [2]], map: new Map([[1, { a: undefined }]]), set: new Set([1n]), date: new Date(5), bytes: new Uint8Array([1, 2]), floats: new Float32Array([0.5]),
      buffer: new Uint8Array([3]).buffer, view: new DataView(new ArrayBuffer(2)), error: new TypeError('theirs', { cause: new Error('why') }), none: Object.create(null),
    })`) as object
    const back = decode(encode(foreign)) as Record<string, unknown>
    expect(back).toStrictEqual({
      list: [1, [2]],
      map: new Map([[1, { a: undefined }]]),
      set: new Set([1n]),
      date: new Date(5),
      bytes: new Uint8Array([1, 2]),
      floats: new Float32Array([0.5]),
      buffer: new Uint8Array([3]).buffer,
      view: new DataView(new ArrayBuffer(2)),
      error: new TypeError('theirs', { cause: new Error('why') }),
      none: {},
    })
    for (const refused of [
      'new (class Foo {})',
      'new (class Foo extends Map {})',
      '/x/',
      'Promise.resolve()',
      'new WeakMap()',
    ]) {
      expect(() => encode(runInNewContext(refused)), refused).toThrow(
        expect.objectContaining({ code: 'not_serializable' }),
      )
    }
  })

  test('G26: classes that borrow the name of a built-in one are refused', () => {
    const builtin = Map
    const impostors = [
      new (class Map {
        get [Symbol.toStringTag]() {
          return 'Map'
        }
      })(),
      new (class Map extends builtin {})(),
      new (class Object {})(),
      new (class Array {})(),
      new (class Float32Array extends globalThis.Float32Array {})(1),
      new (class Buffer {})(),
    ]
    for (const impostor of impostors)
      expect(() => encode(impostor)).toThrow(expect.objectContaining({ code: 'not_serializable' }))
  })

  test('G26: a Buffer comes back as the Uint8Array that it is, and shares nothing', () => {
    const buffer = Buffer.from('hello')
    const { bytes, value } = copy<Uint8Array>(buffer)
    expect(value.constructor).toBe(Uint8Array)
    expect([...value]).toEqual([...buffer])
    expect(value.buffer).not.toBe(buffer.buffer)
    expect(hex(bytes)).toBe(hex(encode(new Uint8Array(buffer))))
  })

  test('G26: shared memory is carried by its bytes when a view shows it, and refused alone', () => {
    const shared = new SharedArrayBuffer(2)
    expect(decode(encode(new Uint8Array(shared)))).toEqual(new Uint8Array(2))
    expect(() => encode(shared)).toThrow(
      expect.objectContaining({ details: { path: '$', what: 'an instance of SharedArrayBuffer' } }),
    )
  })

  test('G26: copy gives primitives themselves, and what replay will see for the rest', () => {
    for (const value of ['x', 1, true, null, undefined, 5n, Number.NaN]) expect(copy(value).value).toBe(value)
    const date = new Date(3)
    const given = { date, list: [date], gone: undefined }
    const { value } = copy(given)
    expect(value).toStrictEqual(given)
    expect(value.date).not.toBe(date)
    expect(value.list[0]).not.toBe(value.date) // one object twice is two after a replay, so also live
    expect(() => copy(() => 1)).toThrow(expect.objectContaining({ code: 'not_serializable' }))
  })

  test('G15: canonical bytes do not depend on the order of keys, but on everything else', () => {
    const canonical = (value: unknown): string => hex(canonicalBytes(value))
    expect(canonical({ a: 1, b: { d: [1], c: 2 } })).toBe(canonical({ b: { c: 2, d: [1] }, a: 1 }))
    expect(canonical({ $: 1, '!': 2 })).toBe(canonical({ '!': 2, $: 1 }))
    expect(canonical(new StepwellError('failed', 'x', { details: { b: 1, a: 2 } }))).toBe(
      canonical(new StepwellError('failed', 'x', { details: { a: 2, b: 1 } })),
    )
    expect(text(canonicalBytes({ é: 1, z: 2, Z: 3, '\u{1f600}': 4, '\uffff': 5, 10: 6, 9: 7 }))).toBe(
      '{"10":6,"9":7,"Z":3,"z":2,"é":1,"😀":4,"\uffff":5}',
    )
    const different = [
      { a: 1 },
      { a: '1' },
      { a: 1n },
      { a: -0 },
      { a: 0 },
      { a: null },
      { a: undefined },
      {},
      { b: 1 },
      [{ a: 1 }],
      new Map([['a', 1]]),
      new Set(['a', 1]),
      new Set([1, 'a']),
    ]
    expect(new Set(different.map(canonical)).size).toBe(different.length)
    expect(() => canonicalBytes({ b: 1, a: () => 1 }, { at: 'input', maxBytes: 100 })).toThrow(
      expect.objectContaining({ details: { path: 'input.a', what: 'a function' } }),
    )
    expect(() => canonicalBytes('x'.repeat(200), { maxBytes: 100 })).toThrow(
      expect.objectContaining({ code: 'payload_too_large' }),
    )
  })

  test('G26: fromWire does not change what it is given, and copies only what differs', () => {
    const given = { plain: { a: [1] }, special: [{ $: ['date', 1] }] }
    const before = JSON.stringify(given)
    const back = fromWire(given) as typeof given
    expect(JSON.stringify(given)).toBe(before)
    expect(back.plain).toBe(given.plain)
    expect(back.special).toEqual([new Date(1)])
    for (const plain of [1, 'x', null, true, [1, { a: 2 }]]) expect(fromWire(plain)).toBe(plain)
  })

  test('G26: a host that lacks a kind of view says so', () => {
    const { Float16Array } = globalThis as { Float16Array?: new (items: number[]) => ArrayBufferView }
    if (Float16Array !== undefined)
      expect(decode(encode(new Float16Array([0.5])))).toStrictEqual(new Float16Array([0.5]))
    const saved = Object.getOwnPropertyDescriptor(globalThis, 'Float16Array')
    Reflect.deleteProperty(globalThis, 'Float16Array')
    try {
      expect(() => fromWire({ $: ['view', 'Float16Array', 'ADg='] })).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      )
    } finally {
      if (saved !== undefined) Object.defineProperty(globalThis, 'Float16Array', saved)
    }
  })

  test('G26: the writer keeps no large buffer and nothing of what it wrote', async () => {
    encode('x'.repeat(5_000_000))
    const refs = (() => {
      const given = { deep: { er: [{}] } }
      encode(given)
      try {
        encode([given, () => 1])
      } catch {
        /* what is kept after a refusal counts as well */
      }
      return [new WeakRef(given), new WeakRef(given.deep)]
    })()
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    for (let i = 0; i < 3; i++) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      gc()
    }
    expect(refs.map((ref) => ref.deref())).toEqual([undefined, undefined])
  }, 60_000)
})
