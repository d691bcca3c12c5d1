// The Durable Object of one run: its single authority, its driver, and the alarm that is its timer (G29).

import { DurableObject } from 'cloudflare:workers'
import type { CancelOutcome, ControlOutcome, ControlRequest, PageOptions, SignalOutcome, StartOptions } from '../src/client.ts'
import { decode, encode } from '../src/codec.ts'
import { cancelOutcome, requestCancel } from '../src/engine/cancel.ts'
import { requestControl } from '../src/engine/control.ts'
import { settleDeferred } from '../src/engine/deferred.ts'
import type { Liveness } from '../src/engine/drive.ts'
import { eventPage } from '../src/engine/event-page.ts'
import { effectPage } from '../src/engine/ledger.ts'
import { clearSignals, sendSignal, type SignalRequest } from '../src/engine/send.ts'
import { startRun } from '../src/engine/start.ts'
import { isStepwellError, StepwellError } from '../src/errors.ts'
import { exportRun } from '../src/journal/export.ts'
import { decodeRecord, isEnded, type RunRecord } from '../src/journal/record.ts'
import { type LiveStepView, outcome, summary } from '../src/journal/summary.ts'
import { journalPage } from '../src/journal/view.ts'
import type { Bound } from '../src/store/bounded.ts'
import type { RowWrite } from '../src/store/store.ts'
import { Drives, type RunConfig } from './drives.ts'
import { createHost, type EdgeHost } from './host.ts'
import {
  type Answer, type CancelRequest, failure, fromTransfer, PROTOCOL, type ResultAnswer, type RunRpc, type SettleRequest, type StartAnswer, toTransfer,
  type Transfer,
} from './rpc.ts'
import { createSqliteStore, type SqliteStore } from './sqlite-store.ts'

/** Blobs that no start refers to go when nothing was added for so long. */
const UNUSED_MS = 24 * 3_600_000
/** A cancel waits so long for the run's end before it answers. */
const CANCEL_WAIT_MS = 1000

/**
 * One run. It keeps nothing in memory that its database does not hold, so it may be dropped at any instant. Every entry, request or
 * alarm, looks at the stored row, drives a run that should be driven and sets an alarm that got lost (platform fact 34).
 * Reading an unknown id writes nothing.
 */
export class RunObject<Env> extends DurableObject<Env> implements RunRpc {
  readonly #config: RunConfig<Env>
  readonly #host: EdgeHost = createHost()
  #store: SqliteStore | undefined
  readonly #drives: Drives<Env>

  constructor(ctx: DurableObjectState, env: Env, config: RunConfig<Env>) {
    super(ctx, env)
    this.#config = config
    this.#drives = new Drives({ ctx, env, host: this.#host, config })
  }

