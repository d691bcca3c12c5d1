import { describe, expect, test } from 'vitest'
import type { DriveEnd } from '../../src/engine/drive.ts'
import { requestCancel } from '../../src/engine/cancel.ts'
import { encodeEntry, GENESIS, kindCodes } from '../../src/journal/entry.ts'
import { exportRun } from '../../src/journal/export.ts'
import { journalPage } from '../../src/journal/view.ts'
import { workflow } from '../../src/index.ts'
import type { RunRow, RunStore, StoredEntry } from '../../src/store/store.ts'
import { anything, errorOf, ID, override, type Process, World } from '../engine/support.ts'

let executed: string[] = []

/** Leaves one entry of each kind that a run leaves while it waits: keyed or not, with and without payload, due time and attempt. */
const every = workflow({ name: 'every', input: anything }, async (ctx, input: { n: number }) => {
  await ctx.step('plain', () => {
    executed.push('plain')
    return { value: input.n }
  })
  await Promise.all([
    ctx.step('p', async () => {
      executed.push('p')
    }),
    ctx.step('schlüssel', async () => {
      executed.push('q')
      return 'ü'
    }),
  ])
  await ctx
    .step(
      'bad',
      () => {
        executed.push('bad')
        throw new Error('no')
      },
      { retry: { limit: 0 } },
    )
    .catch(() => {})
  await ctx.step(
    'flaky',
    (call) => {
      executed.push('flaky')
      if (call.attempt === 1) throw new Error('busy')
    },
    { retry: { delay: 10 } },
  )
  await ctx.sleep(10)
  await ctx.sleep('1 hour')
  await ctx.step('last', () => {
    executed.push('last')
  })
  return 'done'
})

interface Stored {
  readonly row: RunRow
  readonly entries: readonly StoredEntry[]
}

async function storedRun(until: 'waiting' | 'completed'): Promise<Stored> {
  const world = new World()
  const process = world.boot(every)
  await process.runs.start(every, { n: 1 }, { id: ID })
  if (until === 'completed') await process.runs.settle(ID)
  else expect((await process.runs.drive(ID)).kind).toBe('parked')
  const store = world.shelf.open(ID)
  return { row: store.read() as RunRow, entries: store.entries(0, 1000) }
}

const waiting = await storedRun('waiting')
const completed = await storedRun('completed')

/** A shelf with this run and a healthy one beside it. `hide` takes entries away behind the store's back. */
function load(stored: Stored, hide: (seq: number) => boolean = () => false): { world: World; process: Process } {
  executed = []
  const world = new World()
  for (const [id, { row, entries }] of [
    [ID, stored],
    ['other', waiting],
  ] as const) {
    const answer = world.shelf
      .open(id)
      .commit({
        expect: { kind: 'absent' },
        row: { epoch: row.epoch, wakeAt: row.wakeAt, record: row.record },
        entries,
      })
    expect(answer.kind).toBe('committed')
  }
  world.tell(waiting.row.wakeAt as number)
  const hidden = (store: RunStore): RunStore =>
    store.runId !== ID
      ? store
      : override(store, {
          entries: (after, limit) =>
            (store.entries(after, limit) as readonly StoredEntry[]).filter(({ seq }) => !hide(seq)),
          last: () => (store.entries(0, 1000) as readonly StoredEntry[]).filter(({ seq }) => !hide(seq)).at(-1),
        })
  return { world, process: world.boot(every, { wrap: hidden }) }
}

function dump(world: World): readonly [number, string][] {
  return world.shelf
    .open(ID)
    .entries(0, 1000)
    .map(({ seq, bytes }) => [seq, String(bytes)])
}

/** Drives the damaged run: it names the damage, is blocked, keeps all of its entries, runs nothing, and the other one goes on. */
async function expectDamage(
  stored: Stored,
  seq: number,
  hide?: (seq: number) => boolean,
  codes: readonly string[] = ['corrupt_entry'],
): Promise<DriveEnd> {
  const { world, process } = load(stored, hide)
  const before = dump(world)
  const end = await process.runs.drive(ID)
  if (end.kind !== 'blocked') throw new Error(`it was not noticed: ${JSON.stringify(end)}`)
  if (!codes.includes(end.blocked.code)) throw new Error(`it was noticed as ${JSON.stringify(end.blocked)}`)
  if ((end.blocked.details as { seq: number }).seq !== seq)
    throw new Error(`another entry was named: ${end.blocked.message}`)
  expect(end.blocked.message).toContain(`entry ${seq}`)
  expect(dump(world)).toEqual(before)
  expect(world.record()).toMatchObject({ status: 'blocked', blocked: { code: end.blocked.code } })
  expect(executed).toEqual([])
  expect(await process.runs.drive('other')).toEqual({ kind: 'ended', status: 'completed' })
  return end
}

