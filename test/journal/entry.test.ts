import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StepwellError } from '../../src/errors.ts'
import { blake3, hex } from '../../src/hash.ts'
import {
  claim,
  decodeEntry,
  encodeEntry,
  type EntryDraft,
  type EntryKind,
  GENESIS,
  isDelivered,
  isEffectNote,
  isTerminal,
  kindCodes,
} from '../../src/journal/entry.ts'
import { decodeRecord, encodeRecord, isEnded, type RunRecord, type Status } from '../../src/journal/record.ts'

const kinds = Object.keys(kindCodes) as EntryKind[]

const drafts: fc.Arbitrary<EntryDraft> = fc
  .record({
    kind: fc.constantFrom(...kinds),
    generation: fc.constantFrom(1, 2, 127, 128, 2 ** 31, 2 ** 40),
    host: fc.constantFrom('edge', 'browser', 'test'),
    at: fc.oneof(fc.nat(), fc.constantFrom(0, 1.5, -1, 8.64e15)),
    calls: fc.oneof(fc.nat(300), fc.constantFrom(127, 128, 16_383, 16_384, 2 ** 32, 2 ** 45)),
    attempt: fc.nat(300),
    prompt: fc.boolean(),
    grouped: fc.boolean(),
    blob: fc.boolean(),
    payload: fc.uint8Array({ maxLength: 300 }),
  })
  .chain((base) =>
    fc
      .record({
        due: fc.option(fc.nat(), { nil: undefined }),
        keyed: fc.option(
          fc.tuple(fc.string({ unit: 'grapheme', maxLength: 200 }), fc.uint8Array({ minLength: 16, maxLength: 16 })),
          { nil: undefined },
        ),
      })
      .map(
        ({ due, keyed }) =>
          ({
            ...base,
            ...(due === undefined ? undefined : { due }),
            ...(keyed === undefined ? undefined : { key: keyed[0], fingerprint: keyed[1] }),
          }) as EntryDraft,
      ),
  )

describe('the encoded entry, format 1', () => {
  test('whatever is encoded is decoded to the same, with the same hash, also as claimed', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), drafts, fc.uint8Array({ minLength: 32, maxLength: 32 }), (seq, draft, previous) => {
        const { bytes, hash } = encodeEntry(seq + 1, draft, previous)
        const entry = decodeEntry(seq + 1, bytes, previous)
        const { payloadHash: _, trimmed, hash: decoded, seq: decodedSeq, ...rest } = entry
        expect(rest).toEqual(draft)
        expect(decodedSeq).toBe(seq + 1)
        expect(trimmed).toBe(false)
        expect(hex(decoded)).toBe(hex(hash))
        const claimed = claim(bytes)
        expect([claimed.kind, claimed.generation, claimed.at, hex(claimed.hash)]).toEqual([
          draft.kind,
          draft.generation,
          draft.at,
          hex(hash),
        ])
      }),
      { numRuns: 300 },
    )
  })

  test('G4: no other predecessor, no other seq and no changed bit is accepted', () => {
    fc.assert(
      fc.property(drafts, fc.nat(), (draft, at) => {
        const { bytes } = encodeEntry(7, draft, GENESIS)
        for (const [seq, previous] of [
          [8, GENESIS],
          [6, GENESIS],
          [7, GENESIS.map((byte, i) => (i === at % 32 ? 1 : byte))],
        ] as const) {
          expect(() => decodeEntry(seq, bytes, previous)).toThrow(StepwellError)
        }
        const changed = bytes.slice()
        changed[at % bytes.length] = (changed[at % bytes.length] as number) ^ (1 << (at % 8))
        expect(() => decodeEntry(7, changed, GENESIS)).toThrow(StepwellError)
      }),
      { numRuns: 300 },
    )
  })

  test('G4: bytes that nobody wrote are a typed error, never another one and never an endless read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, isFormat1) => {
        if (isFormat1 && bytes.length > 0) bytes[0] = 1
        try {
          decodeEntry(1, bytes, GENESIS)
          throw new Error('accepted')
        } catch (error) {
          expect(error).toBeInstanceOf(StepwellError)
          expect(['corrupt_entry', 'format_too_new', 'unsupported_entry']).toContain((error as StepwellError).code)
          expect((error as StepwellError).details).toMatchObject({ seq: 1 })
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('G4: an entry of a newer format, and a kind, host or flag that is not known here, say so, and name the seq (Z-123)', () => {
    const { bytes } = encodeEntry(5, { kind: 'run_started', generation: 1, host: 'test', at: 0, calls: 0 }, GENESIS)
    expect(() => decodeEntry(5, Uint8Array.from([2, ...bytes.subarray(1)]), GENESIS)).toThrow(
      expect.objectContaining({ code: 'format_too_new', details: { seq: 5 } }),
    )
    for (const [offset, value] of [
      [1, 99],
      [1, 0],
      [3, 9],
      [2, 64],
      [2, 128],
    ] as const) {
      // As a newer writer would: the hash is right, the meaning is not known.
      const header = bytes.slice(0, bytes.length - 32)
      header[offset] = value
      const whole = Uint8Array.from([...header, ...blake3(Uint8Array.from([...GENESIS, ...header]))])
      expect(() => decodeEntry(5, whole, GENESIS)).toThrow(expect.objectContaining({ code: 'unsupported_entry' }))
    }
  })

  test('G4: the chain covers the hash of the payload, not the payload: a trimmed entry still verifies', () => {
    const payload = new Uint8Array(100).fill(5)
    const draft: EntryDraft = {
      kind: 'step_completed',
      generation: 1,
      host: 'edge',
      at: 1,
      calls: 1,
      key: 's',
      fingerprint: new Uint8Array(16),
      payload,
    }
    const { bytes, hash } = encodeEntry(1, draft, GENESIS)
    const next = encodeEntry(2, draft, hash)
    expect(decodeEntry(2, next.bytes, decodeEntry(1, bytes, GENESIS).hash).seq).toBe(2)
    // Without its payload and without the flag it is damaged.
    expect(() => decodeEntry(1, bytes.subarray(0, bytes.length - 100), GENESIS)).toThrow(
      expect.objectContaining({ code: 'corrupt_entry' }),
    )
  })

  test('kinds: their codes are stored words, and each is delivered, a note, or an end', () => {
    expect(kindCodes).toEqual({
      run_started: 1,
      generation_started: 2,
      step_completed: 10,
      step_failed: 11,
      attempt_failed: 12,
      timer_set: 20,
      timer_fired: 21,
      cancel_requested: 30,
      deadline_passed: 31,
      run_completed: 40,
      run_failed: 41,
      run_cancelled: 42,
      effect_intended: 50,
      effect_not_called: 51,
      effect_attempt_failed: 52,
      effect_ambiguous: 53,
      effect_decided: 54,
      effect_completed: 55,
      effect_failed: 56,
      effect_recorded: 57,
      effect_looked_up: 58,
      effect_noted: 59,
      undo_started: 60,
      undo_intended: 61,
      undo_attempt_failed: 62,
      undo_completed: 63,
      patch_applied: 70,
      event_emitted: 75,
      signal_received: 80,
    })
    expect(kinds.filter(isDelivered)).toEqual([
      'step_completed',
      'step_failed',
      'timer_fired',
      'cancel_requested',
      'deadline_passed',
      'effect_completed',
      'effect_failed',
      'effect_looked_up',
      'effect_noted',
      'signal_received',
    ])
    expect(kinds.filter(isEffectNote).length).toBe(10)
    expect(kinds.filter(isTerminal)).toEqual(['run_completed', 'run_failed', 'run_cancelled'])
  })

  test('a fixed entry has fixed bytes: the format does not change by accident', () => {
    const { bytes } = encodeEntry(
      300,
      {
        kind: 'step_completed',
        generation: 2,
        host: 'browser',
        at: 1_767_225_600_000,
        calls: 130,
        attempt: 1,
        key: 'charge[ü]',
        due: 5,
        fingerprint: Uint8Array.from({ length: 16 }, (_, i) => i),
        payload: new TextEncoder().encode('\u0001{"a":1}'),
        prompt: true,
      },
      GENESIS,
    )
    expect(hex(bytes.subarray(0, 4))).toBe('010a2302')
    expect(hex(bytes.subarray(4, 10))).toBe('ac0202820101')
    expect(new DataView(bytes.buffer, bytes.byteOffset).getFloat64(10, true)).toBe(1_767_225_600_000)
    expect(new DataView(bytes.buffer, bytes.byteOffset).getFloat64(18, true)).toBe(5)
    expect(new TextDecoder().decode(bytes.subarray(27, 37))).toBe('charge[ü]')
    expect(bytes[26]).toBe(10)
    expect(hex(bytes.subarray(37, 53))).toBe('000102030405060708090a0b0c0d0e0f')
    expect(bytes[53]).toBe(8)
    expect(new TextDecoder().decode(bytes.subarray(-8))).toBe('\u0001{"a":1}')
    expect(bytes.length).toBe(54 + 32 + 32 + 8)
  })
})

