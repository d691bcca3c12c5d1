// Fuzzing of the import of exported runs: files with lines that are lost, doubled, in another order, changed in one field or of bytes
// that are damaged. `checkReplay` answers; it does not reject, and no file makes it wait or execute anything.

import { fromBase64, toBase64 } from '../../src/base64.ts'
import type { Schema } from '../../src/schema.ts'
import { workflow } from '../../src/define.ts'
import { isStepwellError } from '../../src/errors.ts'
import { exportRun } from '../../src/journal/export.ts'
import { createMemoryShelf } from '../../src/store/memory.ts'
import { checkReplay } from '../../src/testing/check-replay.ts'
import { TestHost } from '../../src/testing/test-host.ts'
import { TestRuns } from '../../src/testing/test-runs.ts'
import { type Draw, draw } from './draw.ts'
import { mutated, mutatedJson, oddJson } from './mutation.ts'

export interface ImportCounts {
  readonly inputs: number
  readonly refused: number
  readonly accepted: number
}

const anything: Schema<unknown> = { '~standard': { version: 1, vendor: 'fuzz', validate: (value: unknown) => ({ value }) } }

/** Something of everything that an export holds. */
function exported(executed: () => void): ReturnType<typeof workflow> {
  return workflow({ name: 'exported', input: anything }, async (ctx) => {
    await ctx.step('memo', async ({ memo, state }) => {
      executed()
      state.set('seen', 1)
      return memo('k', () => new Map([['a', 1n]]))
    }, { undo: () => {} })
    await ctx.step('retried', ({ attempt }) => {
      executed()
      if (attempt === 1) throw new Error('busy')
      return 'x'.repeat(100)
    }, { retry: { delay: 10, jitter: 0 } })
    await ctx.effect('pay', () => (executed(), { id: 7 }), { kind: 'money', input: { cents: 5 }, onAmbiguous: 'fail' })
    const { winner } = await ctx.race({ slow: (c) => c.sleep('1 hour'), fast: (c) => c.step('fast', () => (executed(), 1)) })
    await ctx.once('mail', () => (executed(), true), { onAmbiguous: 'fail' })
    await ctx.sleep('1 day')
    return winner
  }) as unknown as ReturnType<typeof workflow>
}

/** Throws with the seed in its message. */
export async function fuzzImport(quiesce: () => Promise<void>, from: number, count: number): Promise<ImportCounts> {
  const counts = { inputs: 0, refused: 0, accepted: 0 }
  let executed = 0
  const definition = exported(() => executed++)
  const files: string[][] = []
  for (const ends of [true, false]) {
    const shelf = createMemoryShelf()
    const runs = new TestRuns({ host: new TestHost({ quiesce }), workflows: [definition], open: (id) => shelf.open(id), stepsUseHostTime: true })
    const { id } = await runs.start(definition, { n: 1 } as never, { tags: ['t'], metadata: { a: 'b' } })
    if (ends) {
      await runs.settle(id)
      await runs.control(id, { kind: 'restart', from: 'retried' })
      await runs.settle(id)
    } else await runs.drive(id)
    const lines: string[] = []
    for await (const line of exportRun(await runs.store(id))) lines.push(line)
    const whole = await checkReplay(lines, definition, { quiesce })
    if (!whole.ok) throw new Error(`an export that nobody touched is refused: ${whole.error.message}`)
    files.push(lines)
  }
  const before = executed
  for (let seed = from; seed < from + count; seed++) {
    const d = draw(seed)
    let lines = [...d.pick(files)]
    for (let left = 1 + d(2); left > 0; left--) lines = damagedLines(d, lines, d.pick(files))
    try {
      const checked = await checkReplay(lines, definition, { quiesce })
      counts.inputs++
      if (checked.ok) counts.accepted++
      else if (isStepwellError(checked.error) && checked.error.code !== 'internal') counts.refused++
      else throw new Error(`refused with ${String(checked.error)}`)
      if (executed !== before) throw new Error('a step was executed')
    } catch (error) {
      throw new Error(`import, seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
    }
  }
  return counts
}

function damagedLines(d: Draw, lines: readonly string[], other: readonly string[]): string[] {
  const at = d(lines.length)
  const to = d(lines.length)
  const line = lines[at] as string
  const put = (text: string): string[] => lines.map((old, i) => (i === at ? text : old))
  switch (d(10)) {
    case 0: return lines.toSpliced(at, 1)
    case 1: return lines.toSpliced(to, 0, line)
    case 2: return lines.toSpliced(at, 1).toSpliced(to, 0, line)
    case 3: return lines.toSpliced(at, 0, d.pick(other))
    case 4: return put(JSON.stringify(oddJson(d)))
    case 5: return put(new TextDecoder().decode(mutated(d, new TextEncoder().encode(line), new TextEncoder().encode(d.pick(other)))))
    case 6: case 7: return put(damagedBytes(d, line))
    // The header's record is where the most is believed.
    case 8: return [JSON.stringify(parsed(lines[0], (header) => mutatedJson(d, header))), ...lines.slice(1)]
    default: return put(JSON.stringify(parsed(line, (json) => mutatedJson(d, json))))
  }
}

function parsed(line: string | undefined, change: (json: unknown) => unknown): unknown {
  try {
    return change(JSON.parse(line ?? ''))
  } catch {
    return null
  }
}

function damagedBytes(d: Draw, line: string): string {
  return JSON.stringify(parsed(line, (json) => {
    const record = json as Record<string, unknown>
    for (const field of ['entry', 'value']) {
      const bytes = typeof record?.[field] === 'string' ? fromBase64(record[field]) : undefined
      if (bytes !== undefined) record[field] = toBase64(mutated(d, bytes, bytes))
    }
    return record
  }))
}
