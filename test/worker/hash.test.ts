import * as noble from '../../src/hash/blake3-noble.ts'
import { hashContract } from '../contract/hash.contract.ts'

hashContract({
  name: 'workerd',
  backends: ['wasm', 'wasm'],
  ways: { JavaScript: async () => noble.open() },
})
