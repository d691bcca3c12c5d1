import { describe, expect, test } from 'vitest'
import { decode } from '../../src/codec.ts'
import { ambiguous, permanent, workflow } from '../../src/index.ts'
import type { Decided } from '../../src/engine/ambiguity.ts'
import { ledgerOf } from '../contract/effects.contract.ts'
import { anything, gate, ID, open, override, type Process, World } from './support.ts'

const money = { kind: 'money', input: { cents: 5 }, timeout: '5 seconds' } as const

/** What the outside world received: by key. */
class Outside {
  readonly keys: string[] = []
  ask(key: string): number {
    return this.keys.push(key)
  }
}

const effects = (process: Process): readonly string[] => process.world.kinds().filter((kind) => /^(effect|undo)_/.test(kind))
const audits = (process: Process): readonly Decided[] =>
  process.world.entries().filter(({ kind }) => kind === 'effect_decided').map(({ payload }) => decode(payload) as Decided)
const ledger = async (process: Process) => (await ledgerOf(process.world.shelf.open(ID)))

describe('G12: the intent', () => {
  test('G12, Z-005: it is committed before the function is called, and the outcome before the function sees it', async () => {
    let seen: readonly string[] = []
    let after: readonly string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const value = await ctx.effect('e', () => {
        seen = process.world.kinds()
        return 7
      }, { ...money, onAmbiguous: 'fail' })
      after = process.world.kinds()
      return value
    })
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(seen).toEqual(['run_started', 'effect_intended e'])
    expect(after).toEqual(['run_started', 'effect_intended e', 'effect_completed e'])
    expect((await process.runs.summary(ID)).output).toBe(7)
  })

  for (const [what, fault] of [
    ['fails', { do: 'fail' }], ['hangs', { do: 'hang', when: 'before' }], ['gives no answer', { do: 'unknown', when: 'before' }],
    ['is full', { do: 'fail', error: 'quota' }],
  ] as const) {
    test(`G12, Z-132, Y-069: the function is not called when the store ${what}`, async () => {
      let calls = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => ++calls, { ...money, onAmbiguous: 'fail' }))
      const process = open(w, { limits: { commitMs: 100 }, faults: {
        fault: ({ method, batch }) => method === 'commit' && batch?.entries?.[0]?.bytes[1] === 50 ? fault : undefined,
      } })
      await process.runs.start(w, 0, { id: ID })
      expect(await process.runs.drive(ID)).toMatchObject({ kind: 'unavailable' })
      expect(calls).toBe(0)
      expect(process.world.kinds()).toEqual(['run_started'])
    })
  }

  test('G12: a cancel that came while the intent was stored: the function is not called', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => ++calls, { ...money, onAmbiguous: 'fail' }))
    const release = gate()
    const process = open(w, { faults: {
      fault: ({ batch }) => batch?.entries?.[0]?.bytes[1] === 50 ? { do: 'delay', when: 'after', until: release.promise } : undefined,
    } })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.runs.cancel(ID)
    release.open()
    expect(await drive.end).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(calls).toBe(0)
    expect(effects(process)).toEqual(['effect_intended e', 'effect_not_called e'])
    expect((await ledger(process))[0]).toMatchObject({ status: 'failed' })
  })

  test('G12, G6: a driver that was superseded between intent and call does not call', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => ++calls, { ...money, onAmbiguous: 'ask' }))
    const release = gate()
    const world = new World()
    const first = world.boot(w, { faults: {
      fault: ({ batch }) => batch?.entries?.[0]?.bytes[1] === 50 ? { do: 'delay', when: 'after', until: release.promise } : undefined,
    } })
    await first.runs.start(w, 0, { id: ID })
    const drive = await first.begin()
    const second = world.boot(w)
    await second.begin()
    release.open()
    expect(await drive.end).toEqual({ kind: 'superseded' })
    expect(calls).toBe(0)
  })
})

