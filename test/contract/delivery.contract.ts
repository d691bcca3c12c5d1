// G8 on any runtime and store: seeded programs that race steps and timers and interleave branches with plain promise chains give
// the same winners, keys and values on every replay, from every prefix of their journals.

import { z } from 'zod'
import type { Ctx } from '../../src/context.ts'
import { workflow } from '../../src/define.ts'
import { claim } from '../../src/journal/entry.ts'
import { decodeRecord, encodeRecord } from '../../src/journal/record.ts'
import type { RunRow, RunStore, StoredEntry } from '../../src/store/store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'

/** What a program does. Interpreted by one workflow, so that a failing one can be printed and kept. */
export type Program =
  | { readonly do: 'step'; readonly name: string; readonly takes: 'no time' | 'microtasks' | 'time'; readonly n: number; readonly fails?: boolean }
  | { readonly do: 'sleep'; readonly ms: number }
  | { readonly do: 'chain'; readonly links: number }
  | { readonly do: 'draw' }
  | { readonly do: 'unawaited'; readonly name: string; readonly ms: number }
  | { readonly do: 'seq'; readonly of: readonly Program[] }
  | { readonly do: 'all' | 'race' | 'any' | 'settled' | 'Promise.all' | 'Promise.race' | 'Promise.any' | 'Promise.allSettled' | 'map'; readonly of: readonly Program[] }

export interface DeliveryHarness {
  readonly quiesce: () => Promise<void>
  /** A fresh, empty store. */
  readonly open: (runId: string) => RunStore | Promise<RunStore>
  /** The store of a whole replay, when it shall be another kind: journals move between stores. */
  readonly openOther?: (runId: string) => RunStore | Promise<RunStore>
}

/** The same store, answering by promises, as IndexedDB does: there no outcome is prompt. */
export function answeringLater(store: RunStore): RunStore {
  const later = <A extends unknown[], R>(call: (...args: A) => R) => async (...args: A): Promise<Awaited<R>> => {
    for (let i = 0; i < 3; i++) await undefined
    return await call(...args)
  }
  return {
    runId: store.runId, read: later(() => store.read()), entries: later((after, limit) => store.entries(after, limit)),
    last: later(() => store.last()), row: later((table, key) => store.row(table, key)), rows: later((table, page) => store.rows(table, page)),
    keys: later((table, page) => store.keys(table, page)), commit: later((batch) => store.commit(batch)), destroy: later(() => store.destroy()),
  }
}

export interface Journal {
  readonly entries: readonly StoredEntry[]
  readonly row: RunRow
}

export interface Observed {
  readonly journal: Journal
  readonly trace: readonly string[]
  readonly output: string
  readonly executed: number
  /** Trace length when each entry was committed. */
  readonly traceAt: ReadonlyMap<number, number>
  readonly end: string
}

const links = [0, 1, 2, 5, 11, 12, 13, 23, 24, 25, 40, 96, 700, 5000]

export function randomProgram(seed: number, size: number): Program {
  let state = (seed * 2654435761) >>> 0 || 1
  const next = (n: number): number => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % n
  }
  const leaf = (): Program => {
    switch (next(8)) {
      case 0: case 1: return { do: 'chain', links: links[next(links.length)] as number }
      case 2: return { do: 'sleep', ms: 1 + next(50) }
      case 3: return next(3) === 0 ? { do: 'unawaited', name: 'u', ms: next(60) } : { do: 'draw' }
      default: return {
        do: 'step', name: 'abc'[next(3)] as string, takes: (['no time', 'microtasks', 'time'] as const)[next(3)] as 'time',
        n: next(2) === 0 ? next(4) : next(40), ...(next(9) === 0 ? { fails: true } : undefined),
      }
    }
  }
  const make = (left: number): Program => {
    if (left <= 1) return leaf()
    const parts = 2 + next(3)
    const of = Array.from({ length: parts }, () => make(Math.floor(left / parts)))
    const kind = next(12)
    if (kind < 5) return { do: 'seq', of }
    return { do: (['all', 'race', 'any', 'settled', 'Promise.all', 'Promise.race', 'Promise.any', 'Promise.allSettled', 'map'] as const)[next(9)] as 'all', of }
  }
  return { do: 'seq', of: [make(size), { do: 'step', name: 'last', takes: 'no time', n: 0 }] }
}

interface World {
  readonly host: TestHost
  /** What the function saw in the pass that is alive: each pass begins anew. */
  trace: string[]
  executed: number
}

