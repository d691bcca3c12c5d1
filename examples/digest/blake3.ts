// The hash of the example. To become `import { blake3, createHasher, hex } from 'stepwell'`, which computes it by WebAssembly
// where it may; until the package exports it, the same function in JavaScript.

import { blake3 as noble } from '@noble/hashes/blake3.js'
import { bytesToHex } from '@noble/hashes/utils.js'

export const createHasher = (): { update(data: Uint8Array): unknown; digest(): Uint8Array<ArrayBuffer> } => {
  const hasher = noble.create({})
  return { update: (data) => hasher.update(data), digest: () => new Uint8Array(hasher.digest()) }
}
export const blake3 = (data: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(noble(data))
export const hex = (bytes: Uint8Array): string => bytesToHex(bytes)
