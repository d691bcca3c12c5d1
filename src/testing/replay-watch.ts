// A run's journal, replayed once more against its workflow while everything is watched: what the function uses that no replay can
// give it again, and where the code no longer makes the calls that are recorded.

import type { AnyWorkflow } from '../define.ts'
import { exportRun } from '../journal/export.ts'
import type { Limits } from '../limits.ts'
import type { RunStore } from '../store/store.ts'
import { checkReplay, type ReplayCheck } from './check-replay.ts'
import { guarded, sayUsed } from './guard.ts'
import { createQuiesce } from './quiesce.ts'
import { type AskedCall, Watch } from './watch.ts'

export interface FunctionEnd {
  readonly ok: boolean
  readonly value: unknown
}

export interface ReplayWatched {
  readonly checked: ReplayCheck
  /** What the function must not use, one sentence for each place. */
  readonly used: readonly string[]
  /** How the function ended in the replay; undefined when it did not. */
  readonly end: FunctionEnd | undefined
  readonly watch: Watch
}

/** Executes nothing and writes nothing, as `checkReplay`. The process' globals are watched meanwhile, so one replay goes after the other. */
export async function replayWatched(store: RunStore, workflow: AnyWorkflow, limits: Partial<Limits>): Promise<ReplayWatched> {
  const lines: string[] = []
  for await (const line of exportRun(store)) lines.push(line)
  const quiesce = createQuiesce()
  await quiesce()
  let end: FunctionEnd | undefined
  const watch = new Watch({ run: () => new Promise(() => {}), ended: (how) => { end = how } })
  const { value: checked, used } = await guarded(() => checkReplay(lines, watch.of(workflow), { quiesce, limits, called: watch.called }))
  return { checked, used: sayUsed(used), end, watch }
}

/** The lines behind an error of the engine: of the call that is recorded, as `live` saw it made, and of those that are asked for now. */
export function sayWhere({ code, details }: { readonly code: string; readonly details?: unknown }, live: Watch, replay: Watch = live): string {
  return whereOf(code, details as Details | undefined, live, replay).map((line) => `\n  ${line}`).join('')
}

interface Details {
  readonly call?: unknown
  readonly recorded?: { readonly key?: unknown }
  readonly asked?: readonly { readonly key?: unknown }[]
}

function whereOf(code: string, said: Details | undefined, live: Watch, replay: Watch): string[] {
  if (code === 'foreign_await') {
    const refused = replay.last ?? live.last
    if (refused !== undefined && isCalled(refused, said?.call)) return [`the call after it is ${describe(refused)}: what is awaited before that line belongs into a step`]
    const before = replay.lastTaken ?? live.lastTaken
    return before === undefined ? [] : [`the last call before it is ${describe(before)}: what is awaited after that line belongs into a step`]
  }
  if (code !== 'divergence') return []
  const lines: string[] = []
  const recorded = said?.recorded?.key
  const known = typeof recorded === 'string' ? live.byKey.get(recorded) : undefined
  if (known !== undefined) lines.push(`recorded: ${describe(known)}`)
  for (const { key } of said?.asked ?? []) {
    const asked = typeof key === 'string' ? replay.byKey.get(key) : undefined
    if (asked !== undefined) lines.push(`asked:    ${describe(asked)}`)
  }
  return lines
}

/** The call that was refused has no key. */
function isCalled({ key, method, name }: AskedCall, call: unknown): boolean {
  return key === undefined && typeof call === 'string' && call.startsWith(method) && (name === undefined || call.includes(name))
}

export function describe({ method, name, site }: AskedCall): string {
  return `${method}${name === undefined ? '' : ` "${name}"`}${site.behind}`
}
