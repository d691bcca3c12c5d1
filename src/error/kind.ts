// Every error code and its kind, in few bytes: all that an error needs to be made. What to do about each is in table.ts.

/**
 * What an error means for whoever sees it. `usage`: the program is wrong. `conflict`: somebody else owns it or it moved on.
 * `transient`: the world failed, trying again may help. `permanent`: trying again cannot help. `integrity`: stored data or
 * code does not fit. `operator`: a person or a deploy must act.
 */
export type ErrorKind = 'usage' | 'conflict' | 'transient' | 'permanent' | 'integrity' | 'operator'

/** The closed list. A code is never reused for another meaning. */
const codes = {
  usage: [
    'invalid_argument', 'invalid_id', 'invalid_token', 'invalid_duration', 'input_invalid', 'not_registered',
    'run_not_found', 'wrong_host', 'wrong_namespace', 'foreign_await',
    'duplicate_key', 'reserved_name', 'not_found', 'method_not_allowed', 'unsupported_media_type',
    'body_too_large', 'malformed_json', 'unauthorized', 'forbidden', 'unsupported', 'state_conflict',
  ],
  conflict: [
    'input_mismatch', 'already_ended', 'stale_epoch', 'attempt_over', 'already_resolved', 'nothing_to_resolve', 'not_ended', 'event_gap',
  ],
  transient: [
    'step_timeout', 'quota_exceeded', 'store_unavailable', 'store_blocked', 'commit_timeout',
    'commit_unknown', 'overloaded', 'network', 'wait_timeout',
  ],
  permanent: [
    'output_invalid', 'not_serializable', 'payload_too_large', 'limit_exceeded', 'run_swept',
    'step_failed', 'effect_failed', 'effect_ambiguous', 'run_timeout', 'cancelled', 'failed', 'rejected',
  ],
  integrity: [
    'divergence', 'corrupt_entry', 'corrupt_payload', 'corrupt_run', 'format_too_new', 'unsupported_entry',
    'blob_missing', 'blob_mismatch', 'internal',
  ],
  operator: [
    'unknown_version', 'workflow_bug', 'no_progress', 'host_misconfigured', 'ambiguous_effect', 'undo_failed', 'undo_unreachable',
  ],
} as const

export type ErrorCode = (typeof codes)[ErrorKind][number]

const kinds: ReadonlyMap<unknown, ErrorKind> = new Map(
  (Object.keys(codes) as ErrorKind[]).flatMap((kind) => codes[kind].map((code): [ErrorCode, ErrorKind] => [code, kind])),
)

/** Undefined for what is no code. */
export function kindOf(code: ErrorCode): ErrorKind | undefined {
  return kinds.get(code)
}

/** Whether there is such a code. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return kinds.has(code)
}
