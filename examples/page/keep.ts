// What this page itself remembers over a reload: little things beside the runs, which are in the database or at the edge.

export type Workflow = 'order' | 'digest' | 'approval'

export interface RunRef {
  readonly id: string
  readonly workflow: Workflow
}

const MOST = 50

/** A list under a name in localStorage, newest first. Where storage is refused it lasts as long as the page. */
export class Kept<T> {
  readonly #name: string
  readonly #isOne: (x: unknown) => x is T
  #items: readonly T[]

  constructor(name: string, isOne: (x: unknown) => x is T) {
    this.#name = `stepwell-example.${name}`
    this.#isOne = isOne
    this.#items = this.#read()
  }

  get items(): readonly T[] {
    return this.#items
  }

  add(item: T, isSame: (other: T) => boolean): void {
    this.#write([item, ...this.#read().filter((other) => !isSame(other))].slice(0, MOST))
  }

  remove(isSame: (other: T) => boolean): void {
    this.#write(this.#read().filter((other) => !isSame(other)))
  }

  #read(): readonly T[] {
    try {
      const list: unknown = JSON.parse(localStorage.getItem(this.#name) ?? '[]')
      return Array.isArray(list) ? list.filter(this.#isOne) : []
    } catch {
      return this.#items ?? []
    }
  }

  #write(items: readonly T[]): void {
    this.#items = items
    try {
      localStorage.setItem(this.#name, JSON.stringify(items))
    } catch {
      // Refused or full: it is in memory.
    }
  }
}

export function isRunRef(x: unknown): x is RunRef {
  const { id, workflow } = (x ?? {}) as Partial<RunRef>
  return typeof id === 'string' && (workflow === 'order' || workflow === 'digest' || workflow === 'approval')
}
