import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { type Policy, points, runCell, table } from '../contract/effects.contract.ts'
import { quiesce } from '../support/node.ts'

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

describe('G12, G13: every kind, policy and crash point (memory, Node)', () => {
  for (const cell of table()) {
    test(`G13: ${cell.kind}, ${cell.policy}, a crash ${cell.point}: ${cell.requests} request${cell.requests === 1 ? '' : 's'}, ${cell.ends}`, async () => {
      const seen = await runCell({ quiesce, open: (id) => createMemoryShelf().open(id) }, cell)
      expect({ requests: seen.requests, ends: seen.ends, by: seen.by }).toEqual({ requests: cell.requests, ends: cell.ends, by: cell.by })
      // One idempotency key, however often it was asked.
      expect(seen.keys).toBeLessThanOrEqual(1)
    })
  }
})
