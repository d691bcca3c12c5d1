// The example page's card of a run that waits for a person: what is known in words, and a button for each decision.

import { page } from 'vitest/browser'
import { afterEach, expect, test } from 'vitest'
import { permanent, type RunSummary, workflow } from '../../src/index.ts'
import type { RunState } from '../../examples/page/feed.ts'
import { type Control, RunCard } from '../../examples/page/run-card.ts'
import { any, freshName, open, until } from './support.ts'

const base = {
  id: 'o-1', workflow: 'order', version: 1, generation: 1, authority: { host: 'browser', epoch: 1 }, createdAt: Date.now() - 60_000, updatedAt: Date.now(),
  tags: [], metadata: {}, counts: { entries: 3, messages: 0 }, waitingFor: [],
  input: { orderId: 'A-1', email: 'ada@example.com', items: [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }] },
} as const
const blocked: RunSummary = { ...base, status: 'blocked', blocked: {
  code: 'ambiguous_effect', message: 'nobody knows', curable: false, tries: 1,
  details: { effects: [{ seq: 7, key: 'charge', kind: 'money', why: 'timeout', intendedAt: Date.now() - 45_000, attempt: 2, idempotencyKey: '9f3c51aa', input: { orderId: 'A-1', totalCents: 900 } }] },
} }
const stateOf = (summary: RunSummary): RunState =>
  ({ id: 'o-1', workflow: 'order', summary, entries: [], seen: Object.assign(new Map<string, number>()), problem: undefined }) as RunState

function show(summary: RunSummary): { readonly card: RunCard; readonly asked: Control[]; fail: Error | undefined } {
  const it = { asked: [] as Control[], fail: undefined as Error | undefined, card: undefined as unknown as RunCard }
  it.card = new RunCard(stateOf(summary), {
    setOpen: () => {}, cancel: async () => {},
    control: async (_, what) => {
      it.asked.push(what)
      if (it.fail !== undefined) throw it.fail
    },
  })
  document.body.append(it.card.element)
  it.card.setOpen(true)
  return it
}

afterEach(() => document.body.replaceChildren())

test.each([
  ['It happened', 'happened'], ['Run it again', 'rerun'], ['Skip', 'skip'], ['It failed', 'fail'],
] as const)('an effect of which nobody knows: what is known, and the decision "%s"', async (name, decision) => {
  const it = show(blocked)
  const ask = page.getByRole('region', { name: 'Did “Charge the card” happen?' })
  await expect.element(ask).toBeVisible()
  expect(ask.element().textContent).toContain('no answer came. It moves money.')
  expect(ask.element().textContent).toContain('9f3c51aa')
  const button = page.getByRole('button', { name })
  await button.click()
  expect(it.asked).toEqual([{ seq: 7, resolution: { decision } }])
  // Decided: until the run goes on nothing else can be asked for.
  await expect.element(button).toBeDisabled()
})

test('what it gave is JSON, and what is refused is said; what was typed stays while the run is read again', async () => {
  const it = show(blocked)
  const field = page.getByLabelText('If it happened, what it gave (JSON; may stay empty)')
  await field.fill('ch_1')
  await page.getByRole('button', { name: 'It happened' }).click()
  await expect.poll(() => it.card.element.querySelector('.ask-problem:not([hidden])')?.textContent).toContain('not JSON')
  expect(it.asked).toEqual([])
  await field.fill('{"chargeId":"ch_1"}')
  it.card.update(stateOf({ ...blocked, updatedAt: 5 }))
  it.fail = new Error('entry 7 is decided already: skip')
  await page.getByRole('button', { name: 'It happened' }).click()
  await expect.poll(() => it.card.element.querySelector('.ask-problem:not([hidden])')?.textContent).toContain('decided already')
  expect(it.asked).toEqual([{ seq: 7, resolution: { decision: 'happened', value: { chargeId: 'ch_1' } } }])
  it.card.update(stateOf({ ...base, status: 'running' }))
  expect(page.getByRole('region', { name: /Did/ }).query()).toBe(null)
})

const undoing: RunSummary = { ...base, status: 'blocked', blocked: {
  code: 'undo_failed', message: 'the undo of "charge" failed', curable: false, tries: 1,
  details: { seq: 4, key: 'charge', attempts: 3, why: 'the bank is closed', undone: ['ship'], left: ['charge', 'reserve'] },
} }

