// Base64 (RFC 4648, padded) without any host's help. Strict: one text for every sequence of bytes.

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const codes = Uint8Array.from(alphabet, (c) => c.charCodeAt(0))
const INVALID = 255
const values = new Uint8Array(256).fill(INVALID)
codes.forEach((code, value) => (values[code] = value))
const PAD = 61

/** How long the text for so many bytes is. */
export function base64Length(bytes: number): number {
  return Math.ceil(bytes / 3) * 4
}

// Young parts of the language (in workerd and current browsers, not in Node 24), used where they are.
interface HostEncoder {
  readonly toBase64?: () => string
}
interface HostDecoder {
  readonly fromBase64?: (text: string, options: { readonly lastChunkHandling: 'strict' }) => Uint8Array<ArrayBuffer>
}
/** Below this many bytes our own loops are as fast. */
const HOST_FROM = 512

/** The text by the host's own encoder, where there is one and it pays. */
export function hostBase64(data: Uint8Array): string | undefined {
  return data.length < HOST_FROM ? undefined : (data as HostEncoder).toBase64?.()
}

/** Writes the text's ASCII codes to `out` from `at`, which must have room. */
export function writeBase64(data: Uint8Array, out: Uint8Array, at: number): void {
  const whole = data.length - (data.length % 3)
  let o = at
  let i = 0
  for (; i < whole; i += 3) {
    const n = (data[i]! << 16) | (data[i + 1]! << 8) | data[i + 2]!
    out[o] = codes[n >> 18]!
    out[o + 1] = codes[(n >> 12) & 63]!
    out[o + 2] = codes[(n >> 6) & 63]!
    out[o + 3] = codes[n & 63]!
    o += 4
  }
  if (i === data.length) return
  const isOne = i + 1 === data.length
  const n = (data[i]! << 16) | (isOne ? 0 : data[i + 1]! << 8)
  out[o] = codes[n >> 18]!
  out[o + 1] = codes[(n >> 12) & 63]!
  out[o + 2] = isOne ? PAD : codes[(n >> 6) & 63]!
  out[o + 3] = PAD
}

/**
 * The bytes of the text whose ASCII codes are in `text`, or undefined when it is not exactly what `writeBase64` writes.
 * `from` and `end` instead of a view: making one costs as much as reading 100 bytes.
 */
export function readBase64(text: Uint8Array, from = 0, end: number = text.length): Uint8Array<ArrayBuffer> | undefined {
  const n = end - from
  if (n % 4 !== 0) return undefined
  if (n === 0) return new Uint8Array(0)
  const pads = text[end - 1] === PAD ? (text[end - 2] === PAD ? 2 : 1) : 0
  const out = new Uint8Array((n / 4) * 3 - pads)
  const whole = pads === 0 ? end : end - 4
  let bad = 0
  let o = 0
  for (let i = from; i < whole; i += 4) {
    const a = values[text[i]!]!
    const b = values[text[i + 1]!]!
    const c = values[text[i + 2]!]!
    const d = values[text[i + 3]!]!
    bad |= a | b | c | d // an invalid character has bit 7 set
    out[o] = (a << 2) | (b >> 4)
    out[o + 1] = (b << 4) | (c >> 2)
    out[o + 2] = (c << 6) | d
    o += 3
  }
  if (pads > 0) {
    const a = values[text[whole]!]!
    const b = values[text[whole + 1]!]!
    const c = pads === 1 ? values[text[whole + 2]!]! : 0
    bad |= a | b | c
    // Bits that no byte uses must be 0, else two texts would give the same bytes.
    if (pads === 2 ? (b & 15) !== 0 : (c & 3) !== 0) return undefined
    out[o] = (a << 2) | (b >> 4)
    if (pads === 1) out[o + 1] = (b << 4) | (c >> 2)
  }
  return (bad & 128) === 0 ? out : undefined
}

/** The same for a string. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const host = Uint8Array as HostDecoder
  if (text.length >= HOST_FROM && host.fromBase64 !== undefined) {
    try {
      const bytes = host.fromBase64(text, { lastChunkHandling: 'strict' })
      return base64Length(bytes.length) === text.length ? bytes : undefined // it skips white space, we do not
    } catch {
      return undefined
    }
  }
  const ascii = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 127) return undefined
    ascii[i] = code
  }
  return readBase64(ascii)
}

/** Standard base64 with padding. */
export function toBase64(data: Uint8Array): string {
  const out = new Uint8Array(base64Length(data.length))
  writeBase64(data, out, 0)
  let text = ''
  // In pieces: a call takes only so many arguments.
  for (let at = 0; at < out.length; at += 8192) text += String.fromCharCode(...out.subarray(at, at + 8192))
  return text
}
