// What the edge kill tests stand on: the upstream and the edge as processes of their own, the first never killed, the second again
// and again; and the ledger, which alone says what reached the world.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { LedgerRequest } from '../examples/upstream.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export interface Life {
  readonly url: string
  /** Of its workerd, the proxy's and the worker's. */
  readonly workerd: readonly number[]
  /** As if its disk were full from now on, or had space again: whatever workerd writes at 1,024 bytes of any file or beyond fails. */
  fill(isFull: boolean): void
  /** SIGKILL of workerd and of what runs it. */
  kill(): Promise<Kill>
}

/** Until `to` a process that was killed may still have been at work: a signal takes effect some time after it is sent. */
export interface Kill {
  readonly from: number
  readonly to: number
}

export interface Scene {
  readonly ledgerPath: string
  /** `vars`: of this life, beside those of the config. */
  begin(vars?: Readonly<Record<string, string>>): Promise<Life>
  requests(): Promise<readonly LedgerRequest[]>
  control(change: object): Promise<void>
  close(): Promise<void>
}

export interface SceneOptions {
  /** Where the edge keeps its state, instead of a folder of the scene. */
  readonly persist?: string
  /** The upstream's ledger is written without waiting for the disk: only the death of the machine could lose a record of it. */
  readonly isLedgerLazy?: boolean
  /** The edge's own output is not shown: for what it says again and again while it is meant to fail. */
  readonly isQuiet?: boolean
  /** `fill` of its lives works. */
  readonly canFill?: boolean
}

/** `config`: of the edge, in this folder. */
export async function openScene(config = 'edge.wrangler.toml', { persist, isLedgerLazy = false, isQuiet = false, canFill = false }: SceneOptions = {}): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), 'stepwell-kill-'))
  const ledgerPath = join(folder, 'ledger.ndjson')
  // A full disk for any user, on any disk: a limit of file sizes, which is an error of the write only for a process that ignores the signal.
  const workerd = join(folder, 'workerd')
  if (canFill) await writeFile(workerd, `#!/bin/sh\ntrap '' XFSZ\nexec ${JSON.stringify((createRequire(import.meta.url)('workerd') as { default: string }).default)} "$@"\n`, { mode: 0o755 })
  // A copy in the scene's folder: wrangler builds beside the config, and what a killed one leaves behind goes with the scene.
  const configPath = join(folder, 'wrangler.toml')
  const text = await readFile(here(config), 'utf8')
  await writeFile(configPath, text.replace(/^main = "(.+)"$/m, (_, main: string) => `main = ${JSON.stringify(resolve(dirname(here(config)), main))}`))
  const upstream = spawn(process.execPath, [here('../../examples/upstream/server.mjs')], {
    env: { ...process.env, PORT: '0', LEDGER: ledgerPath, ...(isLedgerLazy ? { FSYNC: '0' } : undefined) }, stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { url } = await firstLine(upstream) as { url: string }
  const lives = new Set<ChildProcess>()
  const spawnLife = (): ChildProcess => {
    const child = spawn(process.execPath, [here('edge-process.mjs')], {
      // A process group of its own, so that one signal reaches wrangler and every workerd of it at the same instant.
      detached: true,
      stdio: ['pipe', 'pipe', isQuiet ? 'ignore' : 'inherit'],
      env: { ...process.env, ...(canFill ? { MINIFLARE_WORKERD_PATH: workerd } : undefined), WRANGLER_SEND_METRICS: 'false', X_LOCAL_OBSERVABILITY: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' },
    })
    lives.add(child)
    return child
  }
  let next = spawnLife()
  return {
    ledgerPath,
    async begin(vars = {}) {
      const child = next
      next = spawnLife()
      child.stdin?.write(`${JSON.stringify({ config: configPath, persist: persist ?? join(folder, 'state'), vars: { ...vars, UPSTREAM_URL: url } })}\n`)
      const ready = await firstLine(child) as { url: string; workerd: number[] }
      if (ready.workerd.length < 2) throw new Error('the proxy and the worker run in two workerd: not both were found')
      return {
        url: ready.url,
        workerd: ready.workerd,
        fill(isFull) {
          for (const pid of ready.workerd) execFileSync('prlimit', ['--pid', String(pid), `--fsize=${isFull ? 1024 : 'unlimited'}:unlimited`])
        },
        async kill() {
          const from = Date.now()
          killGroup(child)
          await gone(child)
          lives.delete(child)
          // Its files are the next one's: it must be gone, and not only told to go.
          for (const pid of ready.workerd) while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 2))
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

async function firstLine(child: ChildProcess): Promise<unknown> {
  let text = ''
  for await (const part of child.stdout ?? []) {
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

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  try {
    // Its parent died with it, and whoever inherits it may look only once a second: a zombie has no files open any more.
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return process.platform !== 'linux'
  }
}

function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => child.once('exit', () => resolve()))
}
