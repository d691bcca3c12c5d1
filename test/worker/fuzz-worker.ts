// Runs the fuzzing of the HTTP API for `test/campaign/fuzz.ts`: `GET /?from=&count=` answers what was counted, or 500 with what fell.

import { exports } from 'cloudflare:workers'
import { app, Run as Base, world } from './worker.ts'
import { fuzzHttp } from '../fuzz/http.ts'

export class Run extends Base {
  stored(): { content: string; rows: number } {
    const { sql } = this.ctx.storage
    const names = sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'").toArray()
    const tables = names.map(({ name }) => [name, sql.exec(`SELECT * FROM "${name}"`).toArray()] as const)
    const content = JSON.stringify(tables, (_, value: unknown) => (value instanceof ArrayBuffer ? [...new Uint8Array(value)] : value))
    return { content, rows: tables.reduce((sum, [, rows]) => sum + rows.length, 0) }
  }
}

let asked = 0
const allow = world.authorize
world.authorize = (...args) => {
  asked++
  return allow(...args)
}

export default {
  async fetch(request: Request, env: object): Promise<Response> {
    const query = new URL(request.url).searchParams
    const objects = exports as unknown as { readonly Run: { getByName(id: string): { stored(): Promise<{ content: string; rows: number }> } } }
    try {
      return Response.json(await fuzzHttp({
        async fetch(request) {
          const before = asked
          const response = await app.fetch(request, env)
          return { response, isReached: asked > before }
        },
        stored: (id) => objects.Run.getByName(id).stored(),
      }, Number(query.get('from')), Number(query.get('count'))))
    } catch (error) {
      return new Response(error instanceof Error ? error.message : String(error), { status: 500 })
    }
  },
}
