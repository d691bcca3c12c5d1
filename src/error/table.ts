// The closed table of error codes (G28): what each means for the caller, its HTTP status, and what to do about it.

/**
 * What an error means for whoever sees it. `usage`: the program is wrong. `conflict`: somebody else owns it or it moved on.
 * `transient`: the world failed, trying again may help. `permanent`: trying again cannot help. `integrity`: stored data or
 * code does not fit. `operator`: a person or a deploy must act.
 */
export type ErrorKind = 'usage' | 'conflict' | 'transient' | 'permanent' | 'integrity' | 'operator'

/** One line of `ERRORS`. */
export interface ErrorInfo {
  readonly kind: ErrorKind
  /** The status with which the HTTP API answers. */
  readonly status: number
  /** One sentence that says what to do. */
  readonly help: string
}

export type ErrorCode =
  // what was passed
  | 'invalid_argument' | 'invalid_id' | 'invalid_token' | 'invalid_duration' | 'input_invalid' | 'output_invalid'
  | 'not_serializable' | 'payload_too_large' | 'limit_exceeded'
  // which run
  | 'not_registered' | 'unknown_version' | 'run_not_found' | 'run_swept' | 'input_mismatch' | 'already_ended'
  // who may write
  | 'stale_epoch' | 'locked' | 'wrong_host' | 'wrong_namespace'
  // what the workflow did
  | 'foreign_await' | 'outside_step' | 'outside_run' | 'duplicate_key' | 'reserved_name' | 'divergence' | 'workflow_bug'
  | 'no_progress' | 'journal_too_long'
  // how it ended
  | 'step_failed' | 'step_timeout' | 'run_timeout' | 'cancelled' | 'failed'
  // what is stored
  | 'quota_exceeded' | 'store_unavailable' | 'store_blocked' | 'commit_timeout' | 'commit_unknown' | 'corrupt_entry'
  | 'corrupt_payload' | 'corrupt_run' | 'format_too_new' | 'unsupported_entry' | 'blob_missing' | 'blob_mismatch'
  // how it is reached
  | 'not_found' | 'method_not_allowed' | 'unsupported_media_type' | 'body_too_large' | 'malformed_json' | 'unauthorized'
  | 'forbidden' | 'overloaded' | 'network' | 'host_misconfigured' | 'unsupported' | 'wait_timeout'
  | 'internal'

const line = (kind: ErrorKind, status: number, help: string): ErrorInfo => Object.freeze({ kind, status, help })

