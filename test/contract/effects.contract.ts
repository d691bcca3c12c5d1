// G12, G13: every kind of effect, under every policy, with a crash at every point, on any store: how often the outside world was
// asked. docs/effects.md prints this table, and the tests of all three hosts are made from it.

import { z } from 'zod'
import { decode } from '../../src/codec.ts'
import type { Ctx } from '../../src/context.ts'
import { workflow } from '../../src/define.ts'
import type { DriveEnd } from '../../src/engine/drive.ts'
import { type LedgerRow, ledgerRows } from '../../src/engine/ledger.ts'
import { decodeEntry, type Entry, GENESIS } from '../../src/journal/entry.ts'
import type { Batch, RunStore } from '../../src/store/store.ts'
import { type Fault, type FaultPlan, FaultStore } from '../../src/testing/fault-store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'

export const kinds = ['idempotent', 'cost', 'money', 'destructive', 'security', 'custom'] as const
export type Kind = (typeof kinds)[number]

/** What the probe answers is what the outside world says. */
export const policies = ['fail', 'rerun', 'skip', 'probe', 'probe that cannot tell, otherwise fail', 'probe that cannot tell, otherwise ask', 'ask'] as const
export type Policy = (typeof policies)[number]

export const points = [
  'before the intent', 'after the intent', 'between intent and call', 'in the function, before the request', 'in the function, after the request',
  'after the function', 'after the outcome',
] as const
export type Point = (typeof points)[number]

export interface Cell {
  readonly kind: Kind
  readonly policy: Policy
  readonly point: Point
  /** Requests that the outside world received in all, before anybody decides. */
  readonly requests: number
  /** How the call settles after the crash. `blocked`: the run waits for a person. */
  readonly ends: 'outcome' | 'fallback' | 'effect_ambiguous' | 'blocked'
  /** Who decided, as the audit entry says; undefined: nothing was ambiguous. */
  readonly by: 'policy' | 'probe' | undefined
}

/** A kind takes every policy but these: what is idempotent is always run again. */
export function allows(kind: Kind, policy: Policy): boolean {
  return kind !== 'idempotent' || policy === 'rerun'
}

/** The whole table, from the rules of G12 and G13. */
export function table(): readonly Cell[] {
  return kinds.flatMap((kind) => policies.filter((policy) => allows(kind, policy)).flatMap((policy) => points.map((point) => cell(kind, policy, point))))
}

function cell(kind: Kind, policy: Policy, point: Point): Cell {
  const common = { kind, policy, point }
  // Nothing was intended, or the outcome is known: nothing is ambiguous.
  if (point === 'before the intent' || point === 'after the outcome') return { ...common, requests: 1, ends: 'outcome', by: undefined }
  const before = point === 'in the function, after the request' || point === 'after the function' ? 1 : 0
  switch (policy) {
    case 'rerun': return { ...common, requests: before + 1, ends: 'outcome', by: 'policy' }
    case 'skip': return { ...common, requests: before, ends: 'fallback', by: 'policy' }
    case 'fail': return { ...common, requests: before, ends: 'effect_ambiguous', by: 'policy' }
    // It finds what happened, and calls only what did not.
    case 'probe': return { ...common, requests: 1, ends: 'outcome', by: 'probe' }
    case 'probe that cannot tell, otherwise fail': return { ...common, requests: before, ends: 'effect_ambiguous', by: 'probe' }
    case 'probe that cannot tell, otherwise ask': case 'ask': return { ...common, requests: before, ends: 'blocked', by: undefined }
  }
}

export interface EffectHarness {
  readonly quiesce: () => Promise<void>
  /** A fresh, empty store. */
  readonly open: (runId: string) => RunStore | Promise<RunStore>
}

/** The outside world: what it was asked, with which keys. It deduplicates nothing. */
export class Outside {
  readonly requests: { readonly key: string; readonly what: string }[] = []
  ask(key: string, what = ''): string {
    this.requests.push({ key, what })
    return `done ${this.requests.length}`
  }
}

export interface Seen {
  readonly requests: number
  readonly keys: number
  readonly ends: string
  readonly by: string | undefined
  readonly entries: readonly Entry[]
  readonly crashed: boolean
}

