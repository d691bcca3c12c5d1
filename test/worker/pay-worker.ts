// The edge of test/kill/effects-edge-kill.test.ts and signals-edge-kill.test.ts.

import { allowLocalhost, edge } from '../../worker/index.ts'
import { notes } from '../kill/notes.ts'
import { httpBank, limits, pay } from '../kill/pay.ts'

interface Env {
  readonly UPSTREAM_URL: string
}

const well = edge({ workflows: [pay, notes], services: (env: Env) => ({ bank: httpBank(env.UPSTREAM_URL.replace(/\/$/, '')) }), authorize: allowLocalhost, limits })

export const Run = well.Run

export default well.app