describe('G12: durable, and in time', () => {
  test('G12: intents and outcomes are on the disk before anything follows from them', async () => {
    const durabilities: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.effect('known', ({ attempt }) => {
        if (attempt === 1) throw new Error('declined')
        return 1
      }, { ...money, onAmbiguous: 'fail' })
      await ctx.effect('unknown', (): number => { throw ambiguous(new Error('x')) }, { ...money, onAmbiguous: 'skip', fallback: 2 })
    })
    const process = open(w, { faults: { committed: (batch) => {
      for (const { bytes } of batch.entries ?? []) if ((bytes[1] as number) >= 50) durabilities.push(`${bytes[1]} ${batch.durability}`)
    } } })
    await process.run(w)
    expect(durabilities).toEqual(['50 strict', '52 strict', '50 strict', '55 strict', '50 strict', '53 strict', '54 strict', '55 strict'])
  })

  test('G12: where a commit is answered before it is on the disk, the flush is waited for', async () => {
    const disk = gate()
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => ++calls, { ...money, onAmbiguous: 'fail' }))
    const process = open(w, { wrap: (store) => override(store, { flush: () => disk.promise }) })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.idle(20)
    expect(calls).toBe(0)
    expect(effects(process)).toEqual(['effect_intended e'])
    disk.open()
    expect(await drive.end).toEqual({ kind: 'ended', status: 'completed' })
    expect(calls).toBe(1)
  })

  test('G12: after startBy the function is not called; another intent is made', async () => {
    const called: number[] = []
    const release = gate()
    let isFirst = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', ({ attempt }) => { called.push(attempt) }, { ...money, onAmbiguous: 'ask' }))
    const process = open(w, { faults: { fault: ({ batch }) => {
      if (!isFirst || batch?.entries?.[0]?.bytes[1] !== 50) return undefined
      isFirst = false
      return { do: 'delay', when: 'after', until: release.promise }
    } } })
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.pass(10_001)
    release.open()
    expect(await drive.end).toEqual({ kind: 'ended', status: 'completed' })
    expect(effects(process)).toEqual(['effect_intended e', 'effect_not_called e', 'effect_intended e', 'effect_completed e'])
    expect(called).toEqual([1])
  })
})

