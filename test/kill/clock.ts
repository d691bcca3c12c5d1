// A clock that is set forward and back while runs are under way. What reached the world is read from the upstream's ledger, whose
// clock is not set. Shared by the tests and by the campaign.

import type { LedgerRequest } from '../examples/upstream.ts'
import { get, type Life, pause, random, type Scene } from './edge.ts'
import { type Flock, flock } from './flock.ts'
import { type HerdRun, inParts, start } from './herd.ts'
import type { HerdInput, JournalEntry } from './herd-workflow.ts'
import { until } from './site.ts'

export interface Clocked {
  readonly wrongs: readonly string[]
  /** How often it was set, and by how much, in ms. */
  readonly jumps: readonly number[]
  readonly decided: number
  readonly seconds: number
}

const HOUR = 3_600_000
const DAY = 24 * HOUR
const sizes = [HOUR, -HOUR, DAY, -DAY] as const
/**
 * A timer is due at a time of the clock (G19), so one that was set while the clock was a day ahead is late by that day when the clock is
 * set right; it is not lost. Here the day passes at once: after the last jump, whatever was set under any of the clocks is due.
 */
const LAST = 2 * DAY
const isOver = (status: string): boolean => ['completed', 'failed', 'blocked', 'cancelled'].includes(status)
const upstream = { reset: true, dedup: false, actions: { '*': { delayMs: { min: 50, max: 300, seed: 1 } } } }

/**
 * What must hold whatever the clock says: entry times never decrease (G11), each timer fires once (G19), nothing has two keys, and
 * no effect is called again but by a decision. A call that comes too late for its intent is not made, and intended anew (G12).
 */
function wrongsOf({ input: { orderId }, status, output, journal }: HerdRun, requests: readonly LedgerRequest[]): string[] {
  const found: string[] = []
  const wrong = (what: string): void => { found.push(`${orderId}: ${what}`) }
  if (status !== 'completed' || output?.totalCents !== 900) wrong(`it is ${status}: ${JSON.stringify(output)}; ${journal.map(({ kind, key }) => `${kind} ${key ?? ''}`).join(', ')}`)
  if (journal.some(({ at }, i) => at < (journal[i - 1]?.at ?? 0))) wrong(`its times decrease: ${journal.map(({ at }) => at).join(' ')}`)
  if (journal.some(({ seq }, i) => seq !== i + 1)) wrong('its journal has gaps')
  for (const kind of ['timer_set', 'timer_fired', 'run_completed']) {
    const n = journal.filter((entry) => entry.kind === kind).length
    if (n !== 1) wrong(`it has ${n} entries ${kind}`)
  }
  for (const action of ['price', 'charge', 'reserve', 'ship']) {
    const of = requests.filter((request) => request.action === action)
    const decided = journal.filter(({ kind, key }) => kind === 'effect_decided' && key === action).length
    if (new Set(of.map(({ key }) => key)).size !== 1) wrong(`${action} has ${new Set(of.map(({ key }) => key)).size} keys`)
    const acted = of.filter((request) => request.acted === true).length
    if (action === 'charge' && acted !== 1) wrong(`charge acted ${acted} times`)
    if (action === 'reserve' && of.length > decided + 1) wrong(`reserve was asked for ${of.length} times and decided ${decided} times`)
  }
  return found
}

