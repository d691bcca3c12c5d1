export { createMemoryShelf } from '../store/memory.ts'
export { TestHost } from './test-host.ts'
export { TestRuns } from './test-runs.ts'
