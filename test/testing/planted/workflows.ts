// One workflow for each fault that the kit must find. The line to change ends with a comment of its name.

import { z } from 'zod'
import { services, workflow } from '../../../src/index.ts'

const input = z.any()

export interface Bank { pay(cents: number, idempotencyKey?: string): string }

export const randomness = workflow({ name: 'randomness', input }, async (ctx) => {
  await ctx.step('first', () => 1)
  const lucky = Math.random() // plant: randomness
  await ctx.step('second', () => 2)
  return lucky >= 0
})

export const clock = workflow({ name: 'clock', input }, async (ctx) => {
  await ctx.step('first', () => 1)
  return new Date().getFullYear() > 0 // plant: clock
})

export const foreignTimer = workflow({ name: 'foreign-timer', input }, async (ctx) => {
  await ctx.step('first', () => 1)
  await new Promise((resolve) => { setTimeout(resolve, 250) }) // plant: foreign timer
  await ctx.step('second', () => 2)
})

/** Waits for something that nobody can watch. */
export const foreignAwait = workflow({ name: 'foreign-await', input }, async (ctx) => {
  await ctx.step('first', () => 1) // plant: before the foreign await
  await outside()
  await ctx.step('second', () => 2)
})

/** Set by a test: something real. */
let outside: () => Promise<void> = async () => {}
export function setOutside(real: () => Promise<void>): void {
  outside = real
}

export const payment = workflow({ name: 'payment', input: z.number(), services: services<{ any: { bank: Bank } }>() }, async (ctx, cents) => {
  return ctx.effect('pay', ({ services, input }) => services.bank.pay(input), { kind: 'money', input: cents, onAmbiguous: 'rerun', timeout: '5 seconds' }) // plant: ignored key
})

export const paymentWithKey = workflow({ name: 'payment-with-key', input: z.number(), services: services<{ any: { bank: Bank } }>() }, async (ctx, cents) => {
  return ctx.effect('pay', ({ services, input, idempotencyKey }) => services.bank.pay(input, idempotencyKey), { kind: 'money', input: cents, onAmbiguous: 'rerun', timeout: '5 seconds' })
})

let passes = 0
export const branching = workflow({ name: 'branching', input }, async (ctx) => {
  const isOdd = passes++ % 2 === 1
  await ctx.step('always', () => 1)
  if (isOdd) await ctx.step('odd', () => 2) // plant: the odd branch
  else await ctx.step('even', () => 3) // plant: the even branch
})

export const captured = workflow({ name: 'captured', input }, async (ctx) => {
  let total = 0
  await ctx.step('harmless', () => 1)
  await ctx.step('count', () => { total += 5 }) // plant: captured variable
  return ctx.step('read', () => total)
})

export const capturedResult = workflow({ name: 'captured-result', input }, async (ctx) => {
  let total = 0
  await ctx.step('count', () => { total += 5 }) // plant: captured result
  return total
})
