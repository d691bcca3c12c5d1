import { exports } from 'cloudflare:workers'
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm } from 'cloudflare:test'
import { expect, test } from 'vitest'
import { encode } from '../../src/codec.ts'
import { PROTOCOL } from '../../worker/rpc.ts'
import { decodeRecord } from '../../src/journal/record.ts'
import { hasStatus, inRun, nothing, stored, until, withStorage } from './objects.ts'
import { calls, open, setups, well, world } from './worker.ts'

const client = well.client({})
const HOUR = 3_600_000

/** A run whose sleep is over, that nothing has woken. */
async function overdue(): Promise<string> {
  const run = await client.start('sleepy', { ms: 1000 })
  await hasStatus(run, 'waiting')
  const { wake_at: wakeAt } = await rowOf(run.id)
  await inRun(run.id, ({ state }) => state.storage.deleteAlarm())
  await evictDurableObject(exports.Run.getByName(run.id))
  await until('its time has come', async () => Date.now() > (wakeAt as number))
  return run.id
}

test('G29: while a run is running an alarm is armed, and an ended run has none', async () => {
  const run = await client.start('gated', {})
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  const { alarm } = await stored(run.id)
  expect(alarm! - Date.now()).toBeGreaterThan(20_000)
  expect(alarm! - Date.now()).toBeLessThanOrEqual(30_000)
  open(run.id)
  await run.result()
  expect((await stored(run.id)).alarm).toBeNull()
})

test('G29: alarm() arms its successor before it drives, and does not wait for the drive', async () => {
  const run = await client.start('gated', {})
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  await abortAllDurableObjects()
  await withStorage(run.id, {}, async (object, log) => {
    await object.alarm()
    expect(log[0]).toBe('alarm +30s')
    // The gate is still closed, so the drive can't be over.
    expect(decodeRecord((await inside(object)) as never).status).toBe('running')
    open(run.id, 'through')
    await until('it ends', async () => (await object.result(PROTOCOL, 0) as { value: { status: string } }).value.status === 'completed')
  })
  expect(await run.result()).toBe('through')
  async function inside(_: unknown): Promise<unknown> {
    return { runId: run.id, record: new Uint8Array((await rowOf(run.id)).record) }
  }
})

async function rowOf(id: string): Promise<{ record: ArrayBuffer; wake_at: number | null }> {
  return inRun(id, ({ state }) => state.storage.sql.exec<{ record: ArrayBuffer; wake_at: number | null }>('SELECT record, wake_at FROM run').one())
}

test('G29: alarm() throws when its successor can\'t be armed, and has driven nothing', async () => {
  const id = await overdue()
  await withStorage(id, { setAlarm: () => Promise.reject(new Error('no alarm today')) }, async (object, log) => {
    await expect(object.alarm()).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(log).toEqual(['alarm +30s'])
    expect(calls(id, 'after')).toBe(0)
  })
  expect(await client.get('sleepy', id).result()).toBe(1)
})

test('G29: once its successor is armed alarm() never throws, whatever fails', async () => {
  const id = await overdue()
  let isBroken = false
  await withStorage(id, { exec: () => { if (isBroken) throw new Error('disk gone') } }, async (object, log) => {
    isBroken = true
    await object.alarm()
    await object.alarm()
    await object.alarm()
    // Nothing could be read, so the back-off is ours, and it grows.
    expect(log).toEqual(['alarm +1s', 'alarm +2s', 'alarm +4s'])
    isBroken = false
  })
  const other = await overdue()
  world.servicesError = new Error('no secret')
  try {
    await withStorage(other, {}, async (object, log) => {
      await object.alarm()
      await until('the back-off is armed', async () => log.length >= 2)
      expect(log).toEqual(['alarm +30s', 'alarm +1s'])
    })
  } finally {
    world.servicesError = undefined
  }
  expect(await client.get('sleepy', other).result()).toBe(1)
})

