import { describe, expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import type { AnyWorkflow } from '../../src/define.ts'
import { workflow } from '../../src/index.ts'
import { anything, ID, World } from './support.ts'

/** What a deploy may hold: the flow that the run was started with, and what it becomes. */
interface Flow { readonly name?: string; readonly version?: number; readonly replays?: readonly number[]; readonly broken?: boolean; readonly other?: boolean }

describe('a deploy that does not fit', () => {
  const rows: readonly (readonly [what: string, code: string, first: Flow, wrong: Flow, right: Flow])[] = [
    ['an older deploy comes back that does not know the version', 'unknown_version', { version: 3, replays: [2] }, { version: 2 }, { version: 3, replays: [2] }],
    ['a newer deploy has dropped the version', 'unknown_version', { version: 1 }, { version: 3, replays: [2] }, { version: 4, replays: [1, 2, 3] }],
    ['a deploy without the workflow', 'not_registered', {}, { name: 'another' }, {}],
    ['the workflow was given another name, and its old one back', 'not_registered', { name: 'old' }, { name: 'new' }, { name: 'old' }],
    ['a deploy with a typo', 'workflow_bug', {}, { broken: true }, {}],
    ['a deploy with another history', 'divergence', {}, { other: true }, {}],
  ]
  for (const [what, code, first, wrong, right] of rows) {
    test(`G9, G22: ${what}: blocked (${code}), nothing lost, nothing done, and the right deploy goes on where it was`, async () => {
      const done: string[] = []
      const made = ({ name = 'w', version = 1, replays = [], broken, other }: Flow): AnyWorkflow => workflow({ name, version, replays, input: anything }, async (ctx) => {
        if (other === true) await ctx.step('other', () => { done.push('other') })
        await ctx.effect('pay', () => { done.push('pay') }, { kind: 'money', input: 1, onAmbiguous: 'fail', undo: () => { done.push('undo') } })
        await ctx.sleep('1 day')
        if (broken === true) (undefined as unknown as Ctx).now()
        await ctx.step('ship', () => { done.push('ship') })
        return ctx.info.version
      })
      const world = new World()
      const before = world.boot(made(first))
      await before.runs.start(made(first), 0, { id: ID })
      await before.runs.drive(ID)
      await before.crash()
      const kept = world.entries().slice(0, 3).map(({ hash }) => hash)

      const meanwhile = world.boot(made(wrong))
      meanwhile.host.advance(24 * 3_600_000)
      expect(await meanwhile.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code, curable: true, tries: 1 } })
      // It is looked at again by itself, ever more rarely, so that a run that nobody touches notices the next deploy.
      meanwhile.host.advanceTo(world.row().wakeAt as number)
      expect(await meanwhile.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code, tries: 2 } })
      expect((world.row().wakeAt as number) - meanwhile.now).toBeGreaterThan(60_000)
      expect(done).toEqual(['pay'])
      await meanwhile.crash()

      const after = world.boot(made(right))
      expect(await after.runs.settle(ID)).toEqual({ kind: 'ended', status: 'completed' })
      expect(done).toEqual(['pay', 'ship'])
      expect((await after.runs.summary(ID)).output).toBe(first.version ?? 1)
      expect(world.entries().slice(0, 3).map(({ hash }) => hash)).toEqual(kept)
      expect(world.record().blocked).toBeUndefined()
    })
  }

  test('G21: while no deploy fits, a pause waits for one that does; a cancel needs none', async () => {
    const made = (version: number): AnyWorkflow => workflow({ name: 'w', version, input: anything }, async (ctx) => { await ctx.sleep('1 day') })
    for (const cancels of [false, true]) {
      const world = new World()
      const before = world.boot(made(1))
      await before.runs.start(made(1), 0, { id: ID })
      await before.runs.drive(ID)
      await before.crash()
      const meanwhile = world.boot(made(2))
      await meanwhile.runs.drive(ID)
      if (cancels) {
        await meanwhile.runs.cancel(ID)
        expect(await meanwhile.runs.settle(ID)).toEqual({ kind: 'ended', status: 'cancelled' })
        continue
      }
      await meanwhile.runs.control(ID, { kind: 'pause' })
      expect(await meanwhile.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'unknown_version' } })
      await meanwhile.crash()
      const after = world.boot(made(1))
      expect(await after.runs.drive(ID)).toEqual({ kind: 'parked', wakeAt: null })
      expect(world.record().status).toBe('paused')
    }
  })
})
