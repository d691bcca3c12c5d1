// A workflow definition: name, version, schemas, services as types, and the function. No host code.

import type { Ctx, Services, SignalMap } from './context.ts'
import { type Duration, toMs } from './duration.ts'
import { StepwellError } from './errors.ts'
import { shown } from './given.ts'
import type { Schema, SchemaInput, SchemaOutput } from './schema.ts'

declare const types: unique symbol

/** Carries the types of a workflow's services. Erased: at run time it is an empty object. */
export interface ServicesType<S extends Services> {
  readonly [types]?: S
}

/** `services<{ edge: {…}; browser: {…}; any: {…} }>()`: what each host must lend to this workflow's steps. */
export function services<S extends Services>(): ServicesType<S> {
  return {}
}

export interface WorkflowOptions<
  N extends string, IS extends Schema<any, any>, OS extends Schema<any, any> | undefined, Sig extends SignalMap, S extends Services, Def extends SignalMap = {},
> {
  readonly name: N
  /** Raise only when the new code can't replay old runs. Default 1. */
  readonly version?: number
  /** Older versions whose runs this code can replay. */
  readonly replays?: readonly number[]
  readonly input: IS
  readonly output?: OS
  /** What can be sent to its runs, by name. */
  readonly signals?: Sig
  /** What its runs have settled from outside, with a token, by name. */
  readonly deferreds?: Def
  readonly services?: ServicesType<S>
  /**
   * Of the whole run, from its start; again from each restart or retry that somebody asks for, as the code says then. Default: none. At its
   * end the run is wound up like a cancel and fails with `run_timeout`.
   */
  readonly timeout?: Duration
  /** How long `ctx.cleanup` may take after a cancel. Default '30 seconds'. */
  readonly grace?: Duration
  /** When the code no longer fits the journal: block the run (default), or begin its next generation. */
  readonly onDivergence?: 'fail' | 'restart'
  /**
   * How long an ended run is kept: `failed` also for one that was cancelled. Default: for good. Then it is removed, with everything that
   * it has, once its end was told (`onEnd`); its id stays taken, and whoever asks for it is told `run_swept`. `export` it before, to keep
   * it. What counts is the definition at the end; a restart before that time begins a run that goes on, and a new time when that ends.
   */
  readonly retention?: { readonly completed?: Duration; readonly failed?: Duration }
}

export interface Workflow<
  N extends string, I, PI, O, Sig extends SignalMap, S extends Services, Def extends SignalMap = {},
> {
  readonly name: N
  readonly version: number
  readonly replays: readonly number[]
  readonly input: Schema
  readonly output: Schema | undefined
  readonly signals: Readonly<Record<string, Schema>>
  readonly deferreds: Readonly<Record<string, Schema>>
  readonly timeoutMs: number | undefined
  readonly graceMs: number
  readonly onDivergence: 'fail' | 'restart'
  /** How long an ended run is kept, by how it ended; undefined: for good. */
  readonly retention: { readonly completedMs: number | undefined; readonly failedMs: number | undefined }
  /** The function, as the engine calls it. */
  readonly run: (ctx: never, input: never) => unknown
  readonly types?: { input: I; parsed: PI; output: O; signals: Sig; services: S; deferreds: Def } | undefined
}

export type AnyWorkflow = Workflow<string, any, any, any, any, any, any>
export type WorkflowInput<D> = D extends Workflow<any, infer I, any, any, any, any, any> ? I : never
export type WorkflowOutput<D> = D extends Workflow<any, any, any, infer O, any, any, any> ? O : never
export type WorkflowSignals<D> = D extends Workflow<any, any, any, any, infer Sig, any, any> ? Sig : never
export type WorkflowServices<D> = D extends Workflow<any, any, any, any, any, infer S, any> ? S : never

/**
 * Defines a workflow. `start` takes the input schema's input type, the function gets its output type; the result is the
 * output schema's output. Throws `invalid_argument`, `invalid_duration` for a bad option: nothing else happens at definition.
 */
export function workflow<
  const N extends string, IS extends Schema<any, any>, OS extends Schema<any, any>, Sig extends SignalMap = {}, S extends Services = {}, Def extends SignalMap = {},
>(
  options: WorkflowOptions<N, IS, OS, Sig, S, Def> & { readonly output: OS },
  fn: (ctx: Ctx<S, Sig, Def>, input: SchemaOutput<IS>) => SchemaInput<OS> | Promise<SchemaInput<OS>>,
): Workflow<N, SchemaInput<IS>, SchemaOutput<IS>, SchemaOutput<OS>, Sig, S, Def>
export function workflow<
  const N extends string, IS extends Schema<any, any>, R, Sig extends SignalMap = {}, S extends Services = {}, Def extends SignalMap = {},
