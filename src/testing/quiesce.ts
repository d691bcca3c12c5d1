// How the runtime that a test happens to run in empties its microtask queue: not by its name, but by what has proved to do so.

import { StepwellError } from '../errors.ts'

interface Port {
  onmessage: (() => void) | null
  postMessage(message: unknown): void
  close(): void
}

/** What a runtime may have of it. */
interface Runtime {
  readonly setImmediate?: (run: () => void) => unknown
  readonly setTimeout?: (run: () => void, ms: number) => unknown
  readonly MessageChannel?: new () => { readonly port1: Port; readonly port2: Port }
  readonly Response?: new (body: string) => { text(): Promise<string> }
}

/** As long as the chain by which every host proves it. */
const LINKS = 5000
/** So often at most before the loop of the runtime gets a turn of its own. */
const DRAINS = 64

/**
 * A `quiesce` for this runtime: Node, a browser or worker of one, workerd. The first call tries the known ways on a chain of 5,000
 * plain promises and keeps the first that has waited for all of it. Rejects with `unsupported` where none does.
 */
export function createQuiesce(): () => Promise<void> {
  // Taken now: a test may replace them later.
  const { setImmediate, setTimeout, MessageChannel, Response } = globalThis as unknown as Runtime
  const ways: (() => Promise<unknown>)[] = []
  if (setImmediate !== undefined) ways.push(() => new Promise<void>((resolve) => { setImmediate(resolve) }))
  if (MessageChannel !== undefined) ways.push(() => turn(MessageChannel))
  if (Response !== undefined) {
    let drains = 0
    ways.push(() => {
      // In workerd a loop that yields only by reading bodies starves timers, requests and commits.
      if (setTimeout !== undefined && ++drains % DRAINS === 0) return new Promise<void>((resolve) => { setTimeout(resolve, 0) })
      return new Response('a').text()
    })
  }
  let chosen: Promise<() => Promise<unknown>> | (() => Promise<unknown>) | undefined
  return async () => {
    if (typeof chosen === 'function') {
      await chosen()
      return
    }
    const way = await (chosen ??= choose(ways))
    chosen = way
    await way()
  }
}

async function choose(ways: readonly (() => Promise<unknown>)[]): Promise<() => Promise<unknown>> {
  for (const way of ways) {
    // Twice: the first turn may come late for reasons of its own.
    if (await drains(way) && await drains(way)) return way
  }
  throw new StepwellError('unsupported', 'nothing in this runtime waits until the microtask queue is empty: give the test host a `quiesce`')
}

async function drains(way: () => Promise<unknown>): Promise<boolean> {
  let links = 0
  void chain(() => { links++ })
  await way()
  return links === LINKS
}

async function chain(link: () => void): Promise<void> {
  for (let i = 0; i < LINKS; i++) {
    await undefined
    link()
  }
}

function turn(Channel: NonNullable<Runtime['MessageChannel']>): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new Channel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(0)
  })
}
