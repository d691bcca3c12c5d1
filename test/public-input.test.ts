// G28: whatever is given to a public function of `stepwell`, `stepwell/client` and `stepwell/testing`, it is either taken or refused by a
// typed error. `stepwell/worker` and `stepwell/web` are asked the same on their hosts (test/worker, test/web). The routes have their own
// table (test/worker/routes.test.ts), and so have steps and starts (test/engine/).

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import * as client_ from '../src/client/remote.ts'
import { registry } from '../src/define.ts'
import * as main from '../src/index.ts'
import * as testing from '../src/testing/index.ts'
import { exportsOf, give, junk, type Lists, methodsOf, wrongWith } from './contract/public-input.contract.ts'

const { blake3, BlobRef, createHasher, hex, isBlobRef, isStepwellError, permanent, retryAfter, workflow } = main
const { remote } = client_
const { checkReplay, CommitLog, createMemoryShelf, TestHost, testHost } = testing
const input = z.any()
type Any = (...args: readonly any[]) => unknown

const each = junk.map((one) => [one])

const w = workflow({ name: 'w', input }, () => 1)
const host = remote<readonly [typeof w]>({
  url: 'http://localhost',
  fetch: async () => ({ status: 200, body: null, text: async () => JSON.stringify({ status: 'completed', output: 1, items: [], id: 'x', created: true, hash: 'a'.repeat(64), size: 3, chunkSize: 3 }) }),
})
const client = host as unknown as Record<'start' | 'get', Any>
const run = host.get(w, 'id') as unknown as Record<string, Any>
const optional = { version: 11, replays: 12, output: 14, signals: 10, timeout: 11, grace: 11, onDivergence: 14, retention: 9 }

const table: readonly (readonly [string, Any, Lists, number])[] = [
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
  ...['result', 'cancel', 'restart', 'retry', 'journal', 'effects', 'events'].map((name) => [`${name} of a run`, (options: unknown) => run[name]?.(options), each, 8] as const),
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

const error = new Error('x')
const bytes = new Uint8Array(3)
const options = {
  name: 'w', version: 2, replays: [1], input, output: input, signals: { s: input }, services: main.services(), timeout: 5, grace: 5, onDivergence: 'fail' as const,
  retention: { completed: 5, failed: '1 day' as const },
}
const listens = workflow({ name: 'listens', input, signals: { s: input } }, (ctx) => ctx.signal('s', { timeout: 5 }))
const batch: testing.Batch = {
  expect: { kind: 'head', epoch: 1, seq: 3, inbox: 0 }, entries: [{ seq: 4, bytes }], row: { epoch: 1, wakeAt: null, record: bytes }, post: [bytes], take: [1],
  rows: [{ table: 'memo', key: 'k', value: bytes }], require: [{ table: 'memo', key: 'k' }], durability: 'strict',
}
const first: testing.Batch = { expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: null, record: bytes } }
const nothing = (): void => {}
const hook = { log: nothing, quiesce: testing.createQuiesce() }