const change = (stored: Stored, seq: number, edit: (bytes: Uint8Array) => Uint8Array): Stored => ({
  ...stored,
  entries: stored.entries.map((entry) => (entry.seq === seq ? { seq, bytes: edit(entry.bytes.slice()) } : entry)),
})

describe('G4: a damaged journal names what is damaged, blocks that run only, and nothing is deleted', () => {
  test('the journal under test has every kind of entry that a waiting run can have', () => {
    const codes = new Set(waiting.entries.map(({ bytes }) => bytes[1]))
    const { run_started, step_completed, step_failed, attempt_failed, timer_set, timer_fired } = kindCodes
    expect(codes).toEqual(new Set([run_started, step_completed, step_failed, attempt_failed, timer_set, timer_fired]))
    expect(waiting.entries.length).toBe(10)
  })

  for (const { seq, bytes } of waiting.entries) {
    test(`G4: entry ${seq}: one byte changed, at each offset of its header and every second one behind it, ${bytes.length} in all`, async () => {
      for (let offset = 0; offset < bytes.length; offset += offset < 80 ? 1 : 2) {
        for (const flip of offset < 4 ? [1, 2, 4, 8, 16, 32, 64, 128, 255] : [1 << (offset % 8)]) {
          const damaged = change(waiting, seq, (copy) => {
            copy[offset] = (copy[offset] as number) ^ flip
            return copy
          })
          // A first byte above 1 could be the one of a newer version: that is said instead.
          const codes = offset === 0 ? ['corrupt_entry', 'format_too_new'] : ['corrupt_entry']
          try {
            await expectDamage(damaged, seq, undefined, codes)
          } catch (error) {
            throw new Error(`entry ${seq}, byte ${offset}, flipped by ${flip}: ${(error as Error).message}`, {
              cause: error,
            })
          }
        }
      }
    }, 120_000)

    test(`G4: entry ${seq}: cut at each byte, and longer by one`, async () => {
      for (let length = 0; length < bytes.length; length += length < 80 || length > bytes.length - 5 ? 1 : 7) {
        await expectDamage(
          change(waiting, seq, (copy) => copy.subarray(0, length)),
          seq,
        )
      }
      await expectDamage(
        change(waiting, seq, (copy) => Uint8Array.from([...copy, 0])),
        seq,
      )
    }, 120_000)

    test(`G4: entry ${seq}: removed`, async () => {
      const isLast = seq === waiting.entries.length
      if (!isLast) await expectDamage(waiting, seq, (each) => each === seq)
      // The head is stored at each park, so a tail that goes is missed as well (Z-166).
      await expectDamage({ ...waiting, entries: waiting.entries.slice(0, seq - 1) }, seq)
    })

    test(`G4: entry ${seq}: replaced by another one of the same journal, and by one of another run`, async () => {
      for (const other of waiting.entries) {
        if (other.seq === seq) continue
        await expectDamage(
          change(waiting, seq, () => other.bytes.slice()),
          seq,
        )
      }
      // Well formed, but of another chain.
      const forged = encodeEntry(
        seq,
        {
          kind: 'step_completed',
          generation: 1,
          host: 'test',
          at: 0,
          calls: 1,
          key: 'plain',
          fingerprint: new Uint8Array(16),
        },
        GENESIS.map(() => 7),
      )
      await expectDamage(
        change(waiting, seq, () => forged.bytes),
        seq,
      )
    })
  }

  test('G4: any two entries swapped: the first of them is named', async () => {
    const { entries } = waiting
    for (const [i, a] of entries.entries()) {
      for (const b of entries.slice(i + 1)) {
        const swapped = {
          ...waiting,
          entries: entries.map(({ seq, bytes }) => ({
            seq,
            bytes: seq === a.seq ? b.bytes : seq === b.seq ? a.bytes : bytes,
          })),
        }
        await expectDamage(swapped, a.seq)
      }
    }
  })

  test('G4: an entry that is there twice: the second is named', async () => {
    const { entries } = waiting
    for (let at = 1; at < entries.length; at++) {
      const twice = [...entries.slice(0, at), entries[at - 1] as StoredEntry, ...entries.slice(at)].map(
        ({ bytes }, i) => ({ seq: i + 1, bytes }),
      )
      await expectDamage({ ...waiting, entries: twice }, at + 1)
    }
  })

  test('G4: a removed tail is noticed up to the mark; after it entries are protected against change only', async () => {
    // Woken, and two entries further: the row still marks the head of the last park.
    const world = new World()
    const { row, entries } = waiting
    world.shelf
      .open(ID)
      .commit({
        expect: { kind: 'absent' },
        row: { epoch: row.epoch, wakeAt: row.wakeAt, record: row.record },
        entries,
      })
    world.tell(waiting.row.wakeAt as number)
    const process = world.boot(every, {
      faults: {
        fault: ({ batch }) =>
          batch?.entries?.some(({ seq }) => seq === entries.length + 3) ? { do: 'crash', when: 'before' } : undefined,
      },
    })
    await process.begin()
    const store = world.shelf.open(ID)
    const further: Stored = { row: store.read() as RunRow, entries: store.entries(0, 1000) }
    expect(further.entries.length).toBe(entries.length + 2)
    expect(world.record().head.seq).toBe(entries.length)
    for (const { seq, bytes } of further.entries.slice(entries.length)) {
      await expectDamage(
        change(further, seq, (copy) => {
          copy[20] = (copy[20] as number) ^ 1
          return copy
        }),
        seq,
      )
      expect(bytes.length).toBeGreaterThan(21)
    }
    for (let kept = 1; kept < entries.length; kept++)
      await expectDamage({ ...further, entries: further.entries.slice(0, kept) }, kept + 1)
    for (const kept of [entries.length, entries.length + 1]) {
      const { process: again } = load({ ...further, entries: further.entries.slice(0, kept) })
      expect(await again.runs.drive(ID)).toEqual({ kind: 'ended', status: 'completed' })
    }
  })

  test('G4: a whole journal that was exchanged for another one that is sound in itself is noticed by the mark', async () => {
    const { entries } = await storedRun('waiting').then(async () => {
      const world = new World()
      const process = world.boot(every, { seed: 77 })
      await process.runs.start(every, { n: 1 }, { id: ID })
      await process.runs.drive(ID)
      return { entries: world.shelf.open(ID).entries(0, 1000) }
    })
    expect(entries.length).toBe(waiting.entries.length)
    const end = await expectDamage({ ...waiting, entries }, waiting.entries.length)
    if (end.kind === 'blocked') expect(end.blocked.message).toContain('marked as head')
  })

  test('G4: a payload that was trimmed leaves the chain whole; a trimmed entry that is needed is named', async () => {
    // Flags are part of the header: only a writer that knows the previous hash can set one, as retention will.
    const first = waiting.entries[0] as StoredEntry
    const started = encodeEntry(
      1,
      { kind: 'run_started', generation: 1, host: 'test', at: 0, calls: 0, payload: new Uint8Array([1, 49]) },
      GENESIS,
    )
    expect(started.bytes.length).toBeLessThan(first.bytes.length)
    await expectDamage(
      change(waiting, 1, () => started.bytes.subarray(0, started.bytes.length - 2)),
      1,
    )
  })

  test('G4: a damaged run stays blocked, is not woken by a timer, and each look at it writes nothing', async () => {
    const { world, process } = load(change(waiting, 3, (bytes) => bytes.subarray(0, 50)))
    await process.runs.drive(ID)
    const row = world.row()
    expect(row.wakeAt).toBe(null)
    expect(world.shelf.due(10).map(({ runId }) => runId)).toEqual(['other'])
    await process.crash()
    const again = world.boot(every)
    expect(await again.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'corrupt_entry' } })
    expect(world.row()).toEqual(row)
    // Nor can it be cancelled into an end that its journal does not support; the request is kept.
    await requestCancel(world.shelf.open(ID), again.now)
    expect(await again.runs.drive(ID)).toMatchObject({ kind: 'blocked', blocked: { code: 'corrupt_entry' } })
    expect(world.shelf.open(ID).keys('inbox', { limit: 10 })).toHaveLength(1)
  })

  test('G4: one of ten runs is damaged: nine go on (Y-063)', async () => {
    const world = new World()
    for (let i = 0; i < 10; i++) {
      const { row, entries } =
        i === 4
          ? change(waiting, 5, (bytes) => {
              bytes[30] = 255 - (bytes[30] as number)
              return bytes
            })
          : waiting
      world.shelf
        .open(`run-${i}`)
        .commit({ expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: row.wakeAt, record: row.record }, entries })
    }
    world.tell(waiting.row.wakeAt as number)
    const process = world.boot(every)
    const ends: string[] = []
    for (const { runId } of world.shelf.due(10)) ends.push((await process.runs.drive(runId)).kind)
    expect(ends.filter((kind) => kind === 'ended')).toHaveLength(9)
    expect(ends.filter((kind) => kind === 'blocked')).toHaveLength(1)
  })
})

