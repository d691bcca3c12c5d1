import { describe, expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import { zombieCases } from '../contract/zombies.contract.ts'
import { onIndexedDb } from './on-indexeddb.ts'
import { any, freshName, Gate, logs, open, sleep, until } from './support.ts'

onIndexedDb(zombieCases)

describe('a tab that is closed while a function runs', () => {
  test('G12, G13: the next one waits, asks what became of it, and does not call; what the closed one reports is not written', async () => {
    const gates = [new Gate(), new Gate()]
    let calls = 0
    let acted = 0
    let probedAt = 0
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
      const paid = await ctx.effect('pay', async () => {
        const mine = calls++
        await gates[mine]?.pass()
        acted++
        return 'from the function'
      }, {
        kind: 'money', input: { cents: 5 }, timeout: '1 second', onAmbiguous: 'probe',
        probe: () => {
          probedAt = Date.now()
          return acted > 0 ? { happened: 'found' } : 'did-not-happen' as const
        },
      })
      await ctx.step('after', () => 1)
      return paid
    })
    const name = freshName()
    // Longer than a busy machine takes between the intent and the call.
    const limits = { startByMs: 2000 }
    const a = await open({ name, workflows: [flow], limits })
    const run = await a.start(flow, null)
    await gates[0]?.reached()
    const intendedAt = (await run.journal()).items.find(({ kind }) => kind === 'effect_intended')?.at as number
    await a.close()
    const b = await open({ name, workflows: [flow], limits })
    const result = b.get(flow, run.id).result()
    await sleep(50)
    gates[0]?.open()
    expect(await result).toBe('found')
    expect({ calls, acted }).toEqual({ calls: 1, acted: 1 })
    expect(probedAt - intendedAt).toBeGreaterThanOrEqual(3000)
    expect((await b.get(flow, run.id).journal()).items.map(({ kind }) => kind)).toEqual([
      'run_started', 'effect_intended', 'effect_decided', 'effect_completed', 'step_completed', 'run_completed',
    ])
  }, 30_000)

  test('G13: its late report after another tab went on neither takes the run back nor is written', async () => {
    const gates = [new Gate(), new Gate()]
    let calls = 0
    const flow = workflow({ name: 'flow', input: any<null>() }, async (ctx) => {
      const paid = await ctx.effect('pay', async () => {
        calls++
        await gates[0]?.pass()
        return 'from the function'
      }, { kind: 'money', input: { cents: 5 }, timeout: 200, onAmbiguous: 'ask' })
      await ctx.step('after', () => gates[1]?.pass())
      return paid
    })
    const name = freshName()
    const a = await open({ name, workflows: [flow] })
    const run = await a.start(flow, null)
    await until(async () => (await run.status()).status === 'blocked')
    const b = await open({ name, workflows: [flow] })
    const seq = (await run.journal()).items.find(({ kind }) => kind === 'effect_intended')?.seq as number
    // The first tab gives up its locks, and its function goes on.
    await a.close()
    await b.get(flow, run.id).resolve(seq, { decision: 'happened', value: 'seen by a person' })
    await gates[1]?.reached()
    gates[0]?.open()
    await sleep(100)
    gates[1]?.open()
    expect(await b.get(flow, run.id).result()).toBe('seen by a person')
    expect(calls).toBe(1)
    expect((await b.get(flow, run.id).journal()).items.map(({ kind }) => kind)).toEqual([
      'run_started', 'effect_intended', 'effect_ambiguous', 'effect_decided', 'effect_completed', 'step_completed', 'run_completed',
    ])
    expect(logs.filter(({ level }) => level === 'error')).toEqual([])
  }, 30_000)
})
