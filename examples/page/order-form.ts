// The form that starts an order.

import type { Trouble } from '../order/shop-mock.ts'
import { freshId, h, setText } from './dom.ts'
import type { OrderRequest } from './feed.ts'
import { money } from './format.ts'

export interface OrderFormOptions {
  /** With a choice of what the (mock) shop does wrong. */
  readonly trouble: boolean
  start(input: OrderRequest, trouble: Trouble): Promise<void>
}

const goods: readonly (readonly [sku: string, euros: string])[] = [
  ['Darjeeling, 100 g', '9.50'], ['Teapot, 1 l', '34.00'], ['Strainer', '4.90'], ['Cup', '12.00'],
]
const waits: readonly (readonly [text: string, ms: number])[] = [['1 second', 1000], ['10 seconds', 10_000], ['1 minute', 60_000], ['1 hour', 3_600_000]]
const troubles: readonly (readonly [text: string, trouble: Trouble])[] = [
  ['All goes well', 'none'], ['Bank busy, twice', 'busy'], ['Card declined', 'declined'], ['No answer to the charge', 'silent'], ['Nothing to ship', 'sold-out'],
]

export function orderForm({ trouble, start }: OrderFormOptions): HTMLFormElement {
  const orderId = input({ name: 'orderId', required: true, maxlength: 100, autocomplete: 'off', spellcheck: 'false' })
  const email = input({ name: 'email', type: 'email', required: true, maxlength: 254, autocomplete: 'email', value: 'ada@example.com' })
  const wait = select('waitMs', waits.map(([text, ms]) => [text, String(ms)]))
  const problems = select('trouble', troubles.map(([text, value]) => [text, value]))
  const rows = h('div', { class: 'items' })
  const total = h('output', { class: 'total' })
  const add = h('button', { type: 'button', class: 'small' }, 'Add an item')
  const submit = h('button', { type: 'submit', class: 'primary' })
  const form = h('form', { class: 'form', 'aria-label': 'Start an order' },
    h('div', { class: 'pair' }, field('Order number', orderId), field('E-mail', email)),
    h('fieldset', {}, h('legend', {}, 'Items'),
      h('div', { class: 'item head', 'aria-hidden': 'true' }, h('span', {}, 'Article'), h('span', {}, 'Pieces'), h('span', {}, '€ each')),
      rows, h('div', { class: 'items-foot' }, add, total)),
    h('div', { class: 'pair' }, field('Wait before shipping', wait), trouble && field('What the shop does', problems)),
    submit,
    trouble && h('p', { class: 'aside' }, h('span', { class: 'badge mock' }, 'Mock'), ' The shop of this side is part of the page: the charge moves no money and needs no secret.'))

  const renew = (): void => {
    orderId.value = `A-${1000 + Math.floor(Math.random() * 9000)}`
  }
  const lines = (): { sku: string; quantity: number; unitPriceCents: number }[] => [...rows.children].map((row) => {
    const [sku, quantity, price] = row.querySelectorAll('input')
    return { sku: sku?.value.trim() ?? '', quantity: Number(quantity?.value), unitPriceCents: Math.round(Number(price?.value) * 100) }
  })
  const update = (): void => {
    const cents = lines().reduce((sum, { quantity, unitPriceCents }) => sum + quantity * unitPriceCents, 0)
    setText(total, Number.isFinite(cents) ? money(cents) : '')
    setText(submit, 'Start the order')
    for (const button of rows.querySelectorAll('button')) button.disabled = rows.childElementCount === 1
  }
  const addItem = (): HTMLInputElement => {
    const [name, euros] = goods[rows.childElementCount % goods.length] ?? ['', '1.00']
    const sku = input({ name: 'sku', required: true, maxlength: 100, value: name, 'aria-label': 'Article', autocomplete: 'off' })
    const quantity = input({ name: 'quantity', type: 'number', required: true, min: 1, max: 999, step: 1, value: 1, 'aria-label': 'Pieces', inputmode: 'numeric' })
    const price = input({ name: 'price', type: 'number', required: true, min: 0.01, max: 99999, step: 0.01, value: euros, 'aria-label': 'Price of one, in euros', inputmode: 'decimal' })
    const remove = h('button', { type: 'button', class: 'icon', 'aria-label': 'Remove this item' }, '×')
    const row = h('div', { class: 'item' }, sku, quantity, price, remove)
    remove.addEventListener('click', () => {
      row.remove()
      update()
      add.focus()
    })
    rows.append(row)
    update()
    return sku
  }
  add.addEventListener('click', () => addItem().focus())
  form.addEventListener('input', update)
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    submit.disabled = true
    const request = { orderId: orderId.value.trim(), email: email.value.trim(), items: lines(), waitMs: Number(wait.value) }
    start(request, problems.value as Trouble).then(renew, () => {}).finally(() => {
      submit.disabled = false
    })
  })
  renew()
  addItem()
  return form
}

export function input(attributes: Record<string, string | number | boolean>): HTMLInputElement {
  return h('input', attributes)
}

export function select(name: string, options: readonly (readonly [text: string, value: string])[]): HTMLSelectElement {
  return h('select', { name }, ...options.map(([text, value]) => h('option', { value }, text)))
}

export function field(text: string, control: HTMLInputElement | HTMLSelectElement): HTMLElement {
  control.id ||= freshId('field')
  return h('div', { class: 'field' }, h('label', { for: control.id }, text), control)
}