describe('G4: readers name damage as well', () => {
  test('G4: a page of the journal names the entry, from wherever it begins', async () => {
    for (const { seq } of waiting.entries) {
      const { world } = load(
        change(waiting, seq, (bytes) => {
          bytes[25] = (bytes[25] as number) ^ 4
          return bytes
        }),
      )
      const store = world.shelf.open(ID)
      for (const after of [0, Math.max(0, seq - 2), seq - 1, seq].filter((each) => each < waiting.entries.length)) {
        expect(await errorOf(() => journalPage(store, { after }))).toMatchObject({
          code: 'corrupt_entry',
          details: { seq },
        })
      }
      // Behind it, a page is verified again.
      expect((await journalPage(store, { after: seq + 1 })).items.length).toBe(
        Math.max(0, waiting.entries.length - seq - 1),
      )
    }
  })

  test('G4: a summary of a damaged run still says what its row knows; a damaged result is named', async () => {
    const { process } = load(change(waiting, 3, (bytes) => bytes.subarray(1)))
    expect(await process.runs.summary(ID)).toMatchObject({ status: 'waiting', input: { n: 1 } })
    const { process: first } = load(change(waiting, 1, (bytes) => bytes.subarray(1)))
    expect(await first.runs.summary(ID)).toMatchObject({ status: 'waiting' })
    const seq = completed.entries.length
    for (const edit of [
      (bytes: Uint8Array) => bytes.subarray(0, 40),
      (bytes: Uint8Array) => {
        bytes[bytes.length - 1] = 0
        return bytes
      },
    ]) {
      const { process: ended } = load(change(completed, seq, edit))
      expect(await errorOf(() => ended.runs.summary(ID))).toMatchObject({ code: 'corrupt_entry', details: { seq } })
    }
  })

  test('an export is the stored bytes, also of a damaged run, and says that it is whole', async () => {
    const damaged = change(waiting, 3, (bytes) => {
      bytes[25] = 0
      return bytes
    })
    const { world } = load(damaged)
    const lines: { seq?: number; entry?: string; end?: boolean; entries?: number; runId?: string; format?: number }[] =
      []
    for await (const line of exportRun(world.shelf.open(ID))) lines.push(JSON.parse(line) as object)
    expect(lines[0]).toMatchObject({ stepwell: 'run', format: 1, runId: ID })
    expect(lines.at(-1)).toEqual({ end: true, entries: waiting.entries.length })
    expect(
      lines.filter(({ seq }) => seq !== undefined).map(({ entry }) => [...Buffer.from(entry as string, 'base64')]),
    ).toEqual(damaged.entries.map(({ bytes }) => [...bytes]))
    expect(
      (
        await errorOf(async () => {
          for await (const _ of exportRun(world.shelf.open('unknown')));
        })
      ).code,
    ).toBe('run_not_found')
  })
})

