// Many runs in flight on an edge that is killed again and again at random instants. What reached the world is read from the
// upstream's ledger; until the last step of every run was asked for, nothing is asked of the edge but the starts: its alarms alone
// wake its runs. Shared by the test and by the campaign.

import type { LedgerRequest } from '../examples/upstream.ts'
import { follow, get, type Kill, type Life, pause, random, type Scene } from './edge.ts'
import type { HerdInput, HerdOutput, JournalEntry } from './herd-workflow.ts'

/** What is left of a run when all is over. */
export interface HerdRun {
  readonly input: HerdInput
  readonly status: string
  readonly output?: HerdOutput
  readonly journal: readonly JournalEntry[]
}

export interface HerdOptions {
  readonly prefix: string
  readonly runs: number
  readonly kills: number
  readonly seed: number
  /** A life ends after so many more requests have reached the world: a number drawn between these. A slow machine lives longer. */
  readonly lives: readonly [number, number]
  readonly timeoutMs: number
  readonly sleepMs: readonly [number, number]
  /**
   * How long a run that a kill has cut off waits for its alarm, and how often at first one that is driven writes its next alarm. Each such
   * write is a flush of the disk: a thousand runs with one a second keep a slow disk busy with nothing else.
   */
  readonly recoveryMs: number
  /** How the upstream behaves (examples/upstream). */
  readonly upstream: object
  /** All must have ended by then. */
  readonly deadlineMs: number
  readonly log?: (line: string) => void
}

export interface Herded {
  readonly kills: readonly Kill[]
  readonly runs: readonly HerdRun[]
  readonly requests: readonly LedgerRequest[]
  readonly figures: HerdFigures
  /** Everything that is wrong, in words. */
  readonly wrongs: readonly string[]
}

export interface HerdFigures {
  readonly runs: number
  readonly kills: number
  /** Kills with so many requests open, each. */
  readonly open: readonly number[]
  /** Kills with so many runs in flight: started, and not ended. */
  readonly inFlight: readonly number[]
  readonly requests: number
  /** Actions that were asked for more than once. */
  readonly repeated: number
  /** Effects that nobody knew the end of. */
  readonly decided: number
  readonly seconds: number
}

const json = { 'content-type': 'application/json' }
const actions = ['price', 'charge', 'reserve', 'ship'] as const
const STARTS_AT_ONCE = 16

/** Runs the scene from its first life to the end of the last run, and leaves nothing alive. */
export async function herd(scene: Scene, options: HerdOptions): Promise<Herded> {
  const { prefix, seed, kills: wanted, lives, deadlineMs, log = () => {} } = options
  const began = Date.now()
  const draw = random(seed)
  const between = ([from, to]: readonly [number, number]): number => Math.round(from + draw() * (to - from))
  const inputs = Array.from({ length: options.runs }, (_, i): HerdInput => ({ orderId: `${prefix}-${i}`, sleepMs: between(options.sleepMs), timeoutMs: options.timeoutMs }))
  const ids = new Map<string, string>()
  const kills: Kill[] = []
  const late = (): boolean => Date.now() - began > deadlineMs
  const left = async (): Promise<number> => {
    const shipped = new Set((await mine(scene, prefix)).filter(({ action, how }) => action === 'ship' && how === 'answered').map(({ orderId }) => orderId))
    return options.runs - shipped.size
  }

  const kill = async (): Promise<void> => {
    kills.push(await life.kill())
    log(`kill ${kills.length}: ${ids.size} started, ${await left()} not shipped, ${Math.round((Date.now() - began) / 1000)} s`)
  }
  // As long as the first step gets no answer, whatever is started is in flight.
  await scene.control({ reset: true, dedup: false, actions: { price: { delayMs: 3_600_000 } } })
  const vars = { RECOVERY_MS: String(options.recoveryMs) }
  let life = await scene.begin(vars)
  const starting = startAll(life, inputs, ids)
  while (ids.size < options.runs / 2 && !late()) await pause(5)
  await kill()
  await starting
  life = await scene.begin(vars)
  while (ids.size < options.runs) {
    // What was not confirmed is started again: the token makes that one run.
    await startAll(life, inputs.filter(({ orderId }) => !ids.has(orderId)), ids)
    if (late()) throw new Error(`seed ${seed}: only ${ids.size} of ${options.runs} runs could be started in ${deadlineMs} ms`)
  }
  // Those of the first life are asked for again when their alarms come.
  const open = async (): Promise<number> => new Set((await mine(scene, prefix)).filter(({ how }) => how === 'open').map(({ orderId }) => orderId)).size
  while (await open() < options.runs && !late()) await pause(50)
  // It deduplicates nothing: what acts twice is seen.
  await scene.control({ reset: true, dedup: false, actions: { '*': options.upstream } })
  await kill()
  for (life = await scene.begin(vars); kills.length < wanted && await left() > 0; life = await scene.begin(vars)) {
    await received(scene, between(lives), async () => late() || await left() === 0)
    await pause(draw() * 100)
    await kill()
  }
  for (let n = await left(); n > 0; n = await left()) {
    if (late()) break
    await pause(250)
  }
  // Only now is anything read: whatever had to wake a run was an alarm.
  const runs = await inParts(inputs, 8, (input) => readRun(life, ids.get(input.orderId) as string, input, began + deadlineMs + 10_000))
  await life.kill()

  const requests = await mine(scene, prefix)
  const byOrder = Map.groupBy(requests, ({ orderId }) => orderId)
  const wrongs = runs.flatMap((run) => wrongsOf(run, byOrder.get(run.input.orderId) ?? [], kills))
  const openAt = kills.map(({ from, to }) => requests.filter(({ receivedAt, closedAt }) => receivedAt <= to && from <= (closedAt ?? Infinity)).length)
  const inFlight = kills.map(({ from }) => runs.filter(({ journal }) => (journal[0]?.at ?? Infinity) <= from && (journal.at(-1)?.at ?? 0) > from).length)
  const figures: HerdFigures = {
    runs: runs.length, kills: kills.length, open: openAt, inFlight, requests: requests.length,
    repeated: runs.reduce((sum, { input }) => sum + actions.filter((action) => (byOrder.get(input.orderId) ?? []).filter((request) => request.action === action).length > 1).length, 0),
    decided: runs.reduce((sum, { journal }) => sum + journal.filter(({ kind }) => kind === 'effect_decided').length, 0),
    seconds: Math.round((Date.now() - began) / 1000),
  }
  return { kills, runs, requests, figures, wrongs }
}

