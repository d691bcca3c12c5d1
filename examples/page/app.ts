// The page: two sides as tabs, the browser's own runs and those at the edge. The same workflows run on both.

import type { Trouble } from '../order/shop-mock.ts'
import { byId, h, setChildren, setText } from './dom.ts'
import type { Source } from './feed.ts'
import { Panel } from './panel.ts'
import { notice } from './run-card.ts'

export interface AppOptions {
  /** Rejects when the database of this browser does not open. */
  readonly browser: Promise<Source>
  readonly edge: Source
  readonly setTrouble: (orderId: string, trouble: Trouble) => void
}

const sides = ['browser', 'edge'] as const
type Side = (typeof sides)[number]

export function mount({ browser, edge, setTrouble }: AppOptions): void {
  const panels: Panel[] = []
  const live = byId('live')
  const announce = (text: string): void => setText(live, text)
  const counted = (side: Side) => (active: number): void => {
    const badge = byId(`count-${side}`)
    setText(badge, active === 0 ? '' : String(active))
    badge.hidden = active === 0
    badge.setAttribute('aria-label', `${active} under way`)
  }
  const show = (side: Side, panel: Panel): void => {
    panels.push(panel)
    setChildren(byId(`panel-${side}-body`), [panel.element])
    void panel.feed.load()
  }
  show('edge', new Panel({ source: edge, announce, counted: counted('edge') }))
  browser.then(
    (source) => show('browser', new Panel({ source, announce, counted: counted('browser'), setTrouble })),
    (error: unknown) => {
      console.error(error)
      const again = h('button', { type: 'button', class: 'primary' }, 'Reload the page')
      again.addEventListener('click', () => location.reload())
      setChildren(byId('panel-browser-body'), [notice('bad', error, ''), again])
    },
  )
  tabs()
  connection()
  setInterval(() => {
    if (!document.hidden) for (const panel of panels) panel.tick(Date.now())
  }, 250)
}

/** The chosen side is in the address, so that a reload keeps it. */
function tabs(): void {
  const select = (side: Side): void => {
    for (const each of sides) {
      const tab = byId(`tab-${each}`)
      tab.setAttribute('aria-selected', String(each === side))
      tab.tabIndex = each === side ? 0 : -1
      byId(`panel-${each}`).hidden = each !== side
    }
  }
  const fromAddress = (): void => select(location.hash === '#edge' ? 'edge' : 'browser')
  const go = (side: Side): void => {
    history.replaceState(null, '', `#${side}`)
    select(side)
  }
  for (const side of sides) {
    const tab = byId(`tab-${side}`)
    tab.addEventListener('click', () => go(side))
    tab.addEventListener('keydown', ({ key }) => {
      if (key !== 'ArrowLeft' && key !== 'ArrowRight') return
      const other = side === 'browser' ? 'edge' : 'browser'
      go(other)
      byId(`tab-${other}`).focus()
    })
  }
  window.addEventListener('hashchange', fromAddress)
  fromAddress()
}

function connection(): void {
  const chip = byId('connection')
  const update = (): void => {
    document.documentElement.classList.toggle('offline', !navigator.onLine)
    setText(chip, navigator.onLine ? 'Online' : 'Offline')
  }
  window.addEventListener('online', update)
  window.addEventListener('offline', update)
  update()
}
