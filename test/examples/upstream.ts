// The example upstream as the process it is, for tests: its address, its controls, its ledger, and its death.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const server = fileURLToPath(new URL('../../examples/upstream/server.mjs', import.meta.url))

/** One request as the ledger tells it (docs/examples.md). Times are ms since 1970. */
export interface LedgerRequest {
  readonly ordinal: number
  readonly receivedAt: number
  readonly method: string
  readonly path: string
  readonly action: string | null
  readonly key: string | null
  readonly orderId: string | null
  readonly actedAt: number | null
  readonly acted: boolean | null
  /** How long it was told to wait before it acted. */
  readonly delayMs: number | null
  readonly result: Readonly<Record<string, unknown>> | null
  readonly closedAt: number | null
  readonly how: 'open' | 'answered' | 'dropped' | 'client_gone' | 'upstream_restarted'
  readonly status: number | null
}

export interface Upstream {
  readonly url: string
  readonly ledgerPath: string
  /** `{ dedup?, reset?, actions? }`; throws what the upstream says is wrong. */
  control(change: object): Promise<void>
  /** Every request; with an action, only requests for it. */
  requests(action?: string): Promise<LedgerRequest[]>
  post(action: string, body: object, key?: string): Promise<{ status: number; body: Record<string, unknown> }>
  /** What was sent to it before this is in its ledger. */
  arrived(): Promise<void>
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

export interface UpstreamOptions {
  /** An existing ledger goes on. Default: a new one in a temporary folder. */
  readonly ledgerPath?: string
  readonly port?: number
  readonly control?: object
  /** A folder of files to serve, so that a page calls the upstream on its own origin. */
  readonly page?: string
}

export async function startUpstream({ ledgerPath, port = 0, control, page }: UpstreamOptions = {}): Promise<Upstream> {
  const path = ledgerPath ?? join(await mkdtemp(join(tmpdir(), 'stepwell-upstream-')), 'ledger.ndjson')
  const child = spawn(process.execPath, [server], {
    env: {
      ...process.env, PORT: String(port), LEDGER: path,
      ...(control === undefined ? undefined : { CONTROL: JSON.stringify(control) }), ...(page === undefined ? undefined : { PAGE: page }),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const url = await addressOf(child)
  return {
    url,
    ledgerPath: path,
    async control(change) {
      const response = await fetch(`${url}/_control`, { method: 'POST', body: JSON.stringify(change) })
      if (!response.ok) throw new Error(await response.text())
    },
    async requests(action) {
      const { requests } = await ledgerOf(url)
      return action === undefined ? requests : requests.filter((request) => request.action === action)
    },
    async post(action, body, key) {
      const response = await fetch(`${url}/${action}`, {
        method: 'POST', headers: { 'content-type': 'application/json', ...(key === undefined ? undefined : { 'idempotency-key': key }) }, body: JSON.stringify(body),
      })
      return { status: response.status, body: await response.json() as Record<string, unknown> }
    },
    arrived: () => arrived(url),
    async stop(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill(signal)
      await once(child, 'exit')
    },
  }
}

/**
 * What was sent to the upstream before this, also by a process that is dead by now, is in its ledger, though the machine was busy. By the
 * order in which an event loop looks: when the first question is answered, every connection that was made before is accepted, so the
 * loop sees what they hold at the latest with the second.
 */
export async function arrived(url: string): Promise<void> {
  const answered = (): Promise<void> => new Promise((resolve, reject) => {
    get(`${url}/_control`, { agent: false }, (response) => response.resume().on('end', resolve)).on('error', reject)
  })
  for (let question = 0; question < 2; question++) await answered()
}

async function addressOf(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> })
  for await (const line of lines) return (JSON.parse(line) as { url: string }).url
  throw new Error('the upstream ended before it gave its address')
}

/** On a connection of its own: a request that the upstream answers twice leaves its second answer to the next one of that connection. */
function ledgerOf(url: string): Promise<{ readonly requests: LedgerRequest[] }> {
  return new Promise((resolve, reject) => {
    get(`${url}/ledger`, { agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve(JSON.parse(text) as { requests: LedgerRequest[] }))
    }).on('error', reject)
  })
}
