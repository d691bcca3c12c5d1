// What holds for runs on any store: a case of such a contract, and what it is given. Each case wants stores that nothing was written to.

import type { RunStore } from '../../src/store/store.ts'

export interface RunHarness {
  /** Of the host that the store is at home on. */
  readonly quiesce: () => Promise<void>
  /** A new handle on a run, as another process has it. */
  readonly open: (runId: string) => RunStore | Promise<RunStore>
  /** The store holds more than one run. */
  readonly hasManyRuns: boolean
}

export interface RunCase {
  readonly title: string
  run(harness: RunHarness): Promise<void>
}

/** Only real time can bound it: a store that waits for the disk takes as many turns as it likes. */
export async function until({ quiesce }: Pick<RunHarness, 'quiesce'>, what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await is())) {
    if (Date.now() > end) throw new Error(`it never came true: ${what}`)
    await quiesce()
  }
}
