// docs/errors.md is written from the table: run with WRITE_DOCS=1 to write it anew.

import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ERRORS } from '../src/errors.ts'

const path = new URL('../docs/errors.md', import.meta.url)

function page(): string {
  const lines = [
    '# Errors', '',
    'Every error of Stepwell is a `StepwellError` with a `code` from this closed list; `isStepwellError(error, code)` tells it also across bundles.',
    'The code is the contract, the text is not. `kind` says what it means for the caller:', '',
    '- `usage`: the program is wrong. Thrown at once, before anything is written.',
    '- `conflict`: somebody else owns it, or it moved on.',
    '- `transient`: the world failed; trying again may help.',
    '- `permanent`: trying again cannot help.',
    '- `integrity`: stored data or code does not fit. That run stops, nothing is deleted.',
    '- `operator`: a person or a deploy must act.', '',
    '| code | kind | HTTP | what to do |', '| --- | --- | --- | --- |',
  ]
  for (const [code, { kind, status, help }] of Object.entries(ERRORS)) lines.push(`| \`${code}\` | ${kind} | ${status} | ${help.replaceAll('|', '\\|')} |`)
  lines.push('', '## Errors of your own', '',
    'What a step throws is stored as data (docs/codec.md) and comes back equal after a restart, on every store, over HTTP and RPC. Whether it is tried again',
    'is decided by what it says itself, then by what its causes say (the nearest first), then by the policy of the call; never by its text. Of one error, and of',
    'what its `toStructuredError()` offers, `exitClass` comes before `retryable`:', '',
    '| it says | then |', '| --- | --- |',
    '| `exitClass: \'terminal\'`, `retryable: false` (`permanent(error)`) | no further attempt |',
    '| `exitClass: \'retry\'`, `retryable: true` | as the policy allows, whatever a cause says |',
    '| `exitClass: \'rateLimited\'` | the same |',
    '| `exitClass: \'unknown\'`, or nothing | the same; it uses up an attempt like any other |',
    '| `retryAfterMs` (`retryAfter(error, \'10 seconds\')`), beside any of these but the first | the next attempt is not before that, over the policy\'s own delay and cap |')
  return `${lines.join('\n')}\n`
}

test('G28: docs/errors.md says of every code what to do', () => {
  if (process.env['WRITE_DOCS'] !== undefined) writeFileSync(path, page())
  expect(readFileSync(path, 'utf8')).toBe(page())
  expect(Object.keys(ERRORS).length).toBeGreaterThan(50)
})