/** Waits until so many more requests have come, or none is to be expected. */
async function received(scene: Scene, more: number, isOver: () => Promise<boolean>): Promise<void> {
  const ledger = follow(scene.ledgerPath)
  while (ledger.more() !== '') { /* what is there already */ }
  let seen = 0
  for (let looks = 1; seen < more; looks++) {
    seen += ledger.more().split('"type":"received"').length - 1
    if (looks % 100 === 0 && await isOver()) break
    await pause(5)
  }
  ledger.close()
}

/** In a line: what it was, and the histogram of the kills. */
export function tellHerd(seed: number, { figures: { open, inFlight, ...rest } }: Herded): string {
  const histogram = [[0, 0], [1, 1], [2, 5], [6, 20], [21, Infinity]].map(([from, to]) =>
    `${to === Infinity ? `${from}+` : from === to ? from : `${from}–${to}`}: ${open.filter((n) => n >= (from as number) && n <= (to as number)).length}`)
  return `${rest.kills} kills of workerd (seed ${seed}) among ${rest.runs} runs, ${open.filter((n) => n > 0).length} with a request open (open requests → kills: ${
    histogram.join(', ')}); in flight at each: ${inFlight.join(' ')}; ${rest.requests} requests, ${rest.repeated} actions repeated, ${rest.decided} effects decided; ${rest.seconds} s`
}

