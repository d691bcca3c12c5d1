// Elements made by hand. Text always goes in as text: nothing a user, a shop or a journal says is ever read as markup.

type Child = Node | string | undefined | null | false
type Props = {
  readonly class?: string
  readonly [attribute: string]: string | number | boolean | undefined
}

/** `true` sets an attribute without a value; `false` and `undefined` leave it out. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: readonly Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false) continue
    element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false))
  return element
}

/** Changes the text only when it differs: assistive technology and selections are left alone. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** Makes `parent` hold exactly `wanted`, in this order, touching only what differs: focus and animations stay. */
export function setChildren(parent: Element, wanted: readonly Node[]): void {
  wanted.forEach((node, i) => {
    const there = parent.childNodes[i]
    if (there !== node) parent.insertBefore(node, there ?? null)
  })
  while (parent.childNodes.length > wanted.length) parent.lastChild?.remove()
}

/** The one element with this id, which index.html has. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`index.html has no #${id}`)
  return element as E
}

let ids = 0
/** An id for a label and its control. */
export function freshId(prefix: string): string {
  return `${prefix}-${++ids}`
}
