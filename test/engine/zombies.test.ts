import { zombieCases } from '../contract/zombies.contract.ts'
import { onMemory } from './on-memory.ts'

onMemory(zombieCases)
