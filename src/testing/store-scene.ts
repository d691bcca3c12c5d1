// What the cases of the store contract are made of: values, usual commits, and a snapshot of everything that a run has.

import type {
  Batch, CommitAnswer, MaybePromise, RowUpdate, RunStore, Shelf, StaleReason, StoredEntry, Table,
} from '../store/store.ts'
import { equal, throws } from './assert.ts'

/** What the suite needs of a store: a place that is empty at first. */
export interface StoreHarness {
  readonly name: string
  /** A handle of a run; called twice for the same id, two handles. Throws `invalid_id`, as `Shelf.open` does. */
  open(runId: string): MaybePromise<RunStore>
  /** A handle after a restart: whatever was only in memory is gone, what was committed is there. Handles of this run from
   *  before are not used afterwards. */
  reopen(runId: string): MaybePromise<RunStore>
  /** For a store of many runs. */
  readonly shelf?: Shelf
  /** What the host's own timer of a run is set to, for a store that has one (a Durable Object's alarm). */
  alarm?(runId: string): MaybePromise<number | null>
  /** Removes everything. */
  cleanup(): MaybePromise<void>
}

/** Where one case plays. */
export interface Scene {
  readonly harness: StoreHarness
  /** The run that the case is about. */
  readonly runId: string
  /** Other runs that are in the store and have a row. */
  readonly others: readonly string[]
  /** A new handle of the case's run. */
  open(): MaybePromise<RunStore>
}

export interface SceneCase {
  readonly id: string
  readonly title: string
  run(scene: Scene): Promise<void>
}

export const tables: readonly Table[] = ['inbox', 'outbox', 'chunk', 'manifest', 'memo', 'state', 'effect', 'signal', 'receipt', 'token']

/** Bytes that tell what they are: UTF-8 text. */
export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

export function bytes(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + seed) % 251)
}

export function entry(seq: number, of = `entry ${seq}`): StoredEntry {
  return { seq, bytes: text(of) }
}

/** `count` entries behind seq `after`. */
export function entriesAfter(after: number, count: number): StoredEntry[] {
  return Array.from({ length: count }, (_, i) => entry(after + i + 1))
}

export function row(change: Partial<RowUpdate> = {}): RowUpdate {
  return { epoch: 1, wakeAt: null, record: text('record'), ...change }
}

/** Commits a start with `count` entries. */
export async function start(store: RunStore, count = 0, change: Partial<RowUpdate> = {}): Promise<void> {
  await commits(store, { expect: { kind: 'absent' }, row: row(change), entries: entriesAfter(0, count) })
}

/** A batch of the driver. */
export function head(seq: number, rest: Omit<Batch, 'expect'> = {}, epoch = 1): Batch {
  return { expect: { kind: 'head', epoch, seq }, ...rest }
}

/** Expects the answer `committed` and gives the numbers posted. */
export async function commits(store: RunStore, batch: Batch): Promise<readonly number[]> {
  const answer = await store.commit(batch)
  if (answer.kind !== 'committed') equal(answer, { kind: 'committed' }, 'the answer of a commit')
  return (answer as Extract<CommitAnswer, { kind: 'committed' }>).posted ?? []
}

/** A run with something in every place. */
export async function fill(store: RunStore): Promise<void> {
  await commits(store, {
    expect: { kind: 'absent' }, row: row({ epoch: 7, record: text(`record of ${store.runId}`) }), entries: entriesAfter(0, 3),
    post: [text('first message'), text('second message')],
    rows: [
      { table: 'outbox', key: 'k', value: text('o') }, { table: 'chunk', key: 'k', value: text('c') },
      { table: 'manifest', key: 'k', value: text('m') }, { table: 'memo', key: 'k', value: text('me') },
      { table: 'state', key: 'k', value: text('s') }, { table: 'effect', key: 'k', value: text('e') },
      { table: 'signal', key: 'k', value: text('si') }, { table: 'receipt', key: 'k', value: text('r') }, { table: 'token', key: 'k', value: text('t') },
    ],
  })
}

/** Everything that the port shows of a run, and what its timer is set to where there is one. */
export async function snapshot(store: RunStore, harness: StoreHarness): Promise<unknown> {
  const side: Record<string, unknown> = {}
  for (const table of tables) side[table] = await store.rows(table, { limit: 10_000 })
  return {
    row: await store.read(), entries: await store.entries(0, 10_000), last: await store.last(), side,
    alarm: await harness.alarm?.(store.runId),
  }
}

/** A batch that has every part and writes every table. */
export const everything = (seq: number): Omit<Batch, 'expect'> => ({
  entries: entriesAfter(seq, 2), row: row({ epoch: 2, wakeAt: 9_000_000_000_000, record: text('next') }),
  post: [text('m')], take: [1], require: [{ table: 'manifest', key: 'k' }],
  rows: [
    { table: 'outbox', key: 'new', value: text('o') }, { table: 'chunk', key: 'k', value: null }, { table: 'state', key: 'new', value: text('s') },
  ],
})

/** A batch of a step that runs under `epoch`. */
export function ofStep(rest: Omit<Batch, 'expect'> = {}, epoch = 1): Batch {
  return { expect: { kind: 'epoch', epoch }, ...rest }
}

/** Commits `batch`, expects that it is stale for `reason`, and that nothing at all changed. */
export async function refused(scene: Scene, store: RunStore, batch: Batch, reason: StaleReason): Promise<void> {
  const before = await snapshot(store, scene.harness)
  equal(await store.commit(batch), { kind: 'stale', reason }, `the answer to ${reason}`)
  equal(await snapshot(store, scene.harness), before, `what is stored after a commit that was ${reason}`)
}

/** Expects that a batch throws `invalid_argument` and changes nothing. */
export async function illegal(scene: Scene, store: RunStore, batch: Batch, what: string): Promise<void> {
  const before = await snapshot(store, scene.harness)
  await throws('invalid_argument', () => store.commit(batch), what)
  equal(await snapshot(store, scene.harness), before, `what is stored after ${what}`)
}
