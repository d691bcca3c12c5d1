import { exports } from 'cloudflare:workers'
import { runInDurableObject } from 'cloudflare:test'
import { expect, test, vi } from 'vitest'
import { createHost } from '../../worker/host.ts'
import { well } from './worker.ts'

/** Runs inside an object: storage, gates and timers are its own. */
function inObject<T>(run: (state: DurableObjectState) => Promise<T>): Promise<T> {
  return runInDurableObject(exports.Scratch.getByName(crypto.randomUUID()), (_, state) => run(state))
}

async function chain(links: number, done: () => void): Promise<void> {
  for (let i = 0; i < links; i++) await undefined
  done()
}

test('G8: quiesce resolves only when a chain of 5,000 links has run, at any of its turns', async () => {
  await inObject(async (state) => {
    state.storage.sql.exec('CREATE TABLE t (n INTEGER PRIMARY KEY)')
    const host = createHost()
    // More than one way back to the loop is used: the cheap one mostly, a timer every few milliseconds and every 256th time.
    for (let turn = 0; turn < 300; turn++) {
      let ended = false
      void chain(5000, () => { ended = true })
      if (turn % 3 === 0) state.storage.sql.exec('INSERT INTO t VALUES (?)', turn)
      await host.quiesce()
      expect(ended, `turn ${turn}`).toBe(true)
    }
  })
})

test('G8: quiesce drains chains of thenables and of promises resolved with promises', async () => {
  await inObject(async () => {
    const host = createHost()
    let ended = 0
    let native: Promise<unknown> = Promise.resolve()
    for (let i = 0; i < 5000; i++) native = native.then(() => new Promise((resolve) => resolve(Promise.resolve())))
    void native.then(() => ended++)
    // oxlint-disable-next-line unicorn/no-thenable -- what RPC results are
    const thenable = { then: (resolve: () => void): void => queueMicrotask(resolve) }
    void (async () => {
      for (let i = 0; i < 5000; i++) await thenable
      ended++
    })()
    await host.quiesce()
    expect(ended).toBe(2)
  })
})

test('a loop of quiesce starves no timer, no write and no request', async () => {
  await inObject(async (state) => {
    state.storage.sql.exec('CREATE TABLE t (n INTEGER PRIMARY KEY)')
    const host = createHost()
    let fired = false
    let answered = false
    let flushed = false
    setTimeout(() => { fired = true }, 5)
    void well.client({}).get('add', 'nobody').status().catch(() => { answered = true })
    state.storage.sql.exec('INSERT INTO t VALUES (1)')
    void state.storage.sync().then(() => { flushed = true })
    const until = Date.now() + 20_000
    while (Date.now() < until && !(fired && answered && flushed)) await host.quiesce()
    expect({ fired, answered, flushed }).toEqual({ fired: true, answered: true, flushed: true })
  })
})

test('where the clock stands still the loop turns after a fixed number of drains', async () => {
  await inObject(async () => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(1_800_000_000_000)
    try {
      const host = createHost()
      let fired = false
      setTimeout(() => { fired = true }, 1)
      let drains = 0
      for (; drains < 2000 && !fired; drains++) await host.quiesce()
      expect(fired).toBe(true)
      expect(drains).toBeGreaterThan(100)
    } finally {
      now.mockRestore()
    }
  })
})

test('a timer runs once, not before its time, and not after it is cancelled; any length is taken', async () => {
  await inObject(async () => {
    const host = createHost()
    const start = host.now()
    let runs = 0
    await new Promise<void>((resolve) => host.timer(30, () => { runs++; resolve() }))
    expect(host.now() - start).toBeGreaterThanOrEqual(29)
    host.timer(5, () => { runs += 10 }).cancel()
    host.timer(0, () => { runs += 100 })
    const century = host.timer(36_525 * 24 * 3_600_000, () => { runs += 1000 })
    await new Promise((resolve) => setTimeout(resolve, 40))
    century.cancel()
    expect(runs).toBe(101)
  })
})

test('random gives as many bytes as asked for, and others each time', () => {
  const host = createHost()
  const [a, b] = [host.random(32), host.random(32)]
  expect(a.length).toBe(32)
  expect(a).not.toEqual(b)
  expect(host.random(0).length).toBe(0)
})