describe('G13: what nobody knows', () => {
  for (const [what, make] of [
    ['marked', () => ambiguous(new Error('who knows'))],
    ['an AbortError', () => new DOMException('gone', 'AbortError')],
    ['a broken request', () => new TypeError('fetch failed', { cause: Object.assign(new Error('reset'), { code: 'ECONNRESET' }) })],
    ['an object that was replaced under the call', () => Object.assign(new Error('Durable Object reset because its code was updated.'), { durableObjectReset: true })],
    ['an object that is overloaded', () => Object.assign(new Error('Durable Object is overloaded.'), { overloaded: true })],
    ['a lost connection of workerd', () => Object.assign(new Error('Network connection lost.'), { retryable: true })],
  ] as const) {
    test(`G13: ${what}: ambiguous, and the policy decides`, async () => {
      let calls = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => { calls++; throw make() }, { ...money, onAmbiguous: 'fail' }))
      const process = open(w)
      expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
      expect(calls).toBe(1)
      expect(effects(process)).toEqual(['effect_intended e', 'effect_ambiguous e', 'effect_decided e', 'effect_failed e'])
      expect((await process.runs.summary(ID)).error).toMatchObject({ code: 'effect_ambiguous' })
      expect((await ledger(process))[0]).toMatchObject({ status: 'ambiguous', decision: { word: 'fail', by: 'policy' } })
    })
  }

  test('G13, Z-131: a throw is a failure that is known: retried, and never ambiguous', async () => {
    let calls = 0
    const outside = new Outside()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', ({ idempotencyKey, attempt }) => {
      outside.ask(idempotencyKey)
      if (++calls < 3) throw new Error('declined')
      return attempt
    }, { ...money, onAmbiguous: 'fail' }))
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect(effects(process)).toEqual([
      'effect_intended e', 'effect_attempt_failed e', 'effect_intended e', 'effect_attempt_failed e', 'effect_intended e', 'effect_completed e',
    ])
    expect(new Set(outside.keys).size).toBe(1)
    expect((await process.runs.summary(ID)).output).toBe(3)
  })

  test('G13: a permanent failure is final, and the ledger says that it did not happen', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => { throw permanent(new Error('declined')) }, { ...money, onAmbiguous: 'fail' }))
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
    expect((await process.runs.summary(ID)).error).toMatchObject({ code: 'effect_failed', cause: { message: 'declined' } })
    expect((await ledger(process))[0]).toMatchObject({ status: 'failed' })
  })

  test('G13: after a timeout a late outcome settles what nobody has decided yet', async () => {
    const bank = gate<string>()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => bank.promise, { ...money, onAmbiguous: 'ask' }))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.pass(5000)
    expect(await drive.end).toMatchObject({ kind: 'blocked', blocked: { code: 'ambiguous_effect' } })
    expect((await process.runs.summary(ID)).blocked).toMatchObject({ details: { effects: [{ key: 'e', kind: 'money', why: 'timeout', attempt: 1, input: { cents: 5 } }] } })
    bank.open('paid')
    await process.idle(20)
    expect(process.world.record().status).toBe('completed')
    expect((await process.runs.summary(ID)).output).toBe('paid')
    expect(audits(process)).toMatchObject([{ by: 'late', decision: 'happened' }])
  })

  test('G13: after a policy has decided, a late outcome is recorded, not delivered, and undone', async () => {
    const bank = gate<string>()
    const undone: unknown[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const value = await ctx.effect('e', () => bank.promise, { ...money, onAmbiguous: 'skip', fallback: 'none', undo: (outcome) => { undone.push(outcome) } })
      await ctx.sleep('1 second')
      throw new Error(`failed with ${value}`)
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.pass(5000)
    bank.open('paid')
    await process.idle()
    await process.pass(1000)
    expect(await drive.end).toEqual({ kind: 'ended', status: 'failed' })
    expect((await process.runs.summary(ID)).error).toMatchObject({ message: 'failed with none' })
    expect(effects(process)).toEqual([
      'effect_intended e', 'effect_ambiguous e', 'effect_decided e', 'effect_completed e', 'effect_recorded e', 'undo_started', 'undo_intended e', 'undo_completed e',
    ])
    expect(undone).toEqual(['paid'])
  })

  for (const [what, second, output] of [
    ['succeeds', () => Promise.resolve('second'), 'second'],
    ['fails', () => Promise.reject(permanent(new Error('declined: paid already'))), 'first'],
  ] as const) {
    test(`G13: it was decided to run it again, and the second attempt ${what}: the late outcome of the first is not delivered before, and not forgotten`, async () => {
      const [bank, again] = [gate<string>(), gate()]
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', ({ attempt }) => attempt === 1 ? bank.promise : again.promise.then(second), { ...money, onAmbiguous: 'rerun', retry: { delay: 0 } }))
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      const drive = await process.begin()
      await process.pass(5000)
      bank.open('first')
      await process.idle()
      expect(drive.isOver()).toBe(false)
      again.open()
      expect(await drive.end).toEqual({ kind: 'ended', status: 'completed' })
      expect((await process.runs.summary(ID)).output).toBe(output)
      expect((await ledger(process))[0]).toMatchObject({ status: 'done' })
    })
  }

  for (const order of [[1, 2], [2, 1]] as const) {
    for (const happened of order) {
      test(`G13: two attempts that had timed out report in the same moment, ${order.join(' before ')}, and the ${happened === 1 ? 'first' : 'second'} has happened: it is known, and not called again`, async () => {
        const gates = [gate<string>(), gate<string>()]
        const undone: unknown[] = []
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          const value = await ctx.effect('e', ({ attempt }) => gates[attempt - 1]?.promise ?? Promise.resolve('once more'), {
            ...money, onAmbiguous: 'rerun', retry: { limit: 5, delay: '1 second', jitter: 0 }, undo: (outcome) => { undone.push(outcome) },
          })
          throw new Error(`after ${value}`)
        })
        const process = open(w)
        await process.runs.start(w, 0, { id: ID })
        const drive = await process.begin()
        for (const ms of [5000, 1000, 5000]) await process.pass(ms)
        expect(effects(process)).toEqual(['effect_intended e', 'effect_ambiguous e', 'effect_decided e', 'effect_intended e', 'effect_ambiguous e'])
        for (const attempt of order) {
          if (attempt === happened) gates[attempt - 1]?.open(`paid by ${attempt}`)
          else gates[attempt - 1]?.fail(new Error('declined'))
        }
        await process.idle()
        expect(await drive.end).toEqual({ kind: 'ended', status: 'failed' })
        expect((await process.runs.summary(ID)).error).toMatchObject({ message: `after paid by ${happened}` })
        expect(effects(process).filter((kind) => kind === 'effect_intended e')).toHaveLength(2)
        expect(effects(process).filter((kind) => kind === 'effect_completed e')).toHaveLength(1)
        expect(undone).toEqual([`paid by ${happened}`])
        expect(process.now - (process.world.entries()[0]?.at ?? 0)).toBe(11_000)
      })
    }
  }

  test('G13: of two that report in the same moment the last attempt fails for good, and the first has happened: recorded before the end, and undone', async () => {
    const gates = [gate<string>(), gate<string>()]
    const undone: unknown[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.effect('e', ({ attempt }) => (gates[attempt - 1] as { promise: Promise<string> }).promise, {
        ...money, onAmbiguous: 'rerun', retry: { limit: 5, delay: '1 second', jitter: 0 }, undo: (outcome) => { undone.push(outcome) },
      })
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    for (const ms of [5000, 1000, 5000]) await process.pass(ms)
    gates[1]?.fail(permanent(new Error('declined')))
    gates[0]?.open('paid')
    expect(await drive.end).toEqual({ kind: 'ended', status: 'failed' })
    expect(effects(process).slice(5)).toEqual(['effect_decided e', 'effect_failed e', 'effect_recorded e', 'undo_started', 'undo_intended e', 'undo_completed e'])
    expect(undone).toEqual(['paid'])
  })

  test('G13: rerun waits as retry says, gives up when it is used up, and a crash in between changes neither', async () => {
    const called: number[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => {
      // A rule that never gave up would be seen, and not hang.
      if (called.push(process.now) > 10) return
      throw new TypeError('fetch failed')
    }, { ...money, onAmbiguous: 'rerun', retry: { limit: 3, delay: '10 seconds', jitter: 0 } }))
    const world = new World()
    let process = world.boot(w)
    await process.runs.start(w, 0, { id: ID })
    const began = process.now
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: began + 10_000 })
    expect(process.world.record()).toMatchObject({ status: 'waiting', waitingFor: [{ kind: 'effect', key: 'e', dueAt: began + 10_000 }] })
    await process.crash()
    process = world.boot(w)
    // Looked at before its time, it waits on.
    expect(await process.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: began + 10_000 })
    expect(called).toEqual([began])
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(called.map((at) => at - began)).toEqual([0, 10_000, 30_000, 70_000])
    expect((await process.runs.summary(ID)).error).toMatchObject({ code: 'effect_ambiguous' })
    expect(audits(process).map(({ by, decision }) => [by, decision])).toEqual([['policy', 'rerun'], ['policy', 'rerun'], ['policy', 'rerun'], ['policy', 'fail']])
    expect((await ledger(process))[0]).toMatchObject({ status: 'ambiguous' })
  })

  test('G13: what a probe finds not to have happened is a failure that is known: retried as retry says, and then final', async () => {
    const called: number[] = []
    let probes = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => {
      // A rule that never gave up would be seen, and not hang.
      if (called.push(process.now) > 10) return
      throw new TypeError('fetch failed')
    }, {
      ...money, onAmbiguous: 'probe', retry: { limit: 2, delay: '10 seconds', jitter: 0 },
      // It is asked again by the same rule when it throws.
      probe: () => { if (++probes === 1) throw new Error('busy'); return 'did-not-happen' },
    }))
    const process = open(w)
    const began = process.now
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'failed' })
    expect(called.map((at) => at - began)).toEqual([0, 20_000, 40_000])
    expect(probes).toBe(4)
    expect((await process.runs.summary(ID)).error).toMatchObject({ code: 'effect_failed', cause: { message: 'fetch failed' } })
    expect((await ledger(process))[0]).toMatchObject({ status: 'failed' })
    expect(effects(process).slice(0, 5)).toEqual(['effect_intended e', 'effect_ambiguous e', 'effect_decided e', 'effect_attempt_failed e', 'effect_intended e'])
  })

  for (const [answer, status, last, undone] of [
    ['did-not-happen', 'failed', 'effect_decided e', []], [{ happened: 'x' }, 'done', 'effect_recorded e', ['x']], ['unknown', 'ambiguous', 'effect_decided e', []],
  ] as const) {
    for (const fails of [false, true]) {
      test(`G13, G16: a probe answers ${JSON.stringify(answer)} when nobody waits any more: known, not called again, and the run ends ${fails ? 'failed' : 'completed'}`, async () => {
        const answers = gate<typeof answer>()
        let calls = 0
        const taken: unknown[] = []
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          ctx.effect('e', () => { calls++; throw ambiguous(new Error('who knows')) }, {
            ...money, onAmbiguous: 'probe', probe: () => answers.promise as never, otherwise: 'fail', undo: (value) => { taken.push(value) },
          }).catch(() => {})
          await ctx.sleep('1 second')
          if (fails) ctx.fail('no')
          return 'done'
        })
        const process = open(w)
        await process.runs.start(w, 0, { id: ID })
        const drive = await process.begin()
        await process.pass(2000)
        answers.open(answer)
        expect(await drive.end).toEqual({ kind: 'ended', status: fails ? 'failed' : 'completed' })
        expect(calls).toBe(1)
        const isUndone = fails && undone.length > 0
        expect(effects(process).filter((kind) => kind.startsWith('effect_'))).toEqual(['effect_intended e', 'effect_ambiguous e', 'effect_decided e', ...(last === 'effect_decided e' ? [] : [last])])
        expect(taken).toEqual(isUndone ? undone : [])
        expect((await ledger(process))[0]).toMatchObject({ status: isUndone ? 'undone' : status })
      })
    }
  }

  test('G12: a successor decides nothing before startBy and the timeout have passed', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => new Promise(() => {}), { ...money, onAmbiguous: 'skip', fallback: 0 }))
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    const began = first.now
    await first.crash()
    const second = world.boot(w)
    expect(await second.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: began + 15_000 })
    expect(second.world.record()).toMatchObject({ status: 'waiting', waitingFor: [{ kind: 'effect', key: 'e' }] })
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(second.now).toBeGreaterThanOrEqual(began + 15_000)
  })

  for (const [decision, output, calls] of [['happened', 'paid', 1], ['rerun', 'done 2', 2], ['skip', 'none', 1]] as const) {
    test(`G13: a person decides: ${decision}; the audit names who, twice is once, another decision is refused`, async () => {
      const outside = new Outside()
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', async ({ idempotencyKey }) => {
        const n = outside.ask(idempotencyKey)
        if (n === 1) throw ambiguous(new Error('who knows'))
        return `done ${n}`
      }, { ...money, onAmbiguous: 'ask' }))
      const process = open(w)
      expect(await process.run(w)).toMatchObject({ kind: 'blocked', blocked: { code: 'ambiguous_effect' } })
      const seq = 2
      await expect(process.runs.control(ID, { kind: 'resolve', seq: 9, decision: 'rerun' })).rejects.toMatchObject({ code: 'nothing_to_resolve' })
      const value = decision === 'happened' ? { value: 'paid' } : decision === 'skip' ? { value: 'none' } : {}
      expect(await process.runs.control(ID, { kind: 'resolve', seq, decision, ...value }, 'ada')).toMatchObject({ outcome: 'requested' })
      await process.runs.settle(ID)
      expect((await process.runs.summary(ID)).output).toBe(output)
      expect(outside.keys.length).toBe(calls)
      expect(new Set(outside.keys).size).toBe(1)
      expect(audits(process)).toMatchObject([{ by: 'person', decision, principal: 'ada', policy: 'ask', why: 'marked' }])
      expect(await process.runs.control(ID, { kind: 'resolve', seq, decision, ...value })).toMatchObject({ outcome: 'already_requested' })
      await expect(process.runs.control(ID, { kind: 'resolve', seq, decision: 'fail' })).rejects.toMatchObject({ code: 'already_resolved' })
    })
  }

  test('G13: while one effect asks, the other branches go on', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.all({
      asks: (c) => c.effect('e', () => { throw ambiguous(new Error('x')) }, { ...money, onAmbiguous: 'ask' }),
      goes: async (c) => { await c.sleep('1 hour'); return c.step('s', () => 1) },
    }))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.drive(ID)).toMatchObject({ kind: 'blocked' })
    process.host.advance(3_600_000)
    expect(await process.runs.drive(ID)).toMatchObject({ kind: 'blocked' })
    expect(process.world.kinds()).toContain('step_completed all/goes/s')
    const seq = process.world.entries().find(({ kind }) => kind === 'effect_intended')?.seq as number
    await process.runs.control(ID, { kind: 'resolve', seq, decision: 'happened', value: 4 })
    await process.runs.settle(ID)
    expect((await process.runs.summary(ID)).output).toEqual({ asks: 4, goes: 1 })
  })
})

