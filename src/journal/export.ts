// A run as text: NDJSON, one record a line, which the test kit can replay. Bytes as they are stored, so that the chain still verifies.

import { toWire } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { toBase64 } from '../base64.ts'
import type { RunStore, Table } from '../store/store.ts'
import { decodeRecord } from './record.ts'
import { refuseSwept } from './tombstone.ts'

const tables: readonly Table[] = ['inbox', 'outbox', 'manifest', 'chunk', 'memo', 'state', 'effect', 'event', 'signal', 'receipt', 'token']
const PAGE = 200

/**
 * First line: `{"stepwell":"run","format":1,"runId":…,"epoch":…,"record":…}` (record in the codec's form), then
 * `{"seq":…,"entry":"base64"}` for each entry and `{"table":…,"key":…,"value":"base64"}` for each side row, last
 * `{"end":true,"entries":…}`: a file without its last line is incomplete. Throws
 * `run_not_found`, and `run_swept`, also in the middle.
 */
export async function* exportRun(store: RunStore): AsyncGenerator<string> {
  const row = await store.read()
  if (row === undefined) throw new StepwellError('run_not_found', `there is no run ${store.runId}`, { details: { runId: store.runId } })
  yield JSON.stringify({
    stepwell: 'run', format: 1, runId: store.runId, epoch: row.epoch, wakeAt: row.wakeAt, inbox: row.inbox, record: toWire(decodeRecord(row)),
  })
  let entries = 0
  for (let after = 0; ;) {
    const page = await store.entries(after, PAGE)
    for (const { seq, bytes } of page) {
      yield JSON.stringify({ seq, entry: toBase64(bytes) })
      after = seq
      entries++
    }
    if (page.length < PAGE) break
  }
  for (const table of tables) {
    for (let after = ''; ;) {
      const page = await store.rows(table, { after, limit: PAGE })
      for (const { key, value } of page) {
        yield JSON.stringify({ table, key, value: toBase64(value) })
        after = key
      }
      if (page.length < PAGE) break
    }
  }
  // Removed while it was read: what is missing now would pass for the whole.
  await refuseSwept(store)
  yield JSON.stringify({ end: true, entries })
}
