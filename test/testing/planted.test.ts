import { readFileSync } from 'node:fs'
import { describe, test } from 'vitest'
import { plantedCases } from '../contract/planted.contract.ts'

const source = readFileSync(new URL('planted/workflows.ts', import.meta.url), 'utf8').split('\n')

function lineOf(marker: string): number {
  const at = source.findIndex((line) => line.endsWith(`// plant: ${marker}`))
  if (at < 0) throw new Error(`no line is marked ${marker}`)
  return at + 1
}

describe('planted faults are caught, with the line to change (Node)', () => {
  for (const { title, run } of plantedCases(lineOf)) test(title, run)
})