/** Sets the clock of workerd, in which runs sleep, call and are killed; at last to a time that lies behind all of them. */
export async function setEdgeClock(scene: Scene, prefix: string, runs: number, jumps: number, seed: number): Promise<Clocked> {
  const began = Date.now()
  const draw = random(seed)
  await scene.control(upstream)
  const inputs = Array.from({ length: runs }, (_, i): HerdInput => ({ orderId: `${prefix}-${i}`, sleepMs: Math.round(200 + draw() * 2000), timeoutMs: 4000 }))
  const ids: string[] = []
  const made: number[] = []
  const asked = async (): Promise<LedgerRequest[]> => (await scene.requests()).filter(({ orderId, action }) => action !== null && orderId?.startsWith(`${prefix}-`) === true)
  let life = await scene.begin()
  const share = Math.ceil(runs / jumps)
  for (let i = 0; i < jumps; i++) {
    const seen = (await asked()).length
    ids.push(...await inParts(inputs.slice(i * share, (i + 1) * share), 8, (input) => start(life, input)))
    // Not before something is under way.
    while ((await asked()).length === seen) await pause(5)
    await pause(draw() * 700)
    const offset = sizes[Math.floor(draw() * sizes.length)] ?? HOUR
    made.push(offset)
    if (i % 3 === 2) {
      // It was set while nobody was there.
      await life.kill()
      life = await scene.begin({ CLOCK_OFFSET_MS: String(offset) })
    } else await setClock(life, offset)
    await pause(200 + draw() * 500)
  }
  await setClock(life, LAST)
  const until = Date.now() + 60_000
  const done = await inParts(inputs, 8, async (input, i): Promise<HerdRun> => {
    const read = (): Promise<Pick<HerdRun, 'status' | 'output'>> => get(life, `/v1/runs/${ids[i] ?? ''}`)
    let run = await read()
    for (; !isOver(run.status) && Date.now() < until; run = await read()) await pause(200)
    return { input, ...run, journal: (await get<{ items: JournalEntry[] }>(life, `/v1/runs/${ids[i] ?? ''}/journal?limit=1000`)).items }
  })
  await life.kill()
  return summed(done, await asked(), made, began)
}

async function setClock(life: Life, offset: number): Promise<void> {
  const response = await fetch(new URL(`/_clock?offset=${offset}`, life.url))
  const told = Number(await response.text())
  if (Math.abs(told - Date.now() - offset) > 60_000) throw new Error(`the clock was not set: ${told}`)
}

/** Runs in the page before everything else. */
const settable = 'const now = Date.now.bind(Date); let offset = 0; Date.now = () => now() + offset; globalThis.setClock = (ms) => { offset = ms }'

/** The same in one tab, whose clock is set. */
export async function setBrowserClock(scene: Flock, prefix: string, runs: number, jumps: number, seed: number): Promise<Clocked> {
  const began = Date.now()
  const draw = random(seed)
  await scene.upstream.control(upstream)
  const browser = await scene.launch()
  const tab = await scene.visit(browser, settable)
  const inputs = Array.from({ length: runs }, (_, i): HerdInput => ({ orderId: `${prefix}-${i}`, sleepMs: Math.round(200 + draw() * 2000), timeoutMs: 4000 }))
  const asked = async (): Promise<LedgerRequest[]> => (await scene.upstream.requests()).filter(({ orderId, action }) => action !== null && orderId?.startsWith(`${prefix}-`) === true)
  const made: number[] = []
  const share = Math.ceil(runs / jumps)
  for (let i = 0; i < jumps; i++) {
    const seen = (await asked()).length
    await flock(tab, 'startAll', inputs.slice(i * share, (i + 1) * share))
    await until(async () => (await asked()).length > seen)
    await pause(draw() * 700)
    const offset = sizes[Math.floor(draw() * sizes.length)] ?? HOUR
    made.push(offset)
    await tab.evaluate(`setClock(${offset})`)
    await pause(200 + draw() * 500)
  }
  await tab.evaluate(`setClock(${LAST}); dispatchEvent(new Event("focus"))`)
  await until(async () => (await flock(tab, 'statuses')).every(({ id, status }) => !id.startsWith(`${prefix}-`) || isOver(status)), 90_000)
  const done: HerdRun[] = []
  for (const input of inputs) {
    const [journal, { status, output }] = [await flock(tab, 'journal', input.orderId), await flock(tab, 'status', input.orderId)]
    done.push({ input, journal, status, ...(output === undefined ? undefined : { output }) })
  }
  await browser.close()
  return summed(done, await asked(), made, began)
}

function summed(runs: readonly HerdRun[], requests: readonly LedgerRequest[], jumps: readonly number[], began: number): Clocked {
  const byOrder = Map.groupBy(requests, ({ orderId }) => orderId)
  return {
    wrongs: runs.flatMap((run) => wrongsOf(run, byOrder.get(run.input.orderId) ?? [])), jumps,
    decided: runs.reduce((sum, { journal }) => sum + journal.filter(({ kind }) => kind === 'effect_decided').length, 0),
    seconds: Math.round((Date.now() - began) / 1000),
  }
}
