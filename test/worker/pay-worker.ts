// The edge of test/kill/effects-kill.test.ts.

import { allowLocalhost, edge } from '../../worker/index.ts'
import { httpBank, limits, pay } from '../kill/pay.ts'

interface Env {
  readonly UPSTREAM_URL: string
}

const well = edge({ workflows: [pay], services: (env: Env) => ({ bank: httpBank(env.UPSTREAM_URL.replace(/\/$/, '')) }), authorize: allowLocalhost, limits })

export const Run = well.Run

export default well.app
