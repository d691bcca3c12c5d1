// Messages between the simulated hosts. A request may be lost, its answer too; both may come late, twice, and out of order.

import type { Actor, World } from './world.ts'

export type NetworkFault = 'message dropped' | 'message repeated' | 'message delayed' | 'messages reordered'

export interface Endpoint {
  /** Answers, or never does. A rejection is an answer as well. */
  receive(request: unknown): Promise<unknown>
}

/** Whoever sends: what it has written must be durable before anything leaves it. */
export interface Gate {
  flushed(): Promise<void>
}

/** As a runtime words it: nobody knows whether the request arrived. */
export function connectionLost(): Error {
  return Object.assign(new TypeError('fetch failed'), { code: 'ECONNRESET' })
}

const LATE_MS = 15_000

export class Network {
  readonly #world: World
  /** Struck by the plan of the schedule: each fault hits one message. */
  #armed: NetworkFault[] = []
  /** Messages that go wrong anyway. */
  faultShare = 0
  hits = 0

  constructor(world: World) {
    this.#world = world
  }

  arm(fault: NetworkFault): void {
    this.#armed.push(fault)
  }

  calm(): void {
    this.#armed = []
    this.faultShare = 0
  }

  /** The answer of `to`. Rejects with a broken connection when none comes within `timeoutMs`, as a runtime does. */
  request(from: Actor, to: Endpoint, body: unknown, timeoutMs: number, gate?: Gate): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let isOver = false
      const late = from.timer(timeoutMs, () => {
        isOver = true
        reject(connectionLost())
      })
      const settle = (run: () => void): void => {
        this.#carry(from, () => {
          if (isOver) return
          isOver = true
          late.cancel()
          run()
        })
      }
      const send = (): void => {
        if (from.isDead) return
        this.#carry(this.#world.platform, () => {
          to.receive(body).then(
            (answer) => { settle(() => { resolve(answer) }) },
            (error: unknown) => { settle(() => { reject(error) }) },
          )
        })
      }
      if (gate === undefined) send()
      else void gate.flushed().then(send)
    })
  }

  #carry(to: Actor, deliver: () => void): void {
    const { dice } = this.#world
    const fault = this.#armed.shift() ?? (dice.chance(this.faultShare) ? dice.pick<NetworkFault>(['message dropped', 'message repeated', 'message delayed', 'messages reordered']) : undefined)
    if (fault !== undefined) this.hits++
    if (fault === 'message dropped') return
    const delay = fault === 'message delayed' ? dice.between(1000, LATE_MS) : fault === 'messages reordered' ? dice.between(100, 500) : dice.between(1, 40)
    this.#world.post(to, delay, deliver)
    if (fault === 'message repeated') this.#world.post(to, delay + dice.between(0, 3000), deliver)
  }
}
