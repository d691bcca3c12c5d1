import { createHost } from '../../worker/host.ts'
import type { Program } from '../contract/delivery.contract.ts'
import { runtime, type Travelling } from './journals.ts'

export default {
  async fetch(request: Request): Promise<Response> {
    const { live, replay } = runtime(createHost().quiesce)
    const body: unknown = await request.json()
    try {
      if (new URL(request.url).pathname === '/replay') return Response.json(await replay(body as Travelling))
      const { program, seed } = body as { readonly program: Program; readonly seed: number }
      return Response.json(await live(program, seed))
    } catch (error) {
      return new Response((error as Error).message, { status: 500 })
    }
  },
}
