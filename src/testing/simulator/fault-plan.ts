// Which faults hit which commits of a schedule. Each seed aims at one cell, so that all of them are reached; the rest is chance.

import type { Batch } from '../../store/store.ts'
import { type Cell, cellKey, cells, type Fault, faults, impossible, kindsOf, type SimulatedHost } from './fault.ts'
import type { NetworkFault } from './network.ts'
import type { Schedule } from './schedule.ts'
import type { Actor } from './world.ts'

const networkFaults: ReadonlySet<Fault> = new Set<Fault>(['message dropped', 'message repeated', 'message delayed', 'messages reordered'])

export class FaultPlan {
  readonly aim: Cell
  /** The cells that were hit. */
  readonly reached: Set<string> = new Set()
  faults = 0
  /** A clock was set forward: what a successor waits for may be over before its time. */
  wasForwarded = false
  /** Nothing fails any more. */
  isCalm = false
  readonly #schedule: Schedule
  readonly #share: number
  #wasHit = false

  constructor(schedule: Schedule, seed: number) {
    this.#schedule = schedule
    // In strides, so that few seeds reach both hosts and all kinds.
    this.aim = cells[(seed * 397) % cells.length] as Cell
    this.#share = schedule.world.dice.pick([0.005, 0.02, 0.06])
  }

  /** Which code the schedule begins with. */
  drawVersion(): 1 | 2 {
    const { fault, kind } = this.aim
    if (fault === 'roll back' || kind === 'patch_applied') return 2
    return fault === 'deploy' ? 1 : this.#schedule.world.dice.pick([1, 2] as const)
  }

  /** Which fault hits this commit. */
  strike(by: Actor, host: SimulatedHost, batch: Batch): Fault | undefined {
    const struck = kindsOf(batch)
    if (this.isCalm) return undefined
    if (struck.length === 0) return this.#strikeAside(by, host, batch)
    const { dice } = this.#schedule.world
    const { fault: aim, kind, host: at } = this.aim
    if (kind === 'effect_not_called' && !this.wasForwarded && host === at && struck.includes('effect_intended')) this.#forward(by)
    let fault: Fault | undefined
    if (!this.#wasHit && host === at && struck.includes(kind) && dice.chance(0.95)) {
      fault = aim
      this.#wasHit = true
    } else if (dice.chance(this.#share)) {
      fault = dice.pick(faults)
    }
    if (fault === undefined || struck.some((each) => impossible({ fault: fault as Fault, kind: each, host }) !== undefined)) return undefined
    for (const each of struck) this.reached.add(cellKey({ fault, kind: each, host }))
    this.faults++
    this.#schedule.note(`${by.label}: ${fault} at ${struck.join(', ')}`)
    this.#strike(by, fault)
    return fault
  }

  /** Now and then a commit that is no entry is hit as well: a message, a signal, a token, a memo, a notice. From dice of their own, as in program.ts. */
  #strikeAside(by: Actor, host: SimulatedHost, { rows = [], post = [] }: Batch): Fault | undefined {
    const apart = this.#schedule.world.dice.fork(2279)
    if (!apart.chance(0.06)) return undefined
    const fault = apart.pick(faults)
    if (impossible({ fault, kind: 'run_started', host }) !== undefined) return undefined
    this.faults++
    this.#schedule.note(`${by.label}: ${fault} aside of ${post.length > 0 ? 'a message' : rows.map(({ table }) => table).join(', ') || 'the row'}`)
    this.#strike(by, fault)
    return fault
  }

  #strike(by: Actor, fault: Fault): void {
    const { world, network } = this.#schedule
    const { dice } = world
    if (fault === 'deploy') this.#schedule.version = 2
    if (fault === 'roll back') this.#schedule.version = 1
    if (fault === 'clock forward' || fault === 'clock back') {
      const jump = dice.pick([2000, 60_000, 3_600_000]) * (fault === 'clock back' ? -1 : 1)
      world.post(world.platform, 0, () => { by.clock.offset += jump })
      if (fault === 'clock forward') this.wasForwarded = true
    }
    if (networkFaults.has(fault)) {
      network.arm(fault as NetworkFault)
      // Counted when it hits a message.
      this.faults--
    }
  }

  /** Over the time by which a function may be called that was just intended. */
  #forward({ clock, label }: Actor): void {
    this.wasForwarded = true
    this.#schedule.note(`${label}: the clock is set forward`)
    const { world } = this.#schedule
    world.post(world.platform, 0, () => { clock.offset += 60_000 })
  }
}
