import { describe, expect, test } from 'vitest'
import { BlobRef, isBlobRef } from '../src/blob-ref.ts'
import { decode, encode } from '../src/codec.ts'

describe('BlobRef', () => {
  const hash = '0123456789abcdef'.repeat(4)

  test('G27: is frozen, plain to look at, and told apart from what looks like it', () => {
    const ref = new BlobRef(hash, 5, 4)
    expect({ ...ref }).toEqual({ hash, size: 5, chunkSize: 4 })
    expect(Object.isFrozen(ref)).toBe(true)
    expect([isBlobRef(ref), isBlobRef({ ...ref }), isBlobRef(null), isBlobRef('x')]).toEqual([
      true,
      false,
      false,
      false,
    ])
    expect(Object.is(new BlobRef(hash, -0, 1).size, 0)).toBe(true)
  })

  test.each<[unknown, unknown, unknown]>([
    ['', 1, 1],
    [hash.toUpperCase(), 1, 1],
    [hash.slice(1), 1, 1],
    [`${hash}0`, 1, 1],
    [1, 1, 1],
    [hash, -1, 1],
    [hash, 1.5, 1],
    [hash, '1', 1],
    [hash, 2 ** 53, 1],
    [hash, 1, 0],
    [hash, 1, -4],
    [hash, 1, 0.5],
    [hash, 1, undefined],
  ])('G27: %s, %s, %s is no blob reference', (a, b, c) => {
    expect(() => new BlobRef(a as string, b as number, c as number)).toThrow(
      expect.objectContaining({ code: 'invalid_argument' }),
    )
  })

  test('G27: a plain object that looks like one stays a plain object (B-147)', () => {
    const given = { hash, size: 5, chunkSize: 4, $: ['blob', hash, 5, 4] }
    const back = decode(encode(given))
    expect(back).toStrictEqual(given)
    expect(isBlobRef(back)).toBe(false)
  })
})
