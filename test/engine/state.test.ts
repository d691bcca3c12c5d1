// The run's state where attempts fail and code is wrong. What it is on every store is in test/contract/kept.contract.ts.

import { describe, expect, test } from 'vitest'
import { fromBase64 } from '../../src/base64.ts'
import { decode } from '../../src/codec.ts'
import type { Call, Ctx, Services, StepState } from '../../src/context.ts'
import { workflow } from '../../src/index.ts'
import { exportRun } from '../../src/journal/export.ts'
import { exploreCrashes } from '../../src/testing/crash-explorer.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { anything, errorOf, gate, ID, open, override, quiesce, World } from './support.ts'

type AnyCall = Call<Services, 'any', unknown>

/** Steps one after the other, each tried again once. */
function steps(...bodies: readonly ((call: AnyCall) => unknown)[]) {
  return workflow({ name: 'w', input: anything }, async (ctx) => {
    const values: unknown[] = []
    for (const body of bodies) {
      values.push(await (ctx as unknown as Ctx).step('s', (call) => body(call as unknown as AnyCall), { timeout: '1 minute', retry: { limit: 1, delay: 1, jitter: 0 } })
        .catch((error: unknown) => ((error as { cause?: { code?: string } }).cause?.code ?? (error as { code?: string }).code)))
    }
    return values
  })
}

async function outputOf(definition: ReturnType<typeof steps>) {
  const process = open(definition)
  await process.run(definition)
  return { process, output: (await process.runs.summary(ID)).output }
}

const get = ({ state }: AnyCall): unknown => state.get('k')

describe('what is refused', () => {
  test('T-107: keys that begin with "stepwell."', async () => {
    const codes: unknown[] = []
    const { output, process } = await outputOf(steps(async ({ state }) => {
      for (const call of [() => state.set('stepwell.x', 1), () => state.delete('stepwell.'), () => state.get('stepwell.x')]) {
        codes.push((await errorOf(call)).code)
      }
      state.set('stepwell', 1)
      state.set('x.stepwell.', 2)
      return [await state.get('stepwell'), await state.get('x.stepwell.')]
    }, ({ state }) => state.set('stepwell.x', 1)))
    expect(codes).toEqual(Array(3).fill('reserved_name'))
    expect(output).toEqual([[1, 2], 'reserved_name'])
    // It is a bug: not tried again.
    expect(process.world.kinds().slice(2, 3)).toEqual(['step_failed s#1'])
  })

  test('T-107: keys that are no name, and values that cannot be kept', async () => {
    const codes: unknown[] = []
    await outputOf(steps(async ({ state }) => {
      const wrong: readonly (() => unknown)[] = [
        () => state.set('', 1), () => state.set('  ', 1), () => state.set(5 as never, 1), () => state.set('\ud800', 1), () => state.get(undefined as never),
        () => state.set('k'.repeat(129), 1), () => state.set('k', { fn: () => 1 }),
      ]
      for (const call of wrong) codes.push((await errorOf(call)).code)
      expect(await errorOf(() => state.set('k', { fn: () => 1 }))).toMatchObject({ details: { path: 'state.fn' } })
      state.set('k'.repeat(128), 1)
    }))
    expect(codes).toEqual([...Array<string>(5).fill('invalid_argument'), 'limit_exceeded', 'not_serializable'])
  })

  test('T-107: setting and deleting one key in one attempt, in either order', async () => {
    const { output } = await outputOf(steps(
      async ({ state }) => {
        state.set('a', 1)
        state.set('a', 2)
        state.delete('b')
        state.delete('b')
        const errors = [await errorOf(() => state.delete('a')), await errorOf(() => state.set('b', 1))]
        expect(errors).toMatchObject([
          { code: 'state_conflict', kind: 'usage', details: { key: 'a', step: 's' } }, { code: 'state_conflict', details: { key: 'b', step: 's' } },
        ])
      },
      async ({ state }) => {
        const before = await state.get('a')
        state.delete('a')
        state.set('b', 1)
        return before
      },
      async ({ state }) => [await state.get('a'), await state.get('b')],
      ({ state }) => { state.set('c', 1); state.delete('c') },
    ))
    expect(output).toEqual([undefined, 2, [undefined, 1], 'state_conflict'])
  })

  test('T-107: whatever comes after the function has returned', async () => {
    const late = gate()
    const heard: Promise<unknown>[] = []
    let kept: StepState | undefined
    const definition = steps(
      ({ state }) => {
        kept = state
        state.set('k', 'in time')
        heard.push(late.promise.then(() => errorOf(() => state.set('k', 'late'))), late.promise.then(() => errorOf(() => state.delete('k'))), late.promise.then(() => errorOf(() => state.get('k'))))
        return 'returned'
      },
      get,
    )
    const { output } = await outputOf(definition)
    expect(output).toEqual(['returned', 'in time'])
    expect(await errorOf(() => kept?.set('k', 'late'))).toMatchObject({ code: 'attempt_over', details: { key: 's', attempt: 1 } })
    late.open()
    expect(await Promise.all(heard)).toMatchObject(Array(3).fill({ code: 'attempt_over' }))
  })

  test('T-107: between the end of the function and its commit, too', async () => {
    // The value is a blob, so that storing it takes turns in which the function's leftovers go on.
    const errors: unknown[] = []
    const definition = steps(async ({ state }) => {
      state.set('k', 'in time')
      ;(async () => {
        for (let i = 0; i < 40; i++) await quiesce()
        state.set('k', 'late')
      })().catch((error: unknown) => errors.push(error))
      await quiesce()
      return 'x'.repeat(200_000)
    }, async (call) => {
      for (let i = 0; i < 60; i++) await quiesce()
      return get(call)
    })
    const world = new World()
    const slow = world.boot(definition, { wrap: (store) => override(store, { commit: async (batch) => {
      for (let i = 0; i < 30; i++) await quiesce()
      return store.commit(batch)
    } }) })
    await slow.runs.start(definition, 0, { id: ID })
    const drive = await slow.begin()
    await drive.end
    expect(((await slow.runs.summary(ID)).output as unknown[])[1]).toBe('in time')
    expect(errors).toMatchObject([{ code: 'attempt_over' }])
  })
})

