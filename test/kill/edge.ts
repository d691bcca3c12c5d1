// What the edge kill tests stand on: the upstream and the edge as processes of their own, the first never killed, the second again
// and again; and the ledger, which alone says what reached the world.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { arrived, type LedgerRequest } from '../examples/upstream.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export interface Life {
  readonly url: string
  /** Of its workerd. */
  readonly pid: number
  /** As if its disk were full from now on, or had space again: whatever workerd writes at 1,024 bytes of any file or beyond fails. */
  fill(isFull: boolean): void
  /** SIGKILL of workerd. When it is over, whatever workerd had sent is in the ledger. */
  kill(): Promise<Kill>
}

/** Until `to` what a process that was killed has done may still arrive: a signal takes effect some time after it is sent. */
export interface Kill {
  readonly from: number
  readonly to: number
}

export interface Scene {
  readonly ledgerPath: string
  /** `vars`: of this life. */
  begin(vars?: Readonly<Record<string, string>>): Promise<Life>
  requests(): Promise<readonly LedgerRequest[]>
  control(change: object): Promise<void>
  close(): Promise<void>
}

export interface SceneOptions {
  /** The upstream's ledger is written without waiting for the disk: only the death of the machine could lose a record of it. */
  readonly isLedgerLazy?: boolean
  /** The edge's own output is not shown: for what it says again and again while it is meant to fail. */
  readonly isQuiet?: boolean
  /** `fill` of its lives works. */
  readonly canFill?: boolean
}

/**
 * `main`: the worker, of this folder. workerd runs by itself, as it does under `wrangler dev`, with what wrangler would give it: loading
 * wrangler and its proxy anew for each life takes fifteen times as long, and thirty times as much of the processor.
 */
