// BLAKE3 over the exports of blake3-wasm's WebAssembly file (version 2.1.5), synchronously. Whoever calls has made the
// instance: only a host can. Keyed hashing is left out on purpose, it leaks in that version (platform 115).

import { StepwellError } from '../error/stepwell-error.ts'
import { checkBytes, type Blake3, type Hasher } from './blake3-noble.ts'

/**
 * What we use of the file. A function that takes input bytes owns them and frees them; output bytes stay the
 * caller's.
 */
interface Wasm {
  readonly memory: { readonly buffer: ArrayBuffer }
  hash(input: number, inputLength: number, out: number, outLength: number): void
  create_hasher(): number
  blake3hash_update(hasher: number, input: number, inputLength: number): void
  blake3hash_digest(hasher: number, out: number, outLength: number): void
  __wbg_blake3hash_free(hasher: number): void
  __wbindgen_malloc(bytes: number): number
}

/** WebAssembly memory never shrinks (platform 116), so no more than this of an input is in it at once. */
const PIECE_BYTES = 64 * 1024
const DIGEST_BYTES = 32

/** The one import of the file: a panic in it. */
export const wasmImports: { readonly wbg: { readonly __wbindgen_throw: () => never } } = {
  wbg: {
    __wbindgen_throw() {
      throw new StepwellError('internal', 'the BLAKE3 module panicked')
    },
  },
}

/** BLAKE3 over an instance's exports. */
export function fromWasm(exports: object): Blake3 {
  // The file is pinned and compared byte for byte (test/hash.node.test.ts), so its exports are known.
  const wasm = exports as Wasm
  const out = wasm.__wbindgen_malloc(DIGEST_BYTES)
  let memory = new Uint8Array(wasm.memory.buffer)

  /** Copies bytes in; the function that is called with the pointer frees them. */
  const pass = (data: Uint8Array): number => {
    const pointer = wasm.__wbindgen_malloc(data.length)
    refresh()
    memory.set(data, pointer)
    return pointer
  }
  /** A memory that grew detached our view of it. */
  const refresh = (): void => {
    if (memory.length === 0) memory = new Uint8Array(wasm.memory.buffer)
  }
  const update = (hasher: number, data: Uint8Array): void => {
    for (let at = 0; at < data.length; at += PIECE_BYTES) {
      const piece = data.length <= PIECE_BYTES ? data : data.subarray(at, at + PIECE_BYTES)
      wasm.blake3hash_update(hasher, pass(piece), piece.length)
    }
  }
  const run = (data: Uint8Array): void => {
    checkBytes(data)
    if (data.length <= PIECE_BYTES) {
      wasm.hash(pass(data), data.length, out, DIGEST_BYTES)
      return
    }
    const hasher = wasm.create_hasher()
    try {
      update(hasher, data)
      wasm.blake3hash_digest(hasher, out, DIGEST_BYTES)
      refresh()
    } finally {
      wasm.__wbg_blake3hash_free(hasher)
    }
  }

  return {
    name: 'wasm',
    hash(data) {
      run(data)
      return memory.slice(out, out + DIGEST_BYTES)
    },
    hashInto(data, target, offset) {
      run(data)
      for (let i = 0; i < DIGEST_BYTES; i++) target[offset + i] = memory[out + i]!
    },
    createHasher(): Hasher {
      let hasher = wasm.create_hasher()
      const live = (): number => {
        if (hasher === 0) throw new StepwellError('invalid_argument', 'this hasher is closed: its digest was taken')
        return hasher
      }
      return {
        update(data) {
          checkBytes(data)
          update(live(), data)
          return this
        },
        digest() {
          wasm.blake3hash_digest(live(), out, DIGEST_BYTES)
          this.close()
          refresh()
          return memory.slice(out, out + DIGEST_BYTES)
        },
        close() {
          if (hasher !== 0) wasm.__wbg_blake3hash_free(hasher)
          hasher = 0
        },
      }
    },
  }
}
