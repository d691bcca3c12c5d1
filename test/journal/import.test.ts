// Found by fuzzing the import: a file whose fields are of other types made `checkReplay` reject with a TypeError.

import { expect, test } from 'vitest'
import { workflow } from '../../src/define.ts'
import { encode, fromWire, toWire } from '../../src/codec.ts'
import { decodeEntry, encodeEntry, GENESIS } from '../../src/journal/entry.ts'
import { exportRun } from '../../src/journal/export.ts'
import { checkReplay } from '../../src/testing/check-replay.ts'
import { anything } from '../engine/support.ts'
import { nodeRuns } from '../support/node.ts'

const definition = workflow({ name: 'short', input: anything }, async (ctx) => {
  await ctx.step('one', ({ state }) => state.set('a', 1))
  await ctx.sleep('1 day')
})

async function file(): Promise<string[]> {
  const runs = nodeRuns({ workflows: [definition] })
  const { id } = await runs.start(definition, 0)
  await runs.drive(id)
  const lines: string[] = []
  for await (const line of exportRun(await runs.store(id))) lines.push(line)
  return lines
}

test('G4: the import answers corrupt_run for a record whose fields do not fit, whichever they are', async () => {
  const [head, ...rest] = await file()
  const header = JSON.parse(head as string) as { record: unknown }
  const record = fromWire(header.record) as Record<string, unknown>
  let refused = 0
  for (const field of Object.keys(record)) {
    for (const odd of [null, {}, 'x', -1, [null], [{}], { seq: 1 }, { seq: 1, hash: null }]) {
      const line = JSON.stringify({ ...header, record: toWire({ ...record, [field]: odd }) })
      const checked = await checkReplay([line, ...rest], definition)
      if (!checked.ok) refused++
      if (field === 'inherited' || field === 'head') expect({ field, odd, checked }).toMatchObject({ checked: { ok: false, error: { code: 'corrupt_run' } } })
    }
  }
  expect(refused).toBeGreaterThan(100)
})

test('G4: the import answers for lines whose fields are objects', async () => {
  const lines = await file()
  const replaced = (at: number, fields: object): string[] => lines.map((line, i) => (i === at ? JSON.stringify({ ...JSON.parse(line) as object, ...fields }) : line))
  const row = lines.findIndex((line) => line.startsWith('{"table"'))
  const odd = { toString: 1 }
  for (const [at, fields] of [[0, { epoch: odd }], [0, { format: odd }], [1, { seq: odd }], [row, { key: odd }], [row, { table: odd }], [row, { value: odd }]] as const) {
    expect(at).toBeGreaterThanOrEqual(0)
    expect(await checkReplay(replaced(at, fields), definition), JSON.stringify([at, fields])).toMatchObject({ ok: false })
  }
})

test('G4: an entry whose time or count is no number is damaged, also when its hash fits', () => {
  const draft = { kind: 'step_completed', generation: 1, host: 'edge', at: 1e12, calls: 1, payload: encode(1) } as const
  expect(decodeEntry(1, encodeEntry(1, draft, GENESIS).bytes, GENESIS)).toMatchObject({ at: 1e12 })
  for (const wrong of [{ at: NaN }, { at: Infinity }, { due: NaN }, { due: -Infinity }, { calls: 2 ** 54 }, { generation: 2 ** 55 }]) {
    const { bytes } = encodeEntry(1, { ...draft, ...wrong }, GENESIS)
    expect(() => decodeEntry(1, bytes, GENESIS), JSON.stringify(wrong)).toThrow(expect.objectContaining({ code: 'corrupt_entry' }))
  }
})
