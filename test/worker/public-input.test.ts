// G28: whatever is given to `stepwell/worker`, it is taken or refused by a typed error, and what is refused has written nothing.

import { expect, test } from 'vitest'
import { workflow } from '../../src/index.ts'
import * as worker from '../../worker/index.ts'
import { exportsOf, junk, methodsOf, wrongWith } from '../contract/public-input.contract.ts'
import { hasStatus, nothing, stored } from './objects.ts'
import { well, world } from './worker.ts'

const unique = (): string => crypto.randomUUID()
const client = well.client({})
const w = workflow({ name: 'w', input: { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } }, () => 1)

test('G28: whatever is given to an export of stepwell/worker is taken or refused by a typed error', async () => {
  const options = {
    workflows: [w], services: () => ({}), authorize: null, limits: { entries: 50 }, redact: (text: string) => text, onEnd: () => {}, className: 'Run', binding: 'RUNS', bodyBytes: 5,
  }
  expect(await wrongWith(exportsOf(worker), { edge: [options], allowLocalhost: [new Request('http://localhost/'), 'read', { id: 'x', workflow: undefined }, {}] }, [])).toEqual([])
  expect(await wrongWith(new Map([['client', worker.edge(options).client as never]]), { client: [{}, { principal: 'ada' }] }, [])).toEqual([])
})

test.each([
  ['className', 5], ['className', null], ['binding', {}], ['bodyBytes', 0], ['bodyBytes', '5'], ['bodyBytes', Number.NaN], ['authorize', undefined], ['authorize', {}], ['services', undefined],
  ['redact', 'x'], ['onEnd', {}], ['workflows', [w, w]], ['limits', { entries: 0 }], ['limits', { entry: 5 }],
] as const)('G28: the option %s of edge() is no %j', (name, value) => {
  const options = { workflows: [w], services: () => ({}), authorize: null, [name]: value }
  expect(() => worker.edge(options as never)).toThrow(expect.objectContaining({ kind: 'usage' }))
})

test('G28: whatever is given to a worker\'s client and its runs is taken or refused by a typed error', async () => {
  expect(await wrongWith(methodsOf(client), {
    start: ['echo', 1, { token: unique(), tags: ['a'], metadata: {}, delay: 5 }], get: ['echo', 'id', {}], putBlob: [unique(), new Uint8Array(3), { progress: () => {} }],
  }, [])).toEqual([])
  const ended = await client.start('echo', 1)
  await ended.result()
  const asking = await client.start('paying', null)
  await hasStatus(asking, 'blocked')
  const failed = await client.start('failing', 1)
  await failed.result().catch(() => {})
  const methods = methodsOf(ended)
  const approving = await client.start('approving', 1)
  await hasStatus(approving, 'waiting')
  const { happened: token } = world.found.get(approving.id) as { happened: string }
  methods.set('settle', methodsOf(approving).get('settle')!)
  methods.set('signal', methodsOf(await client.start('listening', 1)).get('signal')!)
  methods.set('resolve', methodsOf(asking).get('resolve')!)
  // Each time from the failure on: until it has failed again there is nothing to retry.
  methods.set('retry', async (how: never) => {
    await hasStatus(failed, 'failed')
    return failed.retry(how)
  })
  const { items: [effect] } = await asking.effects()
  expect(await wrongWith(methods, {
    status: [], result: [{ timeout: 5, abortSignal: new AbortController().signal }], cancel: [{ reason: 'x', undo: false }], pause: [], resume: [], restart: [{ id: 'y' }],
    retry: [{ id: 'y' }], resolve: [effect?.seq, { decision: 'fail' }], effects: [{ after: 0, limit: 1 }], events: [{ after: 0, abortSignal: new AbortController().signal }], journal: [{ after: 0, limit: 1, reveal: true }], export: [], clearSignals: ['go'], settle: ['approval', token, { value: { by: 'ada' } }], signal: ['go', 1, { id: 'y' }],
  }, ['status', 'pause', 'resume', 'export'])).toEqual([])
})

test('G28: a start that is refused for its options has written nothing', async () => {
  const id = unique()
  let refused = 0
  for (const [option, taken] of Object.entries({ tags: [[], null], metadata: [{}, null], delay: [0, 5], locationHint: ['x'], jurisdiction: [] })) {
    for (const one of junk.slice(1)) {
      if ((taken as unknown[]).some((each) => each === one || (typeof one === 'object' && JSON.stringify(each) === JSON.stringify(one)))) continue
      await expect(client.start('echo', 1, { id, [option]: one }), `${option} ${typeof one}`).rejects.toMatchObject({ kind: typeof one === 'function' || typeof one === 'symbol' ? expect.stringMatching(/usage|permanent/) : 'usage' })
      refused++
    }
  }
  expect(refused).toBeGreaterThan(70)
  expect(await stored(id)).toEqual(nothing)
})
