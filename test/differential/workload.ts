// One seeded workload for every store and host: steps, retries, effects, sleeps, branches, state, undo, failures and values of every kind.
// Nothing in it knows where it runs.

import { BlobRef } from '../../src/blob-ref.ts'
import type { Ctx } from '../../src/context.ts'
import { type AnyWorkflow, workflow } from '../../src/define.ts'
import { ambiguous } from '../../src/errors.ts'
import type { Schema } from '../../src/schema.ts'
import { type Draw, draw } from '../fuzz/draw.ts'
import { randomValue } from '../fuzz/values.ts'

type Part = (ctx: Ctx) => Promise<unknown>

const anything: Schema<unknown> = { '~standard': { version: 1, vendor: 'differential', validate: (value: unknown) => ({ value }) } }

interface Lent {
  /** Resolves when so much time of the host has passed. */
  wait(ms: number): Promise<void>
}

const wait = async (call: { services: object }, ms: number): Promise<void> => (call.services as Partial<Lent>).wait?.(ms)

/** On a real host time is real: no more than some milliseconds of it, and nothing runs beside anything, so that one order is the only one. */
type On = 'test host' | 'host'

function leaf(d: Draw, on: On): Part {
  const n = d(30)
  const isReal = on === 'host'
  const name = d.pick(['a', 'b', 'c'])
  switch (d(13)) {
    case 0: return async (ctx) => ctx.sleep(isReal ? 1 + n : 1 + n * 100)
    case 1: return async (ctx) => isReal ? (await ctx.uuid()).length : [await ctx.random(), await ctx.uuid(), await ctx.now()]
    case 2: {
      const value = randomValue(d, 3)
      return async (ctx) => ctx.step(name, () => value)
    }
    case 3: return async (ctx) => ctx.step(name, ({ attempt }) => {
      if (attempt <= n % 3) throw new Error('busy')
      return n
    }, { retry: { limit: 2, delay: isReal ? 1 : 1 + n * 50 } })
    case 4: return async (ctx) => ctx.step(name, () => { throw new TypeError('no') }, { retry: { limit: n % 2, delay: 5 } }).catch((error: Error) => error)
    case 5: {
      const policy = d.pick(['fail', 'rerun', 'skip'] as const)
      const key = String(d(1e6))
      return async (ctx) => ctx.effect(name, async (call) => {
        // Read at once, as whoever sends a request with it does.
        const { idempotencyKey } = call
        await wait(call, n * 7)
        if (call.attempt === 1 && n % 3 === 0) throw ambiguous(new Error('lost'))
        if (call.attempt === 1 && n % 5 === 0) throw new Error('refused')
        return { n, key: isReal ? '' : idempotencyKey }
      }, {
        kind: 'money', input: { n, name }, key, retry: { limit: 2, delay: 20 }, undo: () => {},
        ...(policy === 'skip' ? { onAmbiguous: 'skip', fallback: { n: -1, key: '' } } : { onAmbiguous: policy }),
      }).catch((error: Error) => error.name)
    }
    case 6: return async (ctx) => ctx.once(`mail ${n % 4}`, async (call) => (await wait(call, 5), n), { onAmbiguous: 'fail' })
    // Not at once: which of two answers of a store comes first is the store's own affair, and decides a race as any answer does.
    case 7: return async (ctx) => ctx.step(name, async (call) => {
      await wait(call, n * 10 + 3)
      const { state, memo } = call
      const before = await state.get<number>('sum') ?? 0
      state.set('sum', before + await memo(n, () => n))
      return before
    })
    case 8: return async (ctx) => {
      const noted = [await ctx.hasEffect('mail 1'), await ctx.recordEffect(`seen ${n % 3}`, 'ok', { n })] as const
      return isReal ? [noted[0], noted[1].replayed] : noted
    }
    // Above the inline limit: a blob, whose reference is the entry's payload.
    case 9: return async (ctx) => ctx.step(name, () => 'blob '.repeat(14_000 + n))
    case 10: return async (ctx) => ctx.step(name, async (call) => {
      await wait(call, n * 1000)
      return n
    }, { timeout: 15_000, retry: { limit: 1, delay: 10 } }).catch((error: Error) => error.message)
    case 11: return async (ctx) => (await ctx.patched(`patch ${n % 2}`)) ? ctx.step('patched', () => new BlobRef('a'.repeat(64), n, 49152)) : n
    default: return async (ctx) => ctx.step(name, async (call) => {
      await wait(call, n * 10)
      return n
    }, { undo: async (_, call) => wait(call, 3) })
  }
}

function program(d: Draw, left: number, on: On): Part {
  if (left <= 1) return leaf(d, on)
  const parts = Array.from({ length: 2 + d(2) }, () => program(d, Math.floor(left / 2), on))
  const branches = Object.fromEntries(parts.map((part, i) => [`b${i}`, part]))
  switch (on === 'host' ? 6 + d(3) : d(8)) {
    case 0: return async (ctx) => ctx.all(branches)
    case 1: return async (ctx) => ctx.race(branches)
    case 2: return async (ctx) => ctx.any(branches).catch((error: Error) => error.name)
    case 3: return async (ctx) => Object.keys(await ctx.settled(branches))
    case 4: return async (ctx) => ctx.map('m', parts, { concurrency: 2 }, (c, part) => part(c as unknown as Ctx))
    case 5: return async (ctx) => Promise.all(parts.map((part, i) => ctx.scope(`s${i}`, (c) => part(c as unknown as Ctx))))
    case 8: return async (ctx) => ctx.map('m', parts, { concurrency: 1 }, (c, part) => part(c as unknown as Ctx))
    default: return async (ctx) => {
      const values: unknown[] = []
      for (const part of parts) values.push(await part(ctx))
      return values
    }
  }
}

/** The workload of a seed; the same wherever it is made. One in six fails at its end, so that its undos run. */
export function workload(seed: number): { readonly definition: AnyWorkflow; readonly input: unknown } {
  const d = draw(seed)
  const body = program(d, 3 + d(10), 'test host')
  const fails = d.oneIn(6)
  const input = randomValue(d, 3)
  const definition = workflow({ name: 'differential', input: anything }, async (ctx) => {
    const value = await body(ctx as unknown as Ctx)
    if (fails) return ctx.fail('as it was told to')
    return value
  }) as unknown as AnyWorkflow
  return { definition, input }
}

/** The workload for real hosts: its input is the seed. Services are none: whoever waits is done at once. */
export const hostWorkload: AnyWorkflow = workflow({ name: 'host-workload', input: anything }, async (ctx, seed) => {
  const d = draw(seed as number)
  const value = await program(d, 3 + d(10), 'host')(ctx as unknown as Ctx)
  if (d.oneIn(6)) return ctx.fail('as it was told to')
  return value
}) as unknown as AnyWorkflow
