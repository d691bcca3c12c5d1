// A slice of the fuzzing of what is decoded; `npm run campaign -- --only fuzz` goes on for as long as it is told, from other seeds.
// FUZZ_SEED repeats what it printed.

import { expect, test } from 'vitest'
import { decode, fromWire } from '../../src/codec.ts'
import { StepwellError } from '../../src/errors.ts'
import { decodeEntry, GENESIS } from '../../src/journal/entry.ts'
import { quiesce } from '../support/node.ts'
import { fuzzCodec } from './codec.ts'
import { fuzzImport } from './import.ts'
import { fuzzJournal } from './journal.ts'

const SEED = Number(process.env['FUZZ_SEED'] ?? 1)

test(`G26: values come back as they were, and whatever is no payload is a typed error (seeds from ${SEED})`, () => {
  const counts = fuzzCodec(SEED, 4000)
  console.log(`codec, seeds from ${SEED}: ${JSON.stringify(counts)}`)
  expect(counts).toMatchObject({ inputs: 8000, whole: 4000 })
  expect(Math.min(counts.refused, counts.accepted)).toBeGreaterThan(800)
}, 120_000)

test(`G4: an entry that was changed is named in a typed error, also when its hash was made anew (seeds from ${SEED})`, () => {
  const counts = fuzzJournal(SEED, 4000)
  console.log(`journal, seeds from ${SEED}: ${JSON.stringify(counts)}`)
  expect(counts.inputs).toBe(4000)
  expect(counts.forged).toBeGreaterThan(1500)
  expect(Math.min(counts.refused, counts.accepted)).toBeGreaterThan(100)
}, 120_000)

test(`G4: the import of a run answers for every file and executes nothing (seeds from ${SEED})`, async () => {
  const counts = await fuzzImport(quiesce, SEED, 600)
  console.log(`import, seeds from ${SEED}: ${JSON.stringify(counts)}`)
  expect(counts.inputs).toBe(600)
  expect(Math.min(counts.refused, counts.accepted)).toBeGreaterThan(30)
}, 120_000)

test('G25: no memory is taken for a length that is only claimed', () => {
  const huge = [255, 255, 255, 255, 255, 255, 255, 15]
  const before = process.memoryUsage()
  for (let i = 0; i < 2000; i++) {
    const entry = Uint8Array.from([1, 10, i & 63, 1, 1, 1, 1, 0, ...Array.from({ length: 16 }, () => 0), ...huge, ...Array.from({ length: 48 }, () => i & 255)])
    expect(() => decodeEntry(1, entry, GENESIS)).toThrow(StepwellError)
  }
  expect(() => decode(new TextEncoder().encode(`\x02{"$":["view","Float64Array","${'A'.repeat(7)}"]}`))).toThrow(StepwellError)
  const after = process.memoryUsage()
  expect(after.arrayBuffers + after.heapTotal - before.arrayBuffers - before.heapTotal).toBeLessThan(256 * 1024 * 1024)
})

test('G25: what is nested deeply, or has many digits, is read in bounded time or refused', () => {
  const deep = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`) as unknown
  expect(() => fromWire(deep)).toThrow(StepwellError)
  expect(() => decode(new TextEncoder().encode(`\x02${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`))).toThrow(StepwellError)
  expect(fromWire({ $: ['bigint', '9'.repeat(200_000)] })).toBe(10n ** 200_000n - 1n)
})
