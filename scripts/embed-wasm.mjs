// Writes src/hash/blake3-wasm-base64.ts from the installed blake3-wasm package. Run it after that version changes.

import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const { version, license, author } = JSON.parse(readFileSync(require.resolve('blake3-wasm/package.json'), 'utf8'))
const base64 = readFileSync(require.resolve('blake3-wasm/dist/wasm/web/blake3_js_bg.wasm')).toString('base64')
const target = fileURLToPath(new URL('../src/hash/blake3-wasm-base64.ts', import.meta.url))
writeFileSync(target, [
  `// Made by scripts/embed-wasm.mjs: dist/wasm/web/blake3_js_bg.wasm of blake3-wasm ${version} (${license}, ${author}).`,
  '',
  '/** The WebAssembly file as base64. */',
  `export const blake3Wasm: string = '${base64}'`,
  '',
].join('\n'))
