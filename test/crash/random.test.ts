// Random workflows, killed at every commit. A crash may change who wins a race that is still open, so only the status must be equal;
// what the explorer checks of journals and calls holds for all of them, and a journal replays to the end that it records.

import { expect, test } from 'vitest'
import type { Ctx } from '../../src/context.ts'
import { workflow } from '../../src/index.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { exploreCrashes } from '../../src/testing/crash-explorer.ts'
import type { TestHost } from '../../src/testing/test-host.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { anything } from '../engine/support.ts'

type Part = (ctx: Ctx) => Promise<unknown>

/** A program of about `size` calls; the same for the same seed. */
function program(seed: number, size: number): Part {
  let state = (seed * 2654435761) >>> 0 || 1
  const next = (n: number): number => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % n
  }
  const wait = (call: { services: object }, ms: number): Promise<void> =>
    (call.services as { wait(ms: number): Promise<void> }).wait(ms)
  const leaf = (): Part => {
    const n = next(30)
    const name = 'abc'[next(3)] as string
    switch (next(7)) {
      case 0:
        return async (ctx) => ctx.sleep(1 + n * 100)
      case 1:
        return async (ctx) => {
          for (let i = 0; i < n; i++) await undefined
          return ctx.random()
        }
      case 2:
        return async (ctx) => ctx.step(name, () => n)
      case 3:
        return async (ctx) =>
          ctx.step(
            name,
            (call) => {
              if (call.attempt <= n % 3) throw new Error('busy')
              return n
            },
            { retry: { limit: 2, delay: 1 + n * 50, jitter: 0 } },
          )
      case 4:
        return async (ctx) =>
          ctx
            .step(
              name,
              () => {
                throw new Error('no')
              },
              { retry: { limit: n % 2, delay: 5 } },
            )
            .catch((error: Error) => error.message)
      default:
        return async (ctx) =>
          ctx.step(name, async (call) => {
            await wait(call, n * 10)
            return n
          })
    }
  }
  const make = (left: number): Part => {
    if (left <= 1) return leaf()
    const parts = Array.from({ length: 2 + next(2) }, () => make(Math.floor(left / 2)))
    const branches = Object.fromEntries(parts.map((part, i) => [`b${i}`, part]))
    switch (next(8)) {
      case 0:
        return async (ctx) => ctx.all(branches)
      case 1:
        return async (ctx) => ctx.race(branches)
      case 2:
        return async (ctx) => ctx.any(branches).catch((error: Error) => error.name)
      case 3:
        return async (ctx) => Object.keys(await ctx.settled(branches))
      case 4:
        return async (ctx) => ctx.map('m', parts, { concurrency: 2 }, (c, part) => part(c as unknown as Ctx))
      case 5:
        return async (ctx) => Promise.race(parts.map((part) => part(ctx)))
      default:
        return async (ctx) => {
          for (const part of parts) await part(ctx)
        }
    }
  }
  const body = make(size)
  return async (ctx) => {
    await body(ctx)
    await ctx.step('last', () => 1)
  }
}

const PROGRAMS = Number(process.env['CRASH_PROGRAMS'] ?? 15)
const FIRST_SEED = Number(process.env['CRASH_SEED'] ?? 1)

test.each(['at once', 'later'] as const)(
  `${PROGRAMS} random workflows from seed ${FIRST_SEED}, on a store that answers %s`,
  async (answers) => {
    let schedules = 0
    let crashes = 0
    for (let seed = FIRST_SEED; seed < FIRST_SEED + PROGRAMS; seed++) {
      const run = program(seed, 4 + (seed % 9))
      const w = workflow({ name: 'random', input: anything }, async (ctx) => {
        await run(ctx as unknown as Ctx)
      })
      const open = (id: string) =>
        answers === 'later' ? answeringLater(createMemoryShelf().open(id)) : createMemoryShelf().open(id)
      try {
        const counts = await exploreCrashes(w, 0, {
          open,
          maxPairs: 15,
          result: ({ summary }) => summary.status,
          services: (_, host: TestHost) => ({
            wait: (ms: number) =>
              new Promise<void>((resolve) => {
                host.timer(ms, resolve)
              }),
          }),
          check: (_, { summary }) => {
            expect(summary.status).toBe('completed')
          },
        })
        schedules += counts.schedules
        crashes += counts.crashes
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
    }
    console.log(
      `crash explorer: ${PROGRAMS} random workflows, answering ${answers}: ${schedules} schedules, ${crashes} crashes`,
    )
    expect(schedules).toBeGreaterThan(PROGRAMS * 20)
  },
  60_000 + PROGRAMS * 5000,
)
