// The client of this browser's own database: the one client interface, over its stores and drivers.

import { writeBlob } from '../src/blob.ts'
import type { CancelOptions, CancelOutcome, Client, ControlOutcome, ControlRequest, EffectPage, EventPage, JournalPage, PageOptions, Settlement, SignalOutcome } from '../src/client.ts'
import { createClient, type RunTransport, type Standing } from '../src/client/handle.ts'
import type { AnyWorkflow, Registry } from '../src/define.ts'
import { cancelOutcome, requestCancel } from '../src/engine/cancel.ts'
import { requestControl } from '../src/engine/control.ts'
import { settleDeferred } from '../src/engine/deferred.ts'
import { eventPage } from '../src/engine/event-page.ts'
import { effectPage } from '../src/engine/ledger.ts'
import { clearSignals, sendSignal } from '../src/engine/send.ts'
import { startId, startRun } from '../src/engine/start.ts'
import { StepwellError } from '../src/errors.ts'
import type { Host } from '../src/host.ts'
import { randomId, runId as legalRunId } from '../src/ids.ts'
import { exportRun } from '../src/journal/export.ts'
import { decodeRecord, isEnded } from '../src/journal/record.ts'
import { outcome, type RunSummary, summary } from '../src/journal/summary.ts'
import { journalPage } from '../src/journal/view.ts'
import type { Limits } from '../src/limits.ts'
import type { Bound } from '../src/store/bounded.ts'
import type { RunStore, Shelf } from '../src/store/store.ts'
import type { Bells } from './bells.ts'
import type { Drives } from './drives.ts'
import type { Hints } from './hints.ts'

export interface ClientInit {
  readonly shelf: Shelf
  readonly host: Host
  readonly registry: Registry
  readonly limits: Limits
  readonly drives: Drives
  readonly hints: Hints
  readonly bells: Bells
  /** For whom this page acts. */
  readonly principal: string | undefined
}

/** How long `cancel` waits for the run to end by it. A run that has something to clean up takes longer and ends later. */
const CANCEL_MS = 1_000
/** How long a wait trusts in being told, at first; doubled each time. */
const FIRST_POLL_MS = 2_000

export function createBrowserClient(init: ClientInit): Client<AnyWorkflow> {
  const { shelf, host, registry, limits, drives, hints } = init
  const known = (workflow: string): AnyWorkflow => {
    const definition = registry.get(workflow)
    if (definition === undefined) throw new StepwellError('not_registered', `this page knows no workflow named ${workflow}`)
    return definition
  }
  return createClient<AnyWorkflow>({
    clock: host,
    newId: () => randomId(host.random),
    async start(workflow, input, options) {
      const definition = known(workflow)
      const id = startId(workflow, options, host.random)
      const { created } = await startRun(shelf.open(id), host, limits, definition, input, options)
      if (created) hints.changed(id)
      drives.wake.want(id, { isNew: created && options.delay === undefined })
      return { id, created }
    },
    run: (workflow, id) => new BrowserRun(init, known(workflow).name, legalRunId(id)),
    async putBlob(id, data, options) {
      const of = data instanceof Uint8Array ? data.length : 'size' in data ? data.size : undefined
      const store = shelf.open(id)
      const row = await store.read()
      if (row !== undefined && isEnded(decodeRecord(row).status)) throw new StepwellError('already_ended', `run ${id} has ended: nothing can be added to it`)
      return writeBlob(store, limits, host.now(), data, (bytes) => options.progress?.(bytes, of))
    },
  })
}

/** The summary of a run, with its live steps when this tab drives it. */
export async function summarize(
  store: RunStore, drives: Drives, options: { readonly values?: boolean } = {},
): Promise<RunSummary> {
  const found = await summary(store, options)
  const live = drives.liveness(store.runId)
  if (live === undefined) return found
  return {
    ...found,
    steps: live.steps.map(({ key, attempt, startedAt, progress }) => ({
      key, attempt, startedAt,
      ...(progress === undefined ? undefined : {
        progress: progress.of === undefined ? { done: progress.done } : { done: progress.done, of: progress.of },
      }),
    })),
  }
}

function boundOf({ host, limits }: ClientInit): Bound {
  return { ms: limits.commitMs, timer: (ms, run) => host.timer(ms, run) }
}

class BrowserRun implements RunTransport {
  readonly #init: ClientInit
  readonly #workflow: string
  readonly #store: RunStore

