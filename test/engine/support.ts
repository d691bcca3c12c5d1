// What the guarantee tests share: a world in which a run can be started, watched entry by entry, crashed and opened again.

import { expect } from 'vitest'
import { z } from 'zod'
import type { AnyWorkflow } from '../../src/define.ts'
import type { DriveEnd } from '../../src/engine/drive.ts'
import type { OnEnd } from '../../src/engine/notice.ts'
import { isStepwellError, type StepwellError } from '../../src/errors.ts'
import { decodeEntry, type Entry, GENESIS } from '../../src/journal/entry.ts'
import { decodeRecord, encodeRecord, type RunRecord } from '../../src/journal/record.ts'
import type { Limits } from '../../src/limits.ts'
import { createMemoryShelf, type MemoryShelf } from '../../src/store/memory.ts'
import type { RunRow, RunStore } from '../../src/store/store.ts'
import { FaultStore, type FaultPlan } from '../../src/testing/fault-store.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { quiesce } from '../support/node.ts'

export { quiesce }
export const anything = z.any()
export const ID = 'r'

export interface WorldOptions {
  readonly services?: object
  readonly limits?: Partial<Limits>
  readonly faults?: FaultPlan
  readonly seed?: number
  readonly stepsUseHostTime?: boolean
  readonly takesEpoch?: boolean
  /** Wraps each handle, inside the faults. */
  readonly wrap?: (store: RunStore) => RunStore
  readonly hostName?: 'edge' | 'browser' | 'test'
  readonly onEnd?: OnEnd
}

/** A shelf that outlives its processes. `boot` begins a process: its own host, drivers and handles; what it had in memory is gone. */
export class World {
  readonly shelf: MemoryShelf = createMemoryShelf()
  #now: number | undefined
  #boots = 0

  boot(workflows: AnyWorkflow | readonly AnyWorkflow[], options: WorldOptions = {}): Process {
    const host = new TestHost({
      quiesce,
      seed: (options.seed ?? 1) + 1000 * this.#boots++,
      ...(this.#now === undefined ? undefined : { startAt: this.#now }),
      ...(options.hostName === undefined ? undefined : { name: options.hostName }),
    })
    const handles = new Map<string, FaultStore>()
    const runs = new TestRuns({
      host,
      workflows: Array.isArray(workflows) ? (workflows as readonly AnyWorkflow[]) : [workflows as AnyWorkflow],
      open: (id) => {
        const store = this.shelf.open(id)
        const handle = new FaultStore(options.wrap?.(store) ?? store, options.faults ?? {})
        handles.set(id, handle)
        return handle
      },
      ...(options.services === undefined ? undefined : { services: options.services }),
      ...(options.limits === undefined ? undefined : { limits: options.limits }),
      ...(options.stepsUseHostTime === undefined ? undefined : { stepsUseHostTime: options.stepsUseHostTime }),
      ...(options.onEnd === undefined ? undefined : { onEnd: options.onEnd }),
      ...(options.takesEpoch === undefined ? undefined : { takesEpoch: options.takesEpoch }),
    })
    return new Process(this, host, runs, handles)
  }

  /** Time goes on for the processes to come. */
  tell(now: number): void {
    this.#now = now
  }

  entries(id = ID): readonly Entry[] {
    let hash = GENESIS
    return this.shelf
      .open(id)
      .entries(0, 1000)
      .map(({ seq, bytes }) => {
        const entry = decodeEntry(seq, bytes, hash)
        hash = entry.hash
        return entry
      })
  }

  /** `kind key` of each entry. */
  kinds(id = ID): readonly string[] {
    return this.entries(id).map(({ kind, key }) => (key === undefined ? kind : `${kind} ${key}`))
  }

  row(id = ID): RunRow {
    return this.shelf.open(id).read() as RunRow
  }

  record(id = ID): RunRecord {
    return decodeRecord(this.row(id))
  }

  /** Writes another record into the row, as a bug or a hand would. */
  rewrite(change: Partial<RunRecord>, id = ID, wakeAt?: number | null): void {
    const row = this.row(id)
    const store = this.shelf.open(id)
    const answer = store.commit({
      expect: { kind: 'head', epoch: row.epoch, seq: store.last()?.seq ?? 0 },
      row: {
        epoch: row.epoch,
        wakeAt: wakeAt === undefined ? row.wakeAt : wakeAt,
        record: encodeRecord({ ...this.record(id), ...change }),
      },
    })
    expect(answer.kind).toBe('committed')
  }
}

export class Process {
  readonly world: World
  readonly host: TestHost
  readonly runs: TestRuns
  readonly #handles: ReadonlyMap<string, FaultStore>

  constructor(world: World, host: TestHost, runs: TestRuns, handles: ReadonlyMap<string, FaultStore>) {
    this.world = world
    this.host = host
    this.runs = runs
    this.#handles = handles
  }

  /** This process' own handle on a run. */
  async handle(id = ID): Promise<FaultStore> {
    await this.runs.store(id)
    return this.#handles.get(id) as FaultStore
  }

  /** Starts `ID` and drives it to its end, its block, or a wait that no time ends. */
  async run(definition: AnyWorkflow, input: unknown = 0): Promise<DriveEnd> {
    await this.runs.start(definition, input, { id: ID })
    return this.runs.settle(ID)
  }

  /** Begins a drive and does not wait for it; time stands still unless the test moves it. */
  async begin(id = ID): Promise<{ readonly end: Promise<DriveEnd>; isOver(): boolean }> {
    const driver = await this.runs.driver(id)
    const end = driver.drive()
    let over = false
    end.then(
      () => {
        over = true
      },
      () => {
        over = true
      },
    )
    await this.idle()
    return { end, isOver: () => over }
  }

  /** Lets everything happen that needs no time. */
  async idle(turns = 8): Promise<void> {
    for (let i = 0; i < turns; i++) await quiesce()
  }

  async pass(ms: number): Promise<void> {
    this.host.advance(ms)
    await this.idle()
  }

  /** The process ends here and now: nothing it still has under way can reach the store. */
  async crash(id = ID): Promise<World> {
    ;(await this.handle(id)).kill()
    this.world.tell(this.host.now())
    return this.world
  }

  get now(): number {
    return this.host.now()
  }
}

export function open(workflows: AnyWorkflow | readonly AnyWorkflow[], options: WorldOptions = {}): Process {
  return new World().boot(workflows, options)
}

/** The same store with some methods replaced. */
export function override(store: RunStore, methods: Partial<RunStore>): RunStore {
  return {
    runId: store.runId,
    read: () => store.read(),
    entries: (...args) => store.entries(...args),
    last: () => store.last(),
    row: (...args) => store.row(...args),
    rows: (...args) => store.rows(...args),
    keys: (...args) => store.keys(...args),
    commit: (batch) => store.commit(batch),
    destroy: () => store.destroy(),
    ...methods,
  }
}

/** The typed error that `run` throws or rejects with. */
export async function errorOf(run: () => unknown): Promise<StepwellError> {
  try {
    await run()
  } catch (error) {
    if (!isStepwellError(error)) throw error
    return error
  }
  throw new Error('nothing was thrown')
}

/** A promise and the two ways to settle it. */
export function gate<T = void>(): { readonly promise: Promise<T>; open(value: T): void; fail(error: unknown): void } {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  promise.catch(() => {})
  return { promise, open: resolve, fail: reject }
}
