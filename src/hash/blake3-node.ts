// BLAKE3 in Node: the WebAssembly file of the installed package, read and compiled once, at the first hash.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fromWasm, wasmImports } from './blake3-glue.ts'
import { type Blake3, open as openJs } from './blake3-noble.ts'

// For a program bundled into one file, which finds no package beside it.
export { openFast } from './blake3-browser.ts'

export function open(): Blake3 {
  try {
    const path = createRequire(import.meta.url).resolve('blake3-wasm/dist/wasm/web/blake3_js_bg.wasm')
    const module = new WebAssembly.Module(readFileSync(path))
    return fromWasm(new WebAssembly.Instance(module, wasmImports).exports)
  } catch {
    return openJs() // the same digests, slower
  }
}
