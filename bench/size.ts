// How many bytes a user's bundle takes: fixed entries (bench/size/), esbuild, minified, gzip -9.

import { join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import type { Figure } from './figures.ts'

const root = resolve(import.meta.dirname, '..')

interface Entry {
  readonly figure: string
  readonly file: string
  readonly conditions: string[]
  /** What is not counted. */
  readonly external: string[]
}

const platform = ['cloudflare:*', 'hono', 'hono/*', '*.wasm']
// The same file as text, for pages: a module of its own that only a page which hashes large inputs ever loads.
const wasmAsText = '*/blake3-wasm-base64.ts'

const entries: readonly Entry[] = [
  // The engine, the IndexedDB host and `idb`. Not counted: whatever is behind `#blake3`.
  { figure: 'size.web', file: 'web.ts', conditions: ['browser'], external: [...platform, '#blake3'] },
  // The same with the hash that a page has by default: BLAKE3 in JavaScript (@noble/hashes) and the glue of the faster one.
  { figure: 'size.web.total', file: 'web.ts', conditions: ['browser'], external: [...platform, wasmAsText] },
  // The engine, the Durable Object host, its API and client, and the glue of the hash. Not counted: Hono and the .wasm.
  { figure: 'size.worker', file: 'worker.ts', conditions: ['workerd', 'worker'], external: platform },
  // All of it.
  { figure: 'size.client', file: 'client.ts', conditions: ['browser'], external: platform },
]

export async function size(): Promise<Figure[]> {
  const figures: Figure[] = []
  for (const { figure, file, conditions, external } of entries) {
    const { outputFiles } = await build({
      entryPoints: [join(root, 'bench/size', file)], bundle: true, minify: true, format: 'esm', target: 'es2024', write: false,
      conditions, external, absWorkingDir: root, logLevel: 'error', legalComments: 'none',
    })
    const bytes = outputFiles[0]?.contents as Uint8Array
    const name = figure === 'size.web.total' ? 'size.web.totalGzipBytes' : `${figure}.gzipBytes`
    figures.push({ name, values: [gzipSync(bytes, { level: 9 }).length] })
    figures.push({ name: name.replace(/gzipBytes$/i, (match) => match === 'gzipBytes' ? 'minifiedBytes' : 'MinifiedBytes'), values: [bytes.length] })
  }
  return figures
}
