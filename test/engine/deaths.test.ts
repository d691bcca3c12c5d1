// A host that dies in each attempt: an effect, or an undo, comes to the end of its attempts by deaths alone, and so does the run.

import { describe, expect, test } from 'vitest'
import { decode } from '../../src/codec.ts'
import { workflow } from '../../src/define.ts'
import type { Decided } from '../../src/engine/ambiguity.ts'
import type { DriveEnd } from '../../src/engine/drive.ts'
import type { RunEnd } from '../../src/engine/notice.ts'
import type { AnyWorkflow } from '../../src/define.ts'
import { ledgerOf } from '../contract/effects.contract.ts'
import { anything, ID, type Process, World } from './support.ts'

/** More deaths than any run here may need: a rule that never gave up would be seen, and not hang. */
const MOST = 12

/** Processes of one run, each of which lives until a function kills it. */
class Mortals {
  readonly world = new World()
  readonly ends: RunEnd[] = []
  deaths = 0
  #isDying = false
  #workflow: AnyWorkflow

  constructor(definition: AnyWorkflow) {
    this.#workflow = definition
  }

  /** The function of an attempt ends here, and its process with it. */
  readonly die = (): Promise<never> => {
    this.#isDying = true
    return new Promise(() => {})
  }

  boot(): Process {
    return this.world.boot(this.#workflow, { onEnd: (end) => { this.ends.push(end) } })
  }

  async start(): Promise<void> {
    await this.boot().runs.start(this.#workflow, 0, { id: ID })
  }

  /** One process after the other, until the run has ended or waits for a person. */
  async live(): Promise<DriveEnd> {
    for (;;) {
      const process = this.boot()
      const end = await this.#lifeOf(process)
      if (end !== undefined) return end
      await process.crash()
      this.#isDying = false
      if (++this.deaths > MOST) throw new Error(`it is called again and again: ${this.world.kinds().join(', ')}`)
    }
  }

  async #lifeOf(process: Process): Promise<DriveEnd | undefined> {
    for (;;) {
      const drive = await process.begin()
      while (!drive.isOver() && !this.#isDying) {
        const { nextTimer } = process.host
        if (nextTimer !== undefined) process.host.advanceTo(nextTimer)
        await process.idle()
      }
      if (this.#isDying) return undefined
      const end = await drive.end
      if (end.kind !== 'parked' || end.wakeAt === null) return end
      process.host.advanceTo(end.wakeAt)
    }
  }
}

const decisions = (world: World): readonly string[] =>
  world.entries().filter(({ kind }) => kind === 'effect_decided').map(({ payload }) => {
    const { by, decision, why } = decode(payload) as Decided
    return `${by}: ${decision} (${why})`
  })

const retry = { limit: 3, delay: '1 second', jitter: 0 } as const

describe('G13, G29: a host that dies in each attempt', () => {
  for (const [policy, calls, decided, error] of [
    ['rerun', 4, ['policy: rerun (lost)', 'policy: rerun (lost)', 'policy: rerun (lost)', 'policy: fail (lost)'], 'effect_ambiguous'],
    ['probe', 4, Array<string>(4).fill('probe: did_not_happen (lost)'), 'effect_failed'],
    ['fail', 1, ['policy: fail (lost)'], 'effect_ambiguous'],
  ] as const) {
    test(`T-104, C-011: ${policy}: the attempts are used up, the run fails, what was done before is undone, and the end is told`, async () => {
      const outside: string[] = []
      const numbers: number[] = []
      const keys = new Set<string>()
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        await ctx.effect('reserve', () => { outside.push('reserve') }, {
          kind: 'money', input: 1, onAmbiguous: 'fail', undo: () => { outside.push('release') },
        })
        await ctx.effect('charge', ({ attempt, idempotencyKey }) => {
          outside.push('charge')
          numbers.push(attempt)
          keys.add(idempotencyKey)
          return mortals.die()
        }, { kind: 'money', input: 2, onAmbiguous: policy, probe: () => 'did-not-happen' as const, retry, timeout: '5 seconds' })
      })
      const mortals = new Mortals(w)
      await mortals.start()
      expect(await mortals.live()).toMatchObject({ kind: 'ended', status: 'failed' })
      expect(outside).toEqual(['reserve', ...Array<string>(calls).fill('charge'), 'release'])
      expect(mortals.deaths).toBe(calls)
      expect(numbers).toEqual(numbers.map((_, i) => i + 1))
      expect(keys.size).toBe(1)
      expect(decisions(mortals.world)).toEqual(decided)
      expect(mortals.ends.length).toBeGreaterThanOrEqual(1)
      for (const end of mortals.ends) expect(end).toMatchObject({ id: ID, status: 'failed', error: { code: error } })
      expect((await ledgerOf(mortals.world.shelf.open(ID))).map(({ key, status }) => [key, status]).sort())
        .toEqual([['charge', policy === 'probe' ? 'failed' : 'ambiguous'], ['reserve', 'undone']])
    })
  }

  test('G13: deaths and failures that are known are counted together', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('charge', () => {
      if (++calls % 2 === 1) return mortals.die()
      throw new Error('refused')
    }, { kind: 'money', input: 2, onAmbiguous: 'rerun', retry, timeout: '5 seconds' }))
    const mortals = new Mortals(w)
    await mortals.start()
    expect(await mortals.live()).toMatchObject({ kind: 'ended', status: 'failed' })
    expect([calls, mortals.deaths]).toEqual([4, 2])
    expect(mortals.ends).toMatchObject([{ error: { code: 'effect_failed', message: expect.stringContaining('after 4 attempts') as unknown } }])
  })

  test('G13: a restart has attempts of its own', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('charge', () => {
      calls++
      return mortals.die()
    }, { kind: 'money', input: 2, onAmbiguous: 'rerun', retry: { ...retry, limit: 1 }, timeout: '5 seconds' }))
    const mortals = new Mortals(w)
    await mortals.start()
    expect(await mortals.live()).toMatchObject({ kind: 'ended', status: 'failed' })
    expect(calls).toBe(2)
    await mortals.boot().runs.control(ID, { kind: 'restart' })
    expect(await mortals.live()).toMatchObject({ kind: 'ended', status: 'failed' })
    expect(calls).toBe(4)
    expect(mortals.ends.map(({ generation }) => generation)).toEqual([1, 2])
  })

  test('G21, G29: an undo whose host dies in each attempt stops the line, and a person decides; then the end is told', async () => {
    let undos = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.effect('reserve', () => 'reserved', { kind: 'money', input: 1, onAmbiguous: 'fail', retry, undo: () => {
        undos++
        return mortals.die()
      } })
      return ctx.fail('no')
    })
    const mortals = new Mortals(w)
    await mortals.start()
    expect(await mortals.live()).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_failed', details: { key: 'reserve', attempts: 4 } } })
    expect(undos).toBe(4)
    expect(mortals.ends).toEqual([])
    const { seq } = mortals.world.record().blocked?.details as { readonly seq: number }
    // Asked for again, it has attempts of its own.
    await mortals.boot().runs.control(ID, { kind: 'resolve', seq, decision: 'rerun' }, 'ada')
    expect(await mortals.live()).toMatchObject({ kind: 'blocked', blocked: { code: 'undo_failed' } })
    expect(undos).toBe(8)
    await mortals.boot().runs.control(ID, { kind: 'resolve', seq, decision: 'skip' }, 'ada')
    expect(await mortals.live()).toMatchObject({ kind: 'ended', status: 'failed' })
    expect(undos).toBe(8)
    expect(mortals.ends).toMatchObject([{ status: 'failed' }])
  })
})
