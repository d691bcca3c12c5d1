import { describe, test } from 'vitest'
import { kitCases } from '../contract/kit.contract.ts'

describe('the test kit in a page', () => {
  for (const { title, run } of kitCases) test(title, run)
})
