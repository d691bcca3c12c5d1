// The client of the worker itself: the one client interface, over calls to the run objects.

import { writeBlob } from '../src/blob.ts'
import type { Client } from '../src/client.ts'
import { createClient } from '../src/client/handle.ts'
import { lines } from '../src/client/lines.ts'
import type { AnyWorkflow, Registry } from '../src/define.ts'
import { startId } from '../src/engine/start.ts'
import { StepwellError } from '../src/errors.ts'
import { randomId, runId } from '../src/ids.ts'
import type { Limits } from '../src/limits.ts'
import type { RowWrite, RunStore } from '../src/store/store.ts'
import { RunCaller } from './caller.ts'
import { createHost } from './host.ts'
import type { RunNamespace, Where } from './namespace.ts'

export interface EdgeReach {
  readonly registry: Registry
  readonly limits: Limits
  /** Asked at the first call of a client, so that making one never fails. */
  readonly namespace: () => RunNamespace
}

export const random = (bytes: number): Uint8Array => crypto.getRandomValues(new Uint8Array(bytes))

/** The run that a start asks for. Throws `not_registered`, `invalid_id`, `invalid_token`. */
export function callStart(reach: EdgeReach, workflow: string, options: Where & { readonly id?: string; readonly token?: string }): RunCaller {
  if (!reach.registry.has(workflow)) throw new StepwellError('not_registered', `this host knows no workflow named ${JSON.stringify(String(workflow).slice(0, 80))}`)
  return new RunCaller(reach.namespace, startId(workflow, options, random), options)
}

/** Throws `invalid_id`. */
export function callRun(reach: EdgeReach, id: string, where: Where): RunCaller {
  return new RunCaller(reach.namespace, runId(id), where)
}

/** Where the chunks of a blob go: several megabytes to a call, each durable when it answers. */
export function blobSink(run: RunCaller): Pick<RunStore, 'runId' | 'commit'> {
  return {
    runId: run.id,
    async commit({ rows = [] }) {
      await run.putBlob(rows as readonly RowWrite[])
      return { kind: 'committed' }
    },
  }
}

/** Bytes of one call that stores a part of a blob: few enough for the platform, many enough for its limit of calls. */
export const BLOB_CALL_BYTES: number = 4 * 1024 * 1024

export function createEdgeClient<W extends AnyWorkflow>(reach: EdgeReach, principal: string | undefined): Client<W> {
  return createClient<W>({
    clock: createHost(),
    newId: () => randomId(random),
    async start(workflow, input, options) {
      const run = callStart(reach, workflow, options)
      const { created } = await run.start(workflow, input, options)
      // A call that was repeated finds its own run: an id drawn here was nobody's before.
      return { id: run.id, created: created || (options.id === undefined && options.token === undefined) }
    },
    run(_workflow, id, options) {
      const run = (): RunCaller => callRun(reach, id, options)
      return {
        status: async () => run().summary(),
        result: async (waitMs, abortSignal) => unlessAborted(run().result(waitMs), abortSignal),
        cancel: async ({ reason, undo }) => run().cancel({ ...(reason === undefined ? undefined : { reason }), ...(undo === true ? { undo } : undefined), ...(principal === undefined ? undefined : { principal }) }),
        control: async (request) => run().control(request, principal),
        signal: async (name, payload, key) => run().signal({ name, payload, id: key }, principal),
        clearSignals: async (name) => run().clearSignals(name),
        settle: async (key, token, settlement) => run().settle({ id: key, token, settlement, principal }),
        effects: async (page) => run().effects(page),
        events: async (page, waitMs, abortSignal) => unlessAborted(run().events(page, waitMs), abortSignal),
        journal: async (page) => run().journal(page),
        async *export() {
          yield* lines(await run().exportRun())
        },
      }
    },
    async putBlob(id, data, { jurisdiction, progress }) {
      const run = callRun(reach, id, jurisdiction === undefined ? {} : { jurisdiction })
      const size = data instanceof Uint8Array ? data.length : 'size' in data ? data.size : undefined
      return writeBlob(blobSink(run), { ...reach.limits, batchBytes: BLOB_CALL_BYTES }, Date.now(), data, (bytes) => progress?.(bytes, size))
    },
  })
}

/** A call can't be taken back, but nobody need wait for it. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
