// The client interface over whatever reaches the runs: HTTP, or calls to their objects. Typed here, once.

import type {
  CancelOptions, CancelOutcome, Client, ControlOutcome, ControlRequest, EffectPage, EventPage, EventsOptions, GetOptions, JournalPage, PageOptions, PutBlobOptions, ReadableBytes, ResultOptions, Run, RunEvent, Settlement, SignalOutcome, StartOptions,
} from '../client.ts'
import type { BlobRef } from '../blob-ref.ts'
import type { AnyWorkflow } from '../define.ts'
import { toMs } from '../duration.ts'
import { StepwellError } from '../error/stepwell-error.ts'
import { given, givenFunction, needed } from '../given.ts'
import type { Host } from '../host.ts'
import type { Status } from '../journal/record.ts'
import type { RunSummary } from '../journal/summary.ts'

/** How a run stands: `output` when it completed, `error` when it ended otherwise. */
export interface Standing {
  readonly status: Status
  readonly output?: unknown
  readonly error?: unknown
}

/** What a client needs of whatever reaches the runs. */
export interface Transport {
  /** For waits: a clock that never goes back would do, the time of day does. */
  readonly clock: Clock
  /** One that nobody has used. */
  newId(): string
  start(workflow: string, input: unknown, options: StartOptions): Promise<{ readonly id: string; readonly created: boolean }>
  /** The run `id`, which is one of `workflow`; nothing is asked yet. Throws for what can be no run. */
  run(workflow: string, id: string, options: GetOptions): RunTransport
  putBlob(id: string, data: Uint8Array | ReadableBytes, options: PutBlobOptions): Promise<BlobRef>
}

export type Clock = Pick<Host, 'now' | 'timer'>

export interface RunTransport {
  status(): Promise<RunSummary>
  /** Answers when the run has ended, or after `waitMs`. */
  result(waitMs: number, abortSignal: AbortSignal | undefined): Promise<Standing>
  cancel(options: CancelOptions): Promise<CancelOutcome>
  control(request: ControlRequest): Promise<ControlOutcome>
  signal(name: string, payload: unknown, id: string): Promise<SignalOutcome>
  clearSignals(name: string): Promise<{ readonly cleared: number }>
  settle(id: string, token: string, settlement: Settlement): Promise<SignalOutcome>
  effects(options: PageOptions): Promise<EffectPage>
  /** Answers when there are events behind `after`, when there will be none, or after `waitMs`. */
  events(options: PageOptions, waitMs: number, abortSignal: AbortSignal | undefined): Promise<EventPage>
  journal(options: PageOptions & { readonly reveal?: boolean }): Promise<JournalPage>
  export(): AsyncIterable<string>
}

/** The longest that one request waits for a run to end. */
const WAIT_MS = 30_000
/**
 * The least time from one request to the next: something between us and the host may answer at once, and again. Doubled with each such
 * answer, up to the second.
 */
const FIRST_PAUSE_MS = 250
const MAX_PAUSE_MS = 10_000

export function createClient<W extends AnyWorkflow>(transport: Transport): Client<W> {
  const { clock } = transport
  const handle = (workflow: string, id: string, created: boolean | undefined, options: GetOptions): Run<AnyWorkflow> => {
    const run = transport.run(workflow, id, place(options))
    return {
      id,
      created,
      status: () => run.status(),
      result: async (how) => result(run, id, clock, given(how)),
      cancel: async (how) => run.cancel(cancelling(how)),
      pause: () => run.control({ kind: 'pause' }),
      resume: () => run.control({ kind: 'resume' }),
      restart: async (how) => run.control({ ...given(how), kind: 'restart' }),
      retry: async (how) => run.control({ ...given(how), kind: 'retry' }),
      resolve: async (seq, resolution) => {
        if (typeof seq !== 'number') throw new StepwellError('invalid_argument', 'what is resolved is named by the sequence number of its entry')
        return run.control({ ...needed(resolution, 'the decision'), kind: 'resolve', seq })
      },
      effects: async (how) => run.effects(page(how)),
      events: (how) => {
        const { after, abortSignal }: EventsOptions = given(how)
        checkSignal(abortSignal)
        return events(run, clock, page({ ...(after !== undefined && { after }) }).after ?? 0, abortSignal)
      },
      signal: async (name, payload, how) => {
        if (typeof name !== 'string') throw new StepwellError('invalid_argument', 'a signal is named by a string')
        const { id: own }: { readonly id?: string } = given(how)
        // What a lost answer makes somebody send again must be known as the same.
        return run.signal(name, payload, own ?? transport.newId())
      },
      clearSignals: async (name) => {
        if (typeof name !== 'string') throw new StepwellError('invalid_argument', 'a signal is named by a string')
        return run.clearSignals(name)
      },
      settle: async (key, token, how) => {
        if (typeof key !== 'string' || typeof token !== 'string') throw new StepwellError('invalid_argument', 'a deferred is named by a string, and so is its token')
        return run.settle(key, token, needed(how, 'the settlement'))
      },
      journal: async (how) => run.journal({ ...page(how), reveal: isTrue(how?.reveal, 'reveal') }),
      export: () => run.export(),
    }
  }
  const client: Client<AnyWorkflow> = {
    async start(target: string | AnyWorkflow, input: unknown, options?: StartOptions) {
      const workflow = nameOf(target)
      const { id, created } = await transport.start(workflow, input, given(options))
      return handle(workflow, id, created, given(options))
    },
    get(target: string | AnyWorkflow, id: string, options?: GetOptions) {
      const workflow = nameOf(target)
      if (typeof id !== 'string') throw new StepwellError('invalid_id', 'the id of a run is a string')
      return handle(workflow, id, undefined, given(options))
    },
    async putBlob(id, data, options) {
      if (typeof id !== 'string') throw new StepwellError('invalid_id', 'the id of a run is a string')
      if (!isReadable(data)) throw new StepwellError('invalid_argument', 'a blob is written from a Uint8Array, a Blob, or an async iterable of bytes')
      const { progress, ...where }: PutBlobOptions = given(options)
      givenFunction(progress, 'progress')
      return transport.putBlob(id, data, progress === undefined ? place(where) : { ...place(where), progress })
    },
  }
  // Types only: which names there are, and what each takes and gives.
  return client as unknown as Client<W>
}

