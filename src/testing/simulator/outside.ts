// The outside world: whom the steps and effects of a run call. It keeps a ledger of everything that it was asked, whatever anybody
// was told, and its faults are its own: it refuses, it is slow, and it may or may not deduplicate.

import type { Endpoint } from './network.ts'
import type { Mail } from './program.ts'
import type { Actor, World } from './world.ts'

export interface OutsideRequest {
  /** Of the request itself: one that the network repeats keeps it. */
  readonly id: number
  readonly runId: string
  readonly key: string
  readonly act: 'do' | 'find' | 'undo' | 'tell' | 'mail'
  readonly item: string
  /** Refuses the first so many requests of this key, and says so. */
  readonly refuse?: number
  readonly mail?: Mail
  /** Does it at once and answers after so long. */
  readonly slowMs?: number
}

export interface Receipt {
  readonly item: string
  readonly key: string
  readonly number: number
}

export class Outside implements Endpoint {
  readonly ledger: OutsideRequest[] = []
  /** What happened, by act and key, in order. */
  readonly happened: { readonly act: 'do' | 'undo'; readonly request: OutsideRequest; readonly at: number }[] = []
  readonly isDeduplicating: boolean
  readonly #world: World
  readonly #actor: Actor
  readonly #post: (request: OutsideRequest) => void
  readonly #seen = new Map<number, Promise<unknown>>()

  /** `post` is given the mails. */
  constructor(world: World, actor: Actor, isDeduplicating: boolean, post: (request: OutsideRequest) => void) {
    this.#world = world
    this.#actor = actor
    this.isDeduplicating = isDeduplicating
    this.#post = post
  }

  receive(body: unknown): Promise<unknown> {
    const request = body as OutsideRequest
    // A network that repeats a request is below HTTP: the second arrival is no second request.
    const before = this.#seen.get(request.id)
    if (before !== undefined) return before
    this.ledger.push(request)
    const answer = this.#answer(request)
    answer.catch(() => {})
    this.#seen.set(request.id, answer)
    return answer
  }

  /** What was done for this key, if anything was. */
  find(key: string): Receipt | undefined {
    const at = this.happened.findIndex(({ act, request }) => act === 'do' && request.key === key)
    return at === -1 ? undefined : this.#receipt(at)
  }

  #receipt(at: number): Receipt {
    const { request } = this.happened[at] as { request: OutsideRequest }
    return { item: request.item, key: request.key, number: at }
  }

  async #answer(request: OutsideRequest): Promise<unknown> {
    const { act, key, refuse = 0, slowMs = 0 } = request
    if (act === 'find') return this.find(key) ?? null
    if (act === 'mail') this.#post(request)
    if (act === 'tell' || act === 'mail') return null
    const before = this.ledger.filter((other) => other.act === act && other.key === key).length - 1
    if (before < refuse) throw Object.assign(new Error(`refused ${key}`), { ambiguous: false })
    const known = this.isDeduplicating ? this.happened.findIndex((each) => each.act === act && each.request.key === key) : -1
    const at = known === -1 ? this.happened.push({ act, request, at: this.#world.now }) - 1 : known
    // Only the first time: who is always slower than anybody waits is not there.
    if (slowMs > 0 && before === 0) await this.#actor.after(slowMs)
    return this.#receipt(at)
  }
}
