// The table in docs/effects.md is the one that the tests of all hosts are made from: run with WRITE_DOCS=1 to write it anew.

import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Cell, policies, points, table } from './contract/effects.contract.ts'

const path = new URL('../docs/effects.md', import.meta.url)

const said = ({ requests, ends, by }: Cell): string =>
  `${requests}, ${ends === 'effect_ambiguous' ? '`effect_ambiguous`' : ends}${by === undefined ? '' : ` (${by})`}`

function printed(): string {
  const lines = [`| killed | ${policies.join(' | ')} |`, `| --- |${' --- |'.repeat(policies.length)}`]
  for (const point of points) {
    const row = policies.map((policy) => {
      // Every kind that takes the policy does the same.
      const all = new Set(table().filter((cell) => cell.point === point && cell.policy === policy).map(said))
      expect([...all]).toHaveLength(1)
      return [...all][0]
    })
    lines.push(`| ${point} | ${row.join(' | ')} |`)
  }
  return `\n${lines.join('\n')}\n`
}

test('G12, G13: docs/effects.md prints the table that is tested', () => {
  const page = readFileSync(path, 'utf8')
  const [before, after] = [page.indexOf('-->', page.indexOf('<!-- table:')) + 3, page.indexOf('<!-- /table -->')]
  expect(before).toBeGreaterThan(3)
  expect(after).toBeGreaterThan(before)
  if (process.env['WRITE_DOCS'] !== undefined) writeFileSync(path, page.slice(0, before) + printed() + page.slice(after))
  const now = readFileSync(path, 'utf8')
  expect(now.slice(before, now.indexOf('<!-- /table -->'))).toBe(printed())
})
