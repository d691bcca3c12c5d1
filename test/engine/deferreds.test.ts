// Deferreds (G20): a value that somebody outside settles with a token; Z-038, Z-064, Z-106, B-123.

import { expect, test } from 'vitest'
import { z } from 'zod'
import { workflow } from '../../src/index.ts'
import type { Call, Deferred } from '../../src/context.ts'
import { encode } from '../../src/codec.ts'
import { openValue, sealValue } from '../../src/engine/kept.ts'
import { exportRun } from '../../src/journal/export.ts'
import type { SideRow } from '../../src/store/store.ts'
import { exploreCrashes } from '../../src/testing/crash-explorer.ts'
import { settleDeferred } from '../../src/engine/deferred.ts'
import { limits } from '../../src/limits.ts'
import { registry } from '../../src/define.ts'
import { hashParts, hex } from '../../src/hash.ts'
import { anything, errorOf, gate, ID, open, World } from './support.ts'

const deferreds = { approval: z.object({ by: z.string().transform((name) => name.toUpperCase()) }), other: anything }
const waiting = { kind: 'parked', wakeAt: null }
const completed = { kind: 'ended', status: 'completed' }

/** Its mails hold the tokens. */
function approving(mails: string[], timeout?: '2 days') {
  return workflow({ name: 'w', input: anything, deferreds }, async (ctx) => {
    const approval = ctx.deferred('approval')
    await ctx.step('mail', async ({ token }) => { mails.push(await token(approval)) })
    try {
      return await (timeout === undefined ? approval.value() : approval.value({ timeout })) ?? 'nobody'
    } catch (error) {
      const { code, message, details } = error as { code: string; message: string; details: unknown }
      return { code, message, details }
    }
  })
}

test('G20: whoever has the token settles it, while nobody drives the run too; the value is what the schema gave, and the journal says who it was', async () => {
  const mails: string[] = []
  const w = approving(mails)
  const world = new World()
  const first = world.boot(w)
  await first.runs.start(w, 0, { id: ID })
  expect(await first.runs.settle(ID)).toEqual(waiting)
  expect((await first.runs.summary(ID)).waitingFor).toEqual([{ kind: 'deferred', key: 'deferred:approval' }])
  const [token] = mails as [string]
  expect(token).toMatch(/^[0-9a-f]{64}$/)
  await first.crash()
  const outside = world.boot(w)
  expect(await errorOf(() => outside.runs.settleDeferred(ID, 'approval', token, { value: { by: 5 } }))).toMatchObject({ code: 'input_invalid' })
  expect(await outside.runs.settleDeferred(ID, 'approval', token, { value: { by: 'ada' } }, 'eve')).toEqual({ seq: 1, duplicate: false })
  expect(await outside.runs.settleDeferred(ID, 'approval', token, { value: { by: 'ada' } })).toEqual({ seq: 1, duplicate: true })
  await outside.crash()
  const second = world.boot(w)
  expect(await second.runs.settle(ID)).toEqual(completed)
  expect((await second.runs.summary(ID)).output).toEqual({ by: 'ADA' })
  expect(world.kinds()).toEqual(['run_started', 'step_completed mail', 'signal_received deferred:approval', 'run_completed'])
  // The same is known for ever, another is refused, and a wrong token still learns nothing.
  expect(await second.runs.settleDeferred(ID, 'approval', token, { value: { by: 'ada' } })).toEqual({ seq: 1, duplicate: true })
  expect(await errorOf(() => second.runs.settleDeferred(ID, 'approval', token, { value: { by: 'eve' } }))).toMatchObject({ code: 'already_resolved' })
  expect(await errorOf(() => second.runs.settleDeferred(ID, 'approval', 'no', { value: { by: 'ada' } }))).toMatchObject({ code: 'invalid_token' })
})

