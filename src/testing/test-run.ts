// One run under the test kit: what a test asks of it, and what it expects of it.

import type { CancelOptions, ControlOutcome, ControlRequest, PageOptions, Resolution, RestartOptions, RunEvent, Settlement, SignalOutcome } from '../client.ts'
import { canonicalBytes } from '../codec.ts'
import type { AnyWorkflow, WorkflowOutput, WorkflowSignals } from '../define.ts'
import type { DriveEnd } from '../engine/drive.ts'
import { eventPage } from '../engine/event-page.ts'
import { StepwellError } from '../errors.ts'
import { given, needed } from '../given.ts'
import { hex } from '../hash.ts'
import type { HostTimer } from '../host.ts'
import { exportRun } from '../journal/export.ts'
import { isEnded, type Status } from '../journal/record.ts'
import { type RunSummary, summary } from '../journal/summary.ts'
import type { Limits } from '../limits.ts'
import type { SchemaInput } from '../schema.ts'
import { earlier, type MaybePromise, type RunStore } from '../store/store.ts'
import { equal } from './assert.ts'
import type { FaultStore } from './fault-store.ts'
import { KeyReads } from './key-reads.ts'
import { describe, type FunctionEnd, replayWatched, sayWhere } from './replay-watch.ts'
import type { TestHost } from './test-host.ts'
import { readJournal, type TestJournal } from './test-journal.ts'
import type { TestRuns } from './test-runs.ts'
import { type AskedCall, type FunctionCall, type Role, Watch } from './watch.ts'

/** What a test expects of a run, all of it at once. Calls are named by their names or by their keys. */
export interface Expected {
  readonly status?: Status
  readonly output?: unknown
  /** Of a failed run: its code or its name, or a part of its message. */
  readonly error?: string
  /** Keys of the steps and effects that have completed, in the order of their outcomes: all of them. */
  readonly completed?: readonly string[]
  /** Those that have failed. */
  readonly failed?: readonly string[]
  /** Calls of which the journal has nothing. */
  readonly never?: readonly string[]
  readonly attempts?: Readonly<Record<string, number>>
  readonly outcomes?: Readonly<Record<string, unknown>>
  /** How each was decided when nobody knew whether it had happened, as `by: decision`. */
  readonly decisions?: Readonly<Record<string, readonly string[]>>
  readonly undone?: readonly string[]
  /** Keys of what it waits for now. */
  readonly waitingFor?: readonly string[]
}

/** What the kit lends to each of its runs. */
export interface TestRunInit<D extends AnyWorkflow> {
  readonly id: string
  readonly created: boolean
  readonly workflow: D
  readonly host: TestHost
  readonly limits: Partial<Limits>
  readonly isGuarded: boolean
  /** Begins a process: the drivers of this run on its store, and its handle on it. */
  readonly boot: (workflow: AnyWorkflow) => { readonly runs: TestRuns; readonly handle: () => FaultStore | undefined }
  /** A handle of the test's own: no fault concerns it. */
  readonly observe: () => MaybePromise<RunStore>
  /** Runs a function that a call brought, or what stands in for it. `own` counts as the user's code. */
  readonly call: (asked: AskedCall, role: Role, call: FunctionCall, own: () => unknown) => unknown
  /** Whether this attempt will never answer. */
  readonly isWithheld: (key: string, attempt: number) => boolean
  /** Lets everything happen that needs no time. */
  readonly still: () => Promise<void>
  /** Lets time pass until nothing is due for `run`, or it has ended. */
  readonly elapse: (isOver: () => boolean) => Promise<void>
}

/** How long a driver waits after its store has failed, or somebody else has written. */
const BACK_OFF_MS = 1000

/** A run of the test kit. Nothing of it moves the clock but `result`, `settle` and the kit itself. */
export class TestRun<D extends AnyWorkflow> {
  readonly id: string
  /** False when an equal start had created it before. */
  readonly created: boolean
  readonly watch: Watch
  readonly #init: TestRunInit<D>
  #process: { readonly runs: TestRuns; readonly handle: () => FaultStore | undefined }
  #driving: Promise<DriveEnd> | undefined
  #opening = 0
  #timer: HostTimer | undefined
  #end: DriveEnd | undefined
  #failure: unknown
  readonly #keys = new KeyReads()
  #functionEnd: FunctionEnd | undefined
  /** Steps that ran in the pass that is under way. */
  #ran: AskedCall[] = []
  #guardedAt = 0

