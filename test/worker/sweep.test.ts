// G23, G24: an ended run is removed by the alarm of its object, in bounded commits, and its id stays taken.

import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { type Fetch, isStepwellError, remote } from '../../src/client/remote.ts'
import { sweep } from '../../src/engine/sweep.ts'
import { decodeRecord, encodeRecord } from '../../src/journal/record.ts'
import { tombstoneOf } from '../../src/journal/tombstone.ts'
import { limits } from '../../src/limits.ts'
import { FaultStore } from '../../src/testing/fault-store.ts'
import { createHost } from '../../worker/host.ts'
import { inRun, stored, until } from './objects.ts'
import { app, type workflows, well } from './worker.ts'

const client = well.client({})
const overHttp: Fetch = async (url, init) => await app.fetch(new Request(url, init as RequestInit), env) as Awaited<ReturnType<Fetch>>
const far = remote<typeof workflows>({ url: 'http://localhost/', fetch: overHttp })

/** About sixty chunks, no two alike, so that its sweep is one of several commits. */
const large = Array.from({ length: 400_000 }, (_, i) => i).join()

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  const thrown: unknown = await promise.then(() => undefined, (e: unknown) => e)
  return isStepwellError(thrown) ? thrown.code : undefined
}

/** As if the hour had passed: the row says that its time is over, and that it is woken at `wakeAt`. */
function age(id: string, wakeAt: number): Promise<void> {
  return inRun(id, ({ store }) => {
    const row = store.read()!
    const answer = store.commit({
      expect: { kind: 'head', epoch: row.epoch, seq: store.last()!.seq },
      row: { epoch: row.epoch, wakeAt, record: encodeRecord({ ...decodeRecord(row), expiresAt: Date.now() }) },
    })
    expect(answer.kind).toBe('committed')
  })
}

/** Of its entries and side rows, so many are left; and what its row says. */
function left(id: string): Promise<{ readonly rows: number; readonly isSwept: boolean; readonly isUnderWay: boolean }> {
  return inRun(id, ({ store, state }) => {
    const { n } = state.storage.sql.exec<{ n: number }>('SELECT (SELECT count(*) FROM entry) + (SELECT count(*) FROM side) AS n').one()
    const tombstone = tombstoneOf(store.read()!)
    return { rows: n, isSwept: tombstone !== undefined, isUnderWay: tombstone?.isUnderWay === true }
  })
}

test('T-015: at its time the alarm removes the run; what is left is one row, no alarm, and 410 for everybody', async () => {
  const run = await client.start('brief', large, { token: `order-${crypto.randomUUID()}` })
  expect(await run.result()).toBe(large)
  const { expiresAt, endedAt } = await run.status()
  expect(expiresAt).toBe(endedAt! + 3_600_000)
  // One alarm for all timers: nothing else is left to do.
  expect((await stored(run.id)).alarm).toBe(expiresAt)
  const lines: string[] = []
  for await (const line of run.export()) lines.push(line)
  expect((await left(run.id)).rows).toBeGreaterThan(60)

  await age(run.id, Date.now() + 50)
  await until('the alarm has removed it', async () => {
    const { isSwept, isUnderWay } = await left(run.id)
    return isSwept && !isUnderWay
  }, 30_000)
  const { tables, alarm } = await stored(run.id)
  expect(alarm).toBeNull()
  expect(tables).toMatchObject({ entry: [], side: [] })
  expect(tables['run']).toHaveLength(1)
  // The export from before has all of it.
  expect(JSON.parse(lines.at(-1)!)).toEqual({ end: true, entries: 3 })

  const again = client.get('brief', run.id)
  const remoteRun = far.get('brief', run.id)
  for (const handle of [again, remoteRun]) {
    expect(await codeOf(handle.status())).toBe('run_swept')
    expect(await codeOf(handle.result())).toBe('run_swept')
    expect(await codeOf(handle.journal())).toBe('run_swept')
    expect(await codeOf(handle.effects())).toBe('run_swept')
    expect(await codeOf(handle.cancel())).toBe('run_swept')
    expect(await codeOf(handle.pause())).toBe('run_swept')
    expect(await codeOf(handle.restart())).toBe('run_swept')
    expect(await codeOf((async () => { for await (const _ of handle.export()) { /* none */ } })())).toBe('run_swept')
  }
  expect(await codeOf(client.putBlob(run.id, new Uint8Array(9)))).toBe('run_swept')
  for (const path of ['', '/result', '/journal', '/effects', '/export']) {
    const response = await app.fetch(new Request(`http://localhost/v1/runs/${run.id}${path}`), env)
    expect([path, response.status, (await response.json() as { code: string }).code]).toEqual([path, 410, 'run_swept'])
  }
  // None of it has changed anything, or woken it again.
  expect(await stored(run.id)).toEqual({ tables, alarm: null })
})

