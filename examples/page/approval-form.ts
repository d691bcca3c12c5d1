// The form that asks for an approval.

import { h } from './dom.ts'
import type { ApprovalRequest } from './feed.ts'
import { field, input, select } from './order-form.ts'

export interface ApprovalFormOptions {
  start(request: ApprovalRequest): Promise<void>
}

const waits: readonly (readonly [text: string, value: string])[] = [['2 days', String(2 * 86_400_000)], ['1 hour', '3600000'], ['1 minute', '60000'], ['10 seconds', '10000']]

export function approvalForm({ start }: ApprovalFormOptions): HTMLFormElement {
  const what = input({ name: 'what', required: true, maxlength: 200, value: 'Train to Vienna', autocomplete: 'off' })
  const euros = input({ name: 'euros', type: 'number', required: true, min: 0.01, max: 99999, step: 0.01, value: '149.00', inputmode: 'decimal' })
  const wait = select('waitMs', waits)
  const submit = h('button', { type: 'submit', class: 'primary' }, 'Ask for approval')
  const form = h('form', { class: 'form', 'aria-label': 'Ask for an approval' },
    field('What for', what), h('div', { class: 'pair' }, field('Amount in euros', euros), field('Wait for a decision', wait)), submit)
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    submit.disabled = true
    start({ what: what.value, cents: Math.round(Number(euros.value) * 100), waitMs: Number(wait.value) }).catch(() => {}).finally(() => {
      submit.disabled = false
    })
  })
  return form
}
