import { keptCases } from '../contract/kept.contract.ts'
import { onSqlite } from './on-sqlite.ts'

onSqlite('kept', keptCases)
