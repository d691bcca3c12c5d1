// The next generation of a run: after a divergence, if its workflow wants that (G9), or because somebody has asked for it. Its history
// begins with `generation_started`; nothing of an older one is changed.

import { encode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import type { GenerationPayload } from '../journal/record.ts'
import type { Attempts } from './attempt.ts'
import type { RunState } from './state.ts'

/** Whether a divergence begins one: a bounded number of times. */
export function mayRestart({ record, definition, limits }: RunState): boolean {
  return definition.onDivergence === 'restart' && record.divergences < limits.restarts
}

export async function restartDiverged(state: RunState, attempts: Attempts, error: StepwellError): Promise<void> {
  const { record } = state
  const generation = record.generation + 1
  state.host.log({ level: 'warn', runId: state.store.runId, message: `generation ${generation} begins: ${error.message}` })
  leaveBehind(attempts, error)
  state.writer.generation = generation
  await state.commit([{
    kind: 'generation_started', calls: 0,
    payload: encode({ generation, because: 'divergence', report: error.details }),
  }], {
    change: { record: { generation, generationSeq: state.writer.head.seq + 1, inherited: [], patches: [], divergences: record.divergences + 1 }, wakeAt: state.wakeAt, mark: false },
  })
}

/** Acts on a message `restart`: of a run that goes on, is blocked or has ended. False: it was about a generation that is over. */
export async function restartAsked(state: RunState, attempts: Attempts, epoch: number): Promise<boolean> {
  const { record, host, limits } = state
  const asked = (await state.messages()).filter(({ message }) => message.kind === 'restart')
  const take = asked.map(({ number }) => number)
  const message = asked.find((each) => each.message.kind === 'restart' && each.message.generation === record.generation)?.message
  if (message?.kind !== 'restart') {
    await state.commit([], { take, change: { record: {}, wakeAt: state.wakeAt, epoch, mark: false } })
    return false
  }
  leaveBehind(attempts, new StepwellError('cancelled', 'the run begins again'))
  const generation = record.generation + 1
  state.writer.generation = generation
  const payload: GenerationPayload = {
    generation, because: message.because, inherited: message.inherited,
    ...(message.from === undefined ? undefined : { from: message.from }), ...(message.principal === undefined ? undefined : { principal: message.principal }),
  }
  await state.commit([{ kind: 'generation_started', calls: 0, payload: encode(payload) }], {
    take, durability: 'strict',
    change: {
      record: {
        generation, generationSeq: state.writer.head.seq + 1, inherited: message.inherited, patches: message.inherited.length === 0 ? [] : record.patches,
        status: 'running', blocked: undefined, paused: undefined, endedAt: undefined, expiresAt: undefined, lastSeq: undefined, notBefore: undefined, waitingFor: [], wakes: 0,
        restartId: message.id ?? record.restartId,
      },
      wakeAt: host.now() + limits.recoveryMs, epoch, mark: false,
    },
  })
  return true
}

/** A key may mean another call in a new generation: of the old one's attempts only effects go on, found by their ledger's key. */
function leaveBehind(attempts: Attempts, error: unknown): void {
  attempts.abandon(error, ({ role }) => role !== 'effect')
  for (const attempt of [...attempts.live.values()]) attempts.adopt(attempt, `generation before: ${attempt.base}`)
}