test('G20, Z-038, Z-064, Z-106: a wrong token, one of another deferred and one of another run are refused alike, and change nothing', async () => {
  const tokens: string[] = []
  const w = workflow({ name: 'w', input: anything, deferreds }, async (ctx) => {
    const [approval, other] = [ctx.deferred('approval'), ctx.deferred('other')]
    await ctx.step('mail', async ({ token }) => { tokens.push(await token(approval), await token(other)) })
    return ctx.all({ a: () => approval.value(), o: () => other.value() })
  })
  const process = open(w)
  await process.runs.start(w, 0, { id: ID })
  await process.runs.start(w, 0, { id: 'another' })
  await process.runs.settle(ID)
  await process.runs.settle('another')
  const [approval, other, ofAnother] = tokens as [string, string, string, string]
  expect(new Set(tokens).size).toBe(4)
  const wrong = [
    ['approval', other], ['other', approval], ['approval', ofAnother], ['approval', approval.slice(1)], ['approval', ''], ['approval', approval.toUpperCase()], ['nobody', approval],
    ['deferred:approval', approval], ['approval#1', approval], ['approval', hex(hashParts('stepwell.token', ID, 'approval', approval))],
  ] as const
  const answers = new Set<string>()
  for (const [id, token] of wrong) {
    const error = await errorOf(() => process.runs.settleDeferred(ID, id, token, { value: { by: 'eve' } }))
    answers.add(JSON.stringify({ ...error, code: error.code, message: error.message.replace(JSON.stringify(id), 'it') }))
  }
  expect([...answers]).toEqual([expect.stringContaining('invalid_token')])
  // Nor does its value tell anything: it is not looked at.
  expect(await errorOf(() => process.runs.settleDeferred(ID, 'approval', other, { value: { by: 5 } }))).toMatchObject({ code: 'invalid_token' })
  // Not even where what the other run keeps of its token was put beside it.
  const [store, of] = [ID, 'another'].map((id) => process.world.shelf.open(id))
  store!.commit({ expect: { kind: 'exists' }, rows: of!.rows('token', { limit: 9 }).map((row) => ({ table: 'token', ...row })) })
  expect(await errorOf(() => process.runs.settleDeferred(ID, 'approval', ofAnother, { value: { by: 'eve' } }))).toMatchObject({ code: 'invalid_token' })
  expect(process.world.row()).toMatchObject({ inbox: 0, wakeAt: null })
  expect(await errorOf(() => process.runs.settleDeferred('nobody', 'approval', approval, { value: 1 }))).toMatchObject({ code: 'run_not_found' })
  await process.runs.settleDeferred(ID, 'other', other, { value: 1 })
  await process.runs.settleDeferred(ID, 'approval', approval, { value: { by: 'ada' } })
  expect(await process.runs.settle(ID)).toEqual(completed)
  expect((await process.runs.summary(ID)).output).toEqual({ a: { by: 'ADA' }, o: 1 })
})

test('G20: the token is kept nowhere, and neither is half of it', async () => {
  const mails: string[] = []
  const w = approving(mails)
  const process = open(w)
  await process.runs.start(w, 0, { id: ID })
  await process.runs.settle(ID)
  await process.runs.settleDeferred(ID, 'approval', mails[0] as string, { value: { by: 'ada' } })
  await process.runs.settle(ID)
  const bytes = (mails[0] as string).match(/../g)!.map((pair) => Number.parseInt(pair, 16))
  const needles = [...[0, 32].map((at) => [...(mails[0] as string).slice(at, at + 32)].map((c) => c.charCodeAt(0))), bytes.slice(0, 16), bytes.slice(16)]
  let values = 0
  for await (const line of exportRun(process.world.shelf.open(ID))) {
    for (const [, base64] of line.matchAll(/"(?:entry|value)":"([^"]*)"/g)) {
      values++
      const stored = [...atob(base64 as string)].map((c) => c.charCodeAt(0)).join()
      for (const needle of needles) expect(stored.includes(needle.join())).toBe(false)
    }
    for (const half of [0, 32]) expect(line).not.toContain((mails[0] as string).slice(half, half + 32))
  }
  expect(values).toBeGreaterThan(5)
})

test('G20: all of the hash is compared, not only the half that its row is found by', async () => {
  const mails: string[] = []
  const w = approving(mails)
  const process = open(w)
  await process.runs.start(w, 0, { id: ID })
  await process.runs.settle(ID)
  const [token] = mails as [string]
  const store = process.world.shelf.open(ID)
  const [row] = store.rows('token', { limit: 9 }) as [SideRow]
  const kept = openValue(row.key, row.value) as { readonly hash: Uint8Array }
  expect(kept.hash).toHaveLength(32)
  const put = (hash: Uint8Array) => store.commit({ expect: { kind: 'exists' }, rows: [{ table: 'token', key: row.key, value: sealValue(row.key, encode({ ...kept, hash })) }] })
  for (let at = 0; at <= kept.hash.length; at++) {
    // One byte is another one, or the last is missing.
    put(at === kept.hash.length ? kept.hash.slice(0, -1) : kept.hash.map((byte, i) => i === at ? byte ^ 1 : byte))
    expect({ at, error: await errorOf(() => process.runs.settleDeferred(ID, 'approval', token, { value: { by: 'eve' } })) }).toMatchObject({ at, error: { code: 'invalid_token' } })
  }
  put(kept.hash)
  expect(await process.runs.settleDeferred(ID, 'approval', token, { value: { by: 'ada' } })).toEqual({ seq: 1, duplicate: false })
})

