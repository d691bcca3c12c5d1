// Waiting for a message from outside: a signal of the run, or what settles a deferred. Whatever was sent lies in the table `signal`, in the
// order of its numbers, until a call takes it: the entry that gives it to the function and the end of its row are one commit (G17).

import { decode, encode } from '../codec.ts'
import { type Duration, toMs } from '../duration.ts'
import { StepwellError } from '../errors.ts'
import { given } from '../given.ts'
import type { Entry } from '../journal/entry.ts'
import type { Limits } from '../limits.ts'
import { inboxKey, type RowWrite, type SideRow } from '../store/store.ts'
import { type Pending, nothing } from './call.ts'
import { addOutcome, type Group, hasRoom } from './group.ts'
import { openValue, sealValue } from './kept.ts'
import { type CallKind, checkName, fingerprint, type Scope } from './key.ts'
import type { Pass } from './pass.ts'
import type { RunState } from './state.ts'

/** What was sent: in its row, and then the payload of the entry `signal_received`, which tells who sent what and when. */
export interface Sent {
  /** Of the message. */
  readonly number: number
  /** Whom it is for: `signal:NAME`, or `deferred:` and the key of the call. */
  readonly channel: string
  /** When it was sent, ms since 1970. */
  readonly at: number
  readonly principal?: string
  /** What the schema made of it. */
  readonly value: unknown
  /** It rejects whoever waits, with `value`. */
  readonly isError?: true
}

/** Of a call, what it waits for. */
export interface SignalPart {
  readonly channel: string
}

export const signalChannel = (name: string): string => `signal:${name}`

/** Throws `invalid_argument` for a signal that the workflow does not declare. */
export function signalCall(
  limits: Limits, scope: Scope, signals: Readonly<Record<string, unknown>>, workflow: string, name: unknown, options: { readonly timeout?: Duration } | undefined,
): Pending {
  checkName(limits, name, 'signal')
  if (!Object.hasOwn(signals, name as string)) throw new StepwellError('invalid_argument', `workflow ${workflow} declares no signal ${JSON.stringify(name)}`)
  const { timeout }: { readonly timeout?: Duration } = given(options, 'the options of a signal')
  const ms = timeout === undefined ? undefined : toMs(timeout, `timeout of signal ${String(name)}`)
  const channel = signalChannel(name as string)
  return waitingCall(scope, 'signal', scope.next(channel, undefined).key, channel, ms)
}

/** The timeout is no part of what the call is: a stored due time wins over what the code of today says (G19). */
export function waitingCall(scope: Scope, kind: CallKind, key: string, channel: string, timeoutMs: number | undefined): Pending {
  return {
    kind, key, fingerprint: fingerprint(kind, key, undefined), isCleanup: scope.isCleanup,
    promise: undefined, resolve: nothing, reject: nothing, due: undefined, isDueStored: false, step: undefined,
    until: timeoutMs === undefined ? undefined : (now) => now + timeoutMs,
    signal: { channel },
  }
}

/** The row of a message that was sent and not taken. */
export function signalRow(sent: Sent): RowWrite {
  return { table: 'signal', key: inboxKey(sent.number), value: sealValue(sealOf(sent.number), encode(sent)) }
}

/** Throws `corrupt_payload` for a row that was changed. */
export function sentOf({ key, value }: SideRow): Sent {
  return openValue(sealOf(Number(key)), value) as Sent
}

const sealOf = (number: number): string => `signal ${number}`

/** The calls of one pass that wait for a message, and what is there for them. */
export class Signals {
  readonly #state: RunState
  /** In call order. */
  #waiting: Pending[] = []
  /** Rows that nobody has taken, in the order of their numbers. */
  #buffered: { readonly number: number; readonly channel: string }[] = []
  #lastRead = 0
  /** Everything up to this number of a message was looked at. */
  #readTo = 0

  constructor(state: RunState) {
    this.#state = state
  }

  get isWaitedFor(): boolean {
    return this.#waiting.length > 0
  }

  wait(call: Pending): void {
    this.#waiting.push(call)
  }

  /**
   * Puts into `group` what can be given to a call now: the oldest message of a channel to the first call that waits for it. Before timers that
   * are due, so that a message that was committed by then is preferred to the timeout. Answers the calls that got one.
   */
  async take(pass: Pass, group: Group): Promise<ReadonlySet<Pending>> {
    const taken = new Set<Pending>()
    this.#waiting = this.#waiting.filter((call) => pass.outstanding.get(call.key) === call)
    if (this.#waiting.length === 0) return taken
    await this.#read()
    const numbers = new Set<number>()
    for (const call of this.#waiting) {
      if (!hasRoom(group, this.#state.limits)) break
      const { channel } = call.signal as SignalPart
      const found = await this.#oldest(channel, numbers)
      if (found === undefined) continue
      const { key, value } = found
      const payload = encode(sentOf({ key, value }))
      numbers.add(found.number)
      taken.add(call)
      addOutcome(group, { kind: 'signal_received', key: call.key, fingerprint: call.fingerprint, calls: pass.calls, payload })
      group.rows.push({ table: 'signal', key, value: null })
      group.bytes += payload.length
      // Who has asked for it, or decided by it, is told that it counts: what follows from it may move money.
      group.isStrict = true
    }
    if (taken.size > 0) {
      // Somebody may be clearing what is about to be taken: one of the two is refused.
      group.inbox = this.#state.inboxSeen
      group.after.push(() => {
        this.#waiting = this.#waiting.filter((call) => !taken.has(call))
        this.#buffered = this.#buffered.filter(({ number }) => !numbers.has(number))
      })
    }
    return taken
  }

  /** The oldest message of a channel that is still there, besides `numbers`. */
  async #oldest(channel: string, numbers: ReadonlySet<number>): Promise<(SideRow & { readonly number: number }) | undefined> {
    for (;;) {
      const found = this.#buffered.find((each) => each.channel === channel && !numbers.has(each.number))
      if (found === undefined) return undefined
      const { number } = found
      const key = inboxKey(number)
      const value = await this.#state.store.row('signal', key)
      if (value !== undefined) return { number, key, value }
      // It was cleared.
      this.#buffered = this.#buffered.filter((each) => each !== found)
    }
  }

  async #read(): Promise<void> {
    const { store, inboxSeen } = this.#state
    if (this.#readTo >= inboxSeen) return
    for (;;) {
      const page = await store.rows('signal', { after: inboxKey(this.#lastRead), limit: PAGE })
      for (const row of page) {
        const { number, channel } = sentOf(row)
        this.#buffered.push({ number, channel })
        this.#lastRead = number
      }
      if (page.length < PAGE) break
    }
    this.#readTo = inboxSeen
  }
}

const PAGE = 64

/** What `signal_received` hands to the function. */
export function received(payload: unknown): Sent {
  return payload as Sent
}

/** What a generation that is over has taken, and the next one does not inherit: it is sent again, as it was (G17). */
export function resent(entry: Entry): RowWrite {
  return signalRow(decode(entry.payload) as Sent)
}
