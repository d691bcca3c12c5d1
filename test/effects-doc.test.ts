// The table in docs/effects.md is the one that the tests of all hosts are made from: run with WRITE_DOCS=1 to write it anew.

import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Cell, policies, points, table } from './contract/effects.contract.ts'

const path = new URL('../docs/effects.md', import.meta.url)

const said = ({ requests, ends, by }: Cell): string =>
  `${requests}, ${ends === 'effect_ambiguous' ? '`effect_ambiguous`' : ends}${by === undefined ? '' : ` (${by})`}`

function printed(): string {
  const cells = table()
  const lines = [`| policy | kinds | ${points.join(' | ')} |`, `| --- | --- |${' --- |'.repeat(points.length)}`]
  for (const policy of policies) {
    const rows = Map.groupBy(new Set(cells.filter((cell) => cell.policy === policy).map(({ kind }) => kind)), (kind) =>
      points.map((point) => said(cells.find((cell) => cell.kind === kind && cell.policy === policy && cell.point === point) as Cell)).join(' | '))
    for (const [row, kinds] of rows) lines.push(`| ${policy} | ${kinds.join(', ')} | ${row} |`)
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