test('G29: a drive that the store stops is tried again after a growing time', async () => {
  const id = await overdue()
  let writes = 0
  await withStorage(id, { exec: () => { if (writes++ > 8) throw new Error('disk gone') } }, async (object, log) => {
    await object.alarm()
    await until('the back-off is armed', async () => log.includes('alarm +1s'))
    writes = 0
    await object.summary(PROTOCOL)
    await until('it grows', async () => log.includes('alarm +2s'))
  })
  expect(await client.get('sleepy', id).result()).toBe(1)
})

test('G29: an alarm that fires while a drive goes on arms the next one ever later, and starts no second drive', async () => {
  const run = await client.start('gated', {})
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  const waits: number[] = []
  for (let i = 0; i < 5; i++) {
    expect(await runDurableObjectAlarm(exports.Run.getByName(run.id))).toBe(true)
    waits.push(Math.round(((await stored(run.id)).alarm! - Date.now()) / 1000))
  }
  expect(waits).toEqual([30, 60, 120, 240, 240])
  expect(calls(run.id, 'gate')).toBe(1)
  open(run.id)
  await run.result()
  expect([calls(run.id, 'one'), calls(run.id, 'gate'), calls(run.id, 'three')]).toEqual([1, 1, 1])
  // The next drive is young again, whoever has begun it.
  world.gates.delete(run.id)
  await run.restart()
  await until('the step runs again', async () => calls(run.id, 'gate') === 2)
  expect(await runDurableObjectAlarm(exports.Run.getByName(run.id))).toBe(true)
  expect(Math.round(((await stored(run.id)).alarm! - Date.now()) / 1000)).toBe(30)
  open(run.id)
  await run.result()
})

test('G29: an alarm that the stored row does not call for sets the one that it does call for, and drives nothing', async () => {
  const run = await client.start('sleepy', { ms: HOUR })
  await hasStatus(run, 'waiting')
  const before = await stored(run.id)
  expect(await runDurableObjectAlarm(exports.Run.getByName(run.id))).toBe(true)
  expect(await stored(run.id)).toEqual(before)
  expect(before.alarm).toBe((await rowOf(run.id)).wake_at)
})

test('G29: an alarm that got lost is set again by any request', async () => {
  const run = await client.start('sleepy', { ms: HOUR })
  await hasStatus(run, 'waiting')
  const { alarm } = await stored(run.id)
  await inRun(run.id, ({ state }) => state.storage.deleteAlarm())
  await evictDurableObject(exports.Run.getByName(run.id))
  expect((await stored(run.id)).alarm).toBeNull()
  await run.status()
  await until('the alarm is back', async () => (await stored(run.id)).alarm === alarm)
})

test('a run of 1,000 steps costs one row written for each of them, alarms and deletes included', async () => {
  const id = crypto.randomUUID()
  let rows = 0
  await withStorage(id, { wrote: (n) => { rows += n } }, async (object, log) => {
    const started = await object.start(PROTOCOL, encode({ workflow: 'many', input: { n: 1000 }, options: { id } }))
    expect(started).toMatchObject({ ok: true, value: { created: true } })
    expect(await object.result(PROTOCOL, 20_000)).toMatchObject({ ok: true, value: { status: 'completed' } })
    // The start sets an alarm, the drive moves it, the end deletes it.
    expect(log).toHaveLength(3)
    expect(rows + log.length).toBeGreaterThan(1000)
    expect(rows + log.length).toBeLessThanOrEqual(1020)
  })
})

test('G19: a timer that was due while nothing ran fires once, on the alarm alone, with no request', async () => {
  const run = await client.start('sleepy', { ms: 1500 })
  await hasStatus(run, 'waiting')
  await evictDurableObject(exports.Run.getByName(run.id))
  // Looks into the test's own memory, not at the object: nothing wakes it but its alarm.
  await until('the alarm fires', async () => calls(run.id, 'after') === 1)
  expect(await run.result()).toBe(1)
  expect((await run.journal()).items.map((item) => item.kind)).toEqual([
    'run_started', 'step_completed', 'timer_set', 'timer_fired', 'step_completed', 'run_completed',
  ])
})

