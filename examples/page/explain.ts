// Errors and blocked runs in words: what happened, and what to do about it.

import { ERRORS, type ErrorCode } from 'stepwell'
import { labelOf } from './labels.ts'

export interface Explanation {
  readonly title: string
  /** What happened, in its own words. */
  readonly text: string
  readonly todo: string
}

/** Errors come as they were thrown, or as the plain data that a journal or an API kept of them. */
interface Told {
  readonly code?: unknown
  readonly message?: unknown
  readonly cause?: unknown
  readonly details?: unknown
}

const told = (error: unknown): Told => (typeof error === 'object' && error !== null ? error : {})

/** What this page's user can do; anything else is what the library says about the code. */
const words: { readonly [code in ErrorCode]?: readonly [title: string, todo: string] } = {
  input_invalid: ['Something in the form is not right', 'Correct the fields named above and start again.'],
  input_mismatch: ['This order number is taken', 'Another order was started under this number. Choose a new one.'],
  network: ['The edge cannot be reached', 'Check the connection and try again. Runs that are there already go on without this page.'],
  step_failed: ['A step failed for good', 'Correct the cause and start a new run.'],
  effect_failed: ['Something failed for good', 'It did not happen. Correct the cause and start a new run.'],
  effect_ambiguous: ['Nobody knows whether it happened', 'Find out from the other side before you start a new run.'],
  undo_failed: ['What was done could not be taken back', 'Take it back by hand, then decide: the run waits for that.'],
  undo_unreachable: ['Something is left to take back', 'Take it back by hand, then decide: the run waits for that.'],
  step_timeout: ['A step took too long', 'Start a new run; if it happens again, the other side is too slow or down.'],
  run_timeout: ['The run took too long', 'Start a new run.'],
  cancelled: ['Cancelled', 'Nothing failed. Start a new run if it is still wanted.'],
  quota_exceeded: ['This device has no room left', 'Free some space, or delete old runs, then reload the page: the run goes on.'],
  store_blocked: ['Another tab holds the database', 'Close the other tabs of this page, then reload it.'],
  store_unavailable: ['The database of this browser does not open', 'Reload the page. If that does not help, restart the browser: private windows and full disks cause this.'],
  format_too_new: ['This page is older than its data', 'Reload the page to get its newest version.'],
  blob_missing: ['A file is gone', 'The browser or the server has lost stored bytes. Choose the file again and start a new run.'],
  blob_mismatch: ['A file was changed', 'Stored bytes are not those that were chosen. Choose the file again and start a new run.'],
  corrupt_entry: ['The journal of this run is damaged', 'Nothing was deleted, and every other run goes on. Keep the data, and tell whoever runs this app.'],
  corrupt_run: ['The record of this run is damaged', 'Nothing was deleted, and every other run goes on. Keep the data, and tell whoever runs this app.'],
  forbidden: ['Not allowed', 'The demo answers to pages on localhost only. Open it at the address that npm start has printed.'],
  workflow_bug: ['The program has a bug', 'Nothing is lost. Deploy the corrected program: the run then goes on where it stopped. Or cancel it.'],
  divergence: ['The program no longer fits this run', 'Nothing is lost. Deploy a program that replays what is recorded, or cancel the run.'],
  foreign_await: ['The program waits for something it must not', 'Nothing is lost. Deploy the corrected program: the run then goes on. Or cancel it.'],
  not_registered: ['This host does not know the workflow', 'Nothing is lost. Deploy or open the version that has it: the run then goes on. Or cancel it.'],
  unknown_version: ['This host does not know the version', 'Nothing is lost. Reload the page or deploy the version that has it: the run then goes on. Or cancel it.'],
  no_progress: ['The run woke again and again without progress', 'Find out what kills it, then deploy a correction, or cancel it.'],
}

export function explain(error: unknown): Explanation {
  const { code, message, details } = told(error)
  const known = typeof code === 'string' && Object.hasOwn(ERRORS, code) ? code as ErrorCode : undefined
  const own = known === undefined ? undefined : words[known]
  const { key } = told(details) as { readonly key?: unknown }
  const step = /^(step|effect)_/.test(known ?? '') && typeof key === 'string' ? labelOf(key) : undefined
  return {
    title: step !== undefined ? `“${step}” ${known === 'step_timeout' ? 'took too long' : known === 'effect_ambiguous' ? 'may have happened' : 'failed'}` : own?.[0] ?? (known === undefined ? 'Something went wrong' : sentence(known)),
    text: known === 'network' ? 'No answer came' : issues(error) ?? reason(error) ?? (typeof message === 'string' ? message : String(error)),
    todo: own?.[1] ?? (known === undefined ? 'Try again. If it happens again, the console of the browser tells more.' : ERRORS[known].help),
  }
}

/** The message that is nearest to the cause, in one line: what a failed attempt says about itself. */
export function reason(error: unknown): string | undefined {
  let at = told(error)
  for (let depth = 0; depth < 8 && at.cause !== undefined; depth++) at = told(at.cause)
  const text = typeof at.message === 'string' && at.message !== '' ? at.message : undefined
  return text ?? (typeof error === 'string' ? error : undefined)
}

/** The fields that a schema refused. */
function issues(error: unknown): string | undefined {
  const { issues: list } = told(told(error).details) as { issues?: unknown }
  if (!Array.isArray(list) || list.length === 0) return undefined
  return list.map((issue) => {
    const { path, message } = issue as { path?: unknown; message?: unknown }
    const field = String(path ?? '').replace(/^\$\.?/, '').replace(/\[(\d+)\]/g, (_, i: string) => ` ${Number(i) + 1} `).replaceAll('.', ' ').trim()
    return field === '' ? String(message) : `${field.replace(/\s+/g, ' ')}: ${String(message)}`
  }).join('. ')
}

function sentence(code: string): string {
  const text = code.replaceAll('_', ' ')
  return text.charAt(0).toUpperCase() + text.slice(1)
}
