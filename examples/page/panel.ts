// One side of the page: what can be started there, and the runs that are there.

import type { Trouble } from '../order/shop-mock.ts'
import { approvalForm } from './approval-form.ts'
import { digestForm } from './digest-form.ts'
import { freshId, h, setChildren } from './dom.ts'
import { Feed, type OrderRequest, type RunState, type Source } from './feed.ts'
import { orderForm } from './order-form.ts'
import { notice, RunCard, statusText, titleOf } from './run-card.ts'

export interface PanelOptions {
  readonly source: Source
  /** Tells a screen reader what happened. */
  readonly announce: (text: string) => void
  /** Some run changed: how many go on. */
  readonly counted: (active: number) => void
  /** Remembers, before an order starts, what the mock shop does about it. */
  readonly setTrouble?: (orderId: string, trouble: Trouble) => void
}

const workflows = [['order', 'Order'], ['digest', 'Digest of files'], ['approval', 'Approval']] as const

export class Panel {
  readonly element: HTMLElement
  readonly feed: Feed
  #options: PanelOptions
  #cards = new Map<string, RunCard>()
  #statuses = new Map<string, string>()
  #shown: RunCard | undefined
  readonly #list = h('div', { class: 'runs' })
  readonly #empty = h('p', { class: 'empty' }, 'No runs yet. Start one: it will show up here, step by step.')
  readonly #problem = h('div', { class: 'notices' })

  constructor(options: PanelOptions) {
    this.#options = options
    const { source, setTrouble } = options
    this.feed = new Feed(source, (run) => this.#changed(run))
    const forms = {
      order: orderForm({
        trouble: setTrouble !== undefined,
        start: (input, trouble) => this.#start(input.orderId, () => {
          setTrouble?.(input.orderId, trouble)
          return this.feed.startOrder(input satisfies OrderRequest)
        }),
      }),
      digest: digestForm({
        verb: source.where === 'edge' ? 'Uploading' : 'Storing',
        start: (files, chunkBytes, progress) => this.#start('The digest', () => this.feed.startDigest(files, chunkBytes, progress)),
      }),
      approval: approvalForm({ start: (request) => this.#start('The approval', () => this.feed.startApproval(request)) }),
    }
    const title = freshId('runs')
    this.element = h('div', { class: 'panel' },
      h('section', { class: 'card start', 'aria-label': 'Start a run' }, chooser(forms), this.#problem),
      h('section', { class: 'there', 'aria-labelledby': title }, h('h2', { id: title }, 'Runs'), this.#empty, this.#list))
    this.#changed(undefined)
  }

  tick(now: number): void {
    for (const card of this.#cards.values()) card.tick(now)
  }

  async #start(what: string, start: () => Promise<{ id: string; created: boolean }>): Promise<void> {
    setChildren(this.#problem, [])
    try {
      const { id, created } = await start()
      this.#options.announce(created ? `${what} was started` : `${what} had been started before`)
      const card = this.#cards.get(id)
      // One opened for you at a time; those that you opened stay.
      if (this.#shown !== card && this.#shown?.isTouched === false) this.#shown.setOpen(false)
      this.#shown = card
      card?.setOpen(true)
      card?.element.scrollIntoView({ block: 'nearest', behavior: 'smooth' })
      if (!created) card?.element.animate([{ outline: '3px solid var(--accent)' }, { outline: '3px solid transparent' }], 1200)
    } catch (error) {
      console.warn(error)
      setChildren(this.#problem, [notice('bad', error, '')])
      throw error
    }
  }

  #changed(run: RunState | undefined): void {
    const list = this.feed.list
    if (run === undefined || !this.#cards.has(run.id)) {
      for (const id of this.#cards.keys()) if (!this.feed.runs.has(id)) this.#cards.delete(id)
      for (const state of list) {
        if (this.#cards.has(state.id)) continue
        this.#cards.set(state.id, new RunCard(state, {
          setOpen: (id, isOpen) => this.feed.setOpen(id, isOpen), cancel: (id) => this.feed.cancel(id), control: (id, what) => this.feed.control(id, what),
        }))
      }
    } else this.#cards.get(run.id)?.update(run)
    setChildren(this.#list, list.flatMap(({ id }) => this.#cards.get(id)?.element ?? []))
    this.#empty.hidden = list.length > 0
    this.#options.counted(list.filter(({ summary }) => summary !== undefined && summary.endedAt === undefined).length)
    if (run?.summary !== undefined) this.#tell(run, run.summary.status)
  }

  /** Says it once when a run ends or is blocked. */
  #tell(run: RunState, status: NonNullable<RunState['summary']>['status']): void {
    const before = this.#statuses.get(run.id)
    this.#statuses.set(run.id, status)
    if (before === undefined || before === status) return
    if (run.summary?.endedAt !== undefined || status === 'blocked') this.#options.announce(`${titleOf(run)}: ${statusText(status)}`)
  }
}

/** A form for each workflow, one shown. */
function chooser(forms: Record<(typeof workflows)[number][0], HTMLElement>): HTMLElement {
  const name = freshId('workflow')
  const choices = workflows.map(([workflow, text], i) => {
    const radio = h('input', { type: 'radio', name, id: freshId('choice'), value: workflow, checked: i === 0 })
    radio.addEventListener('change', () => {
      for (const [each] of workflows) forms[each].hidden = each !== workflow
    })
    return h('span', {}, radio, h('label', { for: radio.id }, text))
  })
  for (const [each] of workflows.slice(1)) forms[each].hidden = true
  return h('div', {}, h('h2', { class: 'unseen' }, 'Start a run'),
    h('div', { class: 'segments', role: 'radiogroup', 'aria-label': 'What to start' }, ...choices), ...workflows.map(([each]) => forms[each]))
}
