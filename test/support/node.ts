// The engine in Node: memory store, virtual clock.

import { createMemoryShelf } from '../../src/store/memory.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns, type TestRunsOptions } from '../../src/testing/test-runs.ts'

/** One turn of Node's event loop: by then the microtask queue is empty (proved by the host contract). */
export const quiesce = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export function nodeRuns(options: Pick<TestRunsOptions, 'workflows'> & Partial<TestRunsOptions> & { seed?: number }): TestRuns {
  const shelf = createMemoryShelf()
  const host = options.host ?? new TestHost({ quiesce, ...(options.seed === undefined ? undefined : { seed: options.seed }) })
  return new TestRuns({ open: (id) => shelf.open(id), ...options, host })
}
