// What a runtime offers to the cross-runtime test: run a program live and give its journal away; replay a journal from elsewhere.

import { fromBase64, toBase64 } from '../../src/base64.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { type Journal, observe, prefix, randomProgram } from '../contract/delivery.contract.ts'

export interface Travelling {
  readonly seed: number
  readonly size: number
  readonly entries: readonly string[]
  readonly row: { readonly epoch: number; readonly inbox: number; readonly wakeAt: number | null; readonly record: string }
  readonly trace: readonly string[]
  readonly output: string
}

export interface Replayed {
  readonly end: string
  readonly trace: readonly string[]
  readonly output: string
  readonly executed: number
}

export function runtime(quiesce: () => Promise<void>): { live(seed: number, size: number): Promise<Travelling>; replay(journal: Travelling): Promise<Replayed> } {
  const harness = { quiesce, open: (id: string) => createMemoryShelf().open(id) }
  return {
    async live(seed, size) {
      const seen = await observe(harness, randomProgram(seed, size), seed)
      if (seen.end !== 'completed') throw new Error(`seed ${seed}: ${seen.end}`)
      const { row, entries } = seen.journal
      return {
        seed, size, trace: seen.trace, output: seen.output, entries: entries.map(({ bytes }) => toBase64(bytes)),
        row: { epoch: row.epoch, inbox: row.inbox, wakeAt: row.wakeAt, record: toBase64(row.record) },
      }
    },
    async replay(journal) {
      const whole: Journal = {
        entries: journal.entries.map((text, i) => ({ seq: i + 1, bytes: bytes(text) })),
        row: { ...journal.row, runId: 'r', record: bytes(journal.row.record) },
      }
      const seen = await observe(harness, randomProgram(journal.seed, journal.size), journal.seed, prefix(whole, whole.entries.length - 1))
      return { end: seen.end, trace: seen.trace, output: seen.output, executed: seen.executed }
    },
  }
}

function bytes(text: string): Uint8Array {
  const found = fromBase64(text)
  if (found === undefined) throw new Error('not base64')
  return found
}
