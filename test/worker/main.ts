import { DurableObject } from 'cloudflare:workers'
import { app } from './worker.ts'

/** An object with nothing in it: `runInDurableObject` lends its storage to tests of stores. */
export class Scratch extends DurableObject {
  /** The platform lets only an object with a handler set an alarm. */
  override alarm(): void {}

  /** Never answers: whoever calls waits until this object is gone. */
  hang(): Promise<null> {
    return new Promise((resolve) => { setTimeout(() => resolve(null), 60_000) })
  }

  /** As the platform does when it replaces the object. */
  reset(why: string): void {
    this.ctx.abort(why)
  }
}

export { KeyValueRun, Run, ToldRun } from './worker.ts'

export default app
