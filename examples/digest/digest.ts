// The digest of files: each cut into chunks, each chunk hashed in a step, so that a reload or a crash half-way through a large
// file costs one chunk. The files are blobs beside the run, stored before its start (`client.putBlob`): the input holds references.

import { blake3, type BlobRef, createHasher, hex, isBlobRef, loadFast, workflow } from 'stepwell'
import { z } from 'zod'

const MiB = 1024 * 1024

export const DigestInput = z.object({
  files: z.array(z.object({ name: z.string().min(1).max(1000), type: z.string().max(200).default(''), blob: z.custom<BlobRef>(isBlobRef, 'not a blob reference') })).min(1).max(100),
  /** Bytes hashed by one step. Part of what the digest means: other chunks give another digest. */
  chunkBytes: z.number().int().min(1024).max(64 * MiB).default(MiB),
})

export const DigestOutput = z.object({
  files: z.array(z.object({ name: z.string(), size: z.number(), digest: z.string() })),
  digest: z.string(),
})

export const digest = workflow({
  name: 'digest',
  input: DigestInput,
  output: DigestOutput,
}, async (ctx, { files, chunkBytes }) => {
  const digests = await ctx.map('files', files, { concurrency: 2 }, async (ctx, { blob }) => {
    const chunks = await ctx.map('chunks', cut(blob, chunkBytes), { concurrency: 4 }, (ctx, piece) =>
      ctx.step('hash', async ({ input: { blob, offset, length }, readBlob, progress, abortSignal }) => {
        // In a page the fast hash is fetched for the first chunk; where a Content-Security-Policy forbids it, the other one stays.
        await loadFast()
        const hasher = createHasher()
        for (let done = 0; done < length;) {
          abortSignal.throwIfAborted()
          const part = await readBlob(blob, { offset: offset + done, length: Math.min(length - done, MiB / 4) })
          hasher.update(part)
          done += part.length
          progress(done, length)
        }
        return hasher.digest()
      }, { input: piece }))
    return ctx.step('combine', ({ input }) => blake3(concat(input)), { input: chunks })
  })
  const total = await ctx.step('total', ({ input }) => hex(blake3(concat(input))), { input: digests })
  return {
    files: files.map(({ name, blob }, i) => ({ name, size: blob.size, digest: hex(digests[i] ?? new Uint8Array(0)) })),
    digest: total,
  }
})

interface Piece {
  readonly blob: BlobRef
  readonly offset: number
  readonly length: number
}

/** The pieces of a blob, in order; none of an empty one. */
function cut(blob: BlobRef, chunkBytes: number): Piece[] {
  return Array.from({ length: Math.ceil(blob.size / chunkBytes) }, (_, i) => {
    const offset = i * chunkBytes
    return { blob, offset, length: Math.min(chunkBytes, blob.size - offset) }
  })
}

function concat(digests: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(digests.length * 32)
  digests.forEach((each, i) => bytes.set(each, i * 32))
  return bytes
}
