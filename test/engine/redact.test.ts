// B-073: what a step or a workflow throws is masked before anything of it is stored, and the live run sees what replay will.

import { describe, expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import { maskSecrets, permanent, workflow } from '../../src/index.ts'
import type { Table } from '../../src/store/store.ts'
import type { TestRunsOptions } from '../../src/testing/test-runs.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { z } from 'zod'
import { anything, ID, quiesce } from './support.ts'

const SECRET = 'hunter2hunter2'
const BEARER = `Bearer ${SECRET}`
const tables: readonly Table[] = ['inbox', 'outbox', 'chunk', 'manifest', 'memo', 'state']

/** An error with the secret in every place that is stored. */
function leaky(): Error {
  return Object.assign(new Error(`401 for ${BEARER}`, { cause: new Error(`at https://ada:${SECRET}@db.example`) }), {
    details: { headers: { authorization: BEARER, list: [BEARER] }, password: SECRET, url: `/?token=${SECRET}` }, code: BEARER,
  })
}

/** Runs it, and answers everything that the store then holds, as text. */
async function stored(fn: (ctx: Ctx) => unknown, options: Partial<TestRunsOptions> & { readonly output?: z.ZodType } = {}) {
  const { output, ...more } = options
  const w = workflow({ name: 'w', input: anything, output: output ?? anything }, async (ctx) => fn(ctx as unknown as Ctx))
  const shelf = createMemoryShelf()
  const host = new TestHost({ quiesce })
  const runs = new TestRuns({ host, workflows: [w], open: (id) => shelf.open(id), ...more })
  await runs.start(w, 0, { id: ID })
  const end = await runs.settle(ID)
  const store = shelf.open(ID)
  const bytes = [
    store.read()?.record, ...store.entries(0, 100).map((entry) => entry.bytes), ...tables.flatMap((table) => store.rows(table, { limit: 100 }).map(({ value }) => value)),
  ]
  const text = bytes.map((each) => new TextDecoder('latin1').decode(each)).join('\n')
  return { end, text, logs: JSON.stringify(host.logs), summary: await runs.summary(ID), kinds: store.entries(0, 100).length }
}

describe('redact', () => {
  test.each<readonly [what: string, thrown: () => unknown]>([
    ['an Error', leaky],
    ['a permanent one', () => permanent(leaky())],
    ['a string', () => `no: ${BEARER}`],
    ['an object', () => ({ authorization: BEARER, message: `password=${SECRET}` })],
    ['an AggregateError', () => new AggregateError([leaky(), leaky()], BEARER)],
    ['what offers its own data', () => ({ name: 'E', message: 'm', toStructuredError: () => ({ message: BEARER, details: { token: SECRET } }) })],
  ])('B-073: of %s that a step throws at every attempt nothing secret is stored or seen', async (_, thrown) => {
    let seen: unknown
    const { text, summary, end } = await stored(async (ctx) => {
      const error: unknown = await ctx.step('s', () => { throw thrown() }, { retry: { limit: 2, delay: 1 } }).catch((each: unknown) => each)
      seen = error
      throw error
    })
    expect(end).toEqual({ kind: 'ended', status: 'failed' })
    expect(text).toContain('[redacted]')
    expect(text).not.toContain('hunter2')
    expect(JSON.stringify([String(seen), (seen as { details?: unknown }).details, String((seen as Error).cause)])).not.toContain('hunter2')
    expect(String(summary.error)).not.toContain('hunter2')
    expect(summary.error).toMatchObject({ code: 'step_failed' })
  })

  test('B-073: nor of what the workflow function throws, of a bug of it, of its output', async () => {
    const failed = await stored(() => { throw leaky() })
    expect(failed.end).toEqual({ kind: 'ended', status: 'failed' })
    expect(failed.summary.error).toMatchObject({ message: '401 for Bearer [redacted]', details: { password: '[redacted]' } })
    const text = await stored(() => { throw BEARER })
    const bug = await stored(() => { throw new TypeError(`no such header: Authorization: ${BEARER}`) })
    expect(bug.end).toMatchObject({ kind: 'blocked', blocked: { code: 'workflow_bug' } })
    expect(bug.logs).not.toContain('hunter2')
    const output = await stored(() => ({ n: 5 }), { output: z.object({ n: z.string({ error: () => `sent ${BEARER}` }) }) })
    expect(output.summary.error).toMatchObject({ code: 'output_invalid' })
    for (const each of [failed, text, bug, output]) {
      expect(each.text).toContain('[redacted]')
      expect(each.text).not.toContain('hunter2')
    }
  })

  test('B-073: what is thrown is capped at 8 KiB, whatever it is', async () => {
    for (const thrown of ['x'.repeat(5_000_000), new Error('x'.repeat(5_000_000))]) {
      const { end, text } = await stored((ctx) => ctx.step('s', () => { throw thrown }, { retry: { limit: 1, delay: 1 } }))
      expect(end).toEqual({ kind: 'ended', status: 'failed' })
      expect(text.length).toBeLessThan(80_000)
    }
  })

  test('B-073: a redaction of one\'s own takes the place of the default; one that throws leaves nothing', async () => {
    const keys = new Set<string>()
    const own = await stored((ctx) => ctx.step('s', () => { throw new Error('card 4242 4242') }, { retry: { limit: 1, delay: 1 } }), {
      redact: (text, key) => {
        keys.add(key)
        return maskSecrets(text.replaceAll('4242', '****'), key)
      },
    })
    expect(own.text).toContain('card **** ****')
    expect(own.text).not.toContain('4242')
    expect([...keys]).toContain('message')
    const off = await stored((ctx) => ctx.step('s', () => { throw leaky() }, { retry: { limit: 0 } }), { redact: (text) => text })
    expect(off.text).toContain('hunter2')
    const broken = await stored((ctx) => ctx.step('s', () => { throw leaky() }, { retry: { limit: 1, delay: 1 } }), {
      redact: () => { throw new Error(BEARER) },
    })
    expect(broken.end).toEqual({ kind: 'ended', status: 'failed' })
    expect(broken.text).toContain('[redaction failed]')
    expect(broken.text).not.toContain('hunter2')
  })

  test('B-073: how an attempt is tried again is decided by what was thrown, not by what is stored', async () => {
    let attempts = 0
    await stored((ctx) => ctx.step('s', () => {
      attempts++
      throw Object.assign(new Error('m'), { toStructuredError: () => ({ message: BEARER, retryable: false }) })
    }))
    expect(attempts).toBe(1)
  })

  test('what a step gives is its value and stays as it is', async () => {
    const { text, summary } = await stored((ctx) => ctx.step('s', () => ({ note: BEARER, error: new Error(BEARER) })))
    expect(text).toContain(SECRET)
    expect((summary.output as { error: Error }).error.message).toBe(BEARER)
  })
})
