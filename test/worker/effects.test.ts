import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { differing, kinds, table } from '../contract/effects.contract.ts'

describe('G12, G13: every kind, policy and crash point (SQLite, workerd)', () => {
  for (const kind of kinds) {
    const cells = table().filter((cell) => cell.kind === kind)
    test(`G13: ${kind}: ${cells.length} crashes`, () =>
      runInDurableObject(exports.Scratch.getByName(`effects ${kind}`), async (_, state) => {
        const found = await differing({
          quiesce: createHost().quiesce,
          // Emptied between two cells, so that each finds a fresh store.
          open: async (id) => {
            await createSqliteStore(state.storage, id).destroy()
            return createSqliteStore(state.storage, id)
          },
        }, cells)
        expect(found).toEqual([])
      }), 60_000)
  }
})
