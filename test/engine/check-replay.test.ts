import { describe, expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import type { AnyWorkflow } from '../../src/define.ts'
import { ambiguous, workflow } from '../../src/index.ts'
import { exportRun } from '../../src/journal/export.ts'
import { checkReplay } from '../../src/testing/check-replay.ts'
import { anything, ID, open, type Process } from './support.ts'

const made = (name: string, fn: (ctx: Ctx) => unknown, more: object = {}): AnyWorkflow => workflow({ name, input: anything, ...more }, async (ctx) => fn(ctx as unknown as Ctx))
const exported = async (process: Process): Promise<string[]> => {
  const lines: string[] = []
  for await (const line of exportRun(await process.runs.store(ID))) lines.push(line)
  return lines
}
const act = { kind: 'custom', input: 1, timeout: '5 seconds' } as const

/** A flow that uses everything, and counts what it executes. */
function everything(ran: string[], how: { readonly end?: 'returns' | 'throws' | 'sleeps' } = {}): AnyWorkflow {
  return made('w', async (ctx) => {
    ctx.log('begins')
    if (ctx.patched('p')) await ctx.step('patched', () => { ran.push('patched') })
    await ctx.all({
      big: (c) => c.step('big', () => { ran.push('big'); return 'x'.repeat(200_000) }),
      small: (c) => c.step('small', () => { ran.push('small'); return [ctx.info.runId] }),
    })
    await ctx.race({ fast: (c) => c.step('fast', () => { ran.push('fast') }), slow: (c) => c.sleep('1 day') })
    await ctx.effect('paid', () => { ran.push('paid') }, { ...act, onAmbiguous: 'fail', undo: () => { ran.push('undo') } })
    await ctx.effect('skipped', (): number => { ran.push('skipped'); throw ambiguous(new Error('?')) }, { ...act, onAmbiguous: 'skip', fallback: 0 })
    await ctx.effect('probed', (): string => { ran.push('probed'); throw ambiguous(new Error('?')) }, { ...act, onAmbiguous: 'probe', probe: () => { ran.push('probe'); return { happened: 'x' } } })
    await ctx.once('k', () => { ran.push('once') })
    await ctx.recordEffect('r', 'sent', { big: 'x'.repeat(100_000) })
    const values = [await ctx.hasEffect('k'), ctx.random(), ctx.uuid(), ctx.now()]
    await ctx.step('retried', ({ attempt }) => { ran.push('retried'); if (attempt < 3) throw new Error('down') }, { retry: { delay: 1 } })
    if (how.end === 'sleeps') await ctx.sleep('30 days')
    if (how.end === 'throws') throw new Error('no')
    return values
  })
}

describe('checkReplay', () => {
  for (const end of ['returns', 'throws', 'sleeps'] as const) {
    test(`a run that ${end}: fits the code that made it, and nothing is executed or written`, async () => {
      const ran: string[] = []
      const w = everything(ran, { end })
      const process = open(w)
      await process.runs.start(w, 0, { id: ID })
      if (end === 'sleeps') {
        for (let i = 0; i < 5; i++) {
          await process.runs.drive(ID)
          process.host.advance(10)
        }
      } else await process.runs.settle(ID)
      const lines = await exported(process)
      const before = [...ran]
      expect(before).toContain('probe')
      const entries = process.world.entries().length
      expect(await checkReplay(lines, w)).toEqual({ ok: true, entries, generation: 1 })
      // As text that was cut into lines, and from a stream.
      expect(await checkReplay((async function* () { yield* lines.join('\n').split('\n') })(), w)).toMatchObject({ ok: true })
      expect(ran).toEqual(before)
      expect(process.world.entries().length).toBe(entries)
    })
  }

  test('a run that is cancelled with undo, blocked by an effect, paused: each fits', async () => {
    const ran: string[] = []
    const w = made('w', async (ctx) => {
      await ctx.effect('a', () => { ran.push('a') }, { ...act, onAmbiguous: 'fail', undo: () => { ran.push('undo') } })
      try {
        await ctx.effect('asks', () => { ran.push('asks'); throw ambiguous(new Error('?')) }, { ...act, onAmbiguous: 'ask' })
      } finally {
        await ctx.cleanup((c) => c.step('clean', () => { ran.push('clean') }))
      }
    })
    const process = open(w)
    await process.run(w)
    const fits = async (): Promise<void> => expect(await checkReplay(await exported(process), w)).toMatchObject({ ok: true })
    await fits()
    await process.runs.control(ID, { kind: 'pause' })
    await process.runs.settle(ID)
    expect(process.world.record().status).toBe('paused')
    await fits()
    await process.runs.cancel(ID, 'no', { undo: true })
    await process.runs.settle(ID)
    // What asks is decided before the run can end.
    await process.runs.control(ID, { kind: 'resolve', seq: 4, decision: 'fail' })
    await process.runs.settle(ID)
    expect(process.world.record().status).toBe('cancelled')
    const before = [...ran]
    await fits()
    expect(ran).toEqual(before)
  })

  test('a generation that inherits: what it inherited and its own are replayed, and older ones are not asked for', async () => {
    const flow = (last: string): AnyWorkflow => made('w', async (ctx) => {
      for (const name of ['a', 'b', last]) await ctx.step(name, () => name)
    })
    const process = open(flow('c'))
    await process.run(flow('c'))
    await process.runs.control(ID, { kind: 'restart', from: 'b' })
    await process.runs.settle(ID)
    const lines = await exported(process)
    expect(await checkReplay(lines, flow('c'))).toEqual({ ok: true, entries: process.world.entries().length, generation: 2 })
    expect(await checkReplay(lines, flow('d'))).toMatchObject({ ok: false, error: { code: 'divergence', details: { recorded: { key: 'c' }, asked: [{ key: 'd' }] } } })
  })

  test('G9: the report shows what was recorded and what is asked for, side by side', async () => {
    const process = open(everything([]))
    await process.run(everything([]))
    const lines = await exported(process)
    const other = made('w', async (ctx) => {
      await ctx.step('patched', () => 1)
      await ctx.step('renamed', () => 1)
    })
    const found = await checkReplay(lines, other)
    expect(found).toMatchObject({ ok: false, error: { code: 'divergence', details: { asked: [{ kind: 'step', key: 'renamed' }] } } })
    expect((found as { error: Error }).error.message).toMatch(/recorded: .*\n {2}asked: {4}step "renamed"/)
  })

  const simple = (fn: (ctx: Ctx) => unknown, more: object = {}): AnyWorkflow => made('w', async (ctx) => {
    await ctx.step('a', () => 1)
    return fn(ctx)
  }, more)

  for (const [what, code, other] of [
    ['ends too early', 'divergence', made('w', () => 1)],
    ['goes on behind the end', 'divergence', simple((ctx) => ctx.step('more', () => 1))],
    ['throws where the run had completed', 'divergence', simple(() => { throw new Error('no') })],
    ['has a typo', 'workflow_bug', simple(() => (undefined as unknown as { x(): void }).x())],
    ['has another name', 'not_registered', made('v', () => 1)],
    ['has another version', 'unknown_version', simple(() => 1, { version: 2 })],
    ['awaits something foreign', 'foreign_await', simple(() => new Promise(() => {}))],
  ] as const) {
    test(`code that ${what}: ${code}`, async () => {
      const w = simple(() => 1)
      const process = open(w)
      await process.run(w)
      expect(await checkReplay(await exported(process), other)).toMatchObject({ ok: false, error: { code } })
    })
  }

  test('a version that says it replays the old one is tried', async () => {
    const w = simple(() => 1)
    const process = open(w)
    await process.run(w)
    expect(await checkReplay(await exported(process), simple(() => 1, { version: 2, replays: [1] }))).toMatchObject({ ok: true })
  })

  test('a file that is damaged is named: an entry, a blob, the end, a line', async () => {
    const w = made('w', (ctx) => ctx.step('big', () => 'x'.repeat(200_000)))
    const process = open(w)
    await process.run(w)
    const lines = await exported(process)
    const at = (test_: (line: string) => boolean): number => lines.findIndex(test_)
    const without = (i: number): string[] => lines.filter((_, j) => j !== i)
    const second = at((line) => line.startsWith('{"seq":2,'))
    const swapped = lines.map((line, i) => i === second ? line.replace(/"entry":"(.{40})(.)/, (_, head: string, c: string) => `"entry":"${head}${c === 'A' ? 'B' : 'A'}`) : line)
    for (const [code, damaged] of [
      ['corrupt_entry', without(second)],
      ['corrupt_entry', swapped],
      ['corrupt_entry', without(at((line) => line.startsWith('{"seq":3,')))],
      ['blob_missing', without(at((line) => line.includes('"chunk"')))],
      ['corrupt_run', lines.slice(0, -1)],
      ['corrupt_run', lines.slice(1)],
      ['corrupt_run', []],
      ['malformed_json', ['{', ...lines.slice(1)]],
      ['format_too_new', [(lines[0] as string).replace('"format":1', '"format":2'), ...lines.slice(1)]],
    ] as const) {
      expect(await checkReplay(damaged, w)).toMatchObject({ ok: false, error: { code } })
    }
  })
})
