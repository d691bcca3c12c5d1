// BLAKE3 in Workers: an imported `.wasm` is a compiled module there, and nothing else can be one (platform 113).

import module from 'blake3-wasm/dist/wasm/web/blake3_js_bg.wasm'
import { fromWasm, wasmImports } from './blake3-glue.ts'
import type { Blake3 } from './blake3-noble.ts'

export function open(): Blake3 {
  return fromWasm(new WebAssembly.Instance(module, wasmImports).exports)
}

export async function openFast(): Promise<Blake3 | undefined> {
  return undefined
}
