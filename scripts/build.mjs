// Builds dist: the library's programs, compiled from nothing.
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, tool } from './setup.mjs'

const dist = join(root, 'dist')
rmSync(dist, { recursive: true, force: true })
if ((await tool('typescript/bin/tsc', ['-b'])) !== 0) process.exit(1)

// Declarations keep the `.ts` of relative imports, which compilers before 5.7 and some tools do not follow. Same length: maps stay right.
for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  if (!file.endsWith('.d.ts')) continue
  const text = readFileSync(join(dist, file), 'utf8')
  writeFileSync(join(dist, file), text.replaceAll(/((?:from|import\(?) ?['"]\.[^'"\n]*)\.ts(?=['"])/g, '$1.js'))
}