/** Runs one cell: a run with one effect that is killed at the point, and goes on. */
export async function runCell(harness: EffectHarness, { kind, policy, point }: Cell): Promise<Seen> {
  const outside = new Outside()
  const world = { isDown: false, crashed: false }
  const dead = new Promise<never>(() => {})
  let handle: FaultStore
  const die = (): Promise<never> => {
    world.crashed = true
    handle.kill()
    return dead
  }
  const flow = workflow({ name: 'flow', input: z.any() }, async (ctx) => effectOf(ctx, kind, policy, outside, async (act) => {
    if (world.crashed) return act()
    if (point === 'in the function, before the request') return die()
    if (point === 'between intent and call') throw new Error('the function was called although the process was dead')
    const value = act()
    if (point === 'in the function, after the request') return die()
    return value
  }))
  const inner = await harness.open('cell')
  const has = (batch: Batch | undefined, kindOf: string): boolean => (batch?.entries ?? []).some(({ bytes }) => kindIs(bytes, kindOf))
  const died = Promise.withResolvers<undefined>()
  const plan = (): FaultPlan => {
    let isIntended = false
    return { crashed: () => died.resolve(undefined), fault: ({ method, batch }) => {
      if (world.crashed) return undefined
      const crash = (when: 'before' | 'after'): Fault => {
        world.crashed = true
        return { do: 'crash', when }
      }
      if (method === 'commit' && has(batch, 'effect_intended')) {
        if (point === 'before the intent') return crash('before')
        if (point === 'after the intent') return crash('after')
        isIntended = true
        return undefined
      }
      if (isIntended && point === 'between intent and call' && method === 'read') return crash('before')
      if (method === 'commit' && has(batch, 'effect_completed')) {
        if (point === 'after the function') return crash('before')
        if (point === 'after the outcome') return crash('after')
      }
      return undefined
    } }
  }
  const boot = (startAt: number | undefined, seed: number): TestRuns => new TestRuns({
    host: new TestHost({ quiesce: harness.quiesce, seed, ...(startAt === undefined ? undefined : { startAt }) }),
    workflows: [flow], storeUsesRealTime: true,
    open: () => (handle = new FaultStore(inner, plan())),
  })
  const first = boot(undefined, 1)
  await first.start(flow, 0, { id: 'cell' })
  const driver = await first.driver('cell')
  const survived = await Promise.race([died.promise, driver.drive()])
  if (survived !== undefined) throw new Error(`nothing crashed: ${JSON.stringify(survived)}`)
  const second = boot(first.host.now() + 1000, 2)
  const end: DriveEnd = await second.settle('cell')
  const summary = await second.summary('cell')
  const entries = await entriesOf(inner)
  const audit = entries.find((entry) => entry.kind === 'effect_decided')
  const by = audit === undefined ? undefined : decoded(audit).by
  const ends = end.kind === 'blocked' ? 'blocked'
    : summary.status === 'failed' ? String((summary.error as { code?: string }).code)
      : summary.output === 'fallback' ? 'fallback' : 'outcome'
  return { requests: outside.requests.length, keys: new Set(outside.requests.map(({ key }) => key)).size, ends, by, entries, crashed: world.crashed }
}

function decoded(entry: Entry): { by: string; decision: string } {
  return decode(entry.payload) as { by: string; decision: string }
}

function effectOf(ctx: Ctx, kind: Kind, policy: Policy, outside: Outside, around: (act: () => string) => Promise<string>): Promise<unknown> {
  const run = ({ idempotencyKey }: { idempotencyKey: string }): Promise<string> => around(() => outside.ask(idempotencyKey))
  const probe = ({ idempotencyKey }: { idempotencyKey: string }) => {
    if (policy !== 'probe') return 'unknown' as const
    return outside.requests.some(({ key }) => key === idempotencyKey) ? { happened: 'found' } : 'did-not-happen' as const
  }
  const options = {
    kind, input: { cents: 5 }, timeout: '5 seconds', fallback: 'fallback',
    ...(policy.startsWith('probe') ? { onAmbiguous: 'probe', probe, otherwise: policy.endsWith('fail') ? 'fail' : 'ask' } : { onAmbiguous: policy }),
  }
  return ctx.effect('act', run as never, options as never)
}

function kindIs(bytes: Uint8Array, kind: string): boolean {
  // The kind code is the second byte (docs/journal.md).
  return bytes[1] === codes[kind]
}

const codes: Readonly<Record<string, number>> = { effect_intended: 50, effect_completed: 55 }

export async function entriesOf(store: RunStore): Promise<readonly Entry[]> {
  const entries: Entry[] = []
  let hash = GENESIS
  for (const { seq, bytes } of await store.entries(0, 1000)) {
    const entry = decodeEntry(seq, bytes, hash)
    hash = entry.hash
    entries.push(entry)
  }
  return entries
}

export async function ledgerOf(store: RunStore): Promise<readonly LedgerRow[]> {
  const rows: LedgerRow[] = []
  for await (const { row } of ledgerRows(store)) rows.push(row)
  return rows
}

export const nameOf = ({ kind, policy, point }: Cell): string => `${kind}, ${policy}, a crash ${point}`

/** Runs many cells, and answers what differs from the table, each by its name: nothing, if all is well. */
export async function differing(harness: EffectHarness, cells: readonly Cell[]): Promise<readonly string[]> {
  const found: string[] = []
  for (const cell of cells) {
    const { requests, ends, by } = cell
    try {
      const seen = await runCell(harness, cell)
      const is = JSON.stringify({ requests: seen.requests, ends: seen.ends, by: seen.by })
      const should = JSON.stringify({ requests, ends, by })
      if (is !== should) found.push(`${nameOf(cell)}: ${is} instead of ${should}`)
      // One idempotency key, however often it was asked.
      if (seen.keys > 1) found.push(`${nameOf(cell)}: ${seen.keys} keys`)
    } catch (error) {
      found.push(`${nameOf(cell)}: ${String(error)}`)
    }
  }
  return found
}
