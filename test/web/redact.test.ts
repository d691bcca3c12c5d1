import { expect, test } from 'vitest'
import { maskSecrets, type Redact, workflow } from '../../src/index.ts'
import { any, freshName, logs, open, openShelf } from './support.ts'

const leaky = workflow({ name: 'leaky', input: any<null>() }, async (ctx) =>
  ctx.step('s', () => { throw Object.assign(new Error('Bearer hunter2 for card 4242'), { details: { password: 'hunter2' } }) }, { retry: { limit: 1, delay: 1 } }))

/** All that the database of a run holds after its end, as text. */
async function storedWith(redact: Redact | undefined): Promise<string> {
  const name = freshName()
  const well = await open({ name, workflows: [leaky], ...(redact === undefined ? undefined : { redact }) })
  const run = await well.start(leaky, null)
  await expect(run.result()).rejects.toMatchObject({ code: 'step_failed' })
  const store = (await openShelf(name)).open(run.id)
  const bytes = [(await store.read())?.record, ...(await store.entries(0, 99)).map((entry) => entry.bytes)]
  return bytes.map((each) => String.fromCharCode(...(each ?? []))).join('\n')
}

test('B-073: the browser host masks secrets in errors by default, or with a redaction of one\'s own', async () => {
  const usual = await storedWith(undefined)
  expect(usual).toContain('Bearer [redacted] for card 4242')
  expect(usual).not.toContain('hunter2')
  const own = await storedWith((text, key) => maskSecrets(text.replaceAll('4242', '****'), key))
  expect(own).toContain('Bearer [redacted] for card ****')
  expect(own).not.toMatch(/hunter2|4242/)
  expect(JSON.stringify(logs)).not.toContain('hunter2')
})
