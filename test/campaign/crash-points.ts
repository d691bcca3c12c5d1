// Crash points: random workflows, each run once without a crash, and then with the process dying before and after every commit, with the
// answer lost, and with two of these.
//   node test/campaign/crash-points.ts --seconds 300 --seed 1 --json crash-points.json

import { createMemoryShelf } from '../../src/store/memory.ts'
import { exploreCrashes } from '../../src/testing/crash-explorer.ts'
import type { TestHost } from '../../src/testing/test-host.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { workload } from '../differential/workload.ts'
import { part } from './part.ts'

await part([{
  name: 'crash-points',
  async run(seed, { add, endAt }) {
    for (let next = seed; ; next++) {
      const { definition, input } = workload(next)
      try {
        const counts = await exploreCrashes(definition, input as never, {
          maxPairs: 40,
          open: (id) => next % 2 === 0 ? createMemoryShelf().open(id) : answeringLater(createMemoryShelf().open(id)),
          services: (_: unknown, host: TestHost) => ({ wait: (ms: number) => new Promise<void>((resolve) => { host.timer(ms, resolve) }) }),
          // A crash makes effects ambiguous, and their policies then decide how a race or the run ends: that it ends is the same.
          result: () => 'ended',
          check: (_: unknown, { summary: { status } }) => {
            if (status !== 'completed' && status !== 'failed') throw new Error(`the run is ${status}`)
          },
        })
        add('crashPoints.workflows', 1)
        add('crashPoints.explored', counts.schedules)
        add('crashPoints.quietPoints', counts.quiets)
        add('crashPoints.crashes', counts.crashes)
        add('crashPoints.lostAnswers', counts.lost)
        add('crashPoints.calls', counts.executions)
      } catch (error) {
        throw new Error(`seed ${next}: ${(error as Error).message}`, { cause: error })
      }
      if (next - seed >= 3 || Date.now() > endAt) return next + 1
    }
  },
}])
