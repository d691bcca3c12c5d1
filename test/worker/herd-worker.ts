// The edge of the kill tests with many runs in flight (test/kill/herd.ts), a full disk and a clock that is set.

import { setClock, translateAlarms } from './clock.ts'
import { env as given } from 'cloudflare:workers'
import { allowLocalhost, edge } from '../../worker/index.ts'
import { herd, limits } from '../kill/herd-workflow.ts'
import { httpBank } from '../kill/pay.ts'

interface Env {
  readonly UPSTREAM_URL: string
  /** Of the clock when this life begins. */
  readonly CLOCK_OFFSET_MS?: string
  readonly RECOVERY_MS?: string
}

const { CLOCK_OFFSET_MS = 0, RECOVERY_MS = limits.recoveryMs } = given as unknown as Env
setClock(Number(CLOCK_OFFSET_MS))

const well = edge({ workflows: [herd], services: (env: Env) => ({ bank: httpBank(env.UPSTREAM_URL.replace(/\/$/, '')) }), authorize: allowLocalhost, limits: { ...limits, recoveryMs: Number(RECOVERY_MS) } })

export class Run extends well.Run {
  constructor(ctx: DurableObjectState, env: Env) {
    translateAlarms(ctx.storage)
    super(ctx, env)
  }
}

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    if (pathname === '/_clock') {
      setClock(Number(searchParams.get('offset')))
      return new Response(String(Date.now()))
    }
    return well.app.fetch(request, env, ctx)
  },
}