describe('G21: in a cleanup', () => {
  test('G21: after a cancel, an effect of a cleanup is called; any other is not', async () => {
    const called: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      try {
        await ctx.sleep('1 day')
      } finally {
        await ctx.effect('other', () => { called.push('other') }, { ...money, onAmbiguous: 'fail' }).catch(() => {})
        await ctx.cleanup((c) => c.effect('refund', () => { called.push('refund') }, { ...money, onAmbiguous: 'fail' }))
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.drive(ID)
    await process.runs.cancel(ID)
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(called).toEqual(['refund'])
    expect(effects(process)).toEqual(['effect_intended cleanup/refund', 'effect_completed cleanup/refund'])
  })
})

describe('G14, G15: what is told apart', () => {
  test('G14: money without a policy or an input throws before anything is written', async () => {
    for (const [options, says, code = 'invalid_argument'] of [
      [{ kind: 'money', input: 1 }, 'needs onAmbiguous'],
      [{ kind: 'money', input: 1, onAmbiguous: 'hope' }, 'needs onAmbiguous'],
      [{ kind: 'money', onAmbiguous: 'fail' }, 'input'],
      [{ kind: 'money', input: 1, onAmbiguous: 'skip' }, 'needs a fallback'],
      [{ kind: 'money', input: 1, onAmbiguous: 'probe' }, 'needs a probe'],
      [{ kind: 'money', input: 1, onAmbiguous: 'probe', probe: 5 }, 'needs a probe'],
      [{ kind: 'money', input: 1, onAmbiguous: 'probe', probe: () => 'unknown', otherwise: 'skip' }, 'otherwise is'],
      [{ kind: 'money', input: 1, onAmbiguous: 'fail', undo: 5 }, 'undo is a function'],
      [{ kind: 'money', input: 1, onAmbiguous: 'fail', at: 'moon' }, 'at is'],
      [{ kind: 'money', input: 1, onAmbiguous: 'fail', timeout: 'soon' }, 'timeout', 'invalid_duration'],
      [{ kind: 'money', input: 1, onAmbiguous: 'fail', retry: { limit: -1 } }, 'retry.limit'],
      [{ kind: 'idempotent', onAmbiguous: 'ask' }, 'idempotent'],
      [{ kind: 'bribe', onAmbiguous: 'fail' }, 'kind'],
      [{}, 'kind'],
    ] as const) {
      let calls = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => ++calls, options as never))
      const process = open(w)
      expect(await process.run(w)).toMatchObject({ kind: 'blocked', blocked: { code, message: expect.stringContaining(says) as string } })
      expect(process.world.kinds()).toEqual(['run_started'])
      expect(calls).toBe(0)
    }
  })

  test('G15: a second equal use of a guarded effect throws unless it has its own key', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx, own) => {
      await ctx.effect('e', () => 1, { ...money, onAmbiguous: 'fail' })
      await ctx.effect('e', () => 1, { ...money, onAmbiguous: 'fail', ...(own === true ? { key: 'second' } : {}) })
    })
    expect(await open(w).run(w, false)).toMatchObject({ kind: 'blocked', blocked: { code: 'duplicate_key' } })
    expect(await open(w).run(w, true)).toEqual({ kind: 'ended', status: 'completed' })
  })

  test('G15, Z-006: a restart finds it and does not call again; an input that changed is another act', async () => {
    const outside = new Outside()
    let cents = 5
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('s', () => 1)
      return ctx.effect('e', ({ idempotencyKey }) => outside.ask(idempotencyKey), { ...money, input: { cents }, onAmbiguous: 'fail' })
    })
    const process = open(w)
    await process.run(w)
    await process.runs.control(ID, { kind: 'restart' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(outside.keys.length).toBe(1)
    expect((await process.runs.summary(ID)).output).toBe(1)
    cents = 6
    await process.runs.control(ID, { kind: 'restart' })
    await process.runs.settle(ID)
    expect(new Set(outside.keys).size).toBe(2)
    expect(process.world.record().generation).toBe(3)
  })

  test('G15, Z-042: found after a divergence with code inserted before it, and in a permuted and extended loop', async () => {
    const outside = new Outside()
    const flow = (items: readonly string[], inserted: boolean) => workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
      if (inserted) await ctx.step('new', () => 1)
      const got: Record<string, number> = {}
      for (const item of items) {
        got[item] = await ctx.effect('pay', ({ idempotencyKey }) => outside.ask(idempotencyKey), { ...money, input: { item }, onAmbiguous: 'fail' })
      }
      await ctx.sleep('1 day')
      return got
    })
    const world = new World()
    const first = world.boot(flow(['a', 'b', 'c'], false))
    await first.runs.start(flow(['a'], false), 0, { id: ID })
    await first.runs.drive(ID)
    expect(outside.keys.length).toBe(3)
    await first.crash()
    const second = world.boot(flow(['c', 'd', 'a', 'b'], true))
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await second.runs.summary(ID)).output).toEqual({ a: 1, b: 2, c: 3, d: 4 })
    expect(outside.keys.length).toBe(4)
    expect(new Set(outside.keys).size).toBe(4)
  })

  test('B-035: a run that is deleted and started again under its id shares no key', async () => {
    const outside = new Outside()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', ({ idempotencyKey }) => outside.ask(idempotencyKey), { ...money, onAmbiguous: 'fail' }))
    const world = new World()
    const first = world.boot(w)
    await first.run(w)
    await first.crash()
    world.shelf.open(ID).destroy()
    expect(await ledgerOf(world.shelf.open(ID))).toEqual([])
    await world.boot(w).run(w)
    expect(new Set(outside.keys).size).toBe(2)
  })
})

