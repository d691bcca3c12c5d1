// Random workflows: a program is data, drawn from the dice and given to a run as its input, and one workflow function interprets it.
// What a program can give is known without running it (`fits`), whoever wins its races.

import type { Call, Ctx, EffectOptions, Once } from '../../context.ts'
import { type AnyWorkflow, workflow } from '../../define.ts'
import type { EntryKind } from '../../journal/entry.ts'
import type { Schema } from '../../schema.ts'
import type { Dice } from './dice.ts'
import type { OutsideRequest, Receipt } from './outside.ts'

const effectKinds = ['idempotent', 'cost', 'money', 'destructive', 'security', 'custom'] as const
const policies = ['fail', 'rerun', 'skip', 'probe', 'ask'] as const

export type Op =
  | { readonly op: 'step'; readonly item: string; readonly fails: number; readonly retries: number; readonly ms: number; readonly isRemote: boolean; readonly hasUndo: boolean; readonly counts: boolean; readonly tells: boolean }
  | {
      readonly op: 'effect'; readonly item: string; readonly kind: (typeof effectKinds)[number]; readonly policy: (typeof policies)[number]
      readonly refuse: number; readonly retries: number; readonly slowMs: number; readonly hasUndo: boolean; readonly undoFails: number
    }
  | { readonly op: 'once'; readonly item: string }
  | { readonly op: 'has'; readonly item: string }
  | { readonly op: 'record'; readonly item: string }
  | { readonly op: 'sleep'; readonly ms: number }
  | { readonly op: 'signal'; readonly timeoutMs: number | undefined }
  | { readonly op: 'ask'; readonly item: string; readonly timeoutMs: number | undefined }
  | { readonly op: 'draw' }
  | { readonly op: 'links'; readonly links: number }
  | { readonly op: 'tell'; readonly item: string }
  | { readonly op: 'patch'; readonly item: string }
  | { readonly op: 'group'; readonly how: 'all' | 'race' | 'settled' | 'map' | 'scope' | 'native'; readonly parts: readonly (readonly Op[])[] }

export interface Program {
  readonly ops: readonly Op[]
  readonly fails: boolean
}

/** What the workflow function is lent. */
export interface SimulatedServices {
  ask(request: Omit<OutsideRequest, 'id' | 'runId'>): Promise<unknown>
  wait(ms: number): Promise<void>
  /** Called first by every function that is executed. */
  executed(call: Call<{}, 'any', unknown>, role: 'step' | 'effect' | 'undo' | 'probe'): void
}

type AnyCall = Call<{}, 'any', unknown>
const servicesOf = (call: AnyCall): SimulatedServices => call.services as SimulatedServices

const anything: Schema = { '~standard': { version: 1, vendor: 'stepwell', validate: (value) => ({ value }) } }

/** Longer than a message that is delayed, so that an answer of a probe is final. */
export const EFFECT_TIMEOUT_MS = 30_000

/** Who interprets, and who watches. */
interface Interpreter extends Watch {
  readonly version: 1 | 2
}

export interface Watch {
  /** The function has got the outcome of a call for this item. */
  readonly seen?: (runId: string, item: string) => void
  /** The function returns this. */
  readonly returned?: (out: unknown) => void
}

async function interpret(ctx: Ctx, ops: readonly Op[], by: Interpreter): Promise<unknown[]> {
  const out: unknown[] = []
  for (const op of ops) {
    out.push(await one(ctx, op, by))
    if (op.op === 'step' || op.op === 'effect') by.seen?.(ctx.info.runId, op.item)
  }
  return out
}

