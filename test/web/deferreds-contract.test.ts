import { deferredCases } from '../contract/deferreds.contract.ts'
import { onIndexedDb } from './on-indexeddb.ts'

onIndexedDb(deferredCases)
