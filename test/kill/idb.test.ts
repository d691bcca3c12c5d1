// What only a whole browser can show: the store's data when the browser is killed, when a page goes away under a commit, and
// when the disk is full. A Chromium of our own with a profile on disk, driven over its debugging port.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { build } from 'esbuild'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { chromium as chromiumPath } from '../../scripts/chromium.mjs'
import type { RunStore } from '../../src/store/store.ts'

let server: Server
let url: string
const profile = mkdtempSync(join(tmpdir(), 'stepwell-profile-'))
let running: { browser: Browser; child: ChildProcess } | undefined

beforeAll(async () => {
  const entry = `
    import { openDatabase } from './web/database.ts'
    import { createIdbShelf } from './web/idb-store.ts'
    window.openStore = async (name) => createIdbShelf(await openDatabase({ name })).open('run-1')
    window.append = (seq, size = 300) =>
      ({ expect: { kind: 'head', epoch: 1, seq: seq - 1 }, entries: [{ seq, bytes: new Uint8Array(size).fill(seq) }] })
    window.start = { expect: { kind: 'absent' }, row: { epoch: 1, wakeAt: null, record: new Uint8Array(100) } }`
  const bundle = await build({
    stdin: { contents: entry, resolveDir: join(import.meta.dirname, '../..'), loader: 'ts' },
    bundle: true, write: false, format: 'esm', platform: 'browser', conditions: ['browser'], target: 'es2022',
  })
  const script = bundle.outputFiles[0]?.text
  server = createServer((request, response) => {
    response.setHeader('content-type', request.url === '/page.js' ? 'text/javascript' : 'text/html')
    response.end(request.url === '/page.js' ? script : '<!doctype html><script type="module" src="/page.js"></script>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
})

afterEach(() => kill())

afterAll(() => {
  server.close()
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
})

/** A page of a new browser with the same profile. */
async function launch(): Promise<Page> {
  const child = spawn(chromiumPath(), [
    '--headless=new', '--no-sandbox', '--disable-quic', '--disable-background-networking', '--no-first-run',
    '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank',
  ], { detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
  let endpoint: string | undefined
  for await (const line of createInterface({ input: child.stderr })) {
    endpoint = /DevTools listening on (\S+)/.exec(line)?.[1]
    if (endpoint !== undefined) break
  }
  if (endpoint === undefined) throw new Error('Chromium did not start')
  child.stderr.resume()
  const browser = await chromium.connectOverCDP(endpoint)
  running = { browser, child }
  const page = await browser.contexts()[0]?.newPage()
  if (page === undefined) throw new Error('Chromium has no window')
  await visit(page)
  return page
}

async function visit(page: Page, at = url): Promise<void> {
  await page.goto(at)
  await page.waitForFunction('window.openStore')
}

/** SIGKILL to the browser and every process it started: they are a process group of their own. */
async function kill(): Promise<void> {
  if (running === undefined) return
  const { child, browser } = running
  running = undefined
  const ended = once(child, 'exit')
  process.kill(-(child.pid as number), 'SIGKILL')
  await ended
  await browser.close().catch(() => {})
}

declare global {
  // The globals of the page, which the functions below run in.
  var openStore: (name: string) => Promise<RunStore>
  var start: Parameters<RunStore['commit']>[0]
  var append: (seq: number, size?: number) => Parameters<RunStore['commit']>[0]
  var done: number
  var location: { href: string }
  var addEventListener: (type: string, run: () => void) => void
}

describe('the IndexedDB store in a browser that dies', () => {
  it('G2: 200 entries that were committed are all there after the browser is killed, and the run goes on', async () => {
    const page = await launch()
    const answers = await page.evaluate(async () => {
      const store = await openStore('killed')
      const kinds = [(await store.commit(start)).kind]
      for (let seq = 1; seq <= 200; seq++) kinds.push((await store.commit(append(seq))).kind)
      return kinds
    })
    await kill()
    expect(answers).toEqual(Array(201).fill('committed'))
    const again = await launch()
    const there = await again.evaluate(async () => {
      const store = await openStore('killed')
      const entries = await store.entries(0, 1_000)
      const isWhole = entries.every(({ seq, bytes }, i) => seq === i + 1 && bytes.length === 300 && bytes[299] === seq % 256)
      return { count: entries.length, isWhole, epoch: (await store.read())?.epoch, next: (await store.commit(append(201))).kind }
    })
    expect(there).toEqual({ count: 200, isWhole: true, epoch: 1, next: 'committed' })
  }, 60_000)

  it('G5: killed in the middle of large commits, it has each of them whole or not at all', async () => {
    const page = await launch()
    await page.evaluate(async () => {
      const store = await openStore('torn')
      await store.commit(start)
      const batch = (from: number) => ({
        expect: { kind: 'head', epoch: 1, seq: from } as const,
        entries: Array.from({ length: 100 }, (_, i) => ({ seq: from + i + 1, bytes: new Uint8Array(3_000) })),
        row: { epoch: 1, wakeAt: from, record: new Uint8Array(9) },
      })
      void (async () => {
        for (let from = 0; ; from += 100) {
          await store.commit(batch(from))
          done = from
        }
      })()
    })
    await page.waitForFunction('window.done >= 500', undefined, { polling: 20 })
    await kill()
    const there = await (await launch()).evaluate(async () => {
      const store = await openStore('torn')
      return { last: (await store.last())?.seq ?? 0, wakeAt: (await store.read())?.wakeAt ?? 0 }
    })
    expect(there.last).toBeGreaterThanOrEqual(600)
    expect(there).toEqual({ last: there.last, wakeAt: there.last - 100 })
  }, 60_000)

  it('G5: a commit made at once before the page navigates away is there whole or not at all, and one entry even from inside `pagehide`', async () => {
    const page = await launch()
    const cases = [
      ['entry', 'task'], ['entry and row', 'task'], ['chunk', 'task'], ['entry', 'pagehide'], ['chunk', 'pagehide'],
    ] as const
    for (const [kind, when] of cases) {
      const whole = [kind === 'chunk' ? 1 : 2, kind === 'entry and row' ? 5 : null, kind === 'chunk' ? 10 : undefined]
      let stored: unknown
      // Chromium may close the page before it has come to the transaction: then nothing of it is there, and nobody was told that it is. Without
      // an explicit `commit()` that is what always happens.
      for (let attempt = 1; attempt <= 5 && JSON.stringify(stored) !== JSON.stringify(whole); attempt++) {
        const name = `${kind} ${when} ${attempt}`
        await page.evaluate(async ([kind, when, name, url]) => {
          const store = await openStore(name)
          await store.commit(start)
          await store.commit(append(1))
          const go = (): void => {
            if (kind === 'entry') void store.commit(append(2))
            else if (kind === 'chunk') void store.commit({ expect: { kind: 'none' }, rows: [{ table: 'chunk', key: 'k', value: new Uint8Array(10) }] })
            else void store.commit({ ...append(2), row: { epoch: 1, wakeAt: 5, record: new Uint8Array(3) } })
          }
          if (when === 'task') go()
          else addEventListener('pagehide', go)
          location.href = `${url}${encodeURIComponent(name)}`
        }, [kind, when, name, url] as const)
        await page.waitForURL(`**/${encodeURIComponent(name)}`)
        await page.waitForFunction('window.openStore')
        stored = await page.evaluate(async (name) => {
          const store = await openStore(name)
          return [(await store.last())?.seq, (await store.read())?.wakeAt, (await store.row('chunk', 'k'))?.length]
        }, name)
        expect([whole, [1, null, undefined]], name).toContainEqual(stored)
      }
      expect([kind, when, stored]).toEqual([kind, when, whole])
    }
  }, 60_000)

  it('G5: a full disk is quota_exceeded and nothing of the commit is written; with space the run goes on', async () => {
    const page = await launch()
    // Under a name that no other test wrote to: Chromium remembers for half a minute how much space an origin has left.
    const fresh = url.replace('127.0.0.1', 'localhost')
    const devtools = await page.context().newCDPSession(page)
    await devtools.send('Storage.overrideQuotaForOrigin', { origin: new URL(fresh).origin, quotaSize: 2_000_000 })
    await visit(page, fresh)
    const result = await page.evaluate(async () => {
      const store = await openStore('full')
      await store.commit(start)
      await store.commit(append(1))
      const codes: unknown[] = []
      for (let i = 0; i < 3; i++) {
        const [{ seq = 0 } = {}, { epoch = 0 } = {}] = [await store.last(), await store.read()]
        const answer = store.commit({
          expect: { kind: 'head', epoch, seq }, row: { epoch: epoch + 1, wakeAt: 1, record: new Uint8Array(1) }, post: [new Uint8Array(1)],
          entries: Array.from({ length: 20 }, (_, n) => ({ seq: seq + n + 1, bytes: crypto.getRandomValues(new Uint8Array(60_000)) })),
        })
        codes.push(await Promise.resolve(answer).then(({ kind }) => kind, (error: { code: unknown }) => error.code))
      }
      return { codes, last: (await store.last())?.seq, row: await store.read(), messages: (await store.keys('inbox', { limit: 9 })).length }
    })
    // The first of the three fits, the others do not.
    expect(result).toMatchObject({
      codes: ['committed', 'quota_exceeded', 'quota_exceeded'], last: 21, row: { epoch: 2, inbox: 1, wakeAt: 1 }, messages: 1,
    })
    await kill()
    const again = await launch()
    await visit(again, fresh)
    const answer = await again.evaluate(async () =>
      (await openStore('full')).commit({ ...append(22), expect: { kind: 'head', epoch: 2, seq: 21 } }))
    expect(answer).toEqual({ kind: 'committed' })
  }, 60_000)
})
