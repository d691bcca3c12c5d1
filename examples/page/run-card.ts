// One run on the page: a line that says how it is, and, when opened, its timeline, its result, and what can be done.

import type { Resolution, RunSummary } from 'stepwell'
import { asksOf, type Decided } from './ask.ts'
import { freshId, h, setChildren, setText } from './dom.ts'
import { explain } from './explain.ts'
import type { RunState } from './feed.ts'
import { count, countdown, moment, money, size, span } from './format.ts'
import { labelOf } from './labels.ts'
import { result } from './result.ts'
import { approvalFacts, digestFacts, type Line, orderFacts, story } from './story.ts'
import { timeline } from './timeline.ts'

export interface CardActions {
  setOpen(id: string, isOpen: boolean): void
  /** Rejects with what went wrong. */
  cancel(id: string): Promise<void>
  /** The same. */
  control(id: string, what: Control): Promise<void>
}

/** What a person can do with a run besides a cancel. */
export type Control = 'pause' | 'resume' | 'retry' | { readonly seq: number; readonly resolution: Resolution } | Decided

type Tone = 'quiet' | 'live' | 'good' | 'bad' | 'warn'

const statuses: Readonly<Record<RunSummary['status'], readonly [text: string, tone: Tone]>> = {
  queued: ['Queued', 'quiet'], running: ['Running', 'live'], waiting: ['Waiting', 'live'], paused: ['Paused', 'quiet'],
  cancelling: ['Cancelling', 'warn'], undoing: ['Undoing', 'warn'], blocked: ['Blocked', 'bad'],
  completed: ['Completed', 'good'], failed: ['Failed', 'bad'], cancelled: ['Cancelled', 'quiet'],
}

export function statusText(status: RunSummary['status']): string {
  return statuses[status]?.[0] ?? status
}

/** A name that a person recognizes. */
export function titleOf({ workflow, id, summary }: RunState): string {
  const order = workflow === 'order' ? orderFacts(summary) : undefined
  if (order !== undefined) return `Order ${order.orderId}`
  if (workflow === 'approval') return approvalFacts(summary)?.what ?? 'Approval'
  const digest = workflow === 'digest' ? digestFacts(summary) : undefined
  if (digest === undefined) return workflow === 'order' ? `Order ${id}` : 'Digest'
  const [first] = digest.files
  return digest.files.length === 1 && first !== undefined ? `Digest of ${first.name}` : `Digest of ${digest.files.length} files`
}

function factsOf({ workflow, summary }: RunState): string {
  const order = workflow === 'order' ? orderFacts(summary) : undefined
  if (order !== undefined) {
    const pieces = order.items.reduce((sum, { quantity }) => sum + quantity, 0)
    return `${count(pieces, 'item')}, ${money(order.items.reduce((sum, { quantity, unitPriceCents }) => sum + quantity * unitPriceCents, 0))}`
  }
  const approval = workflow === 'approval' ? approvalFacts(summary) : undefined
  if (approval !== undefined) return money(approval.cents)
  const digest = workflow === 'digest' ? digestFacts(summary) : undefined
  return digest === undefined ? '' : size(digest.files.reduce((sum, { blob }) => sum + blob.size, 0))
}

export class RunCard {
  readonly element: HTMLElement
  readonly id: string
  /** A person has opened or closed it. */
  isTouched = false
  #state: RunState
  #actions: CardActions
  #isOpen = false
  /** What was asked for last and did not work, with what did not come of it. */
  #problem: { readonly error: unknown; readonly before: string } | undefined
  #isBusy = false
  #asks = new Map<string, HTMLElement>()
  #lines = new Map<string, LineView>()
  #shownEnd: RunSummary | undefined

