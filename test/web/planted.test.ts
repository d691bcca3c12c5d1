import { describe, test } from 'vitest'
import { plantedCases } from '../contract/planted.contract.ts'

// The lines here are those of the compiled file: its name must be right.
describe('planted faults are caught, with the file of the line to change (a page)', () => {
  for (const { title, run } of plantedCases(() => undefined)) test(title, run)
})
