// One schedule: a few runs, where they live, who asks what of them, and what fails, all drawn from one seed; then calm, in which
// everything must come to its end; then the checks.

import type { ControlRequest } from '../../client.ts'
import { simulatedWorkflows, drawProgram, misfit, type Program, type SimulatedServices } from './program.ts'
import { ledgerRows } from '../../engine/ledger.ts'
import type { RunEnd } from '../../engine/notice.ts'
import { isStepwellError } from '../../errors.ts'
import type { HostTimer } from '../../host.ts'
import { type EntryKind, isTerminal } from '../../journal/entry.ts'
import { decodeRecord, isEnded } from '../../journal/record.ts'
import { outcome } from '../../journal/summary.ts'
import { type Registry, registry } from '../../define.ts'
import { limits, type Limits } from '../../limits.ts'
import type { Batch } from '../../store/store.ts'
import { checkStored } from '../check-replay.ts'
import { Checks } from './check.ts'
import { Device } from './device.ts'
import type { Disk, DiskWatcher } from './disk.ts'
import { type Cell, cellKey, cells, type Fault, faults, impossible, kindsOf, type SimulatedHost } from './fault.ts'
import { type Gate, Network, type NetworkFault } from './network.ts'
import { type Ask, type Look, SimulatedObject } from './object.ts'
import { Outside } from './outside.ts'
import { Actor, type Clock, World } from './world.ts'

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

interface Script {
  readonly runId: string
  readonly host: SimulatedHost
  readonly workflow: string
  readonly program: Program
  /** What somebody asks of the run, as soon as an entry of this kind is committed. */
  action: { readonly on: EntryKind | undefined; readonly ask: Ask; readonly follow: Ask | undefined } | undefined
  isAcknowledged: boolean
  /** The journal's length when a cancel was acknowledged. */
  cancelled: boolean
  wasRestarted: boolean
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

/** More tasks than any schedule needs that comes to an end. */
const CHAOS_TASKS = 3000
const CALM_TASKS = 30_000
/** Longer than an effect's timeout: what comes after that is a late outcome. */
const ASK_MS = 50_000

/** Whoever watches it would see a change: it has ended, or stands still. */
function isNews(struck: readonly EntryKind[], { row }: Batch): boolean {
  if (struck.some(isTerminal)) return true
  return row !== undefined && struck.length === 0 && decodeRecord({ runId: '', inbox: 0, ...row }).status === 'blocked'
}

const networkFaults: ReadonlySet<Fault> = new Set<Fault>(['message dropped', 'message repeated', 'message delayed', 'messages reordered'])

export class Schedule implements DiskWatcher {
  readonly world: World
  readonly network: Network
  readonly checks: Checks = new Checks()
  readonly outside: Outside
  readonly limits: Limits
  version: 1 | 2
  readonly #seed: number
  readonly #drain: () => Promise<void>
  readonly #aim: Cell
  readonly #share: number
  readonly #reached = new Set<string>()
  readonly #story: string[] = []
  readonly #person: Actor
  readonly #objects = new Map<string, SimulatedObject>()
  readonly #device: Device
  readonly #scripts: Script[] = []
  readonly #registries = new Map<1 | 2, Registry>()
  #requests = 0
  #faults = 0
  #isCalm = false
  #wasHit = false
  #wasForwarded = false
  #frozen = 0

  constructor(seed: number, drain: () => Promise<void>) {
    this.#seed = seed
    this.#drain = drain
    this.world = new World(seed, drain)
    const { world } = this
    const { dice } = world
    // Each seed aims at one cell, so that all of them are reached; the rest is chance.
    // In strides, so that few seeds reach both hosts and all kinds.
    this.#aim = cells[(seed * 397) % cells.length] as Cell
    this.#share = dice.pick([0.005, 0.02, 0.06])
    this.version = this.#aim.fault === 'roll back' || this.#aim.kind === 'patch_applied' ? 2 : this.#aim.fault === 'deploy' ? 1 : dice.pick([1, 2] as const)
    const sound: Clock = { offset: 0, rate: 1 }
    // Sometimes the input is a blob.
    this.limits = limits({ startByMs: 5000, commitMs: 10_000, inlineBytes: dice.chance(0.1) ? 1024 : 65_536 })
    this.#person = new Actor(world, 'person', 'test', sound)
    this.network = new Network(world)
    this.network.faultShare = dice.pick([0, 0.01, 0.05])
    this.outside = new Outside(world, new Actor(world, 'outside', 'test', sound), dice.chance(0.5))
    this.#device = new Device(this, { offset: dice.between(-5000, 5000), rate: dice.pick([1, 1.0001, 0.9999]) })
    const runs = dice.pick([1, 1, 1, 2])
    for (let i = 0; i < runs; i++) this.#scripts.push(this.#draw(i))
  }

