// What must hold of one run of `pay`, whatever was killed when: read from the upstream's ledger, the run's journal and the kills.

import type { LedgerRequest } from '../examples/upstream.ts'
import type { PayOutput } from './pay.ts'
import { TIMEOUT_MS } from './pay.ts'

export interface PaidRun {
  readonly orderId: string
  readonly fails: boolean
  readonly status: string
  readonly output?: PayOutput
  readonly journal: readonly { readonly seq: number; readonly kind: string; readonly key?: string; readonly at: number }[]
}

export interface Window {
  readonly from: number
  readonly to: number
}

const actions = ['reserve', 'charge', 'ship'] as const

/** Everything that is wrong, in words. */
export function wrongs(run: PaidRun, all: readonly LedgerRequest[], kills: readonly Window[]): string[] {
  const found: string[] = []
  const wrong = (what: string): void => { found.push(`${run.orderId}: ${what}`) }
  const { journal } = run
  const requests = all.filter(({ orderId, action }) => orderId === run.orderId && action !== null)
  const at = (kind: string, key?: string): number | undefined => journal.find((entry) => entry.kind === kind && (key === undefined || entry.key === key))?.at
  if (run.status !== (run.fails ? 'failed' : 'completed')) wrong(`it is ${run.status}`)
  if (journal.some(({ seq }, i) => seq !== i + 1)) wrong('its journal has gaps')

  /** Every repetition needs a kill between the two requests, or a timeout, which is longer than the upstream ever takes. */
  const repeated = (what: string, of: readonly LedgerRequest[]): void => {
    if (new Set(of.map(({ key }) => key)).size !== 1) wrong(`${what} has ${new Set(of.map(({ key }) => key)).size} keys`)
    for (const [i, again] of of.slice(1).entries()) {
      const first = of[i] as LedgerRequest
      const isKilled = kills.some(({ from, to }) => first.receivedAt <= to && from <= again.receivedAt)
      const isTimeout = first.how === 'client_gone' && (first.closedAt ?? 0) - first.receivedAt >= TIMEOUT_MS - 100
      if (!isKilled && !isTimeout) wrong(`${what} was asked for at ${first.receivedAt} and ${again.receivedAt} with no kill between`)
    }
  }

  for (const action of actions) {
    const of = requests.filter((request) => request.action === action)
    const acted = of.filter((request) => request.acted === true).length
    const committed = journal.filter((entry) => entry.kind === 'effect_completed' && entry.key === action)
    if (committed.length !== 1) wrong(`${action} has ${committed.length} outcomes`)
    const last = committed[0]?.at ?? 0
    for (const request of of) {
      if (request.receivedAt > last) wrong(`${action} was asked for at ${request.receivedAt}, after its outcome of ${last}`)
      const intended = at('effect_intended', action) ?? Infinity
      if (request.receivedAt < intended) wrong(`${action} was asked for at ${request.receivedAt}, before its intent of ${intended}`)
    }
    if (of.length > 0) repeated(action, of)
    if (action === 'charge' && acted !== 1) wrong(`charge acted ${acted} times`)
    if (action === 'ship' && of.length > 1) wrong(`ship was asked for ${of.length} times`)
    if (action === 'reserve' && acted < 1) wrong('reserve never acted')
    const how = journal.filter((entry) => entry.kind === 'effect_decided' && entry.key === action).length
    if (action !== 'ship' && acted > how + 1) wrong(`${action} acted ${acted} times and was decided ${how} times`)
  }

  const isSkipped = journal.some(({ kind, key }) => kind === 'effect_decided' && key === 'ship')
    && !journal.some(({ kind, key }) => kind === 'effect_recorded' && key === 'ship')
  const undone = journal.filter(({ kind }) => kind === 'undo_completed').map(({ key }) => key)
  const should = run.fails ? [...(isSkipped ? [] : ['ship']), 'charge', 'reserve'] : []
  if (JSON.stringify(undone) !== JSON.stringify(should)) wrong(`undone: ${undone.join(', ')} instead of ${should.join(', ')}`)
  const ids = (result: LedgerRequest['result']): string => String(result?.['reservationId'] ?? result?.['chargeId'])
  const undos = requests.filter(({ action }) => action === 'release' || action === 'refund')
  // In the order of their first requests; each with one key, told apart from the act that it takes back.
  const keys = [...new Set(undos.map(({ key }) => key))]
  if (keys.length !== should.length) wrong(`${keys.length} undos were asked for instead of ${should.length}`)
  for (const [i, key] of keys.entries()) {
    const of = undos.filter((request) => request.key === key)
    repeated(`undo ${i + 1}`, of)
    if (requests.some((request) => request.key === key && !undos.includes(request))) wrong(`undo ${i + 1} has the key of an act`)
    const isOf = should[i] === 'charge' ? 'refund' : 'release'
    if (of.some(({ action }) => action !== isOf)) wrong(`undo ${i + 1} is ${of[0]?.action ?? ''}`)
    const done = journal.filter(({ kind }) => kind === 'undo_completed')[i]?.at ?? 0
    for (const { receivedAt } of of) if (receivedAt > done) wrong(`undo ${i + 1} was asked for after its outcome`)
    const prefix = should[i] === 'ship' ? 'shp_' : should[i] === 'charge' ? 'ch_' : 'res_'
    for (const { acted, result } of of) if (acted === true && !ids(result).startsWith(prefix)) wrong(`undo ${i + 1} took back ${ids(result)}`)
  }
  const end = journal.at(-1)?.at ?? 0
  for (const { receivedAt, action } of requests) if (receivedAt > end) wrong(`${action} was asked for after the end`)
  return found
}
