import { abortAllDurableObjects } from 'cloudflare:test'
import { expect, test } from 'vitest'
import { until } from './objects.ts'
import { calls, open, told, well, world } from './worker.ts'

const STEPS = 7

test('G2: the object dies after every entry; each committed step was called once more for its own death and never after its commit', async () => {
  const run = await well.client({}).start('staircase', { steps: STEPS })
  let deaths = 0
  for (let i = 0; i <= STEPS; i++) {
    const key = i === STEPS ? `race/last/s${i}` : `s${i}`
    // It is asked for: what came before it is committed. The object dies now, and once more when it has been asked again.
    for (let died = 1; died <= 2; died++) {
      await until(`${key} is called`, async () => {
        await run.status().catch(() => {})
        return calls(run.id, key) === died
      })
      await abortAllDurableObjects()
      deaths++
    }
    await until(`${key} is called again`, async () => {
      await run.status().catch(() => {})
      return calls(run.id, key) === 3
    })
    open(`${run.id}:${i}`, i * 10)
  }
  const result = await until('it ends', async () => run.result({ timeout: 5000 }).catch(() => undefined), 20_000)
  expect(result).toEqual({ values: [0, 10, 20, 30, 40, 50, 60], winner: 'last' })
  expect(deaths).toBe(2 * (STEPS + 1))
  for (let i = 0; i < STEPS; i++) expect({ i, calls: calls(run.id, `s${i}`) }).toEqual({ i, calls: 3 })
  const { items } = await run.journal()
  expect(items.map(({ seq }) => seq)).toEqual(items.map((_, i) => i + 1))
  expect(items.filter(({ kind }) => kind === 'step_completed')).toHaveLength(STEPS + 1)
  expect(items.filter(({ kind }) => kind === 'timer_fired')).toHaveLength(2)
}, 60_000)

test('T-104, C-011: the object dies in each attempt at an effect; the attempts are used up, the run fails, what was done before is undone, and the end is told', async () => {
  const run = await told.client({}).start('fatal', {})
  for (let attempt = 1; attempt <= 2; attempt++) {
    // Nobody asks for it meanwhile: its alarm alone brings it back.
    await until(`attempt ${attempt}`, async () => calls(run.id, 'charge') === attempt, 30_000)
    await abortAllDurableObjects()
  }
  const ends = await until('its end is told', async () => world.ends.filter(({ id }) => id === run.id).length > 0 && world.ends.filter(({ id }) => id === run.id), 30_000)
  for (const end of ends) expect(end).toMatchObject({ status: 'failed', error: { code: 'effect_ambiguous' } })
  expect(calls(run.id, 'reserve')).toBe(1)
  expect(calls(run.id, 'charge')).toBe(2)
  expect(calls(run.id, 'release')).toBe(1)
  const { items } = await run.journal()
  expect(items.map(({ kind }) => kind)).toEqual([
    'run_started', 'effect_intended', 'effect_completed', 'effect_intended', 'effect_decided', 'effect_intended', 'effect_decided', 'effect_failed',
    'undo_started', 'undo_intended', 'undo_completed', 'run_failed',
  ])
}, 90_000)
