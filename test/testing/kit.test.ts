import { describe, test } from 'vitest'
import { kitCases } from '../contract/kit.contract.ts'

describe('the test kit in Node', () => {
  for (const { title, run } of kitCases) test(title, run)
})
