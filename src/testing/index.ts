export { createMemoryShelf } from '../store/memory.ts'
export { clearMemos } from '../engine/memo.ts'
export { checkReplay } from './check-replay.ts'
export type { ReplayCheck, ReplayOptions } from './check-replay.ts'
export { exploreCrashes } from './crash-explorer.ts'
export type { Execution, ExploreCounts, Explored, ExploreOptions, Schedule, Strike } from './crash-explorer.ts'
export { FaultStore } from './fault-store.ts'
export type { Fault, FaultPlan, StoreCall, StoreMethod } from './fault-store.ts'
export { TestHost } from './test-host.ts'
export { TestRuns } from './test-runs.ts'
export { bindStoreContract, storeContract } from './store-contract.ts'
export type { StoreContractCase, StoreHarness } from './store-contract.ts'
// What a store of one's own is made with (docs/store.md).
export { checkBatch, checkLimit, checkPage, maxPageRows, maxValueBytes, staleReason } from '../store/batch.ts'
export type { Standing } from '../store/batch.ts'
export { inboxKey, isPromise } from '../store/store.ts'
export type {
  Batch, CommitAnswer, Expect, MaybePromise, Page, RowUpdate, RowWrite, RunRow, RunStore, Shelf, SideRow, StaleReason, StoredEntry, Table,
} from '../store/store.ts'