  constructor(init: ClientInit, workflow: string, id: string) {
    this.#init = init
    this.#workflow = workflow
    this.#store = init.shelf.open(id)
  }

  async status(): Promise<RunSummary> {
    const found = await summarize(this.#store, this.#init.drives)
    this.#check(found.workflow)
    return found
  }

  async result(waitMs: number, abortSignal: AbortSignal | undefined): Promise<Standing> {
    const { host, bells } = this.#init
    const { runId } = this.#store
    const until = host.now() + waitMs
    // Listening begins before the first look, so that an end between the two is not missed.
    const bell = bells.open(runId, abortSignal)
    try {
      for (let pollMs = FIRST_POLL_MS; ; pollMs *= 2) {
        abortSignal?.throwIfAborted()
        const row = await this.#store.read()
        if (row === undefined) throw new StepwellError('run_not_found', `there is no run ${runId}`, { details: { runId } })
        const record = decodeRecord(row)
        this.#check(record.workflow)
        const { status } = record
        if (isEnded(status)) return { status, ...await outcome(this.#store, record) }
        const left = until - host.now()
        if (left <= 0) return { status }
        await bell.rung(Math.min(left, pollMs))
      }
    } finally {
      bell.close()
    }
  }

  async cancel(options: CancelOptions): Promise<CancelOutcome> {
    const { host, drives, bells, principal } = this.#init
    const { runId } = this.#store
    const bell = bells.open(runId)
    try {
      const requested = await requestCancel(this.#store, host.now(), { ...options, ...(principal === undefined ? undefined : { principal }) }, boundOf(this.#init))
      if (requested.outcome === 'ended') return requested
      drives.poke(runId)
      await bell.rung(CANCEL_MS)
      const now = await cancelOutcome(this.#store)
      if (now.outcome !== 'ended') return { ...requested, status: now.status }
      return now.status === 'cancelled' && requested.outcome === 'requested' ? { outcome: 'cancelled', status: now.status } : now
    } finally {
      bell.close()
    }
  }

  async control(request: ControlRequest): Promise<ControlOutcome> {
    const { host, drives, principal } = this.#init
    const answer = await requestControl(this.#store, host.now(), request, principal, boundOf(this.#init))
    drives.poke(this.#store.runId)
    return answer
  }

  async signal(name: string, payload: unknown, id: string): Promise<SignalOutcome> {
    const { host, limits, registry, drives, principal } = this.#init
    const answer = await sendSignal({ store: this.#store, host, limits, principal, bound: boundOf(this.#init) }, registry, { name, payload, id })
    drives.poke(this.#store.runId)
    return answer
  }

  clearSignals(name: string): Promise<{ readonly cleared: number }> {
    const { host, limits, principal } = this.#init
    return clearSignals({ store: this.#store, host, limits, principal, bound: boundOf(this.#init) }, name)
  }

  async settle(id: string, token: string, settlement: Settlement): Promise<SignalOutcome> {
    const { host, limits, registry, drives, principal } = this.#init
    const answer = await settleDeferred({ store: this.#store, host, limits, principal, bound: boundOf(this.#init) }, registry, id, token, settlement)
    drives.poke(this.#store.runId)
    return answer
  }

  effects(options: PageOptions): Promise<EffectPage> {
    return effectPage(this.#store, options)
  }

  async events(options: PageOptions, waitMs: number, abortSignal: AbortSignal | undefined): Promise<EventPage> {
    const { host, bells } = this.#init
    const until = host.now() + waitMs
    const bell = bells.open(this.#store.runId, abortSignal, true)
    try {
      for (let pollMs = FIRST_POLL_MS; ; pollMs *= 2) {
        abortSignal?.throwIfAborted()
        const page = await eventPage(this.#store, options)
        const left = until - host.now()
        if (page.items.length > 0 || page.isOver || left <= 0) return page
        await bell.rung(Math.min(left, pollMs))
      }
    } finally {
      bell.close()
    }
  }

  journal(options: PageOptions & { readonly reveal?: boolean }): Promise<JournalPage> {
    return journalPage(this.#store, options)
  }

  export(): AsyncIterable<string> {
    return exportRun(this.#store)
  }

  #check(workflow: string): void {
    if (workflow === this.#workflow) return
    const { runId } = this.#store
    throw new StepwellError('run_not_found', `run ${runId} is a run of ${workflow}, not of ${this.#workflow}`, { details: { runId } })
  }
}
