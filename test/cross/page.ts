import { createBrowserHost } from '../../web/host.ts'
import { runtime } from './journals.ts'

Object.assign(globalThis, { runtime: runtime(createBrowserHost().quiesce) })
