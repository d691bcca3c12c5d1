// The client of runs that live behind the HTTP API. No engine: a workflow is known here by its types alone.

import type { CancelOutcome, Client, ControlOutcome, EffectPage, EventPage, GetOptions, JournalPage, PutBlobOptions, SignalOutcome, StartOptions } from '../client.ts'
import { BlobRef } from '../blob-ref.ts'
import type { AnyWorkflow } from '../define.ts'
import { type ErrorDetails, isStepwellError, StepwellError } from '../error/stepwell-error.ts'
import { isErrorCode } from '../error/kind.ts'
import type { RunSummary } from '../journal/summary.ts'
import { given, givenFunction, needed } from '../given.ts'
import { type Clock, createClient, pause, type RunTransport, type Standing } from './handle.ts'
import { type ByteStream, lines } from './lines.ts'
import { fromWireText, toWireText } from './wire.ts'

export { isStepwellError }

/** The platform's `fetch`, as far as it is used here. */
export type Fetch = (url: string, init: FetchInit) => Promise<FetchResponse>

export interface FetchInit {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: string | Uint8Array<ArrayBuffer>
  readonly signal?: AbortSignal
}

export interface FetchResponse {
  readonly status: number
  readonly body: ByteStream | null
  text(): Promise<string>
}

type Headers = Readonly<Record<string, string>>

export interface RemoteOptions {
  /** Where the API is mounted: what comes before `/v1`. */
  readonly url: string
  /** Sent with every request, as they are or as the function makes them each time. */
  readonly headers?: Headers | (() => Headers | Promise<Headers>)
  /** Default: the platform's. */
  readonly fetch?: Fetch
  /** Of requests that did not arrive or that the host could not serve now. Default: 4 times, after 250 ms, doubled each time. */
  readonly retry?: { readonly limit?: number; readonly delayMs?: number }
}

/** What `typeof workflows` may be: a list, or an object such as a module of definitions. */
type Workflows = readonly AnyWorkflow[] | { readonly [name: string]: unknown }
type OneOf<W> = Extract<W extends readonly unknown[] ? W[number] : W[keyof W], AnyWorkflow>

/** The platform's parts, by name: the core's own program declares none of them. */
const platform = globalThis as unknown as {
  readonly fetch: Fetch
  readonly crypto: { getRandomValues(bytes: Uint8Array): Uint8Array }
  readonly performance: { now(): number }
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(id: unknown): void
  readonly ReadableStream: new (source: { pull(controller: { enqueue(chunk: unknown): void; close(): void }): Promise<void> }) => never
}

const clock: Clock = {
  now: () => platform.performance.now(),
  timer: (ms, run) => {
    const id = platform.setTimeout(run, ms)
    return { cancel: () => platform.clearTimeout(id) }
  },
}

const WIRE = 'application/vnd.stepwell.v1+json'
const BYTES = 'application/octet-stream'

interface Call {
  readonly method?: 'POST' | 'PUT' | 'DELETE'
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  readonly type?: string
  readonly headers?: Headers
  readonly abortSignal?: AbortSignal | undefined
  /** The body can be sent only once. */
  readonly isOnce?: boolean
}

/**
 * `remote<typeof workflows>({ url })`: starts and reads runs over HTTP. What a request asks for happens once however often it is
 * sent, so a request that got no answer is sent again; `network` is thrown when that did not help. Everything else that the host
 * refuses is thrown with the host's own code.
 */
