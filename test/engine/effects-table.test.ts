import { describe, expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { runCell, table } from '../contract/effects.contract.ts'
import { quiesce } from '../support/node.ts'

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
