// G1 in Node: the digests of every workload, pinned. The same file is what test/worker and test/web compare with.
// DIFFERENTIAL_PIN=1 writes it anew, when a change of the journal is meant.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { answeringLater } from '../contract/delivery.contract.ts'
import { exportRun } from '../../src/journal/export.ts'
import { nodeRuns, quiesce } from '../support/node.ts'
import { digestOf, HOST_SEEDS } from './hosts.ts'
import { digestsOf } from './stores.ts'
import { hostWorkload } from './workload.ts'

const file = join(import.meta.dirname, 'digests.json')

test('G1: every workload gives the pinned journal, on a store that answers at once (memory, Node)', async () => {
  const { digests, kinds, statuses } = await digestsOf({ quiesce, open: (id) => createMemoryShelf().open(id) })
  if (process.env['DIFFERENTIAL_PIN'] === '1') writeFileSync(file, `${JSON.stringify(digests, null, 1)}\n`)
  console.log(JSON.stringify({ kinds, statuses }))
  expect(digests).toEqual(JSON.parse(readFileSync(file, 'utf8')))
  for (const kind of ['attempt_failed', 'step_failed', 'timer_fired', 'effect_completed', 'effect_ambiguous', 'effect_decided', 'effect_noted', 'undo_completed', 'patch_applied'] as const) {
    expect(kinds[kind], kind).toBeGreaterThan(0)
  }
  expect(statuses['failed']).toBeGreaterThan(3)
}, 120_000)

test('G1: and on a store that answers later (Node)', async () => {
  const { digests } = await digestsOf({ quiesce, open: (id) => answeringLater(createMemoryShelf().open(id)) })
  expect(digests).toEqual(JSON.parse(readFileSync(file, 'utf8')))
}, 120_000)

test('G8: the workload of the real hosts gives the pinned journal under the test host (Node)', async () => {
  const pins = join(import.meta.dirname, 'hosts.json')
  const runs = nodeRuns({ workflows: [hostWorkload] })
  const digests: Record<string, string> = {}
  for (const seed of HOST_SEEDS) {
    const { id } = await runs.start(hostWorkload, seed as never)
    await runs.settle(id)
    digests[seed] = await digestOf(exportRun(await runs.store(id)))
  }
  if (process.env['DIFFERENTIAL_PIN'] === '1') writeFileSync(pins, `${JSON.stringify(digests, null, 1)}\n`)
  expect(digests).toEqual(JSON.parse(readFileSync(pins, 'utf8')))
  expect(Object.values(digests).filter((digest) => digest.endsWith('run_failed')).length).toBeGreaterThan(0)
}, 120_000)
