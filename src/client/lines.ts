// Lines of text from a stream of bytes.

/** A `ReadableStream` of bytes, as far as it is used here. */
export interface ByteStream {
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
    cancel(): Promise<void>
  }
}

/** Each line without its line feed. Leaving early closes the stream. */
export async function* lines(stream: ByteStream): AsyncGenerator<string> {
  const reader = stream.getReader()
  const decoder = new TextDecoder()
  let parts: Uint8Array[] = []
  try {
    for (;;) {
      const { done, value } = await reader.read()
      let rest = value ?? new Uint8Array(0)
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        yield decoder.decode(joined([...parts, rest.subarray(0, end)]))
        parts = []
        rest = rest.subarray(end + 1)
      }
      if (rest.length > 0) parts.push(rest)
      if (done) break
    }
    if (parts.length > 0) yield decoder.decode(joined(parts))
  } finally {
    await reader.cancel()
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0] as Uint8Array
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
