// G28: whatever is given to a public function of `stepwell`, `stepwell/client` and `stepwell/testing`, it is either taken or refused by a
// typed error. The routes have their own table (test/worker/routes.test.ts), and so have steps and starts (test/engine/).

import { expect, test } from 'vitest'
import { z } from 'zod'
import { remote } from '../src/client/remote.ts'
import { registry } from '../src/define.ts'
import { blake3, BlobRef, createHasher, hex, isBlobRef, isStepwellError, retryAfter, workflow } from '../src/index.ts'
import { checkReplay } from '../src/testing/index.ts'

const junk: readonly unknown[] = [undefined, null, true, 0, -1, Number.NaN, '', 'x y', {}, [], [null], () => {}, Symbol('s'), 5n, new Date(Number.NaN)]
const input = z.any()
type Any = (...args: readonly any[]) => unknown

/** How often a function refused, and whatever it threw that is no typed error. */
async function give(call: Any, lists: readonly (readonly unknown[])[]): Promise<{ refused: number; wrong: readonly string[] }> {
  let refused = 0
  const wrong: string[] = []
  for (const args of lists) {
    try {
      await call(...args)
    } catch (error) {
      if (isStepwellError(error) && error.kind !== 'integrity') refused++
      else wrong.push(`${args.map((each) => typeof each === 'object' ? Object.prototype.toString.call(each) : String(each)).join(', ')}: ${String(error)}`)
    }
  }
  return { refused, wrong }
}
const each = junk.map((one) => [one])

const w = workflow({ name: 'w', input }, () => 1)
const host = remote<readonly [typeof w]>({
  url: 'http://localhost',
  fetch: async () => ({ status: 200, body: null, text: async () => JSON.stringify({ status: 'completed', output: 1, items: [], id: 'x', created: true }) }),
})
const client = host as unknown as Record<'start' | 'get', Any>
const run = host.get(w, 'id') as unknown as Record<string, Any>
const optional = { version: 11, replays: 12, output: 14, signals: 10, timeout: 11, grace: 11, onDivergence: 14, retention: 9 }

const table: readonly (readonly [string, Any, readonly (readonly unknown[])[], number])[] = [
  ['workflow', workflow as Any, [...each, ...junk.map((one) => [{ name: 'w', input }, one])], 28],
  ['workflow: name', workflow as Any, junk.map((name) => [{ name, input }, () => 1]), 15],
  ['workflow: input', workflow as Any, junk.map((one) => [{ name: 'w', input: one }, () => 1]), 15],
  ...Object.entries(optional).map(([option, least]) => [`workflow: ${option}`, workflow as Any, junk.slice(1).map((one) => [{ name: 'w', input, [option]: one }, () => 1]), least] as const),
  ['registry', registry as Any, [...each, ...junk.map((one) => [[w, one]])], 28],
  ['blake3', blake3 as Any, each, 14], ['update of a hasher', (data) => createHasher().update(data as never), each, 14], ['hex', hex as Any, each, 15],
  ['retryAfter', retryAfter as Any, junk.map((one) => [new Error('x'), one]), 12], ['isBlobRef', isBlobRef as Any, each, 0],
  ['BlobRef', (...args) => new BlobRef(...args as [never, never, never]), junk.map((one) => [one, 1, 1]), 15],
  ['remote', remote as Any, [...each, ...junk.map((url) => [{ url }])], 27],
  ['start of a client', client.start, [...junk.map((one) => [one, 1]), ...junk.slice(1).map((one) => ['w', 1, one])], 20],
  ['get of a client', client.get, [...junk.map((one) => [one, 'id']), ...junk.map((one) => ['w', one]), ...junk.slice(1).map((one) => ['w', 'id', one])], 30],
  ...['result', 'cancel', 'restart', 'retry', 'journal', 'effects'].map((name) => [`${name} of a run`, (options: unknown) => run[name]?.(options), each, 8] as const),
  ['resolve of a run', (seq, how) => run['resolve']?.(seq, how), [...junk.map((one) => [one, { decision: 'fail' }]), ...junk.slice(1).map((one) => [1, one])], 8],
]

test.each(table)('G28: junk given to %s is taken, or refused by a typed error', async (_, call, lists, least) => {
  const { refused, wrong } = await give(call, lists)
  expect(wrong).toEqual([])
  expect(refused).toBeGreaterThanOrEqual(least)
})

test('G28: checkReplay answers with a typed error, whatever it is given', async () => {
  for (const [lines, definition] of [...junk.map((one) => [one, w]), ...junk.map((one) => [[one], w]), ...junk.map((one) => [[], one])]) {
    const checked = await checkReplay(lines as never, definition as never)
    expect(checked).toMatchObject({ ok: false })
    expect(isStepwellError((checked as { readonly error: unknown }).error)).toBe(true)
  }
})
