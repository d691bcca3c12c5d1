import { createHost } from '../../worker/host.ts'
import { runtime, type Travelling } from './journals.ts'

export default {
  async fetch(request: Request): Promise<Response> {
    const { live, replay } = runtime(createHost().quiesce)
    const url = new URL(request.url)
    if (url.pathname === '/live') return Response.json(await live(Number(url.searchParams.get('seed')), Number(url.searchParams.get('size'))))
    return Response.json(await replay(await request.json() as Travelling))
  },
}