async function one(ctx: Ctx, op: Op, by: Interpreter): Promise<unknown> {
  switch (op.op) {
    case 'step': return step(ctx, op).catch(caught)
    case 'effect': return effect(ctx, op).catch(caught)
    case 'once': return ctx.once(op.item, (call) => {
      servicesOf(call).executed(call, 'effect')
      return servicesOf(call).ask({ key: call.idempotencyKey, act: 'do', item: op.item })
    }, { timeout: EFFECT_TIMEOUT_MS, onAmbiguous: 'rerun' }).then(({ value }: Once<unknown>) => value, caught)
    case 'has': return ctx.hasEffect(op.item)
    case 'record': return ctx.recordEffect(op.item, 'noted', { item: op.item }).then(({ record }) => record.status)
    case 'sleep': return ctx.sleep(op.ms).then(() => null)
    case 'signal': return signal(ctx, op)
    case 'ask': return ask(ctx, op).catch(caught)
    case 'draw': return [ctx.random(), ctx.now(), ctx.uuid()]
    case 'links':
      for (let i = 0; i < op.links; i++) await undefined
      return null
    case 'tell':
      ctx.emit('told', op.item)
      return null
    case 'patch':
      if (by.version === 1 || !ctx.patched('two')) return null
      return ctx.step(`new ${op.item}`, (call) => {
        servicesOf(call).executed(call, 'step')
        return `new ${op.item}`
      })
    case 'group': return group(ctx, op, by)
  }
}

/** The one signal that a simulated workflow takes. */
export const SIGNAL = 'note'

/** Its payload. */
export interface Note {
  readonly note: number
}

async function signal(ctx: Ctx, { timeoutMs }: Extract<Op, { op: 'signal' }>): Promise<unknown> {
  const noted = ctx as Ctx<{}, { readonly [SIGNAL]: Schema<Note, Note> }>
  return await (timeoutMs === undefined ? noted.signal(SIGNAL) : noted.signal(SIGNAL, { timeout: timeoutMs })) ?? null
}

/** The deferred that a simulated workflow has for each question that it asks. */
export const ANSWER = 'answer'

/** What somebody is sent, to answer a question. */
export interface Mail {
  readonly item: string
  /** Of the deferred. */
  readonly id: string
  readonly token: string
}

/** What a deferred is settled with. `mail`: of which mail, by the number of the request that brought it. */
export interface Answer {
  readonly item: string
  readonly mail: number
}

/** Mails somebody a token, and waits for the answer. */
async function ask(ctx: Ctx, { item, timeoutMs }: Extract<Op, { op: 'ask' }>): Promise<unknown> {
  const deferred = (ctx as Ctx<{}, {}, { readonly [ANSWER]: Schema<Answer, Answer> }>).deferred(ANSWER)
  const mailed = await ctx.step(`mail ${item}`, async (call) => {
    servicesOf(call).executed(call, 'step')
    const token = await call.token(deferred)
    await servicesOf(call).ask({ key: call.idempotencyKey, act: 'mail', item, mail: { item, id: deferred.id, token } })
    return item
  }, { retry: { limit: 2, delay: 500 }, timeout: '1 minute' }).catch(caught)
  // Perhaps nobody knows of it, and then nobody would answer.
  if (mailed !== item) return mailed
  return await (timeoutMs === undefined ? deferred.value() : deferred.value({ timeout: timeoutMs })) ?? null
}

/** What the run itself does with an error is its own business; a cancel ends it. */
function caught(error: unknown): unknown {
  const { code } = error as { readonly code?: string }
  if (code === 'cancelled' || code === 'run_timeout') throw error
  return { caught: code ?? 'unknown' }
}

function step(ctx: Ctx, op: Extract<Op, { op: 'step' }>): Promise<unknown> {
  return ctx.step(`step ${op.item}`, async (call) => {
    const services = servicesOf(call)
    services.executed(call, 'step')
    if (op.tells) call.emit('step told', op.item)
    if (op.ms > 0) await services.wait(op.ms)
    if (call.attempt <= op.fails) throw new Error('busy')
    if (op.counts) call.state.set('count', ((await call.state.get<number>('count')) ?? 0) + 1)
    if (op.tells) call.emit('step told', op.item)
    if (!op.isRemote) return op.item
    return (await services.ask({ key: call.idempotencyKey, act: 'do', item: op.item }) as Receipt).item
  }, {
    input: op.item, retry: { limit: op.retries, delay: 500 }, timeout: '1 minute',
    ...(op.hasUndo ? { undo: (_: unknown, call: AnyCall) => undo(call, op.item, 0) } : undefined),
  })
}

