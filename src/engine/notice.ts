// The terminal notice (G24): a row of the outbox, written in the commit that ends a run, and told at least once to whoever the host
// has named with `onEnd`. Only what is committed is ever told; a crash between the two tells it later.

import { decode, encode } from '../codec.ts'
import { isStepwellError, redactText, type Redact } from '../errors.ts'
import { entryAt } from '../journal/cursor.ts'
import { isEnded, type RunRecord } from '../journal/record.ts'
import type { RowWrite, RunStore } from '../store/store.ts'
import { describe, fromPayload } from './outcome.ts'
import type { RowChange, RunState } from './state.ts'

/** How a run has ended. */
export interface RunEnd {
  readonly id: string
  readonly workflow: string
  readonly version: number
  /** A restart begins the next one, which ends by itself and is told by itself: `id` and `generation` name an end. */
  readonly generation: number
  readonly status: 'completed' | 'failed' | 'cancelled'
  /** When it completed. */
  readonly output?: unknown
  /** When it did not. */
  readonly error?: unknown
  readonly endedAt: number
  readonly tags: readonly string[]
  readonly metadata: Readonly<Record<string, string>>
  /** Who cancelled it. */
  readonly principal?: string
  /** 1, or more when it was told before and nobody knows whether that was heard. */
  readonly attempt: number
}

/** Told of every end at least once. One that throws, or takes longer than `limits.noticeMs`, is told again. */
export type OnEnd = (end: RunEnd) => void | Promise<void>

/** A row of the outbox. */
export interface Notice {
  readonly kind: 'end'
  readonly generation: number
  /** Of the terminal entry, which has the output or the error. */
  readonly seq: number
  readonly status: RunEnd['status']
  readonly endedAt: number
  readonly principal?: string
  /** Deliveries that were begun. */
  readonly tries: number
  /** When the next one may begin, if the last one was not heard. */
  readonly next: number
  /** Tried as often as is allowed: kept, and not tried again. */
  readonly isDead: boolean
}

const PREFIX = 'end:'
const BACKOFF_MS = 5_000
const MAX_BACKOFF_MS = 3_600_000
/** Where nobody listens, a deploy may bring somebody who does. */
const UNHEARD_MS = 24 * 3_600_000

/** Exponential and capped, and in the row before the delivery begins: a host that dies of it does not die of it without end. */
function backoff(tries: number): number {
  return Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** Math.min(30, tries - 1))
}

const keyOf = (generation: number): string => PREFIX + String(generation).padStart(16, '0')

/**
 * What goes into the commit that ends a run, with its terminal entry: status, retention mark and, where somebody listens, the notice
 * with the time at which the host is woken for it.
 */
export function ending(
  state: RunState, end: { readonly status: RunEnd['status']; readonly seq: number; readonly principal?: string | undefined },
): { readonly change: RowChange; readonly rows: readonly RowWrite[]; committed(): void } {
  const { host, record } = state
  const now = host.now()
  const change: Pick<RunRecord, 'status' | 'endedAt' | 'waitingFor' | 'blocked' | 'paused' | 'lastSeq' | 'expiresAt'> = {
    status: end.status, endedAt: now, waitingFor: [], blocked: undefined, paused: undefined, lastSeq: end.seq,
    expiresAt: expiry(state, end.status, now),
  }
  if (!state.isNoticed) return { change: { record: change, wakeAt: change.expiresAt ?? null, mark: true }, rows: [], committed: () => {} }
  const notice: Notice = {
    kind: 'end', generation: record.generation, seq: end.seq, status: end.status, endedAt: now, tries: 1, next: now + backoff(1), isDead: false,
    ...(end.principal === undefined ? undefined : { principal: end.principal }),
  }
  const key = keyOf(record.generation)
  return {
    change: { record: change, wakeAt: notice.next, mark: true },
    rows: [{ table: 'outbox', key, value: encode(notice) }],
    committed: () => { state.owed = key },
  }
}

/** When an ended run is removed; undefined: it is kept. */
export function expiry({ definition, record }: RunState, status: RunRecord['status'], endedAt: number): number | undefined {
  // Of a workflow that this host does not know: what it said when the run was started.
  const retention = (definition as RunState['definition'] | undefined)?.retention ?? record.retention
  const ms = status === 'completed' ? retention?.completedMs : retention?.failedMs
  return ms === undefined ? undefined : endedAt + ms
}

export interface Telling {
  readonly onEnd: OnEnd | undefined
  readonly redact: Redact
  /** The authority under which the first commit is made. */
  readonly epoch: number
  /** Resolves when this host is closed. */
  readonly stopped: Promise<void>
  readonly isStopped: () => boolean
}

/**
 * Tells what is due and sets the wake time to what is left: `again` when somebody has asked for something meanwhile. Of a run that has
 * ended it takes messages that nothing can come of. The notice of the end that this drive has committed (`state.owed`) is told at once.
 */