/** What must hold of one run, whatever was killed when. */
export function wrongsOf({ input: { orderId }, status, output, journal }: HerdRun, requests: readonly LedgerRequest[], kills: readonly Kill[]): string[] {
  const found: string[] = []
  const wrong = (what: string): void => { found.push(`${orderId}: ${what}`) }
  if (status !== 'completed') wrong(`it is ${status}: ${journal.map(({ kind, key }) => `${kind} ${key ?? ''}`).join(', ')}`)
  if (journal.some(({ seq }, i) => seq !== i + 1)) wrong('its journal has gaps')
  if (journal.some(({ at }, i) => at < (journal[i - 1]?.at ?? 0))) wrong('its times decrease')
  for (const action of actions) {
    const isEffect = action === 'charge' || action === 'reserve'
    const of = requests.filter((request) => request.action === action)
    const committed = journal.filter(({ kind, key }) => key === action && kind === (isEffect ? 'effect_completed' : 'step_completed'))
    const decided = journal.filter(({ kind, key }) => kind === 'effect_decided' && key === action).length
    const acted = of.filter((request) => request.acted === true).length
    if (committed.length !== 1) wrong(`${action} has ${committed.length} outcomes`)
    if (new Set(of.map(({ key }) => key)).size !== 1) wrong(`${action} has ${new Set(of.map(({ key }) => key)).size} keys`)
    const at = committed[0]?.at ?? 0
    for (const { receivedAt } of of) if (receivedAt > at) wrong(`${action} was asked for at ${receivedAt}, after its outcome of ${at}`)
    if (isEffect) {
      const intended = journal.find(({ kind, key }) => kind === 'effect_intended' && key === action)?.at ?? Infinity
      for (const { receivedAt } of of) if (receivedAt < intended) wrong(`${action} was asked for at ${receivedAt}, before its intent of ${intended}`)
      // One call for each intent, and one more for each decision.
      if (of.length > decided + journal.filter(({ kind, key }) => kind === 'effect_attempt_failed' && key === action).length + 1) wrong(`${action} was asked for ${of.length} times and decided ${decided} times`)
    }
    if (action === 'charge' && acted !== 1) wrong(`charge acted ${acted} times`)
    if (acted < 1) wrong(`${action} never acted`)
    // Every repetition needs a kill: one that took effect before it came and after the request that it repeats; or an attempt that has failed.
    const failed = journal.some(({ kind, key }) => key === action && (kind === 'attempt_failed' || kind === 'effect_attempt_failed' || kind === 'effect_ambiguous'))
    for (const [i, again] of of.slice(1).entries()) {
      const first = of[i] as LedgerRequest
      if (!failed && !kills.some(({ from, to }) => first.receivedAt <= to && from <= again.receivedAt)) wrong(`${action} was asked for at ${first.receivedAt} and ${again.receivedAt} with no kill between`)
    }
    const result = output?.[action === 'charge' ? 'chargeId' : action === 'reserve' ? 'reservationId' : 'shipmentId']
    if (action !== 'price' && !of.some((request) => Object.values(request.result ?? {}).includes(result))) wrong(`${action} gave ${String(result)}, which nobody answered`)
  }
  if (output?.orderId !== orderId || output.totalCents !== 900) wrong(`its output is ${JSON.stringify(output)}`)
  for (const [kind, times] of [['timer_set', 1], ['timer_fired', 1], ['run_completed', 1]] as const) {
    const n = journal.filter((entry) => entry.kind === kind).length
    if (n !== times) wrong(`it has ${n} entries ${kind}`)
  }
  return found
}

const mine = async (scene: Scene, prefix: string): Promise<LedgerRequest[]> =>
  (await scene.requests()).filter(({ action, orderId }) => action !== null && orderId?.startsWith(`${prefix}-`) === true)

/** Those that the life could confirm before it ended. */
async function startAll(life: Life, inputs: readonly HerdInput[], ids: Map<string, string>): Promise<void> {
  let isDead = false
  await inParts(inputs, STARTS_AT_ONCE, async (input) => {
    if (isDead) return
    try {
      ids.set(input.orderId, await start(life, input))
    } catch {
      // The connection was refused or cut: this life is over. Whatever else it was, it is tried again.
      isDead = true
    }
  })
}

export async function start(life: Life, input: HerdInput): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const response = await fetch(new URL('/v1/workflows/herd/runs', life.url), {
      method: 'POST', headers: { ...json, 'idempotency-key': input.orderId }, body: JSON.stringify({ input }),
    })
    const text = await response.text()
    if (response.ok) return (JSON.parse(text) as { id: string }).id
    // An object that was reset answers 503 once.
    if (response.status < 500 || attempt === 5) throw new Error(`${response.status} ${text}`)
    await pause(100 * attempt)
  }
}

export async function readRun(life: Life, id: string, input: HerdInput, until: number): Promise<HerdRun> {
  const read = (): Promise<Pick<HerdRun, 'status' | 'output'>> => get(life, `/v1/runs/${id}`)
  let run = await read()
  for (; !['completed', 'failed', 'blocked', 'cancelled'].includes(run.status) && Date.now() < until; run = await read()) await pause(100)
  const { items } = await get<{ items: JournalEntry[] }>(life, `/v1/runs/${id}/journal?limit=1000`)
  return { input, ...run, journal: items }
}

/** `work` on each, so many at a time. */
export async function inParts<A, B>(all: readonly A[], atOnce: number, work: (one: A, i: number) => Promise<B>): Promise<B[]> {
  const done: B[] = new Array(all.length)
  let next = 0
  await Promise.all(Array.from({ length: Math.min(atOnce, all.length) }, async () => {
    for (let i = next++; i < all.length; i = next++) done[i] = await work(all[i] as A, i)
  }))
  return done
}
