// The example of docs/testing.md is a program: it is run as it stands there.

import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { expect, test } from 'vitest'
import { z } from 'zod'
import * as stepwell from '../../src/index.ts'
import * as testing from '../../src/testing/index.ts'

const page = readFileSync(new URL('../../docs/testing.md', import.meta.url), 'utf8')

/** The block behind the mark, without its imports: what it imports is handed to it. */
function example(): { readonly source: string; readonly imported: readonly string[] } {
  const block = /<!-- executed: test\/testing\/doc\.test\.ts -->\n```ts\n([\s\S]*?)```/.exec(page)?.[1]
  if (block === undefined) throw new Error('docs/testing.md has no example that is executed')
  const imported = [...block.matchAll(/^import \{ (.*) \} from /gm)].flatMap(([, names]) => (names as string).split(', '))
  return { source: block.replace(/^import .*$/gm, ''), imported }
}

const run = async (source: string, names: Readonly<Record<string, unknown>>): Promise<void> => {
  const program = new Function(...Object.keys(names), `return (async () => {${stripTypeScriptTypes(source)}})()`) as (...values: unknown[]) => Promise<void>
  await program(...Object.values(names))
}

test('the example of docs/testing.md runs, imports what there is, and fails when what it expects is otherwise', async () => {
  const { source, imported } = example()
  const all: Readonly<Record<string, unknown>> = { ...stepwell, ...testing, z }
  const names = Object.fromEntries(imported.map((name) => [name, all[name]]))
  for (const name of imported) expect(names[name], name).toBeDefined()
  await run(source, names)
  await expect(run(source.replace("never: ['ship']", "completed: ['ship']"), names)).rejects.toThrow('is not as expected')
  await expect(run(source.replace("'30 days')            //", "'29 days') //"), names)).rejects.toThrow('received "waiting"')
})

test('docs/testing.md names every fault there is', () => {
  const store = readFileSync(new URL('../../src/testing/fault-store.ts', import.meta.url), 'utf8')
  const faults = [...store.matchAll(/readonly do: '(\w+)'/g)].map(([, name]) => name as string)
  expect(faults.length).toBeGreaterThan(8)
  for (const fault of faults) expect(page).toContain(`\`${fault}\``)
})
