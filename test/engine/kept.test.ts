import { keptCases } from '../contract/kept.contract.ts'
import { onMemory } from './on-memory.ts'

onMemory(keptCases)
