// Errors: one class, a closed table of codes (G28), their plain-data form, and the marks about retrying.

export { isErrorCode } from './error/kind.ts'
export type { ErrorCode, ErrorKind } from './error/kind.ts'
export { ERRORS } from './error/table.ts'
export type { ErrorInfo } from './error/table.ts'
export { isStepwellError, StepwellError } from './error/stepwell-error.ts'
export type { ErrorDetails, JsonValue, StepwellErrorOptions } from './error/stepwell-error.ts'
export { fromErrorData, toErrorData } from './error/data.ts'
export type { ErrorData, ErrorDataOptions, ExitClass, StructuredError } from './error/data.ts'
export { maskSecrets, redactDetails, redactError, redactText } from './error/redact.ts'
export type { Redact } from './error/redact.ts'
export { ambiguous, permanent, retryAfter, retryHint } from './error/retry.ts'
export type { RetryHint } from './error/retry.ts'
