// Real kills of workerd while two senders send signals. A sender that got no answer sends again, under the same id, to whoever lives next.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { get, type Life, openScene, pause, random, type Scene } from './edge.ts'

const KILLS = 4
const SEED = 20261122

let scene: Scene
beforeAll(async () => { scene = await openScene('../worker/pay-worker.ts') }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

interface Sent {
  readonly note: string
  readonly seq: number
}

test(`G17: workerd is killed ${KILLS} times while signals are sent: each one that was acknowledged is taken, once, in the order of their numbers`, async () => {
  await scene.control({ reset: true, dedup: false })
  const draw = random(SEED)
  let life = await scene.begin()
  const post = (path: string, body: object, id: string): Promise<Response> => fetch(new URL(path, life.url), {
    method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': id }, body: JSON.stringify(body),
  })
  const { id: run } = await (await post('/v1/workflows/notes/runs', { input: { run: 'notes' } }, 'notes')).json() as { id: string }

  let isEnough = false
  let unanswered = 0
  let duplicates = 0
  const send = async (note: string, isLast: boolean): Promise<Sent> => {
    for (;;) {
      try {
        const response = await post(`/v1/runs/${run}/signals/note`, { payload: { note, isLast } }, note)
        const body = await response.json() as { seq: number; duplicate: boolean }
        if (response.status === 202) {
          if (body.duplicate) duplicates++
          return { note, seq: body.seq }
        }
        if (response.status !== 503) throw new TypeError(`${response.status} ${JSON.stringify(body)}`)
      } catch (error) {
        if (error instanceof TypeError && /^\d/.test(error.message)) throw error
      }
      // Nobody there, or nobody any more.
      unanswered++
      await pause(20)
    }
  }
  const sender = async (name: string): Promise<Sent[]> => {
    const sent: Sent[] = []
    while (!isEnough) sent.push(await send(`${name}${sent.length}`, false))
    return sent
  }
  const senders = [sender('a'), sender('b')]
  const murder = async (): Promise<void> => {
    for (let i = 0; i < KILLS; i++) {
      await pause(200 + draw() * 700)
      await (life as Life).kill()
      life = await scene.begin()
    }
    isEnough = true
  }
  const [a, b] = await Promise.all([...senders, murder()]) as unknown as [Sent[], Sent[]]
  const last = await send('last', true)
  let result: { status: string; output?: string[] }
  for (const until = Date.now() + 90_000; ; await pause(100)) {
    result = await get(life, `/v1/runs/${run}/result?wait=5`)
    if (result.status === 'completed' || Date.now() > until) break
  }
  const all = [...a, ...b, last].sort((x, y) => x.seq - y.seq)
  console.log(`${KILLS} kills (seed ${SEED}): ${all.length} signals acknowledged, ${unanswered} sent without an answer, ${duplicates} of them were stored all the same`)
  expect(result).toEqual({ status: 'completed', output: all.map(({ note }) => note) })
  expect(all.map(({ seq }) => seq)).toEqual(all.map((_, i) => i + 1))
  expect(all.length).toBeGreaterThan(10)
  expect(unanswered).toBeGreaterThan(0)
  // The outside was told of each, in that order; of one again only where a kill came between.
  const told = (await scene.requests()).filter(({ action }) => action === 'reserve').map(({ orderId }) => orderId?.replace('notes ', ''))
  expect([...new Set(told)]).toEqual(all.map(({ note }) => note))
  expect(told.length - all.length).toBeLessThanOrEqual(KILLS)
  await life.kill()
}, 240_000)
