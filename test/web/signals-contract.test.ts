import { signalCases } from '../contract/signals.contract.ts'
import { onIndexedDb } from './on-indexeddb.ts'

onIndexedDb(signalCases)
