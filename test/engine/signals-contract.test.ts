import { signalCases } from '../contract/signals.contract.ts'
import { onMemory } from './on-memory.ts'

onMemory(signalCases)
