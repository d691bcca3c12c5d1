// One schedule: a few runs, where they live, who asks what of them, and what fails, all drawn from one seed; then calm, in which
// everything must come to its end; then the checks.

import { type Registry, registry } from '../../define.ts'
import type { RunEnd } from '../../engine/notice.ts'
import { type EntryKind, isTerminal } from '../../journal/entry.ts'
import { decodeRecord, type RunRecord } from '../../journal/record.ts'
import { limits, type Limits } from '../../limits.ts'
import type { Batch } from '../../store/store.ts'
import { Checks } from './check.ts'
import { Device } from './device.ts'
import type { Disk, DiskWatcher } from './disk.ts'
import { kindsOf } from './fault.ts'
import { FaultPlan } from './fault-plan.ts'
import { type Gate, Network } from './network.ts'
import { type Ask, SimulatedObject } from './object.ts'
import { Outside, type OutsideRequest } from './outside.ts'
import { Person } from './person.ts'
import { simulatedWorkflows, type SimulatedServices } from './program.ts'
import { drawScript, type Script } from './script.ts'
import { checkEnd } from './verdict.ts'
import { Actor, World } from './world.ts'

export interface ScheduleEnd {
  readonly seed: number
  readonly commits: number
  readonly faults: number
  readonly tasks: number
  /** The cells of the coverage that it has reached. */
  readonly cells: ReadonlySet<string>
  /** How many runs ended how. */
  readonly ended: Readonly<Record<string, number>>
  /** What did not hold, with what led to it; undefined: everything did. */
  readonly violation: string | undefined
  /** What happened, in order: the same for the same seed. */
  readonly story: readonly string[]
}

/** More tasks than any schedule needs that comes to an end. */
const CHAOS_TASKS = 3000
const CALM_TASKS = 30_000
/** Longer than an effect's timeout: what comes after that is a late outcome. */
const ASK_MS = 50_000

/** Whoever watches it would see a change: it has ended, or stands still. */
function isNews(struck: readonly EntryKind[], { row }: Batch, record: RunRecord | undefined): boolean {
  return struck.some(isTerminal) || (row !== undefined && struck.length === 0 && record?.status === 'blocked')
}

export class Schedule implements DiskWatcher {
  readonly world: World
  readonly network: Network
  readonly checks: Checks = new Checks()
  readonly outside: Outside
  readonly limits: Limits
  readonly plan: FaultPlan
  readonly drain: () => Promise<void>
  /** Of the code that is deployed now. */
  version: 1 | 2
  readonly #seed: number
  readonly #story: string[] = []
  readonly #person: Person
  readonly #objects = new Map<string, SimulatedObject>()
  readonly #device: Device
  readonly #scripts: Script[] = []
  readonly #registries = new Map<1 | 2, Registry>()
  #requests = 0
  #frozen = 0

