// The page as `npm run page` builds it, in a folder of its own.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

export async function buildPage(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'stepwell-page-'))
  const args = ['node_modules/vite/bin/vite.js', 'build', 'examples/page', '--outDir', folder, '--emptyOutDir', '--logLevel', 'warn']
  // A process of its own: Vitest sets NODE_ENV, and with it the page would be built for development.
  const vite = spawn(process.execPath, args, { cwd: root, env: { ...process.env, NODE_ENV: 'production' }, stdio: ['ignore', 'inherit', 'inherit'] })
  const [code] = await once(vite, 'exit')
  if (code !== 0) throw new Error(`the page was not built: vite ended with ${String(code)}`)
  return folder
}
