// What is left to do for a run that has ended: to tell its end to whoever listens (G24), and to remove it when its retention is over (G23).

import { type Redact, StepwellError } from '../errors.ts'
import type { Host } from '../host.ts'
import { isEnded, type RunRecord } from '../journal/record.ts'
import type { Limits } from '../limits.ts'
import type { RunStore } from '../store/store.ts'
import type { Attempts } from './attempt.ts'
import type { DriveEnd } from './drive.ts'
import { notices, type OnEnd, outboxAt, tell } from './notice.ts'
import type { RunState } from './state.ts'
import { isExpired, sweep } from './sweep.ts'

export interface EndedInit {
  readonly store: RunStore
  readonly host: Host
  readonly limits: Limits
  readonly takesEpoch: boolean
  readonly redact: Redact
  readonly attempts: Attempts
  readonly onEnd: OnEnd | undefined
  /** The run has ended, and was not told yet. */
  readonly ended: () => void
  /** This host is closed. */
  readonly isStopped: () => boolean
  readonly stopped: Promise<void>
}

export class Ended {
  readonly #init: EndedInit

  constructor(init: EndedInit) {
    this.#init = init
  }

  /** The run has ended: its end is told, and whatever else waits in its inbox is looked at. */
  async tell(state: RunState): Promise<DriveEnd | 'again'> {
    const { record, wakeAt } = state
    if (state.owed !== undefined) this.#init.ended()
    // Nothing to tell and nothing to set back, as for nearly every run.
    else if (wakeAt === (record.expiresAt ?? null) && state.inboxSeen === 0 && !this.#isExpired(record)) return endedUntil(record, wakeAt)
    const end = await this.tellNotices(state)
    if (end === 'again') return end
    if (end === 'stopped') return { kind: 'stopped' }
    // It was told, as far as it could be: its time may be over.
    return state.outboxAt === undefined && this.#isExpired(state.record) ? this.sweep() : endedUntil(state.record, state.wakeAt)
  }

  /** Tells the ends that are due, also those of generations before. */
  tellNotices(state: RunState): Promise<'told' | 'again' | 'stopped'> {
    const { onEnd, redact, stopped, isStopped, takesEpoch } = this.#init
    const { owed, writer, record } = state
    return tell(state, {
      onEnd, redact, stopped, isStopped,
      // Whoever has just ended the run holds it; and what runs of one that goes on writes under the epoch that it has.
      epoch: takesEpoch && owed === undefined && isEnded(record.status) ? writer.epoch + 1 : writer.epoch,
    })
  }

  /** Whether the end of a generation before must be told now. */
  async isNoticeDue({ generation }: RunRecord, now: number): Promise<boolean> {
    if (generation === 1 || this.#init.onEnd === undefined) return false
    return (await notices(this.#init.store)).some(({ notice }) => !notice.isDead && notice.next <= now)
  }

  /** When a notice of a generation before is due. */
  async outboxAt({ generation }: RunRecord): Promise<number | undefined> {
    if (generation === 1) return undefined
    const alive = (await notices(this.#init.store)).map(({ notice }) => notice).filter(({ isDead }) => !isDead)
    return outboxAt(alive, this.#init.onEnd, this.#init.host.now())
  }

  async sweep(): Promise<DriveEnd | 'again'> {
    const { store, host, limits, attempts, isStopped } = this.#init
    attempts.abandon(new StepwellError('cancelled', 'the run was removed'))
    const end = await sweep({ store, host, limits, isStopped })
    if (end === 'kept') return 'again'
    return { kind: end === 'stopped' ? 'stopped' : 'absent' }
  }

  #isExpired(record: RunRecord): boolean {
    return isExpired(record, this.#init.host.now())
  }
}

export function endedUntil({ status, expiresAt }: RunRecord, wakeAt: number | null): DriveEnd {
  return {
    kind: 'ended', status, ...(wakeAt === null || wakeAt === expiresAt ? undefined : { wakeAt }), ...(expiresAt === undefined ? undefined : { expiresAt }),
  }
}
