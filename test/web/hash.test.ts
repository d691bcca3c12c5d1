import { describe, expect, test } from 'vitest'
import { openFast } from '../../src/hash/blake3-browser.ts'
import * as noble from '../../src/hash/blake3-noble.ts'
import { blake3Vectors } from '../contract/blake3-vectors.ts'
import { hashContract } from '../contract/hash.contract.ts'

hashContract({
  name: 'Chromium',
  backends: ['js', 'wasm'],
  ways: { 'the embedded file': openFast, JavaScript: async () => noble.open() },
})

describe('BLAKE3 in a page whose policy forbids WebAssembly (platform 110)', () => {
  test('G4: loadFast answers false, and hashes stay right', async () => {
    const module = new URL('../../src/hash.ts', import.meta.url).href
    const frame = document.createElement('iframe')
    const answer = new Promise<unknown>((resolve) => {
      addEventListener('message', (event) => {
        if (event.source === frame.contentWindow) resolve(event.data)
      })
    })
    frame.srcdoc = `<meta http-equiv="Content-Security-Policy" content="script-src 'self' 'unsafe-inline'">
      <script type="module">
        let forbidden = false
        try { new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) } catch { forbidden = true }
        try {
          const { backend, blake3, hex, loadFast } = await import(${JSON.stringify(module)})
          const fast = await loadFast()
          parent.postMessage({ forbidden, fast, backend: backend(), digest: hex(blake3(new Uint8Array([0]))) }, '*')
        } catch (error) { parent.postMessage(String(error), '*') }
      </script>`
    document.body.append(frame)
    expect(await answer).toEqual({ forbidden: true, fast: false, backend: 'js', digest: blake3Vectors[1]?.[1] })
    frame.remove()
  })
})
