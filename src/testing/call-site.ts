// Where in the user's code something was called: the first frame of a stack that is neither ours nor a library's.

/** A place that is taken now and read when it is needed: to write a stack as text costs far more than to take it. */
export class CallSite {
  readonly #error: Error
  #text: string | undefined
  #isRead = false

  constructor() {
    const { Error: errors } = globalThis as unknown as { Error: { stackTraceLimit?: number } }
    const before = errors.stackTraceLimit
    // A library between the user and us may take more than the ten frames of the default.
    if (before !== undefined) errors.stackTraceLimit = 40
    this.#error = new Error('a call')
    if (before !== undefined) errors.stackTraceLimit = before
  }

  /** `file:line`; undefined where this runtime does not tell, or where no code of the user's is on the stack. */
  get text(): string | undefined {
    if (!this.#isRead) {
      this.#isRead = true
      this.#text = placeOf(this.#error)
    }
    return this.#text
  }

  /** ` (file:line)`, or nothing. */
  get behind(): string {
    return this.text === undefined ? '' : ` (${this.text})`
  }
}

function placeOf({ stack }: Error): string | undefined {
  const frames = (stack ?? '').split('\n').flatMap((line) => {
    const frame = parse(line)
    return frame === undefined ? [] : [frame]
  })
  // The first frame is the constructor above: the folder over its folder is all that is ours.
  const own = frames[0]?.file.replace(/[^/\\]*[/\\][^/\\]*$/, '')
  const place = frames.find(({ file }) => own !== undefined && !file.startsWith(own) && !/[/\\]node_modules[/\\]|^node:|^<|^native|^internal/.test(file))
  return place === undefined ? undefined : `${place.file.replace(/^file:\/\//, '')}:${place.line}`
}

interface Frame {
  readonly file: string
  readonly line: number
}

/** `    at name (file:1:2)` and `    at async file:1:2` of V8, `name@file:1:2` of the others. */
function parse(line: string): Frame | undefined {
  const inner = /\(([^()]*:\d+:\d+)\)\s*$/.exec(line)?.[1] ?? /^\s*at (?:async )?(.*:\d+:\d+)\s*$/.exec(line)?.[1] ?? /@(.*:\d+:\d+)\s*$/.exec(line)?.[1]
  const parts = inner === undefined ? null : /^(.*?):(\d+):\d+$/.exec(inner)
  if (parts === null) return undefined
  const [, file, number] = parts as unknown as [string, string, string]
  return { file: file.replace(/[?#].*$/, ''), line: Number(number) }
}
