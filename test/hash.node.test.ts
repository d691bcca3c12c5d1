import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { fromBase64 } from '../src/base64.ts'
import { openFast } from '../src/hash/blake3-browser.ts'
import { fromWasm, wasmImports } from '../src/hash/blake3-glue.ts'
import * as noble from '../src/hash/blake3-noble.ts'
import { open as openNode } from '../src/hash/blake3-node.ts'
import { blake3Wasm } from '../src/hash/blake3-wasm-base64.ts'
import { hex } from '../src/hash.ts'
import { vectorInput } from './contract/blake3-vectors.ts'
import { hashContract } from './contract/hash.contract.ts'

/** What the tests use of WebAssembly: Node's types do not declare it. */
interface WasmApi {
  Module: new (bytes: Uint8Array) => object
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: { readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): void } } }
  readonly CompileError: new (message: string) => Error
  instantiate(bytes: Uint8Array, imports: object): Promise<object>
}
const wasm = (globalThis as unknown as { readonly WebAssembly: WasmApi }).WebAssembly

const file = readFileSync(createRequire(import.meta.url).resolve('blake3-wasm/dist/wasm/web/blake3_js_bg.wasm'))

hashContract({
  name: 'Node',
  backends: ['wasm', 'wasm'],
  ways: {
    'the file of the package': async () => openNode(),
    'the embedded file': openFast,
    JavaScript: async () => noble.open(),
  },
})

describe('BLAKE3 in WebAssembly', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  test("G4: the embedded file is the package's, byte for byte (else run scripts/embed-wasm.mjs)", () => {
    const embedded = fromBase64(blake3Wasm)
    expect(embedded?.length).toBe(file.length)
    expect(embedded && Buffer.compare(embedded, file)).toBe(0)
  })

  test('G4: its memory does not grow with large inputs or many hashers (platform 115, 116)', () => {
    const instance = new wasm.Instance(new wasm.Module(file), wasmImports)
    const { memory } = instance.exports
    const it = fromWasm(instance.exports)
    it.hash(vectorInput(64 * 1024))
    it.hash(vectorInput(200_000))
    const before = memory.buffer.byteLength
    it.hash(vectorInput(8 * 1024 * 1024))
    for (let i = 0; i < 5000; i++) {
      it.hash(vectorInput(100))
      it.createHasher().update(vectorInput(10)).digest()
      it.createHasher().close()
    }
    expect(memory.buffer.byteLength).toBe(before)
  }, 60_000)

  test('G4: digests stay right when its memory grows between calls', () => {
    const instance = new wasm.Instance(new wasm.Module(file), wasmImports)
    const { memory } = instance.exports
    const it = fromWasm(instance.exports)
    for (const length of [0, 100, 200_000]) {
      const hasher = it.createHasher().update(vectorInput(length))
      memory.grow(1)
      const digest = hex(hasher.digest())
      expect(digest).toBe(hex(noble.open().hash(vectorInput(length))))
      memory.grow(1)
      expect(hex(it.hash(vectorInput(length)))).toBe(digest)
      memory.grow(1)
      const out = new Uint8Array(32)
      it.hashInto(vectorInput(length), out, 0)
      expect(hex(out)).toBe(digest)
    }
  })

  test('G4: a panic of the module is a typed error', () => {
    expect(() => wasmImports.wbg.__wbindgen_throw()).toThrow(expect.objectContaining({ code: 'internal' }))
  })

  test('G4: where WebAssembly may not be compiled, loading it answers nothing and throws nothing (platform 110)', async () => {
    vi.spyOn(wasm, 'instantiate').mockRejectedValue(new wasm.CompileError('blocked by the policy'))
    expect(await openFast()).toBeUndefined()
  })

  test('G4: a Node program without the file hashes in JavaScript', () => {
    vi.spyOn(wasm, 'Module').mockImplementation(function () {
      throw new Error('not there')
    })
    const it = openNode()
    expect(it.name).toBe('js')
  })

  test('G4: the default has no faster way', async () => {
    expect(await noble.openFast()).toBeUndefined()
  })
})
