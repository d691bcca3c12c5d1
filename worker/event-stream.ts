// The events of a run as Server-Sent Events: what a browser's EventSource follows, and takes up again behind the last one that it has seen.

import type { EventPage, RunEvent } from '../src/client.ts'
import type { RunCaller } from './caller.ts'
import { toPlain } from './plain.ts'
import { problemOf } from './problem.ts'

export const STREAM_TYPE = 'text/event-stream'

/** A line at least so often: proxies close what is silent, and only a write tells that nobody reads any more. */
const KEEP_ALIVE_MS = 15_000

/**
 * Every event behind `after`, then those to come; last `stepwell.end` when the run has ended, or `stepwell.error` with a problem document.
 * Whoever goes away ends it. What can't begin is thrown: an error before the first byte is an answer like any other.
 */
export async function eventStream(run: RunCaller, after: number): Promise<Response> {
  const encoder = new TextEncoder()
  let page: EventPage | undefined = await run.events({ after }, 0)
  let cursor = after
  const body = new ReadableStream<Uint8Array>({
    // Called when there is room, and never again once the reader has gone: a slow one is not overrun.
    async pull(controller): Promise<void> {
      try {
        const { items, next, isOver } = page ?? await run.events({ after: cursor }, KEEP_ALIVE_MS)
        page = undefined
        cursor = next
        const text = items.map(messageOf).join('') + (isOver ? message('stepwell.end', { after: next }) : '')
        controller.enqueue(encoder.encode(text === '' ? ': nothing yet\n\n' : text))
        if (isOver) controller.close()
      } catch (error) {
        controller.enqueue(encoder.encode(message('stepwell.error', problemOf(error))))
        controller.close()
      }
    },
  })
  return new Response(body, { headers: { 'content-type': STREAM_TYPE, 'cache-control': 'no-store', vary: 'accept' } })
}

/** Its type is one line: `emit` takes no other. */
function messageOf(event: RunEvent): string {
  const { json, approximated } = toPlain(event)
  return `id: ${event.number}\n${message(event.type, approximated.length > 0 ? { ...json as object, approximated } : json as object)}`
}

function message(type: string, data: object): string {
  return `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`
}