describe('G15: a past that was cut in the middle of an effect', () => {
  const policies = [{ onAmbiguous: 'rerun' }, { onAmbiguous: 'skip', fallback: 0 }, { onAmbiguous: 'fail' }, { onAmbiguous: 'ask' }] as const
  for (const policy of policies) {
    for (const [what, first] of [['at once', []], ['at its second attempt', [new Error('declined')]]] as const) {
      test(`G15: ${policy.onAmbiguous}: it was intended before the cut and has happened behind it, ${what}: found, and not decided again`, async () => {
        const outside = new Outside()
        const throwing = [...first]
        const bank = gate()
        let isBroken = true
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          const paid = ctx.effect('e', async ({ idempotencyKey }): Promise<number> => {
            const error = throwing.shift()
            if (error !== undefined) throw error
            const n = outside.ask(idempotencyKey)
            await bank.promise
            return n
          }, { ...money, ...policy, retry: { delay: 1 } })
          await ctx.sleep(10)
          await ctx.step('b', () => { if (isBroken) throw permanent(new Error('down')) })
          return paid
        })
        const process = open(w)
        await process.runs.start(w, 0, { id: ID })
        const drive = await process.begin()
        for (let i = 0; i < 20; i++) await process.pass(1)
        bank.open()
        expect(await drive.end).toEqual({ kind: 'ended', status: 'failed' })
        expect(effects(process).at(-1)).toBe('effect_recorded e')
        isBroken = false
        await process.runs.control(ID, { kind: 'retry' })
        expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
        expect((await process.runs.summary(ID)).output).toBe(1)
        expect(outside.keys.length).toBe(1)
        expect(audits(process)).toEqual([])
      })
    }
  }

  for (const end of ['completed', 'failed'] as const) {
    test(`G15, G16: nobody waits for it any more: the run ends ${end}, and it is undone only when it fails`, async () => {
      const bank = gate()
      const undone: unknown[] = []
      let isFirst = true
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        void ctx.effect('e', () => bank.promise.then(() => 'paid'), { ...money, onAmbiguous: 'ask', undo: (outcome) => { undone.push(outcome) } }).catch(() => {})
        await ctx.sleep(10)
        if (isFirst) await ctx.step('b', () => 1)
        if (!isFirst && end === 'failed') throw new Error('no')
      })
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      const drive = await process.begin()
      for (let i = 0; i < 20; i++) await process.pass(1)
      bank.open()
      await drive.end
      isFirst = false
      await process.runs.control(ID, { kind: 'restart', from: 'b' })
      expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: end })
      expect(undone).toEqual(end === 'failed' ? ['paid'] : [])
    })
  }

  test('G1: a ledger that was lost does not make what was intended free: its policy decides', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', () => { calls++; return new Promise<number>(() => {}) }, { ...money, onAmbiguous: 'skip', fallback: 0 }))
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.crash()
    const store = world.shelf.open(ID)
    store.commit({ expect: { kind: 'exists' }, rows: store.keys('effect', { limit: 10 }).map((key) => ({ table: 'effect', key, value: null })) })
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(calls).toBe(1)
    expect(audits(second)).toMatchObject([{ decision: 'skip', why: 'lost' }])
  })
})

