import { deferredCases } from '../contract/deferreds.contract.ts'
import { onMemory } from './on-memory.ts'

onMemory(deferredCases)
