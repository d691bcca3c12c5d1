import { failureCases } from '../contract/failures.contract.ts'
import { onIndexedDb } from './on-indexeddb.ts'

onIndexedDb(failureCases)