  async run(): Promise<ScheduleEnd> {
    for (const script of this.#scripts) void this.#play(script)
    const isOver = (): boolean => this.checks.violation !== undefined || this.#isOver()
    await this.world.run(() => isOver() || this.#isStuck(), CHAOS_TASKS)
    this.#calm()
    if (!(await this.world.run(isOver, CALM_TASKS)) && this.checks.violation === undefined) {
      this.checks.fail(`G29: it does not end: ${this.#scripts.filter((script) => !script.isOver).map(({ runId }) => `${runId} is ${this.#statusOf(runId)}`).join(', ') || 'somebody stays frozen'}`)
    }
    for (const script of this.#scripts) if (this.checks.violation === undefined) await this.#check(script)
    const ended: Record<string, number> = {}
    for (const { status } of this.#scripts) ended[status] = (ended[status] ?? 0) + 1
    const { violation, commits } = this.checks
    return {
      seed: this.#seed, commits, faults: this.#faults + this.network.hits, tasks: this.world.tasks, cells: this.#reached, ended,
      story: this.#story,
      violation: violation === undefined ? undefined : `${violation}\n  seed ${this.#seed}\n  ${this.#story.join('\n  ')}`,
    }
  }

  /** Which fault hits this commit. */
  strike(by: Actor, host: SimulatedHost, batch: Batch): Fault | undefined {
    const struck = kindsOf(batch)
    if (this.#isCalm || struck.length === 0) return undefined
    const { dice } = this.world
    const { fault: aim, kind, host: at } = this.#aim
    if (kind === 'effect_not_called' && !this.#wasForwarded && host === at && struck.includes('effect_intended')) this.#forward(by)
    let fault: Fault | undefined
    if (!this.#wasHit && host === at && struck.includes(kind) && dice.chance(0.8)) {
      fault = aim
      this.#wasHit = true
    } else if (dice.chance(this.#share)) {
      fault = dice.pick(faults)
    }
    if (fault === undefined || struck.some((each) => impossible({ fault: fault as Fault, kind: each, host }) !== undefined)) return undefined
    for (const each of struck) this.#reached.add(cellKey({ fault, kind: each, host }))
    this.#faults++
    this.#tell(`${by.label}: ${fault} at ${struck.join(', ')}`)
    if (fault === 'deploy') this.version = 2
    if (fault === 'roll back') this.version = 1
    if (fault === 'clock forward' || fault === 'clock back') {
      const jump = dice.pick([2000, 60_000, 3_600_000]) * (fault === 'clock back' ? -1 : 1)
      this.world.post(this.world.platform, 0, () => { by.clock.offset += jump })
      if (fault === 'clock forward') this.#wasForwarded = true
    }
    if (networkFaults.has(fault)) {
      this.network.arm(fault as NetworkFault)
      // Counted when it hits a message.
      this.#faults--
    }
    return fault
  }

  /** Over the time by which a function may be called that was just intended. */
  #forward({ clock, label }: Actor): void {
    this.#wasForwarded = true
    this.#tell(`${label}: the clock is set forward`)
    this.world.post(this.world.platform, 0, () => { clock.offset += 60_000 })
  }

  freeze(actor: Actor): void {
    const { world } = this
    actor.freeze()
    this.#frozen++
    world.post(world.platform, world.dice.between(500, 600_000), () => {
      this.#frozen--
      this.#tell(`${actor.label} thaws`)
      actor.thaw()
    })
  }

  committed(runId: string, batch: Batch, by: Actor): void {
    this.checks.committed(runId, batch, by)
    const struck = kindsOf(batch)
    if (struck.length > 0) this.#tell(`${by.label} committed ${runId} ${struck.join(', ')}`)
    const script = this.#scripts.find((each) => each.runId === runId)
    if (script?.isOver === true && struck.includes('generation_started')) {
      // A request of somebody that the network has repeated: whoever watches sees it run again.
      script.isOver = false
      script.ring()
    }
    if (script !== undefined && isNews(struck, batch)) script.ring()
    const { action } = script ?? {}
    if (script !== undefined && action?.on !== undefined && struck.includes(action.on)) {
      script.action = undefined
      script.acts++
      this.world.post(this.#person, 0, () => { void this.#act(script, action) })
    }
  }

  lost(runId: string, entries: number | undefined): void {
    this.#tell(entries === undefined ? `${runId} is lost` : `${runId} is cut to ${entries} entries`)
    this.checks.lost(runId, entries)
    const script = this.#scripts.find((each) => each.runId === runId)
    if (script !== undefined && entries === undefined) {
      script.isAcknowledged = false
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
        this.#tell(`${actor.label} calls ${role} ${call.key}, attempt ${call.attempt}`)
        this.checks.executed(actor, call, role, disk.durableEntries(runId))
      },
    }
  }

  async tell(actor: Actor, end: RunEnd, gate?: Gate): Promise<void> {
    await this.network.request(actor, this.outside, {
      id: this.#requests++, runId: end.id, key: `${end.generation} ${end.status}`, act: 'tell', item: '',
    }, ASK_MS, gate)
  }

  #tell(what: string): void {
    this.#story.push(`${String(this.world.now - this.#person.clock.offset).slice(-9)} ${what}`)
  }

  #draw(i: number): Script {
    const { dice } = this.world
    const { kind, host } = this.#aim
    const program = drawProgram(dice, i === 0 ? kind : 'step_completed')
    const workflow = i === 0 && kind === 'deadline_passed' ? 'deadline' : dice.pick(['plain', 'plain', 'restarts'])
    return {
      runId: `run${i}`, host: i === 0 ? host : dice.pick(['edge', 'browser'] as const), workflow, program,
      action: this.#drawAction(i === 0 ? kind : 'step_completed', program), isAcknowledged: false, cancelled: false, wasRestarted: false, acts: 0, isOver: false, isStuck: false, isGone: false, status: '', ring: () => {},
    }
  }

  #drawAction(kind: EntryKind, program: Program): Script['action'] {
    const { dice } = this.world
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

  #diskOf(runId: string): Disk {
    return this.#objects.get(runId)?.disk ?? this.#device.disk
  }

  #statusOf(runId: string): string {
    const row = this.#diskOf(runId).open(runId).read()
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
    this.#isCalm = true
    this.network.calm()
    this.#tell('calm')
    if (this.version === 1 || this.#device.tabs.length > 0) {
      this.version = 2
      for (const object of this.#objects.values()) {
        object.replace()
        object.arm(this.#person.now())
      }
      for (const tab of this.#device.tabs) if (!tab.isFrozen) this.#device.kill(tab)
    }
  }

  #ask(script: Script, ask: Ask): Promise<unknown> {
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

  /** Asks until there is an answer. */
  async #insist(script: Script, ask: Ask): Promise<unknown> {
    for (;;) {
      try {
        return await this.#ask(script, ask)
      } catch (error) {
        if (isStepwellError(error) && !error.retryable) return error
        await this.#person.after(this.world.dice.between(500, 5000))
      }
    }
  }

  async #act(script: Script, { ask, follow }: { readonly ask: Ask; readonly follow: Ask | undefined }): Promise<void> {
    this.#did(script, ask, await this.#insist(script, ask))
    if (follow !== undefined) {
      await this.#person.after(this.world.dice.between(100, 60_000))
      this.#did(script, follow, await this.#insist(script, follow))
    }
    script.acts--
  }

  #did(script: Script, ask: Ask, answer: unknown): void {
    const { outcome } = answer as { readonly outcome?: string }
    this.#tell(`person: ${JSON.stringify(ask)} of ${script.runId}: ${JSON.stringify(answer)}`)
    if (ask.ask === 'cancel' && (outcome === 'requested' || outcome === 'already_requested')) script.cancelled = true
    if (ask.ask === 'control' && (ask.request.kind === 'restart' || ask.request.kind === 'retry')) script.wasRestarted = true
  }

  /** Whoever started the run and waits for its end, and decides what only a person can. */
  async #play(script: Script): Promise<void> {
    const { dice } = this.world
    for (let wait = 60_000; ; wait = Math.min(6 * 3_600_000, wait * 2)) {
      if (!script.isAcknowledged) {
        const answer = await this.#insist(script, { ask: 'start', workflow: script.workflow, input: script.program, options: {} })
        if (answer !== undefined) this.checks.fail(`the start of ${script.runId} was refused: ${String(answer)}`)
        script.isAcknowledged = true
      }
      await this.#bell(script, dice.between(wait / 2, wait))
      const view = await this.#insist(script, { ask: 'look' })
      if (isStepwellError(view)) {
        if (view.code === 'run_not_found' && !script.isAcknowledged) continue
        this.checks.fail(`${script.runId} cannot be read: ${view.code}: ${view.message}`)
        return
      }
      const { status, blocked } = view as Look
      script.status = status
      const disk = this.#diskOf(script.runId)
      if (isEnded(status) && disk.record(script.runId)?.status === status && disk.open(script.runId).read()?.wakeAt === null && script.acts === 0) {
        script.isOver = true
        await new Promise<void>((resolve) => { script.ring = resolve })
        if (script.isGone) return
        wait = 60_000
      }
      script.isStuck = blocked?.code === 'unknown_version' && script.acts === 0
      if (blocked !== undefined && !script.isStuck) {
        wait = 5000
        await this.#decide(script, blocked)
      }
      if (status === 'paused' && this.#isCalm) await this.#insist(script, { ask: 'control', request: { kind: 'resume' } })
    }
  }

  async #bell(script: Script, ms: number): Promise<void> {
    const rang = new Promise<void>((resolve) => { script.ring = resolve })
    let timer: HostTimer | undefined
    await Promise.race([rang, new Promise<void>((resolve) => { timer = this.#person.timer(ms, resolve) })])
    timer?.cancel()
    await this.#person.after(this.world.dice.below(2000))
  }

  async #decide(script: Script, { code, details }: NonNullable<Look['blocked']>): Promise<void> {
    const { dice } = this.world
    if (code === 'ambiguous_effect') {
      const { effects } = details as { readonly effects: readonly { readonly seq: number; readonly idempotencyKey: string }[] }
      for (const { seq, idempotencyKey } of effects) {
        // A person looks first whether it happened.
        const receipt = this.outside.find(idempotencyKey)
        const request: ControlRequest = receipt !== undefined
          ? { kind: 'resolve', seq, decision: 'happened', value: receipt }
          : { kind: 'resolve', seq, decision: dice.pick(['rerun', 'fail'] as const) }
        await this.#insist(script, { ask: 'control', request })
      }
    } else if (code === 'undo_failed') {
      const { seq } = details as { readonly seq: number }
      await this.#insist(script, { ask: 'control', request: { kind: 'resolve', seq, decision: dice.pick(['rerun', 'skip'] as const) } })
    }
  }

  async #check(script: Script): Promise<void> {
    const { checks } = this
    const { runId, program } = script
    if (script.isGone) return
    const store = this.#diskOf(runId).open(runId)
    const row = store.read()
    if (row === undefined) return checks.fail(`${runId} is gone`)
    const record = decodeRecord(row)
    if (script.cancelled && !script.wasRestarted && record.status !== 'cancelled') checks.fail(`G21: ${runId} is ${record.status}, and its cancel was acknowledged`)
    checks.outside(runId, this.outside, !this.#wasForwarded)
    const told = this.outside.ledger.some((request) => request.act === 'tell' && request.runId === runId && request.key === `${record.generation} ${record.status}`)
    if (!told) checks.fail(`G24: nobody was told that ${runId} is ${record.status}`)
    const replayed = await this.#replay(store)
    if (replayed !== undefined) checks.fail(`G8: ${runId} does not replay: ${replayed}`)
    if (record.status === 'completed') {
      const wrong = misfit(program.ops, (await outcome(store, record) as { readonly output?: unknown }).output)
      if (wrong !== undefined) checks.fail(`G2: the output of ${runId}: ${wrong}`)
    }
    if (record.status === 'failed') {
      for await (const { row: effect } of ledgerRows(store)) {
        if (effect.hasUndo && effect.status === 'done' && effect.decision?.by !== 'person') checks.fail(`G21: ${runId} has failed, and ${effect.key} was not undone`)
      }
    }
  }

  async #replay(store: ReturnType<Disk['open']>): Promise<string | undefined> {
    const record = this.#diskOf(store.runId).record(store.runId)
    const last = this.checks.entries(store.runId).at(-1)
    if (record === undefined || last === undefined) return 'there is nothing to replay'
    let returned: unknown
    const definition = simulatedWorkflows(2, { returned: (out) => { returned = out } }).find(({ name }) => name === record.workflow)
    if (definition === undefined) return 'its workflow is unknown'
    const checked = await checkStored(store, record, last, definition, { limits: { ...this.limits }, quiesce: this.#drain })
    if (!checked.ok) return `${checked.error.code}: ${checked.error.message}`
    const { status } = record
    if (status !== 'completed') return undefined
    const { output } = await outcome(store, record) as { readonly output?: unknown }
    // Entries of more than one generation: what the last one gave is what the replay gave last.
    return JSON.stringify(returned) === JSON.stringify(output) ? undefined : `it gave ${JSON.stringify(output)}, and on replay ${JSON.stringify(returned)}`
  }
}
