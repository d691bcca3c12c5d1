import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import { installedChromium } from './scripts/chromium.mjs'
import { sources } from './scripts/sources.mjs'

// One project per host. The suites they share are plain modules in test/contract and src/testing.
// `stepwell` means the sources (scripts/sources.mjs); `#blake3` follows the export conditions of each host (src/package.json).
export default defineConfig({
  test: {
    // The kill tests mostly wait for processes to start: three files at once, also on two cores, where Vitest takes one by default.
    maxWorkers: 3,
    // A machine that is busy with other things is no failure. What must be fast is measured by bench.
    testTimeout: 30_000,
    projects: [
      {
        resolve: { alias: sources },
        test: {
          name: 'node',
          environment: 'node',
          include: ['test/**/*.test.ts'],
          exclude: ['test/worker/**', 'test/web/**'],
        },
      },
      {
        resolve: { alias: sources },
        plugins: [cloudflareTest({ wrangler: { configPath: './test/worker/wrangler.toml' } })],
        // workerd reads no file of this machine, so Vitest's module cache on disk is no use to it.
        test: { name: 'workerd', include: ['test/worker/**/*.test.ts'], fsModuleCache: false },
      },
      {
        resolve: { alias: sources },
        // Known from the start: a dependency that is found during a run reloads the page under the tests.
        optimizeDeps: { include: ['idb', '@noble/hashes/blake3.js', 'fast-check'] },
        test: {
          name: 'chromium',
          include: ['test/web/**/*.test.ts'],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: {
                executablePath: installedChromium() ?? 'chromium',
                args: ['--no-sandbox', '--disable-quic', '--disable-background-networking'],
              },
            }),
            instances: [{ browser: 'chromium' }],
          },
        },
      },
    ],
  },
})
