// What a run gave: the receipt of an order, the digests of files, a decision and its letters.

import type { RunSummary } from 'stepwell'
import { MOCK } from '../order/shop-mock.ts'
import { h } from './dom.ts'
import { money, size } from './format.ts'
import { orderFacts } from './story.ts'

interface OrderResult {
  readonly orderId: string
  readonly totalCents: number
  readonly reservationId: string
  readonly chargeId: string
  readonly shipmentId: string
}

interface DigestResult {
  readonly files: readonly { readonly name: string; readonly size: number; readonly digest: string }[]
  readonly digest: string
}

interface ApprovalResult {
  readonly outcome: 'approved' | 'rejected' | 'expired'
  readonly by?: string
  readonly why?: string
  readonly letters: readonly { readonly to: string; readonly id: string }[]
}

const outcomes = { approved: 'Approved', rejected: 'Rejected', expired: 'Nobody decided in time' } as const

export function result(workflow: string, summary: RunSummary): HTMLElement {
  if (workflow === 'approval') return decision(summary.output as ApprovalResult)
  return workflow === 'digest' ? digests(summary.output as DigestResult) : receipt(summary)
}

function receipt(summary: RunSummary): HTMLElement {
  const output = summary.output as OrderResult
  const facts = orderFacts(summary)
  const isMock = output.chargeId.startsWith(MOCK)
  const items = facts?.items ?? []
  return h('section', { class: 'result receipt', 'aria-label': 'Receipt' },
    h('div', { class: 'result-head' },
      h('h4', {}, 'Receipt'),
      isMock && h('span', { class: 'badge mock' }, 'Mock charge: no money moved')),
    h('table', {},
      h('thead', { class: 'unseen' }, h('tr', {}, ...['Item', 'Quantity', 'Price'].map((text) => h('th', { scope: 'col' }, text)))),
      h('tbody', {}, ...items.map(({ sku, quantity, unitPriceCents }) => h('tr', {},
        h('td', {}, sku), h('td', { class: 'number' }, `${quantity} × ${money(unitPriceCents)}`),
        h('td', { class: 'number' }, money(quantity * unitPriceCents))))),
      h('tfoot', {}, h('tr', {}, h('th', { scope: 'row', colspan: 2 }, 'Total'), h('td', { class: 'number' }, money(output.totalCents))))),
    h('dl', { class: 'facts' },
      ...fact('Order', output.orderId), ...fact('Sent to', facts?.email ?? ''), ...fact('Reservation', output.reservationId),
      ...fact(isMock ? 'Charge (mock)' : 'Charge', output.chargeId), ...fact('Shipment', output.shipmentId)))
}

function decision({ outcome, by, why, letters }: ApprovalResult): HTMLElement {
  return h('section', { class: 'result decision', 'aria-label': 'Decision' },
    h('div', { class: 'result-head' }, h('h4', {}, outcomes[outcome])),
    h('dl', { class: 'facts' },
      ...(by === undefined ? [] : fact('By', by)), ...(why === undefined ? [] : fact('Because', why)), ...letters.flatMap(({ to, id }) => fact(`Letter to ${to}`, id))))
}

function fact(name: string, value: string): HTMLElement[] {
  return [h('dt', {}, name), h('dd', {}, value)]
}

function digests({ files, digest }: DigestResult): HTMLElement {
  return h('section', { class: 'result digests', 'aria-label': 'Digests' },
    h('div', { class: 'result-head' }, h('h4', {}, 'Digests'), h('span', { class: 'badge' }, 'BLAKE3 of the chunks')),
    h('ul', { class: 'hashes' }, ...files.map(({ name, size: bytes, digest: hash }) => h('li', {},
      h('span', { class: 'file' }, h('strong', {}, name), h('span', { class: 'quiet' }, size(bytes))), code(hash)))),
    h('div', { class: 'hashes all' }, h('span', { class: 'file' }, h('strong', {}, files.length === 1 ? 'In all' : `All ${files.length} files`)), code(digest)))
}

/** In groups of eight, so that two people can compare it; copied, it has no spaces. */
function code(hash: string): HTMLElement {
  return h('code', { class: 'hash' }, ...(hash.match(/.{1,8}/g) ?? []).map((part) => h('span', {}, part)))
}
