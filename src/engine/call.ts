// A ctx call that was made and waits for its outcome.

import type { At, RetryPolicy, StepOptions } from '../context.ts'
import { toMs } from '../duration.ts'
import { StepwellError } from '../errors.ts'
import { same } from '../journal/entry.ts'
import type { Entry } from '../journal/entry.ts'
import type { Limits } from '../limits.ts'
import type { AttemptInit, StepCall } from './attempt.ts'
import type { EffectPart } from './effect.ts'
import type { NotePart } from './once.ts'
import { type CallKind, checkName, declaredInput, fingerprint, type Scope } from './key.ts'
import { type Retry, retryOf } from './retry.ts'
import type { SignalPart } from './signal.ts'

const TEN_MINUTES = 600_000

export interface Pending {
  readonly kind: CallKind
  readonly key: string
  readonly fingerprint: Uint8Array
  readonly isCleanup: boolean
  /** What the workflow function waits for. */
  promise: Promise<unknown> | undefined
  resolve: (value: unknown) => void
  reject: (error: unknown) => void
  /** When a sleep ends, or when the next attempt starts: from the journal, where there is an entry for it (G19). */
  due: number | undefined
  /** `due` is in the journal. */
  isDueStored: boolean
  /** Of steps and effects. */
  readonly step: StepPart | undefined
  readonly effect?: EffectPart | undefined
  /** Of what asks the ledger, or notes something in it. */
  readonly note?: NotePart | undefined
  /** Of what waits for a message. */
  readonly signal?: SignalPart | undefined
  /** Of a sleep or a timeout, as asked for: the due time, computed when it is first stored. */
  readonly until: ((now: number) => number) | undefined
}

export interface StepPart extends AttemptInit {
  readonly retry: Retry
  readonly undo: ((outcome: unknown, call: StepCall) => unknown) | undefined
  undos?: number
  attempt: number
}

/** Counts equal calls of a pass, for G15: equal in labels, name, own key and declared input. */
export type Uses = Map<string, number>

/** Throws typed usage errors before anything is counted or written. */
export function stepCall(
  limits: Limits, scope: Scope, uses: Uses, hostName: string,
  name: string, run: unknown, options: StepOptions<At, unknown> | undefined,
): Pending {
  if (!scope.wasCalled(name)) checkName(limits, name, 'step')
  if (typeof run !== 'function') throw new StepwellError('invalid_argument', `step ${name}: the second argument is the function to run`)
  let own: string | undefined
  let inputBytes: Uint8Array | undefined
  let timeoutMs = TEN_MINUTES
  if (options !== undefined) {
    if (options.key !== undefined) own = checkName(limits, options.key, `key of step ${name}`)
    if (options.at !== undefined) checkHost(options.at, hostName, 'step', name)
    if (options.undo !== undefined && typeof options.undo !== 'function') throw new StepwellError('invalid_argument', `step ${name}: undo is a function`)
    if (options.timeout !== undefined) timeoutMs = toMs(options.timeout, `timeout of step ${name}`)
    inputBytes = declaredInput(options.input)
  }
  const retry = retryOf(options?.retry as RetryPolicy | undefined, limits)
  const { key, plain } = scope.next(name, own, inputBytes !== undefined)
  return {
    kind: 'step', key, fingerprint: fingerprint('step', key, inputBytes), isCleanup: scope.isCleanup,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, until: undefined,
    step: {
      name, own, labels: scope.labels, input: options?.input, inputBytes, timeoutMs, retry, attempt: 1,
      nth: useOf(uses, scope, name, own, inputBytes, plain),
      run: run as (call: StepCall) => unknown, undo: options?.undo as StepPart['undo'],
    },
  }
}

export function sleepCall(scope: Scope, name: 'ctx.sleep' | 'ctx.sleepUntil', until: (now: number) => number, declared: unknown): Pending {
  const { key } = scope.next(name, undefined)
  return {
    kind: 'sleep', key, fingerprint: fingerprint('sleep', key, declaredInput(declared)), isCleanup: scope.isCleanup,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, until, step: undefined,
  }
}

export function nothing(): void {}

export function checkHost(at: At, hostName: string, what: 'step' | 'effect', name: string): void {
  if (at !== 'edge' && at !== 'browser' && at !== 'any') {
    throw new StepwellError('invalid_argument', `${what} ${name}: at is "edge", "browser" or "any"`)
  }
  if (at === 'any' || hostName === 'test' || at === hostName) return
  throw new StepwellError('wrong_host', at === 'edge'
    ? `${what} ${name} runs at the edge and this run is in a browser: await ctx.moveTo('edge') before it`
    : `${what} ${name} runs in a browser and this run is at the edge`, { details: { at, host: hostName, name } })
}

export function useOf(uses: Uses, scope: Scope, name: string, own: string | undefined, input: Uint8Array | undefined, plain: number): number {
  // The root scope alone is sure to share its labels with no other scope: there the scope's own count will do.
  if (input === undefined && scope.path === '') return plain
  const hash = input === undefined ? '' : hash53(input)
  const id = `${scope.labels}\n${name}\n${own ?? ''}\n${own === undefined ? 0 : 1}${hash}`
  const count = uses.get(id) ?? 0
  uses.set(id, count + 1)
  return count
}

/** 53 bits of FNV-1a in two lanes: only separates counters of one run; a collision would give the second call a higher n, never an equal key. */
function hash53(bytes: Uint8Array): number {
  let a = 0x811c9dc5
  let b = 0x9dc5811c
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    a = Math.imul(a ^ byte, 0x01000193)
    b = Math.imul(b ^ byte ^ (a >>> 13), 0x01000193)
  }
  return (a >>> 0) * 2097152 + ((b >>> 0) & 2097151)
}

/** What the journal says about a call that has no outcome yet. Answers false when the call is another one than was recorded. */
export function applyNote(call: Pending, note: Entry, generation: number): boolean {
  if (!same(call.fingerprint, note.fingerprint as Uint8Array)) return false
  if (note.kind === 'attempt_failed' && call.step !== undefined) {
    // A new generation has a budget of its own.
    if (note.generation !== generation) return true
    call.step.attempt = note.attempt + 1
  }
  call.due = note.due
  call.isDueStored = note.due !== undefined
  return true
}
