// The public names of `stepwell`: what a workflow module and its callers import. No host code.

export { services, workflow } from './define.ts'
export type {
  AnyWorkflow, ServicesType, Workflow, WorkflowInput, WorkflowOptions, WorkflowOutput, WorkflowSignals,
} from './define.ts'
export type {
  At, Call, Ctx, Deferred, EffectOptions, EffectRecord, Memo, MemoKey, Once, OnceOptions, RetryPolicy, RunInfo, Services, ServicesOf, Settled, SignalMap, SignalOptions, StepOptions, StepState, Winner,
} from './context.ts'
export type { OnEnd, RunEnd } from './engine/notice.ts'
export type { CancelOptions, CancelOutcome, Client, ControlOutcome, EffectPage, EffectView, GetOptions, JournalPage, PageOptions, PutBlobOptions, ReadableBytes, Resolution, RestartOptions, ResultOptions, Run, Settlement, SignalOutcome, StartOptions } from './client.ts'
export type { RunSummary } from './journal/summary.ts'
export type { Status } from './journal/record.ts'
export type { EntryView } from './journal/view.ts'
export type { Duration } from './duration.ts'
export type { Schema } from './schema.ts'
export { BlobRef, isBlobRef } from './blob-ref.ts'
export { blake3, createHasher, hex, loadFast } from './hash.ts'
export type { Hasher } from './hash.ts'
export { ambiguous, ERRORS, isStepwellError, maskSecrets, permanent, retryAfter, StepwellError } from './errors.ts'
export type { ErrorCode, ErrorKind, ExitClass, Redact, StructuredError } from './errors.ts'
export { defaultLimits } from './limits.ts'
export type { Limits } from './limits.ts'
