// Real kills of workerd in the middle of `order`, again and again: shared by the campaigns, each in a file of its own, so that they
// run side by side. What happened is read from the upstream's ledger and from the journals.

import { expect } from 'vitest'
import type { LedgerRequest as Request } from '../examples/upstream.ts'
import { follow, get, type Kill, type Life, pause, random, type Scene } from './edge.ts'

export const KILLS = 20
export const SEED = 20261120
const json = { 'content-type': 'application/json' }

interface EntryView { readonly seq: number; readonly kind: string; readonly key?: string; readonly at: number }
export interface RunView { readonly status: string; readonly output?: { orderId: string; totalCents: number; chargeId: string; shipmentId: string } }


export async function start(life: Life, orderId: string, waitMs = 150): Promise<string> {
  const response = await fetch(new URL('/v1/workflows/order/runs', life.url), {
    method: 'POST', headers: { ...json, 'idempotency-key': orderId },
    body: JSON.stringify({ input: { orderId, email: 'ada@example.com', waitMs, items: [{ sku: 'tea', quantity: 2, unitPriceCents: 450 }] } }),
  })
  const body = await response.json() as { id: string }
  if (response.status !== 201 && response.status !== 200) throw new Error(`${response.status} ${JSON.stringify(body)}`)
  return body.id
}

/** Waits until the upstream has answered something, then 2 to 7 ms more, or up to 30 where the machine is busy: the commit is about then. */
async function aim(scene: Scene, draw: () => number, deadlineMs: number): Promise<void> {
  const ledger = follow(scene.ledgerPath)
  ledger.more()
  const until = Date.now() + deadlineMs
  while (Date.now() < until && !ledger.more().includes('"how":"answered"')) await pause(0)
  ledger.close()
  const kill = performance.now() + 2 + draw() * (draw() < 0.6 ? 5 : 28)
  while (performance.now() < kill) { /* busy: a timer is not this exact */ }
}

export interface Campaign { readonly kills: readonly Kill[]; readonly runs: ReadonlyMap<string, string>; readonly life: Life }

/** `KILLS` of them, or more until enough have hit: a share of them with a request open, a share right beside a commit. */
export async function campaign(scene: Scene, prefix: string, seed: number): Promise<Campaign> {
  const draw = random(seed)
  const kills: Kill[] = []
  const runs = new Map<string, string>()
  const open: string[] = []
  let life: Life
  for (let i = 0; ; i++) {
    life = await scene.begin()
    // A machine that is busy with other things makes one miss: more kills, not a lower bar.
    if (i >= KILLS && (i >= 4 * KILLS || (i % 4 === KILLS % 4 && isEnough(await hits(scene, kills, runs, life, prefix))))) break
    // Reading a run that should be working drives it at once, instead of when its alarm comes.
    for (const id of open) await get(life, `/v1/runs/${id}`)
    for (let n = 0; n < 2; n++) {
      const orderId = `${prefix}-${i}-${n}`
      const id = await start(life, orderId)
      runs.set(orderId, id)
      open.push(id)
    }
    if (i % 4 !== 3) await aim(scene, draw, 2000)
    else await pause(20 + draw() * 500)
    kills.push(await life.kill())
    // The oldest are left to the end, where they go on by themselves.
    while (open.length > 6) open.shift()
  }
  for (const id of runs.values()) {
    for (const until = Date.now() + 60_000; ;) {
      const { status } = await get<RunView>(life, `/v1/runs/${id}`)
      if (status === 'completed') break
      if (status === 'failed' || status === 'blocked' || Date.now() > until) throw new Error(`run ${id} is ${status}`)
      await pause(50)
    }
  }
  return { kills, runs, life }
}

const requestsOf = async (scene: Scene, prefix: string): Promise<Request[]> =>
  (await scene.requests()).filter((request) => request.orderId?.startsWith(`${prefix}-`))
/** How often the shop was asked what became of a charge of these requests. */
async function probesOf(scene: Scene, requests: readonly Request[]): Promise<number> {
  const keys = new Set(requests.map(({ key }) => key))
  return (await scene.requests()).filter(({ method, path }) => method === 'GET' && path.startsWith('/charges/') && keys.has(path.slice('/charges/'.length))).length
}