export async function openScene(main = '../../examples/edge/worker.ts', { isLedgerLazy = false, isQuiet = false, canFill = false }: SceneOptions = {}): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), 'stepwell-kill-'))
  const ledgerPath = join(folder, 'ledger.ndjson')
  const modules = await bundle(here(main), folder)
  const workerd = (createRequire(import.meta.url)('workerd') as { default: string }).default
  // A full disk for any user, on any disk: a limit of file sizes, which is an error of the write only for a process that ignores the signal.
  const ignoring = join(folder, 'workerd')
  if (canFill) await writeFile(ignoring, `#!/bin/sh\ntrap '' XFSZ\nexec ${JSON.stringify(workerd)} "$@"\n`, { mode: 0o755 })
  await mkdir(join(folder, 'state'))
  const upstream = spawn(process.execPath, [here('../../examples/upstream/server.mjs')], {
    env: { ...process.env, PORT: '0', LEDGER: ledgerPath, ...(isLedgerLazy ? { FSYNC: '0' } : undefined) }, stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { url } = await firstLine(upstream.stdout as Readable) as { url: string }
  const lives = new Set<ChildProcess>()
  return {
    ledgerPath,
    async begin(vars = {}) {
      const config = join(folder, 'config.capnp')
      await writeFile(config, configOf(modules, { ...vars, UPSTREAM_URL: url }))
      const output = isQuiet ? 'ignore' : 'inherit'
      // A process group of its own, so that one signal reaches whatever belongs to it.
      const child = spawn(canFill ? ignoring : workerd, ['serve', config, '--control-fd=3'], { cwd: folder, detached: true, stdio: ['ignore', output, output, 'pipe'] })
      lives.add(child)
      const pid = child.pid as number
      const { port } = await firstLine(child.stdio[3] as Readable) as { port: number }
      const life = `http://127.0.0.1:${port}/`
      await (await fetch(new URL('/v1/healthz', life))).text()
      return {
        url: life,
        pid,
        fill(isFull) {
          execFileSync('prlimit', ['--pid', String(pid), `--fsize=${isFull ? 1024 : 'unlimited'}:unlimited`])
        },
        async kill() {
          const from = Date.now()
          killGroup(child)
          // Its files are the next one's: it must be gone, and not only told to go.
          await gone(child)
          lives.delete(child)
          await arrived(url)
          return { from, to: Date.now() }
        },
      }
    },
    async requests() {
      const response = await fetch(new URL('/ledger', url))
      return ((await response.json()) as { requests: LedgerRequest[] }).requests
    },
    async control(change) {
      const response = await fetch(new URL('/_control', url), { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(change) })
      if (!response.ok) throw new Error(await response.text())
    },
    async close() {
      upstream.kill('SIGKILL')
      await gone(upstream)
      for (const child of lives) {
        killGroup(child)
        await gone(child)
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Reads what is appended to a file, without waiting for anything: to kill right after a record was written. */
export function follow(path: string): { more(): string; close(): void } {
  const file = openSync(path, 'r')
  const buffer = Buffer.alloc(65_536)
  let at = 0
  return {
    more() {
      const read = readSync(file, buffer, 0, buffer.length, at)
      at += read
      return buffer.toString('utf8', 0, read)
    },
    close: () => closeSync(file),
  }
}

/** Numbers in [0, 1), the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function get<T>(life: Life, path: string): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(new URL(path, life.url))
    if (response.ok) return await response.json() as T
    const text = await response.text()
    // Transient by its own word: a client asks again.
    if (response.status !== 503 || attempt === 5) throw new Error(`${path}: ${response.status} ${text}`)
    console.log(`asked again: ${path}: ${text}`)
    await pause(100 * attempt)
  }
}

interface Module {
  readonly name: string
  readonly kind: 'esModule' | 'wasm'
}

/** As wrangler does it: one module, and each `.wasm` beside it. The first is the worker. */
async function bundle(main: string, folder: string): Promise<readonly Module[]> {
  const { outputFiles } = await build({
    entryPoints: { worker: main }, outdir: folder, bundle: true, format: 'esm', target: 'es2024', keepNames: true, conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*', 'node:*'], loader: { '.wasm': 'copy' }, assetNames: '[name]', tsconfig: here('../../tsconfig.base.json'), write: false,
  })
  for (const { path, contents } of outputFiles) await writeFile(path, contents)
  const names = outputFiles.map(({ path }) => basename(path))
  return names.map((name): Module => ({ name, kind: name.endsWith('.js') ? 'esModule' : 'wasm' })).toSorted((a, b) => a.kind.localeCompare(b.kind))
}

/** As wrangler reads it from `[exports.Run]`: one class, with SQLite, which the worker reaches through `ctx.exports`. */
function configOf(modules: readonly Module[], vars: Readonly<Record<string, string>>): string {
  const [, compatibilityDate] = /^compatibility_date = "(.+)"$/m.exec(readFileSync(here('../../wrangler.toml'), 'utf8')) ?? []
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "edge", worker = (
      modules = [${modules.map(({ name, kind }) => `(name = "${name}", ${kind} = embed "${name}")`).join(', ')}],
      compatibilityDate = "${compatibilityDate}",
      bindings = [${Object.entries(vars).map(([name, text]) => `(name = "${name}", text = ${JSON.stringify(text)})`).join(', ')}],
      durableObjectNamespaces = [(className = "Run", uniqueKey = "stepwell-kill-Run", enableSql = true)],
      durableObjectStorage = (localDisk = "state"),
    )),
    (name = "state", disk = (path = "state", writable = true)),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "edge")],
);
`
}

async function firstLine(output: Readable): Promise<unknown> {
  let text = ''
  for await (const part of output) {
    text += String(part)
    const end = text.indexOf('\n')
    if (end >= 0) return JSON.parse(text.slice(0, end))
  }
  throw new Error(`the process ended before it said where it serves: ${text}`)
}

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-(child.pid as number), 'SIGKILL')
  } catch {
    // It is gone already.
  }
}

function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => child.once('exit', () => resolve()))
}
