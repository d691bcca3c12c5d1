// BLAKE3 in pages: JavaScript at first, which is small and which every content security policy allows; WebAssembly on
// demand, from a module of its own, so that a page which never asks never loads it.

import { fromBase64 } from '../base64.ts'
import { fromWasm, wasmImports } from './blake3-glue.ts'
import { type Blake3, open } from './blake3-noble.ts'

export { open }

export async function openFast(): Promise<Blake3 | undefined> {
  try {
    const { blake3Wasm } = await import('./blake3-wasm-base64.ts')
    const bytes = fromBase64(blake3Wasm)
    if (bytes === undefined) return undefined
    const { instance } = await WebAssembly.instantiate(bytes, wasmImports)
    return fromWasm(instance.exports)
  } catch {
    // The policy forbids WebAssembly, or the module could not be loaded now: JavaScript gives the same digests.
    return undefined
  }
}