function effect(ctx: Ctx, op: Extract<Op, { op: 'effect' }>): Promise<unknown> {
  const options = {
    kind: op.kind, input: op.item, onAmbiguous: op.policy, timeout: EFFECT_TIMEOUT_MS, retry: { limit: op.retries, delay: 500 },
    fallback: { fallback: op.item }, otherwise: 'ask',
    probe: async (call: AnyCall) => {
      servicesOf(call).executed(call, 'probe')
      const found = await servicesOf(call).ask({ key: call.idempotencyKey, act: 'find', item: op.item })
      return found === null ? 'did-not-happen' : { happened: found }
    },
    ...(op.hasUndo ? { undo: (_: unknown, call: AnyCall) => undo(call, op.item, op.undoFails) } : undefined),
  }
  return ctx.effect(`effect ${op.item}`, (call) => {
    servicesOf(call).executed(call, 'effect')
    return servicesOf(call).ask({ key: call.idempotencyKey, act: 'do', item: op.item, refuse: op.refuse, slowMs: op.slowMs })
  }, options as unknown as EffectOptions<{}, 'any', string, unknown>)
}

function undo(call: AnyCall, item: string, refuse: number): Promise<unknown> {
  servicesOf(call).executed(call, 'undo')
  return servicesOf(call).ask({ key: call.idempotencyKey, act: 'undo', item, refuse })
}

async function group(ctx: Ctx, { how, parts }: Extract<Op, { op: 'group' }>, by: Interpreter): Promise<unknown> {
  const branches = Object.fromEntries(parts.map((part, i) => [`b${i}`, (inner: Ctx) => interpret(inner, part, by)]))
  switch (how) {
    case 'all': return ctx.all(branches)
    case 'race': return ctx.race(branches)
    case 'settled': return Object.keys(await ctx.settled(branches)).length
    case 'map': return ctx.map('m', parts, { concurrency: 2 }, (inner, part) => interpret(inner as unknown as Ctx, part, by))
    case 'scope': return ctx.scope('s', (inner) => interpret(inner, parts[0] ?? [], by))
    case 'native': return Promise.all(parts.map((part) => interpret(ctx, part, by)))
  }
}

/** The same names at two versions: what a deploy brings, and what rolling it back takes away. `deadline` ends after an hour. */
export function simulatedWorkflows(version: 1 | 2, watch: Watch = {}): readonly AnyWorkflow[] {
  const run = async (ctx: unknown, input: unknown): Promise<unknown> => {
    const { ops, fails } = input as Program
    const out = await interpret(ctx as Ctx, ops, { ...watch, version })
    watch.returned?.(out)
    if (fails) throw new Error('the program fails')
    return out
  }
  const common = { version, replays: version === 2 ? [1] : [], input: anything, signals: { [SIGNAL]: anything }, deferreds: { [ANSWER]: anything }, grace: '5 seconds' } as const
  return [
    workflow({ ...common, name: 'plain' }, run),
    workflow({ ...common, name: 'restarts', onDivergence: 'restart' }, run),
    workflow({ ...common, name: 'deadline', timeout: '1 hour' }, run),
  ]
}

