// Many schedules, one after the other, and which faults have hit which entries on which host.

import { addCoverage, type Coverage, emptyCoverage } from './coverage.ts'
import { Schedule, type ScheduleEnd } from './schedule.ts'

/** A schedule counts only if so much happened in it. */
export const LEAST_COMMITS = 8
export const LEAST_FAULTS = 1

export interface SimulateOptions {
  /** How this runtime empties its microtask queue. */
  readonly quiesce: () => Promise<void>
  readonly firstSeed: number
  /** Schedules that count; more are run when some do not. */
  readonly schedules: number
  /** Asked before each schedule: whether to stop. */
  readonly isOver?: () => boolean
  readonly progress?: (simulated: Simulated) => void
}

export interface Simulated {
  schedules: number
  /** That had too few commits, or no fault. */
  uncounted: number
  commits: number
  faults: number
  tasks: number
  readonly ended: Record<string, number>
  /** By cell: in how many schedules it was reached. */
  readonly coverage: Coverage
  nextSeed: number
  /** What did not hold in which schedule. */
  readonly violations: ScheduleEnd[]
}

/** Runs schedules until enough of them count, or one violates a guarantee. The same seeds give the same schedules. */
export async function simulate(options: SimulateOptions): Promise<Simulated> {
  const simulated: Simulated = {
    schedules: 0, uncounted: 0, commits: 0, faults: 0, tasks: 0, ended: {}, coverage: emptyCoverage(),
    nextSeed: options.firstSeed, violations: [],
  }
  while (simulated.schedules < options.schedules && options.isOver?.() !== true) {
    const end = await simulateOne(simulated.nextSeed++, options.quiesce)
    simulated.commits += end.commits
    simulated.faults += end.faults
    simulated.tasks += end.tasks
    for (const [status, n] of Object.entries(end.ended)) simulated.ended[status] = (simulated.ended[status] ?? 0) + n
    addCoverage(simulated.coverage, [...end.cells].map((cell) => [cell, 1]))
    if (end.violation !== undefined) {
      simulated.violations.push(end)
      return simulated
    }
    if (end.commits >= LEAST_COMMITS && end.faults >= LEAST_FAULTS) simulated.schedules++
    else simulated.uncounted++
    options.progress?.(simulated)
  }
  return simulated
}

export function simulateOne(seed: number, quiesce: () => Promise<void>): Promise<ScheduleEnd> {
  return new Schedule(seed, quiesce).run()
}
