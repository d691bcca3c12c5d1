// Inside this repository the package's own names mean its sources, so that nothing has to be built first. tsc, esbuild and wrangler
// learn it from `paths` of tsconfig.base.json. Vite and Vitest take this list: their own reading of `paths` leaves out every
// file that its nearest tsconfig.json excludes.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './setup.mjs'

const { name, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** For `resolve.alias`: './worker' of package.json's exports, in dist, is the file that it is compiled from. */
export const sources = Object.entries(exports).flatMap(([path, target]) =>
  typeof target === 'string'
    ? []
    : [{ find: new RegExp(`^${name}${path.slice(1)}$`), replacement: join(root, target.default.replace('./dist/', '').replace(/\.js$/, '.ts')) }],
)
