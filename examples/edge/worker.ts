// The example's edge: the workflows on Durable Objects, the HTTP API, and a route of one's own beside it. The page is files
// (wrangler.toml), which the platform serves before it asks this worker.

import { Hono } from 'hono'
import { ERRORS, isStepwellError } from 'stepwell'
import { allowLocalhost, edge } from 'stepwell/worker'
import { order } from '../order/order.ts'
import { httpShop } from '../order/shop-http.ts'
import { workflows } from '../workflows.ts'

interface Env {
  /** Where the shop is: examples/upstream. */
  readonly UPSTREAM_URL: string
}

const well = edge({
  workflows,
  services: (env: Env) => ({ shop: httpShop(env.UPSTREAM_URL) }),
  authorize: allowLocalhost,
  // After a crash in the middle of a charge nobody asks what became of it before this and the charge's timeout have passed.
  limits: { startByMs: 1000 },
})

/** The class of the runs: one Durable Object each. */
export const Run = well.Run

const app = new Hono<{ Bindings: Env }>()

// A shop's own API: its customers know nothing of workflows. The same Idempotency-Key, however often sent, is one order.
app.post('/orders', async (c) => {
  const permission = await allowLocalhost(c.req.raw, 'start', { id: '', workflow: order.name }, c.env)
  if (permission === false || !permission.allow) return c.json({ error: 'this demo answers to localhost only, in JSON' }, 403)
  const token = c.req.header('Idempotency-Key')
  // Whatever it is: the schema of the workflow decides.
  const run = await well.client(c.env).start(order, await c.req.json(), token === undefined ? {} : { token })
  return c.json({ id: run.id }, 201)
})

app.onError((error, c) => {
  if (isStepwellError(error)) {
    const { status, help } = ERRORS[error.code]
    return c.json({ error: error.message, code: error.code, details: error.details, help }, status as 400)
  }
  if (error instanceof SyntaxError) return c.json({ error: 'the body is not JSON' }, 400)
  console.error(error)
  return c.json({ error: 'the worker has a bug' }, 500)
})

app.route('/', well.app)

export default app