test('G2, G29: a run whose object died in the middle of a step goes on by its alarm, and committed steps do not run again', async () => {
  const run = await client.start('gated', {})
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  await abortAllDurableObjects()
  expect(calls(run.id, 'gate')).toBe(1)
  expect(await runDurableObjectAlarm(exports.Run.getByName(run.id))).toBe(true)
  await until('the step runs again', async () => calls(run.id, 'gate') === 2)
  open(run.id, 'at last')
  expect(await run.result()).toBe('at last')
  expect([calls(run.id, 'one'), calls(run.id, 'three')]).toEqual([1, 1])
})

test('T-086: a cancel that was stored before a crash is carried out after it', async () => {
  const run = await client.start('gated', { cleansUp: true })
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  await run.cancel()
  await abortAllDurableObjects()
  open(run.id)
  open(`${run.id}:clean`)
  await expect(run.result()).rejects.toMatchObject({ code: 'cancelled' })
  expect(calls(run.id, 'three')).toBe(0)
})

test('T-086: a cancel that nobody had read before a crash is read before any step runs again', async () => {
  const run = await client.start('gated', {})
  await until('the step runs', async () => calls(run.id, 'gate') === 1)
  await abortAllDurableObjects()
  await inRun(run.id, ({ store }) => { store.commit({ expect: { kind: 'exists' }, post: [encode({ kind: 'cancel', at: Date.now() })] }) })
  await abortAllDurableObjects()
  await expect(run.result()).rejects.toMatchObject({ code: 'cancelled' })
  expect(calls(run.id, 'gate')).toBe(1)
})

test('G29: an object that was only ever read, or only ever refused, has no table, no row and no alarm', async () => {
  const id = crypto.randomUUID()
  for (const ask of [
    () => client.get('add', id).status(), () => client.get('add', id).result(), () => client.get('add', id).journal(),
    () => client.get('add', id).cancel(), () => setups.binding.client({}).get('add', id).status(),
    () => client.start('strict', { email: 'x' }, { id }),
  ]) await ask().catch(() => {})
  await inRun(id, async ({ object, store }) => {
    await object.alarm()
    expect(store.stats()).toMatchObject({ rowsWritten: 0, alarmsSet: 0 })
  })
  expect(await stored(id)).toEqual(nothing)
})

test('G27, G29: blobs that no start refers to go with the object after a day', async () => {
  const id = crypto.randomUUID()
  await client.putBlob(id, new Uint8Array([1, 2, 3]))
  const { alarm, tables } = await stored(id)
  expect(Math.round((alarm! - Date.now()) / HOUR)).toBe(24)
  expect(tables['side']).toHaveLength(2)
  expect(await runDurableObjectAlarm(exports.Run.getByName(id))).toBe(true)
  expect(await stored(id)).toEqual(nothing)
  // And the object is as new.
  expect(await (await client.start('add', { a: 1, b: 1 }, { id })).result()).toBe(2)
})

test('G22: a blocked run that a deploy may cure is tried again once by each instance that is touched', async () => {
  const run = await client.start('buggy', null)
  await hasStatus(run, 'blocked')
  const blocked = async (): Promise<number> => decodeRecord({ record: new Uint8Array((await rowOf(run.id)).record) } as never).blocked?.tries ?? 0
  expect((await run.status()).blocked).toMatchObject({ code: 'workflow_bug', curable: true })
  const tries = await blocked()
  await run.status()
  await run.status()
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(await blocked()).toBeLessThanOrEqual(tries + 1)
  await evictDurableObject(exports.Run.getByName(run.id))
  const before = await blocked()
  await run.status()
  await until('it is tried again', async () => await blocked() === before + 1)
  expect((await stored(run.id)).alarm! - Date.now()).toBeGreaterThan(60_000)
  // A blocked run can be cancelled: then it is over.
  expect(await run.cancel()).toEqual({ outcome: 'cancelled', status: 'cancelled' })
})
