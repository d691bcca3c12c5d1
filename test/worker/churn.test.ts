// Deploys, resets and overload: what a step or an effect has under way is cut off, and nothing is lost.

import { exports } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { inRun, until } from './objects.ts'
import { calls, open, well, world } from './worker.ts'

const client = well.client({})
const UPDATED = 'Durable Object reset because its code was updated.'

/** The object of the run is thrown away as by a deploy. */
const reset = (id: string): Promise<void> => inRun(id, ({ state }) => { state.abort(UPDATED) }).catch(() => {})

/** What a call to an object that is reset under it throws. */
async function cut(id: string): Promise<unknown> {
  const stub = exports.Scratch.getByName(id)
  const hanging = stub.hang()
  hanging.catch(() => {})
  await exports.Scratch.getByName(id).reset(UPDATED).catch(() => {})
  return hanging
}

describe('another object, called by a run, is replaced', () => {
  test('the platform says so in a field of the error, and not always that it may be tried again', async () => {
    const error = await cut(`told ${crypto.randomUUID()}`).catch((thrown: unknown) => thrown) as Error
    expect(error.message).toBe(UPDATED)
    expect(error).toMatchObject({ durableObjectReset: true })
  })

  test('a step that was cut is tried again by its policy', async () => {
    const id = `cut-step-${crypto.randomUUID()}`
    world.others.set(id, (nth) => nth === 1 ? cut(id) : Promise.resolve(`answer ${nth}`))
    const run = await client.start('calling', { how: 'step' }, { id })
    expect(await run.result()).toBe('answer 2')
    expect((await run.journal()).items.map(({ kind }) => kind)).toEqual(['run_started', 'attempt_failed', 'step_completed', 'step_completed', 'run_completed'])
  })

  for (const found of [{ happened: 'found' }, 'did-not-happen'] as const) {
    test(`G13: an effect that was cut is ambiguous, and its probe decides: ${JSON.stringify(found)}`, async () => {
      const id = `cut-effect-${crypto.randomUUID()}`
      world.others.set(id, (nth) => nth === 1 ? cut(id) : Promise.resolve(`answer ${nth}`))
      world.found.set(id, found)
      const run = await client.start('calling', { how: 'effect' }, { id })
      expect(await run.result()).toBe(found === 'did-not-happen' ? 'answer 2' : 'found')
      expect((await run.journal()).items.map(({ kind }) => kind).slice(0, 4)).toEqual(['run_started', 'effect_intended', 'effect_ambiguous', 'effect_decided'])
      expect(calls(id, 'act')).toBe(found === 'did-not-happen' ? 2 : 1)
    })
  }

  for (const how of ['step', 'effect'] as const) {
    test(`an overloaded object: the ${how} is ${how === 'step' ? 'tried again by its policy' : 'decided by its policy'}`, async () => {
      const id = `overloaded-${how}-${crypto.randomUUID()}`
      world.others.set(id, (nth) => nth === 1
        ? Promise.reject(Object.assign(new Error('Durable Object is overloaded. Too many requests queued.'), { overloaded: true, retryable: true, remote: true }))
        : Promise.resolve(`answer ${nth}`))
      world.found.set(id, 'did-not-happen')
      const run = await client.start('calling', { how }, { id })
      expect(await run.result()).toBe('answer 2')
      const kinds = (await run.journal()).items.map(({ kind }) => kind)
      expect(kinds).toContain(how === 'step' ? 'attempt_failed' : 'effect_ambiguous')
    })
  }
})

describe('the run\'s own object is replaced', () => {
  test('a step under way is called again, by itself, and the caller that waits for the run does not notice', async () => {
    const run = await client.start('gated', {})
    await until('the step runs', async () => calls(run.id, 'gate') === 1)
    const waiting = run.result()
    await reset(run.id)
    await until('it runs again', async () => calls(run.id, 'gate') === 2)
    open(run.id, 'value')
    expect(await waiting).toBe('value')
    expect(calls(run.id, 'one')).toBe(1)
  })

  for (const found of [{ happened: 'found' }, 'did-not-happen'] as const) {
    test(`G12, G13: an effect under way is decided after startBy and its timeout: ${JSON.stringify(found)}; its zombie's report is not written`, async () => {
      const id = `zombie-${crypto.randomUUID()}`
      const late = Promise.withResolvers<unknown>()
      world.others.set(id, (nth) => nth === 1 ? late.promise : Promise.resolve(`answer ${nth}`))
      world.found.set(id, found)
      const run = await client.start('calling', { how: 'effect' }, { id })
      await until('the function runs', async () => calls(id, 'act') === 1)
      const intendedAt = (await run.journal()).items.find(({ kind }) => kind === 'effect_intended')?.at as number
      const waiting = run.result()
      await reset(id)
      await run.status()
      late.resolve('from the zombie')
      expect(await waiting).toBe(found === 'did-not-happen' ? 'answer 2' : 'found')
      const { items } = await run.journal()
      const decided = items.find(({ kind }) => kind === 'effect_decided')?.at as number
      expect(decided - intendedAt).toBeGreaterThanOrEqual(1300)
      expect(items.map(({ kind }) => kind)).toEqual([
        'run_started', 'effect_intended', 'effect_decided', ...(found === 'did-not-happen' ? ['effect_intended'] : []), 'effect_completed', 'step_completed', 'run_completed',
      ])
      expect(calls(id, 'act')).toBe(found === 'did-not-happen' ? 2 : 1)
    }, 20_000)
  }

  test('again and again: every call of a client gets its answer, and each start is one run', async () => {
    const ids = await Promise.all(Array.from({ length: 4 }, async (_, i) => {
      const id = `churn-${i}-${crypto.randomUUID()}`
      const starting = client.start('sleepy', { ms: 100 }, { id })
      const resets = (async () => {
        for (let n = 0; n < 2; n++) {
          await new Promise((resolve) => setTimeout(resolve, 15 * n + i))
          await reset(id)
        }
      })()
      const run = await starting
      const [result] = await Promise.all([run.result(), resets])
      expect(result).toBeGreaterThan(0)
      return id
    }))
    for (const id of ids) {
      const { items } = await client.get('sleepy', id).journal()
      expect(items.filter(({ kind }) => kind === 'run_started')).toHaveLength(1)
      expect(items.filter(({ kind, key }) => kind === 'step_completed' && key === 'after')).toHaveLength(1)
    }
  }, 30_000)
})
