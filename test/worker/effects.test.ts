import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { registry } from '../../src/define.ts'
import { Driver } from '../../src/engine/drive.ts'
import { startRun } from '../../src/engine/start.ts'
import { defaultLimits, workflow } from '../../src/index.ts'
import { createHost } from '../../worker/host.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'
import { differing, kinds, table } from '../contract/effects.contract.ts'

test('G12: in an object, sync() is called after the intent is committed and awaited before the function is called', () =>
  runInDurableObject(exports.Scratch.getByName('effects sync'), async (_, state) => {
    const log: string[] = []
    const disk = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const storage = new Proxy(state.storage, {
      get(target, key) {
        if (key === 'sync') {
          return async () => {
            log.push(`sync after ${entries().at(-1)}`)
            asked.resolve()
            await disk.promise
            await target.sync()
            log.push('on the disk')
          }
        }
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
      },
    })
    const store = createSqliteStore(storage, 'sync')
    const entries = (): readonly string[] => store.entries(0, 100).map(({ bytes }) => bytes[1] === 50 ? 'the intent' : bytes[1] === 55 ? 'the outcome' : 'another entry')
    const paying = workflow({ name: 'paying', input: z.any() }, async (ctx) => ctx.effect('pay', () => {
      log.push('called')
      return 1
    }, { kind: 'money', input: 1, onAmbiguous: 'fail' }))
    const host = createHost()
    await startRun(store, host, defaultLimits, paying, 0)
    const driver = new Driver({ store, host, registry: registry([paying]), services: {}, limits: defaultLimits, takesEpoch: false })
    const end = driver.drive()
    await Promise.race([asked.promise, end])
    // Many turns of the loop and a real write: whatever did not wait for the disk would have gone on.
    for (let i = 0; i < 20; i++) await host.quiesce()
    await state.storage.put('another', 1)
    expect(log).toEqual(['sync after the intent'])
    disk.resolve()
    expect(await end).toEqual({ kind: 'ended', status: 'completed' })
    expect(log).toEqual(['sync after the intent', 'on the disk', 'called'])
    expect(entries()).toContain('the outcome')
  }))

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
