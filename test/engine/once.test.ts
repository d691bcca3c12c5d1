import { describe, expect, test } from 'vitest'
import { decode, encode } from '../../src/codec.ts'
import type { Ctx } from '../../src/context.ts'
import { ambiguous, permanent, workflow } from '../../src/index.ts'
import { blake3, hex } from '../../src/hash.ts'
import { fromPayload } from '../../src/engine/outcome.ts'
import { ledgerOf } from '../contract/effects.contract.ts'
import { anything, gate, ID, open, World } from './support.ts'

describe('ctx.once', () => {
  test('B-021, B-022: it happens, and whoever asks again gets its value and is told so; the key is trimmed', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => [
      await ctx.once('mail', () => ++calls),
      await ctx.once('  mail ', () => ++calls),
      await ctx.scope('inner', (c) => c.once('mail', () => ++calls)),
      await ctx.once('other', () => ++calls),
    ])
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual([
      { value: 1, replayed: false }, { value: 1, replayed: true }, { value: 1, replayed: true }, { value: 2, replayed: false },
    ])
    expect(process.world.kinds().slice(1, 5)).toEqual([
      'effect_intended ctx.once[mail]', 'effect_completed ctx.once[mail]', 'effect_completed ctx.once[mail]#1', 'effect_completed inner/ctx.once[mail]',
    ])
  })

  test('B-020: a blank key and a missing function are refused before anything is written', async () => {
    for (const args of [['', () => 1], ['   ', () => 1], [7, () => 1], ['k'], ['k', 'f'], ['k', () => 1, { onAmbiguous: 'hope' }], ['k', () => 1, { onAmbiguous: 'skip' }], ['k', () => 1, { undo: 1 }]]) {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => (ctx.once as (...all: unknown[]) => unknown)(...args))
      const process = open(w)
      expect(await process.run(w)).toMatchObject({ kind: 'blocked', blocked: { code: 'invalid_argument' } })
      expect(process.world.kinds()).toEqual(['run_started'])
    }
  })

  test('B-023, B-024: 20 calls at once are one execution and 20 equal values', async () => {
    let calls = 0
    const hold = gate<{ n: number }>()
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.map('m', Array.from({ length: 20 }, (_, i) => i), { concurrency: 20 }, (c) => c.once('k', () => {
      calls++
      return hold.promise
    })))
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.idle()
    expect(calls).toBe(1)
    hold.open({ n: 7 })
    expect(await drive.end).toEqual({ kind: 'ended', status: 'completed' })
    const output = (await process.runs.summary(ID)).output as { value: unknown; replayed: boolean }[]
    expect(output.map(({ value }) => value)).toEqual(Array.from({ length: 20 }, () => ({ n: 7 })))
    expect(output.filter(({ replayed }) => !replayed).length).toBe(1)
    expect(calls).toBe(1)
  })

  test('B-027, B-028: it throws once and then succeeds: two executions, one success row', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => (await ctx.once('k', () => {
      if (++calls === 1) throw new Error('down')
      return calls
    }, { retry: { delay: 1 } })).value)
    const process = open(w)
    await process.run(w)
    expect((await process.runs.summary(ID)).output).toBe(2)
    expect(calls).toBe(2)
    expect((await ledgerOf(process.world.shelf.open(ID)))).toMatchObject([{ status: 'done', intent: { attempt: 2 } }])
  })

  test('B-027: those who had joined a call that failed get its error; whoever asks later tries again', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const f = (): number => {
        if (++calls === 1) throw permanent(new Error('declined'))
        return calls
      }
      const first = await Promise.allSettled([ctx.once('k', f), ctx.once('k', f), ctx.once('k', f)])
      return [first.map((each) => each.status === 'rejected' ? (each.reason as { code: string }).code : each.value), await ctx.once('k', f)]
    })
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual([['effect_failed', 'effect_failed', 'effect_failed'], { value: 2, replayed: false }])
  })

  test('B-026, B-029: what nobody knows blocks the run until a person decides, and then all who wait get it; never done by itself', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const f = (): never => {
        calls++
        throw ambiguous(new Error('gone'))
      }
      return (await Promise.all([ctx.once('k', f), ctx.once('k', f)])).map(({ value }) => value)
    })
    const process = open(w)
    expect(await process.run(w)).toMatchObject({ kind: 'blocked', blocked: { code: 'ambiguous_effect', details: { effects: [{ key: 'ctx.once[k]' }] } } })
    await process.runs.control(ID, { kind: 'resolve', seq: 2, decision: 'happened', value: 'paid' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual(['paid', 'paid'])
    expect(calls).toBe(1)
  })

  for (const [what, policy, decisions] of [
    ['a person is asked again, about the same intent', {}, 2], ['under fail it rejects again', { onAmbiguous: 'fail' }, 0],
  ] as const) {
    test(`B-029: after the decision that it failed it stays unknown, and is never free: whoever asks for the key again: ${what}`, async () => {
      let calls = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        const f = (): never => {
          calls++
          throw ambiguous(new Error('gone'))
        }
        const first = await ctx.once('k', f, policy).catch((error: { code: string }) => error.code)
        const second = await ctx.once('k', f, policy).catch((error: { code: string }) => error.code)
        return [first, second, await ctx.hasEffect('k')]
      })
      const process = open(w)
      await process.run(w)
      if (decisions > 0) {
        await process.runs.control(ID, { kind: 'resolve', seq: 2, decision: 'fail' })
        expect(await process.runs.settle(ID)).toMatchObject({ kind: 'blocked', blocked: { details: { effects: [{ seq: 2, key: 'ctx.once[k]#1' }] } } })
        await process.runs.control(ID, { kind: 'resolve', seq: 2, decision: 'happened', value: 'paid' }, 'ada')
        await process.runs.settle(ID)
        expect(await process.runs.control(ID, { kind: 'resolve', seq: 2, decision: 'happened', value: 'paid' })).toMatchObject({ outcome: 'already_requested' })
      }
      expect(process.world.record().status).toBe('completed')
      expect((await process.runs.summary(ID)).output).toEqual(decisions > 0
        ? ['effect_ambiguous', { value: 'paid', replayed: false }, true] : ['effect_ambiguous', 'effect_ambiguous', false])
      expect(calls).toBe(1)
      expect(await ledgerOf(process.world.shelf.open(ID))).toMatchObject([decisions > 0
        ? { status: 'done', decision: { word: 'happened', by: 'person', principal: 'ada' } } : { status: 'ambiguous', decision: { word: 'fail', by: 'policy' } }])
    })
  }

  test('G15, G13: what a person said has happened is in the ledger with its value: a later generation, once and hasEffect find it', async () => {
    let calls = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const gone = (): never => {
        calls++
        throw ambiguous(new Error('gone'))
      }
      const paid = await ctx.effect('e', gone, { kind: 'money', input: 1, onAmbiguous: 'ask' })
      return [paid, await ctx.once('k', gone), await ctx.hasEffect('k')]
    })
    const process = open(w)
    await process.run(w)
    for (const value of ['paid', 'sent']) {
      const { blocked } = process.world.record()
      const [{ seq }] = (blocked?.details as { effects: [{ seq: number }] }).effects
      await process.runs.control(ID, { kind: 'resolve', seq, decision: 'happened', value }, 'ada')
      await process.runs.settle(ID)
    }
    const rows = await ledgerOf(process.world.shelf.open(ID))
    expect(rows.map(({ status, decision }) => [status, decision])).toEqual([1, 2].map(() => ['done', { word: 'happened', by: 'person', principal: 'ada' }]))
    await process.runs.control(ID, { kind: 'restart' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual(['paid', { value: 'sent', replayed: true }, true])
    expect(calls).toBe(2)
    expect(process.world.record().generation).toBe(2)
  })

  test('B-021: a crash at every commit, with joined calls: one execution for each intent, and the same answers on every replay', async () => {
    for (let at = 1; at <= 8; at++) {
      for (const when of ['before', 'after'] as const) {
        const keys: string[] = []
        const w = workflow({ name: 'w', input: anything }, async (ctx) => {
          const f = ({ idempotencyKey }: { idempotencyKey: string }): string => {
            keys.push(idempotencyKey)
            return 'sent'
          }
          const both = await ctx.all({ a: (c) => c.once('k', f, { onAmbiguous: 'rerun' }), b: (c) => c.once('k', f, { onAmbiguous: 'rerun' }) })
          await ctx.sleep('1 hour')
          return [both.a.value, both.b.value, (await ctx.once('k', f)).value, both.a.replayed !== both.b.replayed]
        })
        const world = new World()
        let commits = -1
        const first = world.boot(w, { faults: { fault: ({ method }) => method === 'commit' && ++commits === at ? { do: 'crash', when } : undefined } })
        await first.runs.start(w, 0, { id: ID })
        const drive = await first.begin()
        if (!drive.isOver()) await first.crash()
        const second = world.boot(w)
        expect(await second.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
        expect((await second.runs.summary(ID)).output).toEqual(['sent', 'sent', 'sent', true])
        expect(keys.length).toBeLessThanOrEqual(2)
        expect(new Set(keys).size).toBe(1)
      }
    }
  })

  test('B-035, Z-006: in the next generation, in another scope, it is found; after it was undone it is free, under another key', async () => {
    const keys: string[] = []
    const undone: unknown[] = []
    let isBad = true
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const f = ({ idempotencyKey }: { idempotencyKey: string }) => keys.push(idempotencyKey)
      const options = { undo: (outcome: unknown) => { undone.push(outcome) } }
      const found = ctx.info.generation === 1 ? await ctx.once('k', f, options) : await ctx.scope('s', (c) => c.once('k', f, options))
      await ctx.once('k', f, options)
      if (isBad && ctx.info.generation === 2) throw new Error('no')
      return found
    })
    const process = open(w)
    await process.run(w)
    await process.runs.control(ID, { kind: 'restart' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'failed' })
    expect(keys.length).toBe(1)
    // Asked for twice and done once: undone once.
    expect(undone).toEqual([1])
    isBad = false
    await process.runs.control(ID, { kind: 'restart' })
    expect(await process.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual({ value: 2, replayed: false })
    expect(new Set(keys).size).toBe(2)
  })

  test('G21: a cleanup that joins a call which the cancel has aborted gets what became of it, or does it itself', async () => {
    for (const paid of [true, false]) {
      const bank = gate<string>()
      let calls = 0
      let got: unknown
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        const f = (): unknown => ++calls === 1 ? bank.promise : 'second'
        try {
          await ctx.once('k', f)
        } finally {
          got = await ctx.cleanup((c) => c.once('k', f))
        }
      })
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      const drive = await process.begin()
      await process.runs.cancel(ID)
      await process.idle()
      if (paid) bank.open('first')
      else bank.fail(permanent(new Error('declined')))
      await process.idle(20)
      await process.pass(3_600_000)
      expect(await drive.end).toEqual({ kind: 'ended', status: 'cancelled' })
      expect(got).toEqual(paid ? { value: 'first', replayed: true } : { value: 'second', replayed: false })
    }
  })
})

