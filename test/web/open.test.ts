import { describe, expect, test, vi } from 'vitest'
import { isStepwellError, services, workflow } from '../../src/index.ts'
import { browser } from '../../web/index.ts'
import { any, freshName, logs, open, sleep, until } from './support.ts'

const flow = workflow({ name: 'flow', input: any<number>() }, async (ctx, n) => ctx.step('s', () => n))

function raw(name: string, version: number, upgrade: (db: IDBDatabase) => void = () => {}): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, version)
    request.onupgradeneeded = () => upgrade(request.result)
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

describe('opening', () => {
  test('bad options are typed errors, and no database is made', async () => {
    const name = freshName()
    const bad: [object, string][] = [
      [{ name: '' }, 'invalid_argument'], [{ name: 5 }, 'invalid_argument'], [{ maxDrives: 0 }, 'invalid_argument'],
      [{ limits: { nothing: 1 } }, 'invalid_argument'], [{ openTimeout: 'soon' }, 'invalid_duration'],
      [{ workflows: [flow, flow] }, 'invalid_argument'],
    ]
    for (const [options, code] of bad) {
      const error: unknown = await browser({ name, workflows: [flow], ...options } as never).catch((thrown: unknown) => thrown)
      expect([options, isStepwellError(error) && error.code]).toEqual([options, code])
    }
    expect((await indexedDB.databases()).some((database) => database.name === name)).toBe(false)
  })

  test('a browser that does not answer is store_unavailable, after the time it was given, and the next try succeeds', async () => {
    const name = freshName()
    const holder = await raw(name, 1, (db) => db.createObjectStore('x'))
    const deleting = indexedDB.deleteDatabase(name)
    await new Promise((resolve) => (deleting.onblocked = resolve))
    const from = performance.now()
    const error: unknown = await open({ name, workflows: [flow], openTimeout: 100 }).catch((thrown: unknown) => thrown)
    expect(isStepwellError(error) && error.code).toMatch(/^store_(unavailable|blocked)$/)
    expect(performance.now() - from).toBeLessThan(4_500)
    holder.close()
    const well = await open({ name, workflows: [flow], openTimeout: '10 seconds' })
    expect(await (await well.start(flow, 1)).result()).toBe(1)
  })

  test('a database of somebody else is refused and left as it is', async () => {
    const name = freshName()
    ;(await raw(name, 1, (db) => db.createObjectStore('theirs'))).close()
    await expect(open({ name, workflows: [flow] })).rejects.toMatchObject({ code: 'wrong_namespace' })
    const db = await raw(name, 1)
    expect([...db.objectStoreNames]).toEqual(['theirs'])
    db.close()
  })

  test('the connection is given up when another tab wants the database, and opened again: a run goes on', async () => {
    const name = freshName()
    const sleepy = workflow({ name: 'sleepy', input: any<null>() }, async (ctx) => {
      await ctx.step('a', () => 1)
      await ctx.sleep(300)
      return ctx.step('b', () => 2)
    })
    const well = await open({ name, workflows: [sleepy], limits: { stayAwakeMs: 10 } })
    const run = await well.start(sleepy, null)
    await until(async () => (await run.status()).status === 'waiting')
    // Another tab with a newer schema: it is not kept waiting.
    const upgraded = await raw(name, 2)
    upgraded.close()
    expect(await run.result()).toBe(2)
  })

  test('a store that fails while a run is driven: the run is tried again, and nothing is lost', async () => {
    const name = freshName()
    const counts = { a: 0, b: 0 }
    const two = workflow({ name: 'two', input: any<null>() }, async (ctx) => {
      await ctx.step('a', () => counts.a++)
      await ctx.step('b', async () => {
        counts.b++
        await sleep(20)
        failing = true
      })
      return 'done'
    })
    let failing = false
    const { transaction } = IDBDatabase.prototype
    const spy = vi.spyOn(IDBDatabase.prototype, 'transaction').mockImplementation(function (this: IDBDatabase, ...args) {
      if (failing) throw new DOMException('the connection is closing', 'InvalidStateError')
      return transaction.apply(this, args)
    })
    const well = await open({ name, workflows: [two] })
    const run = await well.start(two, null)
    await until(() => failing)
    await until(() => logs.some(({ message }) => message.includes('the store failed')))
    failing = false
    expect(await run.result()).toBe('done')
    expect(counts.a).toBe(1)
    // The outcome of b was there: the next drive adopts it and does not run it again.
    expect(counts.b).toBe(1)
    spy.mockRestore()
  })

  test('remote is kept; the name has a default', async () => {
    const well = await open({ name: freshName(), workflows: [flow], remote: '/' })
    expect(well.remote).toBe('/')
    const plain = await open({ workflows: [flow] })
    expect(plain.name).toBe('stepwell')
    await plain.destroy()
  })
})

/** Checked by tsc, never run. */
export async function types(): Promise<void> {
  interface Camera { shrink(photo: Uint8Array): Promise<Uint8Array> }
  interface Clock { tick(): number }
  const needs = workflow({
    name: 'needs', input: any<number>(), services: services<{ edge: { payments: object }; browser: { camera: Camera }; any: { clock: Clock } }>(),
  }, async (ctx, n) => ctx.step('s', async ({ services }) => (await services.camera.shrink(new Uint8Array(n))).length, { at: 'browser' }))
  const camera: Camera = { shrink: async (photo) => photo }
  const clock: Clock = { tick: () => 1 }
  const well = await browser({ workflows: [needs, flow], services: { camera, clock } })
  const run = await well.start(needs, 3)
  const output: number = await run.result()
  const byName = await well.start('flow', output)
  const again: number = await byName.result()
  void again
  // @ts-expect-error camera missing
  await browser({ workflows: [needs], services: { clock } })
  // @ts-expect-error services missing
  await browser({ workflows: [needs, flow] })
  // @ts-expect-error unknown workflow
  await well.start('nobody', 1)
  // @ts-expect-error wrong input
  await well.start('flow', 'x')
  // @ts-expect-error unknown workflow
  well.get('nobody', 'x')
  await browser({ workflows: [flow] as const })
  await browser({ name: 'x', workflows: [flow], services: {} })
}
