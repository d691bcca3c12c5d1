import { failureCases } from '../contract/failures.contract.ts'
import { onMemory } from './on-memory.ts'

onMemory(failureCases)
