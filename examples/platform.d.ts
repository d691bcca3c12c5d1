// The web standards that the shops use and every host has, in the few parts they use. For this folder's own program only: the
// edge, the page and the tests see the real declarations of their platform, which are wider.

interface Response {
  readonly ok: boolean
  readonly status: number
  readonly headers: { get(name: string): string | null }
  text(): Promise<string>
}

declare function fetch(url: string, init: {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal: AbortSignal
}): Promise<Response>

declare function setTimeout(run: () => void, ms: number): number
declare function clearTimeout(timer: number): void
