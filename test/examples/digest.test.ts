import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { expect, test } from 'vitest'
import { digest } from '../../examples/digest/digest.ts'
import { BlobRef, defaultLimits } from '../../src/index.ts'
import { writeBlob } from '../../src/blob.ts'
import { journalPage } from '../../src/journal/view.ts'
import type { TestRuns } from '../../src/testing/test-runs.ts'
import { nodeRuns } from '../support/node.ts'

const KiB = 1024

function bytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7 + (i >> 8)) & 255)
}

/** What docs/examples.md says the digest is, written again. */
function expected(files: readonly Uint8Array[], chunkBytes: number): { files: string[]; digest: string } {
  const of = files.map((file) => {
    const chunks: Uint8Array[] = []
    for (let at = 0; at < file.length; at += chunkBytes) chunks.push(blake3(file.subarray(at, at + chunkBytes)))
    return blake3(Uint8Array.from(chunks.flatMap((chunk) => [...chunk])))
  })
  return { files: of.map((each) => bytesToHex(each)), digest: bytesToHex(blake3(Uint8Array.from(of.flatMap((each) => [...each])))) }
}

async function put(runs: TestRuns, id: string, files: readonly Uint8Array[]): Promise<{ name: string; type: string; blob: BlobRef }[]> {
  const store = await runs.store(id)
  const refs = []
  for (const [i, file] of files.entries()) refs.push({ name: `file-${i}.bin`, type: 'application/octet-stream', blob: await writeBlob(store, defaultLimits, runs.host.now(), file) })
  return refs
}

test('every chunk is hashed in a step of its own, each file and all of them together get one digest', async () => {
  const files = [bytes(200 * KiB + 17, 1), bytes(1, 2), bytes(0, 3), bytes(64 * KiB, 4)]
  const runs = nodeRuns({ workflows: [digest] })
  const { status, output, error } = await runs.run(digest, { files: await put(runs, 'd', files), chunkBytes: 64 * KiB }, { id: 'd' })
  expect(error).toBeUndefined()
  expect(status).toBe('completed')
  const want = expected(files, 64 * KiB)
  expect(output).toEqual({
    files: files.map((file, i) => ({ name: `file-${i}.bin`, size: file.length, digest: want.files[i] })), digest: want.digest,
  })
  const { items } = await journalPage(await runs.store('d'))
  const keys = items.flatMap(({ kind, key }) => (kind === 'step_completed' && key !== undefined ? [key] : []))
  expect(keys.filter((key) => key.endsWith('/hash'))).toHaveLength(4 + 1 + 0 + 1)
  expect(keys).toContain('files[0]/chunks[3]/hash')
  expect(keys.at(-1)).toBe('total')
})

test('a file larger than the default chunk, with the defaults', async () => {
  const files = [bytes(2.5 * KiB * KiB, 5)]
  const runs = nodeRuns({ workflows: [digest] })
  const { output } = await runs.run(digest, { files: await put(runs, 'd', files) }, { id: 'd' })
  expect(output).toMatchObject({ digest: expected(files, KiB * KiB).digest })
})

test('what is no file is refused before anything is written', async () => {
  const runs = nodeRuns({ workflows: [digest] })
  const blob = new BlobRef('0'.repeat(64), 3, 3)
  for (const bad of [{ files: [] }, { files: [{ name: 'a', blob: { ...blob } }] }, { files: [{ name: '', blob }] }, { files: [{ name: 'a', blob }], chunkBytes: 1 }]) {
    await expect(runs.start(digest, bad as never, { id: 'd' })).rejects.toMatchObject({ code: 'input_invalid' })
  }
  expect(await (await runs.store('d')).read()).toBeUndefined()
})

test('a file whose bytes are gone fails the run and says so', async () => {
  const runs = nodeRuns({ workflows: [digest] })
  const { status, error } = await runs.run(digest, { files: [{ name: 'a', blob: new BlobRef('0'.repeat(64), 3, 3) }] }, { id: 'd' })
  expect(status).toBe('failed')
  expect(error).toMatchObject({ code: 'step_failed', cause: { code: 'blob_missing' } })
})