export function remote<W extends Workflows>(options: RemoteOptions): Client<OneOf<W>> {
  if (typeof needed(options, 'remote').url !== 'string') throw new StepwellError('invalid_argument', 'url says where the API is mounted')
  givenFunction(options.fetch, 'fetch')
  if (typeof options.headers !== 'function') given(options.headers, 'headers')
  const base = options.url.replace(/\/+$/, '')
  const send = options.fetch ?? ((url, init) => platform.fetch(url, init))
  const { limit = 4, delayMs = 250 }: NonNullable<RemoteOptions['retry']> = given(options.retry, 'retry')
  for (const each of [limit, delayMs]) if (!(typeof each === 'number' && each >= 0)) throw new StepwellError('invalid_argument', 'retry: limit and delayMs are numbers from 0')

  const call = async <T>(path: string, what: Call, read: (response: FetchResponse) => T | Promise<T>): Promise<T> => {
    const { method = 'GET', abortSignal, body } = what
    const query = Object.entries(what.query ?? {}).filter(([, value]) => value !== undefined)
      .map(([key, value]) => `${key}=${encodeURIComponent(String(value))}`).join('&')
    for (let attempt = 0; ; attempt++) {
      let error: StepwellError
      try {
        const own = typeof options.headers === 'function' ? await options.headers() : options.headers
        const response = await send(`${base}/v1/${path}${query && `?${query}`}`, {
          method,
          headers: { ...own, accept: WIRE, ...what.headers, ...(body === undefined ? undefined : { 'content-type': what.type ?? WIRE }) },
          // A stream is sent as it is read, which the platform wants to be told.
          ...(body === undefined ? undefined : { body: body as string, ...(what.isOnce === true ? { duplex: 'half' } : undefined) }),
          ...(abortSignal === undefined ? undefined : { signal: abortSignal }),
        })
        if (response.status < 400) return await read(response)
        error = problem(response.status, await response.text())
      } catch (cause) {
        abortSignal?.throwIfAborted()
        if (isStepwellError(cause)) throw cause
        // No connection, one that broke, or an answer that is not the host's: a captive portal's page.
        error = new StepwellError('network', `${method} ${path}: the host could not be reached`, { cause })
      }
      if (error.kind !== 'transient' || what.isOnce === true || attempt >= limit) throw error
      await pause(clock, delayMs * 2 ** attempt, abortSignal)
    }
  }
  const ask = async (path: string, what: Call = {}): Promise<unknown> => call(path, what, async (response) => fromWireText(await response.text()))

  const run = (_workflow: string, id: string, { jurisdiction }: GetOptions): RunTransport => {
    const path = `runs/${encodeURIComponent(id)}`
    return {
      status: async () => await ask(path, { query: { jurisdiction } }) as RunSummary,
      result: async (waitMs, abortSignal) => await ask(`${path}/result`, { query: { wait: waitMs / 1000, jurisdiction }, abortSignal }) as Standing,
      cancel: async ({ reason, undo }) => await ask(`${path}/cancel`, { method: 'POST', query: { jurisdiction }, body: toWireText(defined({ reason, undo })) }) as CancelOutcome,
      control: async ({ kind, ...rest }) => {
        const { seq, ...body } = rest as { seq?: number }
        const action = kind === 'resolve' ? `effects/${seq}/resolve` : kind
        return await ask(`${path}/${action}`, { method: 'POST', query: { jurisdiction }, body: toWireText(defined(body)) }) as ControlOutcome
      },
      signal: async (name, payload, key) => await ask(`${path}/signals/${encodeURIComponent(name)}`, {
        method: 'POST', query: { jurisdiction }, body: toWireText({ payload, id: key }),
      }) as SignalOutcome,
      clearSignals: async (name) => await ask(`${path}/signals/${encodeURIComponent(name)}`, { method: 'DELETE', query: { jurisdiction } }) as { cleared: number },
      settle: async (key, token, settlement) => await ask(`${path}/deferreds/${encodeURIComponent(key)}`, {
        method: 'POST', query: { jurisdiction }, body: toWireText({ ...settlement, token }),
      }) as SignalOutcome,
      effects: async ({ after, limit: count }) => {
        const page = await ask(`${path}/effects`, { query: { after, limit: count, jurisdiction } }) as EffectPage
        return { items: page.items, next: page.next }
      },
      events: async ({ after, limit: count }, waitMs, abortSignal) =>
        await ask(`${path}/events`, { query: { after, limit: count, wait: waitMs / 1000, jurisdiction }, abortSignal }) as EventPage,
      journal: async ({ after, limit: count, reveal }) => {
        const page = await ask(`${path}/journal`, { query: { after, limit: count, reveal: reveal === true ? 1 : undefined, jurisdiction } }) as JournalPage
        return { items: page.items, next: page.next }
      },
      async *export() {
        const body = await call(`${path}/export`, { query: { jurisdiction } }, (response) => response.body)
        if (body !== null) yield* lines(body)
      },
    }
  }

  return createClient<OneOf<W>>({
    clock,
    newId: randomId,
    run,
    async start(workflow, input, { token, ...rest }: StartOptions) {
      // A start that nothing names can't be repeated: it gets a name here.
      const isRandom = rest.id === undefined && token === undefined
      const id = isRandom ? randomId() : rest.id
      const isHeader = typeof token === 'string' && /^[!-~]+$/.test(token)
      const started = await ask(`workflows/${encodeURIComponent(workflow)}/runs`, {
        method: 'POST',
        body: toWireText({ ...rest, input, ...(id === undefined ? undefined : { id }), ...(token === undefined || isHeader ? undefined : { token }) }),
        ...(isHeader ? { headers: { 'idempotency-key': token } } : undefined),
      }) as { readonly id: string; readonly created: boolean }
      return { id: started.id, created: isRandom || started.created }
    },
    async putBlob(id, data, { jurisdiction, progress }: PutBlobOptions) {
      const isOnce = Symbol.asyncIterator in data
      const ref = await ask(`runs/${encodeURIComponent(id)}/blobs`, {
        method: 'PUT', query: { jurisdiction }, type: BYTES, body: isOnce ? streamOf(data) : data, isOnce,
      }) as BlobRef
      progress?.(ref.size, ref.size)
      return new BlobRef(ref.hash, ref.size, ref.chunkSize)
    },
  })
}

/** The error that a problem document tells of. What is none came from something between us and the host. */
function problem(status: number, text: string): StepwellError {
  try {
    const { code, detail, details } = JSON.parse(text) as { readonly code?: unknown; readonly detail?: unknown; readonly details?: ErrorDetails }
    if (isErrorCode(code)) return new StepwellError(code, String(detail), { details })
  } catch {
    // Not JSON.
  }
  const retryable = status === 429 || (status >= 502 && status <= 504)
  return new StepwellError(retryable ? 'network' : 'internal', `the host answered ${status} without saying why`, { details: { status } })
}

function defined(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function randomId(): string {
  return `r-${[...platform.crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`
}

function streamOf(data: AsyncIterable<Uint8Array>): unknown {
  const iterator = data[Symbol.asyncIterator]()
  return new platform.ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
  })
}
