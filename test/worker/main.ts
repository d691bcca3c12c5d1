import { DurableObject } from 'cloudflare:workers'
import { app } from './worker.ts'

/** An object with nothing in it: `runInDurableObject` lends its storage to tests of stores. */
export class Scratch extends DurableObject {
  /** The platform lets only an object with a handler set an alarm. */
  override alarm(): void {}
}

export { KeyValueRun, Run, ToldRun } from './worker.ts'

export default app