describe('the run row\'s record', () => {
  const record: RunRecord = {
    format: 1,
    incarnation: 'i',
    workflow: 'w',
    version: 1,
    status: 'waiting',
    generation: 1,
    generationSeq: 1,
    head: { seq: 1, hash: GENESIS },
    createdAt: 1,
    updatedAt: 2,
    endedAt: undefined,
    deadline: undefined,
    wakes: 0,
    expiresAt: undefined, notBefore: undefined, wokenInbox: 0, wokenSeq: 0,
    waitingFor: [{ kind: 'timer', key: 'k', dueAt: 5 }],
    blocked: undefined,
    inputHash: 'h',
    token: undefined,
    tags: ['t'],
    metadata: { a: 'b' },
    lastSeq: undefined, paused: undefined, divergences: 0, restartId: undefined, undos: 0, effects: 0, events: 0, patches: [], inherited: [],
  }
  const row = (bytes: Uint8Array) => ({ runId: 'r', epoch: 1, inbox: 0, wakeAt: null, record: bytes })

  test('it comes back as it was', () => {
    expect(decodeRecord(row(encodeRecord(record)))).toEqual(record)
  })

  test('one of a newer format, and what is no record, say so', () => {
    expect(() => decodeRecord(row(encodeRecord({ ...record, format: 3 as 1 })))).toThrow(
      expect.objectContaining({ code: 'format_too_new' }),
    )
    // A tombstone, which a version from before there were any takes for a newer format.
    expect(() => decodeRecord(row(encodeRecord({ ...record, format: 2 as 1 })))).toThrow(
      expect.objectContaining({ code: 'run_swept' }),
    )
    for (const wrong of [null, 5, {}, { workflow: 'w' }, { format: 1 }, [], { ...record, workflow: 5 }] as never[]) {
      expect(() => decodeRecord(row(encodeRecord(wrong)))).toThrow(expect.objectContaining({ code: 'corrupt_run' }))
    }
  })

  test('what has ended', () => {
    const all: Status[] = [
      'queued',
      'running',
      'waiting',
      'paused',
      'cancelling',
      'undoing',
      'blocked',
      'completed',
      'failed',
      'cancelled',
    ]
    expect(all.filter(isEnded)).toEqual(['completed', 'failed', 'cancelled'])
  })
})