async function interpret(world: World, ctx: Ctx, program: Program, at: string, trace: string[]): Promise<unknown> {
  const seen = (what: unknown): void => { trace.push(`${at} ${JSON.stringify(what)}`) }
  switch (program.do) {
    case 'step': {
      try {
        const value = await ctx.step(program.name, (call) => {
          world.executed++
          if (program.takes === 'no time' && !program.fails) return `${at}:${call.attempt}`
          return (async () => {
            if (program.takes === 'microtasks') for (let i = 0; i < program.n; i++) await undefined
            if (program.takes === 'time') await new Promise<void>((resolve) => { world.host.timer(program.n, resolve) })
            if (program.fails) throw new Error(`no ${at}`)
            return `${at}:${call.attempt}`
          })()
        }, { retry: { limit: 0 } })
        seen(value)
        return value
      } catch (error) {
        seen((error as Error).message)
        throw error
      }
    }
    case 'sleep':
      await ctx.sleep(program.ms)
      seen(`slept ${ctx.now() > 0}`)
      return 'slept'
    case 'chain': {
      let chain: Promise<unknown> = Promise.resolve()
      for (let i = 0; i < program.links; i++) chain = chain.then(() => i)
      await chain
      seen(`chain ${program.links}`)
      return 'chain'
    }
    case 'draw': {
      const drawn = `${ctx.random()} ${ctx.uuid()}`
      seen(drawn)
      return drawn
    }
    case 'unawaited':
      ctx.step(program.name, () => {
        world.executed++
        return new Promise<string>((resolve) => { world.host.timer(program.ms, () => resolve('late')) })
      }).then((value) => seen(value), () => {})
      return 'unawaited'
    case 'seq': {
      const values: unknown[] = []
      for (const [i, part] of program.of.entries()) {
        try {
          values.push(await interpret(world, ctx, part, `${at}.${i}`, trace))
        } catch (error) {
          values.push((error as Error).message)
        }
      }
      return values
    }
    case 'all': case 'race': case 'any': case 'settled': {
      const branches = Object.fromEntries(program.of.map((part, i) => [`b${i}`, (c: Ctx) => interpret(world, c, part, `${at}/${i}`, trace)]))
      const value = await ctx[program.do](branches)
      seen(value)
      return value
    }
    case 'map': {
      const value = await ctx.map('m', program.of, { concurrency: 2 }, (c, part, i) => interpret(world, c, part, `${at}[${i}]`, trace))
      seen(value)
      return value
    }
    default: {
      const started = program.of.map((part, i) => interpret(world, ctx, part, `${at}|${i}`, trace))
      const name = program.do.slice('Promise.'.length) as 'all' | 'race' | 'any' | 'allSettled'
      const value: unknown = await (Promise[name] as (of: Promise<unknown>[]) => Promise<unknown>).call(Promise, started)
      seen(value)
      return value
    }
  }
}

function programWorkflow(world: World) {
  return workflow({ name: 'program', input: z.any() }, async (ctx, program: Program) => {
    world.trace = []
    return interpret(world, ctx as unknown as Ctx, program, '$', world.trace)
  })
}

/** Runs a program to its end, from nothing or from a prefix of a journal, and says what the workflow function saw. */
export async function observe(harness: DeliveryHarness, program: Program, seed: number, from?: Journal, isOther = false): Promise<Observed> {
  const host = new TestHost({ quiesce: harness.quiesce, seed, ...(from === undefined ? undefined : { startAt: from.row.wakeAt ?? undefined as never }) })
  const world: World = { host, trace: [], executed: 0 }
  const definition = programWorkflow(world)
  const store = await ((isOther ? harness.openOther : undefined) ?? harness.open)('r')
  const traceAt = new Map<number, number>()
  const commit = store.commit.bind(store)
  const watched: RunStore = Object.assign(Object.create(store) as RunStore, {
    runId: store.runId,
    commit(batch: Parameters<RunStore['commit']>[0]) {
      for (const { seq } of batch.entries ?? []) traceAt.set(seq, world.trace.length)
      return commit(batch)
    },
  })
  for (const name of ['read', 'entries', 'last', 'row', 'rows', 'keys', 'destroy'] as const) {
    Object.defineProperty(watched, name, { value: (store[name] as (...args: never[]) => unknown).bind(store) })
  }
  const runs = new TestRuns({ host, open: () => watched, workflows: [definition], stepsUseHostTime: true, storeUsesRealTime: true })
  if (from === undefined) await runs.start(definition, program, { id: 'r' })
  else await store.commit({ expect: { kind: 'absent' }, entries: from.entries, row: from.row })
  const end = await runs.settle('r')
  const row = await store.read() as RunRow
  const entries = await store.entries(0, 10_000)
  const summary = await runs.summary('r')
  return {
    journal: { entries, row }, trace: world.trace, executed: world.executed, traceAt,
    output: JSON.stringify(summary.output ?? String(summary.error ?? summary.blocked?.message)),
    end: end.kind === 'ended' ? end.status : end.kind === 'blocked' ? `blocked ${end.blocked.code}: ${end.blocked.message}` : end.kind,
  }
}

