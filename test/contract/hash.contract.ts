// BLAKE3 on any host: the official vectors, pieces, and the facade's own promises. Bound for each host.

import { describe, expect, test } from 'vitest'
import {
  backend,
  blake3,
  blake3Into,
  createHasher,
  equalBytes,
  fromHex,
  hashParts,
  hex,
  loadFast,
} from '../../src/hash.ts'
import type { Blake3 } from '../../src/hash/blake3-noble.ts'
import { blake3Vectors, vectorInput } from './blake3-vectors.ts'

export interface HashHost {
  readonly name: string
  /** How this host computes hashes before and after `loadFast`. */
  readonly backends: readonly ['wasm' | 'js', 'wasm' | 'js']
  /** Every way that can be had on this host: all must give the same digests. */
  readonly ways: Readonly<Record<string, () => Promise<Blake3 | undefined>>>
}

/** For a busy machine. */
const SLOW = 60_000

const usage = { code: 'invalid_argument', kind: 'usage' }

/** Around the sizes where ways differ: the pieces fed to WebAssembly, BLAKE3's chunks, several pieces. */
const edges = [0, 1, 63, 64, 65, 1023, 1024, 1025, 65_535, 65_536, 65_537, 131_072, 131_073, 1_000_003]

export function hashContract(host: HashHost): void {
  describe(`BLAKE3 (${host.name})`, () => {
    test('G4: the way to hash is the one this host should have, before and after loadFast', async () => {
      expect(backend()).toBe(host.backends[0])
      const before = hex(blake3(vectorInput(100)))
      expect(await loadFast()).toBe(host.backends[1] === 'wasm')
      expect(backend()).toBe(host.backends[1])
      expect(await loadFast()).toBe(host.backends[1] === 'wasm')
      expect(hex(blake3(vectorInput(100)))).toBe(before)
    })

    test(
      'G4: the official vectors, whole, into a place, and in pieces',
      () => {
        expect(blake3Vectors).toHaveLength(35)
        for (const [length, digest] of blake3Vectors) {
          const input = vectorInput(length)
          expect(hex(blake3(input))).toBe(digest)
          const out = new Uint8Array(40).fill(7)
          blake3Into(input, out, 5)
          expect(hex(out.subarray(5, 37))).toBe(digest)
          expect([...out.subarray(0, 5), ...out.subarray(37)]).toEqual(Array(8).fill(7))
          for (const piece of [1 + Math.floor(length / 3), 1000])
            expect(hex(inPieces(createHasher(), input, piece))).toBe(digest)
        }
      },
      SLOW,
    )

    for (const [way, open] of Object.entries(host.ways)) {
      test(
        `G4: official vectors, by ${way}`,
        async () => {
          const it = await open()
          if (it === undefined) throw new Error(`${way} can't be had here`)
          for (const [length, digest] of blake3Vectors) {
            expect(hex(it.hash(vectorInput(length)))).toBe(digest)
            expect(hex(inPieces(it.createHasher(), vectorInput(length), 777))).toBe(digest)
          }
        },
        SLOW,
      )

      test(
        `G4: the same digests by ${way} as by the host's own way, at every edge`,
        async () => {
          const it = await open()
          for (const length of edges) {
            const input = vectorInput(length)
            const digest = hex(blake3(input))
            expect(it && hex(it.hash(input))).toBe(digest)
            expect(it && hex(inPieces(it.createHasher(), input, 100_000))).toBe(digest)
          }
        },
        SLOW,
      )

      test(`G4: ${way} takes bytes only, and a hasher once`, async () => {
        const it = await open()
        for (const wrong of [
          'abc',
          [1, 2],
          new ArrayBuffer(2),
          new DataView(new ArrayBuffer(2)),
          new Int8Array(2),
          undefined,
          null,
          { length: 1 },
        ]) {
          expect(() => it?.hash(wrong as never)).toThrow(expect.objectContaining(usage))
          const hasher = it?.createHasher()
          expect(() => hasher?.update(wrong as never)).toThrow(expect.objectContaining(usage))
          hasher?.close()
        }
        const hasher = it?.createHasher().update(vectorInput(3))
        expect(hasher && hex(hasher.digest())).toBe(blake3Vectors.find(([length]) => length === 3)?.[1])
        expect(() => hasher?.digest()).toThrow(expect.objectContaining(usage))
        expect(() => hasher?.update(vectorInput(1))).toThrow(expect.objectContaining(usage))
        hasher?.close()
      })
    }

    test('G4: a view on a part of a buffer hashes that part, and digests share nothing', () => {
      const whole = vectorInput(300)
      expect(hex(blake3(whole.subarray(100, 200)))).toBe(hex(blake3(whole.slice(100, 200))))
      const a = blake3(whole)
      const kept = hex(a)
      blake3(vectorInput(5))
      expect(hex(a)).toBe(kept)
      expect(a.buffer.byteLength).toBe(32)
    })

    test('G4: a digest that has no room is refused', () => {
      for (const offset of [-1, 1, Number.NaN, 33]) {
        expect(() => blake3Into(vectorInput(1), new Uint8Array(32), offset)).toThrow(expect.objectContaining(usage))
      }
    })

    test(
      'G4: many hashers at once do not disturb each other',
      () => {
        const hashers = blake3Vectors.map(() => createHasher())
        for (let from = 0; from < 102_400; from += 10_000) {
          blake3Vectors.forEach(([length], i) => hashers[i]?.update(vectorInput(length).subarray(from, from + 10_000)))
        }
        expect(hashers.map((hasher) => hex(hasher.digest()))).toEqual(blake3Vectors.map(([, digest]) => digest))
      },
      SLOW,
    )

    partsContract()
  })
}