test('G23: its id and its token begin no other run', async () => {
  const token = `order-${crypto.randomUUID()}`
  const run = await client.start('brief', 1, { token })
  await run.result()
  await age(run.id, Date.now() + 20)
  await until('it is swept', async () => (await left(run.id)).isSwept)
  for (const each of [client, far]) {
    expect(await codeOf(each.start('brief', 1, { token }))).toBe('run_swept')
    expect(await codeOf(each.start('brief', 2, { token }))).toBe('input_mismatch')
    expect(await codeOf(each.start('brief', 1, { id: run.id }))).toBe('run_swept')
    expect(await codeOf(each.start('echo', 1, { id: run.id }))).toBe('input_mismatch')
  }
  expect(await left(run.id)).toEqual({ rows: 0, isSwept: true, isUnderWay: false })
})

test('a restart before its time: the run goes on, and its alarm is no more that of the sweep', async () => {
  const run = await client.start('brief', 'again')
  await run.result()
  const { expiresAt } = await run.status()
  expect((await run.restart()).outcome).toBe('requested')
  await until('the next generation has ended', async () => {
    const { generation, status } = await run.status()
    return generation === 2 && status === 'completed'
  })
  const next = await run.status()
  expect(next.expiresAt).toBeGreaterThanOrEqual(expiresAt!)
  expect(next.expiresAt).toBe(next.endedAt! + 3_600_000)
  expect((await stored(run.id)).alarm).toBe(next.expiresAt)
})

test('G29: whoever sweeps dies half-way: the alarm of its last commit has another go on', async () => {
  const run = await client.start('brief', large)
  await run.result()
  // Nobody wakes it but this test.
  await age(run.id, Date.now() + 3_600_000)
  const before = (await left(run.id)).rows
  const half = await inRun(run.id, async ({ store, state }) => {
    let seen: { readonly rows: number; readonly isUnderWay: boolean; readonly wakeAt: number | null } | undefined
    const dying = new FaultStore(store, {
      fault: ({ method, nth }) => (method === 'commit' && nth === 2 ? { do: 'crash', when: 'after' } : undefined),
      // In the turn of that commit, so that no alarm is before it.
      crashed: () => {
        const { n } = state.storage.sql.exec<{ n: number }>('SELECT (SELECT count(*) FROM entry) + (SELECT count(*) FROM side) AS n').one()
        const row = store.read()!
        seen = { rows: n, isUnderWay: tombstoneOf(row)!.isUnderWay, wakeAt: row.wakeAt }
      },
    })
    void sweep({ store: dying, host: createHost(), limits: limits({ sweepRows: 20, recoveryMs: 200 }), isStopped: () => false })
    return until('it died', async () => seen)
  })
  expect(half).toEqual({ rows: before - 40, isUnderWay: true, wakeAt: expect.any(Number) as number })
  expect(before).toBeGreaterThan(60)
  await until('it is swept wholly', async () => {
    const { rows, isSwept, isUnderWay } = await left(run.id)
    return isSwept && !isUnderWay && rows === 0
  }, 60_000)
  expect((await stored(run.id)).alarm).toBeNull()
  expect(await codeOf(run.status())).toBe('run_swept')
}, 90_000)
