import { describe, expect, test } from 'vitest'
import { createBrowserHost } from '../../web/host.ts'
import { differing, kinds, table } from '../contract/effects.contract.ts'
import { freshName, openShelf } from './support.ts'

/** Strict commits wait for the disk, each database for its own: several at once. */
const DATABASES = 7

describe('G12, G13: every kind, policy and crash point (IndexedDB, Chromium)', () => {
  for (const kind of kinds) {
    const cells = table().filter((cell) => cell.kind === kind)
    test(`G13: ${kind}: ${cells.length} crashes`, async () => {
      const found = await Promise.all(Array.from({ length: DATABASES }, async (_, n) => {
        const shelf = await openShelf(freshName())
        return differing({
          quiesce: createBrowserHost().quiesce,
          // Each run is removed before the next cell begins.
          open: async (id) => {
            await shelf.open(id).destroy()
            return shelf.open(id)
          },
        }, cells.filter((_, i) => i % DATABASES === n))
      }))
      expect(found.flat()).toEqual([])
    }, 60_000)
  }
})