function partsContract(): void {
  test('G15: parts are length-prefixed and typed: no two lists of parts give one digest', () => {
    const lists: (string | Uint8Array | number)[][] = [
      [],
      [''],
      ['', ''],
      ['ab', 'c'],
      ['a', 'bc'],
      ['abc'],
      ['a', 'b', 'c'],
      [new Uint8Array([97]), 'bc'],
      ['1'],
      [1],
      [new Uint8Array([1])],
      [0],
      [1, 1],
      [11],
      [0.5],
      [-1],
      [2 ** 53],
      ['\ud800'],
      ['\udc00'],
      ['\ufffd'],
      ['é'],
      ['e\u0301'],
      ['😀'],
      ['\ud83d', '\ude00'],
      ['x'.repeat(300)],
      ['x'.repeat(299), 'x'],
      ['x'.repeat(300) + '\ud800'],
      ['x'.repeat(300) + '\ufffd'],
      [new Uint8Array(70_000)],
      [new Uint8Array(69_999)],
    ]
    const digests = lists.map((parts) => hex(hashParts('stepwell.test', ...parts)))
    expect(new Set(digests).size).toBe(lists.length)
    expect(lists.map((parts) => hex(hashParts('stepwell.test', ...parts)))).toEqual(digests)
    expect(hex(hashParts('stepwell.tes', 't', 'ab', 'c'))).not.toBe(hex(hashParts('stepwell.test', 'ab', 'c')))
    expect(hex(hashParts('stepwell.test', -0))).toBe(hex(hashParts('stepwell.test', 0)))
  })

  test('G15: the layout of hashParts never changes', () => {
    const bytes = [
      1,
      4,
      0,
      0,
      0,
      116,
      101,
      115,
      116, // domain "test"
      1,
      2,
      0,
      0,
      0,
      0xc3,
      0xa9, // "é"
      2,
      3,
      0,
      0,
      0,
      1,
      2,
      3, // bytes
      3,
      8,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0xf8,
      0x3f, // 1.5
    ]
    expect(hex(hashParts('test', 'é', new Uint8Array([1, 2, 3]), 1.5))).toBe(hex(blake3(Uint8Array.from(bytes))))
  })

  test('G15: hashParts takes strings, bytes and finite numbers only', () => {
    for (const wrong of [Number.NaN, Infinity, undefined, null, {}, [1], 1n, new Int8Array(1)]) {
      expect(() => hashParts('test', wrong as never)).toThrow(expect.objectContaining(usage))
    }
    expect(hex(hashParts('test', 'after a refusal'))).toBe(hex(hashParts('test', 'after a refusal')))
  })

  test('G20: equalBytes compares every byte', () => {
    const a = vectorInput(300)
    expect(equalBytes(a, a.slice())).toBe(true)
    expect(equalBytes(new Uint8Array(0), new Uint8Array(0))).toBe(true)
    expect(equalBytes(a, a.subarray(1))).toBe(false)
    for (let i = 0; i < a.length; i++) {
      const b = a.slice()
      b[i] = (b[i] ?? 0) ^ 128
      expect(equalBytes(a, b)).toBe(false)
    }
  })

  test('G4: hex and back; what is not hex is refused', () => {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i)
    expect(fromHex(hex(all))).toEqual(all)
    expect(fromHex(hex(all).toUpperCase())).toEqual(all)
    expect(hex(new Uint8Array(0))).toBe('')
    for (const wrong of ['0', 'zz', '0x', ' 00', '00\n', 12, undefined])
      expect(() => fromHex(wrong as never)).toThrow(expect.objectContaining(usage))
  })
}

function inPieces(hasher: ReturnType<typeof createHasher>, input: Uint8Array, piece: number): Uint8Array {
  for (let at = 0; at < input.length; at += piece) hasher.update(input.subarray(at, at + piece))
  return hasher.digest()
}
