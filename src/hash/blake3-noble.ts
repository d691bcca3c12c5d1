// BLAKE3 in plain JavaScript (@noble/hashes): the default wherever no WebAssembly may be compiled, and the shape that
// every module behind `#blake3` has.

import { blake3 as noble } from '@noble/hashes/blake3.js'
import { StepwellError } from '../error/stepwell-error.ts'

/** Hashes pieces as if they were one input. */
export interface Hasher {
  update(data: Uint8Array): this
  /** The digest; ends the hasher. */
  digest(): Uint8Array<ArrayBuffer>
  /** Ends a hasher whose digest is not wanted. Without it or `digest`, its memory stays taken. */
  close(): void
}

/** One way to compute BLAKE3. All ways give the same digests. */
export interface Blake3 {
  readonly name: 'wasm' | 'js'
  /** 32 bytes. */
  hash(data: Uint8Array): Uint8Array<ArrayBuffer>
  hashInto(data: Uint8Array, out: Uint8Array, offset: number): void
  createHasher(): Hasher
}

/** Throws `invalid_argument`: a string hashed by mistake would give a digest too, of something else (platform 117). */
export function checkBytes(data: unknown): asserts data is Uint8Array {
  if (data instanceof Uint8Array) return
  // From another realm: the tag of a view can't be forged.
  if (ArrayBuffer.isView(data) && Object.prototype.toString.call(data) === '[object Uint8Array]') return
  throw new StepwellError('invalid_argument', 'BLAKE3 hashes a Uint8Array and nothing else')
}

const js: Blake3 = {
  name: 'js',
  hash(data) {
    checkBytes(data)
    return new Uint8Array(noble(data))
  },
  hashInto(data, out, offset) {
    out.set(js.hash(data), offset)
  },
  createHasher() {
    let hasher: ReturnType<typeof noble.create> | undefined = noble.create()
    const live = (): ReturnType<typeof noble.create> => {
      if (hasher !== undefined) return hasher
      throw new StepwellError('invalid_argument', 'this hasher is closed: its digest was taken')
    }
    return {
      update(data) {
        checkBytes(data)
        live().update(data)
        return this
      },
      digest() {
        const digest = new Uint8Array(live().digest())
        this.close()
        return digest
      },
      close() {
        hasher = undefined
      },
    }
  },
}

/** The way to begin with. */
export function open(): Blake3 {
  return js
}

/** A faster way, loaded now; undefined when there is none. */
export async function openFast(): Promise<Blake3 | undefined> {
  return undefined
}
