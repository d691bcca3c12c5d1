// An effect as it is called: what it declares, checked before anything is written (G14).

import type { At, EffectOptions, GuardedKind } from '../context.ts'
import { toMs } from '../duration.ts'
import { StepwellError } from '../errors.ts'
import type { Limits } from '../limits.ts'
import type { StepCall } from './attempt.ts'
import { checkHost, nothing, type Pending, useOf, type Uses } from './call.ts'
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

/** Throws typed usage errors before anything is counted or written. */
export function effectCall(
  limits: Limits, scope: Scope, uses: Uses, hostName: string, incarnation: string,
  name: string, run: unknown, options: EffectOptions<{}, At, unknown, unknown> | undefined,
): Pending {
  checkName(limits, name, 'effect')
  if (typeof run !== 'function') throw new StepwellError('invalid_argument', `effect ${name}: the second argument is the function to run`)
  const given = (options ?? {}) as {
    kind?: unknown; onAmbiguous?: unknown; otherwise?: unknown; fallback?: unknown; probe?: unknown; undo?: unknown
    at?: At; input?: unknown; key?: string; timeout?: never; retry?: never
  }
  const { kind } = given
  if (!kinds.has(kind)) throw new StepwellError('invalid_argument', `effect ${name}: kind is one of ${[...kinds].join(', ')}`)
  const policy = given.onAmbiguous ?? (kind === 'idempotent' ? 'rerun' : kind === 'cost' && 'fallback' in given ? 'skip' : undefined)
  if (!policies.has(policy)) {
    throw new StepwellError('invalid_argument', `effect ${name}: kind ${String(kind)} needs onAmbiguous, one of ${[...policies].join(', ')}: what to do when nobody knows whether it happened`)
  }
  if (kind === 'idempotent' && policy !== 'rerun') throw new StepwellError('invalid_argument', `effect ${name}: what is idempotent is run again; for another policy choose another kind`)
  if (policy === 'skip' && !('fallback' in given)) throw new StepwellError('invalid_argument', `effect ${name}: onAmbiguous "skip" needs a fallback, the value to go on with`)
  if (policy === 'probe' && typeof given.probe !== 'function') throw new StepwellError('invalid_argument', `effect ${name}: onAmbiguous "probe" needs a probe function`)
  const otherwise = given.otherwise ?? 'ask'
  if (otherwise !== 'fail' && otherwise !== 'ask') throw new StepwellError('invalid_argument', `effect ${name}: otherwise is "fail" or "ask"`)
  if (given.undo !== undefined && typeof given.undo !== 'function') throw new StepwellError('invalid_argument', `effect ${name}: undo is a function`)
  const inputBytes = declaredInput(given.input)
  const isGuarded = guarded.has(kind)
  if (isGuarded && inputBytes === undefined) {
    throw new StepwellError('invalid_argument', `effect ${name}: kind ${String(kind)} needs a declared input, which tells one such act from another`)
  }
  const own = given.key === undefined ? undefined : checkName(limits, given.key, `key of effect ${name}`)
  if (given.at !== undefined) checkHost(given.at, hostName, 'effect', name)
  const timeoutMs = given.timeout === undefined ? ONE_MINUTE : toMs(given.timeout, `timeout of effect ${name}`)
  const retry = retryOf(given.retry, limits)
  const { key, plain } = scope.next(name, own, inputBytes !== undefined)
  const nth = useOf(uses, scope, name, own, inputBytes, plain)
  if (nth > 0 && isGuarded) {
    throw new StepwellError('duplicate_key', `effect ${name} is asked for twice with one input: give each its own key, so that they can be told apart`, { details: { key } })
  }
  const parts: IdempotencyParts = { incarnation, labels: scope.labels, name, own, input: inputBytes, nth, undos: 0 }
  return {
    kind: kind as EffectKind, key, fingerprint: fingerprint(kind as EffectKind, key, inputBytes), isCleanup: scope.isCleanup,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, until: undefined,
    step: {
      name, own, labels: scope.labels, input: given.input, inputBytes, timeoutMs, retry, attempt: 1, nth,
      run: run as (call: StepCall) => unknown, undo: given.undo as StepPartUndo,
    },
    effect: {
      kind: kind as EffectKind, policy: policy as Policy, otherwise, fallback: given.fallback,
      probe: given.probe as EffectPart['probe'], base: idempotencyKey(parts),
    },
  }
}

type StepPartUndo = NonNullable<Pending['step']>['undo']
