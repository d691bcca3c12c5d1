// A person decides: an effect was begun, no answer came, and nobody but its other side knows whether it happened.

import type { Resolution, RunSummary } from 'stepwell'
import { freshId, h } from './dom.ts'
import { moment } from './format.ts'
import { labelOf } from './labels.ts'

/** What is known of it, as `blocked.details.effects` has it. */
interface Asked {
  readonly seq: number
  readonly key: string
  readonly kind: string
  readonly intendedAt: number
  readonly attempt: number
  readonly idempotencyKey: string
  readonly input: unknown
}

export function askedOf({ status, blocked }: RunSummary): readonly Asked[] {
  if (status !== 'blocked' || blocked?.code !== 'ambiguous_effect') return []
  return (blocked.details as { readonly effects?: readonly Asked[] } | undefined)?.effects ?? []
}

const kinds: Readonly<Record<string, string>> = {
  money: 'It moves money.', destructive: 'It deletes or destroys something.', security: 'It changes who may do what.', cost: 'It costs something each time.',
}

/** One effect, with what is known and a button for each decision. `decide` rejects with what went wrong. */
export function askView(asked: Asked, decide: (seq: number, resolution: Resolution) => Promise<void>): HTMLElement {
  const { seq, key, kind, intendedAt, attempt, idempotencyKey, input } = asked
  const title = freshId('ask')
  const field = h('input', { type: 'text', id: freshId('value'), autocomplete: 'off', spellcheck: 'false', placeholder: '{"chargeId":"ch_1"}' })
  const problem = h('p', { class: 'ask-problem', role: 'alert', hidden: true })
  const fail = (text: string): void => {
    problem.textContent = text
    problem.hidden = false
  }
  const choices: readonly (readonly [text: string, hint: string, make: () => Resolution])[] = [
    ['It happened', 'The run goes on with what it gave, and does not do it again.', () => happened(field.value)],
    ['Run it again', 'With the same key: the other side drops what it has seen by it, if it keeps such keys.', () => ({ decision: 'rerun' })],
    ['Skip', 'The run goes on without it.', () => ({ decision: 'skip' })],
    ['It failed', 'The run is told that it did not work.', () => ({ decision: 'fail' })],
  ]
  const buttons = choices.map(([text, hint, make]) => {
    const hintId = freshId('hint')
    const button = h('button', { type: 'button', class: 'small', 'aria-describedby': hintId }, text)
    button.addEventListener('click', () => void (async () => {
      for (const each of buttons) each.button.disabled = true
      problem.hidden = true
      try {
        await decide(seq, make())
        return
      } catch (error) {
        fail(error instanceof SyntaxError ? 'What it gave is not JSON. Text is written in quotes: "ch_1".' : error instanceof Error ? error.message : String(error))
      }
      for (const each of buttons) each.button.disabled = false
    })())
    return { button, row: h('div', { class: 'ask-choice' }, button, h('span', { class: 'quiet', id: hintId }, hint)) }
  })
  const fact = (name: string, value: string): readonly Node[] => [h('dt', {}, name), h('dd', {}, value)]
  return h('section', { class: 'ask', 'aria-labelledby': title, 'data-seq': seq },
    h('h4', { id: title }, `Did “${labelOf(key)}” happen?`),
    h('p', {}, `It was begun ${moment(intendedAt, Date.now())}, and no answer came. ${kinds[kind] ?? ''} Ask the other side, then decide: the run waits for you.`),
    h('dl', {}, ...fact('Attempt', String(attempt)), ...fact('Key to ask by', idempotencyKey), ...fact('With', input === undefined ? 'nothing' : JSON.stringify(input))),
    h('div', { class: 'field' }, h('label', { for: field.id }, 'If it happened, what it gave (JSON; may stay empty)'), field),
    ...buttons.map(({ row }) => row), problem)
}

function happened(text: string): Resolution {
  return text.trim() === '' ? { decision: 'happened' } : { decision: 'happened', value: JSON.parse(text) as unknown }
}
