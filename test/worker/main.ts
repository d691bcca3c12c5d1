import { DurableObject } from 'cloudflare:workers'

/** An object with nothing in it: `runInDurableObject` lends its storage to tests of stores. */
export class Scratch extends DurableObject {}

export default { fetch: (): Response => new Response('stepwell tests') }
