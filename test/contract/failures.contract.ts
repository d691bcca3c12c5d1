// The failures that every store must survive (seeds 5.2), on any store: where a process dies, what is damaged, who comes too late. Each
// case wants stores that nothing was written to. Not here, for they have contracts of their own: a crash inside of an effect (no. 2,
// effects.contract.ts), events (6, events.contract.ts), signals (9, signals.contract.ts), ids (13) and the first opening (15) in the
// store's own, values (17, values.contract.ts).

import type { StartOptions } from '../../src/client.ts'
import { type AnyWorkflow, workflow } from '../../src/define.ts'
import type { DriveEnd } from '../../src/engine/drive.ts'
import type { OnEnd } from '../../src/engine/notice.ts'
import { type EntryKind, kindCodes } from '../../src/journal/entry.ts'
import type { Limits } from '../../src/limits.ts'
import type { Schema } from '../../src/schema.ts'
import type { Batch, RunStore, StoredEntry, Table } from '../../src/store/store.ts'
import { equal, ok, throws } from '../../src/testing/assert.ts'
import { FaultStore, type FaultPlan } from '../../src/testing/fault-store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { entriesOf, ledgerOf } from './effects.contract.ts'
import { type RunCase, type RunHarness, until } from './run-case.ts'

const anything: Schema<any> = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } }
const RUN = 'run-1'
const HOUR = 3_600_000
const DAY = 24 * HOUR
const tables: readonly Table[] = ['inbox', 'outbox', 'chunk', 'manifest', 'memo', 'state', 'effect', 'event', 'signal', 'receipt', 'token']
const whens = ['before', 'after'] as const

const has = (kind: EntryKind) => (batch: Batch): boolean => batch.entries?.some(({ bytes }) => bytes[1] === kindCodes[kind]) === true

interface Boot {
  readonly faults?: FaultPlan
  readonly onEnd?: OnEnd
  readonly services?: object
  readonly limits?: Partial<Limits>
  /** Between the engine and the store. */
  readonly between?: (store: RunStore) => RunStore
}

/** Processes of one run, in one time. */
class Place {
  readonly host: TestHost
  readonly #harness: RunHarness

  constructor(harness: RunHarness) {
    this.#harness = harness
    this.host = new TestHost({ quiesce: harness.quiesce, seed: 52 })
  }

