// When the explorer strikes: at which commits and at which quiescent points of a run, counted over all of its processes. A schedule
// is written as one word for each strike, `after:3 quiet:12`, and that is the seed that repeats it.

import { StepwellError } from '../errors.ts'

export type Strike =
  /**
   * At the how many-th commit; 1 is the start of the run. The process dies before it, or after it; or it lives on and never gets the
   * answer of what was committed.
   */
  | { readonly when: 'before' | 'after' | 'lost'; readonly nth: number }
  /** The process dies at the how many-th quiescent point: nothing goes on by itself, and steps may be under way. */
  | { readonly when: 'quiet'; readonly nth: number }

export type Schedule = readonly Strike[]

const kinds = ['before', 'after', 'lost'] as const

export function printSchedule(schedule: Schedule): string {
  return schedule.map(({ when, nth }) => `${when}:${nth}`).join(' ')
}

/** Throws `invalid_argument` for what is no printed schedule. */
export function parseSchedule(seed: string): Schedule {
  if (typeof seed !== 'string') throw new StepwellError('invalid_argument', 'a schedule is a text such as "after:3 quiet:12"')
  return seed.split(/\s+/).filter((word) => word !== '').map((word) => {
    const [, when, nth] = /^(before|after|lost|quiet):([1-9]\d*)$/.exec(word) ?? []
    if (when === undefined) throw new StepwellError('invalid_argument', `${JSON.stringify(word)} is no strike of a schedule: write before:3, after:3, lost:3 or quiet:3`)
    return { when: when as Strike['when'], nth: Number(nth) }
  })
}

/** A crash at each commit, before, after and with its answer lost. */
export function atCommits(commits: number): Strike[] {
  return Array.from({ length: commits }, (_, i) => kinds.map((when) => ({ when, nth: i + 1 }))).flat()
}

export function atQuiescence(points: number): Strike[] {
  return Array.from({ length: points }, (_, i) => ({ when: 'quiet', nth: i + 1 }))
}

/** At most `most` pairs of strikes, spread evenly over all there are: a restart adds commits, so the second may come behind the last. */
export function pairs(commits: number, points: number, most: number): Schedule[] {
  const first = [...atCommits(commits), ...atQuiescence(points)]
  const second = [...atCommits(commits + 3), ...atQuiescence(points + 2)]
  const total = first.length * second.length
  // A stride that is prime to the number of all visits each of them, and none twice.
  let stride = Math.max(1, Math.floor(total / Math.max(1, most))) | 1
  while (gcd(stride, total) !== 1) stride += 2
  const found: Schedule[] = []
  for (let i = 0; i < total && found.length < most; i++) {
    const at = (i * stride) % total
    const [a, b] = [first[Math.floor(at / second.length)], second[at % second.length]] as [Strike, Strike]
    if ((a.when === 'quiet') === (b.when === 'quiet') ? b.nth > a.nth : true) found.push([a, b])
  }
  return found
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b)
}

/**
 * The smallest schedule that can be reached from one that fails: without a strike, or with one of them earlier. `fails` is asked
 * `most` times at most, and never about one of which it is `known` that it does not.
 */
export async function smallest(schedule: Schedule, fails: (schedule: Schedule) => Promise<boolean>, known: ReadonlySet<string>, most: number): Promise<Schedule> {
  const asked = new Set(known)
  let best = schedule
  for (let tries = 0; ;) {
    let better: Schedule | undefined
    for (const candidate of smaller(best)) {
      const seed = printSchedule(candidate)
      if (asked.has(seed)) continue
      if (tries++ >= most) return best
      asked.add(seed)
      if (await fails(candidate)) {
        better = candidate
        break
      }
    }
    if (better === undefined) return best
    best = better
  }
}

function* smaller(schedule: Schedule): Generator<Schedule> {
  if (schedule.length > 1) for (let i = 0; i < schedule.length; i++) yield schedule.toSpliced(i, 1)
  for (const [i, strike] of schedule.entries()) {
    for (let nth = 1; nth < strike.nth; nth++) yield schedule.with(i, { ...strike, nth })
  }
}
