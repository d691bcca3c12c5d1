// Runs the benchmarks and prints what they gave. See docs/performance.md; started by scripts/bench.mjs.

import { writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { type Figure, overBudget, print, toJson } from './figures.ts'

const parts = {
  size: async () => (await import('./size.ts')).size(),
  edge: async (isQuick: boolean) => (await import('./edge.ts')).edge(isQuick),
  browser: async (isQuick: boolean) => (await import('./browser.ts')).browser(isQuick),
}

const { values: options } = parseArgs({
  options: { json: { type: 'string' }, only: { type: 'string', multiple: true }, quick: { type: 'boolean', default: false }, check: { type: 'boolean', default: false } },
})
const wanted = (options.only ?? Object.keys(parts)).flatMap((name) => name.split(','))
for (const name of wanted) if (!Object.hasOwn(parts, name)) throw new Error(`--only takes ${Object.keys(parts).join(', ')}; ${name} is none of them`)

const figures: Figure[] = []
for (const name of wanted as (keyof typeof parts)[]) {
  console.error(`${name}…`)
  figures.push(...await parts[name](options.quick))
}
console.log(`\nNode ${process.versions.node}, ${availableParallelism()} cores, load ${(loadavg()[0] as number).toFixed(1)}${options.quick ? ', few rounds (--quick)' : ''}\n`)
print(figures)
if (options.json !== undefined) writeFileSync(options.json, toJson(figures))
const over = options.check ? overBudget(figures) : []
for (const line of over) console.error(`OVER BUDGET: ${line}`)
// What a benchmark has started ends with it, whatever still holds on to it.
process.exit(over.length > 0 ? 1 : 0)
