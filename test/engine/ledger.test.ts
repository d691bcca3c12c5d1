import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decode } from '../../src/codec.ts'
import { effectPage, type EffectStatus, isFree, ledgerWrite, type LedgerRow } from '../../src/engine/ledger.ts'
import { workflow } from '../../src/index.ts'
import { anything, ID, open } from './support.ts'

const statuses: readonly EffectStatus[] = ['in_progress', 'ambiguous', 'done', 'skipped', 'failed', 'undone']

function row(status: EffectStatus, undos: number): LedgerRow {
  return { status, key: 'e', kind: 'money', generation: 1, intent: undefined, outcome: undefined, hasUndo: true, undos, updatedAt: 0 }
}

describe('the ledger of effects', () => {
  test('B-036: over random sequences what is done stays done until it is undone, and nothing begins that is not free', () => {
    const seen = new Set<string>()
    fc.assert(fc.property(fc.array(fc.constantFrom(...statuses), { maxLength: 40 }), (wanted) => {
      let current: LedgerRow | undefined
      // What must hold of any history, said without the table that is tested.
      let isSettled = false
      for (const status of wanted) {
        let written: LedgerRow
        try {
          written = decode(ledgerWrite('base', current, row(status, current?.undos ?? 0)).value as Uint8Array) as LedgerRow
        } catch {
          continue
        }
        seen.add(`${current?.status ?? 'free'} ${status}`)
        if (current === undefined) expect(status).toBe('in_progress')
        if (isSettled) expect(status).toBe('undone')
        if (status === 'undone') expect(current?.status).toBe('done')
        if (current?.status === 'skipped') expect(status).not.toBe('in_progress')
        if (status === 'in_progress') expect(isFree(current) || current?.status === 'in_progress' || current?.status === 'ambiguous').toBe(true)
        isSettled = status === 'done'
        current = written
      }
    }), { numRuns: 2000 })
    // Every step of a real life was taken somewhere: the property is not empty.
    for (const step of ['free in_progress', 'in_progress done', 'in_progress failed', 'in_progress ambiguous', 'ambiguous done', 'failed in_progress', 'skipped done', 'done undone', 'undone in_progress']) {
      expect(seen).toContain(step)
    }
  })

  test('effects() comes in pages, in the order of the intents, and holds no more than twice a page', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 57; i++) await ctx.effect('e', () => i, { kind: 'custom', input: i, onAmbiguous: 'fail' })
      await ctx.recordEffect('noted', 'elsewhere')
    })
    const process = open(w)
    await process.run(w)
    const store = process.world.shelf.open(ID)
    for (const limit of [1, 10, 19, 57, 58, 1000]) {
      const seen: number[] = []
      let pages = 0
      for (let after: number | undefined = 0; after !== undefined; pages++) {
        const { items, next }: Awaited<ReturnType<typeof effectPage>> = await effectPage(store, { after, limit })
        expect(items.length).toBeLessThanOrEqual(limit)
        seen.push(...items.map(({ seq }) => seq))
        after = next
      }
      expect(seen).toEqual(process.world.entries().filter(({ kind }) => kind === 'effect_intended').map(({ seq }) => seq))
      expect(pages).toBe(Math.ceil(57 / limit))
    }
    for (const [page, code] of [[{ limit: 0 }, 'limit_exceeded'], [{ limit: 1001 }, 'limit_exceeded'], [{ after: -1 }, 'invalid_argument']] as const) {
      await expect(effectPage(store, page)).rejects.toMatchObject({ code })
    }
    await expect(effectPage(process.world.shelf.open('nobody'))).rejects.toMatchObject({ code: 'run_not_found' })
  })

  test('B-036: a transition that is not allowed throws, and names both states', () => {
    expect(() => ledgerWrite('base', row('done', 0), row('in_progress', 0))).toThrow(/cannot become in_progress: it is done/)
    expect(() => ledgerWrite('base', undefined, row('done', 0))).toThrow(/cannot become done: it is free/)
  })
})