describe('G16: at the end', () => {
  test('G16: an effect that lost a race is settled before the end, and recorded', async () => {
    const bank = gate<string>()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => (await ctx.race({
      pay: (c) => c.effect('e', () => bank.promise, { ...money, onAmbiguous: 'fail' }),
      late: (c) => c.sleep('1 second'),
    })).winner)
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.pass(1000)
    expect(drive.isOver()).toBe(false)
    bank.open('paid')
    expect(await drive.end).toEqual({ kind: 'ended', status: 'completed' })
    expect(process.world.kinds().slice(-2)).toEqual(['effect_recorded race/pay/e', 'run_completed'])
    expect((await ledger(process))[0]).toMatchObject({ status: 'done' })
  })

  test('G16: one that never answers is decided by its policy before the end', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      void ctx.effect('e', () => new Promise(() => {}), { ...money, onAmbiguous: 'rerun' })
      await ctx.sleep(1)
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.pass(1)
    await process.pass(5000)
    expect(await drive.end).toEqual({ kind: 'ended', status: 'completed' })
    expect(effects(process)).toEqual(['effect_intended e', 'effect_ambiguous e', 'effect_decided e'])
    expect(audits(process)).toMatchObject([{ decision: 'fail', by: 'policy', why: 'timeout' }])
  })

  test('G16: the run is killed while it waits for that; the next one decides, and ends', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      void ctx.effect('e', () => { calls++; return new Promise(() => {}) }, { ...money, onAmbiguous: 'skip', fallback: 0 })
      await ctx.sleep(1)
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.begin()
    await first.pass(1)
    await first.crash()
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(calls).toBe(1)
    expect(audits(second)).toMatchObject([{ decision: 'skip', by: 'policy', why: 'lost' }])
  })

  test('G21, T-081: a cancelled effect that was paid all the same is known, and undone when that is asked for', async () => {
    for (const undo of [false, true]) {
      const bank = gate<string>()
      const undone: unknown[] = []
      let aborted = false
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('e', ({ abortSignal }) => {
        abortSignal.addEventListener('abort', () => { aborted = true })
        return bank.promise
      }, { ...money, onAmbiguous: 'ask', undo: (outcome) => { undone.push(outcome) } }))
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      const drive = await process.begin()
      await process.runs.cancel(ID, 'no', { undo })
      await process.idle()
      expect(aborted).toBe(true)
      expect(drive.isOver()).toBe(false)
      bank.open('paid')
      expect(await drive.end).toEqual({ kind: 'ended', status: 'cancelled' })
      expect(undone).toEqual(undo ? ['paid'] : [])
      expect((await ledger(process))[0]).toMatchObject({ status: undo ? 'undone' : 'done' })
    }
  })
})
