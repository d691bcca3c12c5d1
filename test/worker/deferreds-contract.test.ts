import { deferredCases } from '../contract/deferreds.contract.ts'
import { onSqlite } from './on-sqlite.ts'

onSqlite('deferreds', deferredCases)
