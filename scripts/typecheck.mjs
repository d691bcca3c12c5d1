// Type-checks every program: first the library (`tsc -b`, which writes dist), then whatever only checks: each other tsconfig.json
// of the tree, which see the library through the declarations just written. The projects of test/pack are for `npm run test:pack`.
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { root, tool } from './setup.mjs'

const compiler = 'typescript/bin/tsc'

/** The folders below `dir` that have a tsconfig.json. @param {string} dir @returns {string[]} */
function programs(dir) {
  const entries = readdirSync(dir, { withFileTypes: true })
  const below = entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.') && !['node_modules', 'dist', 'pack'].includes(entry.name))
    .flatMap((entry) => programs(join(dir, entry.name)))
  return entries.some((entry) => entry.name === 'tsconfig.json') ? [relative(root, dir), ...below] : below
}

export async function typecheck() {
  const library = await tool(compiler, ['-b', '--pretty'])
  const folders = ['test', 'examples', 'bench', 'scripts'].filter((name) => readdirSync(root).includes(name))
  const codes = await Promise.all(
    folders.flatMap((name) => programs(join(root, name))).map((folder) => tool(compiler, ['-p', folder, '--pretty'])),
  )
  return [library, ...codes].every((code) => code === 0)
}

if (process.argv[1]?.endsWith('typecheck.mjs')) process.exitCode = (await typecheck()) ? 0 : 1
