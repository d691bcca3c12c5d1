// `npm run guarantees`: writes docs/guarantees.md from its words (guarantee-words.mjs), the titles of tests, the heads of mutants, and the
// figures of docs/campaign.json. `--figures FILE` takes figures over into that file first, as `npm run campaign -- --json` and
// `npm run mutants -- --json` wrote them. test/guarantees-doc.test.ts fails when the page is not what this writes.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { bugs, compared, ends, figures, guarantees } from './guarantee-words.mjs'
import { root } from './setup.mjs'

const figuresFile = join(root, 'docs/campaign.json')
export const pageFile = join(root, 'docs/guarantees.md')

/** The files with tests whose titles name a guarantee. A title is any text that begins with names and a colon: `G8, Z-042: …`. */
export function tests() {
  /** @type {Map<string, Set<string>>} */
  const found = new Map()
  const contracts = files(join(root, 'src/testing')).filter((file) => /store-[\w-]+\.ts$/.test(file))
  for (const file of [...files(join(root, 'test')), ...contracts].sort()) {
    const name = relative(root, file).replaceAll('\\', '/')
    for (const [, names] of readFileSync(file, 'utf8').matchAll(/['"`]((?:[A-Z]-?\d+(?:, | and )?)+)[:)]/g)) {
      for (const [guarantee] of (names ?? '').matchAll(/\bG\d+\b/g)) {
        found.set(guarantee, (found.get(guarantee) ?? new Set()).add(name))
      }
    }
  }
  return found
}

/** The mutants of each guarantee, by name. */
export function mutants() {
  /** @type {Map<string, string[]>} */
  const found = new Map()
  const folder = join(root, 'test/mutants')
  for (const file of readdirSync(folder).sort()) {
    const names = /^Guarantee: (.+)$/m.exec(readFileSync(join(folder, file), 'utf8'))?.[1] ?? ''
    for (const [guarantee] of names.matchAll(/\bG\d+\b/g)) found.set(guarantee, [...(found.get(guarantee) ?? []), file.replace('.patch', '')])
  }
  return found
}

export function page() {
  const inTests = tests()
  const inMutants = mutants()
  /** @type {Record<string, number>} */
  const measured = existsSync(figuresFile) ? JSON.parse(readFileSync(figuresFile, 'utf8')) : {}
  const lines = [
    '# Guarantees', '',
    'What is promised, what it costs, and where it ends. Written by `npm run guarantees` from `scripts/guarantee-words.mjs`, the titles of the tests,',
    'the mutants and `docs/campaign.json`; do not edit it. Costs are those of the default options ([performance.md](performance.md)).', '',
    '## Where all of them end', '',
    ...ends.map(([what, text]) => `- **${what}.** ${text}`), '',
    '## By host', '',
    'The engine is one; what differs is what the host builds upon. "same": the same code, and the same tests on both.', '',
    '| | edge | browser |', '| --- | --- | --- |',
    ...Object.entries(guarantees).map(([name, { title, edge, browser, later }]) => `| ${name} ${title} | ${later ? 'not built yet' : edge ?? 'same'} | ${later ? 'not built yet' : browser ?? 'same'} |`), '',
    '## One by one', '',
  ]
  for (const [name, { title, promise, cost, ends, later }] of Object.entries(guarantees)) {
    lines.push(`### ${name}: ${title}`, '', ...(later ? ['**Not built yet.**', ''] : []), promise, '')
    if (!later) lines.push(`**Costs.** ${cost}`, '')
    lines.push(`**Ends.** ${ends}`, '')
    const held = [...(inTests.get(name) ?? [])]
    const broken = inMutants.get(name) ?? []
    if (held.length > 0) lines.push(`**Tests.** ${held.map((file) => `\`${file}\``).join(', ')}`, '')
    if (broken.length > 0) lines.push(`**Mutants.** ${broken.map((mutant) => mutant.replace(/^g\d+-/, '').replaceAll('-', ' ')).join('; ')}`, '')
  }
  lines.push(
    '## The same everywhere', '',
    ...compared.map(([what, text]) => `- **${what}.** ${text}`), '',
    '## What was tried', '',
    'Tests run a slice of this each time; `npm run campaign` goes on for as long as it is told, and `npm run mutants` breaks each guarantee on purpose',
    'and expects a test to notice. Figures as the programs printed them:', '',
    '| | |', '| --- | --- |',
    ...figures.map(([name, what]) => `| ${what} (\`${name}\`) | ${measured[name]?.toLocaleString('en') ?? 'not run for this version'} |`), '',
    'What that found, beside what the tests had found before:', '',
    '| by | what | regression test |', '| --- | --- | --- |',
    ...bugs.map(([by, what, test]) => `| ${by} | ${what} | \`${test}\` |`), '',
  )
  return lines.join('\n')
}

/** @param {string} folder @returns {string[]} */
function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? files(path) : entry.name.endsWith('.ts') ? [path] : []
  })
}

if (process.argv[1]?.endsWith('guarantees.mjs')) {
  const { values } = parseArgs({ options: { figures: { type: 'string', multiple: true } } })
  const known = existsSync(figuresFile) ? JSON.parse(readFileSync(figuresFile, 'utf8')) : {}
  for (const file of values.figures ?? []) {
    const given = Object.entries(JSON.parse(readFileSync(file, 'utf8'))).filter(([, value]) => typeof value === 'number')
    if (given.length === 0) throw new Error(`${file} has no figures`)
    Object.assign(known, Object.fromEntries(given))
  }
  if (values.figures !== undefined) writeFileSync(figuresFile, `${JSON.stringify(known, null, 2)}\n`)
  writeFileSync(pageFile, page())
  console.log(`${relative(root, pageFile)} is written`)
}
