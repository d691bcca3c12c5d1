// Values of every kind that the codec carries, and JSON that looks like what it writes.

import { BlobRef } from '../../src/blob-ref.ts'
import { StepwellError } from '../../src/errors.ts'
import type { Draw } from './draw.ts'

const texts = ['', 'a', '$', '["date",1]', '__proto__', 'constructor', 'Zürich', '東京 😀', '\ud800', '\u0000\u2028"\\', 'x'.repeat(300)]
const numbers = [0, -0, 1, -1, 0.1, 5e-324, 2 ** 31, 2 ** 53, 1.7976931348623157e308, NaN, Infinity, -Infinity, 1e21]
const views = [Uint8Array, Int8Array, Uint8ClampedArray, Uint16Array, Int16Array, Uint32Array, Int32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array, DataView] as const

/** A value of at most `left` levels. */
export function randomValue(draw: Draw, left = 4): unknown {
  const below = (): unknown => randomValue(draw, left - 1)
  const many = (): undefined[] => Array.from({ length: draw(4) })
  switch (draw(left > 0 ? 18 : 10)) {
    case 0: return draw.pick([null, true, false, undefined])
    case 1: case 2: return draw.pick(numbers)
    case 3: case 4: return draw.pick(texts)
    case 5: return BigInt(draw(3) - 1) * 10n ** BigInt(draw(60))
    case 6: return new Date(draw.oneIn(8) ? NaN : draw(2 ** 31) * 1000 - 1e12)
    case 7: return randomBytes(draw, draw(40))
    case 8: {
      const View = draw.pick(views)
      const { buffer } = randomBytes(draw, 8 * draw(4))
      return draw.oneIn(6) ? buffer : new (View as new (buffer: ArrayBuffer) => ArrayBufferView)(buffer)
    }
    case 9: return new BlobRef('0123456789abcdef'.repeat(4), draw(1e6), 49152)
    case 10: case 11: return many().map(below)
    case 12: return new Map(many().map((_, i) => [draw.oneIn(3) ? { i } : i, below()]))
    case 13: return new Set(many().map((_, i) => draw.oneIn(3) ? [i] : i))
    case 14: return randomError(draw, left)
    case 15: return Object.fromEntries([['$', below()], ...many().map(() => [draw.pick(texts), below()])])
    default: return Object.fromEntries(many().map(() => [draw.pick(texts), below()]))
  }
}

function randomError(draw: Draw, left: number): Error {
  const options = left > 1 && draw.oneIn(2) ? { cause: randomValue(draw, 1) } : {}
  switch (draw(4)) {
    case 0: return new StepwellError('step_failed', draw.pick(texts), { details: { n: draw(9) } })
    case 1: return new AggregateError([new Error('one'), randomValue(draw, 1)], draw.pick(texts))
    case 2: return new TypeError(draw.pick(texts), options)
    default: return new Error(draw.pick(texts), options)
  }
}

export function randomBytes(draw: Draw, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => draw(256))
}

const tags = ['undefined', 'number', 'bigint', 'date', 'bytes', 'buffer', 'view', 'map', 'set', 'error', 'blob', 'obj', 'date2', '', 'constructor', 7, null]

/** JSON in which markers of the codec appear with parts that fit, nearly fit, or do not. */
export function randomWire(draw: Draw, left = 4): unknown {
  const below = (): unknown => randomWire(draw, left - 1)
  if (left <= 0 || draw.oneIn(6)) {
    return draw.pick<unknown>([null, true, 0, -1, 1.5, 2 ** 53, '', 'NaN', '-0', '12', '-7', '007', 'AAAA', 'AA==', 'AB==', 'A', 'a'.repeat(64), 'Uint8Array', 'Float64Array', 'Map', 'toString', ...texts])
  }
  switch (draw(6)) {
    case 0: return Array.from({ length: draw(4) }, below)
    case 1: return { $: below() }
    case 2: return Object.fromEntries(Array.from({ length: draw(4) }, () => [draw.pick(['$', 'name', 'message', 'code', 'stack', 'cause', 'errors', 'details', ...texts]), below()]))
    default: return { $: [draw.pick(tags), ...Array.from({ length: draw(4) }, below)] }
  }
}
