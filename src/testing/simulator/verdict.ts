// What must hold of a run when all is calm and it has come to its end: told, undone, replayed, and with the output that its program gives.

import type { RunEvent } from '../../client.ts'
import { decode } from '../../codec.ts'
import { eventPage } from '../../engine/event-page.ts'
import { ledgerRows } from '../../engine/ledger.ts'
import { decodeRecord, type RunRecord } from '../../journal/record.ts'
import { outcome } from '../../journal/summary.ts'
import type { MemoryRunStore } from '../../store/memory.ts'
import { checkStored } from '../check-replay.ts'
import { misfit, simulatedWorkflows } from './program.ts'
import type { Schedule } from './schedule.ts'
import type { Script } from './script.ts'

/** Names what does not hold in the schedule's checks. */
export async function checkEnd(schedule: Schedule, script: Script): Promise<void> {
  const { checks, outside } = schedule
  const { runId, program } = script
  if (script.isGone) return
  const store = schedule.diskOf(runId).open(runId)
  const row = store.read()
  if (row === undefined) return checks.fail(`${runId} is gone`)
  const record = decodeRecord(row)
  if (script.cancelled && record.status !== 'cancelled') checks.fail(`G21: ${runId} is ${record.status}, and its cancel was acknowledged`)
  checks.outside(runId, outside, !schedule.plan.wasForwarded)
  const told = outside.ledger.some((request) => request.act === 'tell' && request.runId === runId && request.key === `${record.generation} ${record.status}`)
  if (!told) checks.fail(`G24: nobody was told that ${runId} is ${record.status}`)
  const left = store.keys('signal', { limit: 1000 }).map(Number)
  const history = [...record.inherited, { from: record.generationSeq, to: Infinity }]
  checks.signals(runId, history, script.acknowledged, left)
  checks.settlements(runId, history, script.settled, left)
  const replayed = await replay(schedule, store)
  if (replayed !== undefined) checks.fail(`G8: ${runId} does not replay: ${replayed}`)
  if (record.status === 'completed') {
    const wrong = misfit(program.ops, (await outcome(store, record) as { readonly output?: unknown }).output)
    if (wrong !== undefined) checks.fail(`G2: the output of ${runId}: ${wrong}`)
  }
  const events = await wrongEvents(schedule, script, store, record)
  if (events !== undefined) checks.fail(`G18: the events of ${runId}: ${events}`)
  if (record.status === 'failed') {
    for await (const { row: effect } of ledgerRows(store)) {
      if (effect.hasUndo && effect.status === 'done' && effect.decision?.by !== 'person') checks.fail(`G21: ${runId} has failed, and ${effect.key} was not undone`)
    }
  }
}

/** What readers get is what the journal has; and what the function of a completed run had to tell it has told once, in its order. */
async function wrongEvents({ checks }: Schedule, { program }: Script, store: MemoryRunStore, record: RunRecord): Promise<string | undefined> {
  const entries = checks.entries(store.runId).filter(({ kind }) => kind === 'event_emitted')
  const read: RunEvent[] = []
  for (let after = 0, isOver = false; !isOver;) {
    const page = await eventPage(store, { after, limit: 7 })
    read.push(...page.items)
    after = page.next
    isOver = page.isOver
    if (!isOver && page.items.length === 0) return `a page behind ${after} is empty, and not the last`
  }
  const written = entries.map(({ payload, at }) => ({ ...decode(payload) as object, at }))
  if (JSON.stringify(read.map(sorted)) !== JSON.stringify(written.map(sorted))) return `readers get ${JSON.stringify(read)}, and the journal has ${JSON.stringify(written)}`
  if (record.status !== 'completed') return undefined
  const ranges = [...record.inherited, { from: record.generationSeq, to: Infinity }]
  const told = entries.filter(({ seq }) => ranges.some(({ from, to }) => seq >= from && seq <= to)).map(({ payload }) => decode(payload) as RunEvent)
    .filter(({ key }) => key === undefined).map(({ data }) => data)
  if (new Set(told).size !== told.length) return `it has told twice: ${told.join(', ')}`
  const mustTell = program.ops.flatMap((op) => op.op === 'tell' ? [op.item] : [])
  const has = told.filter((item) => mustTell.includes(String(item)))
  return has.join() === mustTell.join() ? undefined : `it has told ${has.join(', ')} and not ${mustTell.join(', ')}`
}

const sorted = (event: object): unknown => Object.entries(event).sort(([a], [b]) => a < b ? -1 : 1)

/** Why the run does not replay, or undefined. */
async function replay(schedule: Schedule, store: MemoryRunStore): Promise<string | undefined> {
  const record = schedule.diskOf(store.runId).record(store.runId)
  const last = schedule.checks.entries(store.runId).at(-1)
  if (record === undefined || last === undefined) return 'there is nothing to replay'
  let returned: unknown
  const definition = simulatedWorkflows(2, { returned: (out) => { returned = out } }).find(({ name }) => name === record.workflow)
  if (definition === undefined) return 'its workflow is unknown'
  const checked = await checkStored(store, record, last, definition, { limits: { ...schedule.limits }, quiesce: schedule.drain })
  if (!checked.ok) return `${checked.error.code}: ${checked.error.message}`
  const { status } = record
  if (status !== 'completed') return undefined
  const { output } = await outcome(store, record) as { readonly output?: unknown }
  // Entries of more than one generation: what the last one gave is what the replay gave last.
  return JSON.stringify(returned) === JSON.stringify(output) ? undefined : `it gave ${JSON.stringify(output)}, and on replay ${JSON.stringify(returned)}`
}