async function result(run: RunTransport, id: string, clock: Clock, { timeout, abortSignal }: ResultOptions): Promise<unknown> {
  checkSignal(abortSignal)
  const until = timeout === undefined ? Infinity : clock.now() + toMs(timeout, 'timeout')
  for (let pauseMs = FIRST_PAUSE_MS; ;) {
    abortSignal?.throwIfAborted()
    const askedAt = clock.now()
    const waitMs = Math.max(0, Math.ceil(Math.min(until - askedAt, WAIT_MS)))
    const { status, output, error } = await run.result(waitMs, abortSignal)
    if (status === 'completed') return output
    if (status === 'failed' || status === 'cancelled') throw error
    const now = clock.now()
    if (now >= until) throw new StepwellError('wait_timeout', `run ${id} is ${status}; it goes on, only this wait for it is over`, { details: { status } })
    const restMs = Math.min(pauseMs, waitMs) - (now - askedAt)
    if (restMs > 0) {
      await pause(clock, restMs, abortSignal)
      pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)
    } else {
      pauseMs = FIRST_PAUSE_MS
    }
  }
}

async function* events(run: RunTransport, clock: Clock, after: number, abortSignal: AbortSignal | undefined): AsyncGenerator<RunEvent> {
  let cursor = after
  for (let pauseMs = FIRST_PAUSE_MS; ;) {
    abortSignal?.throwIfAborted()
    const askedAt = clock.now()
    const { items, next, isOver } = await run.events({ after: cursor }, WAIT_MS, abortSignal)
    yield* items
    cursor = next
    if (isOver) return
    const restMs = items.length > 0 ? 0 : pauseMs - (clock.now() - askedAt)
    if (restMs > 0) {
      await pause(clock, restMs, abortSignal)
      pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)
    } else {
      pauseMs = FIRST_PAUSE_MS
    }
  }
}

function checkSignal(abortSignal: AbortSignal | undefined): void {
  if (abortSignal !== undefined && typeof abortSignal?.throwIfAborted !== 'function') throw new StepwellError('invalid_argument', 'abortSignal is that of an AbortController')
}

/** Lets `ms` pass. Rejects at once with the signal's reason when it aborts. */
export async function pause(clock: Clock, ms: number, abortSignal: AbortSignal | undefined): Promise<void> {
  abortSignal?.throwIfAborted()
  let stop: () => void = () => {}
  await new Promise<void>((resolve) => {
    const timer = clock.timer(ms, resolve)
    stop = () => {
      timer.cancel()
      resolve()
    }
    abortSignal?.addEventListener('abort', stop)
  })
  abortSignal?.removeEventListener('abort', stop)
  abortSignal?.throwIfAborted()
}

/** Read as far as it has to be to be read at all. */
function isReadable(data: unknown): data is Uint8Array | ReadableBytes {
  if (typeof data !== 'object' || data === null) return false
  return data instanceof Uint8Array || Symbol.asyncIterator in data || ('size' in data && 'slice' in data)
}

/** In an object of our own, with nothing in it that is not known: some transports take no other. */
function page(options: PageOptions | undefined): PageOptions {
  const { after, limit }: PageOptions = given(options)
  for (const each of [after, limit]) if (each !== undefined && typeof each !== 'number') throw new StepwellError('invalid_argument', 'after and limit of a page are numbers')
  return { ...(after !== undefined && { after }), ...(limit !== undefined && { limit }) }
}

function cancelling(options: CancelOptions | undefined): CancelOptions {
  const { reason, undo }: CancelOptions = given(options)
  if (reason !== undefined && typeof reason !== 'string') throw new StepwellError('invalid_argument', 'the reason of a cancel is a string')
  return { ...(reason !== undefined && { reason }), ...(isTrue(undo, 'undo') && { undo: true }) }
}

function isTrue(flag: boolean | undefined, what: string): boolean {
  if (flag !== undefined && typeof flag !== 'boolean') throw new StepwellError('invalid_argument', `${what} is true or false`)
  return flag === true
}

function place(options: GetOptions): GetOptions {
  const { jurisdiction } = options
  if (jurisdiction !== undefined && typeof jurisdiction !== 'string') throw new StepwellError('invalid_argument', 'jurisdiction is a word such as "eu"')
  return options
}

function nameOf(target: string | AnyWorkflow): string {
  const name = typeof target === 'string' ? target : target?.name
  if (typeof name !== 'string') throw new StepwellError('invalid_argument', 'a workflow is given by its definition or its name')
  return name
}
