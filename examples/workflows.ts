// The example workflows, in one list for every host: the edge, the page and the tests run these same files.

import { approval } from './approval/approval.ts'
import { digest } from './digest/digest.ts'
import { order } from './order/order.ts'

export const workflows = [order, digest, approval] as const
