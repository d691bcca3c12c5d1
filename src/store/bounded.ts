// A commit that is never waited for without end (Z-041).

import { StepwellError } from '../errors.ts'
import { type CommitAnswer, isPromise, type MaybePromise } from './store.ts'

/** How long a commit may take, and the host's timer to measure it with. */
export interface Bound {
  readonly ms: number
  readonly timer: (ms: number, run: () => void) => { cancel(): void }
}

/** The answer; one that does not come in time is `unknown`: the commit may still happen. */
export function bounded(answer: MaybePromise<CommitAnswer>, { ms, timer }: Bound): MaybePromise<CommitAnswer> {
  if (!isPromise(answer)) return answer
  return new Promise((resolve, reject) => {
    const late = timer(ms, () => {
      resolve({ kind: 'unknown', error: new StepwellError('commit_timeout', 'the store did not answer a commit in time') })
    })
    answer.then(
      (value) => { late.cancel(); resolve(value) },
      (error: unknown) => { late.cancel(); reject(error) },
    )
  })
}
