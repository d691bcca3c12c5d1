// Large values beside the journal, in hashed chunks (G27): bytes durable first, the reference in a commit that requires them.

import { BlobRef } from './blob-ref.ts'
import type { ReadableBytes } from './client.ts'
import { decode, encode } from './codec.ts'
import { StepwellError } from './errors.ts'
import { blake3, hashParts, hex } from './hash.ts'
import { same } from './journal/entry.ts'
import { type Limits, within } from './limits.ts'
import type { RowWrite, RunStore } from './store/store.ts'

/** What the manifest row holds: the list of the blob's chunks. The blob's address is the hash of this list. */
interface Manifest {
  readonly size: number
  readonly chunkSize: number
  /** 32 bytes for each chunk, in order. */
  readonly hashes: Uint8Array
  readonly createdAt: number
}

/**
 * Stores `source` in chunks and answers its reference. Every chunk is durable before the next is read, the manifest last: a crash
 * leaves chunks that nothing refers to, and the same call again finds them. Equal bytes are stored once. Throws
 * `limit_exceeded` (blobBytes), `quota_exceeded`, `store_unavailable`.
 */
export async function writeBlob(
  store: Pick<RunStore, 'runId' | 'commit'>, limits: Limits, now: number, source: Uint8Array | ReadableBytes, progress?: (bytes: number) => void,
): Promise<BlobRef> {
  const hashes: Uint8Array[] = []
  let size = 0
  let pending: RowWrite[] = []
  let pendingBytes = 0
  const flush = async (more: readonly RowWrite[] = []): Promise<void> => {
    const rows = [...pending, ...more]
    pending = []
    pendingBytes = 0
    if (rows.length === 0) return
    for (let attempt = 1; ; attempt++) {
      const answer = await store.commit({ expect: { kind: 'none' }, rows, durability: more.length > 0 ? 'strict' : 'relaxed' })
      if (answer.kind === 'committed') return
      // Writing the same content-addressed rows again changes nothing, so an unknown answer is simply repeated.
      if (answer.kind === 'stale' || attempt >= 3) {
        throw new StepwellError('store_unavailable', `run ${store.runId}: a chunk of a blob could not be stored`)
      }
    }
  }
  for await (const chunk of chunks(source, limits.chunkBytes)) {
    size += chunk.length
    within(limits, 'blobBytes', size, `a blob of run ${store.runId}`)
    const hash = blake3(chunk)
    hashes.push(hash)
    pending.push({ table: 'chunk', key: hex(hash), value: chunk })
    pendingBytes += chunk.length
    if (pendingBytes + limits.chunkBytes > limits.batchBytes) {
      await flush()
      progress?.(size)
    }
  }
  const list = concat(hashes)
  const ref = new BlobRef(address(size, limits.chunkBytes, list), size, limits.chunkBytes)
  const manifest: Manifest = { size, chunkSize: limits.chunkBytes, hashes: list, createdAt: now }
  await flush([{ table: 'manifest', key: ref.hash, value: encode(manifest) }])
  progress?.(size)
  return ref
}

/** A range of a blob's bytes, each chunk verified. Throws `blob_missing`, `blob_mismatch`, `invalid_argument`; never partial bytes. */
export async function readBlob(
  store: RunStore, ref: BlobRef, range?: { readonly offset: number; readonly length: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const offset = range?.offset ?? 0
  const length = range?.length ?? ref.size - offset
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0 || offset + length > ref.size) {
    throw new StepwellError('invalid_argument', `bytes ${offset} to ${offset + length} are not in a blob of ${ref.size} bytes`)
  }
  const manifest = await manifestOf(store, ref)
  const out = new Uint8Array(length)
  const first = Math.floor(offset / manifest.chunkSize)
  for (let i = first; i * manifest.chunkSize < offset + length; i++) {
    const hash = manifest.hashes.subarray(i * 32, i * 32 + 32)
    const chunk = await store.row('chunk', hex(hash))
    if (chunk === undefined) throw lost('blob_missing', store, ref, `chunk ${i} is missing`)
    const expected = Math.min(manifest.chunkSize, manifest.size - i * manifest.chunkSize)
    if (chunk.length !== expected || !same(blake3(chunk), hash)) throw lost('blob_mismatch', store, ref, `chunk ${i} was changed`)
    const from = Math.max(0, offset - i * manifest.chunkSize)
    const to = Math.min(chunk.length, offset + length - i * manifest.chunkSize)
    out.set(chunk.subarray(from, to), i * manifest.chunkSize + from - offset)
  }
  return out
}

