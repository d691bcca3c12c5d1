// Whoever started the runs of a schedule: waits for their ends, asks of them what was drawn, and decides what only a person can.

import type { ControlRequest, SignalOutcome } from '../../client.ts'
import { isStepwellError } from '../../errors.ts'
import type { HostTimer } from '../../host.ts'
import { isEnded } from '../../journal/record.ts'
import type { Ask, Look } from './object.ts'
import type { Schedule } from './schedule.ts'
import type { OutsideRequest } from './outside.ts'
import type { Answer, Mail } from './program.ts'
import type { Action, Script } from './script.ts'
import { Actor } from './world.ts'

export class Person extends Actor {
  readonly #schedule: Schedule

  constructor(schedule: Schedule) {
    super(schedule.world, 'person', 'test', { offset: 0, rate: 1 })
    this.#schedule = schedule
  }

  /** Starts it, and looks again and again until it has ended; and again, when a request that the network repeats has it begin anew. */
  async play(script: Script): Promise<void> {
    const { dice } = this.world
    for (let wait = 60_000; ; wait = Math.min(6 * 3_600_000, wait * 2)) {
      if (!script.isAcknowledged) {
        const answer = await this.#insist(script, { ask: 'start', workflow: script.workflow, input: script.program, options: {} })
        if (answer !== undefined) this.#schedule.checks.fail(`the start of ${script.runId} was refused: ${String(answer)}`)
        script.isAcknowledged = true
        for (let i = 0; i < script.early; i++) void this.#signal(script)
      }
      await this.#bell(script, dice.between(wait / 2, wait))
      const view = await this.#insist(script, { ask: 'look' })
      if (isStepwellError(view)) {
        if (view.code === 'run_not_found' && !script.isAcknowledged) continue
        this.#schedule.checks.fail(`${script.runId} cannot be read: ${view.code}: ${view.message}`)
        return
      }
      const { status, blocked, waitingFor } = view as Look
      if (waitingFor.some(({ kind }) => kind === 'signal')) void this.#signal(script)
      script.status = status
      const disk = this.#schedule.diskOf(script.runId)
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
      if (status === 'paused' && this.#schedule.plan.isCalm) await this.#insist(script, { ask: 'control', request: { kind: 'resume' } })
    }
  }

  /** What was drawn, and what follows from it. */
  async act(script: Script, { ask, follow }: Action): Promise<void> {
    this.#did(script, ask, await this.#insist(script, ask))
    if (follow !== undefined) {
      await this.after(this.world.dice.pick([this.world.dice.below(100), this.world.dice.between(100, 60_000)]))
      this.#did(script, follow, await this.#insist(script, follow))
    }
    script.acts--
  }

  /** One more signal, until somebody has acknowledged it. */
  async #signal(script: Script): Promise<void> {
    const { lives } = script
    const note = ++script.notes
    script.acts++
    await this.after(this.world.dice.pick([0, this.world.dice.below(2000), this.world.dice.between(2000, 60_000)]))
    const answer = await this.#insist(script, { ask: 'signal', note })
    this.#schedule.note(`person: signal ${note} to ${script.runId}: ${JSON.stringify(answer)}`)
    // What was stored before the run was lost is lost with it.
    if (!isStepwellError(answer) && script.lives === lives) script.acknowledged.push({ note, seq: (answer as SignalOutcome).seq })
    script.acts--
  }

  /** Answers a mail with the token that is in it; now and then somebody tries to before, who has another one. */
  async reply(script: Script, { id: mail, mail: mailed }: OutsideRequest): Promise<void> {
    const { dice } = this.world
    const { checks } = this.#schedule
    const { lives } = script
    const { item, id, token } = mailed as Mail
    await this.after(dice.pick([0, dice.below(2000), dice.between(2000, 60_000), dice.between(60_000, 600_000)]))
    if (dice.chance(0.2)) {
      const wrong = dice.pick(['', token.slice(1), (token.startsWith('0') ? '1' : '0') + token.slice(1)])
      const answer = await this.#insist(script, { ask: 'settle', id, token: wrong, settlement: { value: { item, mail } } })
      if (!isStepwellError(answer) || (answer.code !== 'invalid_token' && answer.code !== 'run_not_found')) checks.fail(`G20: a wrong token for ${id} of ${script.runId} was answered with ${JSON.stringify(answer)}`)
    }
    const said: Answer = { item, mail }
    const settlement = dice.chance(0.2) ? { error: JSON.stringify(said) } : { value: said }
    const answer = await this.#insist(script, { ask: 'settle', id, token, settlement })
    this.#schedule.note(`person: mail ${mail} of ${script.runId}, ${JSON.stringify(settlement)} for ${id}: ${JSON.stringify(answer)}`)
    if (isStepwellError(answer)) {
      // A run that was lost and begun anew has issued others.
      const isAmong = ['already_resolved', 'already_ended', ...(script.lives === 1 ? [] : ['invalid_token', 'run_not_found'])].includes(answer.code)
      if (!isAmong) checks.fail(`G20: ${id} of ${script.runId} can't be settled with its token: ${answer.code}: ${answer.message}`)
    } else if (script.lives === lives) {
      script.settled.push({ id, seq: (answer as SignalOutcome).seq, answer: said })
    }
    script.acts--
  }

