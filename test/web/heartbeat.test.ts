import { expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import { any, freshName, Gate, logs, open, until } from './support.ts'

const lockOf = (name: string, runId: string): string => `stepwell:${JSON.stringify(name)}:${runId}`
const isTaken = (run?: string): boolean => logs.some(({ runId, message }) => message.includes('does not answer') && (run === undefined || runId === run))

/** Holds a lock as a frozen tab does: for ever, and without a word. Resolves when it has it; `stolen` when it has lost it. */
async function hold(lock: string): Promise<{ readonly stolen: Promise<void> }> {
  let stolen: Promise<unknown> = Promise.resolve()
  await new Promise<void>((resolve) => {
    stolen = navigator.locks.request(lock, () => {
      resolve()
      return new Promise(() => {})
    })
  })
  return { stolen: stolen.then(() => {}, () => {}) }
}

/** So many questions after the lock's holder. */
async function asked(name: string, times: number): Promise<void> {
  const channel = new BroadcastChannel(`stepwell:${name}:heartbeat`)
  await new Promise<void>((resolve) => {
    channel.onmessage = ({ data }) => {
      if ((data as { kind: string }).kind === 'ask' && --times === 0) resolve()
    }
  })
  channel.close()
}

test('G6: a lock whose holder does not answer is taken, and the run goes on', async () => {
  const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', () => 'ran'))
  const name = freshName()
  const { stolen } = await hold(lockOf(name, 'r'))
  const well = await open({ name, workflows: [flow], limits: { recoveryMs: 300 } })
  const run = await well.start(flow, null, { id: 'r' })
  expect(await run.result()).toBe('ran')
  expect(isTaken()).toBe(true)
  await stolen
})

test('G6: a holder that answers keeps its lock, however long its step takes', async () => {
  const gate = new Gate()
  let times = 0
  const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', async () => {
    times++
    await gate.pass()
    return 'ran'
  }))
  const name = freshName()
  const a = await open({ name, workflows: [flow] })
  const run = await a.start(flow, null)
  await gate.reached()
  const many = asked(name, 8)
  const b = await open({ name, workflows: [flow], limits: { recoveryMs: 300 } })
  const result = b.get(flow, run.id).result()
  // Silence is three of them.
  await many
  expect(isTaken()).toBe(false)
  gate.open()
  expect(await result).toBe('ran')
  expect(times).toBe(1)
})

test('a lock that is not wanted yet is not taken, and taken when it is', async () => {
  const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
    await ctx.sleep('1 day')
  })
  const name = freshName()
  const well = await open({ name, workflows: [flow], limits: { recoveryMs: 300 } })
  const run = await well.start(flow, null)
  await until(async () => (await run.status()).status === 'waiting')
  await hold(lockOf(name, run.id))
  expect(isTaken()).toBe(false)
  // A message makes it due.
  const cancelled = expect(run.result()).rejects.toMatchObject({ code: 'cancelled' })
  await run.cancel()
  await cancelled
  expect(isTaken()).toBe(true)
})

test('without BroadcastChannel nobody can be asked, so nobody\'s lock is taken', async () => {
  const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => ctx.step('s', () => 'ran'))
  const name = freshName()
  await hold(lockOf(name, 'r'))
  const { BroadcastChannel } = globalThis
  Object.assign(globalThis, { BroadcastChannel: undefined })
  const well = await open({ name, workflows: [flow], limits: { recoveryMs: 30 } }).finally(() => Object.assign(globalThis, { BroadcastChannel }))
  const run = await well.start(flow, null, { id: 'r' })
  await until(async () => (await navigator.locks.query()).pending?.some((request) => request.name === lockOf(name, 'r')) === true)
  // Another page, that stands in line later and can ask, has asked in vain and taken its lock: so long nobody took this one.
  const other = freshName()
  await hold(lockOf(other, 'other'))
  const inVain = asked(other, 3)
  const elsewhere = await (await open({ name: other, workflows: [flow], limits: { recoveryMs: 30 } })).start(flow, null, { id: 'other' })
  await inVain
  expect(await elsewhere.result()).toBe('ran')
  expect([isTaken('other'), isTaken('r')]).toEqual([true, false])
  expect((await run.status()).status).toBe('queued')
})
