// docs/guarantees.md is written by `npm run guarantees`.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bugs, guarantees } from '../scripts/guarantee-words.mjs'
import { mutants, page, pageFile, tests } from '../scripts/guarantees.mjs'

const names = Array.from({ length: 30 }, (_, i) => `G${i + 1}`)

test('docs/guarantees.md is what `npm run guarantees` writes', () => {
  expect(readFileSync(pageFile, 'utf8')).toBe(page())
})

test('every guarantee has words, a test and a mutant, or is named as not built', () => {
  const inTests = tests()
  const inMutants = mutants()
  expect(Object.keys(guarantees)).toEqual(names)
  expect(names.filter((name) => guarantees[name]?.later)).toEqual([])
  for (const name of names) {
    const { title, promise, cost, ends, later } = guarantees[name]!
    for (const words of [title, promise, cost, ends]) expect(words.length, name).toBeGreaterThan(5)
    if (later) continue
    expect(inTests.get(name)?.size ?? 0, `${name} has no test`).toBeGreaterThan(0)
    expect(inMutants.get(name)?.length ?? 0, `${name} has no mutant`).toBeGreaterThan(0)
  }
})

test('every bug that is named has its regression test', () => {
  for (const [, , file] of bugs) expect(existsSync(join(import.meta.dirname, '..', file)), file).toBe(true)
})