test.each([
  ['Try again', 'rerun'], ['Taken back by hand', 'happened'], ['Skip', 'skip'],
] as const)('an undo that failed: what is known, and the decision "%s"', async (name, decision) => {
  const it = show(undoing)
  const ask = page.getByRole('region', { name: '“Refund the charge” did not work' })
  await expect.element(ask).toBeVisible()
  const facts = [...ask.element().querySelectorAll('dt')].map((term) => [term.textContent, term.nextElementSibling?.textContent])
  expect(facts).toEqual([['Key', 'charge'], ['Attempts', '3'], ['Why', 'the bank is closed'], ['Taken back', 'Ship'], ['Still to do', 'Reserve the items']])
  expect([...ask.element().querySelectorAll('button')].map(({ textContent }) => textContent)).toEqual(['Try again', 'Taken back by hand', 'Skip'])
  // It says all that the notice of a blocked run would.
  expect(it.card.element.querySelector('.notice')).toBe(null)
  await page.getByRole('button', { name }).click()
  expect(it.asked).toEqual([{ seq: 4, resolution: { decision } }])
  await expect.element(page.getByRole('button', { name })).toBeDisabled()
})

test.each([
  ['Taken back by hand', 'happened'], ['Skip', 'skip'],
] as const)('an undo that no code can reach: what is known, and the decision "%s"', async (name, decision) => {
  const it = show({ ...base, status: 'blocked', blocked: {
    code: 'undo_unreachable', message: 'this generation ends before its code asks for what has to be undone: charge', curable: true, tries: 1,
    details: { effects: [{ seq: 4, key: 'charge', kind: 'money', generation: 1 }] },
  } })
  const ask = page.getByRole('region', { name: '“Refund the charge” can\'t be called' })
  await expect.element(ask).toBeVisible()
  expect(ask.element().textContent).toContain('It moves money.')
  expect([...ask.element().querySelectorAll('button')].map(({ textContent }) => textContent)).toEqual(['Taken back by hand', 'Skip'])
  await page.getByRole('button', { name }).click()
  expect(it.asked).toEqual([{ seq: 4, resolution: { decision } }])
})

test('an undo that was tried again and failed again is asked about again; a refusal is said', async () => {
  const it = show(undoing)
  it.fail = new Error('the edge cannot be reached')
  await page.getByRole('button', { name: 'Try again' }).click()
  await expect.poll(() => it.card.element.querySelector('.ask-problem:not([hidden])')?.textContent).toBe('the edge cannot be reached')
  it.fail = undefined
  await page.getByRole('button', { name: 'Try again' }).click()
  await expect.element(page.getByRole('button', { name: 'Try again' })).toBeDisabled()
  // Read again before anything has come of it: it was asked for.
  it.card.update(stateOf({ ...undoing, updatedAt: 5 }))
  await expect.element(page.getByRole('button', { name: 'Try again' })).toBeDisabled()
  it.card.update(stateOf({ ...undoing, counts: { entries: 5, messages: 0 } }))
  await expect.element(page.getByRole('button', { name: 'Try again' })).toBeEnabled()
  expect(it.asked).toHaveLength(2)
})

test('an undo that really failed is shown, tried again on the page, and the run ends', async () => {
  let isClosed = true
  const flow = workflow({ name: 'order', input: any<typeof base.input>() }, async (ctx) => {
    await ctx.effect('charge', () => 'ch_1', {
      kind: 'money', input: 1, onAmbiguous: 'ask', retry: { limit: 0 },
      undo: () => { if (isClosed) throw permanent(new Error('the bank is closed')) },
    })
    return ctx.fail('sold out')
  })
  const well = await open({ name: freshName(), workflows: [flow] })
  const run = await well.start(flow, base.input)
  await until(async () => (await run.status()).status === 'blocked')
  const card = new RunCard(stateOf(await run.status()), {
    setOpen: () => {}, cancel: async () => {},
    control: async (_, what) => { if (typeof what === 'object' && 'seq' in what) await run.resolve(what.seq, what.resolution) },
  })
  document.body.append(card.element)
  card.update(stateOf(await run.status()))
  const ask = page.getByRole('region', { name: '“Refund the charge” did not work' })
  await expect.element(ask).toBeVisible()
  expect(ask.element().textContent).toContain('the bank is closed')
  isClosed = false
  await page.getByRole('button', { name: 'Try again' }).click()
  await expect(run.result()).rejects.toMatchObject({ code: 'failed' })
  card.update(stateOf(await run.status()))
  expect(ask.query()).toBe(null)
})

test.each([
  ['waiting', 'Pause', 'pause'], ['paused', 'Resume', 'resume'], ['failed', 'Retry from where it failed', 'retry'],
] as const)('a run that is %s shows %s', async (status, name, what) => {
  const it = show({ ...base, status, ...(status === 'failed' ? { endedAt: Date.now(), error: new Error('no') } : undefined) })
  const shown = [...it.card.element.querySelectorAll<HTMLButtonElement>('.run-actions button')].filter(({ hidden }) => !hidden).map(({ textContent }) => textContent)
  expect(shown).toEqual(status === 'failed' ? [name] : [name, 'Cancel this run'])
  await page.getByRole('button', { name }).click()
  expect(it.asked).toEqual([what])
  if (status !== 'failed') return
  it.card.update(stateOf({ ...base, status: 'running', generation: 2 }))
  expect(it.card.element.querySelector('.end')?.childElementCount).toBe(0)
})
