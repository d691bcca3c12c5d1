// A person decides: about an approval that a run waits for; about an effect that was begun and of which no answer came, so that nobody but its other side knows whether it
// happened; or about an undo that failed, behind which all others wait; or about one that no code can reach.

import type { Resolution, RunSummary } from 'stepwell'
import { freshId, h } from './dom.ts'
import { moment } from './format.ts'
import { labelOf, undoLabelOf } from './labels.ts'

/** What a run waits for somebody to decide. */
export interface Ask {
  /** Another one is another question, also about the same entry: an undo that was tried again, and failed again. */
  readonly id: string
  /** What is known, with a button for each decision. `decide` rejects with what went wrong. */
  readonly view: (decide: Decide) => HTMLElement
}

/** About an effect or an undo, or about what the run waits for a signal to say. */
type Answer = { readonly seq: number; readonly resolution: Resolution } | Decided
type Decide = (answer: Answer) => Promise<void>

/** The signal of an approval, and its id: sent twice, it is one. */
export interface Decided {
  readonly id: string
  readonly decision: { readonly approved: boolean; readonly by: string; readonly why?: string }
}

export function asksOf({ status, blocked, counts, waitingFor, id }: RunSummary): readonly Ask[] {
  if (status === 'waiting') {
    return waitingFor.filter(({ kind }) => kind === 'signal').map(({ key }) => ({ id: `${id} ${key}`, view: (decide) => approvalView(`${id} ${key}`, decide) }))
  }
  if (status !== 'blocked' || blocked === undefined) return []
  if (blocked.code === 'ambiguous_effect') {
    const { effects = [] } = (blocked.details ?? {}) as { readonly effects?: readonly Ambiguous[] }
    return effects.map((one) => ({ id: String(one.seq), view: (decide) => ambiguousView(one, decide) }))
  }
  if (blocked.code === 'undo_unreachable') {
    const { effects = [] } = (blocked.details ?? {}) as { readonly effects?: readonly Unreachable[] }
    return effects.map((one) => ({ id: String(one.seq), view: (decide) => unreachableView(one, decide) }))
  }
  const failed = blocked.code === 'undo_failed' ? blocked.details as unknown as FailedUndo | undefined : undefined
  return failed === undefined ? [] : [{ id: `${failed.seq} ${counts.entries}`, view: (decide) => undoView(failed, decide) }]
}

function approvalView(id: string, decide: Decide): HTMLElement {
  const name = h('input', { type: 'text', id: freshId('by'), value: 'Ada', maxlength: 100, autocomplete: 'name' })
  const why = h('input', { type: 'text', id: freshId('why'), maxlength: 500, autocomplete: 'off' })
  const decided = (approved: boolean): Answer => ({ id, decision: { approved, by: name.value, ...(why.value.trim() === '' ? undefined : { why: why.value }) } })
  return view({
    decide,
    title: 'Is this approved?',
    text: 'The run waits for you, and costs nothing meanwhile. You may answer from another tab, or over the API.',
    facts: [],
    field: h('div', { class: 'pair' },
      h('div', { class: 'field' }, h('label', { for: name.id }, 'Your name'), name), h('div', { class: 'field' }, h('label', { for: why.id }, 'Why (may stay empty)'), why)),
    choices: [['Approve', 'The letters say that it is.', () => decided(true)], ['Reject', 'The letters say that it is not.', () => decided(false)]],
  })
}

/** What is known of an effect, as `blocked.details.effects` has it. */
interface Ambiguous {
  readonly seq: number
  readonly key: string
  readonly kind: string
  readonly intendedAt: number
  readonly attempt: number
  readonly idempotencyKey: string
  readonly input: unknown
}

const kinds: Readonly<Record<string, string>> = {
  money: 'It moves money.', destructive: 'It deletes or destroys something.', security: 'It changes who may do what.', cost: 'It costs something each time.',
}

function ambiguousView({ seq, key, kind, intendedAt, attempt, idempotencyKey, input }: Ambiguous, decide: Decide): HTMLElement {
  const field = h('input', { type: 'text', id: freshId('value'), autocomplete: 'off', spellcheck: 'false', placeholder: '{"chargeId":"ch_1"}' })
  return view({
    seq, decide,
    title: `Did “${labelOf(key)}” happen?`,
    text: `It was begun ${moment(intendedAt, Date.now())}, and no answer came. ${kinds[kind] ?? ''} Ask the other side, then decide: the run waits for you.`,
    facts: [['Attempt', String(attempt)], ['Key to ask by', idempotencyKey], ['With', input === undefined ? 'nothing' : JSON.stringify(input)]],
    field: h('div', { class: 'field' }, h('label', { for: field.id }, 'If it happened, what it gave (JSON; may stay empty)'), field),
    choices: [
      ['It happened', 'The run goes on with what it gave, and does not do it again.', () => happened(field.value)],
      ['Run it again', 'With the same key: the other side drops what it has seen by it, if it keeps such keys.', () => ({ decision: 'rerun' })],
      ['Skip', 'The run goes on without it.', () => ({ decision: 'skip' })],
      ['It failed', 'The run is told that it did not work.', () => ({ decision: 'fail' })],
    ],
  })
}

