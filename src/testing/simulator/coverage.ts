// Which faults have hit which entries on which host: in how many schedules, as a table for people.

import type { EntryKind } from '../../journal/entry.ts'
import { type Cell, cellKey, cells, type Fault, faults, hosts, impossible, kinds, type SimulatedHost } from './fault.ts'

export type Coverage = Map<string, number>

export function emptyCoverage(): Coverage {
  return new Map(cells.map((cell) => [cellKey(cell), 0]))
}

export function addCoverage(to: Coverage, more: Iterable<readonly [string, number]>): void {
  for (const [cell, n] of more) to.set(cell, (to.get(cell) ?? 0) + n)
}

/** The cells that no schedule has reached. */
export function missedCells(coverage: Coverage): readonly string[] {
  return [...coverage].filter(([, n]) => n === 0).map(([cell]) => cell)
}

/** A table for each host: a line for each kind of entry, a column for each fault. A dash: it cannot be. */
export function coverageTable(coverage: Coverage): string {
  return hosts.map((host) => [host, ...tableOf(coverage, host)].join('\n')).join('\n\n')
}

function tableOf(coverage: Coverage, host: SimulatedHost): readonly string[] {
  const number = (kind: EntryKind, fault: Fault): string => {
    const cell: Cell = { fault, kind, host }
    return impossible(cell) === undefined ? String(coverage.get(cellKey(cell)) ?? 0) : '-'
  }
  const rows = kinds.map((kind) => [kind, ...faults.map((fault) => number(kind, fault))])
  const heads = faults.map((_, i) => String.fromCharCode(97 + i))
  const widths = ['', ...heads].map((head, i) => Math.max(head.length, ...rows.map((row) => (row[i] as string).length)))
  const line = (row: readonly string[]): string => row.map((text, i) => i === 0 ? text.padEnd(widths[0] as number) : text.padStart(widths[i] as number)).join(' ')
  return [faults.map((fault, i) => `${heads[i]} ${fault}`).join(', '), line(['', ...heads]), ...rows.map(line)]
}
