// What the page of the flock tests (test/web/herd-page.ts) gives to the tests that drive it. Types only: one side has a DOM, the other Node.

import type { HerdInput, HerdOutput, JournalEntry } from './herd-workflow.ts'

/** In the charge of a run: its intent is committed and the function not yet called; it has been called and has an answer. */
export type FreezePoint = 'intended' | 'called'

export interface FlockApi {
  ready(): Promise<true>
  start(id: string, input: HerdInput): Promise<string>
  /** Each under its order's number. */
  startAll(inputs: readonly HerdInput[]): Promise<void>
  status(id: string): Promise<{ readonly status: string; readonly output: HerdOutput | undefined; readonly epoch: number }>
  statuses(): Promise<{ readonly id: string; readonly status: string }[]>
  result(id: string): Promise<HerdOutput>
  journal(id: string): Promise<JournalEntry[]>
  freezeAt(point: FreezePoint): void
  /** Uses up all the space that this origin has; so many records. */
  fill(): Promise<number>
  logs(): readonly string[]
  /** What `storage()` says of a database that the browser has thrown away. */
  lost(): Promise<{ readonly at: number; readonly reason: string } | undefined>
  /** Keeps the page's thread busy, so that its process can be told. */
  spin(ms: number): number
}