test('G20: a token is flushed before the step gets it, and what it settles before that is acknowledged', async () => {
  const mails: string[] = []
  const w = approving(mails)
  const seen: string[] = []
  const process = open(w, { faults: { committed: ({ rows = [], durability }) => {
    for (const { table, value } of rows) if (table === 'token' || table === 'signal') seen.push(`${table} ${value === null ? 'gone' : 'stored'} ${durability} ${mails.length}`)
  } } })
  await process.runs.start(w, 0, { id: ID })
  await process.runs.settle(ID)
  await process.runs.settleDeferred(ID, 'approval', mails[0] as string, { value: { by: 'ada' } })
  await process.runs.settle(ID)
  expect(seen).toEqual(['token stored strict 0', 'signal stored strict 1', 'signal gone strict 1'])
})

test('G20: an attempt that is repeated gets another token, and the earlier one stays good; the first that is used decides', async () => {
  for (const used of [0, 1]) {
    const mails: string[] = []
    const w = workflow({ name: 'w', input: anything, deferreds }, async (ctx) => {
      const other = ctx.deferred('other')
      await ctx.step('mail', async ({ token, attempt }) => {
        mails.push(await token(other))
        if (attempt === 1) throw new Error('the mail may have left all the same')
      }, { retry: { delay: 1 } })
      return other.value()
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    expect(await process.runs.settle(ID)).toEqual(waiting)
    expect(mails).toHaveLength(2)
    await process.runs.settleDeferred(ID, 'other', mails[used] as string, { value: used })
    expect(await errorOf(() => process.runs.settleDeferred(ID, 'other', mails[1 - used] as string, { value: 'late' }))).toMatchObject({ code: 'already_resolved' })
    expect(await process.runs.settleDeferred(ID, 'other', mails[1 - used] as string, { value: used })).toEqual({ seq: 1, duplicate: true })
    expect(await process.runs.settle(ID)).toEqual(completed)
    expect((await process.runs.summary(ID)).output).toBe(used)
  }
})

test('B-123: approved, rejected, or timed out, each after a restart in between; settled before anybody waits', async () => {
  for (const [settlement, output] of [
    [{ value: { by: 'ada' } }, { by: 'ADA' }],
    [{ error: 'too dear' }, { code: 'rejected', message: 'too dear', details: undefined }],
    [{ error: { message: 'too dear', details: { cents: 5 } } }, { code: 'rejected', message: 'too dear', details: { cents: 5 } }],
    [undefined, 'nobody'],
  ] as const) {
    const mails: string[] = []
    const w = approving(mails, '2 days')
    const world = new World()
    const first = world.boot(w)
    await first.runs.start(w, 0, { id: ID })
    await first.runs.drive(ID)
    if (settlement !== undefined) await first.runs.settleDeferred(ID, 'approval', mails[0] as string, settlement)
    await first.crash()
    const second = world.boot(w)
    expect(await second.runs.settle(ID)).toEqual(completed)
    expect((await second.runs.summary(ID)).output).toEqual(output)
  }
  const mails: string[] = []
  const early = workflow({ name: 'w', input: anything, deferreds }, async (ctx) => {
    const other = ctx.deferred('other')
    await ctx.step('mail', async ({ token }) => { mails.push(await token(other)) })
    await ctx.sleep('1 day')
    return [await other.value(), await other.value({ timeout: '1 day' })]
  })
  const process = open(early)
  await process.runs.start(early, 0, { id: ID })
  await process.runs.drive(ID)
  await process.runs.settleDeferred(ID, 'other', mails[0] as string, { value: 'early' })
  expect(await process.runs.settle(ID)).toEqual(completed)
  expect((await process.runs.summary(ID)).output).toEqual(['early', 'early'])
})

test('G20: in branches and loops each deferred has an id of its own', async () => {
  const tokens = new Map<string, string>()
  const ask = (call: Call<{}, 'any', unknown>, d: Deferred<unknown>) => call.token(d).then((token) => { tokens.set(d.id, token) })
  const w = workflow({ name: 'w', input: anything, deferreds }, async (ctx) => {
    const values: unknown[] = []
    for (let i = 0; i < 2; i++) {
      const d = ctx.deferred('other')
      await ctx.step('ask', (call) => ask(call as never, d))
      values.push(await d.value())
    }
    return [values, await ctx.all({ a: async (c) => {
      const d = c.deferred('other')
      await c.step('ask', (call) => ask(call as never, d))
      return d.value()
    } })]
  })
  const process = open(w)
  await process.runs.start(w, 0, { id: ID })
  for (const id of ['other', 'other#1', 'all/a/other']) {
    await process.runs.settle(ID)
    await process.runs.settleDeferred(ID, id, tokens.get(id) as string, { value: id })
  }
  expect(await process.runs.settle(ID)).toEqual(completed)
  expect((await process.runs.summary(ID)).output).toEqual([['other', 'other#1'], { a: 'all/a/other' }])
})

test('G20, G6: an attempt that is over, or whose driver was superseded, issues nothing', async () => {
  const hold = gate()
  const thrown: unknown[] = []
  const w = workflow({ name: 'w', input: anything, deferreds }, async (ctx) => {
    const other = ctx.deferred('other')
    await ctx.step('mail', async ({ token }) => {
      await hold.promise
      await token(other).catch((error: unknown) => { thrown.push(error) })
    }, { timeout: '1 minute', retry: { limit: 0 } })
  })
  const process = open(w)
  await process.runs.start(w, 0, { id: ID })
  await process.begin()
  await process.pass(60_000)
  hold.open()
  await process.idle()
  expect(thrown).toMatchObject([{ code: 'attempt_over' }])
  expect(process.world.shelf.open(ID).keys('token', { limit: 9 })).toEqual([])
})

test('G20: a value that looks like an error is not the same settlement', async () => {
  for (const first of ['value', 'error'] as const) {
    const tokens: string[] = []
    const w = workflow({ name: 'w', input: anything, deferreds }, async (ctx) => {
      const other = ctx.deferred('other')
      await ctx.step('mail', async ({ token }) => { tokens.push(await token(other)) })
      return other.value()
    })
    const process = open(w)
    await process.runs.start(w, 0, { id: ID })
    await process.runs.settle(ID)
    const same = { message: 'no', details: { why: 1 } }
    const settle = (how: 'value' | 'error') => process.runs.settleDeferred(ID, 'other', tokens[0] as string, how === 'value' ? { value: same } : { error: same })
    expect(await settle(first)).toEqual({ seq: 1, duplicate: false })
    expect(await settle(first)).toEqual({ seq: 1, duplicate: true })
    expect(await errorOf(() => settle(first === 'value' ? 'error' : 'value'))).toMatchObject({ code: 'already_resolved' })
  }
})

test('G28: what is no deferred and no settlement is refused', async () => {
  const mails: string[] = []
  const w = approving(mails)
  const process = open(w)
  await process.runs.start(w, 0, { id: ID })
  await process.runs.settle(ID)
  for (const settlement of [{ value: { by: 'x' }, error: 'y' }, { error: 5 }, { error: { message: 5 } }, { error: 'x'.repeat(1025) }, { error: { message: 'x', details: 5 } }, null, 5]) {
    expect(await errorOf(() => process.runs.settleDeferred(ID, 'approval', mails[0] as string, settlement as never))).toMatchObject({ code: 'invalid_argument' })
  }
  for (const [id, token] of [[5, mails[0]], ['approval', 5], [undefined, undefined]]) {
    expect(await errorOf(() => process.runs.settleDeferred(ID, id as string, token as string, { value: { by: 'x' } }))).toMatchObject({ code: 'invalid_argument' })
  }
  for (const bad of ['nobody', '', 'toString']) {
    const undeclared = workflow({ name: 'w', input: anything, deferreds }, (ctx) => ctx.deferred(bad as 'other').value())
    expect(await open(undeclared).run(undeclared)).toMatchObject({ kind: 'blocked', blocked: { code: 'invalid_argument' } })
  }
  const wrong = workflow({ name: 'w', input: anything, deferreds }, (ctx) => ctx.step('s', ({ token }) => token('other' as never), { retry: { limit: 0 } }))
  const refused = open(wrong)
  await refused.run(wrong)
  expect((await refused.runs.summary(ID)).error).toMatchObject({ cause: { code: 'invalid_argument' } })
})

test('G20, G5: over a crash at every commit, whoever has any of the tokens settles it once', async () => {
  const outside = { tokens: [] as string[] }
  const w = workflow({ name: 'w', input: anything, deferreds }, async (ctx) => {
    const other = ctx.deferred('other')
    await ctx.step('mail', async ({ token }) => { outside.tokens.push(await token(other)) })
    // Somebody outside gets the mail and answers it while the run waits.
    const settled = await ctx.step('answer', async ({ services, runId }) => (services as { answer: (runId: string) => Promise<number> }).answer(runId))
    return [settled, await other.value()]
  })
  const stores = new Map<string, Parameters<typeof settleDeferred>[0]['store']>()
  const counts = await exploreCrashes(w, 0, {
    open: (id) => {
      const store = new World().shelf.open(id)
      stores.set(id, store)
      outside.tokens.length = 0
      return store
    },
    services: (_, host) => ({
      answer: async (runId: string) => {
        const sender = { store: stores.get(runId)!, host, limits: limits(), principal: undefined }
        const { seq } = await settleDeferred(sender, registry([w]), 'other', outside.tokens[0] as string, { value: 'paid' })
        return seq
      },
    }),
    check: (_, { summary }) => { expect(summary.output).toEqual([1, 'paid']) },
  })
  expect(counts.crashes).toBeGreaterThan(20)
})