const journalOf = async (life: Life, id: string): Promise<EntryView[]> =>
  (await get<{ items: EntryView[] }>(life, `/v1/runs/${id}/journal?limit=100`)).items

interface Hits {
  /** Kills that landed while a request was open. */
  readonly withOpen: number
  /** How far each kill was from the nearest commit, in ms. */
  readonly distances: readonly number[]
  /** Charges that were cut off, so that somebody had to decide. */
  readonly decisions: number
}

async function hits(scene: Scene, kills: readonly Kill[], runs: ReadonlyMap<string, string>, life: Life, prefix: string): Promise<Hits> {
  const requests = await requestsOf(scene, prefix)
  const entries: EntryView[] = []
  for (const id of runs.values()) entries.push(...await journalOf(life, id))
  return {
    withOpen: kills.filter(({ from }) => requests.some(({ receivedAt, closedAt }) => receivedAt <= from && from <= (closedAt ?? Infinity))).length,
    decisions: entries.filter(({ kind }) => kind === 'effect_decided').length,
    distances: kills.map(({ from }) => Math.min(...entries.map(({ at }) => Math.abs(at - from)))),
  }
}

const isEnough = ({ withOpen, distances, decisions }: Hits): boolean => decisions >= 1 && withOpen >= 0.4 * KILLS && distances.filter((ms) => ms <= 5).length >= 0.2 * KILLS

export async function check(scene: Scene, { kills, runs, life }: Campaign, prefix: string): Promise<void> {
  const requests = await requestsOf(scene, prefix)
  for (const [orderId, id] of runs) {
    const { output } = await get<RunView>(life, `/v1/runs/${id}`)
    expect(output).toMatchObject({ orderId, totalCents: 900 })
    const items = await journalOf(life, id)
    expect(items.map((entry) => entry.seq)).toEqual(items.map((_, i) => i + 1))
    for (const action of ['price', 'reserve', 'charge', 'ship']) {
      const of = requests.filter((request) => request.orderId === orderId && request.action === action)
      const committed = items.filter((entry) => entry.kind === (action === 'charge' ? 'effect_completed' : 'step_completed') && entry.key === action)
      // Money moves once, whether the shop deduplicates or not: what nobody knows is asked for and not done again.
      if (action === 'charge') expect({ orderId, action, acts: of.filter(({ acted }) => acted === true).length }).toEqual({ orderId, action, acts: 1 })
      expect({ orderId, action, commits: committed.length }).toEqual({ orderId, action, commits: 1 })
      expect({ orderId, action, keys: new Set(of.map((request) => request.key)).size }).toEqual({ orderId, action, keys: 1 })
      const at = committed[0]?.at ?? 0
      expect({ orderId, action, late: of.filter((request) => request.receivedAt > at) }).toEqual({ orderId, action, late: [] })
      // Every repetition needs a kill of its own: one that took effect before it came and after the request that it repeats.
      for (const [i, again] of of.slice(1).entries()) {
        const first = of[i]?.receivedAt ?? Infinity
        const why = kills.filter(({ from, to }) => first <= to && from <= again.receivedAt)
        expect(why.length, `${orderId} ${action} was asked for at ${first} and ${again.receivedAt}; kills ${JSON.stringify(kills)}`).toBeGreaterThanOrEqual(1)
      }
    }
  }
  const { withOpen, distances, decisions } = await hits(scene, kills, runs, life, prefix)
  const histogram = [0, 1, 2, 5, 10, 50, 1e9].map((to, i, all) => `${i === 0 ? 0 : (all[i - 1] as number) + 1}..${to === 1e9 ? '' : to} ms: ${
    distances.filter((d) => d <= to && d > (all[i - 1] ?? -1)).length}`)
  console.log(`${kills.length} kills (seed ${SEED}), ${withOpen} with a request open; to the nearest commit ${histogram.join(', ')}; ${
    requests.length} requests for ${runs.size * 4} calls; ${decisions} charges were cut off, and the shop was asked about them ${await probesOf(scene, requests)} times`)
  expect(decisions).toBeGreaterThanOrEqual(1)
  expect(kills.length).toBeGreaterThanOrEqual(KILLS)
  expect(withOpen).toBeGreaterThanOrEqual(0.4 * KILLS)
  expect(distances.filter((distance) => distance <= 5).length).toBeGreaterThanOrEqual(0.2 * KILLS)
}
