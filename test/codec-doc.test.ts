import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { BlobRef } from '../src/blob-ref.ts'
import { decode, encode, fromWire, toWire } from '../src/codec.ts'
import { StepwellError } from '../src/errors.ts'
import { hex } from '../src/hash.ts'

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.subarray(1))
const payload = (form: number, json: string): Uint8Array => Uint8Array.from([form, ...new TextEncoder().encode(json)])

describe('docs/codec.md', () => {
  const rows = [
    ...readFileSync(new URL('../docs/codec.md', import.meta.url), 'utf8').matchAll(
      /^\| `(\w+)` \| `(.+)` \| `(.+)` \|$/gm,
    ),
  ].map(([, tag, value, json]) => ({ tag: tag ?? '', value: value ?? '', json: json ?? '' }))

  test('G26: the table has every tag that the reader knows, and no other', () => {
    const source = readFileSync(new URL('../src/codec/read.ts', import.meta.url), 'utf8')
    const known = [...source.matchAll(/case '(\w+)': return this\.#arity/g)].map(([, tag]) => tag)
    expect(known.length).toBeGreaterThan(10)
    expect(new Set(rows.map((row) => row.tag))).toEqual(new Set(known))
  })

  test.each(rows)('G26: $tag: $value is $json', ({ tag, value, json }) => {
    const made: unknown = new Function('BlobRef', 'StepwellError', `return (${value})`)(BlobRef, StepwellError)
    expect(text(encode(made))).toBe(json)
    expect(encode(made)[0]).toBe(2)
    expect(JSON.parse(json)).toEqual({ $: [tag, ...(JSON.parse(json) as { $: unknown[] }).$.slice(1)] })
    expect(decode(payload(2, json))).toStrictEqual(made)
    expect(fromWire(JSON.parse(json))).toStrictEqual(made)
    expect(toWire(made)).toEqual(JSON.parse(json))
  })

  test('G26: written bytes of form 1 never change', () => {
    expect(hex(encode({ a: [1, true, null, 'é"'] }))).toBe('017b2261223a5b312c747275652c6e756c6c2c22c3a95c22225d7d')
    expect(hex(encode('x'))).toBe('01227822')
  })
})
