// Workflows with a planted fault each: the explorer or the test host must name the line to change.

import { ok } from '../../src/testing/assert.ts'
import { createQuiesce, exploreCrashes, testHost } from '../../src/testing/index.ts'
import type { AnyWorkflow } from '../../src/index.ts'
import * as planted from '../testing/planted/workflows.ts'

/** The line that ends with this marker; undefined where lines are not those of the source. */
export type LineOf = (marker: string) => number | undefined

const bank = { bank: { pay: () => 'paid' } }
const explored = (workflow: AnyWorkflow, services: object = {}) => (): Promise<unknown> => exploreCrashes(workflow, 900, { services, maxPairs: 20 })
const hosted = (workflow: AnyWorkflow, services: object = {}) => async (): Promise<unknown> =>
  (await testHost<AnyWorkflow>({ workflows: [workflow], services }).start(workflow, 900)).result()

/** Something real that no guard watches, and that takes longer than the engine waits at quiescence. */
async function real(): Promise<void> {
  const quiesce = createQuiesce()
  for (let turn = 0; turn < 20; turn++) await quiesce()
}

interface Case {
  readonly title: string
  readonly run: () => Promise<unknown>
  /** Markers of the lines that the message must name. */
  readonly markers: readonly string[]
  readonly says: readonly string[]
}

const cases: readonly Case[] = [
  { title: 'a plain Math.random (explorer)', run: explored(planted.randomness), markers: ['randomness'], says: ['Math.random()', 'ctx.random()'] },
  { title: 'a plain Math.random (test host)', run: hosted(planted.randomness), markers: ['randomness'], says: ['Math.random()', 'ctx.random()'] },
  { title: 'a plain Date (explorer)', run: explored(planted.clock), markers: ['clock'], says: ['new Date()', 'ctx.now()'] },
  { title: 'a plain Date (test host)', run: hosted(planted.clock), markers: ['clock'], says: ['new Date()', 'ctx.now()'] },
  { title: 'an awaited timer (explorer)', run: explored(planted.foreignTimer), markers: ['foreign timer'], says: ['setTimeout()'] },
  { title: 'an awaited timer (test host)', run: hosted(planted.foreignTimer), markers: ['foreign timer'], says: ['setTimeout()', 'foreign_await'] },
  { title: 'a foreign await that nothing watches (explorer)', run: explored(planted.foreignAwait), markers: ['before the foreign await'], says: ['belongs into a step'] },
  { title: 'a foreign await that nothing watches (test host)', run: hosted(planted.foreignAwait), markers: ['before the foreign await'], says: ['foreign_await', 'belongs into a step'] },
  { title: 'an effect that ignores its idempotency key (explorer)', run: explored(planted.payment, bank), markers: ['ignored key'], says: ['effect "pay"', 'never reads its idempotencyKey'] },
  { title: 'an effect that ignores its idempotency key (test host)', run: hosted(planted.payment, bank), markers: ['ignored key'], says: ['effect "pay"', 'never reads its idempotencyKey'] },
  { title: 'a branch that the journal does not decide (explorer)', run: explored(planted.branching), markers: ['the odd branch', 'the even branch'], says: ['no longer fits the journal at entry 3'] },
  { title: 'a branch that the journal does not decide (test host)', run: hosted(planted.branching), markers: ['the odd branch', 'the even branch'], says: ['no longer fits the journal at entry 3'] },
  { title: 'a step that changes a captured variable', run: explored(planted.captured), markers: ['captured variable'], says: ['step "count"', 'was not run again in the replay', 'return it instead', "only: 'after:4'"] },
  { title: 'a captured variable that is the result (test host)', run: hosted(planted.capturedResult), markers: ['captured result'], says: ['gave 5, and gives 0 in a replay', 'step "count"'] },
]

/** By title: each throws unless the fault is caught with a message that names its lines. */
export function plantedCases(lineOf: LineOf): readonly { readonly title: string; readonly run: () => Promise<void> }[] {
  const files = 'planted/workflows.ts:'
  return [
    ...cases.map(({ title, run, markers, says }) => ({
      title,
      run: async () => {
        planted.setOutside(real)
        const said = await run().then(() => undefined, (error: unknown) => String((error as Error).message))
        ok(said !== undefined, 'the fault was not caught')
        for (const part of says) ok(said.includes(part), `expected ${JSON.stringify(part)} in:\n${said}`)
        for (const marker of markers) {
          const place = `${files}${lineOf(marker) ?? ''}`
          ok(said.includes(place), `expected ${place} (${marker}) in:\n${said}`)
        }
      },
    })),
    {
      title: 'a workflow without a fault is not blamed, and the globals are the same as before',
      run: async () => {
        const globals = (): unknown[] => [Math.random, Date, Date.now, globalThis.setTimeout, globalThis.fetch, crypto.randomUUID, performance.now]
        const before = globals()
        await explored(planted.paymentWithKey, bank)()
        await hosted(planted.paymentWithKey, bank)()
        ok(globals().every((value, i) => value === before[i]), 'a global is still replaced')
      },
    },
    {
      title: 'the guard can be switched off, and a seed of the explorer repeats what it has found',
      run: async () => {
        ok(await (await testHost({ workflows: [planted.clock], guard: false }).start(planted.clock, 0)).result(), 'the output')
        const counts = await exploreCrashes(planted.clock, 0, { guard: false, maxPairs: 0 })
        ok(counts.singles > 8 && counts.quiets > 0, JSON.stringify(counts))
        const again = await exploreCrashes(planted.captured, 0, { only: 'after:4' }).then(() => '', (error: unknown) => (error as Error).message)
        ok(again.includes("only: 'after:4'"), again)
        const fine = await exploreCrashes(planted.captured, 0, { only: 'before:3' })
        ok(fine.schedules === 2, JSON.stringify(fine))
      },
    },
  ]
}
