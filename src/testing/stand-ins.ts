// Signals and children whose answers a test gives. What waits for one is a step of the kit, which the mock answers: it is journaled, survives
// crashes and is the same on every replay, as the real one will be.

import type { Ctx } from '../context.ts'
import type { AnyWorkflow } from '../define.ts'
import { MAX_DURATION_MS } from '../duration.ts'
import { isStepwellError, StepwellError } from '../errors.ts'
import { given } from '../given.ts'
import { validate } from '../schema.ts'
import { frontOf } from './inner-ctx.ts'
import type { FunctionCall, StandInRole } from './watch.ts'

export interface StandIns {
  /** Whether a mock answers what is asked for by this name. */
  readonly has: (role: StandInRole, name: string) => boolean
  /** Its answer, or a promise of it; what it throws is the failure of the call. */
  readonly answer: (role: StandInRole, name: string, call: FunctionCall) => unknown
}

/** What waits for a signal or a child, as the journal shows it. */
export const standInName = (role: StandInRole, name: string): string => `${role}:${name}`

/** Once: the mock is the answer, whatever it is. */
const once = { retry: { limit: 0 } } as const

/** The same workflow, with `ctx.signal` and `ctx.child` answered where a mock does; all else, and what no mock answers, is the engine's. */
export function standingIn<D extends AnyWorkflow>(workflow: D, standIns: StandIns): D {
  const run = workflow.run as unknown as (ctx: Ctx, input: unknown) => unknown
  const inFront = (name: string, method: (...args: unknown[]) => unknown, ctx: Ctx): ((...args: unknown[]) => unknown) | undefined => {
    if (name === 'signal') return (...args) => isNamed('signal', args[0]) ? signal(ctx, args[0], args[1]) : method(...args)
    if (name === 'child') return (...args) => isNamed('child', nameOf(args[0])) ? child(ctx, args[0] as AnyWorkflow, args[1]) : method(...args)
    return undefined
  }
  const isNamed = (role: StandInRole, name: unknown): name is string => typeof name === 'string' && standIns.has(role, name)
  const signal = async (ctx: Ctx, name: string, options: unknown): Promise<unknown> => {
    const schema = workflow.signals[name]
    if (schema === undefined) throw new StepwellError('invalid_argument', `workflow ${workflow.name} declares no signal ${JSON.stringify(name)}`)
    const { timeout }: { readonly timeout?: number } = given(options as object | undefined, 'the options of a signal')
    try {
      return await ctx.step(standInName('signal', name), async (call) =>
        validate(schema, await standIns.answer('signal', name, call), 'input_invalid', `the payload of signal ${JSON.stringify(name)}`), { ...once, timeout: timeout ?? MAX_DURATION_MS })
    } catch (error) {
      if (timeout !== undefined && isStepwellError(error, 'step_timeout')) return undefined
      throw error
    }
  }
  const child = (ctx: Ctx, { name, output }: AnyWorkflow, input: unknown): Promise<unknown> =>
    ctx.step(standInName('child', name), async (call) =>
      validate(output, await standIns.answer('child', name, call), 'output_invalid', `the output of child ${name}`), { ...once, input, timeout: MAX_DURATION_MS })
  return { ...workflow, run: ((ctx: Ctx, input: unknown) => run(frontOf(ctx, inFront), input)) as unknown as AnyWorkflow['run'] }
}

function nameOf(definition: unknown): unknown {
  return typeof definition === 'object' && definition !== null ? (definition as { readonly name?: unknown }).name : undefined
}
