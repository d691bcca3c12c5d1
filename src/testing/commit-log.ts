// Everything that was committed to the runs of a test, so that a read can be answered as it would have been some commits ago.

import { StepwellError } from '../errors.ts'
import { checkBatch } from '../store/batch.ts'
import { createMemoryShelf, type MemoryRunStore } from '../store/memory.ts'
import type { Batch } from '../store/store.ts'

/** Shared by all the handles that a test opens: a commit that one of them does not see is missing in what the others answer. */
export class CommitLog {
  readonly #byRun = new Map<string, Batch[]>()

  /** Bytes are copied: a writer may use its buffers again. Throws `invalid_argument` for what no store would have committed. */
  add(runId: string, batch: Batch): void {
    checkBatch(batch)
    const batches = this.#byRun.get(runId) ?? []
    this.#byRun.set(runId, batches)
    batches.push(copied(batch))
  }

  commits(runId: string): number {
    return this.#byRun.get(runId)?.length ?? 0
  }

  /** A store as it was `commits` ago; from before the first, an empty one. */
  before(runId: string, commits: number): MemoryRunStore {
    if (typeof commits !== 'number') throw new StepwellError('invalid_argument', 'commits is how many of them ago')
    const store = createMemoryShelf().open(runId)
    const batches = this.#byRun.get(runId) ?? []
    for (const batch of batches.slice(0, Math.max(0, batches.length - commits))) {
      const answer = store.commit(batch)
      if (answer.kind !== 'committed') {
        throw new StepwellError('invalid_argument', `the commits of run ${runId} that were logged are not all there were: one is ${answer.kind}`)
      }
    }
    return store
  }
}

function copied(batch: Batch): Batch {
  const { entries, row, post, rows } = batch
  return {
    ...batch,
    ...(entries === undefined ? undefined : { entries: entries.map(({ seq, bytes }) => ({ seq, bytes: bytes.slice() })) }),
    ...(row === undefined ? undefined : { row: { ...row, record: row.record.slice() } }),
    ...(post === undefined ? undefined : { post: post.map((message) => message.slice()) }),
    ...(rows === undefined ? undefined : { rows: rows.map((write) => ({ ...write, value: write.value === null ? null : write.value.slice() })) }),
  }
}
