// `npm run bench`: the figures of docs/performance.md, measured side by side on this machine. Programs, not tests: nothing fails for
// being slow, unless `--check` is given: then a budget that is not kept is exit code 1. `--json FILE` writes the medians by name, `--only edge|browser|size` measures a part, `--quick` takes fewer rounds.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { node, root, setup, toolEnv } from './setup.mjs'

setup()
// On the newer Node, which also runs the TypeScript of bench/ as it is.
const args = ['--disable-warning=ExperimentalWarning', join(root, 'bench/main.ts'), ...process.argv.slice(2)]
const env = { ...toolEnv, X_LOCAL_OBSERVABILITY: 'false' }
spawn(node, args, { stdio: ['ignore', 'inherit', 'inherit'], env }).once('exit', (code) => {
  process.exitCode = code ?? 1
})
