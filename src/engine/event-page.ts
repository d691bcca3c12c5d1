// Pages of a run's events, for whoever follows it. Nothing is written, and nothing is left out without saying so (G18).

import type { EventPage, PageOptions, RunEvent } from '../client.ts'
import { decode } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { decodeRecord, isEnded } from '../journal/record.ts'
import { unswept } from '../journal/tombstone.ts'
import { pageOf } from '../journal/view.ts'
import { maxPageRows } from '../store/batch.ts'
import { inboxKey, type RunStore } from '../store/store.ts'
import { notFound } from './post.ts'

/** Of one read, and of one page. */
const ROWS = 100
const PAGE_BYTES = 4 * 1024 * 1024

/**
 * Events with a number > `after`, in order, at most `limit` (default 100, at most 1000), or fewer when they are large. Beyond the last one the page is
 * empty: they are still to come. Throws `event_gap` when the next one is not kept any more, with `{ after, oldest, last }`;
 * `run_not_found`, `run_swept`, `corrupt_run`, `invalid_argument`, `limit_exceeded`.
 */
export async function eventPage(store: RunStore, options: PageOptions = {}): Promise<EventPage> {
  const { after, limit } = pageOf(options)
  // First: what a run that has ended had emitted is all there when its rows are read.
  const row = await store.read()
  if (row === undefined) throw notFound(store)
  const record = decodeRecord(row)
  return unswept(store, record, async () => {
    const items: RunEvent[] = []
    let next = after
    let isAll = false
    for (let bytes = 0; !isAll && items.length < limit && bytes < PAGE_BYTES;) {
      const wanted = Math.min(ROWS, limit - items.length)
      const rows = await store.rows('event', { after: inboxKey(next), limit: wanted })
      isAll = rows.length < wanted
      for (const { key, value } of rows) {
        if (Number(key) !== next + 1) {
          if (items.length === 0) throw await gap(store, after, record.events)
          return { items, next, isOver: false }
        }
        items.push(decode(value) as RunEvent)
        bytes += value.length
        next++
      }
    }
    if (isAll && next < record.events) {
      if (items.length === 0) throw await gap(store, after, record.events)
      isAll = false
    }
    return { items, next, isOver: isAll && isEnded(record.status) }
  })
}

async function gap(store: RunStore, after: number, counted: number): Promise<StepwellError> {
  const keys = await store.keys('event', { after: inboxKey(after), limit: maxPageRows })
  const last = Math.max(counted, Number(keys.at(-1) ?? 0))
  const oldest = keys.length === 0 ? last + 1 : Number(keys[0])
  return new StepwellError('event_gap', `run ${store.runId}: event ${after + 1} is not kept any more, the oldest one is ${oldest}`, { details: { after, oldest, last } })
}
