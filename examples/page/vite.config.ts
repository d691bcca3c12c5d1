import { defineConfig } from 'vite'

// wrangler.toml runs this build and serves its result as static assets. `stepwell` means the sources (tsconfig.base.json).
export default defineConfig({
  root: import.meta.dirname,
  resolve: { tsconfigPaths: true },
  build: { outDir: '../../.cache/page', emptyOutDir: true },
})
