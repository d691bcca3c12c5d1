// Where the objects of the runs are: the class among the worker's own exports, or a binding of older set-ups.

import * as platform from 'cloudflare:workers'
import type { GetOptions, StartOptions } from '../src/client.ts'
import { StepwellError } from '../src/errors.ts'
import type { RunRpc } from './rpc.ts'

/** A namespace of Durable Objects, as far as it is used here. */
export interface RunNamespace {
  getByName(name: string, options?: { readonly locationHint?: string }): RunRpc
  jurisdiction(jurisdiction: string): RunNamespace
}

export interface ClassOptions {
  /** The name under which the worker exports the class `Run`. Default 'Run'. */
  readonly className?: string
  /** The name of a Durable Object binding to the class, for configurations that still have one. Default: none is needed. */
  readonly binding?: string
}

export type Where = Pick<StartOptions, 'locationHint' | 'jurisdiction'> & GetOptions

/** The class's namespace. Throws `host_misconfigured` and says what is missing in wrangler.toml. */
export function findNamespace(env: unknown, { className = 'Run', binding }: ClassOptions): RunNamespace {
  if (binding !== undefined) {
    const bound = (env as Readonly<Record<string, unknown>> | null | undefined)?.[binding]
    if (isNamespace(bound)) return bound
    throw new StepwellError('host_misconfigured', `env.${binding} is no Durable Object namespace: add it to wrangler.toml, as `
      + `[[durable_objects.bindings]] name = "${binding}" class_name = "${className}", with a migration that has new_sqlite_classes = ["${className}"]`)
  }
  // Reached through the module's namespace, so that a runtime without `exports` says this and not that it can't link.
  const exported = (platform as { readonly exports?: Readonly<Record<string, unknown>> }).exports?.[className]
  if (isNamespace(exported)) return exported
  const missing = exported === undefined
    ? `the worker's main module exports no class ${className}: add \`export const ${className} = well.Run\`, and to wrangler.toml `
    : `the class ${className} is not configured as a Durable Object: add to wrangler.toml `
  throw new StepwellError('host_misconfigured', `${missing}[exports.${className}] type = "durable-object" storage = "sqlite" `
    + '(or, with `migrations`, a binding, and its name as `binding` of edge())')
}

/** A new stub: one that has failed may stay broken (platform fact 49). Throws `invalid_argument`. */
export function stubOf(namespace: RunNamespace, id: string, { jurisdiction, locationHint }: Where): RunRpc {
  const within = jurisdiction === undefined ? namespace : named('jurisdiction', jurisdiction, () => namespace.jurisdiction(jurisdiction))
  if (locationHint === undefined) return within.getByName(id)
  return named('locationHint', locationHint, () => within.getByName(id, { locationHint }))
}

function named<T>(what: string, value: unknown, run: () => T): T {
  if (typeof value === 'string' && /^[a-z-]{1,32}$/.test(value)) {
    try {
      return run()
    } catch (cause) {
      const isMissing = cause instanceof Error && cause.message.includes('not implemented')
      throw isMissing ? new StepwellError('unsupported', `${what} ${JSON.stringify(value)}: this runtime has none (local workerd does not)`, { cause })
        : new StepwellError('invalid_argument', `${what} ${JSON.stringify(value)}: the platform refuses it`, { cause })
    }
  }
  throw new StepwellError('invalid_argument', `${what} is a word such as ${what === 'jurisdiction' ? '"eu"' : '"weur"'}`)
}

function isNamespace(x: unknown): x is RunNamespace {
  return (typeof x === 'object' || typeof x === 'function') && x !== null && typeof (x as { readonly getByName?: unknown }).getByName === 'function'
}
