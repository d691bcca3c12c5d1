// What a benchmark gives, the aims of the project, and how both are printed.

/** What was measured, round by round, under a name that never changes its meaning. */
export interface Figure {
  readonly name: string
  readonly values: readonly number[]
}

interface Aim {
  readonly least?: number
  readonly most?: number
}

const aims: Readonly<Record<string, Aim>> = {
  'edge.sequential.vsCloudflareWorkflows': { least: 50 },
  'edge.sequential.vsBareSql': { least: 0.5 },
  'edge.parallel.vsCloudflareWorkflows': { least: 10 },
  'edge.replay.entriesPerSecond': { least: 300_000 },
  'edge.replay.concurrent.entriesPerSecond': { least: 60_000 },
  'edge.rowsWrittenPerStep': { most: 1.05 },
  'browser.sequential.vsBareIdb': { least: 0.8 },
  'browser.parallel.vsBareIdb': { least: 5 },
  'size.web.gzipBytes': { most: 15_000 },
  'size.web.totalGzipBytes': { most: 22_000 },
  'size.worker.gzipBytes': { most: 15_000 },
  'size.client.gzipBytes': { most: 3_000 },
}

/**
 * What a change must not make worse: about half of what was measured on two cores that other work shared, or a tenth more bytes. Held to by
 * `--check` (a release is measured with it), and by no test: a machine that is busy is no regression.
 */
const budgets: Readonly<Record<string, Aim>> = {
  'edge.sequential.vsCloudflareWorkflows': { least: 35 },
  'edge.sequential.vsBareSql': { least: 0.15 },
  'edge.sequential.stepsPerSecond': { least: 10_000 },
  'edge.parallel.vsCloudflareWorkflows': { least: 7 },
  'edge.replay.entriesPerSecond': { least: 40_000 },
  'edge.replay.concurrent.entriesPerSecond': { least: 9_000 },
  'edge.rowsWrittenPerStep': { most: 1.02 },
  'edge.fiveEffects.p99Ms': { most: 60 },
  'edge.start.p99Ms': { most: 30 },
  'edge.sweep.entriesPerSecond': { least: 20_000 },
  'browser.sequential.vsBareIdb': { least: 0.4 },
  'browser.sequential.stepsPerSecond': { least: 400 },
  'browser.parallel.vsBareIdb': { least: 5 },
  'browser.fiveEffects.p99Ms': { most: 200 },
  'browser.start.p99Ms': { most: 60 },
  'size.web.gzipBytes': { most: 75_000 },
  'size.web.totalGzipBytes': { most: 79_000 },
  'size.worker.gzipBytes': { most: 76_000 },
  'size.client.gzipBytes': { most: 6_600 },
}

const keeps = (value: number, { least = -Infinity, most = Infinity }: Aim): boolean => value >= least && value <= most

/** Each budget that is not kept, in words. */
export function overBudget(figures: readonly Figure[]): string[] {
  return figures.flatMap(({ name, values }) => {
    const budget = budgets[name]
    const value = median(values)
    if (budget === undefined || keeps(value, budget)) return []
    return [`${name}: ${shown(value)}, and its budget is ${budget.least === undefined ? `at most ${shown(budget.most as number)}` : `at least ${shown(budget.least)}`}`]
  })
}

/** The value that so many of a hundred stay below. */
export function percentile(values: readonly number[], hundredths: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * hundredths / 100) - 1)] as number
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] as number : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** Round by round: what happened side by side is divided by one another, and nothing else. */
export function ratios(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value / (b[i] as number))
}

function shown(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en')
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3).replace(/0$/, '')
}

export function print(figures: readonly Figure[]): void {
  const rows = figures.map(({ name, values }) => {
    const aim = aims[name]
    const middle = median(values)
    const isMet = aim !== undefined && keeps(middle, aim)
    return [
      name, shown(middle), `${shown(Math.min(...values))} – ${shown(Math.max(...values))}`,
      aim === undefined ? '' : aim.least === undefined ? `≤ ${shown(aim.most as number)}` : `≥ ${shown(aim.least)}`,
      aim === undefined ? '' : isMet ? 'met' : 'NOT met',
    ]
  })
  const head = ['figure', 'median', 'min – max', 'aim', '']
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] as string).length)))
  for (const row of [head, ...rows]) {
    console.log(row.map((cell, i) => i === 0 || i === 4 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)).join('  ').trimEnd())
  }
}

export function toJson(figures: readonly Figure[]): string {
  return `${JSON.stringify(Object.fromEntries(figures.map(({ name, values }) => [name, Number(median(values).toPrecision(5))])), undefined, 2)}\n`
}
