// What the browser tests share: databases of their own, everything closed at the end, and a ledger outside of what is tested.

import { afterEach } from 'vitest'
import type { AnyWorkflow } from '../../src/define.ts'
import type { LogRecord } from '../../src/host.ts'
import type { Schema } from '../../src/schema.ts'
import { browser, type BrowserClient, type BrowserOptions } from '../../web/index.ts'
import { openDatabase } from '../../web/database.ts'
import { createIdbShelf, type IdbShelf } from '../../web/idb-store.ts'

let opened: { close(): Promise<void> }[] = []
let names = new Set<string>()

/** A name that no other test uses. Its database is deleted when the test is over. */
export function freshName(): string {
  const name = `test-${crypto.randomUUID()}`
  names.add(name)
  return name
}

/** Records of this test's hosts. Nothing is printed. */
export const logs: LogRecord[] = []

export async function open<const W extends readonly AnyWorkflow[]>(options: BrowserOptions<W>): Promise<BrowserClient<W[number]>> {
  const well = await browser<W>({ onLog: (record) => logs.push(record), ...options })
  opened.push(well)
  return well
}

/** The store itself, beside the hosts: to look at rows and to write what no host would. */
export async function openShelf(name: string): Promise<IdbShelf> {
  const database = await openDatabase({ name })
  opened.push({ close: async () => database.close() })
  return createIdbShelf(database)
}

afterEach(async () => {
  for (const well of opened) await well.close()
  opened = []
  for (const name of names) {
    await new Promise((resolve) => {
      const request = indexedDB.deleteDatabase(name)
      request.onsuccess = request.onerror = request.onblocked = resolve
    })
  }
  names = new Set()
  logs.length = 0
})

/** Takes anything of this type. */
export function any<T>(): Schema<T> {
  return { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: value as T }) } }
}

/** Counts what really happened, by name: as an outside service would. */
export class Ledger {
  readonly lines: string[] = []

  note(line: string): void {
    this.lines.push(line)
  }

  count(line: string): number {
    return this.lines.filter((other) => other === line).length
  }
}

/** A gate that a step waits at until the test opens it. */
export class Gate {
  readonly #opened: Promise<void>
  #reached: (() => void) | undefined
  #isReached = false
  open: () => void = () => {}

  constructor() {
    this.#opened = new Promise((resolve) => (this.open = resolve))
  }

  async pass(): Promise<void> {
    this.#isReached = true
    this.#reached?.()
    await this.#opened
  }

  /** Somebody stands at the gate. */
  reached(): Promise<void> {
    return this.#isReached ? Promise.resolve() : new Promise((resolve) => (this.#reached = resolve))
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function until(what: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  const end = performance.now() + ms
  while (!(await what())) {
    if (performance.now() > end) throw new Error(`it did not come true in ${ms} ms: ${what.toString()}`)
    await sleep(10)
  }
}