  boot(definition: AnyWorkflow, { faults = {}, between = (store) => store, ...options }: Boot = {}): TestRuns {
    return new TestRuns({
      host: this.host, workflows: [definition], storeUsesRealTime: true, ...options,
      open: async (id) => new FaultStore(between(await this.#harness.open(id)), faults),
    })
  }

  /** A process that starts the run if nobody has, drives it, and dies with the first commit that `at` names. Nothing of it answers any more. */
  async dies(definition: AnyWorkflow, at: (batch: Batch) => boolean, when: 'before' | 'after', boot: Boot = {}, options: StartOptions = {}): Promise<void> {
    let died = false
    const runs = this.boot(definition, { ...boot, faults: {
      crashed: () => { died = true },
      fault: ({ batch }) => batch !== undefined && !died && at(batch) ? { do: 'crash', when } : undefined,
    } })
    const start = runs.start(definition, 0, { id: RUN, ...options })
    let drive: Promise<unknown> | undefined
    start.then(() => { drive = runs.driver(RUN).then((driver) => driver.drive()) }, () => {})
    await this.until('the process dies', () => died)
    void drive
    // Only what the store itself still does is waited for: a crash after a commit is after it.
    for (let i = 0; i < 5; i++) await this.#harness.quiesce()
    // Its timers have died with it.
    this.host.forgetTimers()
  }

  until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
    return until(this.#harness, what, is)
  }

  async store(): Promise<RunStore> {
    return this.#harness.open(RUN)
  }

  async kinds(): Promise<readonly string[]> {
    return (await entriesOf(await this.store())).map(({ kind, key }) => key === undefined ? kind : `${kind} ${key}`)
  }

  /** What is stored of the run beside its row. */
  async rest(): Promise<Readonly<Record<string, number>>> {
    const store = await this.store()
    const left: Record<string, number> = { entries: (await store.entries(0, 1000)).length }
    for (const table of tables) left[table] = (await store.keys(table, { limit: 1000 })).length
    return Object.fromEntries(Object.entries(left).filter(([, n]) => n > 0))
  }

  async settled(definition: AnyWorkflow, boot: Boot = {}): Promise<unknown> {
    const runs = this.boot(definition, boot)
    equal(await runs.settle(RUN), { kind: 'ended', status: 'completed' }, 'how the last process ended it')
    return (await runs.summary(RUN)).output
  }
}

export const failureCases: readonly RunCase[] = [
  { title: '5.2 no. 1, G2: a crash right after a step returned: with its outcome stored it is not run again, without it it is, with the same key', run: async (harness) => {
    for (const when of whens) {
      const ran: string[] = []
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        const a = await ctx.step('a', ({ idempotencyKey }) => { ran.push(`a ${idempotencyKey}`); return ran.length })
        return [a, await ctx.step('b', () => { ran.push('b'); return 'b' })]
      })
      const place = new Place(harness)
      await place.dies(w, has('step_completed'), when)
      equal(ran.length, 1, 'steps that ran before the crash')
      equal(await place.settled(w), [when === 'after' ? 1 : 2, 'b'], 'what the function was given')
      equal(ran, when === 'after' ? [ran[0], 'b'] : [ran[0], ran[0], 'b'], 'what ran')
      equal(await place.kinds(), ['run_started', 'step_completed a', 'step_completed b', 'run_completed'], 'the journal')
      await (await place.store()).destroy()
    }
  } },
  { title: '5.2 no. 3, G13: an effect that is known to have failed is not ambiguous, and may be tried again at once, also over a crash', run: async (harness) => {
    for (const when of [undefined, ...whens]) {
      let calls = 0
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.effect('pay', () => {
        if (++calls === 1) throw new Error('declined')
        return 'paid'
      }, { kind: 'money', input: { cents: 5 }, onAmbiguous: 'fail', retry: { limit: 1, delay: 0 } }))
      const place = new Place(harness)
      if (when === undefined) await place.boot(w).start(w, 0, { id: RUN })
      else await place.dies(w, has('effect_attempt_failed'), when)
      if (when === 'before') {
        // Whether it was declined is in no journal: nobody knows, and the policy says that it fails.
        const runs = place.boot(w)
        equal(await runs.settle(RUN), { kind: 'ended', status: 'failed' }, 'the end')
        equal((await runs.summary(RUN)).error, { ...((await runs.summary(RUN)).error as object), code: 'effect_ambiguous' }, 'the error')
        equal(calls, 1, 'calls')
      } else {
        equal(await place.settled(w), 'paid', 'what the function was given')
        equal(calls, 2, 'calls')
        equal(await place.kinds(), ['run_started', 'effect_intended pay', 'effect_attempt_failed pay', 'effect_intended pay', 'effect_completed pay', 'run_completed'], 'the journal')
      }
      await (await place.store()).destroy()
    }
  } },
  { title: '5.2 no. 4, G6: of two drivers of one run one wins, and the late commit of the other is refused', run: async (harness) => {
    const ran: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => [
      await ctx.step('a', () => { ran.push('a'); return ran.length }), await ctx.effect('pay', () => { ran.push('pay'); return 'paid' }, { kind: 'money', input: 1, onAmbiguous: 'fail' }),
    ])
    const place = new Place(harness)
    const thaw = Promise.withResolvers<undefined>()
    let isFrozen = false
    const frozen = place.boot(w, { faults: { fault: ({ batch }) => {
      if (batch === undefined || isFrozen || !has('step_completed')(batch)) return undefined
      isFrozen = true
      return { do: 'delay', when: 'before', until: thaw.promise }
    } } })
    await frozen.start(w, 0, { id: RUN })
    const late: Promise<DriveEnd> = (await frozen.driver(RUN)).drive()
    await place.until('the first driver is frozen', () => isFrozen)
    equal(await place.settled(w), [2, 'paid'], 'what the second was given')
    const before = [await place.kinds(), await (await place.store()).read()]
    thaw.resolve(undefined)
    equal((await late).kind, 'superseded', 'what the first driver learns')
    equal([await place.kinds(), await (await place.store()).read()], before, 'what is stored')
    equal(await place.kinds(), ['run_started', 'step_completed a', 'effect_intended pay', 'effect_completed pay', 'run_completed'], 'the journal')
    equal(ran, ['a', 'a', 'pay'], 'what ran')
  } },
  { title: '5.2 no. 5, B-001: what happened once is still done after 300 other effects and a crash, and gives its value', run: async (harness) => {
    let once = 0
    let others = 0
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const first = await ctx.once('mail', () => ++once)
      await Promise.all(Array.from({ length: 300 }, (_, i) => ctx.effect(`e${i}`, () => ++others, { kind: 'cost', input: i, onAmbiguous: 'fail' })))
      await ctx.sleep('1 hour')
      return [first, await ctx.once('mail', () => ++once)]
    })
    const place = new Place(harness)
    const first = place.boot(w)
    await first.start(w, 0, { id: RUN })
    equal((await first.drive(RUN)).kind, 'parked', 'the first drive')
    await first.crash(RUN)
    equal(await place.settled(w), [{ value: 1, replayed: false }, { value: 1, replayed: true }], 'what the function was given')
    equal([once, others], [1, 300], 'calls')
    equal((await ledgerOf(await place.store())).filter(({ status }) => status === 'done').length, 301, 'effects that are done')
  } },
  { title: '5.2 no. 7, G9: code that was changed under a run is a typed divergence: nothing of the old values is handed to it, and the code of before goes on', run: async (harness) => {
    const ran: string[] = []
    const make = (changed: boolean, onDivergence: 'fail' | 'restart'): AnyWorkflow => workflow({ name: 'w', input: anything, onDivergence }, async (ctx) => {
      const paid = await ctx.effect('pay', () => { ran.push('pay'); return 'paid' }, { kind: 'money', input: 1, onAmbiguous: 'fail' })
      const second = await ctx.step(changed ? 'other' : 'b', () => { ran.push(changed ? 'other' : 'b'); return changed ? 'other' : 'b' })
      await ctx.sleep('1 hour')
      return [paid, second]
    })
    const place = new Place(harness)
    const old = make(false, 'fail')
    const first = place.boot(old)
    await first.start(old, 0, { id: RUN })
    equal((await first.drive(RUN)).kind, 'parked', 'the first drive')
    await first.crash(RUN)
    const before = await place.kinds()
    place.host.advance(HOUR)
    const end = await place.boot(make(true, 'fail')).drive(RUN)
    equal(end.kind === 'blocked' ? end.blocked.code : end, 'divergence', 'what newer code learns')
    equal([await place.kinds(), ran], [before, ['pay', 'b']], 'what is stored, and what ran')
    equal(await place.settled(old), ['paid', 'b'], 'what the code of before was given')
    await (await place.store()).destroy()

    ran.length = 0
    const again = place.boot(make(false, 'restart'))
    await again.start(make(false, 'restart'), 0, { id: RUN })
    equal((await again.drive(RUN)).kind, 'parked', 'the first drive')
    await again.crash(RUN)
    equal(await place.settled(make(true, 'restart')), ['paid', 'other'], 'what the next generation was given')
    equal(ran, ['pay', 'b', 'other'], 'what ran: what was paid is paid')
  } },
  { title: '5.2 no. 8, G19: a timer that is due while nobody drives fires once, and of one that is half over the rest remains', run: async (harness) => {
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.sleep('1 hour')
      await ctx.sleep('1 hour')
      return ctx.now() - ctx.info.createdAt
    })
    const place = new Place(harness)
    const began = place.host.now()
    await place.dies(w, has('timer_set'), 'after')
    place.host.advance(HOUR / 2)
    equal(await place.boot(w).drive(RUN), { kind: 'parked', wakeAt: began + HOUR }, 'half an hour later')
    equal((await (await place.store()).read())?.wakeAt, began + HOUR, 'when it is woken')
    place.host.advance(HOUR)
    // Half an hour late, and its host dies with it: it has fired then, or fires once more and for the first time.
    for (const when of whens) await place.dies(w, has('timer_fired'), when)
    equal(await place.settled(w), 2 * HOUR + HOUR / 2, 'when it ended')
    equal((await place.kinds()).filter((kind) => kind.startsWith('timer_fired')).length, 2, 'timers that fired')
  } },
  { title: '5.2 no. 10, G21: a run that is cancelled stays cancelled, whoever dies, and by no request goes on', run: async (harness) => {
    for (const when of whens) {
      const ran: string[] = []
      const w = workflow({ name: 'w', input: anything }, async (ctx) => {
        await ctx.step('a', () => { ran.push('a') })
        await ctx.sleep('1 hour')
        await ctx.step('b', () => { ran.push('b') })
      })
      const place = new Place(harness)
      const first = place.boot(w)
      await first.start(w, 0, { id: RUN })
      equal((await first.drive(RUN)).kind, 'parked', 'the first drive')
      await first.crash(RUN)
      // Somebody who drives nothing, and goes away.
      await place.boot(w).cancel(RUN)
      await place.dies(w, has('cancel_requested'), when)
      place.host.advance(2 * HOUR)
      equal(await place.boot(w).drive(RUN), { kind: 'ended', status: 'cancelled' }, 'how it ended')
      const before = await place.kinds()
      equal(await place.boot(w).control(RUN, { kind: 'resume' }), { outcome: 'ended', status: 'cancelled' }, 'the answer to resume')
      for (const request of [{ kind: 'restart' }, { kind: 'retry' }] as const) {
        await throws('already_ended', () => place.boot(w).control(RUN, request), `the answer to ${request.kind}`)
        equal(await place.boot(w).drive(RUN), { kind: 'ended', status: 'cancelled' }, `how it is after ${request.kind}`)
      }
      equal([await place.kinds(), ran], [before, ['a']], 'what is stored, and what ran')
      equal(before, ['run_started', 'step_completed a', 'timer_set ctx.sleep', 'cancel_requested', 'run_cancelled'], 'the journal')
      await (await place.store()).destroy()
    }
  } },
  { title: '5.2 no. 11, G24: a crash at the end: who listens is told, at least once, and only of what is committed', run: async (harness) => {
    for (const when of whens) {
      const told: { readonly attempt: number; readonly kinds: Promise<readonly string[]> }[] = []
      const place = new Place(harness)
      // It answers at once: virtual time does not wait for what it reads.
      const onEnd: OnEnd = ({ id, status, output, attempt }) => { told.push({ ...{ id, status, output }, attempt, kinds: place.kinds() }) }
      const w = workflow({ name: 'w', input: anything }, async (ctx) => ctx.step('a', () => 'done'))
      await place.dies(w, has('run_completed'), when, { onEnd })
      equal(told, [], 'what was told before the end was acknowledged')
      equal(await place.boot(w, { onEnd }).settle(RUN), { kind: 'ended', status: 'completed' }, 'the end')
      const [end] = told
      equal(told, [{ id: RUN, status: 'completed', output: 'done', attempt: when === 'before' ? 1 : 2, kinds: end?.kinds }], 'what was told')
      equal(await end?.kinds, ['run_started', 'step_completed a', 'run_completed'], 'what was stored when it was told')
      // Told, and the host dies before it can say so: it is told again, as a repeat.
      await (await place.store()).destroy()
      told.length = 0
      await place.dies(w, (batch) => told.length > 0 && batch.rows?.some(({ table }) => table === 'outbox') === true, 'before', { onEnd })
      equal(await place.boot(w, { onEnd }).settle(RUN), { kind: 'ended', status: 'completed' }, 'the end')
      equal(told.map(({ attempt }) => attempt), [1, 2], 'the attempts')
      await (await place.store()).destroy()
    }
  } },
  { title: '5.2 no. 12, G23: a finished id that is used again shares nothing with the run before, and is not swept in its place', run: async (harness) => {
    const seen: unknown[] = []
    const w = workflow({ name: 'w', input: anything, retention: { completed: '7 days', failed: '7 days' } }, async (ctx, input: number) => {
      seen.push(await ctx.step('s', async ({ idempotencyKey, state, memo }) => {
        const before = await state.get('n')
        state.set('n', input)
        return [before, await memo('m', () => input), idempotencyKey]
      }))
      await ctx.once('mail', () => seen.push(`mail ${input}`))
      if (input === 2) await ctx.sleep('30 days')
      return ctx.uuid()
    })
    const place = new Place(harness)
    const first = place.boot(w)
    await first.start(w, 1, { id: RUN })
    equal(await first.settle(RUN), { kind: 'ended', status: 'completed', expiresAt: place.host.now() + 7 * DAY }, 'the first')
    const { output } = await first.summary(RUN)
    place.host.advance(6 * DAY)
    await (await place.store()).destroy()
    equal(await place.rest(), {}, 'what is left of the first')
    const second = place.boot(w)
    equal(await second.start(w, 2, { id: RUN }), { id: RUN, created: true }, 'the second start')
    equal((await second.drive(RUN)).kind, 'parked', 'the second run')
    const [one, , two] = seen as [unknown[], unknown, unknown[]]
    equal([one[0], one[1], two[0], two[1]], [undefined, 1, undefined, 2], 'state and memos')
    ok(one[2] !== two[2], 'no key of the first is a key of the second')
    equal(seen.filter((each) => typeof each === 'string'), ['mail 1', 'mail 2'], 'effects')
    // The time of the first is over.
    place.host.advance(2 * DAY)
    equal((await place.boot(w).drive(RUN)).kind, 'parked', 'the second run, when the first would be swept')
    equal(await place.boot(w).settle(RUN), { kind: 'ended', status: 'completed', expiresAt: place.host.now() + 7 * DAY }, 'the second')
    ok((await place.boot(w).summary(RUN)).output !== output, 'ids that the second draws are its own')
    // Swept is not free: what comes late from the first must find no run of its name to join.
    place.host.advance(7 * DAY)
    equal(await place.boot(w).drive(RUN), { kind: 'absent' }, 'the second, swept')
    await throws('run_swept', () => place.boot(w).start(w, 2, { id: RUN }), 'a start with the id of a run that was swept')
    equal(await place.rest(), {}, 'what is left')
  } },
  { title: '5.2 no. 13, G7: keys that are long, prefixes of each other, or full of what separates keys are kept apart', run: async (harness) => {
    const keys = ['a', 'a/b', 'a#1', 'a#', 'a/', '/a', 'a b', ' a', 'a\u0000', 'a\u0000b', 'é', 'e\u0301', '%', '%2F', 'a%2Fb', 'x'.repeat(127), 'x'.repeat(128), 'constructor', '__proto__', '🔑']
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const all: unknown[] = []
      for (const key of keys) {
        all.push(await ctx.step(key, async ({ state, memo }) => {
          state.set(key, `state ${key}`)
          return memo(key, () => `memo ${key}`)
        }))
        all.push(await ctx.effect(key, () => `effect ${key}`, { kind: 'cost', input: key, onAmbiguous: 'fail' }))
        all.push(await ctx.scope(key, (c) => c.step('a', () => `inner ${key}`)))
      }
      await ctx.sleep('1 hour')
      all.push(await ctx.step('read', ({ state }) => Promise.all(keys.map((key) => state.get(key)))))
      return all
    })
    const place = new Place(harness)
    const first = place.boot(w)
    await first.start(w, 0, { id: RUN })
    equal((await first.drive(RUN)).kind, 'parked', 'the first drive')
    await first.crash(RUN)
    equal(await place.settled(w), [...keys.flatMap((key) => [`memo ${key}`, `effect ${key}`, `inner ${key}`]), keys.map((key) => `state ${key}`)], 'what was found under each key')
    const used = (await entriesOf(await place.store())).flatMap(({ kind, key }) => kind === 'step_completed' || kind === 'effect_completed' ? [key] : [])
    equal(new Set(used).size, 3 * keys.length + 1, 'keys of the journal')
  } },
  { title: '5.2 no. 14, G5, G12: a failure or a full disk at any commit: no act without a record, and memory is what is stored', run: async (harness) => {
    const acts: string[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      const a = await ctx.step('a', () => 'a')
      const paid = await ctx.effect('pay', () => { acts.push('pay'); return 'paid' }, { kind: 'money', input: 5, onAmbiguous: 'fail' })
      ctx.emit('paid', { a })
      const sent = await ctx.once('mail', () => { acts.push('mail'); return 'sent' })
      return [a, paid, sent.value]
    })
    let commits = 0
    const clean = new Place(harness)
    const all = clean.boot(w, { faults: { committed: () => { commits++ } } })
    await all.start(w, 0, { id: RUN })
    equal(await all.settle(RUN), { kind: 'ended', status: 'completed' }, 'without a failure')
    const journal = await clean.kinds()
    await (await clean.store()).destroy()
    ok(commits >= 8, `${commits} commits`)
    for (const what of ['fail', 'quota'] as const) {
      for (let n = 1; n <= commits; n++) {
        acts.length = 0
        const place = new Place(harness)
        let struck = false
        let intents = 0
        const runs = place.boot(w, { faults: {
          committed: (batch) => { if (has('effect_intended')(batch)) intents++ },
          fault: ({ method, nth }) => {
            if (method !== 'commit' || nth !== n || struck) return undefined
            struck = true
            return { do: what }
          },
        } })
        const at = `${what} at commit ${n}`
        for (let tries = 0; tries < 2; tries++) {
          const error: unknown = await runs.start(w, 0, { id: RUN }).catch((each: unknown) => each)
          if (error instanceof Error) equal((error as { code?: unknown }).code, what === 'quota' ? 'quota_exceeded' : 'store_unavailable', `${at}: the error of the start`)
        }
        for (let tries = 0; tries < 3; tries++) {
          const end = await runs.settle(RUN).catch((error: { code?: unknown }) => error.code)
          ok(acts.length <= intents, `${at}: ${acts.length} acts, and ${intents} intents are stored`)
          const stored = await place.boot(w).summary(RUN)
          equal(await runs.summary(RUN), stored, `${at}: what the process says, and what is stored`)
          if ((end as DriveEnd).kind === 'ended') break
        }
        ok(struck, `${at}: it struck`)
        equal(await place.kinds(), journal, `${at}: the journal`)
        equal(acts, ['pay', 'mail'], `${at}: acts`)
        equal((await runs.summary(RUN)).output, ['a', 'paid', 'sent'], `${at}: the output`)
        await (await place.store()).destroy()
      }
    }
  } },
  { title: '5.2 no. 15, G4: an entry that is missing or damaged is noticed, nothing is built on it, and with it back the run goes on', run: async (harness) => {
    const ran: number[] = []
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      for (let i = 0; i < 4; i++) await ctx.step('s', () => { ran.push(i) })
      await ctx.sleep('1 hour')
      return 'done'
    })
    const place = new Place(harness)
    const first = place.boot(w)
    await first.start(w, 0, { id: RUN })
    equal((await first.drive(RUN)).kind, 'parked', 'the first drive')
    await first.crash(RUN)
    place.host.advance(HOUR)
    const before = await place.kinds()
    const last = before.length
    const seen = (store: RunStore, of: (entry: StoredEntry) => readonly StoredEntry[]): RunStore => ({
      ...bound(store),
      entries: async (after, limit) => (await store.entries(after, limit)).flatMap(of),
      last: async () => {
        const entry = await store.last()
        if (entry === undefined) return undefined
        return of(entry)[0] ?? (await store.entries(entry.seq - 2, 1))[0]
      },
    })
    for (let seq = 1; seq <= last; seq++) {
      for (const [what, of] of [
        ['missing', (entry: StoredEntry) => entry.seq === seq ? [] : [entry]],
        ['damaged', (entry: StoredEntry) => entry.seq === seq ? [{ ...entry, bytes: entry.bytes.map((byte, i) => i === entry.bytes.length >> 1 ? byte ^ 1 : byte) }] : [entry]],
      ] as const) {
        const end = await place.boot(w, { between: (store) => seen(store, of) }).drive(RUN)
        ok(end.kind === 'blocked' && ['corrupt_entry', 'corrupt_run', 'corrupt_payload'].includes(end.blocked.code), `entry ${seq} ${what}: ${JSON.stringify(end)}`)
        equal([await place.kinds(), ran], [before, [0, 1, 2, 3]], `entry ${seq} ${what}: what is stored, and what ran`)
      }
    }
    const runs = place.boot(w)
    await runs.control(RUN, { kind: 'resume' })
    equal(await runs.settle(RUN), { kind: 'ended', status: 'completed' }, 'with all of them back')
    equal(ran, [0, 1, 2, 3], 'what ran')
  } },
  { title: '5.2 no. 16, G23: a sweep leaves a run that goes on alone, is finished by the next one when it dies halfway, and never meets a half swept run as a run', run: async (harness) => {
    const retention = { completed: '7 days', failed: '7 days' } as const
    const limits = { inlineBytes: 100, chunkBytes: 100, sweepRows: 6 }
    const idle = workflow({ name: 'idle', input: anything, retention }, async (ctx) => { await ctx.sleep('100 days') })
    const place = new Place(harness)
    const live = place.boot(idle)
    await live.start(idle, 0, { id: RUN })
    equal((await live.drive(RUN)).kind, 'parked', 'an idle run')
    place.host.advance(90 * DAY)
    const kept = await place.kinds()
    equal((await place.boot(idle).drive(RUN)).kind, 'parked', 'an idle run that is older than what its retention is')
    equal(await place.kinds(), kept, 'its journal')
    await (await place.store()).destroy()

    const w = workflow({ name: 'w', input: anything, retention }, async (ctx) => {
      await ctx.step('big', () => 'x'.repeat(500))
      for (let i = 0; i < 3; i++) await ctx.step('s', async ({ state, memo }) => { await memo('m', () => i); state.set(`k${i}`, i) })
      await ctx.once('mail', () => 'sent')
      ctx.emit('told', 1)
      return 'done'
    })
    const expired = async (): Promise<void> => {
      const runs = place.boot(w, { limits })
      await runs.start(w, 0, { id: RUN })
      equal((await runs.settle(RUN)).kind, 'ended', 'the run')
      await runs.crash(RUN)
      equal(Object.keys(await place.rest()).sort(), ['chunk', 'effect', 'entries', 'event', 'manifest', 'memo', 'state'], 'what there is to sweep')
      place.host.advance(7 * DAY)
    }
    await expired()
    let commits = 0
    equal(await place.boot(w, { limits, faults: { committed: () => { commits++ } } }).drive(RUN), { kind: 'absent' }, 'a sweep')
    equal(await place.rest(), {}, 'what it has left')
    await (await place.store()).destroy()
    ok(commits >= 4, `${commits} commits of a sweep`)
    for (let n = 1; n <= commits; n++) {
      for (const when of whens) {
        await expired()
        let died = false
        const dying = place.boot(w, { limits, faults: {
          crashed: () => { died = true },
          fault: ({ method, nth }) => method === 'commit' && nth === n ? { do: 'crash', when } : undefined,
        } })
        void dying.driver(RUN).then((driver) => driver.drive())
        await place.until('the sweep dies', () => died)
        const at = `crash ${when} commit ${n}`
        // Two at once: one that reopens it, and one that wants to begin it anew.
        const [end, start] = await Promise.all([
          place.boot(w, { limits }).drive(RUN), place.boot(w, { limits }).start(w, 0, { id: RUN }).catch((error: { code?: unknown }) => error.code),
        ])
        equal(end, { kind: 'absent' }, `${at}: the next sweep`)
        ok(start === 'run_swept' || (start as { created?: unknown }).created === false, `${at}: a start meanwhile: ${JSON.stringify(start)}`)
        equal(await place.rest(), {}, `${at}: what is left`)
        await (await place.store()).destroy()
      }
    }
  } },
  { title: '5.2 no. 18, B-073: a secret that a service holds or an error shows is in no entry, row, summary, log or notice', run: async (harness) => {
    const secret = 'canary-b7f2c1'
    const w = workflow({ name: 'w', input: anything }, async (ctx) => {
      await ctx.step('ok', ({ services, log, memo, state }) => {
        const { key } = services as { key: string }
        log('called', { length: key.length })
        state.set('length', key.length)
        return memo('m', () => key.length)
      })
      const refused = (): Error => Object.assign(new Error(`401 for Bearer ${secret}`), { details: { password: secret } })
      await ctx.step('bad', () => { throw refused() }, { retry: { limit: 1, delay: 0 } }).catch(() => {})
      await ctx.effect('pay', () => { throw refused() }, { kind: 'money', input: 1, onAmbiguous: 'fail', retry: { limit: 0 } }).catch(() => {})
      throw refused()
    })
    const place = new Place(harness)
    const told: unknown[] = []
    const boot: Boot = { services: { key: secret }, onEnd: (end) => { told.push(end) } }
    await place.dies(w, has('step_failed'), 'after', boot)
    const runs = place.boot(w, boot)
    equal(await runs.settle(RUN), { kind: 'ended', status: 'failed' }, 'the end')
    const store = await place.store()
    const bytes = [(await store.read())?.record, ...(await store.entries(0, 100)).map((entry) => entry.bytes)]
    for (const table of tables) bytes.push(...(await store.rows(table, { limit: 100 })).map(({ value }) => value))
    const text = [...bytes.map((each) => String.fromCharCode(...(each ?? []))), JSON.stringify([await runs.summary(RUN), told, place.host.logs])]
    equal(text.filter((each) => each.includes('canary')), [], 'what shows it')
    ok(text.filter((each) => each.includes('[redacted]')).length >= 4, 'its place is marked')
    equal(told.length, 1, 'notices')
  } },
]

/** What a wrapper hands on. */
function bound(store: RunStore): RunStore {
  return {
    runId: store.runId, read: () => store.read(), entries: (...args) => store.entries(...args), last: () => store.last(), row: (...args) => store.row(...args),
    rows: (...args) => store.rows(...args), keys: (...args) => store.keys(...args), commit: (batch) => store.commit(batch), destroy: () => store.destroy(),
    ...(store.flush === undefined ? undefined : { flush: () => store.flush?.() }),
  }
}
