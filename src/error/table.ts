// The closed table of error codes (G28): what each means for the caller, its HTTP status, and what to do about it.

import { type ErrorCode, type ErrorKind, kindOf } from './kind.ts'

/** One line of `ERRORS`. */
export interface ErrorInfo {
  readonly kind: ErrorKind
  /** The status with which the HTTP API answers. */
  readonly status: number
  /** One sentence that says what to do. */
  readonly help: string
}

const lines: { readonly [code in ErrorCode]: readonly [status: number, help: string] } = {
  invalid_argument: [400, 'Correct the argument that the message names.'],
  invalid_id: [400, 'Use 1 to 128 letters, digits, ".", "_", "-", "~" or ":" as an id.'],
  invalid_token: [400, 'Pass the token unchanged, as it was chosen or issued.'],
  invalid_duration: [400, 'Use milliseconds as a number, or text such as "30 seconds"; 100 years at most.'],
  input_invalid: [422, 'Send input that fits the schema of the workflow; details.issues names each field.'],
  output_invalid: [500, 'Correct what the function returns, or its output schema; details.issues names each field.'],
  not_serializable: [422, 'Return plain data: replace the value at details.path by one that the codec carries.'],
  payload_too_large: [413, 'Make the value smaller, or keep it as a blob and pass its reference.'],
  limit_exceeded: [422, 'Stay below the limit that details.limit names, or raise that limit.'],
  not_registered: [404, 'Add the workflow to the `workflows` of this host, or correct its name.'],
  unknown_version: [409, 'Deploy code that has this version or lists it in `replays`; the run then goes on.'],
  run_not_found: [404, 'Check the id and the host; the run was never started here.'],
  run_swept: [410, 'Start a new run under another id or token: this one ended and was removed when its retention was over.'],
  input_mismatch: [409, 'Use another id or token for other input; this one is taken by a run with different input.'],
  already_resolved: [409, 'Read the decision that was made; it stands.'],
  nothing_to_resolve: [409, 'Read the run: it waits for no decision about this entry.'],
  not_ended: [409, 'Retry a run that has failed; restart one that has not.'],
  event_gap: [410, 'Read the run as it is now, then follow its events from details.oldest - 1 on.'],
  already_ended: [409, 'Read the result; the run has ended and takes no more requests.'],
  stale_epoch: [409, 'Do nothing here; another authority drives the run now.'],
  wrong_host: [400, 'Call ctx.moveTo() first, or change the `at` of the call.'],
  wrong_namespace: [400, 'Open the store under the name with which it was made.'],
  foreign_await: [500, 'Put the foreign await into a step; a workflow awaits ctx calls and plain promises of them only.'],
  attempt_over: [409, 'Await every call of memo and state before the function of the step returns, and stop when its abortSignal aborts.'],
  state_conflict: [400, 'Set or delete a key of the state in one attempt of a step, not both.'],
  duplicate_key: [500, 'Give each of the equal calls its own `key`.'],
  reserved_name: [400, 'Choose another name; this one belongs to stepwell.'],
  divergence: [500, 'Deploy code that replays the recorded history, or restart the run; details shows both sides.'],
  workflow_bug: [500, 'Fix the workflow function and deploy it; the run then goes on where it stopped.'],
  ambiguous_effect: [500, 'Find out whether the effect happened, then decide: `run.resolve(seq, …)`.'],
  undo_failed: [500, 'Read which undo failed and why, then decide: `run.resolve(seq, …)`.'],
  undo_unreachable: [500, 'Deploy code that asks for the effects that are named, so that it can undo them, or decide: `run.resolve(seq, …)`.'],
  no_progress: [500, 'Find out why the run wakes without progress, then resume or cancel it.'],
  effect_failed: [500, 'Read `cause`: the effect did not happen; its function failed on its last attempt.'],
  effect_ambiguous: [500, 'Find out whether the effect happened: nobody here knows, and its policy is `fail`.'],
  step_failed: [500, 'Read `cause`: the function of the step failed on its last attempt.'],
  step_timeout: [504, 'Give the step a longer `timeout`, or make it heed its abortSignal.'],
  run_timeout: [504, 'Retry the run: it has its whole `timeout` again, or the longer one that the code gives it by then.'],
  cancelled: [409, 'Nothing failed: somebody cancelled the run; start a new one if it is still wanted.'],
  failed: [422, 'Read the message: the workflow decided to fail.'],
  rejected: [422, 'Read the message: whoever settled the deferred has rejected it.'],
  quota_exceeded: [507, 'Free space on this device or in this store, then resume the run.'],
  store_unavailable: [503, 'Try again; the store could not be reached.'],
  store_blocked: [503, 'Close or reload the other tabs of this app, so that the store can be opened.'],
  commit_timeout: [503, 'Read the run again; a commit had no answer in time, and may or may not have happened.'],
  commit_unknown: [503, 'Read the run again; the connection broke during a commit that may or may not have happened.'],
  corrupt_entry: [500, 'Keep the data and export the run; the journal entry in details was changed, lost or swapped.'],
  corrupt_payload: [500, 'Keep the data and export the run; a stored value is not what was written.'],
  corrupt_run: [500, 'Keep the data and export the run; its run row, or its ledger of effects, is damaged.'],
  format_too_new: [500, 'Deploy a newer stepwell; this was written by one.'],
  unsupported_entry: [500, 'Deploy a stepwell that knows this kind of journal entry.'],
  blob_missing: [500, 'Keep the data and export the run; a blob that the journal refers to is gone.'],
  blob_mismatch: [500, 'Keep the data and export the run; the bytes of a blob do not have its hash.'],
  not_found: [404, 'Check the path; there is no such resource in the API.'],
  method_not_allowed: [405, 'Use a method that the Allow header names.'],
  unsupported_media_type: [415, 'Send application/json or application/vnd.stepwell.v1+json.'],
  body_too_large: [413, 'Send a smaller body, or raise the limit of the host.'],
  malformed_json: [400, 'Send a body that is valid JSON.'],
  unauthorized: [401, 'Sign in, then send the request again.'],
  forbidden: [403, 'Ask for the permission; `authorize` refused this request.'],
  overloaded: [503, 'Wait, then try again; the host has more work than it can do.'],
  network: [503, 'Try again once there is a connection; the host could not be reached.'],
  host_misconfigured: [500, 'Correct the configuration that the message names, and deploy.'],
  unsupported: [501, 'Use what the message names instead; this version does not have it.'],
  wait_timeout: [504, 'Ask again: the run goes on, only this wait for it is over.'],
  internal: [500, 'Report it with the message: this is a bug in stepwell.'],
}

/** Every code there is. The texts may change at any time. */
export const ERRORS: { readonly [code in ErrorCode]: ErrorInfo } = /* @__PURE__ */ all()

function all(): { readonly [code in ErrorCode]: ErrorInfo } {
  const infos = Object.entries(lines).map(([code, [status, help]]) => [code, Object.freeze({ kind: kindOf(code as ErrorCode), status, help })])
  return Object.freeze(Object.fromEntries(infos) as { [code in ErrorCode]: ErrorInfo })
}
