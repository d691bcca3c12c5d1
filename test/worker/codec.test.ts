import { codecContract } from '../contract/codec.contract.ts'

codecContract('workerd')
