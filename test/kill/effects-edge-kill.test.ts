// Real kills of workerd in the middle of effects. What happened is read from the upstream's ledger and from the journals.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { follow, get, type Kill, type Life, openScene, pause, random, type Scene } from './edge.ts'
import { type PaidRun, wrongs } from './pay-check.ts'

const KILLS = 8
const SEED = 20261121

let scene: Scene
beforeAll(async () => { scene = await openScene('../worker/pay-worker.ts') }, 60_000)
afterAll(async () => { await scene.close() }, 60_000)

async function start(life: Life, orderId: string, fails: boolean): Promise<string> {
  const response = await fetch(new URL('/v1/workflows/pay/runs', life.url), {
    method: 'POST', headers: { 'content-type': 'application/json', 'idempotency-key': orderId }, body: JSON.stringify({ input: { orderId, fails } }),
  })
  const body = await response.json() as { id: string }
  if (!response.ok) throw new Error(`${response.status} ${JSON.stringify(body)}`)
  return body.id
}

/** Waits for the next record of this kind in the upstream's ledger, and a little more. */
async function aim(record: string, moreMs: number): Promise<void> {
  const ledger = follow(scene.ledgerPath)
  ledger.more()
  for (const until = Date.now() + 2000; Date.now() < until && !ledger.more().includes(record); await pause(0)) { /* looks again */ }
  ledger.close()
  await pause(moreMs)
}

test(`G12, G13: workerd is killed ${KILLS} times in the middle of effects: each act has one key, a probed one acts once, a skipped one at most once, what failed is undone`, async () => {
  // It deduplicates nothing: what acts twice is seen.
  await scene.control({ reset: true, dedup: false, actions: { '*': { delayMs: { min: 10, max: 150, seed: SEED }, answerDelayMs: { min: 0, max: 100, seed: SEED + 1 } } } })
  const draw = random(SEED)
  const kills: Kill[] = []
  const runs = new Map<string, { id: string; fails: boolean }>()
  let life = await scene.begin()
  for (let i = 0; i < KILLS; i++) {
    for (let n = 0; n < 2; n++) {
      const orderId = `pay-${i}-${n}`
      const fails = n === 1
      runs.set(orderId, { id: await start(life, orderId, fails), fails })
    }
    // While a request is open, between an act and its answer, or whenever.
    if (i % 3 === 0) await aim('"type":"received"', draw() * 40)
    else if (i % 3 === 1) await aim('"type":"acted"', draw() * 5)
    else await pause(draw() * 900)
    kills.push(await life.kill())
    life = await scene.begin()
    // A run that is looked at goes on at once, and not when its alarm comes.
    for (const { id } of [...runs.values()].slice(-4)) await get(life, `/v1/runs/${id}`)
  }
  const paid: PaidRun[] = []
  for (const [orderId, { id, fails }] of runs) {
    let run = await get<PaidRun>(life, `/v1/runs/${id}`)
    for (const until = Date.now() + 90_000; run.status !== 'completed' && run.status !== 'failed' && Date.now() < until; run = await get<PaidRun>(life, `/v1/runs/${id}`)) await pause(100)
    const { items } = await get<{ items: PaidRun['journal'] }>(life, `/v1/runs/${id}/journal?limit=1000`)
    paid.push({ ...run, orderId, fails, journal: items })
  }
  const requests = await scene.requests()
  const withOpen = kills.filter(({ from, to }) => requests.some((request) => request.action !== null && request.receivedAt <= to && from <= (request.closedAt ?? Infinity))).length
  const decided = paid.flatMap(({ journal }) => journal.filter(({ kind }) => kind === 'effect_decided').map(({ key }) => key))
  console.log(`${kills.length} kills (seed ${SEED}), ${withOpen} with a request open; ${requests.filter(({ action }) => action !== null).length} requests of ${
    paid.length} runs; decided: ${decided.join(', ')}`)
  expect(paid.flatMap((run) => wrongs(run, requests, kills))).toEqual([])
  expect(withOpen).toBeGreaterThanOrEqual(3)
  expect(decided.length).toBeGreaterThanOrEqual(2)
  await life.kill()
}, 240_000)