describe('G4: a damaged run row', () => {
  const withRecord = (record: Uint8Array): Stored => ({ ...waiting, row: { ...waiting.row, record } })

  async function expectRowDamage(record: Uint8Array): Promise<void> {
    const { world, process } = load(withRecord(record))
    const row = world.row()
    const before = dump(world)
    expect(await process.runs.drive(ID)).toMatchObject({
      kind: 'blocked',
      blocked: { code: 'corrupt_run', details: { runId: ID } },
      wakeAt: null,
    })
    // Nothing in it can be believed, so nothing is written to it.
    expect(world.row()).toEqual(row)
    expect(dump(world)).toEqual(before)
    expect((await errorOf(() => process.runs.summary(ID))).code).toBe('corrupt_run')
    expect(executed).toEqual([])
    expect(await process.runs.drive('other')).toEqual({ kind: 'ended', status: 'completed' })
  }

  test('G4: one byte of its record changed, at every offset', async () => {
    const { record } = waiting.row
    for (let offset = 0; offset < record.length; offset++) {
      const copy = record.slice()
      copy[offset] = (copy[offset] as number) ^ (1 << (offset % 8))
      await expectRowDamage(copy)
    }
    expect(record.length).toBeGreaterThan(400)
  }, 120_000)

  test('G4: its record cut, empty, longer, or something else', async () => {
    const { record } = waiting.row
    for (let length = 0; length < record.length; length += length < 20 || length > record.length - 12 ? 1 : 29)
      await expectRowDamage(record.subarray(0, length))
    await expectRowDamage(Uint8Array.from([...record, 0]))
    await expectRowDamage(new TextEncoder().encode('{"status":"waiting"}'))
    await expectRowDamage(crypto.getRandomValues(new Uint8Array(500)))
  })

  test('G4: cancelling a run whose row is damaged is the same typed error', async () => {
    const { world } = load(withRecord(new Uint8Array([1, 2, 3])))
    expect((await errorOf(() => requestCancel(world.shelf.open(ID), 0))).code).toBe('corrupt_run')
    expect(world.row().inbox).toBe(0)
  })
})