export async function tell(state: RunState, how: Telling): Promise<'told' | 'again' | 'stopped'> {
  const { store, host, limits } = state
  const isOver = isEnded(state.record.status)
  let { epoch } = how
  let hasNews = false
  let moot: readonly number[] = []
  const sort = async (): Promise<void> => {
    const messages = await state.messages()
    const news = messages.filter(({ message }) => !isOver || (message.kind === 'restart' && state.record.status !== 'cancelled'))
    hasNews = news.length > 0
    moot = messages.filter((each) => !news.includes(each)).map(({ number }) => number)
  }
  const alive = new Map<string, Notice>()
  const commit = async (rows: readonly RowWrite[]): Promise<void> => {
    for (;;) {
      state.outboxAt = outboxAt([...alive.values()], how.onEnd, host.now())
      const own = isOver && !hasNews ? restUntil(state) : host.now() + (hasNews ? 0 : limits.recoveryMs)
      const answer = await state.commit([], { rows, take: moot, inbox: state.inboxSeen, durability: 'strict', change: { record: {}, wakeAt: own, epoch, mark: false } })
      epoch = state.writer.epoch
      if (answer.kind === 'committed') {
        moot = []
        return
      }
      await sort()
    }
  }
  await sort()
  for (const { key, notice } of await notices(store)) if (!notice.isDead) alive.set(key, notice)
  for (const [key, notice] of how.onEnd === undefined ? [] : [...alive]) {
    const write = (value: Notice | null): readonly RowWrite[] => [{ table: 'outbox', key, value: value === null ? null : encode(value) }]
    let begun = notice
    if (key !== state.owed) {
      const now = host.now()
      if (notice.next > now) continue
      begun = { ...notice, tries: notice.tries + 1, next: now + backoff(notice.tries + 1) }
      if (notice.tries < limits.noticeTries) {
        alive.set(key, begun)
        await commit(write(begun))
      }
    }
    state.owed = undefined
    const failure = begun.tries > limits.noticeTries
      ? 'its host has died of it' : await deliver(state, begun, how.onEnd as OnEnd, how)
    if (how.isStopped()) return 'stopped'
    if (failure === undefined) {
      alive.delete(key)
      await commit(write(null))
      continue
    }
    const isDead = begun.tries >= limits.noticeTries
    const said = redactText(failure, how.redact)
    host.log({
      level: isDead ? 'error' : 'warn', runId: store.runId,
      message: isDead ? `its end could not be told and is not tried again (${limits.noticeTries} times): ${said}` : `its end could not be told (${begun.tries} of ${limits.noticeTries}): ${said}`,
    })
    if (!isDead) continue
    alive.delete(key)
    await commit(write({ ...begun, isDead: true }))
  }
  state.outboxAt = outboxAt([...alive.values()], how.onEnd, host.now())
  if (isOver && (moot.length > 0 || (!hasNews && state.wakeAt !== (state.outboxAt ?? restUntil(state))))) await commit([])
  return hasNews ? 'again' : 'told'
}

/** When an ended run is woken for what comes after its end was told: to be removed. Never before that (G24). */
export function restUntil({ outboxAt, record }: RunState): number | null {
  return outboxAt === undefined ? record.expiresAt ?? null : null
}

/** What is in the outbox, dead ones too. */
export async function notices(store: RunStore): Promise<readonly { readonly key: string; readonly notice: Notice }[]> {
  const found: { key: string; notice: Notice }[] = []
  for (let after = PREFIX; ;) {
    const page = await store.rows('outbox', { after, limit: 100 })
    for (const { key, value } of page) if (key.startsWith(PREFIX)) found.push({ key, notice: decode(value) as Notice })
    const last = page.at(-1)
    if (last === undefined || page.length < 100) return found
    after = last.key
  }
}

/** Why it was not heard, or undefined. Never rejects for what the listener does. */
async function deliver(state: RunState, notice: Notice, onEnd: OnEnd, { stopped }: Telling): Promise<string | undefined> {
  const { store, host, limits, record } = state
  const { generation, status, endedAt, principal, tries } = notice
  let value: unknown
  try {
    value = await fromPayload(store, await entryAt(store, notice.seq))
  } catch (error) {
    // A damaged outcome can't be told, and nobody waits for it without end.
    if (isStepwellError(error) && error.kind === 'integrity') return error.message
    throw error
  }
  const end: RunEnd = {
    id: store.runId, workflow: record.workflow, version: record.version, generation, status, endedAt, tags: record.tags, metadata: record.metadata,
    attempt: tries, ...(status === 'completed' ? { output: value } : { error: value }), ...(principal === undefined ? undefined : { principal }),
  }
  return new Promise((resolve) => {
    const timer = host.timer(limits.noticeMs, () => resolve(`it took longer than ${limits.noticeMs} ms`))
    const done = (failure: string | undefined): void => {
      timer.cancel()
      resolve(failure)
    }
    void stopped.then(() => done('this host was closed'))
    void (async () => onEnd(end))().then(() => done(undefined), (error: unknown) => done(describe(error)))
  })
}

/** When the host is woken for what is in the outbox; undefined when nothing is left to tell. */
export function outboxAt(alive: readonly Notice[], onEnd: OnEnd | undefined, now: number): number | undefined {
  if (alive.length === 0) return undefined
  return onEnd === undefined ? now + UNHEARD_MS : Math.min(...alive.map(({ next }) => next))
}