describe('ctx.once in a cleanup', () => {
  test('G21: a cancel ends the wait for the next attempt; a cleanup that asks for the same key acts by itself', async () => {
    let calls = 0
    let got: unknown
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const f = (): number => {
        if (++calls === 1) throw new Error('down')
        return calls
      }
      // Waited for in memory: the run is not parked.
      const retry = { delay: '1 second', jitter: 0 } as const
      try {
        await ctx.once('k', f, { retry })
      } finally {
        got = await ctx.cleanup((c) => c.once('k', f, { retry }))
      }
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    const drive = await process.begin()
    await process.runs.cancel(ID)
    await process.idle(20)
    expect(await drive.end).toEqual({ kind: 'ended', status: 'cancelled' })
    expect(got).toEqual({ value: 2, replayed: false })
  })
})

describe('ctx.hasEffect and ctx.recordEffect', () => {
  test('B-031: after 300 effects the first is still there; what was undone, failed or never asked for is not', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const before = await ctx.hasEffect('k0')
      for (let i = 0; i < 300; i++) await ctx.once(`k${i}`, () => i)
      await ctx.once('bad', () => { throw permanent(new Error('no')) }).catch(() => {})
      return [before, await ctx.hasEffect(' k0 '), await ctx.hasEffect('k299'), await ctx.hasEffect('bad'), await ctx.hasEffect('other')]
    })
    const process = open(w)
    expect(await process.run(w)).toEqual({ kind: 'ended', status: 'completed' })
    expect((await process.runs.summary(ID)).output).toEqual([false, true, true, false, false])
  })

  test('B-031: the answer is an entry: a replay gives what it gave, whatever has happened since', async () => {
    const ran: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const early = await ctx.hasEffect('k')
      await ctx.once('k', () => 1)
      await ctx.sleep('1 day')
      await ctx.step('s', () => { ran.push(String(early)) })
      return [early, await ctx.hasEffect('k')]
    })
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const second = world.boot(w)
    await second.runs.settle(ID)
    expect((await second.runs.summary(ID)).output).toEqual([false, true])
    expect(ran).toEqual(['false'])
    expect(world.kinds().filter((kind) => kind.startsWith('effect_looked_up'))).toEqual(['effect_looked_up ctx.hasEffect[k]', 'effect_looked_up ctx.hasEffect[k]#1'])
  })

  test('B-030, B-034: the first record wins and is returned, also within one commit and in the next generation', async () => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const both = await Promise.all([ctx.recordEffect('k', 'sent', { to: 'ada' }), ctx.recordEffect(' k', 'failed', { to: 'bob' })])
      await ctx.sleep('1 hour')
      return [...both, await ctx.recordEffect('k', 'again'), await ctx.hasEffect('k')]
    })
    const process = open(w)
    await process.run(w)
    const record = { status: 'sent', details: { to: 'ada' }, at: process.world.entries()[1]?.at }
    expect((await process.runs.summary(ID)).output).toEqual([{ replayed: false, record }, { replayed: true, record }, { replayed: true, record }, true])
    await process.runs.control(ID, { kind: 'restart' })
    await process.runs.settle(ID)
    expect((await process.runs.summary(ID)).output).toEqual([{ replayed: true, record }, { replayed: true, record }, { replayed: true, record }, true])
    // Records are no effects that could be undone.
    expect(await ledgerOf(process.world.shelf.open(ID))).toEqual([])
  })

  test('B-032: of 1 MiB of details a digest is given, and all of it is in the journal', async () => {
    const details = { text: 'x'.repeat(1024 * 1024) }
    const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.recordEffect('k', 'sent', details))
    const process = open(w)
    await process.run(w)
    const bytes = encode(details)
    const marker = { truncated: true, bytes: bytes.length, blake3: hex(blake3(bytes)), type: 'object', size: 1 }
    expect((await process.runs.summary(ID)).output).toMatchObject({ replayed: false, record: { details: marker } })
    const entry = process.world.entries()[1]
    if (entry === undefined) throw new Error('no entry')
    expect(entry.kind).toBe('effect_noted')
    expect(await fromPayload(process.world.shelf.open(ID), entry)).toMatchObject({ details })
    const [row] = process.world.shelf.open(ID).rows('effect', { limit: 10 })
    expect(row?.value.length).toBeLessThan(1000)
    expect(decode(row?.value as Uint8Array)).toMatchObject({ status: 'sent', details: marker, seq: 2 })
  })

  test('B-020, B-033: blank keys and status, details that cannot be stored, and a call from inside a step are typed errors', async () => {
    for (const [code, call] of [
      ['invalid_argument', (ctx) => ctx.hasEffect(' ')],
      ['invalid_argument', (ctx) => ctx.recordEffect('', 'sent')],
      ['invalid_argument', (ctx) => ctx.recordEffect('k', '')],
      ['not_serializable', (ctx) => ctx.recordEffect('k', 'sent', () => 1)],
      ['foreign_await', (ctx) => ctx.step('s', async () => ctx.once('k', () => 1))],
    ] as readonly (readonly [string, (ctx: Ctx) => Promise<unknown>])[]) {
      const w = workflow({ name: 'w', input: anything }, async (ctx) => call(ctx as unknown as Ctx))
      const process = open(w)
      const end = await process.run(w)
      const error = end.kind === 'blocked' ? end.blocked : (await process.runs.summary(ID)).error
      expect(error).toMatchObject({ code })
      expect(process.world.kinds().filter((kind) => kind.startsWith('effect_'))).toEqual([])
    }
  })

  test('G9: hasEffect in place of once is another call', async () => {
    const flow = (asks: boolean) => workflow({ name: 'w', input: anything }, async (ctx) => {
      if (asks) await ctx.hasEffect('k')
      else await ctx.recordEffect('k', 'sent')
      await ctx.sleep('1 day')
    })
    const world = new World()
    const first = world.boot(flow(true))
    await first.runs.start(flow(true), 0, { id: ID })
    await first.runs.drive(ID)
    await first.crash()
    const second = world.boot(flow(false))
    second.host.advance(48 * 3_600_000)
    expect(await second.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'divergence' } })
  })
})
