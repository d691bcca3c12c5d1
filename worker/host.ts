// The host port on workerd: the clock, randomness and timers of the platform, and the way back to its event loop.

import type { Host, HostTimer, LogRecord } from '../src/host.ts'

export interface EdgeHost extends Host {
  /** An event of the platform has just begun, so its loop has just turned: `quiesce` need not let it turn again so soon. */
  entered(): void
}

/** How long JavaScript may run before the loop has to turn, where the clock runs while it does: each turn takes 1.1 ms. */
const TURN_MS = 25
/** The same where the clock stands still between I/O (platform fact 120): so many drains. */
const TURN_DRAINS = 256
/** `setTimeout` takes a signed 32-bit number. */
const MAX_TIMEOUT_MS = 2_147_483_647

/** The host of one object. It remembers nothing but when the platform's loop last turned. */
export function createHost(): EdgeHost {
  let turnedAt = Date.now()
  let drains = 0
  const entered = (): void => {
    turnedAt = Date.now()
    drains = 0
  }
  return {
    name: 'edge',
    now: () => Date.now(),
    random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
    /**
     * Reading a body goes through the native event queue, which runs only when the microtask queue is empty: 25 µs. But as long
     * as that queue is never empty, the loop looks for no timer, no request and no finished write (measured: a timer of 5 ms did
     * not fire within 2 s of such drains, with or without writes between them). A timer of 0 ms makes it look, and drains as
     * well, but takes 1.1 ms: so every few milliseconds, and after a fixed number of drains where the clock stands still.
     */
    quiesce(): Promise<void> {
      // What it resolves with is nobody's business, and another promise around it would be one for each drain.
      if (++drains < TURN_DRAINS && Math.abs(Date.now() - turnedAt) < TURN_MS) return new Response('a').text() as Promise<unknown> as Promise<void>
      return new Promise<void>((resolve) => setTimeout(resolve, 0)).then(entered)
    },
    entered,
    timer: startTimer,
    log: writeLog,
  }
}

function startTimer(ms: number, run: () => void): HostTimer {
  let left = ms
  let id: ReturnType<typeof setTimeout>
  const arm = (): void => {
    const next = Math.min(left, MAX_TIMEOUT_MS)
    left -= next
    id = setTimeout(() => left > 0 ? arm() : run(), next)
  }
  arm()
  return { cancel: () => clearTimeout(id) }
}

/** One structured line, as Workers Logs index it: what was logged, and never a payload. */
export function writeLog({ level, ...record }: LogRecord): void {
  // eslint-disable-next-line no-console -- the console is the platform's log
  console[level]({ source: 'stepwell', ...record })
}
