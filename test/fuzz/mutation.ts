// What can become of bytes and of JSON on their way: a bit, a length, a piece of another, one field.

import type { Draw } from './draw.ts'
import { randomBytes } from './values.ts'

/** `bytes` with one to three damages; `other` lends pieces. Never the same array. */
export function mutated(draw: Draw, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  let now: Uint8Array = bytes.slice()
  for (let left = 1 + draw(3); left > 0; left--) {
    const at = draw(now.length + 1)
    switch (draw(9)) {
      case 0: case 1: if (at < now.length) now[at] = (now[at] as number) ^ (1 << draw(8)); break
      case 2: if (at < now.length) now[at] = draw.pick([0, 1, 34, 92, 123, 125, 127, 128, 255]); break
      case 3: now = now.slice(0, at); break
      case 4: now = now.slice(at); break
      case 5: now = joined(now.subarray(0, at), randomBytes(draw, 1 + draw(12)), now.subarray(at)); break
      case 6: now = joined(now.subarray(0, at), now.subarray(Math.min(now.length, at + 1 + draw(8)))); break
      // Where a length may stand: one of up to 2^56.
      case 7: now = joined(now.subarray(0, at), Uint8Array.from([255, 255, 255, 255, draw.pick([15, 255]), 127]), now.subarray(at)); break
      default: now = joined(now.subarray(0, at), other.subarray(draw(other.length + 1))); break
    }
  }
  return now
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** What is put where another value was. */
export function oddJson(draw: Draw): unknown {
  return draw.pick<unknown>([
    null, true, 0, -1, 1.5, 1e300, '', ' ', '0', '-1', 'x'.repeat(2000), [], {}, [[]], { $: ['date', 1] }, { $: ['nothing'] },
    '__proto__', { toString: 1 }, { length: -1 }, Number.MAX_SAFE_INTEGER + 1, 'ünïcödé', '\u0000', ['a', 'a'], { a: { b: { c: {} } } },
  ])
}

/** `json` with the value at one place replaced, removed or doubled; `json` itself is not touched. */
export function mutatedJson(draw: Draw, json: unknown): unknown {
  const copy = structuredClone(json)
  const places: { readonly holder: Record<string, unknown>; readonly key: string }[] = []
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const key of Object.keys(value)) {
      places.push({ holder: value as Record<string, unknown>, key })
      visit((value as Record<string, unknown>)[key])
    }
  }
  visit(copy)
  if (places.length === 0) return oddJson(draw)
  const { holder, key } = draw.pick(places)
  const old = holder[key]
  switch (draw(5)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(Number(key), 1)
      else delete holder[key]
      break
    case 1: holder[Array.isArray(holder) ? holder.length : `${key}x`] = old; break
    case 2: holder[key] = typeof old === 'string' ? textDamage(draw, old) : typeof old === 'number' ? old + draw.pick([1, -1, 0.5, 2 ** 53]) : oddJson(draw); break
    default: holder[key] = oddJson(draw)
  }
  return copy
}

function textDamage(draw: Draw, text: string): string {
  const at = draw(text.length + 1)
  return draw.pick([text.slice(0, at), text.slice(0, at) + draw.pick(['%', '/', '=', '\n', 'é', 'A']) + text.slice(at), text.slice(0, at) + draw.pick(['A', '0', '_']) + text.slice(at + 1)])
}
