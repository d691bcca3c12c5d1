// A reference to a large value that is kept beside the journal, in hashed chunks.

import { StepwellError } from './error/stepwell-error.ts'

const BRAND: unique symbol = Symbol.for('stepwell.blob')

/** Names the bytes of a blob by their BLAKE3 hash. Immutable; the codec carries it. Throws `invalid_argument`. */
export class BlobRef {
  /** 64 lower-case hex digits. */
  readonly hash: string
  /** In bytes. */
  readonly size: number
  /** In bytes; the last chunk may be shorter. */
  readonly chunkSize: number

  static {
    Object.defineProperty(this.prototype, BRAND, { value: true })
  }

  constructor(hash: string, size: number, chunkSize: number) {
    if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash)) throw bad('hash must be 64 lower-case hex digits')
    if (!Number.isSafeInteger(size) || size < 0) throw bad('size must be a whole number from 0')
    if (!Number.isSafeInteger(chunkSize) || chunkSize < 1) throw bad('chunkSize must be a whole number from 1')
    this.hash = hash
    this.size = size + 0
    this.chunkSize = chunkSize
    Object.freeze(this)
  }
}

function bad(why: string): StepwellError {
  return new StepwellError('invalid_argument', `blob reference: ${why}`)
}

/** Whether `x` is a `BlobRef`, from whatever copy of the package. */
export function isBlobRef(x: unknown): x is BlobRef {
  return typeof x === 'object' && x !== null && BRAND in x
}
