import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const root = new URL('../../', import.meta.url)
const rows = readFileSync(new URL('docs/coverage.md', root), 'utf8')
  .split('\n')
  .map((line) => /^\| ([BZTYCF]-\d{3}) .*? \| (.*) \| (.*) \|$/.exec(line))
  .flatMap((match) =>
    match === null ? [] : [{ id: match[1] as string, where: match[2] as string, tests: match[3] as string }],
  )

test('docs/coverage.md has every row once, and each says where it lives or why not', () => {
  expect(rows.length).toBe(408)
  expect(new Set(rows.map(({ id }) => id)).size).toBe(408)
  for (const { id, where } of rows) expect(where, id).not.toBe('')
})

test('docs/coverage.md claims only tests that exist', () => {
  const lost: string[] = []
  let claims = 0
  for (const { id, tests } of rows) {
    for (const claim of tests === '' ? [] : tests.split(/; (?=`)/)) {
      const [, file, name] = /^`([^`]+)`(?: › (.+))?$/.exec(claim) ?? []
      claims++
      if (file === undefined || !existsSync(new URL(file, root))) {
        lost.push(`${id}: ${claim}`)
        continue
      }
      const text = readFileSync(new URL(file, root), 'utf8')
      if (name !== undefined && !text.includes(name) && !text.includes(name.replaceAll('\'', "\\'")))
        lost.push(`${id}: ${claim}`)
    }
  }
  expect(lost).toEqual([])
  expect(claims).toBeGreaterThan(250)
})

test('docs/coverage.md names only source files that exist', () => {
  const named = rows.flatMap(({ where }) =>
    [...where.matchAll(/`((?:src|web|worker|test|docs|examples)\/[^`]+)`/g)].map((match) => match[1] as string),
  )
  expect(named.length).toBeGreaterThan(20)
  expect(named.filter((path) => !existsSync(new URL(path, root)))).toEqual([])
})
