// The approval of examples/approval: a signal before, in and out of time, and letters that are written once over the attempts of one step.

import { expect, test } from 'vitest'
import { approval } from '../../examples/approval/approval.ts'
import { exploreCrashes, testHost } from '../../src/testing/index.ts'

const input = { what: 'Train to Vienna', cents: 14_900, waitMs: 2 * 86_400_000 }
const tell = ['Books', 'Travel desk', 'Claimant']

test.each([
  [{ approved: true, by: ' Ada ', why: 'cheap' }, { outcome: 'approved', by: 'Ada', why: 'cheap' }],
  [{ approved: false, by: 'Eve' }, { outcome: 'rejected', by: 'Eve' }],
  [undefined, { outcome: 'expired' }],
] as const)('it waits for a decision (%j), tells what happens, and writes its letters', async (decision, expected) => {
  const t = testHost({ workflows: [approval] })
  const run = await t.start(approval, input)
  await run.expect({ status: 'waiting', waitingFor: ['signal:decide'] })
  await t.advance('1 day')
  if (decision !== undefined) await run.signal('decide', decision, { id: 'mail 17' })
  const output = await run.result()
  expect(output).toEqual({ ...expected, letters: tell.map((to) => ({ to, id: expect.stringMatching(/^[0-9a-f]{12}$/) })) })
  expect((await run.events()).map(({ type, data }) => [type, data])).toEqual([
    ['asked', { what: 'Train to Vienna', cents: 14_900 }], ['decided', { outcome: expected.outcome, ...('by' in expected && { by: expected.by }) }],
    ...tell.map((to) => ['written', { to }]),
  ])
})

test('G17, G18: over a crash at every commit, also of whoever decides: decided once, told once, and the same letters', async () => {
  const counts = await exploreCrashes(approval, input, {
    signals: [{ name: 'decide', payload: { approved: true, by: 'Ada' } }, { name: 'decide', payload: { approved: false, by: 'Eve' } }],
    check: (_, { summary, entries }) => {
      expect(summary.output).toMatchObject({ outcome: 'approved', by: 'Ada' })
      expect(entries.filter(({ kind }) => kind === 'signal_received')).toHaveLength(1)
    },
  })
  expect(counts.crashes).toBeGreaterThan(30)
})
