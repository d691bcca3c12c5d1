// `npm test`: set-up, Chromium, types, lint, then every test on its host. Arguments go to Vitest: npm test -- --project node delivery
// The last line is `N passed, N failed`; a check that fails counts as one. A skipped test is a failure of the run.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from './chromium.mjs'
import { setup, tool } from './setup.mjs'
import { typecheck } from './typecheck.mjs'

/**
 * The part of Vitest's report that is read here.
 * @typedef {{ name: string, status: string, assertionResults: { status: string }[] }} Suite
 * @typedef {{ numPassedTests: number, numFailedTests: number, numPendingTests: number, numTodoTests: number, testResults: Suite[] }} Report
 */

const args = process.argv.slice(2)
const results = mkdtempSync(join(tmpdir(), 'stepwell-test-'))
/** What tests, browsers and workerd leave behind goes with it, whoever of them was killed. */
const TMPDIR = join(results, 'tmp')
let passed = 0
let failed = 0
let skipped = 0

/** @param {string} what */
function fail(what) {
  failed += 1
  console.error(`\nFAILED: ${what}`)
}

try {
  mkdirSync(TMPDIR)
  setup()
  const CHROME_PATH = chromium()
  if (!(await typecheck())) fail('the type check (npm run typecheck)')
  if ((await tool('oxlint/bin/oxlint', ['--type-aware', '--quiet'])) !== 0) fail('the lint (npm run lint)')
  const file = join(results, 'vitest.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const code = await tool('vitest/vitest.mjs', ['run', ...reporters, ...args], { CHROME_PATH, TMPDIR })
  /** @type {Report} */
  const report = JSON.parse(readFileSync(file, 'utf8'))
  const byName = args.some((arg) => arg === '-t' || arg.startsWith('--testNamePattern'))
  passed += report.numPassedTests
  failed += report.numFailedTests
  // With -t, Vitest calls skipped whatever the pattern leaves out.
  skipped += byName ? 0 : report.numPendingTests + report.numTodoTests
  for (const suite of report.testResults) {
    if (suite.status === 'failed' && !suite.assertionResults.some((test) => test.status === 'failed')) fail(suite.name)
  }
  if (args.length === 0) {
    for (const [host, folder] of Object.entries({ workerd: '/test/worker/', Chromium: '/test/web/' })) {
      if (!report.testResults.some((suite) => suite.name.includes(folder))) fail(`no test ran in ${host}`)
    }
  }
  if (code !== 0 && failed === 0) fail('Vitest (see above)')
  if (passed + failed === 0) fail('there was no test to run')
  if (skipped > 0) console.error('\nFAILED: tests were skipped, and here each one has to run')
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
}
rmSync(results, { recursive: true, force: true })
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exit(failed === 0 && skipped === 0 ? 0 : 1)
