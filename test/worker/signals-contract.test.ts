import { signalCases } from '../contract/signals.contract.ts'
import { onSqlite } from './on-sqlite.ts'

onSqlite('signals', signalCases)