/** The first `length` entries, and the row as it was when the run was driven at that moment. */
export function prefix(journal: Journal, length: number): Journal {
  const record = decodeRecord(journal.row)
  const entries = journal.entries.slice(0, length)
  const first = entries[0] as StoredEntry
  const last = entries.at(-1) as StoredEntry
  return {
    entries,
    row: {
      ...journal.row, wakeAt: claim(last.bytes).at, inbox: 0,
      record: encodeRecord({
        ...record, status: 'running', endedAt: undefined, lastSeq: undefined, waitingFor: [], wakes: 0, wokenSeq: 0,
        head: { seq: 1, hash: claim(first.bytes).hash },
      }),
    },
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

export interface DeliveryFinding {
  readonly seed: number
  readonly where: string
  readonly program: Program
}

/**
 * Runs one program live and again from every prefix of its journal. Throws with the program when anything differs. Answers how much was
 * exercised, so that a caller can refuse an empty test.
 */
export async function checkProgram(harness: DeliveryHarness, program: Program, seed: number): Promise<{ entries: number; replays: number }> {
  const live = await observe(harness, program, seed)
  if (live.end !== 'completed') throw new Error(`seed ${seed}, live: ${live.end}\nprogram: ${JSON.stringify(program)}`)
  const { replays } = await checkPrefixes(harness, program, seed, live)
  return { entries: live.journal.entries.length, replays }
}

/** What is known of a run that was observed live, here or elsewhere. */
export type Lived = Pick<Observed, 'journal' | 'trace' | 'output' | 'executed' | 'traceAt'>

/**
 * Replays a journal: the whole of it, and goes on from every prefix; what that has become is replayed too. Throws with the program when
 * anything differs from what was seen live. Answers the run that went on from the prefix in the middle, if there is one.
 */
export async function checkPrefixes(harness: DeliveryHarness, program: Program, seed: number, live: Lived): Promise<{ replays: number; middle: Lived | undefined }> {
  const problem = (where: string): never => {
    throw new Error(`delivery differs: seed ${seed}, ${where}\nprogram: ${JSON.stringify(program)}`)
  }
  const { entries } = live.journal
  const whole = await observe(harness, program, seed, prefix(live.journal, entries.length - 1), true)
  if (whole.end !== 'completed') problem(`replay of everything: ${whole.end}`)
  if (whole.output !== live.output) problem(`replay of everything: output\n${whole.output}\n${live.output}`)
  if (JSON.stringify(whole.trace) !== JSON.stringify(live.trace)) problem(`replay of everything: trace\n${firstDifference(whole.trace, live.trace)}`)
  const outcomes = outcomesIn(entries)
  if (whole.executed > live.executed - outcomes) problem(`replay of everything: ${whole.executed} steps ran, and ${outcomes} of ${live.executed} have outcomes`)
  let replays = 1
  let middle: Lived | undefined
  for (let k = 1; k < entries.length - 1; k++) {
    const again = await observe(harness, program, seed, prefix(live.journal, k))
    if (again.end !== 'completed') problem(`from ${k}: ${again.end}`)
    for (let i = 0; i < k; i++) {
      if (!equalBytes((again.journal.entries[i] as StoredEntry).bytes, (entries[i] as StoredEntry).bytes)) problem(`from ${k}: entry ${i + 1} changed`)
    }
    const upTo = live.traceAt.get(k + 1) ?? 0
    if (JSON.stringify(again.trace.slice(0, upTo)) !== JSON.stringify(live.trace.slice(0, upTo))) {
      problem(`from ${k}: trace\n${firstDifference(again.trace, live.trace)}`)
    }
    const grown = again.journal.entries.length
    const replayed = await observe(harness, program, seed, prefix(again.journal, grown - 1), true)
    if (replayed.end !== 'completed') problem(`from ${k}, then replayed: ${replayed.end}`)
    if (replayed.output !== again.output) problem(`from ${k}, then replayed: output`)
    if (JSON.stringify(replayed.trace) !== JSON.stringify(again.trace)) {
      problem(`from ${k}, then replayed: trace\n${firstDifference(replayed.trace, again.trace)}`)
    }
    replays += 2
    if (k === entries.length >> 1) middle = { ...again, executed: outcomesIn(entries.slice(0, k)) + again.executed }
  }
  return { replays, middle }
}

function outcomesIn(entries: readonly StoredEntry[]): number {
  return entries.filter(({ bytes }) => ['step_completed', 'step_failed'].includes(claim(bytes).kind ?? '')).length
}

function firstDifference(a: readonly string[], b: readonly string[]): string {
  for (let i = 0; ; i++) if (a[i] !== b[i]) return `at ${i}: ${a[i]} instead of ${b[i]}`
}

/** Programs that are interesting by themselves; random ones come on top. */
export const namedPrograms: Readonly<Record<string, Program>> = {
  'two steps race': { do: 'race', of: [{ do: 'step', name: 'a', takes: 'time', n: 20 }, { do: 'step', name: 'b', takes: 'time', n: 10 }] },
  'two steps race natively, equal names': { do: 'Promise.race', of: [{ do: 'step', name: 'a', takes: 'time', n: 20 }, { do: 'step', name: 'a', takes: 'time', n: 10 }] },
  'two steps race in the same turn': { do: 'race', of: [{ do: 'step', name: 'a', takes: 'no time', n: 0 }, { do: 'step', name: 'b', takes: 'no time', n: 0 }] },
  'a step and a timer race': { do: 'race', of: [{ do: 'step', name: 'a', takes: 'time', n: 30 }, { do: 'sleep', ms: 10 }] },
  'a step and a timer race, the step wins': { do: 'race', of: [{ do: 'step', name: 'a', takes: 'time', n: 5 }, { do: 'sleep', ms: 10 }] },
  'an un-awaited step': { do: 'seq', of: [{ do: 'unawaited', name: 'u', ms: 5 }, { do: 'step', name: 'a', takes: 'time', n: 20 }, { do: 'step', name: 'b', takes: 'microtasks', n: 3 }] },
  'a slow call in flight without an entry': { do: 'seq', of: [{ do: 'unawaited', name: 'u', ms: 100_000 }, { do: 'step', name: 'a', takes: 'no time', n: 0 }, { do: 'step', name: 'b', takes: 'no time', n: 0 }] },
  ...Object.fromEntries(links.map((n) => [`branches with a chain of ${n} links`, {
    do: 'Promise.all', of: [
      { do: 'seq', of: [{ do: 'step', name: 'a', takes: 'no time', n: 0 }, { do: 'chain', links: n }, { do: 'step', name: 'x', takes: 'microtasks', n: 2 }] },
      { do: 'seq', of: [{ do: 'chain', links: n }, { do: 'step', name: 'x', takes: 'time', n: 3 }, { do: 'chain', links: n }, { do: 'step', name: 'x', takes: 'no time', n: 0 }] },
    ],
  } as Program])),
  ...Object.fromEntries(links.map((n) => [`a lone step beside a chain of ${n} links`, {
    do: 'Promise.all', of: [
      { do: 'seq', of: [{ do: 'chain', links: n }] },
      { do: 'seq', of: [{ do: 'step', name: 'a', takes: 'microtasks', n: 3 }, { do: 'draw' }, { do: 'step', name: 'b', takes: 'no time', n: 0 }] },
    ],
  } as Program])),
  // The second step is delivered in the middle of the chain: whoever waits for the end of it counts one call more.
  ...Object.fromEntries([96, 5000].map((n) => [`a lone step beside a chain of ${n} links that ends in a step`, {
    do: 'seq', of: [{ do: 'step', name: 'z', takes: 'no time', n: 0 }, {
      do: 'Promise.all', of: [
        { do: 'seq', of: [{ do: 'chain', links: n }, { do: 'step', name: 'c', takes: 'no time', n: 0 }] },
        { do: 'seq', of: [{ do: 'step', name: 'a', takes: 'microtasks', n: 3 }, { do: 'draw' }, { do: 'step', name: 'b', takes: 'no time', n: 0 }] },
      ],
    }],
  } as Program])),
}