describe('what is dropped', () => {
  test('T-106: what an attempt staged that failed for good, gave what cannot be stored, or timed out', async () => {
    const definition = steps(
      ({ state }) => { state.set('k', 'thrown'); throw new Error('no') },
      ({ state }) => { state.set('k', 'not serializable'); return () => 1 },
      ({ state }) => { state.set('k', 'timed out'); return new Promise(() => {}) },
      get,
    )
    const process = open(definition, { stepsUseHostTime: true })
    await process.run(definition)
    expect((await process.runs.summary(ID)).output).toEqual(['step_failed', 'not_serializable', 'step_timeout', undefined])
    expect(process.world.shelf.open(ID).keys('state', { limit: 9 })).toEqual([])
  })

  test('T-106: what a step staged that was cancelled, or was still open when the function ended', async () => {
    for (const why of ['cancel', 'end']) {
      const go = gate()
      const definition = workflow({ name: 'w', input: anything }, async (ctx) => {
        const step = ctx.step('s', async ({ state }) => {
          state.set('k', 1)
          await go.promise
          return 1
        })
        if (why === 'end') await ctx.step('other', () => 1)
        else await step
      })
      const process = open(definition)
      await process.runs.start(definition, 0, { id: ID })
      const drive = await process.begin()
      if (why === 'cancel') await process.runs.cancel(ID)
      expect(await drive.end).toMatchObject({ kind: 'ended' })
      go.open()
      await process.idle()
      expect(process.world.kinds(), why).not.toContain('step_completed s')
      expect(process.world.shelf.open(ID).keys('state', { limit: 9 }), why).toEqual([])
    }
  })

  test('T-106: of a driver that was superseded, neither outcome nor state', async () => {
    const go = gate()
    let runs = 0
    const definition = steps(async ({ state }) => {
      const n = ++runs
      state.set('k', n)
      if (n === 1) await go.promise
      return n
    }, get)
    const world = new World()
    const process = world.boot(definition)
    await process.runs.start(definition, 0, { id: ID })
    const drive = await process.begin()
    const other = world.boot(definition)
    expect(await other.runs.settle(ID)).toMatchObject({ kind: 'ended' })
    go.open()
    expect(await drive.end).toEqual({ kind: 'superseded' })
    expect((await other.runs.summary(ID)).output).toEqual([2, 2])
  })
})

