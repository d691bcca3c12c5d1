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

/** Five effects as money is moved: an intent before each and an outcome behind it, both on the disk. */
export const fiveEffects = workflow({ name: 'five-effects', input: any<null>() }, async (ctx) => {
  for (let i = 0; i < 5; i++) await ctx.effect('effect', async () => RESULT, { kind: 'money', input: i, onAmbiguous: 'ask' })
})

/** One commit before it is acknowledged, and it sleeps. */
export const asleep = workflow({ name: 'asleep', input: any<null>() }, async (ctx) => { await ctx.sleep('1 day') })
