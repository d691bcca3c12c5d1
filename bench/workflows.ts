// The workflows that both hosts are measured with. Steps give 100 bytes and do nothing else: what is left is the engine.

import { type Schema, workflow } from 'stepwell'

/** A result of 100 bytes, as every step here gives one. */
export const RESULT: string = 'x'.repeat(100)

/** Takes anything of this type. */
export function any<T>(): Schema<T> {
  return { '~standard': { version: 1, vendor: 'bench', validate: (value: unknown) => ({ value: value as T }) } }
}

/** `n` steps, one after the other. */
export const sequential = workflow({ name: 'sequential', input: any<{ n: number }>() }, async (ctx, { n }) => {
  for (let i = 0; i < n; i++) await ctx.step('step', async () => RESULT)
})

/** `n` steps at once. */
export const parallel = workflow({ name: 'parallel', input: any<{ n: number }>() }, async (ctx, { n }) => {
  await Promise.all(Array.from({ length: n }, () => ctx.step('step', async () => RESULT)))
})