describe('what is kept', () => {
  test('T-106: a step that only reads is delivered as promptly as one that does not; one that sets is not lost for it', async () => {
    const { process, output } = await outputOf(steps(() => 0, () => 1, ({ state }) => state.set('k', 1), get, () => 2))
    expect(output).toEqual([0, 1, undefined, 1, 2])
    expect(process.world.entries().filter(({ kind }) => kind === 'step_completed').map(({ prompt }) => prompt).slice(1)).toEqual([true, false, true, true])
  })

  test('T-106: the call may be taken apart', async () => {
    const { output } = await outputOf(steps(
      ({ state: { set, delete: remove } }) => { set('a', 1); remove('b') },
      async ({ state: { get: read }, memo: { get: find, put, has, delete: forget } }) => {
        await put('k', 1)
        const found = [await read('a'), await find('k'), await has('k')]
        await forget('k')
        return [...found, await has('k')]
      },
    ))
    expect(output).toEqual([undefined, [1, 1, true, false]])
  })

  test('T-106: a new generation begins with nothing', async () => {
    const seen: unknown[] = []
    const definition = (name: string) => workflow({ name: 'w', input: anything, onDivergence: 'restart' }, async (ctx) => {
      await ctx.step('s', async ({ state }) => {
        seen.push(await state.get('k'))
        state.set('k', 1)
      })
      await ctx.step(name, () => 1)
      await ctx.sleep('1 hour')
    })
    const process = open(definition('a'))
    await process.runs.start(definition('a'), 0, { id: ID })
    await process.runs.drive(ID)
    const world = await process.crash()
    expect(await world.boot(definition('b')).runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
    expect(world.record().generation).toBe(2)
    expect(seen).toEqual([undefined, undefined])
  })

  test('G4: a value that was changed, or exchanged with another one, is named, never believed', async () => {
    const world = new World()
    const damage = (change: (rows: readonly { readonly key: string; readonly value: Uint8Array }[]) => readonly { readonly key: string; readonly value: Uint8Array }[]) => (): void => {
      const store = world.shelf.open(ID)
      const rows = change(store.rows('state', { limit: 9 }))
      store.commit({ expect: { kind: 'none' }, rows: rows.map((row) => ({ table: 'state', ...row })) })
    }
    const definition = steps(
      ({ state }) => { state.set('k', 1); state.set('other', 2) },
      damage(([a, b]) => [{ key: a?.key ?? '', value: b?.value ?? new Uint8Array(0) }, { key: b?.key ?? '', value: a?.value ?? new Uint8Array(0) }]),
      get,
      damage((rows) => rows.map(({ key, value }) => ({ key, value: value.map((byte, i) => (i === value.length - 3 ? byte ^ 1 : byte)) }))),
      get,
    )
    const process = world.boot(definition)
    await process.run(definition)
    expect((await process.runs.summary(ID)).output).toEqual([undefined, undefined, 'corrupt_payload', undefined, 'corrupt_payload'])
  })

  test('an export holds memos and state, each value with its key', async () => {
    const { process } = await outputOf(steps(async ({ state, memo }) => {
      state.set('visible key', { n: 1 })
      await memo.put('k', 5)
    }))
    const lines: { table?: string; value?: string }[] = []
    for await (const line of exportRun(process.world.shelf.open(ID))) lines.push(JSON.parse(line) as { table?: string })
    expect(lines.flatMap(({ table }) => table ?? [])).toEqual(['memo', 'state'])
    const stored = fromBase64(lines.find(({ table }) => table === 'state')?.value ?? '')
    expect(decode((stored as Uint8Array).subarray(8))).toEqual({ key: 'visible key', value: { n: 1 } })
  })

  test('T-109: whatever dies at whatever commit, each committed outcome has counted once', async () => {
    const definition = workflow({ name: 'w', input: anything }, async (ctx) => {
      const count = (c: Ctx, name: string) => c.step(name, async ({ state, memo, attempt }) => {
        const own = await memo('own', () => `of ${name}`)
        state.set(name, ((await state.get<number>(name)) ?? 0) + 1)
        state.set('last', own)
        if (attempt === 1 && name === 'b') throw new Error('again')
        return name
      }, { retry: { limit: 2, delay: 1, jitter: 0 } })
      const root = ctx as unknown as Ctx
      await root.all({ a: (c) => count(c, 'a'), b: (c) => count(c, 'b') })
      await count(root, 'c')
      await root.sleep(5)
      return root.step('read', async ({ state }) => [await state.get('a'), await state.get('b'), await state.get('c'), await state.get('last')])
    })
    const counts = await exploreCrashes(definition, 0, {
      open: (id) => createMemoryShelf().open(id), maxPairs: 60,
    })
    expect(counts.commits).toBeGreaterThan(8)
    expect(counts.crashes).toBeGreaterThan(20)
  })
})
