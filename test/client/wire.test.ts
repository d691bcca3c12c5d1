import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BlobRef } from '../../src/blob-ref.ts'
import { fromWireText, toWireText } from '../../src/client/wire.ts'
import { fromWire, toWire } from '../../src/codec.ts'
import { isStepwellError, StepwellError } from '../../src/errors.ts'

describe('docs/codec.md', () => {
  const rows = [...readFileSync(new URL('../../docs/codec.md', import.meta.url), 'utf8').matchAll(/^\| `(\w+)` \| `(.+)` \| `(.+)` \|$/gm)]
    .map(([, tag, value, json]) => ({ tag: tag ?? '', value: value ?? '', json: json ?? '' }))

  test('there are rows', () => {
    expect(rows.length).toBeGreaterThan(15)
  })

  test.each(rows)('G26: the client writes and reads $tag: $value as $json', ({ value, json }) => {
    const made: unknown = new Function('BlobRef', 'StepwellError', `return (${value})`)(BlobRef, StepwellError)
    expect(JSON.parse(toWireText(made))).toEqual(JSON.parse(json))
    expect(fromWireText(json)).toStrictEqual(made)
  })
})

test('G26: the client\'s form and the codec\'s are one, for any value', () => {
  const leaf = fc.oneof(
    fc.string({ unit: 'binary' }), fc.double(), fc.integer(), fc.boolean(), fc.constant(null), fc.constant(undefined), fc.bigInt(),
    fc.date({ noInvalidDate: false }), fc.uint8Array(), fc.float32Array(), fc.int16Array(),
    fc.string().map((message) => new TypeError(message, { cause: new Error('inner') })),
    fc.string().map((message) => new StepwellError('stale_epoch', message, { details: { tab: 2 } })),
  )
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('value')), fc.dictionary(fc.oneof(fc.string(), fc.constant('$'), fc.constant('__proto__')), tie('value')),
      fc.array(fc.tuple(fc.string(), tie('value'))).map((pairs) => new Map(pairs)), fc.array(fc.oneof(fc.string(), fc.integer())).map((items) => new Set(items))),
  }))
  fc.assert(fc.property(value, (made) => {
    const codec = toWire(made)
    expect(JSON.parse(toWireText(made))).toEqual(codec)
    expect(fromWireText(JSON.stringify(codec))).toStrictEqual(fromWire(codec))
  }), { numRuns: 200 })
}, 60_000)

test('what can\'t be sent is refused with its path, as by the codec', () => {
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  let deep: unknown = 1
  for (let i = 0; i < 201; i++) deep = [deep]
  class Mine {}
  for (const [bad, path] of [
    [() => 1, '$'], [{ a: [1, Symbol('x')] }, '$.a[1]'], [new Map([['k', new Mine()]]), '$<0>[1]'], [{ p: Promise.resolve() }, '$.p'],
    [[, 1], '$[0]'], [{ [Symbol('s')]: 1 }, '$'], [new URL('http://x'), '$'], [cycle, undefined], [deep, undefined],
  ] as const) {
    expect(() => toWire(bad)).toThrow()
    expect(() => toWireText(bad)).toThrow(expect.objectContaining({ code: 'not_serializable', ...(path === undefined ? undefined : { details: { path } }) }))
  }
})

test('a marker of a newer host is a typed error, and no name from the wire makes anything but bytes and errors', () => {
  for (const json of ['{"$":["later",1]}', '{"$":["view","Function","AA=="]}', '{"$":["view","constructor","AA=="]}', '{"$":[]}']) {
    expect(() => fromWireText(json)).toThrow(expect.objectContaining({ code: 'format_too_new' }))
  }
  const named = fromWireText('{"$":["error",{"version":1,"name":"Function","message":"return 1"}]}')
  expect(named).toBeInstanceOf(Error)
  expect((named as Error).name).toBe('Function')
  const newer = fromWireText('{"$":["error",{"version":1,"name":"StepwellError","message":"m","code":"of_tomorrow","kind":"usage"}]}')
  expect(isStepwellError(newer)).toBe(false)
  expect(newer).toMatchObject({ name: 'StepwellError', code: 'of_tomorrow', message: 'm' })
})

test('large bytes go there and back', () => {
  const bytes = new Uint8Array(1_000_003).map((_, i) => i * 7)
  expect(Buffer.compare(fromWireText(toWireText(bytes)) as Uint8Array, bytes)).toBe(0)
})
