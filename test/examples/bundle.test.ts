import { readdir, readFile, rm } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build as bundle } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EDGE_CANARY } from '../../examples/order/shop-http.ts'
import { BROWSER_CANARY } from '../../examples/order/shop-mock.ts'
import { buildPage } from './build-page.ts'

const page = fileURLToPath(new URL('../../examples/page/', import.meta.url))
let folder: string
/** Everything that the page is made of, by path. */
const files = new Map<string, string>()

beforeAll(async () => {
  folder = await buildPage()
  for (const name of await readdir(folder, { recursive: true })) {
    if (extname(name) !== '' || name === '_headers') files.set(name, await readFile(join(folder, name), 'utf8'))
  }
}, 120_000)
afterAll(() => rm(folder, { recursive: true }))

test("the page's bundle holds no byte of an edge service and no import of the edge's platform", () => {
  const everything = [...files.values()].join('\n')
  expect(everything).toContain(BROWSER_CANARY)
  expect(everything).not.toContain(EDGE_CANARY)
  expect(everything).not.toContain('cloudflare:')
  expect(everything).not.toContain('UPSTREAM_URL')
})

test("the canary is where it belongs: in the edge's bundle, minified too, where the page's is not", async () => {
  const { outputFiles } = await bundle({
    entryPoints: [fileURLToPath(new URL('../../examples/edge/worker.ts', import.meta.url))], bundle: true, minify: true, write: false, format: 'esm',
    conditions: ['workerd', 'worker'], external: ['cloudflare:*', 'node:*'], loader: { '.wasm': 'empty' }, logLevel: 'error',
  })
  const worker = outputFiles[0]?.text ?? ''
  expect(worker).toContain(EDGE_CANARY)
  expect(worker).toContain('cloudflare:')
  expect(worker).not.toContain(BROWSER_CANARY)
})

test('there is one copy of stepwell in the page, and it is the one of this repository', () => {
  const scripts = [...files].filter(([name]) => name.endsWith('.js')).map(([, text]) => text).join('\n')
  expect(scripts.match(/Symbol\.for\(.stepwell\.error.\)/g)).toHaveLength(1)
})

test('the page keeps its own strict policy: no inline code, nothing from elsewhere, no markup from text', async () => {
  const html = files.get('index.html') ?? ''
  const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(html)?.[1] ?? ''
  expect(policy).toContain("default-src 'self'")
  expect(policy).not.toMatch(/unsafe|\*|https?:|data:|blob:/)
  expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=/)
  for (const [, url] of html.matchAll(/\b(?:src|href)="([^"]+)"/g)) expect(url).toMatch(/^[/#]/)
  for (const [name, css] of files) if (name.endsWith('.css')) expect(css).not.toMatch(/url\(|@import/)
  for (const name of await readdir(page)) {
    if (!name.endsWith('.ts')) continue
    expect(await readFile(join(page, name), 'utf8'), name).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(/)
  }
})
