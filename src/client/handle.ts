// The client interface over whatever reaches the runs: HTTP, or calls to their objects. Typed here, once.

import type {
  CancelOptions, CancelOutcome, Client, ControlOutcome, ControlRequest, EffectPage, GetOptions, JournalPage, PageOptions, PutBlobOptions, ReadableBytes, Resolution, ResultOptions, Run, StartOptions,
} from '../client.ts'
import type { BlobRef } from '../blob-ref.ts'
import type { AnyWorkflow } from '../define.ts'
import { toMs } from '../duration.ts'
import { StepwellError } from '../error/stepwell-error.ts'
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
  start(workflow: string, input: unknown, options: StartOptions): Promise<{ readonly id: string; readonly created: boolean }>
  /** The run `id`; nothing is asked yet. */
  run(id: string, options: GetOptions): RunTransport
  putBlob(id: string, data: Uint8Array | ReadableBytes, options: PutBlobOptions): Promise<BlobRef>
}

export interface RunTransport {
  status(): Promise<RunSummary>
  /** Answers when the run has ended, or after `waitMs`. */
  result(waitMs: number, abortSignal: AbortSignal | undefined): Promise<Standing>
  cancel(options: CancelOptions): Promise<CancelOutcome>
  control(request: ControlRequest): Promise<ControlOutcome>
  effects(options: PageOptions): Promise<EffectPage>
  journal(options: PageOptions & { readonly reveal?: boolean }): Promise<JournalPage>
  export(): AsyncIterable<string>
}

/** The longest that one request waits for a run to end. */
const WAIT_MS = 30_000

export function createClient<W extends AnyWorkflow>(transport: Transport): Client<W> {
  const handle = (id: string, created: boolean | undefined, options: GetOptions): Run<AnyWorkflow> => {
    const run = transport.run(id, options)
    return {
      id,
      created,
      status: () => run.status(),
      result: async (how) => result(run, id, given(how)),
      cancel: async (how) => run.cancel(given(how)),
      pause: () => run.control({ kind: 'pause' }),
      resume: () => run.control({ kind: 'resume' }),
      restart: async (how) => run.control({ kind: 'restart', ...given(how) }),
      retry: async (how) => run.control({ kind: 'retry', ...given(how) }),
      resolve: async (seq, resolution) => run.control({ ...given(resolution) as Resolution, kind: 'resolve', seq }),
      effects: async (how) => run.effects(given(how)),
      signal: async () => { throw new StepwellError('unsupported', 'this version has no signals yet') },
      journal: async (how) => run.journal(given(how)),
      export: () => run.export(),
    }
  }
  const client: Client<AnyWorkflow> = {
    async start(target: string | AnyWorkflow, input: unknown, options?: StartOptions) {
      const { id, created } = await transport.start(nameOf(target), input, given(options))
      return handle(id, created, given(options))
    },
    get(target: string | AnyWorkflow, id: string, options?: GetOptions) {
      nameOf(target)
      if (typeof id !== 'string') throw new StepwellError('invalid_id', 'the id of a run is a string')
      return handle(id, undefined, given(options))
    },
    putBlob: (id, data, options = {}) => transport.putBlob(id, data, options),
  }
  // Types only: which names there are, and what each takes and gives.
  return client as unknown as Client<W>
}

async function result(run: RunTransport, id: string, { timeout, abortSignal }: ResultOptions = {}): Promise<unknown> {
  let left = timeout === undefined ? Infinity : toMs(timeout, 'timeout')
  for (;;) {
    abortSignal?.throwIfAborted()
    const waitMs = Math.min(left, WAIT_MS)
    const { status, output, error } = await run.result(waitMs, abortSignal)
    if (status === 'completed') return output
    if (status === 'failed' || status === 'cancelled') throw error
    left -= waitMs
    if (left <= 0) throw new StepwellError('wait_timeout', `run ${id} has not ended yet: it is ${status}`, { details: { status } })
  }
}

/** Options are an object, or left out. */
function given<T extends object>(options: T | undefined): T | Record<never, never> {
  if (options === undefined) return {}
  if (typeof options !== 'object' || options === null) throw new StepwellError('invalid_argument', 'options are an object')
  return options
}

function nameOf(target: string | AnyWorkflow): string {
  const name = typeof target === 'string' ? target : target?.name
  if (typeof name !== 'string') throw new StepwellError('invalid_argument', 'a workflow is given by its definition or its name')
  return name
}
