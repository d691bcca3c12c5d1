import { zombieCases } from '../contract/zombies.contract.ts'
import { onSqlite } from './on-sqlite.ts'

onSqlite('zombies', zombieCases)
