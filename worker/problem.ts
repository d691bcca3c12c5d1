// Errors as RFC 9457 problem details. They say what happened and what to do: never a payload, a stack or where something is stored.

import { ERRORS, isStepwellError, StepwellError } from '../src/errors.ts'
import { writeLog } from './host.ts'

/** The response for whatever was thrown. What is no error of ours is logged, and answered as `internal` without its text. */
export function problem(error: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const body = problemOf(error)
  return new Response(JSON.stringify(body), {
    status: body.status,
    headers: {
      'content-type': 'application/problem+json', 'cache-control': 'no-store',
      ...(body.code === 'overloaded' || body.code === 'store_unavailable' ? { 'retry-after': '1' } : undefined),
      ...headers,
    },
  })
}

/** The document itself. */
export function problemOf(error: unknown): { readonly status: number; readonly code: string; readonly [field: string]: unknown } {
  const known = isStepwellError(error) ? error : unexpected(error)
  const { kind, status, help } = ERRORS[known.code]
  return {
    type: `urn:stepwell:error:${known.code}`, title: known.code.replaceAll('_', ' '), status, detail: known.message,
    code: known.code, kind, retryable: known.retryable, help, ...(known.details === undefined ? undefined : { details: known.details }),
  }
}

function unexpected(error: unknown): StepwellError {
  const data = error instanceof Error ? { name: error.name, message: error.message } : undefined
  writeLog({ level: 'error', runId: '', message: 'a request failed', data })
  return new StepwellError('internal', 'the request failed for a reason that is not ours to tell; the log has it')
}