  constructor(seed: number, drain: () => Promise<void>) {
    this.#seed = seed
    this.drain = drain
    this.world = new World(seed, drain)
    const { world } = this
    const { dice } = world
    this.plan = new FaultPlan(this, seed)
    this.version = this.plan.drawVersion()
    // Sometimes the input is a blob.
    this.limits = limits({ startByMs: 5000, commitMs: 10_000, inlineBytes: dice.chance(0.1) ? 1024 : 65_536 })
    this.#person = new Person(this)
    this.network = new Network(world)
    this.network.faultShare = dice.pick([0, 0.01, 0.05])
    this.outside = new Outside(world, new Actor(world, 'outside', 'test', { offset: 0, rate: 1 }), dice.chance(0.5), (request) => { this.#mailed(request) })
    this.#device = new Device(this, { offset: dice.between(-5000, 5000), rate: dice.pick([1, 1.0001, 0.9999]) })
    const runs = dice.pick([1, 1, 1, 2])
    for (let i = 0; i < runs; i++) this.#scripts.push(drawScript(dice, i, this.plan.aim))
  }

  async run(): Promise<ScheduleEnd> {
    for (const script of this.#scripts) void this.#person.play(script)
    const isOver = (): boolean => this.checks.violation !== undefined || this.#isOver()
    await this.world.run(() => isOver() || this.#isStuck(), CHAOS_TASKS)
    this.#calm()
    if (!(await this.world.run(isOver, CALM_TASKS)) && this.checks.violation === undefined) {
      this.checks.fail(`G29: it does not end: ${this.#scripts.filter((script) => !script.isOver).map(({ runId }) => `${runId} is ${this.#statusOf(runId)}`).join(', ') || 'somebody stays frozen'}`)
    }
    for (const script of this.#scripts) if (this.checks.violation === undefined) await checkEnd(this, script)
    const ended: Record<string, number> = {}
    for (const { status } of this.#scripts) ended[status] = (ended[status] ?? 0) + 1
    const { violation, commits } = this.checks
    return {
      seed: this.#seed, commits, faults: this.plan.faults + this.network.hits, tasks: this.world.tasks, cells: this.plan.reached, ended,
      story: this.#story,
      violation: violation === undefined ? undefined : `${violation}\n  seed ${this.#seed}\n  ${this.#story.join('\n  ')}`,
    }
  }

  freeze(actor: Actor): void {
    const { world } = this
    actor.freeze()
    this.#frozen++
    world.post(world.platform, world.dice.between(500, 600_000), () => {
      this.#frozen--
      this.note(`${actor.label} thaws`)
      actor.thaw()
    })
  }

  committed(runId: string, batch: Batch, by: Actor): void {
    this.checks.committed(runId, batch, by)
    const struck = kindsOf(batch)
    if (struck.length > 0) this.note(`${by.label} committed ${runId} ${struck.join(', ')}`)
    const script = this.#scripts.find((each) => each.runId === runId)
    if (script?.isOver === true && struck.includes('generation_started')) {
      script.isOver = false
      script.ring()
    }
    if (script !== undefined && isNews(struck, batch, this.diskOf(runId).record(runId))) script.ring()
    const { action } = script ?? {}
    if (script !== undefined && action !== undefined && struck.includes(action.on)) {
      script.action = undefined
      script.acts++
      this.world.post(this.#person, 0, () => { void this.#person.act(script, action) })
    }
  }

  lost(runId: string, entries: number | undefined): void {
    this.note(entries === undefined ? `${runId} is lost` : `${runId} is cut to ${entries} entries`)
    this.checks.lost(runId, entries)
    const script = this.#scripts.find((each) => each.runId === runId)
    if (script !== undefined && entries === undefined) {
      script.isAcknowledged = false
      script.lives++
      script.acknowledged = []
      script.settled = []
      script.cancelled = false
      script.isGone = script.isOver
      script.ring()
    }
  }

  /** The workflows of one deploy, whose functions are watched. */
  workflows(version: 1 | 2): Registry {
    let known = this.#registries.get(version)
    if (known === undefined) {
      known = registry(simulatedWorkflows(version, { seen: (runId, item) => { this.checks.seen(runId, item) } }))
      this.#registries.set(version, known)
    }
    return known
  }

  services(actor: Actor, runId: string, disk: Disk, gate?: Gate): SimulatedServices {
    return {
      ask: (request) => this.network.request(actor, this.outside, { ...request, runId, id: this.#requests++ }, ASK_MS, gate),
      wait: (ms) => actor.after(ms),
      executed: (call, role) => {
        this.note(`${actor.label} calls ${role} ${call.key}, attempt ${call.attempt}`)
        this.checks.executed(actor, call, role, disk.durableEntries(runId))
      },
    }
  }

  async tell(actor: Actor, end: RunEnd, gate?: Gate): Promise<void> {
    await this.network.request(actor, this.outside, {
      id: this.#requests++, runId: end.id, key: `${end.generation} ${end.status}`, act: 'tell', item: '',
    }, ASK_MS, gate)
  }

  /** For the story. */
  note(what: string): void {
    this.#story.push(`${String(this.world.now).slice(-9)} ${what}`)
  }

  diskOf(runId: string): Disk {
    return this.#objects.get(runId)?.disk ?? this.#device.disk
  }

  #mailed(request: OutsideRequest): void {
    const script = this.#scripts.find(({ runId }) => runId === request.runId)
    if (script === undefined) return
    script.acts++
    this.world.post(this.#person, 0, () => { void this.#person.reply(script, request) })
  }

  #statusOf(runId: string): string {
    const row = this.diskOf(runId).open(runId).read()
    if (row === undefined) return 'not there'
    const { status, blocked } = decodeRecord(row)
    return blocked === undefined ? status : `${status} (${blocked.code}: ${blocked.message} ${JSON.stringify(blocked.details)})`
  }

  #isOver(): boolean {
    return this.#frozen === 0 && this.#scripts.every((script) => script.isOver)
  }

  #isStuck(): boolean {
    return this.#frozen === 0 && this.#scripts.every((script) => script.isOver || script.isStuck)
  }

  /** Nothing fails any more, and everybody has the newest code. */
  #calm(): void {
    this.plan.isCalm = true
    this.network.calm()
    this.note('calm')
    if (this.version === 1 || this.#device.tabs.length > 0) {
      this.version = 2
      for (const object of this.#objects.values()) {
        object.replace()
        object.arm(this.#person.now())
      }
      for (const tab of this.#device.tabs) if (!tab.isFrozen) this.#device.kill(tab)
    }
  }

  /** A request of the person to wherever the run is. */
  ask(script: Script, ask: Ask): Promise<unknown> {
    if (script.host === 'edge') {
      let object = this.#objects.get(script.runId)
      if (object === undefined) {
        const { dice } = this.world
        object = new SimulatedObject(this, script.runId, { offset: dice.between(-2000, 2000), rate: dice.pick([1, 1.0001, 0.9999]) })
        this.#objects.set(script.runId, object)
      }
      return this.network.request(this.#person, object, ask, 30_000)
    }
    return new Promise((resolve, reject) => {
      this.#person.timer(30_000, () => { reject(new Error('the page does not answer')) })
      this.#device.receive({ runId: script.runId, ask }).then(resolve, reject)
    })
  }
}
