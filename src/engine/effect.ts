// An effect as it is called: what it declares, checked before anything is written (G14).

import type { At, EffectOptions, GuardedKind, RetryPolicy } from '../context.ts'
import { type Duration, toMs } from '../duration.ts'
import { StepwellError } from '../errors.ts'
import type { Limits } from '../limits.ts'
import type { StepCall } from './attempt.ts'
import { checkHost, nothing, type Pending, type StepPart, useOf, type Uses } from './call.ts'
import { checkName, declaredInput, type EffectKind, fingerprint, idempotencyKey, type IdempotencyParts, type Scope } from './key.ts'
import { retryOf } from './retry.ts'

export type Policy = 'fail' | 'rerun' | 'skip' | 'probe' | 'ask'

export interface EffectPart {
  readonly kind: EffectKind
  readonly policy: Policy
  /** What a probe that cannot tell leads to. */
  readonly otherwise: 'fail' | 'ask'
  readonly fallback: unknown
  readonly probe: ((call: StepCall) => unknown) | undefined
  /** Names it in the ledger, over all generations: its idempotency key as long as it was never undone. */
  readonly base: string
}

const kinds: ReadonlySet<unknown> = new Set<EffectKind>(['idempotent', 'cost', 'money', 'destructive', 'security', 'custom'])
const guarded: ReadonlySet<unknown> = new Set<GuardedKind>(['money', 'destructive', 'security', 'custom'])
const policies: ReadonlySet<unknown> = new Set<Policy>(['fail', 'rerun', 'skip', 'probe', 'ask'])
/** Shorter than a step's: a successor waits for it before it decides an ambiguity. */
const ONE_MINUTE = 60_000

/** The options as they come from the caller: nothing of them is believed. */
export interface Given {
  readonly onAmbiguous?: unknown
  readonly otherwise?: unknown
  readonly fallback?: unknown
  readonly probe?: unknown
  readonly undo?: unknown
  readonly at?: At
  readonly timeout?: Duration
  readonly retry?: RetryPolicy
}

/** G14: what an effect of this kind must say, and whether it does. `what` names the call. */
export function declared(what: string, kind: EffectKind, policy: unknown, given: Given, base: string): EffectPart {
  if (!policies.has(policy)) {
    throw new StepwellError('invalid_argument', `${what}: kind ${kind} needs onAmbiguous, one of ${[...policies].join(', ')}: what to do when nobody knows whether it happened`)
  }
  if (kind === 'idempotent' && policy !== 'rerun') throw new StepwellError('invalid_argument', `${what}: what is idempotent is run again; for another policy choose another kind`)
  if (policy === 'skip' && !('fallback' in given)) throw new StepwellError('invalid_argument', `${what}: onAmbiguous "skip" needs a fallback, the value to go on with`)
  if (policy === 'probe' && typeof given.probe !== 'function') throw new StepwellError('invalid_argument', `${what}: onAmbiguous "probe" needs a probe function`)
  const otherwise = given.otherwise ?? 'ask'
  if (otherwise !== 'fail' && otherwise !== 'ask') throw new StepwellError('invalid_argument', `${what}: otherwise is "fail" or "ask"`)
  if (given.undo !== undefined && typeof given.undo !== 'function') throw new StepwellError('invalid_argument', `${what}: undo is a function`)
  return { kind, policy: policy as Policy, otherwise, fallback: given.fallback, probe: given.probe as EffectPart['probe'], base }
}

/** How its function is called. */
export function calling(what: string, name: string, given: Given, limits: Limits, hostName: string): Pick<StepPart, 'timeoutMs' | 'retry' | 'undo'> {
  if (given.at !== undefined) checkHost(given.at, hostName, 'effect', name)
  return {
    timeoutMs: given.timeout === undefined ? ONE_MINUTE : toMs(given.timeout, `timeout of ${what}`),
    retry: retryOf(given.retry, limits),
    undo: given.undo as StepPart['undo'],
  }
}

/** Throws typed usage errors before anything is counted or written. */
export function effectCall(
  limits: Limits, scope: Scope, uses: Uses, hostName: string, incarnation: string,
  name: string, run: unknown, options: EffectOptions<{}, At, unknown, unknown> | undefined,
): Pending {
  checkName(limits, name, 'effect')
  const what = `effect ${name}`
  if (typeof run !== 'function') throw new StepwellError('invalid_argument', `${what}: the second argument is the function to run`)
  const given = (options ?? {}) as Given & { kind?: unknown; input?: unknown; key?: string }
  if (!kinds.has(given.kind)) throw new StepwellError('invalid_argument', `${what}: kind is one of ${[...kinds].join(', ')}`)
  const kind = given.kind as EffectKind
  const policy = given.onAmbiguous ?? (kind === 'idempotent' ? 'rerun' : kind === 'cost' && 'fallback' in given ? 'skip' : undefined)
  const part = declared(what, kind, policy, given, '')
  const inputBytes = declaredInput(given.input)
  const isGuarded = guarded.has(kind)
  if (isGuarded && inputBytes === undefined) {
    throw new StepwellError('invalid_argument', `${what}: kind ${kind} needs a declared input, which tells one such act from another`)
  }
  const own = given.key === undefined ? undefined : checkName(limits, given.key, `key of ${what}`)
  const how = calling(what, name, given, limits, hostName)
  const { key, plain } = scope.next(name, own, inputBytes !== undefined)
  const nth = useOf(uses, scope, name, own, inputBytes, plain)
  if (nth > 0 && isGuarded) {
    throw new StepwellError('duplicate_key', `${what} is asked for twice with one input: give each its own key, so that they can be told apart`, { details: { key } })
  }
  const parts: IdempotencyParts = { incarnation, labels: scope.labels, name, own, input: inputBytes, nth, undos: 0 }
  return {
    kind, key, fingerprint: fingerprint(kind, key, inputBytes), isCleanup: scope.isCleanup,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, until: undefined,
    step: { name, own, labels: scope.labels, input: given.input, inputBytes, attempt: 1, nth, run: run as StepPart['run'], ...how },
    effect: { ...part, base: idempotencyKey(parts) },
  }
}
