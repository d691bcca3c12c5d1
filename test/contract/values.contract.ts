// G26 on any store: what the live function saw is what it sees on replay, for every type of the codec and for rejections.

import { z } from 'zod'
import { BlobRef } from '../../src/blob-ref.ts'
import { encode } from '../../src/codec.ts'
import { workflow } from '../../src/define.ts'
import { StepwellError } from '../../src/errors.ts'
import type { RunStore } from '../../src/store/store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'

const values: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  booleans: () => [true, false],
  numbers: () => [0, -0, NaN, Infinity, -Infinity, 1.5, Number.MAX_SAFE_INTEGER, 5e-324],
  bigint: () => [0n, -1n, 2n ** 200n],
  strings: () => ['', 'plain', 'ä€😀', '\ud800 alone', 'a\u0000b'],
  date: () => [new Date(0), new Date(NaN), new Date(8.64e15)],
  map: () => new Map<unknown, unknown>([['a', 1], [{ b: 2 }, new Map([[1, 2]])], [NaN, -0]]),
  set: () => new Set<unknown>([1, 'a', new Set([undefined])]),
  bytes: () => Uint8Array.from({ length: 300 }, (_, i) => i & 255),
  'typed arrays': () => [new Int16Array([1, -2]), new Float64Array([NaN, -0, 1.5]), new BigInt64Array([-1n]), new Uint8ClampedArray([300])],
  'array buffer and view': () => [Uint8Array.from([1, 2, 3]).buffer, new DataView(Uint8Array.from([4, 5]).buffer)],
  object: () => ({ a: { b: [{ c: undefined }] }, 'x.y': 1, x: { y: 2 } }),
  'like our markers': () => ({ $: ['date', 1], nested: { $: 'x' }, $$: { $: [] } }),
  errors: () => [Object.assign(new TypeError('t', { cause: new RangeError('r') }), { code: 'E', exitClass: 'rateLimited', retryAfterMs: 5 }), new AggregateError([new Error('one')], 'all'), new StepwellError('failed', 'f', { details: { n: 1 } })],
  'a blob reference': () => new BlobRef('ab'.repeat(32), 10, 4),
  'large, kept as a blob': () => ({ text: 'x'.repeat(300_000), at: new Date(1) }),
}

/** Throws what differs; answers how many values were compared. */
export async function checkValues(quiesce: () => Promise<void>, open: (id: string) => RunStore | Promise<RunStore>): Promise<number> {
  const passes: Map<string, { bytes: Uint8Array; shape: string }>[] = []
  const host = new TestHost({ quiesce })
  const given = new Map<string, unknown>()
  const all = workflow({ name: 'values', input: z.any() }, async (ctx) => {
    const seen = new Map<string, { bytes: Uint8Array; shape: string }>()
    passes.push(seen)
    for (const [name, make] of Object.entries(values)) {
      const value = await ctx.step(name, () => {
        const made = make()
        given.set(name, made)
        return made
      })
      if (typeof value === 'object' && value !== null && value === given.get(name)) throw new Error(`${name}: the live function got the original, not its copy`)
      seen.set(name, { bytes: encode(value), shape: shape(value) })
    }
    const thrown: unknown = await ctx.step('throws', () => { throw Object.assign(new TypeError('bad', { cause: new Error('why') }), { code: 'E_BAD' }) }, { retry: { limit: 0 } }).catch((error: unknown) => error)
    seen.set('a rejection', { bytes: encode(thrown), shape: `${shape(thrown)} ${shape((thrown as Error).cause)} ${String((thrown as Error).message)}` })
    await ctx.sleep('1 hour')
    return seen.size
  })
  const store = await open('values')
  const runs = new TestRuns({ host, open: () => store, workflows: [all], storeUsesRealTime: true })
  await runs.start(all, null, { id: 'values' })
  const end = await runs.settle('values')
  if (end.kind !== 'ended' || end.status !== 'completed') throw new Error(`the run is ${JSON.stringify(end)}: ${String((await runs.summary('values')).error)}`)
  // Parked before the sleep: the second pass replayed everything.
  const [live, replayed] = passes
  if (live === undefined || replayed === undefined || passes.length !== 2) throw new Error(`${passes.length} passes instead of 2`)
  for (const [name, before] of live) {
    const after = replayed.get(name)
    if (after === undefined || after.shape !== before.shape || !equal(after.bytes, before.bytes)) throw new Error(`${name}: live ${before.shape}, replayed ${after?.shape}`)
  }
  for (const [name, make] of Object.entries(values)) {
    if (!equal(encode(make()), live.get(name)?.bytes ?? new Uint8Array(0))) throw new Error(`${name} changed on its way`)
  }
  return live.size
}

/** What the bytes alone would not tell: the class of everything in it. */
function shape(value: unknown): string {
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : `${typeof value} ${String(value).slice(0, 40)}`
  const name = (Object.getPrototypeOf(value) as { constructor?: { name: string } } | null)?.constructor?.name ?? 'null'
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `${name}(${value.byteLength})`
  const inner: unknown[] = value instanceof Map ? [...value].flat() : value instanceof Set ? [...value] : Object.values(value)
  return `${name}{${inner.map(shape).join(',').slice(0, 500)}}`
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
