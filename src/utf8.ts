// UTF-8 without a host call for short text, and without loss: a lone surrogate keeps its own three bytes, where
// TextEncoder would write U+FFFD and two different strings would become one.

const encoder = new TextEncoder()
/** From here on the host's encoder is faster (measured in Node and workerd). */
const LONG = 200

/** Room that `writeUtf8` may need for a text of so many characters. */
export function utf8Room(length: number): number {
  return length * 3
}

/** Writes `text` to `out` from `at` and answers where it ended. `out` must have `utf8Room` left. */
export function writeUtf8(text: string, out: Uint8Array, at: number): number {
  if (text.length > LONG && text.isWellFormed()) {
    const bytes = encoder.encode(text)
    out.set(bytes, at)
    return at + bytes.length
  }
  let o = at
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x80) out[o++] = code
    else if (code < 0x800) {
      out[o++] = 0xc0 | (code >> 6)
      out[o++] = 0x80 | (code & 63)
    } else {
      const point = text.codePointAt(i) ?? code
      if (point > 0xffff) {
        i++
        out[o++] = 0xf0 | (point >> 18)
        out[o++] = 0x80 | ((point >> 12) & 63)
      } else out[o++] = 0xe0 | (point >> 12)
      out[o++] = 0x80 | ((point >> 6) & 63)
      out[o++] = 0x80 | (point & 63)
    }
  }
  return o
}
