// The host port of a page or worker: clock, randomness, quiescence, timers, log.

import type { Host, HostTimer, LogRecord } from '../src/host.ts'

export interface BrowserHostOptions {
  /** Where log records go. Default: the console, by level. */
  readonly onLog?: ((record: LogRecord) => void) | undefined
  /** The longest time that is given to `setTimeout` at once; longer timers are armed again. Only tests change it. */
  readonly maxTimerMs?: number
}

/** Above 2^31-1 ms browsers fire at once (platform fact 99). */
const MAX_TIMER_MS = 2 ** 31 - 1

/** The host port of this page or worker. */
export function createBrowserHost(options: BrowserHostOptions = {}): Host {
  const { onLog = toConsole, maxTimerMs = MAX_TIMER_MS } = options
  return {
    name: 'browser',
    now: () => Date.now(),
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    quiesce: createQuiesce(),
    timer: (ms, run) => createTimer(ms, run, maxTimerMs),
    log: (record) => {
      try {
        onLog(record)
      } catch (error) {
        // A listener of the page must never fail a run.
        console.error(error)
      }
    },
  }
}

/**
 * One turn of a MessageChannel: its handler is a task of its own, and the microtask queue is emptied before a task begins. Unlike
 * `setTimeout(0)` it is neither clamped to 4 ms nor throttled in hidden tabs (platform facts 100, 101). All who wait at the same
 * time share one message: each of them asked before it was handled, so the queue was emptied after each had asked.
 */
function createQuiesce(): () => Promise<void> {
  const { port1, port2 } = new MessageChannel()
  let waiting: (() => void)[] = []
  port1.addEventListener('message', () => {
    const reached = waiting
    waiting = []
    for (const resolve of reached) resolve()
  })
  port1.start()
  return () => new Promise((resolve) => {
    if (waiting.push(resolve) === 1) port2.postMessage(undefined)
  })
}

function createTimer(ms: number, run: () => void, maxMs: number): HostTimer {
  let left = ms
  let id: ReturnType<typeof setTimeout>
  const arm = (): void => {
    const part = Math.min(Math.max(0, left), maxMs)
    id = setTimeout(() => {
      left -= part
      if (left > 0) arm()
      else run()
    }, part)
  }
  arm()
  return { cancel: () => clearTimeout(id) }
}

function toConsole({ level, runId, key, message, data }: LogRecord): void {
  const line = `stepwell ${runId}${key === undefined ? '' : ` ${key}`}: ${message}`
  if (data === undefined) console[level](line)
  else console[level](line, data)
}
