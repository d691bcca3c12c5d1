// G28: whatever is given to `stepwell/web`, it is taken or refused by a typed error, and what is refused has written nothing.

import { expect, test } from 'vitest'
import { ambiguous, permanent, workflow } from '../../src/index.ts'
import * as web from '../../web/index.ts'
import { exportsOf, give, junk, methodsOf, spoiled, wrongWith } from '../contract/public-input.contract.ts'
import { any, freshName, open, openShelf, until } from './support.ts'

const error = new Error('x')
const nothing = (): void => {}
const w = workflow({ name: 'w', input: any<unknown>() }, () => 1)
const asks = workflow({ name: 'asks', input: any<unknown>() }, (ctx) => ctx.effect('pay', () => { throw ambiguous(error) }, { kind: 'money', input: 1, onAmbiguous: 'ask' }))
const fails = workflow({ name: 'fails', input: any<unknown>() }, (ctx) => ctx.step('s', () => { throw permanent(error) }))
let token = ''
const listens = workflow({ name: 'listens', input: any<unknown>(), signals: { x: any<unknown>() }, deferreds: { d: any<unknown>() } }, async (ctx) => {
  const d = ctx.deferred('d')
  await ctx.step('mail', async (call) => { token = await call.token(d) })
  await ctx.sleep('1 day')
})
const databases = async (): Promise<string[]> => (await indexedDB.databases()).flatMap(({ name }) => name ?? []).sort()

test('G28: whatever is given to `browser` is taken or refused by a typed error, and what is refused has made no database', async () => {
  const name = freshName()
  const before = await databases()
  const options = {
    name, workflows: [w], principal: 'ada', remote: 'https://host.example', limits: { entries: 50 }, redact: (text: string) => text, onEnd: nothing, openTimeout: '5 seconds' as const,
    maxDrives: 2, onLog: nothing, services: {},
  }
  const { browser } = web
  const opened = async (...args: readonly never[]): Promise<unknown> => {
    const well = await (browser as (...args: readonly never[]) => ReturnType<typeof browser>)(...args)
    await well.destroy()
    return well
  }
  expect(await wrongWith(new Map([...exportsOf(web)].map(([each, call]) => [each, each === 'browser' ? opened : call])), { browser: [options] }, [])).toEqual([])
  // Each that was taken was destroyed again.
  expect(await databases()).toEqual(before)
  // Whatever is no list of workflows. An empty one is taken.
  const refused = spoiled([options]).filter(([one]) => {
    const { workflows } = (one ?? {}) as { readonly workflows?: unknown }
    return workflows !== options.workflows && !(Array.isArray(workflows) && workflows.length === 0)
  })
  const { calls, wrong, ...given } = await give(browser as never, refused)
  expect([given.refused, wrong]).toEqual([calls, []])
  expect(await databases()).toEqual(before)
})

test('G28: whatever is given to a page\'s client and its runs is taken or refused by a typed error, and what is refused has written nothing', async () => {
  const name = freshName()
  const well = await open({ name, workflows: [w, asks, fails, listens] })
  const shelf = await openShelf(name)
  const ofClient = methodsOf(well)
  ofClient.delete('close')
  ofClient.delete('destroy')
  expect(await wrongWith(ofClient, {
    start: ['w', 1, { token: 'x', tags: ['a'], metadata: {}, delay: 5 }], get: ['w', 'id', { jurisdiction: 'eu' }], putBlob: ['id', new Uint8Array(3), { progress: nothing }],
    runs: [{ limit: 1, values: false }], subscribe: [nothing], expired: [], storage: [],
  }, ['expired', 'storage'])).toEqual([])

  const known = await shelf.runs({ limit: 1000 })
  for (const args of [...junk.map((one) => [one, 1]), ...junk.slice(1).map((one) => ['w', 1, { id: 'new', delay: one }]), ...junk.slice(1).map((one) => ['w', 1, { id: one, tags: 5 }])]) {
    const refused = await (well.start as (...args: readonly unknown[]) => Promise<{ readonly id: string }>)(...args).then(({ id }) => known.includes(id), () => true)
    // A number and the text of a duration are delays: what is taken is a run.
    if (refused) expect(await shelf.runs({ limit: 1000 })).toEqual(known)
    else await shelf.open('new').destroy()
  }

  const ended = await well.start(w, 1)
  await ended.result()
  const asking = await well.start(asks, 1)
  await until(async () => (await asking.status()).status === 'blocked')
  const failed = await well.start(fails, 1)
  await failed.result().catch(nothing)
  const methods = methodsOf(ended)
  const listening = await well.start(listens, 1)
  await until(async () => token !== '' && (await listening.status()).status === 'waiting')
  for (const method of ['signal', 'settle']) methods.set(method, methodsOf(listening).get(method)!)
  methods.set('resolve', methodsOf(asking).get('resolve')!)
  // Each time from the failure on: until it has failed again there is nothing to retry.
  methods.set('retry', async (how: never) => {
    await until(async () => (await failed.status()).status === 'failed')
    return failed.retry(how)
  })
  expect(await wrongWith(methods, {
    status: [], result: [{ timeout: 5, abortSignal: new AbortController().signal }], cancel: [{ reason: 'x', undo: false }], pause: [], resume: [], restart: [{ id: 'y' }],
    retry: [{ id: 'y' }], resolve: [2, { decision: 'happened', value: 1 }], effects: [{ after: 0, limit: 1 }], events: [{ after: 0, abortSignal: new AbortController().signal }], journal: [{ after: 0, limit: 1, reveal: true }], export: [], clearSignals: ['x'], settle: ['d', token, { value: 1 }], signal: ['x', 1, { id: 'y' }],
  }, ['status', 'pause', 'resume', 'export'])).toEqual([])
})
