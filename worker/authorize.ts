// Who may do what: asked before every request that reaches a run.

import { isStepwellError, StepwellError } from '../src/errors.ts'
import { BYTES_TYPE, JSON_TYPE, mediaType, WIRE_TYPE } from './body.ts'
import { writeLog } from './host.ts'

/** What a request wants to do. `start` also covers the blobs that a start refers to; `reveal` is a journal with its payloads. */
export type Action = 'start' | 'read' | 'result' | 'journal' | 'reveal' | 'effects' | 'events' | 'cancel' | 'pause' | 'resume' | 'restart' | 'retry' | 'resolve' | 'signal' | 'settle' | 'export'

/** Which run. Of a start, `id` is the id that the run would have. */
export interface AuthorizeRun {
  readonly id: string
  /** Known for a start; otherwise undefined: the run is not read before its reader is allowed to. */
  readonly workflow: string | undefined
}

export interface Authorization {
  readonly allow: boolean
  /** Who it is. Kept with what the request does, as in the journal entry of a cancel. */
  readonly principal?: string
}

/**
 * Decides about one request, before anything is read or written for it. Whatever is not `{ allow: true }` is 403 `forbidden`;
 * throw a `StepwellError` of code `unauthorized` for 401. The request's body is the API's: read only a `clone()` of it.
 */
export type Authorize<Env = unknown> = (
  request: Request, action: Action, run: AuthorizeRun, env: Env,
) => Authorization | false | Promise<Authorization | false>

/** The principal. Throws `forbidden`, `unauthorized`, and `host_misconfigured` when `authorize` itself fails. */
export async function permit<Env>(
  authorize: Authorize<Env> | null, request: Request, action: Action, run: AuthorizeRun, env: Env,
): Promise<string | undefined> {
  let answer: Authorization | false | null
  try {
    answer = authorize === null ? false : await authorize(request, action, run, env)
  } catch (error) {
    if (isStepwellError(error, 'unauthorized') || isStepwellError(error, 'forbidden')) throw error
    writeLog({ level: 'error', runId: run.id, message: '`authorize` threw', data: error instanceof Error ? { name: error.name, message: error.message } : undefined })
    throw new StepwellError('host_misconfigured', '`authorize` threw, so nothing is allowed')
  }
  if (typeof answer !== 'object' || answer === null || answer.allow !== true) throw new StepwellError('forbidden', `this request may not ${action}`)
  const { principal } = answer
  if (principal !== undefined && typeof principal !== 'string') throw new StepwellError('host_misconfigured', '`authorize` gave a principal that is no string')
  return principal
}

/**
 * For demos and development: allows whoever talks to this machine by its own name. Refuses a request that another site's page
 * could have sent: a foreign Origin, another host's name (DNS rebinding), and a body that a plain form can send.
 */
export const allowLocalhost: Authorize = (request) => {
  if (!(request instanceof Request)) throw new StepwellError('invalid_argument', 'allowLocalhost decides about a Request: give it to edge() as `authorize`')
  const url = new URL(request.url)
  const host = request.headers.get('host') ?? url.host
  if (!isLocal(hostname(host)) || !isLocal(url.hostname)) return false
  const origin = request.headers.get('origin')
  if (origin !== null && origin !== `http://${host}` && origin !== `https://${host}`) return false
  const site = request.headers.get('sec-fetch-site')
  if (site !== null && site !== 'same-origin' && site !== 'none') return false
  const type = mediaType(request.headers.get('content-type'))
  if (request.method === 'POST' && type !== JSON_TYPE && type !== WIRE_TYPE) return false
  if (request.method === 'PUT' && type !== BYTES_TYPE) return false
  return { allow: true, principal: 'localhost' }
}

function isLocal(name: string): boolean {
  return name === 'localhost' || name === '127.0.0.1' || name === '[::1]'
}

/** Of `name`, `name:port` and `[::1]:port`. */
function hostname(host: string): string {
  return host.replace(/:\d+$/, '').toLowerCase()
}