/** Draws a program in which an entry of `kind` is likely. */
export function drawProgram(dice: Dice, kind: EntryKind): Program {
  let items = 0
  const item = (): string => `i${items++}`
  const stepOp = (more: Partial<Extract<Op, { op: 'step' }>> = {}): Op => ({
    op: 'step', item: item(), fails: dice.chance(0.2) ? dice.below(3) : 0, retries: dice.below(3), ms: dice.chance(0.3) ? dice.between(1, 3000) : 0,
    isRemote: dice.chance(0.5), hasUndo: dice.chance(0.15), counts: false, tells: dice.chance(0.15), ...more,
  })
  const effectOp = (more: Partial<Extract<Op, { op: 'effect' }>> = {}): Op => {
    const effectKind = dice.pick(effectKinds)
    return {
      op: 'effect', item: item(), kind: effectKind, policy: dice.pick(policies),
      refuse: dice.chance(0.15) ? 1 : 0, retries: dice.below(3), slowMs: dice.chance(0.1) ? dice.between(20_000, 50_000) : dice.below(50),
      hasUndo: dice.chance(0.3), undoFails: 0, ...more,
      ...((more.kind ?? effectKind) === 'idempotent' ? { policy: 'rerun' as const } : undefined),
    }
  }
  const signalOp = (): Op => ({ op: 'signal', timeoutMs: dice.pick([undefined, 1000, 60_000, 86_400_000]) })
  const leaf = (): Op => {
    switch (dice.below(14)) {
      case 0: case 1: case 2: return stepOp()
      case 3: case 4: case 5: return effectOp()
      case 6: return { op: 'once', item: dice.pick(['shared', item()]) }
      case 7: return { op: 'sleep', ms: dice.pick([10, 700, 3000, 60_000, 86_400_000]) }
      case 8: return { op: 'draw' }
      case 9: return { op: 'links', links: dice.below(60) }
      case 10: return { op: dice.pick(['has', 'record'] as const), item: 'shared' }
      case 11: return signalOp()
      case 12: return { op: 'tell', item: item() }
      default: return stepOp({ fails: dice.between(1, 3), retries: 3 })
    }
  }
  const ops: Op[] = Array.from({ length: dice.between(1, 2) }, leaf)
  if (dice.chance(0.3)) {
    ops.push({
      op: 'group', how: dice.pick(['all', 'race', 'settled', 'map', 'scope', 'native'] as const),
      parts: Array.from({ length: dice.between(2, 3) }, () => Array.from({ length: dice.between(1, 2) }, leaf)),
    })
  }
  const mustFail = kind === 'run_failed' || kind.startsWith('undo_')
  switch (kind) {
    case 'step_failed': ops.push(stepOp({ fails: 99, retries: dice.below(2) })); break
    case 'attempt_failed': ops.push(stepOp({ fails: 1, retries: 2 })); break
    case 'timer_set': case 'timer_fired': ops.push({ op: 'sleep', ms: dice.pick([1000, 90_000]) }); break
    case 'deadline_passed': ops.push({ op: 'sleep', ms: 2 * 3_600_000 }); break
    case 'effect_attempt_failed': ops.push(effectOp({ refuse: 1, retries: 2 })); break
    case 'effect_failed': ops.push(effectOp({ refuse: 99, retries: dice.below(2) })); break
    case 'effect_ambiguous': case 'effect_decided': ops.push(effectOp({ slowMs: EFFECT_TIMEOUT_MS + dice.between(100, 9000) })); break
    case 'effect_recorded': ops.push(effectOp({ kind: 'money', policy: dice.pick(['skip', 'fail'] as const), slowMs: EFFECT_TIMEOUT_MS + 2000, refuse: 0 }), stepOp({ ms: 15_000, fails: 0 })); break
    case 'effect_looked_up': ops.push({ op: 'has', item: 'shared' }); break
    case 'effect_noted': ops.push({ op: 'record', item: 'noted' }); break
    case 'patch_applied': ops.push({ op: 'patch', item: item() }); break
    case 'signal_received': ops.push(signalOp(), { op: 'signal', timeoutMs: undefined }); break
    case 'event_emitted': ops.push({ op: 'tell', item: item() }, stepOp({ tells: true }), { op: 'tell', item: item() }); break
    case 'undo_started': case 'undo_intended': case 'undo_completed': ops.push(effectOp({ hasUndo: true })); break
    case 'undo_attempt_failed': ops.push(effectOp({ hasUndo: true, undoFails: 1, retries: 2, refuse: 0, slowMs: 0 })); break
    case 'effect_intended': case 'effect_not_called': case 'effect_completed': ops.push(effectOp()); break
    default: break
  }
  if (dice.chance(0.2)) ops.push({ op: 'patch', item: item() })
  // Entries enough that the schedule counts, with something behind what was aimed at.
  while (ops.length < 5) ops.push(stepOp({ counts: true, fails: 0 }))
  ops.push(stepOp({ isRemote: true, fails: 0 }))
  // From dice of their own, and those with 4, so that the seeds which have found something (test/simulator/found.ts) draw what they drew then.
  const apart = dice.fork(4)
  if (apart.chance(0.2)) {
    const question: Op = { op: 'ask', item: item(), timeoutMs: apart.pick([undefined, undefined, 1000, 60_000, 86_400_000]) }
    const how = apart.pick(['all', 'race', 'settled', 'native', undefined] as const)
    const beside = { op: 'sleep', ms: apart.pick([10, 3000, 60_000]) } as const
    ops.splice(apart.below(ops.length), 0, how === undefined ? question : { op: 'group', how, parts: [[question], apart.chance(0.5) ? [{ ...question, item: item() }] : [beside]] })
  }
  return { ops, fails: mustFail || dice.chance(0.1) }
}

