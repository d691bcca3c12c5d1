// What the page of the kill tests (test/web/kill-page.ts) gives to the tests that drive it. Types only: one side has a DOM, the other Node.

export interface PageApi {
  ready(): Promise<void>
  start(id: string, input?: { readonly sleep?: number }): Promise<string>
  /** Stores a file of `bytes` bytes and starts a run over it. The bytes that progress told of. */
  startDigest(id: string, bytes: number, parts: number): Promise<number>
  result(workflow: 'order' | 'digest', id: string): Promise<unknown>
  status(id: string): Promise<string>
  cancel(id: string): Promise<unknown>
  /** The kinds of the entries of the run's journal. */
  kinds(id: string): Promise<string[]>
}

declare global {
  var page: PageApi
}

/** The bytes of a test file: the same in the page and in the test. */
export function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).map((_, i) => (i * 31 + (i >> 8)) % 256)
}
