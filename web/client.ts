// The client interface over this browser's own database (src/client.ts): start, find, wait for, cancel and read runs.

import { writeBlob } from '../src/blob.ts'
import type { BlobRef } from '../src/blob-ref.ts'
import type {
  CancelOptions, CancelOutcome, Client, ControlOutcome, ControlRequest, EffectPage, JournalPage, PageOptions, PutBlobOptions, ReadableBytes, Resolution, RestartOptions, ResultOptions,
  Run, StartOptions,
} from '../src/client.ts'
import type { AnyWorkflow, Registry, WorkflowOutput } from '../src/define.ts'
import { toMs } from '../src/duration.ts'
import { cancelOutcome, requestCancel } from '../src/engine/cancel.ts'
import { requestControl } from '../src/engine/control.ts'
import { effectPage } from '../src/engine/ledger.ts'
import { startId, startRun } from '../src/engine/start.ts'
import { StepwellError } from '../src/errors.ts'
import type { Host } from '../src/host.ts'
import { runId as legalRunId } from '../src/ids.ts'
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
const FIRST_POLL_MS = 2_000
const MAX_POLL_MS = 30_000

export function createClient(init: ClientInit): Client<AnyWorkflow> {
  const { shelf, host, registry, limits, drives, hints } = init
  const definitionOf = (what: string | AnyWorkflow): AnyWorkflow => {
    const name = typeof what === 'string' ? what : what?.name
    const definition = registry.get(name)
    if (definition === undefined) throw new StepwellError('not_registered', `this page knows no workflow named ${String(name)}`)
    return definition
  }
  return {
    async start(what: string | AnyWorkflow, input: unknown, options: StartOptions = {}): Promise<Run<AnyWorkflow>> {
      const definition = definitionOf(what)
      const id = startId(definition.name, options, host.random)
      const { created } = await startRun(shelf.open(id), host, limits, definition, input, options)
      if (created) hints.changed(id)
      drives.wake.want(id, { isNew: created && options.delay === undefined })
      return new BrowserRun(init, definition.name, id, created)
    },
    get: (what: string | AnyWorkflow, id: string): Run<AnyWorkflow> =>
      new BrowserRun(init, definitionOf(what).name, legalRunId(id), undefined),
    async putBlob(runId: string, data: Uint8Array | ReadableBytes, options: PutBlobOptions = {}): Promise<BlobRef> {
      const of = data instanceof Uint8Array ? data.length : 'size' in data ? data.size : undefined
      const row = await shelf.open(runId).read()
      if (row !== undefined && isEnded(decodeRecord(row).status)) throw new StepwellError('already_ended', `run ${runId} has ended: nothing can be added to it`)
      return writeBlob(shelf.open(runId), limits, host.now(), data, (bytes) => options.progress?.(bytes, of))
    },
  }
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

class BrowserRun<D> implements Run<D> {
  readonly id: string
  readonly created: boolean | undefined
  readonly #init: ClientInit
  readonly #workflow: string
  readonly #store: RunStore

  constructor(init: ClientInit, workflow: string, id: string, created: boolean | undefined) {
    this.id = id
    this.created = created
    this.#init = init
    this.#workflow = workflow
    this.#store = init.shelf.open(id)
  }

  async status(): Promise<RunSummary> {
    const found = await summarize(this.#store, this.#init.drives)
    this.#check(found.workflow)
    return found
  }

  async result(options: ResultOptions = {}): Promise<WorkflowOutput<D>> {
    const { host, bells } = this.#init
    const until = options.timeout === undefined ? Infinity : host.now() + toMs(options.timeout, 'timeout')
    // Listening begins before the first look, so that an end between the two is not missed.
    const bell = bells.open(this.id, options.abortSignal)
    try {
      for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(MAX_POLL_MS, pollMs * 2)) {
        options.abortSignal?.throwIfAborted()
        const row = await this.#store.read()
        if (row === undefined) throw this.#notFound()
        const record = decodeRecord(row)
        this.#check(record.workflow)
        if (isEnded(record.status)) {
          const end = await outcome(this.#store, record)
          if ('error' in end) throw end.error
          return end.output as WorkflowOutput<D>
        }
        const left = until - host.now()
        if (left <= 0) {
          throw new StepwellError('wait_timeout', `run ${this.id} is ${record.status}; it goes on, only this wait for it is over`)
        }
        await bell.rung(Math.min(left, pollMs))
      }
    } finally {
      bell.close()
    }
  }

  async cancel(options: CancelOptions = {}): Promise<CancelOutcome> {
    const { host, drives, bells, principal } = this.#init
    const bell = bells.open(this.id)
    try {
      const requested = await requestCancel(this.#store, host.now(), { ...options, ...(principal === undefined ? undefined : { principal }) }, boundOf(this.#init))
      if (requested.outcome === 'ended') return requested
      drives.poke(this.id)
      await bell.rung(CANCEL_MS)
      const now = await cancelOutcome(this.#store)
      if (now.outcome !== 'ended') return { ...requested, status: now.status }
      return now.status === 'cancelled' && requested.outcome === 'requested' ? { outcome: 'cancelled', status: now.status } : now
    } finally {
      bell.close()
    }
  }

  pause(): Promise<ControlOutcome> {
    return this.#control({ kind: 'pause' })
  }

  resume(): Promise<ControlOutcome> {
    return this.#control({ kind: 'resume' })
  }

  restart(options: RestartOptions = {}): Promise<ControlOutcome> {
    return this.#control({ kind: 'restart', ...options })
  }

  retry(options: { readonly id?: string } = {}): Promise<ControlOutcome> {
    return this.#control({ kind: 'retry', ...options })
  }

  resolve(seq: number, resolution: Resolution): Promise<ControlOutcome> {
    return this.#control({ kind: 'resolve', seq, ...resolution })
  }

  async #control(request: ControlRequest): Promise<ControlOutcome> {
    const { host, drives, principal } = this.#init
    const answer = await requestControl(this.#store, host.now(), request, principal, boundOf(this.#init))
    drives.poke(this.id)
    return answer
  }

  effects(options?: PageOptions): Promise<EffectPage> {
    return effectPage(this.#store, options)
  }

  signal(): Promise<never> {
    return Promise.reject(new StepwellError('unsupported', 'signals come with a later version of stepwell'))
  }

  journal(options?: Parameters<Run<D>['journal']>[0]): Promise<JournalPage> {
    return journalPage(this.#store, options)
  }

  export(): AsyncIterable<string> {
    return exportRun(this.#store)
  }

  #check(workflow: string): void {
    if (workflow !== this.#workflow) {
      throw new StepwellError('run_not_found', `run ${this.id} is a run of ${workflow}, not of ${this.#workflow}`, {
        details: { runId: this.id },
      })
    }
  }

  #notFound(): StepwellError {
    return new StepwellError('run_not_found', `there is no run ${this.id}`, { details: { runId: this.id } })
  }
}
