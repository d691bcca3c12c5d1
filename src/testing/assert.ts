// The few assertions of the published suites, so that they depend on no test runner.

import type { ErrorCode } from '../errors.ts'
import type { MaybePromise } from '../store/store.ts'

/** Throws, with both sides in the message, unless they are equal in structure; bytes are compared by content. */
export function equal(actual: unknown, expected: unknown, what: string): void {
  const path = difference(actual, expected)
  if (path === undefined) return
  throw new Error(`${what}: differs at ${path === '' ? 'the top' : path}\n  expected ${show(expected)}\n  received ${show(actual)}`)
}

export function ok(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

/** Throws unless `run` throws or rejects with this code. */
export async function throws(code: ErrorCode, run: () => MaybePromise<unknown>, what: string): Promise<void> {
  let answer: unknown
  try {
    answer = await run()
  } catch (error) {
    // By the code alone: an error that came through a border has lost its prototype.
    const found = (error as { readonly code?: unknown } | null)?.code
    if (found === code) return
    throw new Error(`${what}: expected the code ${code}, received ${String(found ?? error)}`, { cause: error })
  }
  throw new Error(`${what}: expected the code ${code}, but it answered ${show(answer)}`)
}

/** The path of the first place where two values differ, or undefined. */
function difference(a: unknown, b: unknown, path = ''): string | undefined {
  if (Object.is(a, b)) return undefined
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return path
  if (a instanceof Uint8Array || b instanceof Uint8Array) return sameBytes(a, b) ? undefined : path
  if (Array.isArray(a) !== Array.isArray(b)) return path
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>]
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    const at = path === '' ? key : `${path}.${key}`
    if (Object.hasOwn(left, key) !== Object.hasOwn(right, key)) return at
    const found = difference(left[key], right[key], at)
    if (found !== undefined) return found
  }
  return undefined
}

function sameBytes(a: unknown, b: unknown): boolean {
  if (!(a instanceof Uint8Array) || !(b instanceof Uint8Array) || a.length !== b.length) return false
  return a.every((byte, i) => byte === b[i])
}

function show(value: unknown): string {
  const text = JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'bigint' ? `${inner}n` : inner instanceof Uint8Array ? `${inner.length} bytes [${inner.slice(0, 12).join(' ')}${inner.length > 12 ? ' …' : ''}]` : inner)
  return text === undefined ? String(value) : text.length > 400 ? `${text.slice(0, 400)}…` : text
}