  constructor(init: TestRunInit<D>) {
    this.id = init.id
    this.created = init.created
    this.#init = init
    this.watch = new Watch({
      began: () => { this.#ran = [] },
      ended: (end) => { this.#functionEnd = end },
      run: (asked, role, call, own) => {
        if (role === 'step') this.#ran.push(asked)
        return init.call(asked, role, call, () => this.#keys.watch(asked, role, call, own))
      },
    })
    this.#process = init.boot(this.watch.of(init.workflow))
  }

  // --- for the kit

  /** How many of its functions have not answered, and will. */
  get answering(): number {
    return this.#process.runs.steps.filter(({ key, attempt }) => !this.#init.isWithheld(key, attempt)).length
  }

  get isStoreBusy(): boolean {
    return this.#opening > 0 || this.#process.runs.working > (this.#process.handle()?.hung ?? 0)
  }

  get isDead(): boolean {
    return this.#process.handle()?.isDead === true
  }

  /** Drives it, now and when its time comes. */
  wake(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const process = this.#process
    if (this.#driving !== undefined) return
    this.#opening++
    process.runs.driver(this.id).then((driver) => {
      this.#opening--
      if (process !== this.#process) return
      const driving = driver.drive()
      this.#driving = driving
      driving.then((end) => { if (process === this.#process) this.#parked(end) }, (error: unknown) => { this.#failure = error })
    }, (error: unknown) => {
      this.#opening--
      this.#failure = error
    })
  }

  #parked(end: DriveEnd): void {
    this.#driving = undefined
    this.#end = end
    const { host } = this.#init
    const wakeAt = end.kind === 'superseded' || end.kind === 'unavailable' ? host.now() + BACK_OFF_MS
      : end.kind === 'ended' ? earlier(end.expiresAt ?? null, end.wakeAt)
      : end.kind === 'parked' || end.kind === 'blocked' ? end.wakeAt
      : null
    if (wakeAt !== null) this.#timer = host.timer(wakeAt - host.now(), () => { this.wake() })
  }

  /** The process that drives it dies: what it has under way reaches the store no more. A next one begins. */
  reboot(): void {
    const { handle } = this.#process
    handle()?.kill()
    this.#driving = undefined
    this.#end = undefined
    this.#process = this.#init.boot(this.watch.of(this.#init.workflow))
    this.wake()
  }

  // --- for tests

  async summary(): Promise<RunSummary> {
    return summary(await this.#init.observe())
  }

  async status(): Promise<Status> {
    return (await this.summary()).status
  }

  /** A snapshot of the newest generation. */
  async journal(): Promise<TestJournal> {
    return readJournal(await this.#init.observe(), (key) => this.watch.byKey.get(key)?.name)
  }

  /** A snapshot of what was emitted behind `after`, all of it. Throws `event_gap`. */
  async events(options?: Pick<PageOptions, 'after'>): Promise<readonly RunEvent[]> {
    let { after = 0 }: PageOptions = given(options)
    const store = await this.#init.observe()
    const events: RunEvent[] = []
    for (;;) {
      const { items, next } = await eventPage(store, { after })
      if (items.length === 0) return events
      events.push(...items)
      after = next
    }
  }

  /** As `run.export()` of every client, which `checkReplay` takes. */
  async export(): Promise<readonly string[]> {
    const lines: string[] = []
    for await (const line of exportRun(await this.#init.observe())) lines.push(line)
    return lines
  }

  /** Lets time pass until it has ended, is blocked, or waits for what no time brings; then checks that its journal can be replayed. */
  async settle(): Promise<RunSummary> {
    await this.#init.elapse(() => this.#end?.kind === 'ended' || (this.#end?.kind === 'blocked' && this.#driving === undefined))
    if (this.#failure !== undefined) throw this.#failure
    await this.#guard()
    return this.summary()
  }

  /**
   * Lets time pass until the run has ended. Gives its output; throws its error when it failed or was cancelled, and says what it waits for,
   * or what has blocked it and at which line, when it does not end.
   */
  async result(): Promise<WorkflowOutput<D>> {
    const { status, output, error, blocked, waitingFor } = await this.settle()
    if (status === 'completed') return output as WorkflowOutput<D>
    if (isEnded(status)) throw error
    if (blocked !== undefined) throw new Error(`run ${this.id} is blocked by ${blocked.code}: ${blocked.message}${sayWhere(blocked, this.watch)}`)
    const waits = waitingFor.map(({ kind, key }) => `${kind} ${key}${this.watch.place(key)}`).join(', ')
    throw new Error(`run ${this.id} is ${status} and waits for ${waits === '' ? 'a message' : waits}: no time brings that${(await this.journal()).text}`)
  }

  /** Throws one error that says all that is otherwise, with the journal; `invalid_argument` for what is no expectation. Moves no time. */
  async expect(expected: Expected): Promise<void> {
    checkExpected(expected)
    const [found, journal] = [await this.summary(), await this.journal()]
    const wrong: string[] = []
    const compare = (what: string, actual: unknown, wanted: unknown): void => {
      try {
        equal(actual, wanted, what)
      } catch (error) {
        wrong.push((error as Error).message.replaceAll('\n', '\n  '))
      }
    }
    const look = (what: string, actual: () => unknown, wanted: unknown): void => {
      let value: unknown
      try {
        value = actual()
      } catch (error) {
        wrong.push(`${what}: ${(error as Error).message.split('\n')[0]}`)
        return
      }
      compare(what, value, wanted)
    }
    if (expected.status !== undefined) compare('status', found.status, expected.status)
    if ('output' in expected) compare('output', found.output, expected.output)
    if (expected.error !== undefined) {
      const { code, name, message } = (found.error ?? {}) as { code?: unknown; name?: unknown; message?: unknown }
      if (code !== expected.error && name !== expected.error && !String(message).includes(expected.error)) {
        wrong.push(`error: expected ${JSON.stringify(expected.error)}, received ${found.error === undefined ? 'none' : `${String(code ?? name)}: ${String(message)}`}`)
      }
    }
    if (expected.completed !== undefined) compare('completed', journal.completed, expected.completed)
    if (expected.failed !== undefined) compare('failed', journal.failed, expected.failed)
    for (const name of expected.never ?? []) if (journal.has(name)) wrong.push(`"${name}" was called${this.watch.place(name)}`)
    for (const [name, attempts] of Object.entries(expected.attempts ?? {})) look(`attempts of "${name}"`, () => journal.attempts(name), attempts)
    for (const [name, value] of Object.entries(expected.outcomes ?? {})) look(`outcome of "${name}"`, () => journal.outcome(name), value)
    for (const [name, how] of Object.entries(expected.decisions ?? {})) look(`decisions of "${name}"`, () => journal.call(name).decisions, how)
    if (expected.undone !== undefined) compare('undone', journal.calls.filter(({ isUndone }) => isUndone).map(({ key }) => key), expected.undone)
    if (expected.waitingFor !== undefined) compare('waiting for', found.waitingFor.map(({ key }) => key), expected.waitingFor)
    if (wrong.length > 0) throw new Error(`run ${this.id} is not as expected:\n  ${wrong.join('\n  ')}\nits journal:${journal.text}`)
  }

  /** Durable when it resolves, and everything has happened that follows without time. */
  async cancel(options?: CancelOptions): Promise<void> {
    const { reason, undo }: CancelOptions = given(options)
    await this.#process.runs.cancel(this.id, reason, undo === undefined ? {} : { undo })
    this.wake()
    await this.#init.still()
  }

  pause(): Promise<ControlOutcome> {
    return this.#control({ kind: 'pause' })
  }

  resume(): Promise<ControlOutcome> {
    return this.#control({ kind: 'resume' })
  }

  async restart(options?: RestartOptions): Promise<ControlOutcome> {
    return this.#control({ ...given(options), kind: 'restart' })
  }

  async retry(options?: { readonly id?: string }): Promise<ControlOutcome> {
    return this.#control({ ...given(options), kind: 'retry' })
  }

  /** Sends a signal, as `run.signal` of every client. Durable when it resolves, and everything has happened that follows without time. */
  async signal<K extends keyof WorkflowSignals<D> & string>(name: K, payload: SchemaInput<WorkflowSignals<D>[K]>, options?: { readonly id?: string }): Promise<SignalOutcome> {
    const { id }: { readonly id?: string } = given(options)
    const outcome = await this.#process.runs.signal(this.id, { name, payload, ...(id === undefined ? undefined : { id }) })
    this.wake()
    await this.#init.still()
    return outcome
  }

  async clearSignals<K extends keyof WorkflowSignals<D> & string>(name: K): Promise<{ readonly cleared: number }> {
    return this.#process.runs.clearSignals(this.id, name)
  }

  /** Settles a deferred, as `run.settle` of every client. Of the run itself, `settle()` lets time pass. */
  async settleDeferred(id: string, token: string, settlement: Settlement): Promise<SignalOutcome> {
    const outcome = await this.#process.runs.settleDeferred(this.id, id, token, settlement)
    this.wake()
    await this.#init.still()
    return outcome
  }

  /** Decides about an ambiguous effect, by its name, its key, or the number of its intent. */
  async resolve(effect: string | number, resolution: Resolution): Promise<ControlOutcome> {
    if (typeof effect !== 'string' && typeof effect !== 'number') throw new StepwellError('invalid_argument', 'an effect is named by its name, its key, or the number of its intent')
    return this.#control({ ...needed(resolution, 'the decision'), kind: 'resolve', seq: typeof effect === 'number' ? effect : await this.#intentOf(effect) })
  }

  async #intentOf(name: string): Promise<number> {
    const journal = await this.journal()
    const key = journal.has(name) ? journal.call(name).key : undefined
    const intent = journal.entries.findLast((entry) => entry.kind === 'effect_intended' && entry.key === key)
    if (intent === undefined) throw new StepwellError('nothing_to_resolve', `"${name}" was never intended`)
    return intent.seq
  }

  async #control(request: ControlRequest): Promise<ControlOutcome> {
    const outcome = await this.#process.runs.control(this.id, request)
    this.wake()
    await this.#init.still()
    return outcome
  }

  /** Once for each state of the journal: throws what a replay finds, with the lines to change. */
  async #guard(): Promise<void> {
    if (!this.#init.isGuarded) return
    const store = await this.#init.observe()
    const seq = (await store.last())?.seq ?? 0
    if (seq === this.#guardedAt) return
    const said = this.#keys.unread()
    const { checked, used, end, watch } = await replayWatched(store, this.#init.workflow, this.#init.limits)
    said.unshift(...used)
    const { blocked, status } = await this.summary()
    if (!checked.ok && blocked?.code !== checked.error.code) said.push(`its journal can't be replayed: ${checked.error.message}${sayWhere(checked.error, this.watch, watch)}`)
    const live = this.#functionEnd
    if (status === 'completed' && checked.ok && live?.ok === true && end?.ok === true && !isSame(live.value, end.value)) {
      const steps = [...new Set(this.#ran.map(describe))]
      said.push(`the workflow function gave ${show(live.value)}, and gives ${show(end.value)} in a replay: it uses a value that is not in the journal. ` +
        'No step runs in a replay, so what a step\'s function changes outside of itself is lost: return it instead. What is outside of the workflow function is another' +
        ` value there.${steps.length === 0 ? '' : `\n  Steps that ran in the last pass: ${steps.join(', ')}`}`)
    }
    if (blocked !== undefined && said.length > 0) said.push(`run ${this.id} is blocked by ${blocked.code}: ${blocked.message}${sayWhere(blocked, this.watch)}`)
    if (said.length > 0) throw new Error(`${this.#init.workflow.name}: ${said.join('\n  ')}`)
    this.#guardedAt = seq
  }
}

/** By field: what an expectation may be. */
const shapes: { readonly [field in keyof Required<Expected>]: 'any' | 'text' | 'list' | 'object' } = {
  status: 'text', output: 'any', error: 'text', completed: 'list', failed: 'list', never: 'list', attempts: 'object', outcomes: 'object', decisions: 'object',
  undone: 'list', waitingFor: 'list',
}

function checkExpected(expected: Expected): void {
  for (const [field, value] of Object.entries(needed(expected, 'what is expected'))) {
    const shape = (shapes as Readonly<Record<string, string>>)[field]
    if (shape === undefined) throw new StepwellError('invalid_argument', `there is nothing to expect of ${JSON.stringify(field)}: ${Object.keys(shapes).join(', ')}`)
    if (value === undefined || shape === 'any') continue
    if (shape === 'object') needed(value as object, field)
    else if (shape === 'text' ? typeof value !== 'string' : !Array.isArray(value) || value.some((each) => typeof each !== 'string')) {
      throw new StepwellError('invalid_argument', `expect: ${field} is a ${shape === 'text' ? 'string' : 'list of strings'}`)
    }
  }
}

function isSame(a: unknown, b: unknown): boolean {
  try {
    return hex(canonicalBytes(a)) === hex(canonicalBytes(b))
  } catch {
    // What can't be stored is refused by the engine, which names the field.
    return true
  }
}

function show(value: unknown): string {
  const text = JSON.stringify(value, (_, inner: unknown) => typeof inner === 'bigint' ? `${inner}n` : inner) ?? String(value)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
