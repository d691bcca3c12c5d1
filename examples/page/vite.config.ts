import { defineConfig } from 'vite'
import { sources } from '../../scripts/sources.mjs'

// wrangler.toml runs this build and serves its result as static assets. `stepwell` means the sources (scripts/sources.mjs).
export default defineConfig({
  root: import.meta.dirname,
  resolve: { alias: sources },
  build: { outDir: '../../.cache/page', emptyOutDir: true },
})
