import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Policy, points, table } from '../contract/effects.contract.ts'

test('docs/effects.md prints this table', () => {
  const text = readFileSync(new URL('../../docs/effects.md', import.meta.url), 'utf8')
  const columns: readonly (readonly Policy[])[] = [
    ['rerun'], ['skip'], ['fail'], ['probe'], ['probe that cannot tell, otherwise fail'], ['probe that cannot tell, otherwise ask', 'ask'],
  ]
  for (const point of points) {
    const printed = columns.map((names) => {
      const cells = table().filter((cell) => cell.point === point && names.includes(cell.policy)).map(({ requests, ends }) => `${requests}, ${ends}`)
      expect(new Set(cells).size).toBe(1)
      return cells[0]
    })
    expect(text).toContain(`| ${point} | ${printed.join(' | ')} |\n`)
  }
})
