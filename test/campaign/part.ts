// What every part of a campaign is: a program that works from a seed until its time is over, counts, and exits with 1 and the seed to
// repeat when a check fails. scripts/campaign.mjs starts it with `--seconds N --seed S --json FILE`.

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

export interface Campaign {
  readonly figures: Record<string, number>
  add(name: string, n: number): void
  /** ms since 1970. */
  readonly endAt: number
}

export interface Slice {
  readonly name: string
  /** Works from `seed` for about a second, and answers the seed at which it goes on. */
  readonly run: (seed: number, campaign: Campaign) => Promise<number>
}

/** Runs the slices in turns, each from its own last seed. Ends the process. */
export async function part(slices: readonly Slice[], close: () => Promise<void> = async () => {}): Promise<never> {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' }, json: { type: 'string' }, only: { type: 'string' } },
  })
  const first = Number(values.seed)
  const seconds = Number(values.seconds)
  if (!(seconds > 0) || !Number.isSafeInteger(first) || first < 0) throw new Error('--seconds takes a number above 0, --seed a whole number from 0')
  const wanted = slices.filter(({ name }) => values.only === undefined || values.only.split(',').includes(name))
  if (wanted.length === 0) throw new Error(`--only takes ${slices.map(({ name }) => name).join(', ')}`)
  const figures: Record<string, number> = {}
  let endAt = Date.now() + seconds * 1000
  const campaign: Campaign = { figures, get endAt() { return endAt }, add: (name, n) => { figures[name] = (figures[name] ?? 0) + n } }
  // Whoever has seen enough gets the figures all the same.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { endAt = 0 })
  const seeds = new Map(wanted.map((slice) => [slice, first]))
  const fallen = new Set<Slice>()
  let told = Date.now()
  do {
    for (const [slice, seed] of seeds) {
      if (fallen.has(slice)) continue
      try {
        seeds.set(slice, await slice.run(seed, campaign))
      } catch (error) {
        console.error(`FAILED: ${slice.name}: ${error instanceof Error ? error.message : String(error)}`)
        console.error(`  again with --only ${slice.name} --seed ${seed}`)
        fallen.add(slice)
      }
      if (Date.now() - told > 10_000) {
        told = Date.now()
        console.error(`${Math.round((endAt - told) / 1000)} s left: ${JSON.stringify(figures)}`)
      }
    }
  } while (Date.now() < endAt && fallen.size < wanted.length)
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`)
  console.log(JSON.stringify(figures, null, 2))
  await close()
  process.exit(fallen.size > 0 ? 1 : 0)
}