  #did(script: Script, ask: Ask, answer: unknown): void {
    const { outcome } = answer as { readonly outcome?: string }
    this.#schedule.note(`person: ${JSON.stringify(ask)} of ${script.runId}: ${JSON.stringify(answer)}`)
    if (ask.ask === 'cancel' && (outcome === 'requested' || outcome === 'already_requested') && !this.#isTimedOut(script)) script.cancelled = true
  }

  /** What its deadline ends is not to be cancelled any more: from that entry on, and never before. */
  #isTimedOut({ runId }: Script): boolean {
    const entries = this.#schedule.checks.entries(runId)
    const began = entries.findLastIndex(({ kind }) => kind === 'generation_started')
    return entries.slice(began + 1).some(({ kind }) => kind === 'deadline_passed')
  }

  /** Asks until there is an answer. */
  async #insist(script: Script, ask: Ask): Promise<unknown> {
    for (;;) {
      try {
        return await this.#schedule.ask(script, ask)
      } catch (error) {
        if (isStepwellError(error) && !error.retryable) return error
        await this.after(this.world.dice.between(500, 5000))
      }
    }
  }

  /** Until there is news, or time has passed. */
  async #bell(script: Script, ms: number): Promise<void> {
    const rang = new Promise<void>((resolve) => { script.ring = resolve })
    let timer: HostTimer | undefined
    await Promise.race([rang, new Promise<void>((resolve) => { timer = this.timer(ms, resolve) })])
    timer?.cancel()
    await this.after(this.world.dice.below(2000))
  }

  async #decide(script: Script, { code, details }: NonNullable<Look['blocked']>): Promise<void> {
    const { dice } = this.world
    const apart = dice.fork(3)
    if (code === 'ambiguous_effect') {
      const { effects } = details as { readonly effects: readonly { readonly seq: number; readonly idempotencyKey: string }[] }
      for (const { seq, idempotencyKey } of effects) {
        // A person looks first whether it happened.
        const receipt = this.#schedule.outside.find(idempotencyKey)
        const request: ControlRequest = receipt !== undefined
          ? { kind: 'resolve', seq, decision: 'happened', value: receipt }
          : { kind: 'resolve', seq, decision: dice.pick(['rerun', 'fail'] as const) }
        // Now and then somebody else decides it at the same moment. From dice of their own, as in program.ts.
        if (apart.chance(0.3)) this.#besides(script, receipt !== undefined && apart.chance(0.5) ? request : { kind: 'resolve', seq, decision: receipt === undefined ? apart.pick(['rerun', 'fail'] as const) : 'fail' })
        await this.#insist(script, { ask: 'control', request })
      }
    } else if (code === 'undo_unreachable') {
      for (const { seq } of (details as { readonly effects: readonly { readonly seq: number }[] }).effects) {
        await this.#insist(script, { ask: 'control', request: { kind: 'resolve', seq, decision: 'skip' } })
      }
    } else if (code === 'undo_failed') {
      const { seq } = details as { readonly seq: number }
      if (apart.chance(0.3)) this.#besides(script, { kind: 'resolve', seq, decision: apart.pick(['rerun', 'skip', 'happened'] as const) })
      await this.#insist(script, { ask: 'control', request: { kind: 'resolve', seq, decision: dice.pick(['rerun', 'skip'] as const) } })
    }
  }

  #besides(script: Script, request: ControlRequest): void {
    script.acts++
    void this.#insist(script, { ask: 'control', request }).then((answer) => {
      this.#schedule.note(`somebody else: ${JSON.stringify(request)} of ${script.runId}: ${JSON.stringify(answer)}`)
      script.acts--
    })
  }
}
