import { expect, it } from 'vitest'
import { workflow } from '../../src/define.ts'
import { backend } from '../../src/hash.ts'
import { Cursor } from '../../src/journal/cursor.ts'
import { GENESIS } from '../../src/journal/entry.ts'
import { any, freshName, open, openShelf } from './support.ts'

/** Takes steps until one of them runs in a page that has the faster hash, and ten more. Gives how many there were. */
const steps = workflow({ name: 'steps', input: any<{ most: number }>(), output: any<number>() }, async (ctx, { most }) => {
  for (let n = 1, more = 10; n < most; n++) {
    if ((await ctx.step('step', async () => backend())) === 'wasm' && more-- === 0) return n
  }
  return most
})

it('G4: a page that takes many steps goes on with the faster hash, in the middle of a chain; one that takes few never loads it', async () => {
  const name = freshName()
  const well = await open({ name, workflows: [steps] })
  expect(await (await well.start(steps, { most: 20 })).result()).toBe(20)
  expect(backend()).toBe('js')
  const run = await well.start(steps, { most: 5_000 })
  const taken = await run.result()
  expect(backend()).toBe('wasm')
  expect(taken).toBeGreaterThan(50)
  expect(taken).toBeLessThan(5_000)
  // What replay reads: every link is verified, whichever of the two made it.
  const cursor = new Cursor((await openShelf(name)).open(run.id), [{ from: 1, to: Infinity }], { seq: 0, hash: GENESIS }, 100)
  let entries = 0
  for (await cursor.fill(); cursor.peek() !== undefined; await cursor.fill()) {
    cursor.shift()
    entries++
  }
  expect(entries).toBe(taken + 2)
}, 30_000)
