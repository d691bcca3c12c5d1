// The edge host: workflows on Durable Objects, one object a run, behind an HTTP API and a client.

import type { Hono } from 'hono'
import type { Client } from '../src/client.ts'
import type { ServicesOf } from '../src/context.ts'
import { type AnyWorkflow, registry, type WorkflowServices } from '../src/define.ts'
import type { RunEnd } from '../src/engine/notice.ts'
import { knownPrincipal } from '../src/engine/post.ts'
import { type Redact, StepwellError } from '../src/errors.ts'
import { given, givenFunction, needed, neededFunction } from '../src/given.ts'
import { limits, type Limits } from '../src/limits.ts'
import type { Authorize } from './authorize.ts'
import { createEdgeClient, type EdgeReach } from './client.ts'
import type { RunConfig } from './drives.ts'
import { findNamespace } from './namespace.ts'
import { createRoutes } from './routes.ts'
import { RunObject } from './run-object.ts'

export { allowLocalhost } from './authorize.ts'
export type { Action, Authorization, Authorize, AuthorizeRun } from './authorize.ts'
export type { RunEnd } from '../src/engine/notice.ts'
export type { RunObject } from './run-object.ts'

type Intersection<U> = (U extends unknown ? (x: U) => void : never) extends (x: infer I) => void ? I : never

/** What a host must lend to all of these workflows. */
export type Need<W, At extends 'edge' | 'browser'> = Intersection<W extends AnyWorkflow ? ServicesOf<WorkflowServices<W>, At> : never>

export interface EdgeOptions<Env extends object, W extends readonly AnyWorkflow[]> {
  readonly workflows: W
  /** Called once for each object that drives a run. Secrets stay in here: a value never holds one. */
  readonly services: (env: Env) => Need<W[number], 'edge'>
  /** Decides about every HTTP request. `null` refuses them all: then only `client(env)` reaches the runs. */
  readonly authorize: Authorize<NoInfer<Env>> | null
  readonly limits?: Partial<Limits>
  /**
   * Masks secrets in the texts of errors (messages, details, causes) before anything of them is stored; called with each text and
   * the name of its field. In place of the default, `maskSecrets`; one that throws leaves nothing of the text.
   */
  readonly redact?: Redact
  /**
   * Told of the end of every run at least once: after it was committed, and again after a crash or when it has thrown, with a back-off
   * that is stored, `limits.noticeTries` times. The pair of `end.id` and `end.generation` names an end. Keep it short: what takes long,
   * or has to be done exactly once, is a workflow that it starts, with a token made of the two.
   */
  readonly onEnd?: (end: RunEnd, env: Env) => void | Promise<void>
  /** The name under which the worker exports `Run`. Default 'Run'. */
  readonly className?: string
  /** A Durable Object binding to that class, for configurations with `migrations`. Default: `exports` of wrangler.toml, no binding. */
  readonly binding?: string
  /** The largest body of a JSON request. Default 8 MiB. Blobs have a limit of their own, `limits.blobBytes`. */
  readonly bodyBytes?: number
}

export type RunClass<Env> = new (ctx: DurableObjectState, env: Env) => RunObject<Env>

export interface Edge<Env extends object, W extends readonly AnyWorkflow[]> {
  /** The Durable Object class: `export const Run = well.Run`. */
  readonly Run: RunClass<Env>
  /** The HTTP API, under `/v1` of wherever it is mounted. */
  readonly app: Hono<{ Bindings: Env }>
  /**
   * Reaches the runs without HTTP and without `authorize`. Asks nothing until one of its methods is called. `principal` says for whom
   * it acts: it is kept with cancels, pauses, restarts and decisions, as that of `authorize` is. Throws `invalid_argument` for one
   * that is no text of 1 to 256 characters.
   */
  client(env: Env, options?: { readonly principal?: string }): Client<W[number]>
}

const BODY_BYTES = 8 * 1024 * 1024

/**
 * The edge host of these workflows. Every run is one Durable Object, whose alarm is its timer: it goes on after an eviction, a
 * crash and a deploy. Throws `invalid_argument` for two workflows of one name and for an option that is none; touches nothing else.
 */
export function edge<Env extends object, const W extends readonly AnyWorkflow[]>(options: EdgeOptions<Env, W>): Edge<Env, W> {
  const known = registry(needed(options, 'the options of edge()').workflows)
  neededFunction(options.services, 'services')
  if (options.authorize !== null) neededFunction(options.authorize, 'authorize (null refuses every request)')
  for (const hook of ['redact', 'onEnd'] as const) givenFunction(options[hook], hook)
  for (const name of ['className', 'binding'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'string') throw new StepwellError('invalid_argument', `${name} is a name of the worker's`)
  }
  const { bodyBytes = BODY_BYTES } = options
  if (!(typeof bodyBytes === 'number' && bodyBytes > 0)) throw new StepwellError('invalid_argument', 'bodyBytes is a positive number')
  const all = limits(options.limits)
  const reach = (env: Env): EdgeReach => ({ registry: known, limits: all, namespace: () => findNamespace(env, options) })
  const config: RunConfig<Env> = { registry: known, limits: all, services: (env) => options.services(env) as object, redact: options.redact, onEnd: options.onEnd }
  return {
    Run: class Run extends RunObject<Env> {
      constructor(ctx: DurableObjectState, env: Env) {
        super(ctx, env, config)
      }
    },
    app: createRoutes<Env>({ reach, authorize: options.authorize, bodyBytes, version: VERSION }),
    client: (env, of) => {
      const { principal }: { readonly principal?: string } = given(of)
      return createEdgeClient<W[number]>(reach(env), knownPrincipal(principal))
    },
  }
}

/** Of the package; `test/worker/routes.test.ts` compares it with package.json. */
const VERSION = '0.1.0'