async function manifestOf(store: RunStore, ref: BlobRef): Promise<Manifest> {
  const bytes = await store.row('manifest', ref.hash)
  if (bytes === undefined) throw lost('blob_missing', store, ref, 'its list of chunks is missing')
  let manifest: Manifest
  try {
    manifest = decode(bytes) as Manifest
  } catch {
    throw lost('blob_mismatch', store, ref, 'its list of chunks was changed')
  }
  if (manifest.size !== ref.size || address(manifest.size, manifest.chunkSize, manifest.hashes) !== ref.hash) {
    throw lost('blob_mismatch', store, ref, 'its list of chunks was changed')
  }
  return manifest
}

/** Deletes manifests (and chunks that no kept manifest lists) which `isReferenced` does not know and which are older than `before`. */
export async function sweepBlobs(store: RunStore, isReferenced: (hash: string) => boolean, before: number): Promise<number> {
  const drop: RowWrite[] = []
  const kept = new Set<string>()
  for (let after = ''; ;) {
    const page = await store.rows('manifest', { after, limit: 100 })
    for (const { key, value } of page) {
      const manifest = decode(value) as Manifest
      if (!isReferenced(key) && manifest.createdAt < before) drop.push({ table: 'manifest', key, value: null })
      else for (let i = 0; i < manifest.hashes.length; i += 32) kept.add(hex(manifest.hashes.subarray(i, i + 32)))
      after = key
    }
    if (page.length < 100) break
  }
  if (drop.length === 0) return 0
  const manifests = drop.length
  for (let after = ''; ;) {
    const page = await store.keys('chunk', { after, limit: 1000 })
    for (const key of page) {
      if (!kept.has(key)) drop.push({ table: 'chunk', key, value: null })
      after = key
    }
    if (page.length < 1000) break
  }
  const answer = await store.commit({ expect: { kind: 'none' }, rows: drop })
  return answer.kind === 'committed' ? manifests : 0
}

function address(size: number, chunkSize: number, hashes: Uint8Array): string {
  return hex(hashParts('stepwell.blob', size, chunkSize, hashes))
}

function lost(code: 'blob_missing' | 'blob_mismatch', store: RunStore, ref: BlobRef, why: string): StepwellError {
  return new StepwellError(code, `blob ${ref.hash.slice(0, 12)}… of run ${store.runId}: ${why}`, { details: { hash: ref.hash, why } })
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

async function* chunks(source: Uint8Array | ReadableBytes, size: number): AsyncGenerator<Uint8Array> {
  if (source instanceof Uint8Array) {
    for (let at = 0; at < source.length; at += size) yield source.slice(at, at + size)
    return
  }
  if ('slice' in source) {
    // A `File` is read in slices of about a megabyte, so that its size does not matter.
    const step = size * 21
    for (let at = 0; at < source.size; at += step) {
      const part = new Uint8Array(await source.slice(at, Math.min(source.size, at + step)).arrayBuffer())
      for (let i = 0; i < part.length; i += size) yield part.slice(i, i + size)
    }
    return
  }
  let rest: Uint8Array = new Uint8Array(0)
  for await (const part of source) {
    if (!(part instanceof Uint8Array)) throw new StepwellError('invalid_argument', 'a blob is made of Uint8Array parts')
    rest = rest.length === 0 ? part : concat([rest, part])
    let at = 0
    for (; rest.length - at >= size; at += size) yield rest.slice(at, at + size)
    rest = rest.slice(at)
  }
  if (rest.length > 0) yield rest
}
