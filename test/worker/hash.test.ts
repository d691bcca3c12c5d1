import * as noble from '../../src/hash/blake3-noble.ts'
import { open } from '../../src/hash/blake3-workerd.ts'
import { hashContract } from '../contract/hash.contract.ts'

hashContract({
  name: 'workerd',
  backends: ['wasm', 'wasm'],
  ways: { 'the imported file': async () => open(), JavaScript: async () => noble.open() },
})