function happened(text: string): Resolution {
  return text.trim() === '' ? { decision: 'happened' } : { decision: 'happened', value: JSON.parse(text) as unknown }
}

/** What is known of an undo that failed, as `blocked.details` has it. */
interface FailedUndo {
  /** Of what was to be undone. */
  readonly seq: number
  readonly key: string
  readonly attempts: number
  readonly why: string
  /** Keys of what was undone before, and of what is not: this one first. */
  readonly undone: readonly string[]
  readonly left: readonly string[]
}

/** What has to be taken back, and no code asks for it any more, as `blocked.details.effects` has it. */
interface Unreachable {
  readonly seq: number
  readonly key: string
  readonly kind: string
  readonly generation: number
}

function unreachableView({ seq, key, kind, generation }: Unreachable, decide: Decide): HTMLElement {
  return view({
    seq, decide,
    title: `“${undoLabelOf(key)}” can't be called`,
    text: `It happened before the run began anew, and ends before it came there again. ${kinds[kind] ?? ''} Take it back by hand, then decide: the run waits for you.`,
    facts: [['Key', key], ['Done in round', String(generation)]],
    choices: [
      ['Taken back by hand', 'It counts as taken back, and the run goes on with the others.', () => ({ decision: 'happened' })],
      ['Skip', 'What was done stays done; the run goes on with the others.', () => ({ decision: 'skip' })],
    ],
  })
}

function undoView({ seq, key, attempts, why, undone, left }: FailedUndo, decide: Decide): HTMLElement {
  const behind = left.filter((other) => other !== key)
  const list = (keys: readonly string[]): string => keys.length === 0 ? 'nothing' : keys.map(labelOf).join(', ')
  return view({
    seq, decide,
    title: `“${undoLabelOf(key)}” did not work`,
    text: 'What was done could not be taken back. Find out why, then decide: the run waits for you, and what is to be taken back after it waits too.',
    facts: [['Key', key], ['Attempts', String(attempts)], ['Why', why], ['Taken back', list(undone)], ['Still to do', list(behind)]],
    choices: [
      ['Try again', 'With the same key, as often as its retries allow.', () => ({ decision: 'rerun' })],
      ['Taken back by hand', 'It counts as taken back, and the run goes on with the others.', () => ({ decision: 'happened' })],
      ['Skip', 'What was done stays done; the run goes on with the others.', () => ({ decision: 'skip' })],
    ],
  })
}

interface Shown {
  /** Of what is decided about, where that is an entry. */
  readonly seq?: number
  readonly decide: Decide
  readonly title: string
  readonly text: string
  readonly facts: readonly (readonly [name: string, value: string])[]
  readonly field?: HTMLElement
  readonly choices: readonly (readonly [text: string, hint: string, make: () => Resolution | Answer])[]
}

function view({ seq, decide, title, text, facts, field, choices }: Shown): HTMLElement {
  const titleId = freshId('ask')
  const problem = h('p', { class: 'ask-problem', role: 'alert', hidden: true })
  const fail = (text: string): void => {
    problem.textContent = text
    problem.hidden = false
  }
  const buttons = choices.map(([text, hint, make]) => {
    const hintId = freshId('hint')
    const button = h('button', { type: 'button', class: 'small', 'aria-describedby': hintId }, text)
    button.addEventListener('click', () => void (async () => {
      for (const each of buttons) each.button.disabled = true
      problem.hidden = true
      try {
        const made = make()
        await decide('id' in made || seq === undefined ? made as Answer : { seq, resolution: made as Resolution })
        return
      } catch (error) {
        fail(error instanceof SyntaxError ? 'What it gave is not JSON. Text is written in quotes: "ch_1".' : error instanceof Error ? error.message : String(error))
      }
      for (const each of buttons) each.button.disabled = false
    })())
    return { button, row: h('div', { class: 'ask-choice' }, button, h('span', { class: 'quiet', id: hintId }, hint)) }
  })
  return h('section', { class: 'ask', 'aria-labelledby': titleId, 'data-seq': seq },
    h('h4', { id: titleId }, title), h('p', {}, text), h('dl', {}, ...facts.flatMap(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])),
    field, ...buttons.map(({ row }) => row), problem)
}
