// What a runtime offers to the cross-runtime test: run a program live and give its journal away; go on with a journal from elsewhere.

import { fromBase64, toBase64 } from '../../src/base64.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { checkPrefixes, type Lived, observe, type Program } from '../contract/delivery.contract.ts'

/** A run that was lived in one runtime, as JSON. */
export interface Travelling {
  readonly program: Program
  readonly seed: number
  readonly entries: readonly string[]
  readonly row: { readonly epoch: number; readonly inbox: number; readonly wakeAt: number | null; readonly record: string }
  readonly trace: readonly string[]
  readonly traceAt: readonly (readonly [number, number])[]
  readonly output: string
  readonly executed: number
}

export interface Replayed {
  readonly replays: number
  /** What it became from the prefix in the middle on, here: half of its journal is from there, and half from here. */
  readonly middle?: Travelling
}

export interface Runtime {
  live(program: Program, seed: number): Promise<Travelling>
  /** From every prefix of the journal. Rejects when anything is not as it was lived. */
  replay(run: Travelling): Promise<Replayed>
}

export function runtime(quiesce: () => Promise<void>): Runtime {
  const harness = { quiesce, open: (id: string) => createMemoryShelf().open(id) }
  return {
    async live(program, seed) {
      const seen = await observe(harness, program, seed)
      if (seen.end !== 'completed') throw new Error(`seed ${seed}: ${seen.end}`)
      return packed(program, seed, seen)
    },
    async replay(run) {
      const { program, seed } = run
      const { replays, middle } = await checkPrefixes(harness, program, seed, unpacked(run))
      return { replays, ...(middle === undefined ? undefined : { middle: packed(program, seed, middle) }) }
    },
  }
}

function packed(program: Program, seed: number, { journal: { row, entries }, trace, traceAt, output, executed }: Lived): Travelling {
  return {
    program, seed, trace, output, executed, traceAt: [...traceAt], entries: entries.map(({ bytes }) => toBase64(bytes)),
    row: { epoch: row.epoch, inbox: row.inbox, wakeAt: row.wakeAt, record: toBase64(row.record) },
  }
}

function unpacked({ entries, row, trace, traceAt, output, executed }: Travelling): Lived {
  return {
    trace, output, executed, traceAt: new Map(traceAt),
    journal: { entries: entries.map((text, i) => ({ seq: i + 1, bytes: bytes(text) })), row: { ...row, runId: 'r', record: bytes(row.record) } },
  }
}

function bytes(text: string): Uint8Array {
  const found = fromBase64(text)
  if (found === undefined) throw new Error('not base64')
  return found
}