/** Why `out` cannot be what these operations gave, or undefined. */
export function misfit(ops: readonly Op[], out: unknown): string | undefined {
  if (!Array.isArray(out) || out.length !== ops.length) return `${JSON.stringify(out)} is not one value for each of ${ops.length} operations`
  for (const [i, op] of ops.entries()) {
    const wrong = misfitOf(op, out[i])
    if (wrong !== undefined) return wrong
  }
  return undefined
}

function misfitOf(op: Op, value: unknown): string | undefined {
  const wrong = `${op.op} ${'item' in op ? op.item : ''} gave ${JSON.stringify(value)}`
  const field = (name: string): unknown => typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined
  switch (op.op) {
    case 'step':
      if (op.fails > op.retries) return field('caught') === 'step_failed' || field('caught') === 'step_timeout' ? undefined : wrong
      // An outside world that does not answer can use up the attempts.
      return value === op.item || field('caught') === 'step_failed' || field('caught') === 'step_timeout' ? undefined : wrong
    case 'effect':
      return field('item') === op.item || (field('fallback') === op.item && op.policy === 'skip') || typeof field('caught') === 'string' ? undefined : wrong
    case 'once': return field('item') === op.item || typeof field('caught') === 'string' ? undefined : wrong
    case 'has': return typeof value === 'boolean' ? undefined : wrong
    case 'record': return value === 'noted' ? undefined : wrong
    case 'sleep': case 'links': case 'tell': return value === null ? undefined : wrong
    case 'signal': return typeof field('note') === 'number' || (value === null && op.timeoutMs !== undefined) ? undefined : wrong
    case 'ask': return field('item') === op.item || (value === null && op.timeoutMs !== undefined) || typeof field('caught') === 'string' ? undefined : wrong
    case 'draw': return Array.isArray(value) && value.length === 3 ? undefined : wrong
    case 'patch': return value === null || value === `new ${op.item}` ? undefined : wrong
    case 'group': return misfitOfGroup(op, value, wrong)
  }
}

function misfitOfGroup({ how, parts }: Extract<Op, { op: 'group' }>, value: unknown, wrong: string): string | undefined {
  const part = (i: number): readonly Op[] => parts[i] ?? []
  switch (how) {
    case 'all': return parts.map((_, i) => misfit(part(i), (value as Readonly<Record<string, unknown>>)[`b${i}`])).find((each) => each !== undefined)
    case 'race': {
      const { winner, value: won } = value as { winner: string; value: unknown }
      return misfit(part(Number(winner.slice(1))), won)
    }
    case 'settled': return value === parts.length ? undefined : wrong
    case 'map': case 'native': return parts.map((_, i) => misfit(part(i), (value as readonly unknown[])[i])).find((each) => each !== undefined)
    case 'scope': return misfit(part(0), value)
  }
}

/** Whether anything in it waits for a signal. */
export function takesSignals(ops: readonly Op[]): boolean {
  return ops.some((op) => op.op === 'signal' || (op.op === 'group' && op.parts.some(takesSignals)))
}