>(
  options: WorkflowOptions<N, IS, undefined, Sig, S, Def> & { readonly output?: undefined },
  fn: (ctx: Ctx<S, Sig, Def>, input: SchemaOutput<IS>) => R | Promise<R>,
): Workflow<N, SchemaInput<IS>, SchemaOutput<IS>, Awaited<R>, Sig, S, Def>
export function workflow(
  options: WorkflowOptions<string, Schema, Schema | undefined, SignalMap, Services, SignalMap>,
  fn: (ctx: never, input: never) => unknown,
): AnyWorkflow {
  const refuse = (why: string): never => { throw new StepwellError('invalid_argument', why) }
  if (typeof options !== 'object' || options === null) refuse('a workflow is defined by its options and its function')
  if (typeof options.name !== 'string' || !/^[A-Za-z0-9._~-]{1,64}$/.test(options.name)) {
    refuse(`workflow name ${shown(options.name)}: use 1 to 64 letters, digits, "." "_" "~" "-"`)
  }
  const version = options.version ?? 1
  const replays = options.replays ?? []
  if (!Array.isArray(replays)) refuse(`workflow ${options.name}: replays is a list of versions`)
  for (const v of [version, ...replays]) {
    if (!Number.isSafeInteger(v) || v < 1) {
      refuse(`workflow ${options.name}: version ${shown(v)} is not a whole number from 1`)
    }
  }
  if (typeof fn !== 'function') refuse(`workflow ${options.name}: no function given`)
  const { output, signals = {}, deferreds = {}, onDivergence = 'fail', retention = {} } = options
  if (!isSchema(options.input)) refuse(`workflow ${options.name}: input is not a Standard Schema`)
  if (output !== undefined && !isSchema(output)) refuse(`workflow ${options.name}: output is not a Standard Schema`)
  for (const [what, schemas] of Object.entries({ signals, deferreds })) {
    if (typeof schemas !== 'object' || schemas === null || !Object.values(schemas).every(isSchema)) refuse(`workflow ${options.name}: ${what} are Standard Schemas, by name`)
  }
  if (onDivergence !== 'fail' && onDivergence !== 'restart') refuse(`workflow ${options.name}: onDivergence is "fail" or "restart"`)
  if (typeof retention !== 'object' || retention === null) refuse(`workflow ${options.name}: retention says how long runs are kept, as { completed, failed }`)
  return Object.freeze({
    name: options.name,
    version,
    replays: Object.freeze([...replays]),
    input: options.input,
    output,
    signals: Object.freeze({ ...signals }),
    deferreds: Object.freeze({ ...deferreds }),
    timeoutMs: options.timeout === undefined ? undefined : toMs(options.timeout, 'timeout'),
    graceMs: toMs(options.grace ?? '30 seconds', 'grace'),
    onDivergence,
    retention: Object.freeze({
      completedMs: retention.completed === undefined ? undefined : toMs(retention.completed, 'retention.completed'),
      failedMs: retention.failed === undefined ? undefined : toMs(retention.failed, 'retention.failed'),
    }),
    run: fn,
  })
}

function isSchema(schema: unknown): boolean {
  return typeof (schema as Schema | null | undefined)?.['~standard']?.validate === 'function'
}

/** The workflows a host knows, by name. Throws `invalid_argument` when two share one, and for what is no definition. */
export type Registry = ReadonlyMap<string, AnyWorkflow>

export function registry(workflows: readonly AnyWorkflow[]): Registry {
  const byName = new Map<string, AnyWorkflow>()
  if (!Array.isArray(workflows)) throw new StepwellError('invalid_argument', 'workflows is a list of definitions')
  for (const definition of workflows as readonly AnyWorkflow[]) {
    if (typeof definition?.run !== 'function') throw new StepwellError('invalid_argument', 'what is in the list of workflows is made by workflow()')
    if (byName.has(definition.name)) {
      throw new StepwellError('invalid_argument', `two workflows are named ${definition.name}`)
    }
    byName.set(definition.name, definition)
  }
  return byName
}

/** Whether this definition may drive a run that was started at `version`. */
export function knowsVersion(definition: AnyWorkflow, version: number): boolean {
  return definition.version === version || definition.replays.includes(version)
}
