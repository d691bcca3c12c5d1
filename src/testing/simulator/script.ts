// What one run of a schedule is: its program, where it begins, and what somebody asks of it on the way; and how far that has come.

import type { ControlRequest } from '../../client.ts'
import type { EntryKind } from '../../journal/entry.ts'
import type { Dice } from './dice.ts'
import type { Cell, SimulatedHost } from './fault.ts'
import type { Ask } from './object.ts'
import { type Answer, drawProgram, type Program, takesSignals } from './program.ts'

/** What somebody asks of the run, as soon as an entry of the kind `on` is committed; `follow`: some time later. */
export interface Action {
  readonly on: EntryKind
  readonly ask: Ask
  readonly follow: Ask | undefined
}

export interface Script {
  readonly runId: string
  readonly host: SimulatedHost
  readonly workflow: string
  readonly program: Program
  action: Action | undefined
  isAcknowledged: boolean
  /** How often it was lost and begun anew. */
  lives: number
  /** Signals that somebody sends before anybody is seen to wait for one. */
  readonly early: number
  /** The last signal that somebody has begun to send. */
  notes: number
  /** Signals of this life that were acknowledged, with their numbers. */
  acknowledged: { readonly note: number; readonly seq: number }[]
  /** Settlements of this life that were acknowledged, with their numbers. */
  settled: Settled[]
  /** A cancel was acknowledged. */
  cancelled: boolean
  /** Requests of somebody that are not answered yet. */
  acts: number
  isOver: boolean
  /** It is blocked, and nobody but a deploy can help: waiting any longer for that would be the same again. */
  isStuck: boolean
  /** Its device has lost it when nobody waited for it any more. */
  isGone: boolean
  status: string
  /** Somebody who watches the run sees that it has ended, or is blocked. */
  ring: () => void
}

export interface Settled {
  /** Of the deferred. */
  readonly id: string
  readonly seq: number
  /** A rejection says the same in its message. */
  readonly answer: Answer
}

/** The first run of a schedule is made for what the schedule aims at. */
export function drawScript(dice: Dice, i: number, aim: Cell): Script {
  const kind = i === 0 ? aim.kind : 'step_completed'
  const program = drawProgram(dice, kind)
  const workflow = kind === 'deadline_passed' ? 'deadline' : dice.pick(['plain', 'plain', 'restarts'])
  return {
    runId: `run${i}`, host: i === 0 ? aim.host : dice.pick(['edge', 'browser'] as const), workflow, program,
    action: drawAction(dice, kind, program), lives: 1, early: takesSignals(program.ops) ? dice.below(3) : 0, notes: 0, acknowledged: [], settled: [], isAcknowledged: false, cancelled: false, acts: 0, isOver: false, isStuck: false, isGone: false, status: '', ring: () => {},
  }
}

/** Now and then somebody thinks better of it, or somebody else does. */
function drawAction(dice: Dice, kind: EntryKind, program: Program): Action | undefined {
  const first = drawFirst(dice, kind, program)
  if (first === undefined || first.follow !== undefined || !dice.chance(0.3)) return first
  return { ...first, follow: dice.pick([{ ask: 'cancel', undo: dice.chance(0.7) }, { ask: 'control', request: { kind: 'restart' } }, { ask: 'control', request: { kind: 'pause' } }] as const) }
}

function drawFirst(dice: Dice, kind: EntryKind, program: Program): Action | undefined {
  const control = (request: ControlRequest): Ask => ({ ask: 'control', request })
  const cancel = (undo: boolean): Ask => ({ ask: 'cancel', undo })
  const some = (): EntryKind => dice.pick(['run_started', 'step_completed', 'effect_intended', 'effect_completed', 'timer_set', 'attempt_failed'] as const)
  if (kind === 'cancel_requested' || kind === 'run_cancelled') return { on: dice.pick(['run_started', 'step_completed'] as const), ask: cancel(dice.chance(0.5)), follow: undefined }
  if (kind === 'generation_started') {
    if (program.fails && dice.chance(0.5)) return { on: 'run_failed', ask: control({ kind: 'retry' }), follow: undefined }
    return { on: 'step_completed', ask: control({ kind: 'restart' }), follow: undefined }
  }
  if (kind.startsWith('undo_') && dice.chance(0.3)) return { on: 'step_completed', ask: cancel(true), follow: undefined }
  switch (dice.below(12)) {
    case 0: return { on: some(), ask: cancel(dice.chance(0.5)), follow: undefined }
    case 1: case 2: {
      const follow = dice.pick([control({ kind: 'resume' }), control({ kind: 'resume' }), control({ kind: 'restart' }), cancel(dice.chance(0.5))])
      return { on: some(), ask: control({ kind: 'pause' }), follow }
    }
    case 3: return { on: some(), ask: control({ kind: 'restart' }), follow: undefined }
    case 4: return program.fails ? { on: 'run_failed', ask: control({ kind: 'retry' }), follow: undefined } : undefined
    default: return undefined
  }
}
