// Time and what happens in it: one queue of tasks, of which each belongs to an actor. A task runs only when the microtask queue is
// empty, and of several that could run the dice choose one, so that a seed is a schedule: single-threaded, with no clock but this.

import type { Host, HostName, HostTimer } from '../../host.ts'
import { Dice } from './dice.ts'

/** A wall clock of one machine. It may drift and jump; timers follow true time, as they do in every runtime. */
export interface Clock {
  offset: number
  rate: number
}

interface Task {
  readonly at: number
  readonly order: number
  readonly actor: Actor
  /** Tasks of one lane keep their order. */
  readonly lane: string | undefined
  readonly run: () => void
  isOver: boolean
}

/** A process, a tab, an object, the outside world: whatever runs by itself, can be frozen, and can die. */
export class Actor implements Host {
  readonly label: string
  readonly name: HostName
  readonly world: World
  readonly clock: Clock
  isFrozen = false
  isDead = false
  #diedIn = 0
  /** It was frozen once: what it does may be what a zombie does. */
  wasFrozen = false

  constructor(world: World, label: string, name: HostName, clock: Clock) {
    this.world = world
    this.label = label
    this.name = name
    this.clock = clock
  }

  now(): number {
    const { world, clock } = this
    return Math.floor(START + (world.now - START) * clock.rate + clock.offset)
  }

  random(bytes: number): Uint8Array {
    return this.world.dice.bytes(bytes)
  }

  quiesce(): Promise<void> {
    return new Promise((resolve) => { this.world.post(this, 0, resolve) })
  }

  timer(ms: number, run: () => void): HostTimer {
    return this.world.post(this, Math.max(0, ms), run, 'timer')
  }

  log(): void {}

  after(ms: number): Promise<void> {
    return new Promise((resolve) => { this.timer(ms, resolve) })
  }

  /** Nothing of it ever runs again. */
  kill(): void {
    this.isDead = true
    this.#diedIn = this.world.tasks
    this.world.forget(this)
  }

  /** Its death was in this very task: what still runs of it, until the task is over, no real process would run, and it reaches nobody. */
  get isDying(): boolean {
    return this.isDead && this.#diedIn === this.world.tasks
  }

  freeze(): void {
    this.isFrozen = true
    this.wasFrozen = true
  }

  thaw(): void {
    this.isFrozen = false
  }
}

export const START: number = Date.UTC(2026, 0, 1)

export class World {
  now: number = START
  readonly dice: Dice
  /** Whoever is never killed: the platform, the network. */
  readonly platform: Actor
  tasks = 0
  #queue: Task[] = []
  #order = 0
  #drain: () => Promise<void>

  constructor(seed: number, drain: () => Promise<void>) {
    this.dice = new Dice(seed)
    this.#drain = drain
    this.platform = new Actor(this, 'platform', 'test', { offset: 0, rate: 1 })
  }

  post(actor: Actor, delay: number, run: () => void, lane?: string): HostTimer {
    const task: Task = { at: this.now + delay, order: this.#order++, actor, lane, run, isOver: actor.isDead }
    if (!task.isOver) this.#queue.push(task)
    return { cancel: () => { task.isOver = true } }
  }

  forget(actor: Actor): void {
    this.#queue = this.#queue.filter((task) => task.actor !== actor)
  }

  /** Runs what there is to run until `isOver`; false when nothing was left to run, or `tasks` were run, before that. */
  async run(isOver: () => boolean, tasks: number): Promise<boolean> {
    for (let left = tasks; ; left--) {
      await this.#drain()
      if (isOver()) return true
      const task = left > 0 ? this.#next() : undefined
      if (task === undefined) return false
      this.tasks++
      task.isOver = true
      task.run()
    }
  }

  #next(): Task | undefined {
    let soonest: number | undefined
    let hasOver = false
    for (const task of this.#queue) {
      if (task.isOver) hasOver = true
      else if (!task.actor.isFrozen && (soonest === undefined || task.at < soonest)) soonest = task.at
    }
    if (hasOver) this.#queue = this.#queue.filter((task) => !task.isOver)
    if (soonest === undefined) return undefined
    if (soonest > this.now) this.now = soonest
    const ready: Task[] = []
    for (const task of this.#queue) {
      if (task.at > this.now || task.actor.isFrozen) continue
      const before = task.lane === undefined ? -1 : ready.findIndex(({ actor, lane }) => actor === task.actor && lane === task.lane)
      if (before === -1) ready.push(task)
      else {
        const other = ready[before] as Task
        if (task.at < other.at || (task.at === other.at && task.order < other.order)) ready[before] = task
      }
    }
    return ready.length === 1 ? ready[0] : this.dice.pick(ready)
  }
}
