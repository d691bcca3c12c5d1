import { failureCases } from '../contract/failures.contract.ts'
import { onSqlite } from './on-sqlite.ts'

onSqlite('failures', failureCases)
