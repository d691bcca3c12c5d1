import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { installedChromium } from './scripts/chromium.mjs'
import { sources } from './scripts/sources.mjs'

/** What takes long, the longest first. Begun last it would run alone in the end; and on a fresh clone Vitest knows of no durations. */
const long = ['simulator/slice', 'kill/edge-kill', 'cross/runtimes', 'examples/page', 'kill/', 'crash/', 'journal/damage', 'web/store', 'web/resume', 'web/delivery', 'engine/delivery']

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = long.findIndex((part) => moduleId.includes(`/test/${part}`))
      return at === -1 ? long.length : at
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

// One project per host. The suites they share are plain modules in test/contract and src/testing.
// `stepwell` means the sources (scripts/sources.mjs); `#blake3` follows the export conditions of each host (src/package.json).
export default defineConfig({
  test: {
    // The kill tests mostly wait for processes to start: three files at once, also on two cores, where Vitest takes one by default.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
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