/** Every code there is. A code is never reused for another meaning, and its text may change at any time. */
export const ERRORS: { readonly [code in ErrorCode]: ErrorInfo } = Object.freeze({
  invalid_argument: line('usage', 400, 'Correct the argument that the message names.'),
  invalid_id: line('usage', 400, 'Use 1 to 128 letters, digits, ".", "_", "-", "~" or ":" as an id.'),
  invalid_token: line('usage', 400, 'Pass the token unchanged, as it was chosen or issued.'),
  invalid_duration: line('usage', 400, 'Use milliseconds as a number, or text such as "30 seconds"; 100 years at most.'),
  input_invalid: line('usage', 422, 'Send input that fits the schema of the workflow; details.issues names each field.'),
  output_invalid: line('permanent', 500, 'Correct what the function returns, or its output schema; details.issues names each field.'),
  not_serializable: line('permanent', 422, 'Return plain data: replace the value at details.path by one that the codec carries.'),
  payload_too_large: line('permanent', 413, 'Make the value smaller, or keep it as a blob and pass its reference.'),
  limit_exceeded: line('permanent', 422, 'Stay below the limit that details.limit names, or raise that limit.'),
  not_registered: line('usage', 404, 'Add the workflow to the `workflows` of this host, or correct its name.'),
  unknown_version: line('operator', 409, 'Deploy code that has this version or lists it in `replays`; the run then goes on.'),
  run_not_found: line('usage', 404, 'Check the id and the host; the run was never started here.'),
  run_swept: line('permanent', 410, 'Start a new run; this one ended and was removed when its retention was over.'),
  input_mismatch: line('conflict', 409, 'Use another id or token for other input; this one is taken by a run with different input.'),
  already_ended: line('conflict', 409, 'Read the result; the run has ended and takes no more requests.'),
  stale_epoch: line('conflict', 409, 'Do nothing here; another authority drives the run now.'),
  locked: line('conflict', 409, 'Use the tab that drives the run, or wait until it is closed.'),
  wrong_host: line('usage', 400, 'Call ctx.moveTo() first, or change the `at` of the call.'),
  wrong_namespace: line('usage', 400, 'Open the store under the name with which it was made.'),
  foreign_await: line('usage', 500, 'Put the foreign await into a step; a workflow awaits ctx calls and plain promises of them only.'),
  outside_step: line('usage', 500, 'Call this inside the function of a step.'),
  outside_run: line('usage', 500, 'Call this on the ctx of a run while its function is running.'),
  duplicate_key: line('usage', 500, 'Give each of the equal calls its own `key`.'),
  reserved_name: line('usage', 400, 'Choose another name; this one belongs to stepwell.'),
  divergence: line('integrity', 500, 'Deploy code that replays the recorded history, or restart the run; details shows both sides.'),
  workflow_bug: line('operator', 500, 'Fix the workflow function and deploy it; the run then goes on where it stopped.'),
  no_progress: line('operator', 500, 'Find out why the run wakes without progress, then resume or cancel it.'),
  journal_too_long: line('permanent', 422, 'Call ctx.continueAsNew() before the journal reaches its limit.'),
  step_failed: line('permanent', 500, 'Read `cause`: the function of the step failed on its last attempt.'),
  step_timeout: line('transient', 504, 'Give the step a longer `timeout`, or make it heed its abortSignal.'),
  run_timeout: line('permanent', 504, 'Give the workflow a longer `timeout`, or start it again.'),
  cancelled: line('permanent', 409, 'Nothing failed: somebody cancelled the run; start a new one if it is still wanted.'),
  failed: line('permanent', 422, 'Read the message: the workflow decided to fail.'),
  quota_exceeded: line('transient', 507, 'Free space on this device or in this store, then resume the run.'),
  store_unavailable: line('transient', 503, 'Try again; the store could not be reached.'),
  store_blocked: line('transient', 503, 'Close or reload the other tabs of this app, so that the store can be opened.'),
  commit_timeout: line('transient', 503, 'Read the run again; a commit had no answer in time, and may or may not have happened.'),
  commit_unknown: line('transient', 503, 'Read the run again; the connection broke during a commit that may or may not have happened.'),
  corrupt_entry: line('integrity', 500, 'Keep the data and export the run; the journal entry in details was changed, lost or swapped.'),
  corrupt_payload: line('integrity', 500, 'Keep the data and export the run; a stored value is not what was written.'),
  corrupt_run: line('integrity', 500, 'Keep the data and export the run; its run row is damaged.'),
  format_too_new: line('integrity', 500, 'Deploy a newer stepwell; this was written by one.'),
  unsupported_entry: line('integrity', 500, 'Deploy a stepwell that knows this kind of journal entry.'),
  blob_missing: line('integrity', 500, 'Keep the data and export the run; a blob that the journal refers to is gone.'),
  blob_mismatch: line('integrity', 500, 'Keep the data and export the run; the bytes of a blob do not have its hash.'),
  not_found: line('usage', 404, 'Check the path; there is no such resource in the API.'),
  method_not_allowed: line('usage', 405, 'Use a method that the Allow header names.'),
  unsupported_media_type: line('usage', 415, 'Send application/json or application/vnd.stepwell.v1+json.'),
  body_too_large: line('usage', 413, 'Send a smaller body, or raise the limit of the host.'),
  malformed_json: line('usage', 400, 'Send a body that is valid JSON.'),
  unauthorized: line('usage', 401, 'Sign in, then send the request again.'),
  forbidden: line('usage', 403, 'Ask for the permission; `authorize` refused this request.'),
  overloaded: line('transient', 503, 'Wait, then try again; the host has more work than it can do.'),
  network: line('transient', 503, 'Try again once there is a connection; the host could not be reached.'),
  host_misconfigured: line('operator', 500, 'Correct the configuration that the message names, and deploy.'),
  unsupported: line('usage', 501, 'Use what the message names instead; this version does not have it.'),
  wait_timeout: line('transient', 504, 'Ask again: the run goes on, only this wait for it is over.'),
  internal: line('integrity', 500, 'Report it with the message: this is a bug in stepwell.'),
})

/** Whether `code` is in the table. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code)
}
