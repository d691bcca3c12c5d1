import { runInDurableObject } from 'cloudflare:test'
import { exports } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { encode } from '../../src/codec.ts'
import { maskSecrets, type Redact, StepwellError, workflow } from '../../src/index.ts'
import { edge } from '../../worker/index.ts'
import { failure, PROTOCOL } from '../../worker/rpc.ts'
import { createSqliteStore } from '../../worker/sqlite-store.ts'

const leaky = workflow({ name: 'leaky', input: z.any() }, async (ctx) =>
  ctx.step('s', () => { throw Object.assign(new Error('Bearer hunter2 for card 4242'), { details: { password: 'hunter2' } }) }, { retry: { limit: 1, delay: 1 } }))

/** All that the database of a run holds after its end, as text. */
function storedWith(redact: Redact | undefined): Promise<string> {
  const id = crypto.randomUUID()
  return runInDurableObject(exports.Run.getByName(id), async (_, state) => {
    const { Run } = edge({ workflows: [leaky], services: () => ({}), authorize: null, ...(redact === undefined ? undefined : { redact }) })
    const object = new Run(state, {})
    expect(await object.start(PROTOCOL, encode({ workflow: 'leaky', input: 0, options: {} }))).toMatchObject({ ok: true })
    expect(await object.result(PROTOCOL, 10_000)).toMatchObject({ ok: true, value: { status: 'failed' } })
    const store = createSqliteStore(state.storage, id)
    const bytes = [store.read()?.record, ...store.entries(0, 99).map((entry) => entry.bytes)]
    return bytes.map((each) => String.fromCharCode(...(each ?? []))).join('\n')
  })
}

test('B-073: the edge host masks secrets in errors by default, or with a redaction of one\'s own', async () => {
  const usual = await storedWith(undefined)
  expect(usual).toContain('Bearer [redacted] for card 4242')
  expect(usual).not.toContain('hunter2')
  const own = await storedWith((text, key) => maskSecrets(text.replaceAll('4242', '****'), key))
  expect(own).toContain('Bearer [redacted] for card ****')
  expect(own).not.toMatch(/hunter2|4242/)
})

test('G28, B-073: what is no error of ours leaves an object without a word of it', () => {
  const answer = failure(Object.assign(new TypeError('Bearer hunter2', { cause: new Error('hunter2') }), { details: { password: 'hunter2' } }))
  expect(answer).toMatchObject({ ok: false, error: { code: 'internal', message: 'the run object failed' } })
  expect(JSON.stringify(answer)).not.toContain('hunter2')
  expect(failure(new StepwellError('run_not_found', 'there is no run x', { details: { runId: 'x' } }))).toMatchObject({ error: { code: 'run_not_found', details: { runId: 'x' } } })
})