describe('G28: whatever is given to an export, or to a method of what it makes, is taken or refused by a typed error', () => {
  test('the entry points are these, and none has an export that is not tried', () => {
    const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly exports: object }
    expect(Object.keys(exports)).toEqual(['.', './worker', './web', './client', './testing', './package.json'])
  })

  test('stepwell', async () => {
    expect(await wrongWith(exportsOf(main), {
      services: [], workflow: [options, () => 1], BlobRef: ['a'.repeat(64), 1, 1], isBlobRef: [1], blake3: [bytes], createHasher: [], hex: [bytes], loadFast: [],
      ambiguous: [error], permanent: [error], retryAfter: [error, 5], isStepwellError: [error, 'failed'], maskSecrets: ['text', 'message'],
      StepwellError: ['failed', 'text', { cause: error, details: {}, retryable: true }],
    }, ['services', 'isBlobRef', 'createHasher', 'loadFast', 'ambiguous', 'permanent', 'isStepwellError'])).toEqual([])
    expect(await wrongWith(methodsOf(createHasher()), { update: [bytes], digest: [], close: [] }, ['close'])).toEqual([])
  })

  test('stepwell/client', async () => {
    expect(await wrongWith(exportsOf(client_), {
      remote: [{ url: 'http://localhost', headers: { a: 'b' }, fetch: async () => error, retry: { limit: 1, delayMs: 1 } }], isStepwellError: [error],
    }, ['isStepwellError'])).toEqual([])
    expect(await wrongWith(methodsOf(host), {
      start: ['w', 1, { token: 'x', tags: [], metadata: {}, delay: 5, locationHint: 'weur', jurisdiction: 'eu' }],
      get: ['w', 'id', { jurisdiction: 'eu' }], putBlob: ['id', bytes, { jurisdiction: 'eu', progress: nothing }],
    }, [])).toEqual([])
    const methods = methodsOf(run)
    expect(await wrongWith(methods, {
      status: [], result: [{ timeout: 5, abortSignal: new AbortController().signal }], cancel: [{ reason: 'x', undo: false }], pause: [], resume: [],
      restart: [{ from: 'x', id: 'y' }], retry: [{ id: 'y' }], resolve: [1, { decision: 'happened', value: 1 }], effects: [{ after: 0, limit: 1 }],
      events: [{ after: 0, abortSignal: new AbortController().signal }], journal: [{ after: 0, limit: 1, reveal: true }], export: [], clearSignals: ['x'], settle: ['approval', 'token', { value: 1 }], signal: ['x', 1, { id: 'y' }],
    }, ['status', 'pause', 'resume', 'export'])).toEqual([])
  })

  test('stepwell/testing', async () => {
    const store = createMemoryShelf().open('x')
    const wholeHost = {
      workflows: [w], services: {}, mocks: { step: { s: 1 } }, timeouts: { s: { attempts: 1, called: true } }, seed: 1, startAt: 0, name: 'test' as const, limits: { entries: 5 },
      open: () => store, faults: {}, redact: main.maskSecrets, onEnd: nothing, guard: true, ...hook,
    }
    expect(await wrongWith(exportsOf(testing), {
      createMemoryShelf: [{ quotaBytes: 5 }], clearMemos: [store], checkReplay: [[], w, { limits: {}, called: nothing, quiesce: hook.quiesce }],
      exploreCrashes: [listens, 1, {
        quiesce: hook.quiesce, outside: nothing, services: {}, check: nothing, cancelAt: 1, cancelOptions: {}, signals: [{ name: 's', payload: 1, at: 1 }], limits: {}, takesEpoch: true, stepsUseHostTime: true, deadMs: 1,
        maxPairs: 0, result: () => 1, only: '', guard: false,
      }],
      CommitLog: [], FaultStore: [store, { fault: nothing, committed: nothing, crashed: nothing, log: new CommitLog() }], testHost: [wholeHost], fakeServices: [w, {}],
      createQuiesce: [], TestHost: [{ startAt: 0, seed: 1, name: 'edge', called: nothing, ...hook }], bindStoreContract: [nothing, nothing, nothing],
      checkBatch: [batch], checkLimit: [5], checkPage: [{ after: 'x', limit: 5 }], staleReason: [{ kind: 'head', epoch: 1, seq: 3, inbox: 0 }, { epoch: 1, inbox: 0, head: 3 }],
      inboxKey: [5], isPromise: [5], numbersTaken: [batch],
    }, ['checkReplay', 'CommitLog', 'fakeServices', 'createQuiesce', 'isPromise'])).toEqual([])
  })

  test('a test host and its runs', async () => {
    let token = ''
    const listens = workflow({ name: 'listens', input, signals: { x: input }, deferreds: { d: input } }, async (ctx) => {
      const d = ctx.deferred('d')
      await ctx.step('mail', async (call) => { token = await call.token(d) })
      await ctx.sleep('1 day')
    })
    const asks = workflow({ name: 'asks', input }, (ctx) => ctx.effect('pay', () => { throw main.ambiguous(error) }, { kind: 'money', input: 1, onAmbiguous: 'ask' }))
    const fails = workflow({ name: 'fails', input }, (ctx) => ctx.step('s', () => { throw permanent(error) }))
    const kit = testHost({ workflows: [w, asks, fails, listens] })
    const [ended, asking, failed, listening] = [await kit.start(w, 1), await kit.start(asks, 1), await kit.start(fails, 1), await kit.start(listens, 1)]
    await Promise.all([ended.settle(), asking.settle(), failed.settle()])
    const methods = methodsOf(ended)
    // What is not as expected is no matter of the expectation's form.
    const expectation = methods.get('expect')!
    methods.set('expect', async (one: never) => {
      await Promise.resolve(expectation(one)).catch((thrown: unknown) => { if (!String(thrown).includes('is not as expected:\n')) throw thrown })
    })
    methods.set('retry', methodsOf(failed).get('retry')!)
    for (const method of ['signal', 'settleDeferred']) methods.set(method, methodsOf(listening).get(method)!)
    methods.set('resolve', methodsOf(asking).get('resolve')!)
    expect(await wrongWith(methods, {
      wake: [], reboot: [], summary: [], status: [], journal: [], events: [{ after: 0 }], export: [], settle: [], result: [],
      expect: [{ status: 'completed', output: 1, completed: [], failed: [], never: ['x'], attempts: {}, outcomes: {}, decisions: {}, undone: [], waitingFor: [] }],
      cancel: [{ reason: 'x', undo: true }], pause: [], resume: [], restart: [{ id: 'x' }], retry: [{ id: 'x' }], resolve: ['pay', { decision: 'happened', value: 1 }],
      signal: ['x', 1, { id: 'y' }], clearSignals: ['x'], settleDeferred: ['d', token, { value: 1 }],
    }, ['wake', 'reboot', 'summary', 'status', 'journal', 'export', 'settle', 'result', 'pause', 'resume'])).toEqual([])
    const ofKit = methodsOf(kit)
    const { delay } = kit
    // Somebody has to let the time pass.
    ofKit.set('delay', async (duration: never) => Promise.race([delay.call(kit, duration), kit.advance('1 day')]))
    expect(await wrongWith(ofKit, {
      now: [], start: [w, 1, { id: 'id', token: 'x', tags: [], metadata: {}, delay: 5 }], advance: [5], advanceTo: [5], delay: [5], crash: [], done: [], still: [],
    }, ['now', 'crash', 'done', 'still'])).toEqual([])
  })

  test('a shelf, a log of commits, a host', async () => {
    const shelf = createMemoryShelf()
    expect(await wrongWith(methodsOf(shelf), { open: ['x'], due: [5], runs: [{ after: 'x', limit: 5 }] }, [])).toEqual([])
    expect(await wrongWith(methodsOf(new CommitLog()), { add: ['x', first], commits: ['x'], before: ['other', 0] }, ['commits'])).toEqual([])
    expect(await wrongWith(methodsOf(new TestHost()), {
      now: [], random: [5], quiesce: [], timer: [5, nothing], log: [{ level: 'info', runId: 'x', message: 'x' }], called: ['step', 's'], forgetTimers: [], advance: [5], advanceTo: [5], jump: [5], fireNext: [5],
    }, ['now', 'quiesce', 'log', 'called', 'forgetTimers'])).toEqual([])
  })
})