  readonly #title = h('span', { class: 'run-title' })
  readonly #facts = h('span', { class: 'run-facts' })
  readonly #now = h('span', { class: 'run-now' })
  readonly #chip = h('span', { class: 'chip' })
  readonly #bar = h('span', { class: 'run-bar', 'aria-hidden': 'true' })
  readonly #button: HTMLButtonElement
  readonly #body: HTMLElement
  readonly #notices = h('div', { class: 'notices' })
  readonly #ask = h('div', { class: 'asks' })
  readonly #list = h('ol', { class: 'timeline', 'aria-label': 'Steps' })
  readonly #end = h('div', { class: 'end' })
  readonly #about = h('span', { class: 'quiet' })
  readonly #pause = h('button', { type: 'button', class: 'small' }, 'Pause')
  readonly #resume = h('button', { type: 'button', class: 'small' }, 'Resume')
  readonly #retry = h('button', { type: 'button', class: 'small' }, 'Retry from where it failed')
  readonly #cancel = h('button', { type: 'button', class: 'small danger' }, 'Cancel this run')

  constructor(state: RunState, actions: CardActions) {
    this.#state = state
    this.#actions = actions
    this.id = state.id
    const bodyId = freshId('run')
    this.#button = h('button', { type: 'button', class: 'run-head', 'aria-expanded': 'false', 'aria-controls': bodyId },
      h('span', { class: `run-icon ${state.workflow}`, 'aria-hidden': 'true' }),
      h('span', { class: 'run-lines' }, h('span', { class: 'run-line' }, this.#title, this.#facts), this.#now),
      this.#chip, h('span', { class: 'chevron', 'aria-hidden': 'true' }))
    this.#body = h('div', { class: 'run-body', id: bodyId, hidden: true },
      this.#notices, this.#ask, this.#list, this.#end,
      h('footer', { class: 'run-foot' }, this.#about, h('span', { class: 'run-actions' }, this.#pause, this.#resume, this.#retry, this.#cancel)))
    this.element = h('article', { class: 'run', 'data-run': state.id, 'data-workflow': state.workflow }, h('h3', {}, this.#button), this.#bar, this.#body)
    this.#button.addEventListener('click', () => {
      this.isTouched = true
      this.setOpen(!this.#isOpen)
    })
    this.#cancel.addEventListener('click', () => void this.#try('The run was not cancelled. ', () => this.#actions.cancel(this.id)))
    for (const [button, what, before] of [
      [this.#pause, 'pause', 'The run was not paused. '], [this.#resume, 'resume', 'The run was not resumed. '], [this.#retry, 'retry', 'The run was not retried. '],
    ] as const) button.addEventListener('click', () => void this.#try(before, () => this.#actions.control(this.id, what)))
    this.update(state)
  }

  setOpen(isOpen: boolean): void {
    if (this.#isOpen === isOpen) return
    this.#isOpen = isOpen
    this.#button.setAttribute('aria-expanded', String(isOpen))
    this.#body.hidden = !isOpen
    this.#actions.setOpen(this.id, isOpen)
    this.update(this.#state)
  }

  update(state: RunState): void {
    this.#state = state
    const { summary } = state
    setText(this.#title, titleOf(state))
    setText(this.#facts, factsOf(state))
    const [text, tone] = summary === undefined ? ['Reading…', 'quiet' as Tone] as const : statuses[summary.status] ?? [summary.status, 'quiet']
    setText(this.#chip, text)
    this.#chip.className = `chip ${tone}`
    this.element.dataset['status'] = summary?.status ?? 'unknown'
    // What asks a person opens by itself, once.
    if (summary !== undefined && !this.#isOpen && !this.isTouched && asksOf(summary).length > 0) return this.setOpen(true)
    if (this.#isOpen) this.#updateBody(state)
    this.tick(Date.now())
  }

  /** Counts down, and up. */
  tick(now: number): void {
    const { summary, problem } = this.#state
    setText(this.#now, nowText(summary, problem, now))
    if (this.#isOpen) for (const line of this.#lines.values()) line.tick(now)
  }

  #updateBody(state: RunState): void {
    const { summary, problem } = state
    this.#updateNotices(summary, problem)
    const lines = story(state.workflow, timeline(state.entries, summary, state.seen), summary)
    const views = lines.map((line) => {
      const view = this.#lines.get(line.id) ?? new LineView()
      view.update(line)
      return [line.id, view] as const
    })
    this.#lines = new Map(views)
    setChildren(this.#list, views.map(([, view]) => view.element))
    if (this.#shownEnd?.endedAt !== summary?.endedAt) {
      // A run that is retried has no end any more.
      this.#shownEnd = summary
      setChildren(this.#end, summary?.endedAt === undefined ? [] : endOf(state.workflow, summary))
    }
    this.#updateAsks(summary)
    setText(this.#about, `${summary === undefined ? '' : `Started ${moment(summary.createdAt, Date.now())} · `}${state.id}`)
    this.#cancel.hidden = summary === undefined || summary.endedAt !== undefined || isDamaged(summary)
    this.#cancel.disabled = this.#isBusy || summary?.status === 'cancelling'
    const status = summary?.status
    this.#pause.hidden = status !== 'queued' && status !== 'running' && status !== 'waiting'
    this.#resume.hidden = status !== 'paused'
    this.#retry.hidden = status !== 'failed'
    for (const button of [this.#pause, this.#resume, this.#retry]) button.disabled = this.#isBusy
  }

  /** One for each thing that somebody has to decide; what was typed stays while it is asked. */
  #updateAsks(summary: RunSummary | undefined): void {
    const asks = summary === undefined ? [] : asksOf(summary)
    this.#asks = new Map(asks.map(({ id, view }) => [id, this.#asks.get(id) ?? view((what) => this.#actions.control(this.id, what))]))
    setChildren(this.#ask, [...this.#asks.values()])
  }

  #updateNotices(summary: RunSummary | undefined, problem: unknown): void {
    const notices: HTMLElement[] = []
    // A damaged journal is why the run is blocked; that is said once.
    const isSaid = summary?.status === 'blocked' && codeOf(problem) === summary.blocked?.code
    if (problem !== undefined && !isSaid) notices.push(notice('warn', problem, 'What you see is the last that was known. '))
    if (this.#problem !== undefined) notices.push(notice('bad', this.#problem.error, this.#problem.before))
    if (summary?.status === 'blocked' && asksOf(summary).length === 0 && summary.blocked !== undefined) notices.push(notice('bad', summary.blocked, 'This run is blocked. '))
    setChildren(this.#notices, notices)
  }

  async #try(before: string, act: () => Promise<void>): Promise<void> {
    this.#isBusy = true
    this.#problem = undefined
    this.update(this.#state)
    try {
      await act()
    } catch (error) {
      this.#problem = { error, before }
    }
    this.#isBusy = false
    this.update(this.#state)
  }
}

/** Nothing more is written to a run whose data can't be trusted, not even its cancel. */
function isDamaged({ status, blocked }: RunSummary): boolean {
  return status === 'blocked' && blocked !== undefined && /^(corrupt|blob)_/.test(blocked.code)
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}

/** What it does right now, in a few words. */
function nowText(summary: RunSummary | undefined, problem: unknown, now: number): string {
  if (problem !== undefined && summary?.status !== 'blocked') return 'Not up to date'
  if (summary === undefined) return ''
  if (summary.endedAt !== undefined) return `${moment(summary.endedAt, now)}, took ${span(summary.endedAt - summary.createdAt)}`
  const waits = summary.waitingFor.flatMap(({ kind, dueAt }) => (dueAt === undefined ? [] : [{ kind, dueAt }])).sort((a, b) => a.dueAt - b.dueAt)
  const [next] = waits
  if (summary.status === 'blocked') return asksOf(summary).length > 0 ? 'Waits for your decision' : 'Needs somebody’s help'
  if (summary.status === 'paused') return 'Paused: nothing goes on until it is resumed'
  if (summary.waitingFor.some(({ kind }) => kind === 'signal') && next !== undefined && next.dueAt > now) return `Waits for your decision, for ${countdown(next.dueAt - now)}`
  const [step, ...others] = summary.steps ?? []
  if (step !== undefined) return others.length === 0 ? `${labelOf(step.key)}…` : `${count(others.length + 1, 'step')} under way`
  if (next !== undefined && next.dueAt > now) return `${next.kind === 'retry' ? 'Tries again' : 'Goes on'} in ${countdown(next.dueAt - now)}`
  return `Since ${moment(summary.createdAt, now)}`
}

function endOf(workflow: string, summary: RunSummary): HTMLElement[] {
  if (summary.status === 'completed') return [result(workflow, summary)]
  return [notice(summary.status === 'cancelled' ? 'quiet' : 'bad', summary.error ?? {}, '')]
}

export function notice(tone: 'quiet' | 'warn' | 'bad', error: unknown, before: string): HTMLElement {
  const { title, text, todo } = explain(error)
  return h('div', { class: `notice ${tone}`, role: tone === 'bad' ? 'alert' : undefined },
    h('strong', {}, title), h('p', {}, before + sentence(text)), h('p', { class: 'todo' }, todo))
}

function sentence(text: string): string {
  const trimmed = text.trim()
  const whole = trimmed === '' || /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`
  return whole.charAt(0).toUpperCase() + whole.slice(1)
}

const stateTexts: Readonly<Record<Line['state'], string>> = {
  done: 'done', failed: 'failed', running: 'running', retrying: 'will be tried again', waiting: 'waiting', unknown: 'nobody knows yet whether it happened', stopped: 'stopped', planned: 'to come', note: '',
}

class LineView {
  readonly element: HTMLLIElement
  #line: Line | undefined
  readonly #label = h('span', { class: 'line-label' })
  readonly #attempt = h('span', { class: 'badge' })
  readonly #tag = h('span', { class: 'badge mock' })
  readonly #state = h('span', { class: 'unseen' })
  readonly #time = h('span', { class: 'line-time' })
  readonly #detail = h('span', { class: 'line-detail' })
  readonly #progress = h('progress', { max: 1 })
  readonly #failures = h('ul', { class: 'failures' })

  constructor() {
    this.element = h('li', {}, h('span', { class: 'mark', 'aria-hidden': 'true' }),
      h('div', { class: 'line' },
        h('div', { class: 'line-head' }, this.#label, this.#tag, this.#attempt, this.#state, this.#time),
        this.#progress, this.#detail, this.#failures))
  }

  update(line: Line): void {
    this.#line = line
    this.element.className = `step ${line.state}`
    setText(this.#label, line.label)
    this.#label.title = line.label
    setText(this.#attempt, `attempt ${line.attempt}`)
    this.#attempt.hidden = line.attempt < 2
    setText(this.#tag, line.tag ?? '')
    this.#tag.hidden = line.tag === undefined
    setText(this.#state, stateTexts[line.state])
    this.#progress.hidden = line.progress === undefined
    this.#progress.setAttribute('aria-label', `Progress: ${line.label}`)
    if (typeof line.progress === 'number') this.#progress.value = line.progress
    else this.#progress.removeAttribute('value')
    if (this.#failures.childElementCount !== line.failures.length) {
      setChildren(this.#failures, line.failures.map((text) => h('li', {}, text)))
    }
    this.#failures.hidden = line.failures.length === 0
    this.tick(Date.now())
  }

  tick(now: number): void {
    const line = this.#line
    if (line === undefined) return
    setText(this.#time, timeText(line, now))
    const waits = line.dueAt !== undefined && line.endedAt === undefined
    const left = waits ? (line.dueAt ?? 0) - now : 0
    const due = waits ? (left <= 0 ? 'Due now' : `${line.state === 'retrying' ? 'Next attempt' : 'Goes on'} in ${countdown(left)}`) : undefined
    setText(this.#detail, [due, line.detail].filter((text) => text !== undefined).join(' · '))
    this.#detail.hidden = this.#detail.textContent === ''
    // A wait has an end that is known: its bar is the clock.
    if (waits && line.state === 'waiting' && line.startedAt !== undefined) {
      const whole = (line.dueAt ?? 0) - line.startedAt
      this.#progress.hidden = whole < 3000
      this.#progress.value = whole <= 0 ? 1 : Math.min(1, Math.max(0, (now - line.startedAt) / whole))
    }
  }
}

function timeText({ state, startedAt, endedAt }: Line, now: number): string {
  if (state === 'note') return endedAt === undefined ? '' : moment(endedAt, now)
  if (startedAt === undefined || state === 'planned' || state === 'stopped') return ''
  if (endedAt !== undefined) return span(endedAt - startedAt)
  return state === 'running' ? span(now - startedAt) : ''
}