  start(protocol: number, request: Transfer): Promise<Answer<StartAnswer>> {
    return this.#answer(protocol, async (store) => {
      const { workflow, input, options } = decode(await fromTransfer(request)) as { workflow: string; input: unknown; options: StartOptions }
      const definition = this.#config.registry.get(workflow)
      if (definition === undefined) throw new StepwellError('not_registered', `this host knows no workflow named ${workflow}`)
      // A run that could not be driven is not started.
      this.#drives.ready(store)
      const { created, status } = await startRun(store, this.#host, this.#config.limits, definition, input, options)
      this.#drives.touch(store)
      return { created, status }
    })
  }

  summary(protocol: number): Promise<Answer<Transfer>> {
    return this.#answer(protocol, async (store) => {
      const view = await summary(store)
      const live = this.#drives.liveness()
      this.#drives.touch(store)
      return toTransfer(encode(live?.isDriving === true ? { ...view, steps: live.steps.map(stepView) } : view))
    })
  }

  result(protocol: number, waitMs: number): Promise<Answer<ResultAnswer>> {
    return this.#answer(protocol, async (store) => {
      this.#drives.touch(store)
      const record = await this.#ended(store, waitMs)
      return {
        status: record.status,
        outcome: isEnded(record.status) ? toTransfer(encode(await outcome(store, record))) : undefined,
      }
    })
  }

  cancel(protocol: number, request: CancelRequest): Promise<Answer<CancelOutcome>> {
    return this.#answer(protocol, async (store) => {
      const asked = await requestCancel(store, this.#host.now(), request, this.#bound())
      if (asked.outcome === 'ended') return asked
      // Still the same turn: whoever drives commits its first row, and with it an alarm, together with the message.
      this.#drives.poke(store)
      await this.#ended(store, CANCEL_WAIT_MS)
      const { outcome: now, status } = await cancelOutcome(store)
      if (now !== 'ended') return { outcome: asked.outcome, status }
      return status === 'cancelled' && asked.outcome === 'requested' ? { outcome: 'cancelled', status } : { outcome: 'ended', status }
    })
  }

  journal(
    protocol: number, options: PageOptions & { readonly reveal?: boolean },
  ): Promise<Answer<Transfer>> {
    return this.#answer(protocol, async (store) => {
      const page = await journalPage(store, options)
      this.#drives.touch(store)
      return toTransfer(encode(page))
    })
  }

  exportRun(protocol: number): Promise<Answer<ReadableStream<Uint8Array>>> {
    return this.#answer(protocol, async (store) => {
      const lines = exportRun(store)
      // The first line is made now, so that an unknown id is an answer and no broken stream.
      let next: IteratorResult<string, unknown> | undefined = await lines.next()
      this.#drives.touch(store)
      const encoder = new TextEncoder()
      return new ReadableStream({
        type: 'bytes',
        async pull(controller): Promise<void> {
          next ??= await lines.next()
          if (next.done === true) controller.close()
          else controller.enqueue(encoder.encode(`${next.value}\n`))
          next = undefined
        },
        async cancel(): Promise<void> {
          await lines.return(undefined)
        },
      })
    })
  }

  control(protocol: number, transfer: Transfer): Promise<Answer<ControlOutcome>> {
    return this.#answer(protocol, async (store) => {
      const { request, principal } = decode(await fromTransfer(transfer)) as { readonly request: ControlRequest; readonly principal: string | undefined }
      const answer = await requestControl(store, this.#host.now(), request, principal, this.#bound())
      this.#drives.poke(store)
      return answer
    })
  }

  signal(protocol: number, transfer: Transfer): Promise<Answer<SignalOutcome>> {
    return this.#answer(protocol, async (store) => {
      const { request, principal } = decode(await fromTransfer(transfer)) as { readonly request: SignalRequest; readonly principal: string | undefined }
      const { registry, limits } = this.#config
      const answer = await sendSignal({ store, host: this.#host, limits, principal, bound: this.#bound() }, registry, request)
      this.#drives.poke(store)
      return answer
    })
  }

  clearSignals(protocol: number, name: string): Promise<Answer<{ readonly cleared: number }>> {
    return this.#answer(protocol, (store) => clearSignals({ store, host: this.#host, limits: this.#config.limits, principal: undefined, bound: this.#bound() }, name))
  }

  settle(protocol: number, transfer: Transfer): Promise<Answer<SignalOutcome>> {
    return this.#answer(protocol, async (store) => {
      const { id, token, settlement, principal } = decode(await fromTransfer(transfer)) as SettleRequest
      const { registry, limits } = this.#config
      const answer = await settleDeferred({ store, host: this.#host, limits, principal, bound: this.#bound() }, registry, id, token, settlement)
      this.#drives.poke(store)
      return answer
    })
  }

  effects(protocol: number, options: PageOptions): Promise<Answer<Transfer>> {
    return this.#answer(protocol, async (store) => {
      const page = await effectPage(store, options)
      this.#drives.touch(store)
      return toTransfer(encode(page))
    })
  }

  events(protocol: number, options: PageOptions, waitMs: number): Promise<Answer<Transfer>> {
    return this.#answer(protocol, async (store) => {
      this.#drives.touch(store)
      const until = this.#host.now() + waitMs
      for (;;) {
        const rings = this.#drives.events.rings
        const page = await eventPage(store, options)
        const left = until - this.#host.now()
        if (page.items.length > 0 || page.isOver || left <= 0) return toTransfer(encode(page))
        // What came while the page was read has told nobody who waits.
        if (rings === this.#drives.events.rings) await this.#drives.events.rung(left)
      }
    })
  }

  putBlob(protocol: number, rows: readonly RowWrite[]): Promise<Answer<null>> {
    return this.#answer(protocol, async (store) => {
      const row = store.read()
      if (row !== undefined && isEnded(decodeRecord(row).status)) {
        throw new StepwellError('already_ended', `run ${store.runId} has ended: nothing can be added to it`)
      }
      const missing = rows.filter(({ table, key }) => store.row(table, key) === undefined)
      if (missing.length === 0) return null
      const answer = store.commit({ expect: { kind: 'none' }, rows: missing })
      if (answer.kind !== 'committed') throw new StepwellError('store_unavailable', `run ${store.runId}: a blob could not be stored`)
      // In the turn of the commit, so that there are never chunks that nobody sweeps.
      if (row === undefined) await store.arm(this.#host.now() + UNUSED_MS)
      this.#drives.touch(store)
      return null
    })
  }

  /** Sets its successor first, starts the drive and returns (G29). It throws only when no successor could be set: then the platform repeats it. */
  override async alarm(): Promise<void> {
    this.#host.entered()
    const store = this.#open()
    store.alarmFired()
    await this.#drives.alarm(store)
  }

  #bound(): Bound {
    return { ms: this.#config.limits.commitMs, timer: (ms, run) => this.#host.timer(ms, run) }
  }

  async #answer<T>(protocol: number, run: (store: SqliteStore) => Promise<T>): Promise<Answer<T>> {
    this.#host.entered()
    try {
      if (protocol !== PROTOCOL) {
        throw new StepwellError('store_unavailable', `this object speaks protocol ${PROTOCOL} and was called with ${protocol}: a deploy is under way`)
      }
      return { ok: true, value: await run(this.#open()) }
    } catch (error) {
      if (!isStepwellError(error)) this.#drives.log('error', 'a call failed', error)
      // Nobody asks a swept run for more than this; a sweep that was cut off must go on all the same.
      else if (error.code === 'run_swept') this.#drives.touch(this.#open())
      return failure(error)
    }
  }

  #open(): SqliteStore {
    if (this.#store !== undefined) return this.#store
    const { name } = this.ctx.id
    if (name === undefined) throw new StepwellError('host_misconfigured', 'a run object is reached by its name, which is the run id')
    const store = createSqliteStore(this.ctx.storage, name)
    try {
      void this.ctx.storage.sql.databaseSize
    } catch (cause) {
      throw new StepwellError('host_misconfigured', 'the class of the runs is not stored in SQLite: in wrangler.toml, '
        + 'give it `storage = "sqlite"` under [exports.…], or list it in `new_sqlite_classes` of a migration', { cause })
    }
    return (this.#store = store)
  }

  /** The record, once the run has ended or `waitMs` have passed. Throws `run_not_found`, `run_swept`. */
  async #ended(store: SqliteStore, waitMs: number): Promise<RunRecord> {
    const until = this.#host.now() + waitMs
    for (;;) {
      const row = store.read()
      if (row === undefined) throw new StepwellError('run_not_found', `there is no run ${store.runId}`, { details: { runId: store.runId } })
      const record = decodeRecord(row)
      const left = until - this.#host.now()
      if (isEnded(record.status) || left <= 0) return record
      await this.#drives.ends.rung(left)
    }
  }
}

function stepView({ progress, ...step }: Liveness['steps'][number]): LiveStepView {
  if (progress === undefined) return step
  const { done, of } = progress
  return { ...step, progress: of === undefined ? { done } : { done, of } }
}
