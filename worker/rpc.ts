// What travels between the worker and a run's object: plain data, errors too (platform fact 48), and values as the codec's bytes.

import type { CancelOutcome, ControlOutcome, PageOptions, Settlement, SignalOutcome } from '../src/client.ts'
import { type ErrorData, fromErrorData, isStepwellError, StepwellError, toErrorData } from '../src/errors.ts'
import type { Status } from '../src/journal/record.ts'
import type { RowWrite } from '../src/store/store.ts'

/** Raised when a call changes its meaning: for minutes after a deploy the worker and the object may differ (platform fact 43). */
export const PROTOCOL = 1

export type Answer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ErrorData }

/** Encoded bytes: as a stream when they are more than one call may carry. */
export type Transfer = Uint8Array | ReadableStream<Uint8Array>

export interface StartAnswer {
  readonly created: boolean
  readonly status: Status
}

export interface ResultAnswer {
  readonly status: Status
  /** `{ output }` or `{ error }`, encoded; undefined while the run has not ended. */
  readonly outcome: Transfer | undefined
}

export interface CancelRequest {
  readonly reason?: string
  readonly undo?: boolean
  readonly principal?: string
}

export interface SettleRequest {
  readonly id: string
  readonly token: string
  readonly settlement: Settlement
  readonly principal: string | undefined
}

/** The methods of a run's object. Each may be called again with the same arguments and then changes nothing more. */
export interface RunRpc {
  /** `request`: `{ workflow, input, options }`, encoded. */
  start(protocol: number, request: Transfer): Promise<Answer<StartAnswer>>
  /** A `RunSummary`, encoded. */
  summary(protocol: number): Promise<Answer<Transfer>>
  /** Waits up to `waitMs` for the end. */
  result(protocol: number, waitMs: number): Promise<Answer<ResultAnswer>>
  /** Durable when it answers; waits a moment for the end, which a run that only waits reaches at once. */
  cancel(protocol: number, request: CancelRequest): Promise<Answer<CancelOutcome>>
  /** `request`: `{ request: ControlRequest, principal }`, encoded. Durable when it answers. */
  control(protocol: number, request: Transfer): Promise<Answer<ControlOutcome>>
  /** `request`: `{ request: SignalRequest, principal }`, encoded. Durable when it answers. */
  signal(protocol: number, request: Transfer): Promise<Answer<SignalOutcome>>
  /** Durable when it answers. */
  clearSignals(protocol: number, name: string): Promise<Answer<{ readonly cleared: number }>>
  /** A `SettleRequest`, encoded. Durable when it answers. */
  settle(protocol: number, request: Transfer): Promise<Answer<SignalOutcome>>
  /** An `EffectPage`, encoded. */
  effects(protocol: number, options: PageOptions): Promise<Answer<Transfer>>
  /** An `EventPage`, encoded. Waits up to `waitMs` while it would be empty and the run goes on. */
  events(protocol: number, options: PageOptions, waitMs: number): Promise<Answer<Transfer>>
  /** A `JournalPage`, encoded. */
  journal(protocol: number, options: PageOptions & { readonly reveal?: boolean }): Promise<Answer<Transfer>>
  /** The lines of the export, each with its line feed. */
  exportRun(protocol: number): Promise<Answer<ReadableStream<Uint8Array>>>
  /** Chunks of a blob, and last its manifest. */
  putBlob(protocol: number, rows: readonly RowWrite[]): Promise<Answer<null>>
}

/** The platform refuses a call or an answer over 32 MiB (platform fact 47), and a copy of each is in memory at both ends. */
const CALL_BYTES = 8 * 1024 * 1024
const PIECE_BYTES = 1024 * 1024

export function toTransfer(bytes: Uint8Array): Transfer {
  if (bytes.length <= CALL_BYTES) return bytes
  let at = 0
  return new ReadableStream({
    type: 'bytes',
    pull(controller): void {
      // A copy: the stream takes the buffer that it is given.
      controller.enqueue(bytes.slice(at, at += PIECE_BYTES))
      if (at >= bytes.length) controller.close()
    },
  })
}

export async function fromTransfer(transfer: Transfer): Promise<Uint8Array> {
  return transfer instanceof Uint8Array ? transfer : new Uint8Array(await new Response(transfer).arrayBuffer())
}

/** What failed, as data. What is no error of ours is one of the program's: its message may hold anything, so it is only logged. */
export function failure(error: unknown): { readonly ok: false; readonly error: ErrorData } {
  return { ok: false, error: toErrorData(isStepwellError(error) ? error : new StepwellError('internal', 'the run object failed')) }
}

/** The value of an answer. Throws its error. */
export function unwrap<T>(answer: Answer<T>): T {
  if (answer.ok) return answer.value
  throw fromErrorData(answer.error)
}
