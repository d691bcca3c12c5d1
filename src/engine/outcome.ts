// Values and errors as payloads: encoded once, decoded for whoever waits, so that a live run sees what replay will see (G26).

import { BlobRef } from '../blob-ref.ts'
import { readBlob, writeBlob } from '../blob.ts'
import { type Copy, decode, encode, lend } from '../codec.ts'
import { StepwellError } from '../errors.ts'
import { type Limits, within } from '../limits.ts'
import type { Batch, RunStore } from '../store/store.ts'

/** What writing a blob needs of a store. */
export type BlobStore = Pick<RunStore, 'runId' | 'commit'>

export interface Payload {
  readonly payload: Uint8Array
  readonly blob: boolean
  readonly require: Batch['require']
}

/** The encoded value, or undefined when it is larger than what is kept inline. Throws `not_serializable`, `limit_exceeded`. */
export function encodeInline(limits: Limits, value: unknown, what: string): Uint8Array | { readonly large: Uint8Array } {
  const bytes = encode(value)
  if (bytes.length <= limits.inlineBytes) return bytes
  within(limits, 'valueBytes', bytes.length, what)
  return { large: bytes }
}

/** As `encodeInline`, with the value as replay will give it; undefined when it is large. The bytes are lent (codec.ts). */
export function lendInline(limits: Limits, value: unknown): Copy<unknown> | undefined {
  const lent = lend(value)
  return lent.bytes.length <= limits.inlineBytes ? lent : undefined
}

/** The payload of an entry; a large one becomes a blob, durable before this resolves, that the commit then requires. */
export async function toPayload(store: BlobStore, limits: Limits, now: number, value: unknown, what: string): Promise<Payload> {
  const inline = encodeInline(limits, value, what)
  if (inline instanceof Uint8Array) return { payload: inline, blob: false, require: undefined }
  return offload(store, limits, now, inline.large)
}

export async function offload(store: BlobStore, limits: Limits, now: number, bytes: Uint8Array): Promise<Payload> {
  // It was measured against `valueBytes`; `blobBytes` is for blobs that are written directly.
  const ref = await writeBlob(store, { ...limits, blobBytes: Math.max(limits.blobBytes, bytes.length) }, now, bytes)
  return { payload: encode(ref), blob: true, require: [{ table: 'manifest', key: ref.hash }] }
}

/** The value of an entry's payload. Throws `corrupt_payload`, `blob_missing`, `blob_mismatch`: never a partial value. */
export async function fromPayload(store: RunStore, entry: { readonly seq: number; readonly payload: Uint8Array; readonly blob: boolean; readonly trimmed: boolean }): Promise<unknown> {
  if (!entry.blob) return inlineValue(entry)
  const ref = decode(entry.payload)
  if (!(ref instanceof BlobRef)) throw new StepwellError('corrupt_payload', `entry ${entry.seq} says it refers to a blob and does not`, { details: { seq: entry.seq } })
  return decode(await readBlob(store, ref))
}

export function inlineValue(entry: { readonly seq: number; readonly payload: Uint8Array; readonly trimmed: boolean }): unknown {
  if (entry.trimmed) throw new StepwellError('corrupt_payload', `the payload of entry ${entry.seq} was trimmed by retention`, { details: { seq: entry.seq } })
  return entry.payload.length === 0 ? undefined : decode(entry.payload)
}

/** What was thrown, in a few words. Never throws, whatever it was. */
export function describe(error: unknown): string {
  try {
    return error instanceof Error ? error.message || error.name : String(error)
  } catch {
    return 'something that cannot be shown'
  }
}
