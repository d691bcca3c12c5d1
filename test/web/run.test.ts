import { describe, expect, test } from 'vitest'
import { isStepwellError, workflow } from '../../src/index.ts'
import { any, freshName, Gate, Ledger, open, until } from './support.ts'

describe('a run in a browser', () => {
  test('runs to its end, and its value is the decoded copy of what was stored', async () => {
    const greet = workflow({ name: 'greet', input: any<{ name: string }>() }, async (ctx, { name }) => {
      const hello = await ctx.step('hello', () => ({ text: `hello ${name}`, at: new Date(5), seen: new Set([1]) }))
      const both = await ctx.all({ a: (c) => c.step('a', () => 1), b: (c) => c.step('b', async () => 2n) })
      await ctx.sleep(20)
      return { ...hello, both }
    })
    const well = await open({ name: freshName(), workflows: [greet] })
    const run = await well.start(greet, { name: 'you' })
    expect(run.created).toBe(true)
    expect(await run.result()).toEqual({ text: 'hello you', at: new Date(5), seen: new Set([1]), both: { a: 1, b: 2n } })
    const status = await run.status()
    expect(status).toMatchObject({ id: run.id, workflow: 'greet', status: 'completed', authority: { host: 'browser' }, input: { name: 'you' } })
    expect(await well.get('greet', run.id).result()).toEqual(await run.result())
    const { items } = await run.journal()
    expect(items.map(({ kind }) => kind)).toEqual(
      ['run_started', 'step_completed', 'step_completed', 'step_completed', 'timer_set', 'timer_fired', 'run_completed'])
    expect(items.every(({ host }) => host === 'browser')).toBe(true)
    const lines: string[] = []
    for await (const line of run.export()) lines.push(line)
    expect(JSON.parse(lines.at(-1) as string)).toEqual({ end: true, entries: 7 })
  })

  test('a failed run throws its error, with the step\'s error as the cause', async () => {
    const failing = workflow({ name: 'failing', input: any<null>() }, async (ctx) => {
      await ctx.step('no', () => { throw new Error('out of paper') }, { retry: { limit: 0 } })
    })
    const well = await open({ name: freshName(), workflows: [failing] })
    const error = await (await well.start(failing, null)).result().catch((thrown: unknown) => thrown)
    expect(isStepwellError(error, 'step_failed')).toBe(true)
    expect((error as Error & { cause: Error }).cause.message).toBe('out of paper')
  })

  test('G23: an id or token starts one run; another input is refused', async () => {
    const echo = workflow({ name: 'echo', input: any<number>() }, async (ctx, n) => ctx.step('s', () => n))
    const well = await open({ name: freshName(), workflows: [echo] })
    const starts = await Promise.all(Array.from({ length: 8 }, () => well.start(echo, 1, { token: 'once' })))
    expect(new Set(starts.map(({ id }) => id)).size).toBe(1)
    expect(starts.filter(({ created }) => created)).toHaveLength(1)
    await expect(well.start(echo, 2, { token: 'once' })).rejects.toMatchObject({ code: 'input_mismatch' })
    expect(await starts[0]?.result()).toBe(1)
    expect(await well.runs()).toHaveLength(1)
  })

  test('bad input to every method is a typed error, and nothing is written', async () => {
    const echo = workflow({ name: 'echo', input: any<number>() }, async (ctx, n) => ctx.step('s', () => n))
    const well = await open({ name: freshName(), workflows: [echo] })
    await expect(well.start('nobody' as 'echo', 1)).rejects.toMatchObject({ code: 'not_registered' })
    await expect(well.start(echo, 1, { id: 'a/b' })).rejects.toMatchObject({ code: 'invalid_id' })
    await expect(well.start(echo, (() => 1) as never)).rejects.toMatchObject({ code: 'not_serializable' })
    expect(() => well.get('nobody' as 'echo', 'x')).toThrow(expect.objectContaining({ code: 'not_registered' }))
    expect(() => well.get(echo, '')).toThrow(expect.objectContaining({ code: 'invalid_id' }))
    const absent = well.get(echo, 'absent')
    await expect(absent.status()).rejects.toMatchObject({ code: 'run_not_found' })
    await expect(absent.result()).rejects.toMatchObject({ code: 'run_not_found' })
    await expect(absent.cancel()).rejects.toMatchObject({ code: 'run_not_found' })
    await expect(absent.journal()).rejects.toMatchObject({ code: 'run_not_found' })
    await expect(absent.export()[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'run_not_found' })
    await expect(absent.signal('x' as never, undefined as never)).rejects.toMatchObject({ code: 'run_not_found' })
    await expect(well.putBlob('a/b', new Uint8Array(1))).rejects.toMatchObject({ code: 'invalid_id' })
    expect(await well.runs()).toEqual([])
    const run = await well.start(echo, 1)
    await run.result()
    await expect(run.journal({ limit: 0 })).rejects.toMatchObject({ code: 'limit_exceeded' })
    await expect(run.result({ timeout: 'soon' as never })).rejects.toMatchObject({ code: 'invalid_duration' })
  })

  test('result gives up its wait after its timeout or by its signal; the run goes on', async () => {
    const gate = new Gate()
    const slow = workflow({ name: 'slow', input: any<null>() }, async (ctx) => ctx.step('s', () => gate.pass()))
    const well = await open({ name: freshName(), workflows: [slow] })
    const run = await well.start(slow, null)
    await gate.reached()
    await expect(run.result({ timeout: 30 })).rejects.toMatchObject({ code: 'wait_timeout' })
    const abort = new AbortController()
    const waiting = run.result({ abortSignal: abort.signal })
    abort.abort(new Error('not interested'))
    await expect(waiting).rejects.toThrow('not interested')
    gate.open()
    await run.result()
  })

  test('status shows live steps with their progress; runs() is newest first; subscribe is told of each', async () => {
    const gate = new Gate()
    const cut = workflow({ name: 'cut', input: any<number>() }, async (ctx, n) => ctx.step('cut', async (call) => {
      call.progress(n, 10)
      await gate.pass()
    }))
    const well = await open({ name: freshName(), workflows: [cut] })
    const told = new Set<string>()
    const unsubscribe = well.subscribe((runIds) => runIds.forEach((id) => told.add(id)))
    const one = await well.start(cut, 4, { id: 'one' })
    await gate.reached()
    await until(async () => (await one.status()).steps?.[0]?.progress !== undefined)
    expect((await one.status()).steps).toEqual([{ key: expect.any(String), attempt: 1, startedAt: expect.any(Number), progress: { done: 4, of: 10 } }])
    await new Promise((resolve) => setTimeout(resolve, 2))
    const two = await well.start(cut, 5, { id: 'two' })
    gate.open()
    await Promise.all([one.result(), two.result()])
    const list = await well.runs()
    expect(list.map(({ id, status }) => [id, status])).toEqual([['two', 'completed'], ['one', 'completed']])
    expect(await well.runs({ limit: 1, values: false })).toMatchObject([{ id: 'two' }])
    await until(() => told.has('one') && told.has('two'))
    unsubscribe()
  })

  test('cancel: a waiting run is cancelled when the call returns; a second one says that it has ended', async () => {
    const waits = workflow({ name: 'waits', input: any<null>() }, async (ctx) => ctx.sleep('1 hour'))
    const well = await open({ name: freshName(), workflows: [waits] })
    const run = await well.start(waits, null)
    await until(async () => (await run.status()).status === 'waiting')
    expect(await run.cancel({ reason: 'changed my mind' })).toEqual({ outcome: 'cancelled', status: 'cancelled' })
    expect(await run.cancel()).toEqual({ outcome: 'ended', status: 'cancelled' })
    await expect(run.result()).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('cancel: a running step is aborted, and cleanup has its time', async () => {
    const ledger = new Ledger()
    const gate = new Gate()
    const busy = workflow({ name: 'busy', input: any<null>() }, async (ctx) => {
      try {
        await ctx.step('work', async ({ abortSignal }) => {
          abortSignal.addEventListener('abort', () => ledger.note('aborted'))
          await gate.pass()
        })
      } finally {
        await ctx.cleanup((c) => c.step('tidy', () => ledger.note('tidied')))
      }
    })
    const well = await open({ name: freshName(), workflows: [busy] })
    const run = await well.start(busy, null)
    await gate.reached()
    expect(await run.cancel()).toEqual({ outcome: 'cancelled', status: 'cancelled' })
    expect(ledger.lines).toEqual(['aborted', 'tidied'])
    gate.open()
  })

  test('a blob is written chunk by chunk with progress before the start, and read in steps', async () => {
    const bytes = new Uint8Array(2 * 1024 * 1024 + 5).map((_, i) => (i * 31) % 251)
    const digest = workflow({ name: 'digest', input: any<{ blob: import('../../src/index.ts').BlobRef }>() }, async (ctx, { blob }) => {
      const first = await ctx.step('first', async (call) => (await call.readBlob(blob, { offset: 0, length: 3 })).slice())
      const tail = await ctx.step('tail', async (call) => (await call.readBlob(blob, { offset: blob.size - 5, length: 5 })).slice())
      const sum = await ctx.step('sum', async (call) => (await call.readBlob(blob)).reduce((all, byte) => (all + byte) % 65_521, 0))
      return { first, tail, sum }
    })
    const well = await open({ name: freshName(), workflows: [digest] })
    const seen: [number, number | undefined][] = []
    const blob = await well.putBlob('with-blob', new File([bytes], 'photo.jpg'), { progress: (done, of) => seen.push([done, of]) })
    expect(blob.size).toBe(bytes.length)
    expect(seen.at(-1)).toEqual([bytes.length, bytes.length])
    expect(seen.length).toBeGreaterThan(1)
    expect((await well.putBlob('with-blob', bytes)).hash).toBe(blob.hash)
    const run = await well.start(digest, { blob }, { id: 'with-blob' })
    expect(await run.result()).toEqual({
      first: bytes.slice(0, 3), tail: bytes.slice(-5), sum: bytes.reduce((all, byte) => (all + byte) % 65_521, 0),
    })
  })

  test('a large value of a step is kept as a blob and replayed', async () => {
    const big = 'x'.repeat(300_000)
    const large = workflow({ name: 'large', input: any<null>() }, async (ctx) => {
      const value = await ctx.step('big', () => big)
      await ctx.sleep('1 hour')
      return value.length
    })
    const name = freshName()
    const well = await open({ name, workflows: [large] })
    const run = await well.start(large, null)
    await until(async () => (await run.status()).status === 'waiting')
    expect((await run.journal()).items.find(({ kind }) => kind === 'step_completed')?.isBlob).toBe(true)
  })

  test('storage() says how safe the data is, and asks nobody', async () => {
    const well = await open({ name: freshName(), workflows: [] })
    const health = await well.storage()
    expect(health.persisted).toBe(false)
    expect(health.quota).toBeGreaterThan(0)
    expect(health.lost).toBeUndefined()
  })

  test('a listener of subscribe or onLog that throws harms no run', async () => {
    const echo = workflow({ name: 'echo', input: any<number>() }, async (ctx, n) => {
      ctx.log('hello')
      return ctx.step('s', () => n)
    })
    const well = await open({ name: freshName(), workflows: [echo], onLog: () => { throw new Error('log') } })
    well.subscribe(() => { throw new Error('listener') })
    expect(await (await well.start(echo, 3)).result()).toBe(3)
  })
})
