// The host port: everything the engine needs from the place it runs in. An adapter has no sequence, status or retry logic.

export interface HostTimer {
  cancel(): void
}

export interface LogRecord {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly runId: string
  /** What was logged by `ctx.log` or a step's `log`, or the engine's own message. Never payload bytes or secrets of ours. */
  readonly message: string
  readonly data?: unknown
  /** The step's key when a step logged it. */
  readonly key?: string
}

/** Where an entry was written; recorded in each entry. */
export type HostName = 'edge' | 'browser' | 'test'

export interface Host {
  readonly name: HostName
  /** Wall clock, ms since 1970. May jump; the engine never lets entry times decrease. */
  now(): number
  /** Cryptographically strong bytes. */
  random(bytes: number): Uint8Array
  /**
   * Resolves only when the microtask queue is empty: whatever plain promises the workflow function chained have all run.
   * Each host proves it with a chain of 5,000 links (test/contract/host.contract.ts).
   */
  quiesce(): Promise<void>
  /** Calls `run` once, not before `ms` have passed (any length; a host clamps and re-arms). In memory only. */
  timer(ms: number, run: () => void): HostTimer
  log(record: LogRecord): void
  /** Told of each call that a workflow function makes, live or in a replay, while it makes it. For tests, which remember where. */
  called?(kind: string, key: string): void
}
