// The sweep: removes an ended run whose retention is over, in bounded commits, and leaves a tombstone. Its first commit is the one
// moment in which the run ceases to be: it is fenced like every commit of a driver, so a restart comes before it or is refused.

import { StepwellError } from '../errors.ts'
import type { Host } from '../host.ts'
import { decodeRecord, isEnded, type RunRecord } from '../journal/record.ts'
import { encodeTombstone, type Tombstone, tombstoneOf } from '../journal/tombstone.ts'
import { Superseded } from '../journal/writer.ts'
import type { Limits } from '../limits.ts'
import { maxPageRows } from '../store/batch.ts'
import { bounded } from '../store/bounded.ts'
import type { Batch, RowWrite, RunStore, Table } from '../store/store.ts'
import { notices } from './notice.ts'

export interface Sweeping {
  readonly store: RunStore
  readonly host: Host
  readonly limits: Limits
  /** This host is closed: what is left is swept where the run is opened next. */
  readonly isStopped: () => boolean
}

/** Whether the run is over and its time as well. What it still owes to somebody is another question: `isOwing`. */
export function isExpired({ status, expiresAt }: RunRecord, now: number): boolean {
  return isEnded(status) && expiresAt !== undefined && expiresAt <= now
}

/** Somebody is still to be told of its end, or has asked for something that nobody has looked at: it is not swept before. */
export async function isOwing(store: RunStore): Promise<boolean> {
  if ((await store.keys('inbox', { limit: 1 })).length > 0) return true
  return (await notices(store)).some(({ notice }) => !notice.isDead)
}

/**
 * Removes the run, or what an earlier sweep has left of it. `kept`: it goes on, or owes something, and nothing was changed. The first
 * commit puts the tombstone in the place of the record, so that from then on nobody drives the run or is shown a part of it; it raises the
 * epoch, so that nothing that the run's last driver left behind is written into the grave. A crash at any instant: before that commit
 * nothing has happened; after it the row's `wakeAt` has the sweep go on. Throws `Superseded` when another host was faster.
 */
export async function sweep({ store, host, limits, isStopped }: Sweeping): Promise<'swept' | 'kept' | 'stopped'> {
  const wakeAt = host.now() + limits.recoveryMs
  let epoch: number | undefined
  for (let lost = 0; ;) {
    if (isStopped()) return 'stopped'
    const row = await store.read()
    if (row === undefined) return 'swept'
    if (epoch !== undefined && row.epoch !== epoch && row.epoch !== epoch - 1) throw new Superseded('epoch')
    const found = tombstoneOf(row)
    if (found === undefined && !await mayGo(store, decodeRecord(row), host.now())) return 'kept'
    if (found !== undefined && !found.isUnderWay && row.wakeAt === null) return 'swept'
    epoch ??= row.epoch + 1
    const seq = (await store.last())?.seq ?? 0
    const { isAll, ...part } = await oldest(store, seq, Math.min(limits.sweepRows, maxPageRows))
    const tombstone: Tombstone = { ...(found ?? buried(decodeRecord(row), host.now())), isUnderWay: !isAll }
    const answer = await bounded(store.commit({
      ...part, expect: { kind: 'head', epoch: row.epoch, seq, inbox: row.inbox }, durability: 'strict',
      row: { epoch, wakeAt: isAll ? null : wakeAt, record: encodeTombstone(tombstone) },
    }), { ms: limits.commitMs, timer: (ms, run) => host.timer(ms, run) })
    if (answer.kind === 'committed') {
      if (isAll) return 'swept'
      lost = 0
      // Others want to be answered between two commits.
      await host.quiesce()
    } else if (answer.kind === 'unknown') {
      // Whether it happened, what is stored tells: what is gone is not removed again.
      if (++lost >= 3) throw new StepwellError('commit_unknown', `run ${store.runId}: the store does not say whether a commit happened`, { cause: answer.error })
    } else if (answer.reason !== 'inbox') throw new Superseded(answer.reason)
  }
}

async function mayGo(store: RunStore, record: RunRecord, now: number): Promise<boolean> {
  return isExpired(record, now) && !await isOwing(store)
}

function buried({ incarnation, workflow, inputHash, generation, createdAt, status, endedAt }: RunRecord, now: number): Tombstone {
  return { format: 2, incarnation, workflow, inputHash, generation, createdAt, status, endedAt: endedAt ?? now, sweptAt: now, isUnderWay: true }
}

const tables: readonly Exclude<Table, 'inbox'>[] = ['outbox', 'chunk', 'manifest', 'memo', 'state', 'effect', 'event', 'signal', 'receipt', 'token']

/** Of what the run has, as much as may go at once, and whether that is all. Only keys are read: a blob is not loaded to be removed. */
async function oldest(store: RunStore, last: number, limit: number): Promise<Pick<Batch, 'take' | 'rows' | 'cut'> & { readonly isAll: boolean }> {
  let left = limit
  const take = (await store.keys('inbox', { limit })).map(Number)
  left -= take.length
  const rows: RowWrite[] = []
  for (const table of tables) {
    if (left === 0) break
    for (const key of await store.keys(table, { limit: left })) {
      rows.push({ table, key, value: null })
      left--
    }
  }
  if (left === 0 || last === 0) return { take, rows, isAll: left > 0 }
  const [first] = await store.entries(0, 1)
  const cut = Math.min(last, (first?.seq ?? last) - 1 + left)
  return { take, rows, cut, isAll: cut === last }
}
